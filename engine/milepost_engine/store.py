"""Runs in the table: which item holds what, and the one conditional write that each record is.

    pk            sk                    item
    R#<run>       H                     header: status, output, how it was started; alone it changes
    R#<run>       S#<step>              closed step
    R#<run>       P#<turn>              plan
    R#<run>       A#<job>#<attempt>     failed attempt
The header is listed under `runs#<function>`, so a run costs two writes of the index: begun and ended.

Every record but the end is a put where nothing stands yet. The end is an update of a header that has not ended:

    worker 1   reads Running ── decides Completed ── update when live: ok
    worker 2        reads Running ── decides Cancelled ───────── update when live: refused, stops
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, cast

from milepost.protocol import DISCOVERY, Opcode

from .codec import loads, text
from .core.ids import from_ms, to_ms
from .core.machine import Decision
from .core.retries import RetryPolicy
from .core.run import (
    CancelOn,
    ClosedStep,
    FailedAttempt,
    OpenOp,
    Outcome,
    Parent,
    Plan,
    Record,
    Run,
    RunBegun,
    RunEnded,
    RunStatus,
    StepStatus,
    View,
)
from .ports import (
    Absent,
    AllOf,
    AnyOf,
    Changes,
    ConditionFailed,
    Equals,
    HasNot,
    In,
    Item,
    Key,
    LessThan,
    Put,
    Table,
    TransactionFailed,
    Update,
)
from .values import Values

__all__ = ["DEFAULT_RETENTION", "Claim", "Pulse", "RunStore", "listing_of_runs", "run_key"]

DEFAULT_RETENTION: Final = timedelta(days=30)
_HEADER: Final = "H"
_READS: Final = 3
"""How often a run is read until no plan is missing; one that is being erased may stay so."""
_LIVE: Final = In("status", (RunStatus.QUEUED.value, RunStatus.RUNNING.value))


def run_key(run_id: str) -> Key:
    return Key(f"R#{run_id}", _HEADER)


def listing_of_runs(function_id: str) -> str:
    return f"runs#{function_id}"


@dataclass(frozen=True, slots=True)
class Pulse:
    """What must be known of a run before user code is called."""

    status: RunStatus
    owner: str
    closed: bool


class Claim(StrEnum):
    """How an attempt to go on with a run alone ended."""

    MINE = "mine"
    LOST = "lost"
    OUTDATED = "outdated"


class RunStore:
    """Loads and saves runs. Values larger than the inline limit lie in blobs under `runs/<run>/`."""

    def __init__(self, table: Table, values: Values, retention: timedelta = DEFAULT_RETENTION) -> None:
        self._table = table
        self._values = values
        self._retention = retention

    async def create(self, run: Run) -> bool:
        """Write the header and the kept steps of a replay; False when the run is there already."""
        for place, step_id in enumerate(run.kept):
            kept = replace(run.closed[step_id], seq=place + 1, job="kept")
            item = await self._closed_item(run, kept)
            await self._table.put(item)
        try:
            await self._table.put(self._header_item(run), Absent())
        except ConditionFailed:
            return False
        return True

    async def load(self, run_id: str) -> Run | None:
        """The run with all its records; None when there is no such run."""
        items: list[Item] = []
        for _ in range(_READS):
            items = (await self._table.query(f"R#{run_id}")).items
            if not _torn(items):
                break
        return self._fold(items)

    async def pulse(self, run_id: str, job: str = DISCOVERY) -> Pulse | None:
        """Whether the run still lives, whose it is, and whether the planned step `job` is closed: one small read."""
        keys = [run_key(run_id)] if job.startswith(DISCOVERY) else [run_key(run_id), Key(f"R#{run_id}", f"S#{job}")]
        items = await self._table.get_many(keys) if len(keys) > 1 else [await self._table.get(keys[0])]
        header = items[0]
        if header is None:
            return None
        closed = len(items) > 1 and items[1] is not None
        return Pulse(RunStatus(str(header["status"])), str(header.get("owner", "")), closed)

    async def closed_step(self, run_id: str, step_id: str) -> ClosedStep | None:
        """One closed step: one small read."""
        item = await self._table.get(Key(f"R#{run_id}", f"S#{step_id}"))
        return None if item is None else self._closed(item)

    async def take_over(self, run: Run, owner: str) -> Run:
        """Make the run another worker's; whoever drove it before stops before its next invocation."""
        try:
            await self._table.update(run_key(run.run_id), _owned(run, owner), _LIVE)
        except ConditionFailed:
            return run
        return replace(run, owner=owner)

    async def claim(self, run: Run, owner: str) -> Claim:
        """Make the run another worker's, once for each number of closed steps.

        worker 1   reads 2 closed ─────────────── claims them: ok
        worker 2     reads 2 closed ─────────────────── claims them: too late
        worker 3       reads 2 closed ── (a look plans more) ── claims them: knows too little, reads again
        """
        free = AnyOf((HasNot("owned_from"), LessThan("owned_from", len(run.closed))))
        known = AnyOf((HasNot("turns"), LessThan("turns", len(run.plans) + 1)))
        try:
            await self._table.update(run_key(run.run_id), _owned(run, owner), AllOf((_LIVE, free, known)))
        except ConditionFailed as refused:
            turns = int((refused.existing or {}).get("turns", 0))
            return Claim.OUTDATED if turns > len(run.plans) else Claim.LOST
        return Claim.MINE

    async def save(self, run_id: str, decision: Decision, *, looked: bool = False) -> str | None:
        """Write the records in order. None, or the job of the one that stands already; none after it is written.

        `looked`: the records come from a look at a run that others may claim. Its plan is kept only while nobody has.
        """
        try:
            for record in decision.records:
                if looked and isinstance(record, Plan) and record.ops:
                    await self._plan_unclaimed(decision.run, record)
                else:
                    await self._write(decision.run, run_id, record)
        except ConditionFailed as standing:
            return str((standing.existing or {}).get("job", ""))
        return None

    async def _plan_unclaimed(self, run: Run, plan: Plan) -> None:
        """Keep a look's plan and tell the header, which whoever claims the run must have seen."""
        item = self._plan_item(run, plan)
        owner = Equals("owner", run.owner) if run.owner else HasNot("owner")
        header = run_key(run.run_id)
        mine = Update(header, Changes(set={"turns": plan.turn + 1}), AllOf((_LIVE, owner)))
        try:
            await self._table.transact([Put(item, Absent()), mine])
        except TransactionFailed as failed:
            key = Key(str(item["pk"]), str(item["sk"])) if 0 in failed.failed else header
            raise ConditionFailed(key, await self._table.get(key)) from failed

    async def extend(self, run: Run, until: datetime) -> None:
        """Keep every item of a run, which sleeps or waits for long, until the given moment; the header last."""
        header = run_key(run.run_id)
        stamp = Changes(set={"expires_at": int(until.timestamp())})
        keys = [Key(str(item["pk"]), str(item["sk"])) for item in (await self._table.query(header.pk)).items]
        for key in sorted(keys, key=lambda key: key == header):
            await self._table.update(key, stamp)

    def keep_until(self, run: Run) -> datetime:
        """When retention lets go of the run, as its records now stand.

        A run that is busy for very long moves it on, by quarters of the retention: rarely, for it costs a write for
        each of the run's items.
        """
        retention = run.retention or self._retention
        begins = run.start_at or run.queued_at
        quarter = retention / 4
        busy = (_last_closed(run) - begins) // quarter * quarter
        return max(begins, begins + busy, run.view.latest_due or begins) + retention

    # --- records → items ------------------------------------------------------------------------------------------

    async def _write(self, run: Run, run_id: str, record: Record) -> None:
        match record:
            case ClosedStep():
                await self._table.put(await self._closed_item(run, record), Absent())
            case Plan():
                await self._table.put(self._plan_item(run, record), Absent())
            case FailedAttempt():
                await self._table.put(self._failed_item(run, record), Absent())
            case RunBegun():
                changes = Changes(set={"status": RunStatus.RUNNING.value, "started_at": to_ms(record.started_at)})
                await self._table.update(run_key(run_id), changes, In("status", (RunStatus.QUEUED.value,)))
            case RunEnded():
                await self._end(run, record)

    async def _end(self, run: Run, ended: RunEnded) -> None:
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
        await self._table.update(run_key(run.run_id), Changes(set=changes), _LIVE)

    def _base(self, run: Run, sk: str) -> Item:
        return {"pk": f"R#{run.run_id}", "sk": sk, "expires_at": int(self.keep_until(run).timestamp())}

    async def _closed_item(self, run: Run, step: ClosedStep) -> Item:
        item = self._base(run, f"S#{step.step_id}")
        item |= {
            "kind": step.kind.value,
            "name": step.name,
            "state": step.status.value,
            "seq": step.seq,
            "job": step.job,
            "attempt": step.attempt,
            "started_at": to_ms(step.started_at),
            "closed_at": to_ms(step.closed_at),
        }
        if step.detail:
            item["detail"] = text(dict(step.detail))
        stored = await self._values.store(f"runs/{run.run_id}/{step.step_id}", step.memo)
        item |= {f"memo{kind}": value for kind, value in stored.items()}
        return item

    def _plan_item(self, run: Run, plan: Plan) -> Item:
        ops = [
            {
                "id": op.step_id,
                "op": op.kind.value,
                "name": op.name,
                "due": to_ms(op.due_at) if op.due_at else None,
                "opts": op.opts,
                "retries": _policy_out(op.retries) if op.retries else None,
            }
            for op in plan.ops
        ]
        # Only what the order has more than that of the plan before: all of it would grow with every plan of a long run,
        # and a write is billed by its size.
        before = run.plans[plan.turn - 1].order if plan.turn else run.kept
        known = len(before) if plan.order[: len(before)] == before else 0
        return self._base(run, f"P#{plan.turn:05d}") | {
            "job": plan.job,
            "known": known,
            "order": " ".join(plan.order[known:]),
            "recorded_at": to_ms(plan.recorded_at),
            **self._values.pack("ops", text(ops).encode()),
        }

    def _failed_item(self, run: Run, failed: FailedAttempt) -> Item:
        return self._base(run, f"A#{failed.job}#{failed.attempt:03d}") | {
            "job": failed.job,
            "attempt": failed.attempt,
            "step_id": failed.step_id,
            "name": failed.name,
            "started_at": to_ms(failed.started_at),
            "ended_at": to_ms(failed.ended_at),
            "next_at": to_ms(failed.next_at),
            **self._values.pack("error", text(dict(failed.error)).encode()),
        }

    def _header_item(self, run: Run) -> Item:
        given = {
            "event_ids": run.event_ids,
            "start_at": to_ms(run.start_at) if run.start_at else None,
            "start_by": to_ms(run.start_by) if run.start_by else None,
            "finish_by": to_ms(run.finish_by) if run.finish_by else None,
            "retries": _policy_out(run.retries),
            "step_limit": run.step_limit,
            "retention": int(run.retention.total_seconds()) if run.retention else None,
            "peeks": run.peeks,
            "checkpoint": run.checkpoint,
            "parent": [run.parent.run_id, run.parent.step_id] if run.parent else None,
            "cancel_on": [[c.event, c.expression] for c in run.cancel_on],
            "target": dict(run.target),
            "kept": run.kept,
        }
        item: Item = self._base(run, _HEADER) | {
            "lpk": listing_of_runs(run.function_id),
            "lsk": run.run_id,
            "run_id": run.run_id,
            "app_id": run.app_id,
            "function_id": run.function_id,
            "status": run.status.value,
            "queued_at": to_ms(run.queued_at),
            "event_id": run.event_ids[0],
            "event_name": run.event_name,
            "given": text({key: value for key, value in given.items() if value not in (None, [], (), {}, False)}),
        }
        optional = {"origin_run_id": run.origin_run_id, "app_version": run.app_version}
        return item | {key: value for key, value in optional.items() if value}

    # --- items → run ----------------------------------------------------------------------------------------------

    def _fold(self, items: list[Item]) -> Run | None:
        header = next((item for item in items if item["sk"] == _HEADER), None)
        if header is None:
            return None
        run, kept = self._header(header)
        records: list[ClosedStep | Plan | FailedAttempt] = []
        order = kept
        # In the order of the sort keys: failed attempts by number, plans by turn.
        for item in items:
            match str(item["sk"])[0]:
                case "S":
                    records.append(self._closed(item))
                case "P":
                    plan = self._plan(item, order)
                    order = plan.order
                    records.append(plan)
                case "A":
                    records.append(self._failed(item))
                case _:
                    pass
        return replace(run, view=View.of(records, kept))

    def _closed(self, item: Item) -> ClosedStep:
        return ClosedStep(
            step_id=str(item["sk"])[2:],
            kind=Opcode(str(item["kind"])),
            name=str(item["name"]),
            status=StepStatus(str(item["state"])),
            memo=self._values.stored("memo", item),
            seq=int(item["seq"]),
            job=str(item["job"]),
            attempt=int(item["attempt"]),
            started_at=from_ms(int(item["started_at"])),
            closed_at=from_ms(int(item["closed_at"])),
            detail=_mapping(item["detail"]) if "detail" in item else {},
        )

    def _plan(self, item: Item, before: tuple[str, ...]) -> Plan:
        """A plan, given the order of the plan before it."""
        ops = []
        for op in cast("list[dict[str, object]]", loads(self._values.unpack("ops", item))):
            due, own = op["due"], op["retries"]
            ops.append(
                OpenOp(
                    str(op["id"]),
                    Opcode(str(op["op"])),
                    str(op["name"]),
                    from_ms(due) if isinstance(due, int) else None,
                    cast("Mapping[str, object]", op["opts"]),
                    _policy_in(own) if isinstance(own, list) else None,
                )
            )
        order = (*before[: int(item.get("known", 0))], *str(item["order"]).split())
        return Plan(int(str(item["sk"])[2:]), str(item["job"]), order, tuple(ops), from_ms(int(item["recorded_at"])))

    def _failed(self, item: Item) -> FailedAttempt:
        return FailedAttempt(
            str(item["job"]),
            int(item["attempt"]),
            str(item["step_id"]),
            str(item["name"]),
            _mapping(self._values.unpack("error", item)),
            from_ms(int(item["started_at"])),
            from_ms(int(item["ended_at"])),
            from_ms(int(item["next_at"])),
        )

    def _header(self, item: Item) -> tuple[Run, tuple[str, ...]]:
        """The run without its records, and which steps it has kept from its origin."""
        given = _mapping(str(item["given"]))
        parent = cast("list[str] | None", given.get("parent"))
        status = RunStatus(str(item["status"]))
        ended = None
        if status.ended:
            started = item.get("end_started_at")
            ended = RunEnded(
                status,
                Outcome(str(item["outcome"])),
                self._values.stored("output", item),
                from_ms(int(item["ended_at"])),
                int(item.get("end_attempt", 0)),
                from_ms(int(started)) if started is not None else None,
            )
        run = Run(
            run_id=str(item["run_id"]),
            app_id=str(item["app_id"]),
            function_id=str(item["function_id"]),
            status=status,
            event_ids=tuple(cast("list[str]", given["event_ids"])),
            event_name=str(item["event_name"]),
            queued_at=from_ms(int(item["queued_at"])),
            app_version=str(item.get("app_version", "")),
            start_at=_moment(given.get("start_at")),
            started_at=_moment(item.get("started_at")),
            start_by=_moment(given.get("start_by")),
            finish_by=_moment(given.get("finish_by")),
            ended=ended,
            retries=_policy_in(cast("list[float]", given["retries"])),
            step_limit=cast("int", given.get("step_limit", 1000)),
            retention=_span(given.get("retention")),
            kept_until=from_ms(int(item["expires_at"]) * 1000),
            peeks=bool(given.get("peeks")),
            checkpoint=bool(given.get("checkpoint")),
            parent=Parent(*parent) if parent else None,
            origin_run_id=str(item.get("origin_run_id", "")),
            owner=str(item.get("owner", "")),
            cancel_on=tuple(CancelOn(*pair) for pair in cast("list[list[str]]", given.get("cancel_on", []))),
            target=cast("Mapping[str, object]", given.get("target", {})),
        )
        return run, tuple(cast("list[str]", given.get("kept", [])))


