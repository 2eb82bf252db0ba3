"""The schema version of a table's items.

    pk     sk       item
    META   schema   version
The first process to check writes its own version; one that finds another version changes nothing.
"""

from __future__ import annotations

from typing import Final

from milepost_engine.ports import Absent, ConditionFailed, Key, Table

__all__ = ["SCHEMA_VERSION", "SchemaMismatch", "check_schema"]

SCHEMA_VERSION: Final = 2
_KEY: Final = Key("META", "schema")


class SchemaMismatch(Exception):
    """The table belongs to another version of Milepost."""

    def __init__(self, found: object) -> None:
        super().__init__(
            f"[MP502] The table has items of schema version {found}; this version of Milepost reads "
            f"{SCHEMA_VERSION}. Nothing was read or written. Deploy the version that made the table, or follow "
            "docs/upgrading.md, then redrive the dead letters."
        )
        self.found = found


async def check_schema(table: Table, *, claim: bool = True) -> None:
    """Raises SchemaMismatch if the table has another schema version. With `claim`, a new table gets this one."""
    item = await table.get(_KEY)
    if item is None and not claim:
        return
    if item is None:
        try:
            await table.put({"pk": _KEY.pk, "sk": _KEY.sk, "version": SCHEMA_VERSION}, Absent())
        except ConditionFailed as standing:
            item = standing.existing
    if item is not None and item.get("version") != SCHEMA_VERSION:
        raise SchemaMismatch(item.get("version"))
