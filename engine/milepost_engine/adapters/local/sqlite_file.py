"""One SQLite file: opening it safely, its schema, and the group commit that all writes share.

Laws:
- one process owns the file (SQLite's exclusive locking mode: the system releases it however the process ends;
  without shared memory, each read and commit is about a quarter cheaper);
- all work of one turn of the event loop shares one transaction; a call returns only after COMMIT;
- while the disk is full, writes wait: nothing is lost, and they are committed in their order when there is room;
- only the user may read the file: it holds what events and steps carry;
- a piece of work refuses (raises ConditionFailed, TransactionFailed or ValueError) before its first write, so a
  refusal needs no savepoint and does not affect the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from milepost_engine.ports import ConditionFailed, TableBusy, TransactionFailed

__all__ = [
    "DataFileError",
    "Durability",
    "GroupCommit",
    "data_problem",
    "open_file",
]

Durability = Literal["process", "power"]
"""What a returned write survives: the end of the process (kill -9), or also a power cut (10 times slower)."""

FILE_VERSION: Final = 3
_BLOB_EXPIRY: Final = "CREATE INDEX blob_expiry ON blobs (expires_at) WHERE expires_at IS NOT NULL"
_MIGRATIONS: Final = {2: ("ALTER TABLE blobs ADD COLUMN expires_at INTEGER", _BLOB_EXPIRY)}
"""How a file of an earlier version becomes one of the next."""
_APPLICATION_ID: Final = 0x4D4C5031  # "MLP1": distinguishes our files from other SQLite files
_BUSY_SECONDS: Final = 0.5
_FULL_SECONDS: Final = 1.0
"""After this long, a write that failed for lack of space is tried again."""
_SCHEMA: Final = (
    # A table with a rowid: items of 1 KB would bloat the tree of a table without one (2.5 times slower).
    "CREATE TABLE items (pk TEXT NOT NULL, sk TEXT NOT NULL, expires_at INTEGER, body NOT NULL, PRIMARY KEY (pk, sk))",
    "CREATE INDEX expiry ON items (expires_at) WHERE expires_at IS NOT NULL",
    # expires_at: with the last item that names the blob; NULL: never.
    "CREATE TABLE blobs (key TEXT PRIMARY KEY, content BLOB NOT NULL, expires_at INTEGER)",
    _BLOB_EXPIRY,
    # due_at, dead_at: milliseconds since 1970. With dead_at it is a dead letter: delivered only after a redrive.
    """CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL,
       due_at INTEGER NOT NULL, receive_count INTEGER NOT NULL DEFAULT 0, dead_at INTEGER, problem TEXT)""",
    "CREATE INDEX dead_messages ON messages (queue) WHERE dead_at IS NOT NULL",
)


class DataFileError(Exception):
    """The data file cannot be used.

    `code` is stable: data_file_in_use (by another process), data_file_foreign (not ours), data_file_damaged (pages
    cannot be read), data_file_full (the disk is full), data_file_other_version (another schema),
    data_file_unreachable (path or permissions), data_file_closed.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def open_file(path: str | Path, durability: Durability) -> sqlite3.Connection:
    """Opens or creates the file and locks it for this process; `:memory:` is a new, empty store."""
    connection: sqlite3.Connection | None = None
    try:
        if str(path) != ":memory:":
            _make_private(Path(path))
        # One event loop at a time uses the connection, but not always the thread that opened it.
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        _prepare(connection, path, durability)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error | OSError):
            raise _explained(error, path) from error
        raise
    return connection


def _make_private(path: Path) -> None:
    """Create the file for its user alone; take from others what they could read of an existing one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # not there, or it is somebody else's
            name.chmod(0o600)


def data_problem(error: BaseException, path: str | Path) -> DataFileError | None:
    """What an error says about the data file, in a sentence; None if it is about something else."""
    leaves = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for leaf in leaves:
        if (found := data_problem(leaf, path)) is not None:
            return found
    if isinstance(error, DataFileError):
        return error
    return _explained(error, path) if isinstance(error, sqlite3.Error) else None


def is_full(error: BaseException) -> bool:
    """Whether a write failed for lack of space: on the disk, or under a limit on the file's size."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


def _explained(error: sqlite3.Error | OSError, path: str | Path) -> DataFileError:
    match error:
        case sqlite3.OperationalError() if "locked" in str(error):
            advice = "stop it (another dev server?) or choose another file"
            return DataFileError("data_file_in_use", f"another process uses the data file {path}: {advice}")
        case sqlite3.Error() if is_full(error):
            advice = "free some disk space, then start again; nothing that was accepted is lost"
            return DataFileError("data_file_full", f"no space for the data file {path} ({error}): {advice}")
        case sqlite3.DatabaseError() if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            advice = "restore a copy, choose another file with --db, or delete it to start empty"
            return DataFileError("data_file_damaged", f"the data file {path} is damaged ({error}): {advice}")
        case sqlite3.OperationalError() | OSError():
            advice = "check the path and its permissions"
            return DataFileError("data_file_unreachable", f"cannot open the data file {path} ({error}): {advice}")
        case _:
            advice = "choose another path, or delete it to start empty"
            return DataFileError(
                "data_file_foreign", f"{path} is not a data file of Milepost, or is damaged ({error}): {advice}"
            )