def _owned(run: Run, owner: str) -> Changes:
    return Changes(set={"owner": owner, "owned_from": len(run.closed)})


def _torn(items: list[Item]) -> bool:
    """Whether a plan is missing before another.

    A query of DynamoDB sees each item as it is when it comes to it, not all at one moment:

        reader     comes to P#4: none ───────────────── comes to P#5: there
        writers                        write P#4, write P#5
    """
    turns = [str(item["sk"]) for item in items if str(item["sk"]).startswith("P#")]
    return bool(turns) and turns[-1] != f"P#{len(turns) - 1:05d}"


def _mapping(raw: str | bytes | int) -> dict[str, object]:
    return cast("dict[str, object]", loads(cast("str | bytes", raw)))


def _moment(value: object) -> datetime | None:
    return from_ms(value) if isinstance(value, int) else None


def _span(seconds: object) -> timedelta | None:
    return timedelta(seconds=seconds) if isinstance(seconds, int) else None


def _last_closed(run: Run) -> datetime:
    """When the last step ended; without any, when the run was queued."""
    order = run.view.order
    return run.view.closed[order[-1]].closed_at if order else run.queued_at


def _policy_out(policy: RetryPolicy) -> list[float | None]:
    return [policy.max_attempts, policy.first_seconds, policy.factor, policy.cap_seconds, policy.jitter]


def _policy_in(fields: list[float]) -> RetryPolicy:
    attempts, first, factor, cap, jitter = fields
    return RetryPolicy(int(attempts), first, factor, cap, jitter)
