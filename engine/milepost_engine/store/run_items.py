"""Converts runs and their records to items of the table and back.

`runs.py` lists the items; their attributes are defined here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, cast

from milepost.protocol import Opcode
from milepost_engine.codec import loads, text
from milepost_engine.core.ids import from_ms, to_ms
from milepost_engine.core.retries import RetryPolicy
from milepost_engine.core.run import (
    CancelOn,
    ClosedStep,
    FailedAttempt,
    OpenOp,
    Outcome,
    Parent,
    Plan,
    Run,
    RunEnded,
    RunStatus,
    StepStatus,
)
from milepost_engine.ports import Item, Key

from .lifetimes import lifetime
from .values import Values

__all__ = [
    "DEFAULT_RETENTION",
    "RunItems",
    "address_of",
    "function_of",
    "header_key",
    "is_live",
    "list_of_runs",
    "records_of",
]

DEFAULT_RETENTION: Final = timedelta(days=30)


def list_of_runs(function_id: str) -> str:
    """The partition of a function's headers; their sort keys are the runs' ids."""
    return f"F#{function_id}"


def records_of(run_id: str) -> str:
    """The partition of a run's records."""
    return f"R#{run_id}"


def header_key(run: Run) -> Key:
    return Key(list_of_runs(run.function_id), run.run_id)


def function_of(header: Item) -> str:
    """The function id in a header's key."""
    return str(header["pk"])[2:]


def is_live(header: Item) -> bool:
    """Whether a run has not ended."""
    return not RunStatus(str(header["status"])).ended


def address_of(header: Item) -> str:
    """The address that a run calls; empty if it is not pinned to one."""
    target = cast("Mapping[str, object]", _mapping(str(header["given"])).get("target", {}))
    return str(target.get("address", ""))


