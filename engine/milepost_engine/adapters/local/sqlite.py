"""Table and Blobs over one SQLite file, for the laptop and for tests.

Calls run on the event loop's own thread (a commit takes about 45 µs, a read 15 µs, and switching to another thread
costs as much as a read); all writes of one turn share one commit (`sqlite_file.GroupCommit`).
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from milepost_engine.adapters.cursors import cursor_of, sort_key_of
from milepost_engine.adapters.limits import (
    MAX_ITEM_BYTES,
    check_blob_key,
    check_blob_prefix,
    check_changes,
    check_condition,
    check_item,
    check_key,
    check_query,
    check_writes,
    write_key,
)
from milepost_engine.ports import (
    Absent,
    Changes,
    Clock,
    Condition,
    ConditionFailed,
    Delete,
    Item,
    Key,
    Page,
    Put,
    TransactionFailed,
    Update,
    Write,
)

from .conditions import holds
from .sqlite_file import Durability, GroupCommit, open_file
from .sqlite_rows import COLUMNS, Row, item_of, row_of

__all__ = ["SqliteBlobs", "SqliteStore", "SqliteTable"]

_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM items WHERE "  # noqa: S608 - no input in it
_SELECT_ONE: Final = _SELECT + "pk = ? AND sk = ?"
_UPSERT: Final = (
    f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?) ON CONFLICT (pk, sk) DO UPDATE SET "  # noqa: S608
    "expires_at = excluded.expires_at, body = excluded.body"
)
_INSERT: Final = f"INSERT OR IGNORE INTO items ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?)"  # noqa: S608 - as above
_SWEEP_ITEMS: Final = "DELETE FROM items WHERE rowid IN (SELECT rowid FROM items WHERE expires_at <= ? LIMIT ?)"
_SWEEP_BLOBS: Final = "DELETE FROM blobs WHERE key IN (SELECT key FROM blobs WHERE expires_at <= ? LIMIT ?)"
_PAGES_AT_ONCE: Final = 2000
_UNNAMED_SECONDS: Final = 86_400
"""A blob that no item names within a day was written by a process that ended before it wrote the item."""
_PUT_BLOB: Final = (
    "INSERT INTO blobs (key, content, expires_at) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
    "content = excluded.content"
)
_NAME_BLOB: Final = (
    "UPDATE blobs SET expires_at = CASE WHEN ?1 IS NULL OR expires_at IS NULL THEN NULL ELSE max(expires_at, ?1) END "
    "WHERE key = ?2"
)
_SURELY_SMALL: Final = MAX_ITEM_BYTES // 5
"""A row whose text has no more characters than this, each of up to four bytes, and its keys are within the limit."""
_DELETE: Final = "DELETE FROM items WHERE pk = ? AND sk = ?"
_LIVE: Final = "(expires_at IS NULL OR expires_at > ?)"


class SqliteStore:
    """One data file with everything a local engine stores: `table`, `blobs`, and the rows of `LocalQueue`.

    One event loop at a time uses it. Raises `DataFileError` if the file cannot be used.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self.connection = connection
        self.commits = GroupCommit(connection)
        self.table = SqliteTable(connection, self.commits, clock)
        self.blobs = SqliteBlobs(connection, self.commits, clock)

    @classmethod
    def open(cls, path: str | Path, *, clock: Clock, durability: Durability = "process") -> Self:
        """Opens or creates the file and locks it for this process; `:memory:` lasts as long as the store."""
        return cls(open_file(path, durability), clock)

    def close(self) -> None:
        """Commits pending writes and releases the file; a second call does nothing."""
        if self.commits.closed:
            return
        self.commits.close()
        self.connection.close()


