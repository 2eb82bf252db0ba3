"""Builds the call request of the wire protocol (§2.3) from a run and the job to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from milepost.protocol import DISCOVERY, EXTENSION, Header, Request, sign
from milepost_engine.codec import dumps
from milepost_engine.core.inputs import Call
from milepost_engine.core.run import BlobRef, Run, Stored
from milepost_engine.store.values import Values

from .canonical_json import canonical

__all__ = ["INLINE_CALL_BYTES", "build_call", "build_request", "is_peek", "memo_json"]

INLINE_CALL_BYTES: Final = 4 * 1024 * 1024 - 1024
"""A larger call carries no steps: the SDK fetches them (protocol §2.3, `use_api`)."""
_RUN_ID: Final = Header.RUN_ID.value
_CLAIM: Final = Header.CLAIM.value
_REQUEST_ID: Final = Header.REQUEST_ID.value
_HEADERS: Final = {
    "content-type": "application/json",
    "user-agent": "Milepost",
    Header.REQUEST_VERSION.value: "-1",
}


def build_call(run: Run, job: str, attempt: int, now: datetime) -> Call:
    """What this invocation is given: a discovery all closed steps, a planned step those that its plan had seen."""
    if job.startswith(DISCOVERY):
        return Call(job, attempt, run.order, now)
    plan = run.plan_of(job)
    return Call(job, attempt, plan.order if plan else run.order, now)


def is_peek(run: Run, job: str) -> bool:
    """Whether a job is a peek, a discovery of a run with open work (rule 4); others may advance the run meanwhile."""
    return job.startswith(DISCOVERY) and bool(run.view.open)


def max_attempts(run: Run, job: str) -> int:
    op = run.open_op(job)
    policy = op.retries if op is not None and op.retries is not None else run.retries
    return policy.max_attempts


def stretches_logged(run: Run, call: Call) -> int:
    """How many stretches of the function's code have written their log lines, in calls that are on record.

    The first stretch leads to the first step, each other one follows a closed step of `call.order`. A discovery writes
    the lines of those that it is the first to reach; a step that fails in it is reached again by the next attempt.
    """
    if any(failed.step_id for failed in run.failures.get(call.job, ())):
        return len(call.order) + 1
    return run.view.seen + 1 if call.order else 0


async def memo_json(run: Run, order: Sequence[str], values: Values, texts: dict[str, bytes] | None = None) -> bytes:
    """The memoised steps by id, as JSON text.

    `texts` keeps each step's own part for the next call: it has all that this one has, and a closed step never changes.
    """
    texts = {} if texts is None else texts
    large: dict[str, Stored] = {}
    for step_id in order:
        if step_id not in texts:
            memo = run.closed[step_id].memo
            if isinstance(memo, BlobRef):
                large[step_id] = memo
            else:
                texts[step_id] = _part(step_id, memo)
    if large:
        loaded = await asyncio.gather(*map(values.load, large.values()))
        # Not kept: `values` remembers as much as there is room for.
        texts = {**texts, **{step_id: _part(step_id, memo) for step_id, memo in zip(large, loaded, strict=True)}}
    return b"{%s}" % b",".join([texts[step_id] for step_id in order])


def _part(step_id: str, memo: bytes) -> bytes:
    return b'"%s":%s' % (step_id.encode(), memo)


async def build_request(
    run: Run,
    call: Call,
    events: Sequence[bytes],
    values: Values,
    *,
    request_id: str,
    claim: str,
    signing_key: str | None,
    now: datetime,
    inline_bytes: float = INLINE_CALL_BYTES,
    texts: dict[str, bytes] | None = None,
) -> Request:
    """The signed request. `events` are JSON texts; the first is the trigger event. `texts`: see `memo_json`.

    `claim` is the claim under which the call is made; it comes back with the steps that the invocation saves (of other
    SDKs at the end of `qi_id`, which they return as it was).
    """
    steps = await memo_json(run, call.order, values, texts)
    use_api = len(steps) + sum(map(len, events)) > inline_bytes
    if use_api:
        steps = b"{}"
    context = _context(run, call, request_id=request_id, claim=claim, use_api=use_api, now=now)
    inline = [] if use_api and sum(map(len, events)) > inline_bytes else events
    first = events[0] if len(events[0]) <= inline_bytes else b"{}"
    body = b'{"ctx":%s,"event":%s,"events":[%s],"steps":%s,"defers":{},"use_api":%s,"version":-1}' % (
        dumps(context),
        first,
        b",".join(inline),
        steps,
        b"true" if use_api else b"false",
    )
    headers = {**_HEADERS, _RUN_ID: run.run_id, _REQUEST_ID: request_id, "x-inngest-step-id": call.target}
    headers[_CLAIM] = claim
    if signing_key:
        # `peeks` is for our own SDK, which checks the bytes that travelled.
        body = body if run.peeks else canonical(body)
        headers[Header.SIGNATURE.value] = sign(signing_key, body, now)
    return Request("POST", {"fnId": run.function_id, "stepId": call.target}, headers, body)


def _context(run: Run, call: Call, *, request_id: str, claim: str, use_api: bool, now: datetime) -> dict[str, object]:
    """The field `ctx` of a call."""
    job_id = f"{run.run_id}.{call.job}.{call.attempt}"
    return {
        "attempt": call.attempt,
        "max_attempts": max_attempts(run, call.job),
        "disable_immediate_execution": is_peek(run, call.job),
        "env": "",
        "fn_id": run.function_id,
        "run_id": run.run_id,
        "request_id": request_id,
        "job_id": job_id,
        "qi_id": f"{job_id}.{claim}",
        "generation_id": 1,
        "stack": {"stack": list(call.order), "current": len(call.order)},
        "step_id": call.target,
        "use_api": use_api,
        # Extension: tells our SDK that it may continue after a step, and which log lines are written.
        EXTENSION: {
            "version": 1,
            "replay": bool(run.origin_run_id),
            "checkpoint": run.checkpoint,
            "chain": run.chain_at(now),
            "logged": stretches_logged(run, call),
        },
    }
