"""Reads what user code answered: an HTTP-shaped response becomes an input of the machine (protocol §2.4, §2.5)."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from milepost.protocol import (
    MAX_NESTING,
    MAX_RESPONSE_BYTES,
    MAX_STEP_OUTPUT_BYTES,
    Header,
    Opcode,
    Response,
    hash_step_id,
    nests_deeper,
)
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.core.ids import from_ms
from milepost_engine.core.inputs import Call, InvocationFailed, InvocationReturned, ReportedOp
from milepost_engine.core.opcodes import failure_text
from milepost_engine.ports import InvocationProblem, ProblemKind

__all__ = ["problem_input", "read_answer", "read_ops"]

_COMPLETE_ID: Final = hash_step_id("complete")
_SAYS_NOTHING: Final = frozenset({Opcode.NONE, Opcode.DISCOVERY_REQUEST})
_MARK: Final = re.compile("[0-9a-f]{8}")
_UNCOUNTED: Final = frozenset({ProblemKind.THROTTLED})
_FINAL: Final = frozenset({ProblemKind.TOO_LARGE})
_MAX_ERROR_NESTING: Final = MAX_NESTING + 10
"""An error carries data, and up to five causes within each other that do."""


def read_answer(call: Call, response: Response, now: datetime) -> InvocationReturned | InvocationFailed:
    """The input that a response stands for."""
    if len(response.body) > MAX_RESPONSE_BYTES:
        return InvocationFailed(call, failure_text("OutputTooLarge", _too_large(len(response.body))), no_retry=True)
    response = _unwrap_stream(response)
    headers = response.headers
    no_retry = headers.get(Header.NO_RETRY, "").lower() == "true"
    retry_after = _retry_after(headers.get(Header.RETRY_AFTER, ""), now)
    known = Header.SDK in headers
    if not 200 <= response.status < 300:
        error = _error_of(response) if known else _silent(response.status)
        return InvocationFailed(call, _named(error, response.status, no_retry=no_retry), no_retry, retry_after)
    if not known:
        error = failure_text(
            "NotAnSdk",
            f"The app answered {response.status} without the header {Header.SDK.value}: "
            "something in front of it answered instead. Check the URL that the app was registered with.",
        )
        return InvocationFailed(call, {**error, "code": "not_sdk"})
    if response.status != 206:
        done = ReportedOp(_COMPLETE_ID, Opcode.RUN_COMPLETE, data=_json_or_text(response.body))
        return InvocationReturned(call, (done,))
    try:
        return InvocationReturned(call, read_ops(loads(response.body)), no_retry, retry_after)
    except ValueError as error:
        return InvocationFailed(
            call, failure_text("UnreadableAnswer", f"error reading generator opcode response: {error}")
        )


def problem_input(call: Call, problem: InvocationProblem, where: str) -> InvocationFailed:
    """The input that a missing answer stands for."""
    code = {"unreachable": "http_unreachable", "timeout": "request_duration_too_long"}.get(problem.kind, problem.kind)
    error = failure_text(_PROBLEM_NAMES.get(problem.kind, "InvocationProblem"), f"{problem.detail} ({where})")
    return InvocationFailed(
        call, {**error, "code": code}, no_retry=problem.kind in _FINAL, counts=problem.kind not in _UNCOUNTED
    )


_PROBLEM_NAMES: Final = {
    ProblemKind.UNREACHABLE: "AppUnreachable",
    ProblemKind.TIMEOUT: "InvocationTimeout",
    ProblemKind.CRASHED: "AppCrashed",
    ProblemKind.TOO_LARGE: "OutputTooLarge",
    ProblemKind.THROTTLED: "AppThrottled",
    ProblemKind.MALFORMED: "AnswerMalformed",
    ProblemKind.MISSING: "AppMissing",
    ProblemKind.FORBIDDEN: "AppForbidden",
}


def read_ops(value: Json) -> tuple[ReportedOp, ...]:
    """The ops of a 206 body or of a checkpoint. Raises ValueError that says which op is wrong."""
    listed = value if isinstance(value, list) else [value]
    return tuple(op for raw in listed if (op := _op(raw)) is not None)


def _op(raw: Json) -> ReportedOp | None:
    if not isinstance(raw, Mapping):
        raise ValueError(f"an op must be an object, got {type(raw).__name__}")  # noqa: TRY004 - one class for bad answers
    word = str(raw.get("op", ""))
    kind = Opcode.parse(word)
    if kind is None:
        raise ValueError(f"{word} does not belong to Opcode values")
    if kind in _SAYS_NOTHING:
        return None
    step_id = str(raw.get("id") or (_COMPLETE_ID if kind is Opcode.RUN_COMPLETE else ""))
    if not step_id:
        raise ValueError(f"the op {word} has no id")
    data = dumps(raw.get("data"))
    name = str(raw.get("displayName") or raw.get("name") or _userland_id(raw) or step_id)
    opts = raw.get("opts")
    error = raw.get("error")
    kept: dict[str, Json] = dict(cast("Mapping[str, Json]", opts)) if isinstance(opts, Mapping) else {}
    if kind is Opcode.SLEEP and not kept.get("duration"):
        kept["duration"] = raw.get("name")
    if kind is Opcode.WAIT_FOR_EVENT and not kept.get("event"):
        kept["event"] = raw.get("name")
    started, ended = _timing(raw.get("timing"))
    if kind is Opcode.STEP_RUN and len(data) > MAX_STEP_OUTPUT_BYTES:
        # Kept as a result that failed, so that the body does not run again for an answer that can never be stored.
        kind, data = Opcode.STEP_FAILED, b"null"
        error = {**failure_text("OutputTooLarge", f"Step {name!r} {_step_too_large()}"), "noRetry": True}
    elif kind is Opcode.STEP_RUN and nests_deeper(data):
        kind, data = Opcode.STEP_FAILED, b"null"
        error = {**failure_text("OutputTooDeep", f"Step {name!r} {_step_too_deep()}"), "noRetry": True}
    problem = _shallow(cast("Mapping[str, Json]", error)) if isinstance(error, Mapping) else None
    return ReportedOp(step_id, kind, name, data, problem, kept, started, ended, _mark(raw))


def _userland_id(raw: Mapping[str, Json]) -> Json:
    userland = raw.get("userland")
    return userland.get("id") if isinstance(userland, Mapping) else None


def _mark(raw: Mapping[str, Json]) -> str:
    userland = raw.get("userland")
    mark = userland.get("mark") if isinstance(userland, Mapping) else None
    return mark if isinstance(mark, str) and _MARK.fullmatch(mark) else ""


def _timing(timing: Json) -> tuple[datetime | None, datetime | None]:
    """When a step's body began and ended: ours in milliseconds, npm's as start and length in nanoseconds."""
    if not isinstance(timing, Mapping):
        return None, None
    started, ended = timing.get("started_at"), timing.get("ended_at")
    if isinstance(started, int | float) and isinstance(ended, int | float):
        return _moment(started), _moment(ended)
    begin, length = timing.get("a"), timing.get("b")
    if isinstance(begin, int) and isinstance(length, int):
        return _moment(begin / 1e6), _moment((begin + length) / 1e6)
    return None, None


def _moment(milliseconds: float) -> datetime | None:
    return from_ms(int(milliseconds)) if 0 < milliseconds < 4e12 else None


def _unwrap_stream(response: Response) -> Response:
    """A 201 carries whitespace that kept the connection open, then the real answer."""
    if response.status != 201:
        return response
    try:
        wrapped = loads(response.body.strip())
    except ValueError:
        return response
    if not isinstance(wrapped, Mapping) or "status" not in wrapped:
        return response
    inner = wrapped.get("body")
    body = inner.encode() if isinstance(inner, str) else dumps(inner)
    extra = wrapped.get("headers")
    more = {str(k).lower(): str(v) for k, v in extra.items()} if isinstance(extra, Mapping) else {}
    return Response(int(cast("int", wrapped["status"])), {**response.headers, **more}, body)


def _json_or_text(body: bytes) -> bytes:
    if not body:
        return b"null"
    try:
        return dumps(loads(body))
    except ValueError:
        return dumps(body.decode("utf-8", "replace"))


def _error_of(response: Response) -> dict[str, Json]:
    try:
        body = loads(response.body)
    except ValueError:
        body = None
    if isinstance(body, str):
        # Some SDK adapters encode the error object twice.
        try:
            body = loads(body)
        except ValueError:
            body = {"message": body}
    if not isinstance(body, Mapping):
        body = {"message": response.body[:2000].decode("utf-8", "replace")}
    error = {str(key): value for key, value in body.items()}
    error.setdefault("name", "Error")
    error.setdefault("message", "")
    error.setdefault("stack", "")
    return _shallow(error)


def _shallow(error: Mapping[str, Json]) -> dict[str, Json]:
    """An error that can be kept: data that is nested too deeply is left out, because the message is what counts."""
    if nests_deeper(dumps(error), _MAX_ERROR_NESTING):
        return {key: value for key, value in error.items() if not isinstance(value, Mapping | list)}
    return dict(error)


def _named(error: dict[str, Json], status: int, *, no_retry: bool) -> dict[str, Json]:
    return {"error": "NonRetriableError" if no_retry else f"invalid status code: {status}", **error}


def _silent(status: int) -> dict[str, Json]:
    return {
        "name": "Server returned a fatal error",
        "message": f"Your server returned HTTP {status} before the SDK responded.",
        "stack": "",
    }


def _retry_after(text: str, now: datetime) -> timedelta | None:
    """Seconds (at most seven digits), RFC 3339 or an HTTP date."""
    text = text.strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text)) if len(text) <= 7 else None
    for read in (datetime.fromisoformat, email.utils.parsedate_to_datetime):
        try:
            moment = read(text)
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
    return None


def _too_large(size: int) -> str:
    return f"The answer has {size} bytes; at most {MAX_RESPONSE_BYTES} are allowed. Return a reference instead."


def _step_too_large() -> str:
    return (
        f"returned more than {MAX_STEP_OUTPUT_BYTES} bytes of JSON. "
        "Store the content (in S3, for example) and return a reference to it."
    )


def _step_too_deep() -> str:
    return f"returned a value nested more than {MAX_NESTING} levels deep. Return a flatter value, or the value as text."