class SqliteTable:
    """Implements the Table port; see its promises."""

    def __init__(self, connection: sqlite3.Connection, commits: GroupCommit, clock: Clock) -> None:
        self._connection = connection
        self._commits = commits
        self._clock = clock

    async def get(self, key: Key) -> Item | None:
        """The item under the key, unless it has expired."""
        check_key(key)
        row = _row_at(self._connection, key)
        return item_of(row) if row is not None and _is_live(row, self._now()) else None

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """The items in the order of the keys."""
        return [await self.get(key) for key in keys]

    async def put(self, item: Item, when: Condition | None = None) -> None:
        """Writes the whole item."""
        await self._commits.write(_put(item, when))

    async def update(self, key: Key, changes: Changes, when: Condition | None = None) -> Item:
        """Changes some attributes and returns the whole item."""
        updated: Item = await self._commits.write(_update(key, changes, when))
        return updated

    async def delete(self, key: Key, when: Condition | None = None) -> None:
        """Deletes the item if it is there."""
        await self._commits.write(_delete(key, when))

    async def transact(self, writes: Sequence[Write]) -> None:
        """All writes or none."""
        if writes:
            await self._commits.write(_transaction(tuple(writes)))

    async def query(
        self,
        partition: str,
        *,
        first: str | None = None,
        last: str | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        after: str | None = None,
    ) -> Page:
        """Items of a partition within a range of sort keys."""
        check_query(partition, first, last, limit)
        beyond = None if after is None else sort_key_of(after)
        bounds = [bound for bound in (first, last, beyond) if bound is not None]
        values = (partition, self._now(), *bounds, -1 if limit is None else limit + 1)
        statement = _query(first is not None, last is not None, beyond is not None, newest_first)
        rows = self._connection.execute(statement, values).fetchall()
        more = limit is not None and len(rows) > limit
        items = [item_of(row) for row in rows[:limit]]
        return Page(items, cursor_of(str(items[-1]["sk"])) if more else None)

    async def sweep_expired(self, limit: int = 1000) -> int:
        """Deletes up to `limit` items that no read returns any more, and as many blobs that none of them names.

        Returns how many items and blobs are gone; their room is given back to the system, a part at a time.
        """
        now = self._now()

        def sweep(rows: sqlite3.Connection) -> int:
            return rows.execute(_SWEEP_ITEMS, (now, limit)).rowcount + rows.execute(_SWEEP_BLOBS, (now, limit)).rowcount

        swept: int = await self._commits.write(sweep)
        if swept and not self._commits.full:
            # A script, because `execute` stops after the first page; it takes a transaction of its own.
            self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
        return swept

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


