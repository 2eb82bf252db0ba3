"""Runs in the table: their items, and the conditional write that saves each record.

    pk                sk                    item
    F#<function>      <run>                 header: status, output, how it was started; the only item that changes
    R#<run>           S#<step>              closed step
    R#<run>           P#<turn>              plan
    R#<run>           A#<job>#<attempt>     failed attempt
    R#<run>           C#<job>               claim on a planned step: who may call user code for it
    R#<run>           B#<claim>             the call that was handed over under a claim has begun, or never will
The headers of a function share a partition, in the order in which its runs began. That is the list of its runs; an
index would make each change of a header cost more. The header is read first: a worker that acts on it must know at
least the records that its writer knew.

    reader     reads the header: owner A ───────────── reads the steps: 1, 2 and 3
    worker B              claims the run ── closes 3

Every record but the end is a put of an item that does not exist yet. The end is an update of a header that is live:

    worker 1   reads Running ── decides Completed ── update when live: ok
    worker 2        reads Running ── decides Cancelled ───────── update when live: refused, stops
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from milepost.protocol import DISCOVERY, MAX_RETRIES
from milepost_engine.core.ids import from_ms, to_ms
from milepost_engine.core.machine import Decision
from milepost_engine.core.run import (
    ClosedStep,
    FailedAttempt,
    Plan,
    Record,
    Run,
    RunBegun,
    RunEnded,
    RunStatus,
    View,
    changed,
)
from milepost_engine.ports import (
    Absent,
    AllOf,
    AnyOf,
    Changes,
    Condition,
    ConditionFailed,
    Equals,
    In,
    Item,
    Key,
    LacksAttribute,
    LessThan,
    Put,
    Table,
    TransactionFailed,
    Update,
)

from .run_items import DEFAULT_RETENTION, RunItems, header_key, list_of_runs, records_of
from .values import Values

__all__ = ["ClaimResult", "Claimant", "Liveness", "RunStore", "StepClaim"]

_READS: Final = 3
"""How often a run is read until no plan is missing; in a run that is being erased, plans may stay missing."""
_LIVE: Final = In("status", (RunStatus.QUEUED.value, RunStatus.RUNNING.value))


@dataclass(frozen=True, slots=True)
class Liveness:
    """What must be known about a run before user code is called."""

    status: RunStatus
    owner: str
    closed: bool


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who asks for a claim, and when: a message, whether it was delivered before, and the claim that it may succeed.

    `succeeds` is None for a message that was not sent by the holder of a claim; "" stands for a run or a step that
    nobody has claimed yet. `withdrawn` is the message's own claim whose call, if it was handed over, never begins.
    """

    message_id: str
    redelivered: bool = False
    succeeds: str | None = None
    at: datetime | None = None
    withdrawn: str = ""

    @property
    def stamp(self) -> Item:
        """The moment of the claim, as it is stored: the sweeper takes nobody for lost who has just made one."""
        return {} if self.at is None else {"claimed_at": to_ms(self.at)}


class ClaimResult(StrEnum):
    """How an attempt to become the owner of a run ended. OUTDATED: somebody planned more than the claimant knows."""

    MINE = "mine"
    LOST = "lost"
    OUTDATED = "outdated"


@dataclass(frozen=True, slots=True)
class StepClaim:
    """The claim on a planned step: `owner` names it, `message_id` made it at `made_at`."""

    owner: str
    message_id: str
    attempt: int
    made_at: datetime | None = None


class Functions(Protocol):
    """Knows which functions may have runs; the registry does."""

    async def known_functions(self, *, anew: bool = False) -> Sequence[str]: ...


