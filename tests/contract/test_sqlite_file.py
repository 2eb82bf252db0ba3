"""What the data file of a local engine survives, and what it refuses."""

import asyncio
import contextlib
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
from milepost_engine.adapters.local.sqlite_file import DataFileError, Durability
from milepost_engine.ports import Changes, ConditionFailed, Equals, Key

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
    store.connection.execute("PRAGMA max_page_count = 20")
    results = await asyncio.gather(
        store.table.put({"pk": "p", "sk": "small"}),
        store.table.put({"pk": "p", "sk": "large", "v": "x" * 300_000}),
        return_exceptions=True,
    )
    assert [str(result) for result in results] == ["database or disk is full"] * 2
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