class SqliteBlobs:
    """Implements the Blobs port; see its promises."""

    def __init__(self, connection: sqlite3.Connection, commits: GroupCommit, clock: Clock) -> None:
        self._connection = connection
        self._commits = commits
        self._clock = clock

    async def put(self, key: str, content: bytes) -> None:
        """Writes the blob."""
        check_blob_key(key)
        until = int(self._clock.now().timestamp()) + _UNNAMED_SECONDS
        await self._commits.write(lambda rows: rows.execute(_PUT_BLOB, (key, content, until)).rowcount)

    async def get(self, key: str) -> bytes | None:
        """The blob, or None."""
        check_blob_key(key)
        row = self._connection.execute("SELECT content FROM blobs WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes every blob whose key begins with the prefix."""
        check_blob_prefix(prefix)
        statement = "DELETE FROM blobs WHERE key >= ?1 AND substr(key, 1, length(?1)) = ?1"
        deleted: int = await self._commits.write(lambda rows: rows.execute(statement, (prefix,)).rowcount)
        return deleted


@functools.cache
def _query(first: bool, last: bool, after: bool, newest_first: bool) -> str:  # noqa: FBT001 - a key
    """The statement of a query with these bounds."""
    beyond, order = ("<", "DESC") if newest_first else (">", "ASC")
    bounds = ((first, ">="), (last, "<="), (after, beyond))
    wheres = ["pk = ?", _LIVE, *(f"sk {comparison} ?" for wanted, comparison in bounds if wanted)]
    return f"{_SELECT}{' AND '.join(wheres)} ORDER BY sk {order} LIMIT ?"


def _row_at(connection: sqlite3.Connection, key: Key) -> Row | None:
    row: Row | None = connection.execute(_SELECT_ONE, (key.pk, key.sk)).fetchone()
    return row


def _is_live(row: Row, now: int) -> bool:
    expires_at = row[2]
    return expires_at is None or (isinstance(expires_at, int) and expires_at > now)


def _existing(connection: sqlite3.Connection, key: Key) -> Item | None:
    row = _row_at(connection, key)
    return None if row is None else item_of(row)


def _check(connection: sqlite3.Connection, key: Key, when: Condition) -> None:
    existing = _existing(connection, key)
    if not holds(when, existing):
        raise ConditionFailed(key, existing)


def _put(item: Item, when: Condition | None) -> Callable[[sqlite3.Connection], None]:
    check_item(item)
    check_condition(when)
    blobs = _named_blobs(item)
    row = row_of(item)  # now, not in the flush: the caller may change the dict before then
    key = Key(str(item["pk"]), str(item["sk"]))

    def work(connection: sqlite3.Connection) -> None:
        if isinstance(when, Absent):
            # The commonest write: the primary key checks the condition without a read.
            if connection.execute(_INSERT, row).rowcount == 0:
                raise ConditionFailed(key, _existing(connection, key))
        else:
            if when is not None:
                _check(connection, key, when)
            connection.execute(_UPSERT, row)
        _keep_blobs(connection, blobs)

    return work


def _named_blobs(item: Item) -> list[tuple[object, str]]:
    """The blobs that an item names, each with the moment at which the item expires."""
    return [(item.get("expires_at"), str(value)) for name, value in item.items() if name[-4:] == "_ref"]


def _keep_blobs(connection: sqlite3.Connection, blobs: Sequence[tuple[object, str]]) -> None:
    """Let blobs that items name expire no earlier than these do."""
    if blobs:
        connection.executemany(_NAME_BLOB, blobs)


def _update(key: Key, changes: Changes, when: Condition | None) -> Callable[[sqlite3.Connection], Item]:
    check_changes(key, changes)
    check_condition(when)

    def work(connection: sqlite3.Connection) -> Item:
        existing = _existing(connection, key)
        if when is not None and not holds(when, existing):
            raise ConditionFailed(key, existing)
        updated = _changed(key, existing, changes)
        connection.execute(_UPSERT, _checked_row(updated))
        _keep_blobs(connection, _named_blobs(updated))
        return updated

    return work


def _changed(key: Key, existing: Item | None, changes: Changes) -> Item:
    item: Item = dict(existing) if existing is not None else {"pk": key.pk, "sk": key.sk}
    item.update(changes.set)
    for name in changes.remove:
        item.pop(name, None)
    for name, amount in changes.add.items():
        number = item.get(name, 0)
        if isinstance(number, str | bytes | bool):
            raise ValueError(  # noqa: TRY004 - one class for refusals
                f"cannot add to {name} of {key.pk} / {key.sk}: it is a {type(number).__name__}"
            )
        item[name] = number + amount
    return item


def _checked_row(updated: Item) -> Row:
    """The row of an updated item. The parts were checked; whether their sum is too large, the row's length tells."""
    row = row_of(updated)
    body = row[3]
    if not isinstance(body, str) or len(body) > _SURELY_SMALL:
        check_item(updated)
    return row


def _delete(key: Key, when: Condition | None) -> Callable[[sqlite3.Connection], None]:
    check_key(key)
    check_condition(when)

    def work(connection: sqlite3.Connection) -> None:
        if when is not None:
            _check(connection, key, when)
        connection.execute(_DELETE, (key.pk, key.sk))

    return work


def _transaction(writes: tuple[Write, ...]) -> Callable[[sqlite3.Connection], None]:
    check_writes(writes)
    rows = {position: row_of(write.item) for position, write in enumerate(writes) if isinstance(write, Put)}

    def work(connection: sqlite3.Connection) -> None:
        # All conditions and updated items are checked first: after the first write nothing may be refused any more.
        found = [_existing(connection, write_key(write)) for write in writes]
        failed = tuple(
            position
            for position, write in enumerate(writes)
            if write.when is not None and not holds(write.when, found[position])
        )
        if failed:
            raise TransactionFailed(failed)
        changed = {
            position: _changed(write.key, found[position], write.changes)
            for position, write in enumerate(writes)
            if isinstance(write, Update)
        }
        updated = {position: _checked_row(item) for position, item in changed.items()}
        connection.executemany(_UPSERT, (rows | updated).values())
        puts = [write.item for write in writes if isinstance(write, Put)]
        _keep_blobs(connection, [blob for item in (*puts, *changed.values()) for blob in _named_blobs(item)])
        connection.executemany(_DELETE, [(w.key.pk, w.key.sk) for w in writes if isinstance(w, Delete)])

    return work