class RunStore:
    """Loads and saves runs. Values above the inline limit are in blobs under `runs/<run>/`.

    `functions` is needed to find a run by its id alone.
    """

    def __init__(
        self,
        table: Table,
        values: Values,
        retention: timedelta = DEFAULT_RETENTION,
        functions: Functions | None = None,
    ) -> None:
        self._table = table
        self._values = values
        self._items = RunItems(values, retention)
        self._functions = functions

    async def create(self, run: Run) -> bool:
        """Write the header and the kept steps of a replay; False if the run exists already."""
        for place, step_id in enumerate(run.kept):
            kept = replace(run.closed[step_id], seq=place + 1, job="kept")
            item = await self._items.closed_item(run, kept)
            await self._table.put(item)
        try:
            await self._table.put(self._items.header_item(run), Absent())
        except ConditionFailed:
            return False
        return True

    async def load(self, run_id: str, function_id: str = "") -> Run | None:
        """The run with all its records; None if there is no such run.

        Without `function_id` it is searched for among all functions: for queries, not for the path of every step.
        """
        header = await self._header_of(run_id, function_id)
        if header is None:
            return None
        run, kept = self._items.header(header)
        return await self._with_records(run, kept)

    async def reload(self, run: Run) -> Run:
        """The run with its records read again and its header as given."""
        return await self._with_records(run, run.kept)

    async def _with_records(self, run: Run, kept: tuple[str, ...]) -> Run:
        items: list[Item] = []
        for _ in range(_READS):
            items = (await self._table.query(records_of(run.run_id))).items
            if not _torn(items):
                break
        return changed(run, view=View.of(self._items.records(items, kept), kept))

    async def _header_of(self, run_id: str, function_id: str) -> Item | None:
        if function_id:
            return await self._table.get(Key(list_of_runs(function_id), run_id))
        assert self._functions is not None, "a store without the registry can only load runs of a known function"
        known = await self._functions.known_functions()
        found = await self._header_among(run_id, known)
        if found is None:
            # Its function may have been registered since the registry was read.
            newer = [each for each in await self._functions.known_functions(anew=True) if each not in known]
            found = await self._header_among(run_id, newer)
        return found

    async def _header_among(self, run_id: str, functions: Sequence[str]) -> Item | None:
        items = await self._table.get_many([Key(list_of_runs(function), run_id) for function in functions])
        return next((item for item in items if item is not None), None)

    async def liveness(self, run: Run, job: str = DISCOVERY) -> Liveness | None:
        """Whether the run still lives, whose it is, and whether the planned step `job` is closed: one small read."""
        keys = [header_key(run)]
        if not job.startswith(DISCOVERY):
            keys.append(Key(records_of(run.run_id), f"S#{job}"))
        items = await self._table.get_many(keys) if len(keys) > 1 else [await self._table.get(keys[0])]
        header = items[0]
        if header is None:
            return None
        closed = len(items) > 1 and items[1] is not None
        return Liveness(RunStatus(str(header["status"])), str(header.get("owner", "")), closed)

    async def status_of(self, run_id: str, function_id: str) -> RunStatus | None:
        """Whether a run lives or how it ended: one small read."""
        header = await self._header_of(run_id, function_id)
        return None if header is None else RunStatus(str(header["status"]))

    async def closed_step(self, run_id: str, step_id: str) -> ClosedStep | None:
        """One closed step: one small read."""
        item = await self._table.get(Key(records_of(run_id), f"S#{step_id}"))
        return None if item is None else self._items.closed(item)

    async def claim_run(self, run: Run, owner: str, claimant: Claimant, *, closed: bool = False) -> ClaimResult:
        """Make a message the owner of the run: it alone may call user code for the discovery that the run waits for.

        Each alternative of the condition is one way to become the owner, and one write takes it:
          free     nobody has claimed the run yet
          closed   the message closed the last open step (`closed`), and nobody has claimed the run at this position:
                       worker 1   closes a ── none open ─────── claims position 2: ok
                       worker 2     closes b ── none open ────────── claims position 2: too late
          again    the message made the claim itself and is delivered again, so whoever had it is taken for dead:
                       worker 1   claims ── calls discovery #3 ─────────────── sees another owner: stops
                       worker 2            (visibility timeout) claims again ── calls discovery #3
                   where calls are handed over, only with its call withdrawn: see `withdraw_call`
          handed   the owner sent the message to succeed it
        None of them holds while somebody has planned what the claimant does not know: it must read again.
        """
        position = _position(run)
        ways: list[Condition] = [LacksAttribute("owner")]
        if closed:
            ways.append(LessThan("position", position))
        if mine := _made_before(run, claimant, "claimed_by"):
            ways.append(AllOf(mine))
        if claimant.succeeds:
            ways.append(Equals("owner", claimant.succeeds))
        known = AnyOf((LacksAttribute("turns"), LessThan("turns", len(run.plans) + 1)))
        made: Item = {"owner": owner, "claimed_by": claimant.message_id, "position": position}
        changes = Changes(set={**made, **claimant.stamp})
        try:
            await self._table.update(header_key(run), changes, AllOf((_LIVE, AnyOf(tuple(ways)), known)))
        except ConditionFailed as refused:
            standing = refused.existing or {}
            outdated = int(standing.get("turns", 0)) > len(run.plans)
            return ClaimResult.OUTDATED if outdated else ClaimResult.LOST
        return ClaimResult.MINE

    async def claim_step(self, run: Run, job: str, attempt: int, owner: str, claimant: Claimant) -> bool:
        """Make a message the one that may call user code for an attempt of a planned step; False when another is.

        free     nobody has claimed the step, or only an earlier attempt of it
        again    the message made the claim itself and is delivered again; for this attempt, where calls are handed over
                 with its call withdrawn, or for the next one, which it had yet to ask for when its worker died
        handed   the holder of the claim sent the message to succeed it: a retry, or a call that the platform refused
        """
        item: Item = {
            **self._items.claim_item(run, job),
            "owner": owner,
            "by": claimant.message_id,
            "attempt": attempt,
            **claimant.stamp,
        }
        ways: list[Condition] = [Absent()]
        if claimant.succeeds is None:
            ways.append(LessThan("attempt", attempt))
        elif claimant.succeeds:
            ways.append(Equals("owner", claimant.succeeds))
        if mine := _made_before(run, claimant, "by"):
            ways.append(AllOf((*mine, LessThan("attempt", attempt + 1))))
        if claimant.redelivered and claimant.message_id:
            ways.append(AllOf((Equals("by", claimant.message_id), LessThan("attempt", attempt))))
        try:
            await self._table.put(item, AnyOf(tuple(ways)))
        except ConditionFailed:
            return False
        return True

    async def step_claim(self, run: Run, job: str) -> StepClaim | None:
        """The claim on a planned step, if anybody made one."""
        item = await self._table.get(Key(records_of(run.run_id), f"C#{job}"))
        if item is None:
            return None
        made_at = from_ms(int(item["claimed_at"])) if "claimed_at" in item else None
        return StepClaim(str(item["owner"]), str(item["by"]), int(item["attempt"]), made_at)

    async def begin_call(self, run: Run, owner: str, invocation: str) -> bool:
        """Note that the call that was handed over under a claim begins; False when it began before, or is withdrawn.

        `invocation` tells the one that begins from another, and a note of its own whose writing was never answered.
        """
        try:
            await self._table.put({**self._items.call_item(run, owner), "by": invocation}, Absent())
        except ConditionFailed as standing:
            return (standing.existing or {}).get("by") == invocation
        return True

    async def withdraw_call(self, run: Run, owner: str) -> bool:
        """Keep the call that may have been handed over under a claim from beginning; False when it has begun.

        Both write the same item, so that one of them is first:

            orchestrator         claims, hands over ── dies
            app                                  begins ──────────────── runs the step ──────────────── reports
            orchestrator again                           (delivered again) ── withdraws: too late, a report will come
        """
        try:
            await self._table.put({**self._items.call_item(run, owner), "withdrawn": True}, Absent())
        except ConditionFailed as standing:
            return "withdrawn" in (standing.existing or {})
        return True

    async def save(self, decision: Decision, *, peeked: bool = False, owner: str | None = None) -> str | None:
        """Write the records in order. None, or the job of the one that stands already; none after it is written.

        `peeked`: the records come from a peek at a run that others may claim. They are kept only while nobody has; but
        an empty plan does no harm.
        `owner`: the claim under which the run is to end; an end by anybody else is refused. None: whoever asks.
        """
        try:
            for record in decision.records:
                # A plan of nothing only harms a call that was handed over: its answer would come too late.
                if peeked and isinstance(record, Plan) and (record.ops or decision.run.target.get("reports")):
                    await self._save_unclaimed(
                        decision.run, self._items.plan_item(decision.run, record), record.turn + 1
                    )
                elif peeked and isinstance(record, FailedAttempt):
                    failed = self._items.failed_item(decision.run, record)
                    await self._save_unclaimed(decision.run, failed, len(decision.run.plans))
                elif peeked and isinstance(record, RunEnded):
                    await self._end(decision.run, record, _still(decision.run))
                else:
                    await self._write(decision.run, record, owner)
        except ConditionFailed as standing:
            return str((standing.existing or {}).get("job", ""))
        return None

    async def _save_unclaimed(self, run: Run, item: Item, turns: int) -> None:
        """Save what a peek found, with the number of plans in the header: whoever claims the run must have read it."""
        header = header_key(run)
        mine = Update(header, Changes(set={"turns": turns}), AllOf((_LIVE, _still(run))))
        try:
            await self._table.transact([Put(item, Absent()), mine])
        except TransactionFailed as failed:
            key = Key(str(item["pk"]), str(item["sk"])) if 0 in failed.failed else header
            raise ConditionFailed(key, await self._table.get(key)) from failed

    async def extend(self, run: Run, until: datetime) -> None:
        """Extend the retention of every item of a run to the given moment; the header last."""
        stamp = Changes(set={"expires_at": int(until.timestamp())})
        for key in await self.record_keys(run):
            await self._table.update(key, stamp)
        await self._table.update(header_key(run), stamp)

    async def record_keys(self, run: Run) -> list[Key]:
        """The keys of a run's records, without its header."""
        return [
            Key(str(item["pk"]), str(item["sk"])) for item in (await self._table.query(records_of(run.run_id))).items
        ]

    def keep_until(self, run: Run, alive_at: datetime | None = None) -> datetime:
        """When the run expires, by its records so far."""
        return self._items.keep_until(run, alive_at)

    async def _write(self, run: Run, record: Record, owner: str | None) -> None:
        match record:
            case ClosedStep():
                await self._table.put(await self._items.closed_item(run, record), Absent())
            case Plan():
                await self._table.put(self._items.plan_item(run, record), Absent())
            case FailedAttempt():
                await self._table.put(self._items.failed_item(run, record), Absent())
            case RunBegun():
                changes = Changes(set={"status": RunStatus.RUNNING.value, "started_at": to_ms(record.started_at)})
                await self._table.update(header_key(run), changes, In("status", (RunStatus.QUEUED.value,)))
            case RunEnded():
                await self._end(run, record, Equals("owner", owner) if owner else None)

    async def _end(self, run: Run, ended: RunEnded, owned: Condition | None) -> None:
        output = await self._values.store(f"runs/{run.run_id}/output", ended.output)
        changes: dict[str, str | int | bool | bytes] = {
            "status": ended.status.value,
            "outcome": ended.outcome.value,
            "ended_at": to_ms(ended.ended_at),
            "end_attempt": ended.attempt,
            **{f"output{kind}": value for kind, value in output.items()},
        }
        if ended.started_at is not None:
            changes["end_started_at"] = to_ms(ended.started_at)
        conditions = (_LIVE,) if owned is None else (_LIVE, owned)
        await self._table.update(header_key(run), Changes(set=changes), AllOf(conditions))


