"""What comes back from an asynchronous invocation: the app's report, or the report that it failed.

    orchestrator   hands the call over, with a token ── is done with its message
    app                            runs ────────────────────── reports: the token, and its answer
    orchestrator                                                        acts on the answer, continues

The invocation is the run's baton, and its report is. It may come twice, late, or after another invocation was made
for the same job, so its content counts only
 1. for a planned step: while the step is open;
 2. for a discovery: while the run stands where the invocation left it (`at`: its own checkpoints move the run on);
 3. for a failure, besides: as the attempt that is next and, of a discovery, from the invocation that the run's owner
    made: otherwise another one is under way, or has reported already.
A report that does not count changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from milepost.protocol import DISCOVERY, Opcode, Response
from milepost_engine.core.ids import from_ms, short_hash
from milepost_engine.core.inputs import Call, InvocationFailed, InvocationReturned
from milepost_engine.core.opcodes import failure_text
from milepost_engine.core.run import Run
from milepost_engine.ports import Blobs, InvocationProblem
from milepost_engine.store.messages import CallToken, InvocationReport, encode

from .responses import problem_input, read_answer

__all__ = ["INLINE_REPORT_BYTES", "answer_of", "failure_body", "overtaken", "rebased", "report_body", "wanted"]

INLINE_REPORT_BYTES: Final = 200_000
"""A larger report leaves its body in a blob. A message may have 1 MiB, but is billed for each 64 KB."""

_REFUSED_BY_SQS: Final = ("\ufffe", "\uffff")


def wanted(run: Run, token: CallToken) -> bool:
    """Whether an invocation that is about to begin is still asked for: the queue before it may deliver it twice."""
    if run.status.ended or token.attempt != run.attempt_of(token.job):
        return False
    if token.discovers:
        return token.job == run.discovery_job and token.owner == run.owner
    return run.open_op(token.job) is not None


def overtaken(run: Run, token: CallToken) -> bool:
    """Whether the run has moved past a discovery that was to be made under what is still the claim on the run."""
    return not run.status.ended and token.discovers and token.owner == run.owner and token.job != run.discovery_job


# --- writing: the app's side, and the side that reports its failure --------------------------------------------------


async def report_body(token: CallToken, at: str, response: Response, blobs: Blobs, name: str) -> str:
    """The message that carries an answer. `at` is the discovery that the run stands at by now, `name` is unique."""
    report = replace(_report(token, name), at=at, status=response.status, headers=dict(response.headers))
    body = _text_for_the_queue(response.body)
    if body is not None and len(written := encode(replace(report, body=body)).encode()) <= INLINE_REPORT_BYTES:
        return written.decode()
    key = f"runs/{token.run}/reports/{name}"
    await blobs.put(key, response.body)
    return encode(replace(report, body_ref=key))


def failure_body(token: CallToken, problem: InvocationProblem) -> str:
    """The message that reports an invocation without an answer."""
    name = short_hash(token.run, token.job, str(token.attempt), token.owner, "problem")
    return encode(replace(_report(token, name), problem={"kind": problem.kind, "detail": problem.detail}))


def _report(token: CallToken, name: str) -> InvocationReport:
    return InvocationReport(
        token.run,
        token.fn,
        message_id=name,
        job=token.job,
        attempt=token.attempt,
        owner=token.owner,
        turns=token.turns,
        started_at=token.started_at,
    )


# --- reading ----------------------------------------------------------------------------------------------------------


async def answer_of(
    run: Run, report: InvocationReport, blobs: Blobs, now: datetime
) -> InvocationReturned | InvocationFailed | None:
    """The input that a report stands for as the run is now; None when it does not count."""
    token = report.token
    if run.status.ended or (not token.discovers and run.open_op(token.job) is None):
        return None
    plan = run.plan_of(token.job)
    call = Call(token.job, token.attempt, plan.order if plan else run.order, from_ms(token.started_at))
    answer = await _read(run, call, report, blobs, now)
    if not _succeeded(answer) and not _may_fail(run, token):
        return None
    if not token.discovers:
        return answer
    at = report.at or _left_at(run, token)
    return rebased(run, answer) if at == run.discovery_job else None


def rebased(run: Run, answer: InvocationReturned | InvocationFailed) -> InvocationReturned | InvocationFailed:
    """The answer of a checkpointing discovery, counted from where its own checkpoints have brought the run."""
    call = answer.call
    fruitless = isinstance(answer, InvocationReturned) and not answer.ops
    if call.target != DISCOVERY or call.job == run.discovery_job or fruitless:
        return answer
    return replace(answer, call=replace(call, job=run.discovery_job, attempt=0, order=run.order))


async def _read(
    run: Run, call: Call, report: InvocationReport, blobs: Blobs, now: datetime
) -> InvocationReturned | InvocationFailed:
    where = f"function {run.function_id}, run {run.run_id}, {run.target.get('address', '')}"
    if report.problem is not None:
        problem = InvocationProblem(str(report.problem["kind"]), str(report.problem["detail"]))
        return problem_input(call, problem, where)
    body = await blobs.get(report.body_ref) if report.body_ref else (report.body or "").encode()
    if body is None:
        return InvocationFailed(call, failure_text("ValueGone", f"The answer {report.body_ref} is gone ({where})."))
    headers = {str(name): str(value) for name, value in report.headers.items()}
    return read_answer(call, Response(report.status, headers, body), now)


def _succeeded(answer: InvocationReturned | InvocationFailed) -> bool:
    """Whether an answer brings something, and no failed try."""
    if isinstance(answer, InvocationFailed):
        return False
    return bool(answer.ops) and not any(op.kind is Opcode.STEP_ERROR for op in answer.ops)


def _may_fail(run: Run, token: CallToken) -> bool:
    if token.discovers and token.owner != run.owner:
        return False
    if token.discovers and token.job != run.discovery_job:
        return run.attempt_of(run.discovery_job) == 0  # the first failure since its checkpoints moved the run on
    return token.attempt == run.attempt_of(token.job)


def _left_at(run: Run, token: CallToken) -> str:
    """Where an invocation that died has left the run: it cannot say what it saved, but only it saved anything.

    A checkpointing invocation has an owner of its own, and plans nothing before its end.
    """
    own = run.checkpoint and token.owner == run.owner and token.turns == len(run.plans)
    return run.discovery_job if own else token.job


def _text_for_the_queue(body: bytes) -> str | None:
    """The body as text that a queue takes; None for what must lie in a blob."""
    try:
        sound = body.decode()
    except UnicodeDecodeError:
        return None
    return None if any(each in sound for each in _REFUSED_BY_SQS) else sound