class RunItems:
    """Makes items and reads them. Large values are stored in blobs on the way."""

    def __init__(self, values: Values, retention: timedelta) -> None:
        self._values = values
        self._retention = retention

    def keep_until(self, run: Run, alive_at: datetime | None = None) -> datetime:
        """When the run expires, by its records so far: see `lifetimes.py`. `alive_at`: it lives until then."""
        begins = run.start_at or run.queued_at
        lives_to = max(_last_closed(run), run.view.latest_due or begins, alive_at or begins)
        return begins + lifetime(run.retention or self._retention, lives_to - begins)

    def _base(self, run: Run, sk: str) -> Item:
        return {"pk": records_of(run.run_id), "sk": sk, "expires_at": int(self.keep_until(run).timestamp())}

    async def closed_item(self, run: Run, step: ClosedStep) -> Item:
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
        if step.by:
            item["by"] = step.by
        stored = await self._values.store(f"runs/{run.run_id}/{step.step_id}", step.memo)
        item |= {f"memo{kind}": value for kind, value in stored.items()}
        return item

    def plan_item(self, run: Run, plan: Plan) -> Item:
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
        # Only what the order adds to that of the previous plan: the whole order would grow with every plan of a long
        # run, and a write is billed by its size.
        before = run.plans[plan.turn - 1].order if plan.turn else run.kept
        known = len(before) if plan.order[: len(before)] == before else 0
        return (
            self._base(run, f"P#{plan.turn:05d}")
            | _by(plan.by)
            | {
                "job": plan.job,
                "known": known,
                "order": " ".join(plan.order[known:]),
                "recorded_at": to_ms(plan.recorded_at),
                **self._values.pack("ops", text(ops).encode()),
            }
        )

    def failed_item(self, run: Run, failed: FailedAttempt) -> Item:
        return (
            self._base(run, f"A#{failed.job}#{failed.attempt:03d}")
            | _by(failed.by)
            | {
                "job": failed.job,
                "attempt": failed.attempt,
                "step_id": failed.step_id,
                "name": failed.name,
                "started_at": to_ms(failed.started_at),
                "ended_at": to_ms(failed.ended_at),
                "next_at": to_ms(failed.next_at),
                **self._values.pack("error", text(dict(failed.error)).encode()),
            }
        )

    def claim_item(self, run: Run, job: str) -> Item:
        return self._base(run, f"C#{job}")

    def call_item(self, run: Run, owner: str) -> Item:
        return self._base(run, f"B#{owner}")

    def header_item(self, run: Run) -> Item:
        given = {
            "event_ids": run.event_ids[1:],
            "start_at": to_ms(run.start_at) if run.start_at else None,
            "start_by": to_ms(run.start_by) if run.start_by else None,
            "finish_by": to_ms(run.finish_by) if run.finish_by else None,
            "retries": _policy_out(run.retries),
            "step_limit": run.step_limit,
            "retention": int(run.retention.total_seconds()) if run.retention else None,
            "peeks": run.peeks,
            "checkpoint": run.checkpoint,
            **({"chain": run.chain} if run.chain else {}),
            "parent": _parent(run.parent) if run.parent else None,
            "cancel_on": [[c.event, c.expression] for c in run.cancel_on],
            "target": dict(run.target),
            "kept": run.kept,
        }
        key = header_key(run)
        item: Item = {
            "pk": key.pk,
            "sk": key.sk,
            "expires_at": int(self.keep_until(run).timestamp()),
            "app_id": run.app_id,
            "status": run.status.value,
            "queued_at": to_ms(run.queued_at),
            "event_id": run.event_ids[0],
            "event_name": run.event_name,
            "given": text({key: value for key, value in given.items() if value not in (None, [], (), {}, False)}),
        }
        optional = {"origin_run_id": run.origin_run_id, "app_version": run.app_version}
        return item | {key: value for key, value in optional.items() if value}

    # --- items → run ----------------------------------------------------------------------------------------------

    def records(self, items: list[Item], kept: tuple[str, ...]) -> list[ClosedStep | Plan | FailedAttempt]:
        records: list[ClosedStep | Plan | FailedAttempt] = []
        order = kept
        # In the order of the sort keys: failed attempts by number, plans by turn.
        for item in items:
            match str(item["sk"])[0]:
                case "S":
                    records.append(self.closed(item))
                case "P":
                    plan = self._plan(item, order)
                    order = plan.order
                    records.append(plan)
                case "A":
                    records.append(self._failed(item))
                case _:
                    pass
        return records

    def closed(self, item: Item) -> ClosedStep:
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
            by=str(item.get("by", "")),
        )

    def _plan(self, item: Item, before: tuple[str, ...]) -> Plan:
        """A plan, given the order of the previous plan."""
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
        turn, recorded_at = int(str(item["sk"])[2:]), from_ms(int(item["recorded_at"]))
        return Plan(turn, str(item["job"]), order, tuple(ops), recorded_at, by=str(item.get("by", "")))

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
            by=str(item.get("by", "")),
        )

    def header(self, item: Item) -> tuple[Run, tuple[str, ...]]:
        """The run without its records, and the steps that it has kept from its origin."""
        given = _mapping(str(item["given"]))
        parent = cast("tuple[str, str, str, bool] | None", given.get("parent"))
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
            run_id=str(item["sk"]),
            app_id=str(item["app_id"]),
            function_id=function_of(item),
            status=status,
            event_ids=(str(item["event_id"]), *cast("list[str]", given.get("event_ids", []))),
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
            chain=cast("int", given.get("chain", 0)),
            parent=Parent(*parent) if parent else None,
            origin_run_id=str(item.get("origin_run_id", "")),
            owner=str(item.get("owner", "")),
            claimed_by=str(item.get("claimed_by", "")),
            claimed_at=_moment(item.get("claimed_at")),
            cancel_on=tuple(CancelOn(*pair) for pair in cast("list[list[str]]", given.get("cancel_on", []))),
            target=cast("Mapping[str, object]", given.get("target", {})),
        )
        return run, tuple(cast("list[str]", given.get("kept", [])))


def _by(message_id: str) -> Item:
    return {"by": message_id} if message_id else {}


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


def _parent(parent: Parent) -> list[object]:
    named: list[object] = [parent.run_id, parent.step_id, parent.function_id]
    return [*named, True] if parent.cancels else named
