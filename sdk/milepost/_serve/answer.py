"""Writes the answer of an invocation as an HTTP response (protocol §2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pydantic_core import from_json

from milepost._declare.retries import Retries
from milepost._replay.ops import Answer, Op, Raised, Returned, join_ops
from milepost._replay.requests import CallRequest
from milepost._values.failure import Failure, is_final, retry_after_of
from milepost._values.serializer import pack
from milepost._values.web import json_response
from milepost.errors import PayloadTooLargeError
from milepost.middleware import HookCaller, Middlewares, StepOutput
from milepost.protocol import MAX_RESPONSE_BYTES, Header, Opcode, Response

__all__ = ["transform_answer", "transform_ops", "write_answer"]


def write_answer(answer: Answer, call: CallRequest, now: datetime) -> Response:
    """The response: 206 with ops, 200 with the result, 400 or 500 with the error."""
    if isinstance(answer, Returned):
        response = json_response(200, answer.data)
    elif isinstance(answer, Raised):
        response = _error_response(answer.error, now, call.retries)
    else:
        response = json_response(206, join_ops(answer.ops), _retry_headers(answer.error, now))
    if len(response.body) <= MAX_RESPONSE_BYTES:
        return response
    error = PayloadTooLargeError(
        f"the response of function {call.function_id!r}, run {call.run_id}, has {len(response.body)} bytes; at most "
        f"{MAX_RESPONSE_BYTES} are allowed. Return less from steps and the function, or references to stored content."
    )
    return _error_response(error, now, None)


def _error_response(error: BaseException, now: datetime, policy: Retries | None) -> Response:
    final = is_final(error, policy.allows if policy is not None else None)
    body = replace(Failure.of(error), no_retry=False).to_wire()
    headers = _retry_headers(error, now)
    if final:
        headers[Header.NO_RETRY.value] = "true"
    return json_response(400 if final else 500, body, headers)


def _retry_headers(error: BaseException | None, now: datetime) -> dict[str, str]:
    retry = retry_after_of(error) if error is not None else None
    return {Header.RETRY_AFTER.value: retry.header(now)} if retry is not None else {}


async def transform_answer(middlewares: Middlewares, caller: HookCaller, answer: Answer, call: CallRequest) -> Answer:
    """The answer with each output passed through `transform_output`."""
    if isinstance(answer, Raised) or not middlewares.overrides("transform_output"):
        return answer
    if isinstance(answer, Returned):
        output = await _transform(
            middlewares, caller, StepOutput(call.function_id, call.run_id, None, from_json(answer.data))
        )
        return Returned(pack(output.data, None, f"middleware of function {call.function_id!r}"))
    return replace(answer, ops=tuple(await transform_ops(middlewares, caller, answer.ops, call)))


async def transform_ops(middlewares: Middlewares, caller: HookCaller, ops: Sequence[Op], call: CallRequest) -> list[Op]:
    """Ops with their outputs passed through `transform_output`; ops without an output stay unchanged."""
    return [await _transform_op(middlewares, caller, op, call) for op in ops]


async def _transform_op(middlewares: Middlewares, caller: HookCaller, op: Op, call: CallRequest) -> Op:
    if op.data is None and op.failure is None:
        return op
    step = None if op.opcode is Opcode.RUN_COMPLETE else op.name
    data: object = from_json(op.data) if op.data is not None else None
    output = await _transform(middlewares, caller, StepOutput(call.function_id, call.run_id, step, data, op.failure))
    if op.failure is not None:
        return replace(op, failure=output.failure or op.failure)
    return replace(op, data=pack(output.data, None, f"middleware, for {op.name!r},"))


async def _transform(middlewares: Middlewares, caller: HookCaller, output: StepOutput) -> StepOutput:
    return await middlewares.transform(caller, "transform_output", output, inwards=False)