def _prepare(connection: sqlite3.Connection, path: str | Path, durability: Durability) -> None:
    execute = connection.execute
    execute("PRAGMA auto_vacuum = INCREMENTAL")  # takes effect in a new file only
    execute("PRAGMA locking_mode = EXCLUSIVE")  # before the first access, else WAL uses shared memory
    execute("BEGIN EXCLUSIVE")
    try:
        application_id, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        if application_id == version == 0 and _is_empty(connection):
            for statement in (*_SCHEMA, f"PRAGMA application_id = {_APPLICATION_ID}"):
                execute(statement)
            execute(f"PRAGMA user_version = {FILE_VERSION}")
        else:
            _check_version(path, application_id, version)
            for older in range(version, FILE_VERSION):
                for statement in _MIGRATIONS[older]:
                    execute(statement)
            execute(f"PRAGMA user_version = {FILE_VERSION}")
    except BaseException:
        execute("ROLLBACK")
        raise
    execute("COMMIT")
    execute("PRAGMA journal_mode = WAL")
    execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    execute("BEGIN IMMEDIATE")  # takes the lock in WAL mode too, and keeps it
    execute("COMMIT")


def _check_version(path: str | Path, application_id: int, version: int) -> None:
    if application_id != _APPLICATION_ID:
        raise DataFileError("data_file_foreign", f"{path} is an SQLite file of another program: choose another path")
    if version != FILE_VERSION and version not in _MIGRATIONS:
        raise DataFileError(
            "data_file_other_version",
            f"the data file {path} has schema version {version}, this Milepost reads {FILE_VERSION}: "
            "run the Milepost version that wrote it, or delete the file to start empty",
        )


def _is_empty(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


class _Entry:
    __slots__ = ("committed", "future", "outcome", "work")

    def __init__(
        self,
        work: Callable[[sqlite3.Connection], Any],
        future: asyncio.Future[Any],
        committed: Callable[[Any], None] | None,
    ) -> None:
        self.work = work
        self.future = future
        self.committed = committed
        self.outcome: object = None

    def succeed(self) -> None:
        if self.committed is not None:
            self.committed(self.outcome)
        if not self.future.done():
            self.future.set_result(self.outcome)


class GroupCommit:
    """Runs all work submitted during one turn of the event loop in one transaction.

        task A: write(a) ─┐
        task B: write(b) ─┤ call_soon     BEGIN  a  b  COMMIT    A and B continue
        task C: write(c) ─┘ (next turn)          c refuses       C gets its refusal

    If a caller is cancelled meanwhile, its work is still committed. While the disk is full, `full` is True and work is
    tried again every second; `on_full` is called when that begins and when it is over.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._pending: list[_Entry] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False
        self.full = False
        self.on_full: Callable[[bool], None] = lambda _: None

    def close(self) -> None:
        """Commits pending work; further writes are refused."""
        self.closed = True
        self.flush()

    def write(
        self, work: Callable[[sqlite3.Connection], Any], committed: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        """A future of what `work` returns, set after COMMIT; `committed` is called with it in any case."""
        if self.closed:
            raise DataFileError("data_file_closed", "the store was closed; open it again to write")
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if loop is not self._loop:  # work left by an abandoned loop has no caller any more
            self._pending.clear()
            self._loop, self.full = loop, False
        if not self._pending and not self.full:
            loop.call_soon(self.flush)
        self._pending.append(_Entry(work, future, committed))
        return future

    def flush(self) -> None:
        """Commits pending work now; called by the event loop, and once before closing."""
        batch, self._pending = self._pending, []
        if not batch:
            return
        try:
            refused = self._commit(batch)
        except sqlite3.Error as error:
            if not self._holds(batch, error):
                for entry in batch:
                    _fail(entry.future, _translated(error))
            return
        except BaseException as error:
            for entry in batch:
                _fail(entry.future, error)
            raise
        if self.full:
            self.full = False
            self.on_full(False)
        for entry in batch:
            if entry in refused:
                _fail(entry.future, refused[entry])
            else:
                entry.succeed()

    def _holds(self, batch: list[_Entry], error: sqlite3.Error) -> bool:
        """Keep work for which there is no space, in its order."""
        if not is_full(error) or self.closed or self._loop is None:
            return False
        self._pending = [*batch, *self._pending]
        self._loop.call_later(_FULL_SECONDS, self.flush)
        if not self.full:
            self.full = True
            self.on_full(True)
        return True

    def _commit(self, batch: list[_Entry]) -> dict[_Entry, Exception]:
        connection = self._connection
        refused: dict[_Entry, Exception] = {}
        try:
            connection.execute("BEGIN IMMEDIATE")
            for entry in batch:
                try:
                    entry.outcome = entry.work(connection)
                except (ConditionFailed, TransactionFailed, ValueError) as refusal:
                    refused[entry] = refusal
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return refused


def _translated(error: sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return TableBusy("the data file is locked by another process; nothing was written")
    return error


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