def _still(run: Run) -> Condition:
    """That nobody has claimed the run since it was read."""
    return Equals("owner", run.owner) if run.owner else LacksAttribute("owner")


def _made_before(run: Run, claimant: Claimant, by: str) -> tuple[Condition, ...]:
    """What holds if a redelivered message made the current claim, and its call is not under way at the app."""
    if not (claimant.redelivered and claimant.message_id):
        return ()
    mine = Equals(by, claimant.message_id)
    if not run.target.get("reports"):
        return (mine,)
    return (mine, Equals("owner", claimant.withdrawn)) if claimant.withdrawn else ()


def _position(run: Run) -> int:
    """Grows with every closed step and with every attempt of the discovery that follows; a claim holds for one."""
    return len(run.closed) * (MAX_RETRIES + 2) + run.attempt_of(run.discovery_job)


def _torn(items: list[Item]) -> bool:
    """Whether a plan is missing before another one.

    A query of DynamoDB reads each item at a different moment, not all of them at once:

        reader     reads P#4: missing ───────────────── reads P#5: there
        writers                        write P#4, write P#5
    """
    turns = [str(item["sk"]) for item in items if str(item["sk"]).startswith("P#")]
    return bool(turns) and turns[-1] != f"P#{len(turns) - 1:05d}"
