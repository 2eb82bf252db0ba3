"""What the data file of a local engine survives, and what it refuses."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.adapters.local.sqlite_file import DataFileError, Durability, data_problem
from milepost_engine.ports import Absent, Changes, ConditionFailed, Equals, Key, Put

WRITER = """
import asyncio, sys
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.local.queue import LocalQueue, Received
from milepost_engine.adapters.local.sqlite import SqliteStore
from milepost_engine.ports import Changes, Key, Message, Put, Update

async def main():
    clock = SystemClock()
    store = SqliteStore.open(sys.argv[1], clock=clock)
    queue = LocalQueue(store, clock, "work")
    async def write(writer):
        for n in range(10**9):
            await store.table.transact([
                Put({"pk": f"w{writer}", "sk": f"{n:09}", "v": "x" * 500}),
                Update(Key(f"w{writer}", "count"), Changes(add={"n": 1})),
            ])
            await queue.send([Message(f"w{writer}/{n}")])
            print(writer, n, flush=True)
    await asyncio.gather(*(write(writer) for writer in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("seed", range(4))
async def test_everything_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "m.db"
    acknowledged = _write_until_killed(path, random.Random(seed).randrange(1, 1500))
    clock = WoundClock()
    store = SqliteStore.open(path, clock=clock)
    bodies: set[str] = set()

    async def keep(received: Received) -> None:
        bodies.add(received.body)

    await LocalQueue(store, clock, "work").drain(keep)
    for writer, last in acknowledged.items():
        items = (await store.table.query(f"w{writer}", last="9")).items
        assert [item["sk"] for item in items] == [f"{number:09}" for number in range(len(items))]
        assert len(items) > last
        count = await store.table.get(Key(f"w{writer}", "count"))
        assert count is not None  # items and count were written together: no kill may part them
        assert count["n"] == len(items)
        assert {f"w{writer}/{number}" for number in range(last + 1)} <= bodies
    assert store.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def _write_until_killed(path: Path, lines: int) -> dict[str, int]:
    """Kills the writer after it has reported so many writes; returns the last write reported by each of its tasks."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    printed = b"".join(child.stdout.readline() for _ in range(lines))
    child.send_signal(signal.SIGKILL)
    printed += child.communicate()[0]
    reported = printed.decode().rpartition("\n")[0].splitlines()  # a line cut short was not yet reported
    return {writer: int(number) for writer, number in (line.split() for line in reported)}


async def test_one_process_owns_the_file_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    store = SqliteStore.open(path, clock=WoundClock())
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await second.communicate()
    assert f"another process uses the data file {path}: stop it" in complaint.decode()
    with pytest.raises(DataFileError) as refusal:
        SqliteStore.open(path, clock=WoundClock())
    assert refusal.value.code == "data_file_in_use"
    store.close()
    SqliteStore.open(path, clock=WoundClock()).close()


async def test_a_file_of_another_schema_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    SqliteStore.open(path, clock=WoundClock()).close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")
    with pytest.raises(DataFileError, match=r"schema version 99, .* or delete the file") as refusal:
        SqliteStore.open(path, clock=WoundClock())
    assert refusal.value.code == "data_file_other_version"


async def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    text, database = tmp_path / "a.db", tmp_path / "b.db"
    text.write_text("not a database, but certainly longer than a hundred bytes" * 100)
    with contextlib.closing(sqlite3.connect(database)) as file:
        file.execute("CREATE TABLE theirs (x)")
    for path in (text, database):
        before = path.read_bytes()
        with pytest.raises(DataFileError) as refusal:
            SqliteStore.open(path, clock=WoundClock())
        assert refusal.value.code == "data_file_foreign"
        assert path.read_bytes() == before


async def test_a_path_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "m.db"):
        with pytest.raises(DataFileError, match="check the path and its permissions"):
            SqliteStore.open(path, clock=WoundClock())


async def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path / ".milepost" / "dev" / "m.db", clock=WoundClock()).close()


async def test_writes_of_one_turn_share_one_commit_and_fail_alone(store: SqliteStore) -> None:
    statements: list[str] = []
    store.connection.set_trace_callback(statements.append)
    key = Key("p", "s")
    results = await asyncio.gather(
        store.table.put({"pk": "p", "sk": "s", "n": 1}),
        store.table.put({"pk": "p", "sk": "t"}, when=Equals("n", 1)),  # fails: there is no item
        store.table.update(key, Changes(add={"n": 1}), when=Equals("n", 1)),  # sees the put before it
        store.table.update(key, Changes(add={"text": 1, "n": 1}, set={"more": "x" * 409_600})),  # too large
        store.table.delete(Key("p", "u")),
        return_exceptions=True,
    )
    assert statements.count("COMMIT") == 1
    assert [type(result) for result in results] == [type(None), ConditionFailed, dict, ValueError, type(None)]
    assert (await store.table.query("p")).items == [{"pk": "p", "sk": "s", "n": 2}]


async def test_a_commit_that_fails_fails_every_caller_and_writes_nothing(store: SqliteStore) -> None:
    await store.table.put({"pk": "p", "sk": "s"})
    store.connection.execute("PRAGMA query_only = ON")
    results = await asyncio.gather(
        store.table.put({"pk": "p", "sk": "small"}),
        store.table.put({"pk": "p", "sk": "other"}),
        return_exceptions=True,
    )
    assert [str(result) for result in results] == ["attempt to write a readonly database"] * 2
    store.connection.execute("PRAGMA query_only = OFF")
    assert [item["sk"] for item in (await store.table.query("p")).items] == ["s"]
    await store.table.put({"pk": "p", "sk": "small"})


async def test_a_cancelled_writer_does_not_stop_its_neighbours(store: SqliteStore) -> None:
    first = asyncio.create_task(store.table.put({"pk": "p", "sk": "a"}))
    second = asyncio.create_task(store.table.put({"pk": "p", "sk": "b"}))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert [item["sk"] for item in (await store.table.query("p")).items] == ["a", "b"]


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "m.db", clock=WoundClock())
    store.close()
    store.close()
    with pytest.raises(DataFileError, match="closed"):
        await store.table.put({"pk": "p", "sk": "s"})


def test_one_store_serves_one_event_loop_after_another(store: SqliteStore) -> None:
    asyncio.run(store.table.put({"pk": "p", "sk": "s"}))
    assert asyncio.run(store.table.get(Key("p", "s"))) is not None
    abandoned = asyncio.new_event_loop()
    task = abandoned.create_task(store.table.put({"pk": "p", "sk": "late"}))
    abandoned.call_soon(abandoned.stop)
    abandoned.run_forever()  # stopped before the commit
    asyncio.run(store.table.put({"pk": "p", "sk": "t"}))
    task.cancel()
    abandoned.run_until_complete(asyncio.gather(task, return_exceptions=True))
    abandoned.close()


async def test_a_sweep_deletes_what_no_read_returns(store: SqliteStore, clock: WoundClock) -> None:
    now = int(clock.now().timestamp())
    for number in range(10):
        await store.table.put({"pk": "p", "sk": str(number), "expires_at": now + number})
    await store.table.put({"pk": "p", "sk": "forever"})
    await clock.advance(6)
    assert await store.table.sweep_expired(limit=5) == 5
    assert await store.table.sweep_expired() == 2
    assert await store.table.sweep_expired() == 0
    assert store.connection.execute("SELECT count(*) FROM items").fetchone() == (4,)


@pytest.mark.parametrize("durability", ["process", "power"])
async def test_durability_chooses_what_a_commit_waits_for(tmp_path: Path, durability: Durability) -> None:
    store = SqliteStore.open(tmp_path / "m.db", clock=WoundClock(), durability=durability)
    level = store.connection.execute("PRAGMA synchronous").fetchone()[0]
    assert level == {"process": 1, "power": 2}[durability]
    assert store.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


async def test_a_full_disk_holds_writes_and_loses_none(store: SqliteStore) -> None:
    heard: list[bool] = []
    store.commits.on_full = heard.append
    execute = store.connection.execute
    execute("PRAGMA max_page_count = 1")  # as few as the file has
    writes = [
        asyncio.ensure_future(store.table.put({"pk": "p", "sk": f"{number:03}", "v": "x" * 4000}))
        for number in range(9)
    ]
    await asyncio.wait(writes, timeout=0.1)
    later = asyncio.ensure_future(store.table.update(Key("p", "004"), Changes(set={"v": "later"})))
    assert (heard, store.commits.full) == ([True], True)
    assert not any(write.done() for write in writes)
    execute("PRAGMA max_page_count = 100000")
    await asyncio.wait_for(asyncio.gather(*writes, later), 20)
    assert (heard, store.commits.full) == ([True, False], False)
    items = (await store.table.query("p")).items
    assert [item["sk"] for item in items] == [f"{number:03}" for number in range(9)]
    assert items[4]["v"] == "later"


async def test_a_store_that_is_closed_while_the_disk_is_full_ends(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "m.db", clock=WoundClock())
    store.connection.execute("PRAGMA max_page_count = 1")
    write = asyncio.ensure_future(store.table.put({"pk": "p", "sk": "s", "v": "x" * 100_000}))
    await asyncio.wait([write], timeout=0.1)
    store.close()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await write


async def test_damaged_pages_are_reported_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    store = SqliteStore.open(path, clock=WoundClock())
    for number in range(200):
        await store.table.put({"pk": "p", "sk": f"{number:03}", "v": "x" * 4000})
    store.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 100 * 4096)
    damage: Exception | None = None
    try:
        store = SqliteStore.open(path, clock=WoundClock())
        await store.table.query("p")
    except (DataFileError, sqlite3.DatabaseError) as error:
        damage = error
    assert damage is not None
    found = data_problem(ExceptionGroup("as a task group raises it", [ValueError(), damage]), path)
    assert found is not None
    assert found.code == "data_file_damaged"
    assert f"the data file {path} is damaged" in str(found)
    assert "delete it to start empty" in str(found)
    assert data_problem(ValueError("something else"), path) is None


@pytest.mark.skipif(os.name != "posix", reason="rights of files")
async def test_only_the_user_may_read_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "milepost"
    path = folder / "m.db"
    for _ in range(2):
        store = SqliteStore.open(path, clock=WoundClock())
        await store.table.put({"pk": "p", "sk": "s"})
        files = [path, path.with_name("m.db-wal")]
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
        assert folder.stat().st_mode & 0o777 == 0o700
        store.close()
        path.chmod(0o644)


async def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as file:
        for statement in (
            "CREATE TABLE items (pk TEXT NOT NULL, sk TEXT NOT NULL, expires_at INTEGER, body NOT NULL)",
            "CREATE UNIQUE INDEX key ON items (pk, sk)",
            "CREATE TABLE blobs (key TEXT PRIMARY KEY, content BLOB NOT NULL)",
            """CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL,
               due_at INTEGER NOT NULL, receive_count INTEGER NOT NULL DEFAULT 0, dead_at INTEGER, problem TEXT)""",
            "INSERT INTO items VALUES ('p', 's', NULL, '{\"v\":1}')",
            "INSERT INTO blobs VALUES ('runs/r/s', x'01')",
            "PRAGMA application_id = 0x4D4C5031",
            "PRAGMA user_version = 2",
        ):
            file.execute(statement)
    for _ in range(2):
        store = SqliteStore.open(path, clock=WoundClock())
        assert (await store.table.get(Key("p", "s"))) == {"pk": "p", "sk": "s", "v": 1}
        assert await store.blobs.get("runs/r/s") == b"\x01"
        store.close()


async def test_a_blob_lives_as_long_as_the_last_item_that_names_it(store: SqliteStore, clock: WoundClock) -> None:
    now = int(clock.now().timestamp())
    for name in ("once", "shared", "kept", "longer", "never named"):
        await store.blobs.put(name, b"x")
    put = store.table.put
    day = 86_400
    await put({"pk": "a", "sk": "1", "memo_ref": "once", "expires_at": now + 2 * day})
    await put({"pk": "a", "sk": "2", "memo_ref": "shared", "expires_at": now + 2 * day})
    await put({"pk": "b", "sk": "1", "memo_ref": "shared", "expires_at": now + 4 * day}, Absent())
    await put({"pk": "b", "sk": "2", "body_ref": "kept"})
    await store.table.transact([Put({"pk": "c", "sk": "1", "memo_ref": "longer", "expires_at": now + 2 * day})])
    await store.table.update(Key("c", "1"), Changes(set={"expires_at": now + 4 * day}))

    async def left() -> set[str]:
        while await store.table.sweep_expired(limit=2):
            pass
        names = ("once", "shared", "kept", "longer", "never named")
        return {name for name in names if await store.blobs.get(name) is not None}

    await clock.advance(day - 1)
    assert await left() == {"once", "shared", "kept", "longer", "never named"}
    await clock.advance(2)
    assert await left() == {"once", "shared", "kept", "longer"}
    await clock.advance(day)
    assert await left() == {"shared", "kept", "longer"}
    await clock.advance(2 * day)
    assert await left() == {"kept"}


async def test_room_of_what_was_swept_is_given_back(tmp_path: Path) -> None:
    clock, path = WoundClock(), tmp_path / "m.db"
    store = SqliteStore.open(path, clock=clock)
    now = int(clock.now().timestamp())
    await asyncio.gather(
        *(
            store.table.put({"pk": "p", "sk": f"{number:05}", "v": "x" * 1000, "expires_at": now + 1})
            for number in range(5000)
        )
    )
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = path.stat().st_size
    await clock.advance(2)
    while await store.table.sweep_expired():
        pass
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert before > 5_000_000
    assert path.stat().st_size < before / 10
    store.close()
