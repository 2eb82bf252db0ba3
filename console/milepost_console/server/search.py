"""Searches runs by fields (the engine's own filter), by text in ids and event data, or by an expression.

Text and expressions are tested against each run's event, newest run first, up to a limit. The answer then has `cut` set
and its `next` continues from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, cast

from milepost_engine.cel import Expression, ExpressionError, compile_expression, evaluate
from milepost_engine.codec import Json, text
from milepost_engine.core.ids import is_ulid, ulid_moment
from milepost_engine.core.run import RunStatus
from milepost_engine.engine import Engine
from milepost_engine.operations.queries import RunFilter

from .problems import Refused

__all__ = ["Search", "find_runs", "read_search"]

CEL: Final = "cel:"
MAX_EXPRESSION: Final = 2048
SCAN_LIMIT: Final = 2000
"""Runs examined for one answer: about 150 ms on a laptop. The answer's `next` continues the search."""
_PAGE: Final = 100

Row = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed search; empty fields do not filter."""

    where: RunFilter
    words: str = ""
    expression: Expression | None = None
    reads_output: bool = False

    @property
    def plain(self) -> bool:
        return not self.words and self.expression is None


def read_search(
    *,
    functions: Sequence[str] = (),
    app: str = "",
    statuses: Sequence[str] = (),
    event: str = "",
    event_id: str = "",
    origin: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    q: str = "",
) -> Search:
    """Parse a search. Raises Refused that names the invalid part."""
    where = RunFilter(
        functions=tuple(functions),
        app_id=app,
        statuses=tuple(_status(word) for word in statuses),
        event_name=event,
        event_id=event_id,
        origin_run_id=origin,
        since=_aware("since", since),
        until=_aware("until", until),
    )
    q = q.strip()
    if not q.startswith(CEL):
        return Search(where, words=q.casefold())
    source = q.removeprefix(CEL).strip()
    if len(source) > MAX_EXPRESSION:
        raise Refused(
            400, "MP316", f"The expression has {len(source)} characters; at most {MAX_EXPRESSION} are allowed."
        )
    try:
        return Search(where, expression=compile_expression(source), reads_output="output" in source)
    except ExpressionError as error:
        raise Refused(400, "MP316", f"The expression {source!r} cannot be read: {error}") from error


def _status(word: str) -> RunStatus:
    try:
        return RunStatus(word.capitalize())
    except ValueError:
        known = ", ".join(RunStatus)
        raise Refused(400, "MP316", f"There is no run status {word!r}; write one of {known}.") from None


def _aware(name: str, moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Refused(400, "MP316", f"{name} has no time zone; write it like 2026-01-31T08:00:00Z.")
    return moment


async def find_runs(engine: Engine, search: Search, *, limit: int, after: str = "") -> dict[str, Json]:
    """A page of runs, newest first: `runs`, `next` and `cut` as in Queries.list_runs."""
    if search.plain:
        return await engine.queries.list_runs(search.where, limit=limit, after=after)
    if named := await _named(engine, search):
        return {"runs": named, "next": "", "cut": False}
    found: list[Row] = []
    scanned = 0
    while True:
        page = await engine.queries.list_runs(search.where, limit=_PAGE, after=after)
        rows = cast("list[Row]", page["runs"])
        fitting = await asyncio.gather(*(_fits(engine, search, row) for row in rows))
        for row, fits in zip(rows, fitting, strict=True):
            if not fits:
                continue
            if len(found) == limit:
                return {"runs": found, "next": str(found[-1]["run_id"]), "cut": False}
            found.append(row)
        scanned += len(rows)
        after = str(page["next"])
        if not after:
            return {"runs": found, "next": "", "cut": False}
        if scanned >= SCAN_LIMIT or page["cut"]:
            return {"runs": found, "next": after, "cut": True}


async def _named(engine: Engine, search: Search) -> list[Row]:
    """If the text is a complete run or event id, that run or that event's runs, found directly however old."""
    words = search.words.upper()
    if not is_ulid(words):
        return []
    moment = ulid_moment(words)
    since = max(moment, search.where.since) if search.where.since else moment
    until = search.where.until
    then = replace(search.where, since=since, until=min(moment, until) if until else moment)
    listed = await engine.queries.list_runs(then, limit=1000)
    found = [row for row in cast("list[Row]", listed["runs"]) if row["run_id"] == words]
    if not found and await engine.events.load(words) is not None:
        started = await engine.queries.list_runs(replace(search.where, event_id=words, since=since), limit=200)
        found = cast("list[Row]", started["runs"])
    return found


async def _fits(engine: Engine, search: Search, row: Row) -> bool:
    event = await engine.events.load(str(row["event_id"]))
    wire = event.wire() if event is not None else {"id": row["event_id"], "name": row["event_name"], "data": {}}
    if search.expression is not None:
        names: dict[str, Json] = {"event": wire}
        if search.reads_output:
            detail = await engine.queries.run(str(row["run_id"]))
            names["output"] = detail["output"] if detail else None
        try:
            return evaluate(search.expression, names, now=engine.clock.now()) is True
        except ExpressionError:
            return False
    ids = (row["run_id"], row["event_id"], row["function_id"], row["event_name"], wire["id"])
    return any(search.words in str(id_).casefold() for id_ in ids) or search.words in text(wire["data"]).casefold()
