"""Calls user code in a Lambda function: the protocol's request in the shape of a Function URL event.

A call is synchronous, or it is handed over: Lambda accepts it at once, and the app reports the result itself. If such
an invocation dies, Lambda's on-failure destination reports it (`failure_destination.py`).

    what Lambda answers                                  kind          counts    retried
    TooManyRequestsException (429)                       throttled     no        later, without limit
    timeout of the function                             timeout       yes       yes
    exit, import error, out of memory, a raised error    crashed       yes       yes
    no such function or version                          missing       yes       yes
    a permission is missing                              forbidden     yes       yes
    request or response over Lambda's limits             too_large     yes       no
    an answer that is not an HTTP response               malformed     yes       yes
    Lambda itself unreachable or at fault                unreachable   yes       yes
Sources: "Invoke" in the Lambda API reference; "Function URLs: request and response payloads" and "Lambda runtime
error types" in the Lambda developer guide.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from milepost.protocol import LAMBDA_API_ID, Request, Response
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

from .calls import AwsRefused, AwsUnreachable
from .client import LambdaAnswer

__all__ = ["LambdaInvoker", "Lambdas", "http_event", "problem_of"]

MAX_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
"""Lambda's limit for a synchronous call, for the request and for the response."""

MAX_HANDED_OVER_BYTES: Final = 1024 * 1024
"""Lambda's limit for an asynchronous call, and SQS's for the failure record, which contains the call."""

_GRACE_SECONDS: Final = 5.0
"""Added to the function's own timeout, for its start and the answer's way back."""

_ACCEPT_SECONDS: Final = 10.0
"""How long Lambda may take to accept an asynchronous call."""

_HOST: Final = "lambda.invalid"
"""A host name for an app that has no address; the protocol's SDKs need one to build a URL."""

_REFUSALS: Final = {
    "TooManyRequestsException": ProblemKind.THROTTLED,
    "ResourceNotFoundException": ProblemKind.MISSING,
    "AccessDeniedException": ProblemKind.FORBIDDEN,
    "RequestTooLargeException": ProblemKind.TOO_LARGE,
    "RequestEntityTooLargeException": ProblemKind.TOO_LARGE,
}
_FORBIDDEN: Final = (
    "the engine may not invoke it. Compose the app with MilepostApp, or grant lambda:InvokeFunction on the function "
    "and its versions to the orchestrator's role"
)


class Lambdas(Protocol):
    """Invokes Lambda functions; `AwsHttp` fits."""

    async def invoke(
        self, function: str, payload: bytes, *, asynchronous: bool = False, timeout_seconds: float
    ) -> LambdaAnswer:
        """Raises AwsRefused and AwsUnreachable."""
        ...


class LambdaInvoker:
    """Implements the ports Invoker and Handover for `Target("lambda", ARN)` of a function, a version or an alias.

    `longest_seconds` limits every synchronous call, whatever the app's own timeout.
    """

    def __init__(self, lambdas: Lambdas, longest_seconds: float = 900.0) -> None:
        self._lambdas = lambdas
        self._longest = longest_seconds

    async def invoke(self, target: Target, request: Request) -> Response:
        """Call the function and wait for its answer. Raises InvocationProblem when there is none."""
        payload = http_event(request)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise InvocationProblem(
                ProblemKind.TOO_LARGE,
                f"the request has {len(payload)} bytes, Lambda accepts {MAX_PAYLOAD_BYTES}: return references from "
                "large steps",
            )
        timeout = min(target.timeout_seconds, self._longest) + _GRACE_SECONDS
        answer = await self._call(target, payload, asynchronous=False, timeout_seconds=timeout)
        if answer.function_error:
            raise problem_of(_json(answer.payload))
        return _response(answer.payload)

    async def hand_over(self, target: Target, request: Request, token: Mapping[str, object]) -> None:
        """Have Lambda call the function asynchronously, with the token in the event. Raises InvocationProblem."""
        payload = http_event(request, token)
        if len(payload) > MAX_HANDED_OVER_BYTES:
            raise InvocationProblem(
                ProblemKind.TOO_LARGE,
                f"the request has {len(payload)} bytes, Lambda accepts {MAX_HANDED_OVER_BYTES} for an asynchronous "
                "call: return references from large steps",
            )
        await self._call(target, payload, asynchronous=True, timeout_seconds=_ACCEPT_SECONDS)

    async def _call(
        self, target: Target, payload: bytes, *, asynchronous: bool, timeout_seconds: float
    ) -> LambdaAnswer:
        try:
            return await self._lambdas.invoke(
                target.address, payload, asynchronous=asynchronous, timeout_seconds=timeout_seconds
            )
        except AwsRefused as refusal:
            raise _refused(target.address, refusal) from refusal
        except AwsUnreachable as error:
            raise InvocationProblem(ProblemKind.UNREACHABLE, f"{error}; the code may have run") from error


def http_event(request: Request, token: Mapping[str, object] | None = None) -> bytes:
    """The event of payload format 2.0 that carries a request, with the token if the call is handed over."""
    headers = {"host": _HOST, "x-forwarded-proto": "https", **request.headers}
    text, is_base64 = _text(request.body)
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": urlencode(request.query),
        "queryStringParameters": dict(request.query),
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": LAMBDA_API_ID,
            "domainName": _HOST,
            "domainPrefix": "lambda",
            "http": {
                "method": request.method,
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": headers.get("user-agent", "Milepost"),
            },
            "requestId": headers.get("x-request-id", ""),
            "routeKey": "$default",
            "stage": "$default",
        },
        "body": text,
        "isBase64Encoded": is_base64,
        **({"milepost": dict(token)} if token else {}),
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def problem_of(payload: object) -> InvocationProblem:
    """The problem in the payload of a failed invocation: `{"errorType", "errorMessage", "stackTrace"}`."""
    error = payload if isinstance(payload, Mapping) else {}
    kind, message = str(error.get("errorType") or ""), str(error.get("errorMessage") or payload or "no details")
    if kind == "Sandbox.Timedout" or "Task timed out after" in message:
        return InvocationProblem(
            ProblemKind.TIMEOUT, f"{message}. Split the step, or give the function a longer timeout"
        )
    if kind == "Runtime.OutOfMemory" or "signal: killed" in message:
        return InvocationProblem(
            ProblemKind.CRASHED,
            f"the function was killed, most likely out of memory ({message}). Give it more memory_mb",
        )
    if kind == "Function.ResponseSizeTooLarge":
        return InvocationProblem(ProblemKind.TOO_LARGE, f"{message} Return a reference instead")
    if kind == "Runtime.ImportModuleError":
        return InvocationProblem(
            ProblemKind.CRASHED, f"the code could not be imported: {message}. Check its requirements.txt"
        )
    return InvocationProblem(ProblemKind.CRASHED, f"{kind}: {message}" if kind else message)


def _refused(address: str, refusal: AwsRefused) -> InvocationProblem:
    kind = _REFUSALS.get(refusal.code)
    if kind is None and refusal.status in {401, 403}:
        kind = ProblemKind.FORBIDDEN
    if kind is None and refusal.status == 429:
        kind = ProblemKind.THROTTLED
    detail = f"{refusal.code}: {refusal.message}"
    match kind:
        case ProblemKind.MISSING:
            detail = f"there is no function {address}: deploy it again, or replay the run on the newest version"
        case ProblemKind.FORBIDDEN:
            detail = f"{detail}: {_FORBIDDEN}"
        case None:
            kind = ProblemKind.UNREACHABLE
    return InvocationProblem(kind, detail)


def _response(payload: bytes) -> Response:
    answer = _json(payload)
    status = answer.get("statusCode") if isinstance(answer, Mapping) else None
    if not isinstance(answer, Mapping) or isinstance(status, bool) or not isinstance(status, int):
        seen = payload[:200].decode("utf-8", "replace")
        raise InvocationProblem(
            ProblemKind.MALFORMED,
            f"the function answered {seen!r}, which is not an HTTP response: its handler must be the app's "
            "(`handler = app.lambda_handler()`)",
        )
    headers: Mapping[str, Any] = answer.get("headers") or {}
    body = answer.get("body") or ""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    try:
        raw = base64.b64decode(text, validate=True) if answer.get("isBase64Encoded") else text.encode()
    except ValueError as error:
        raise InvocationProblem(ProblemKind.MALFORMED, f"the body of the answer is not base64: {error}") from error
    return Response(status, {str(name).lower(): str(value) for name, value in headers.items()}, raw)


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode("utf-8", "replace")


def _text(body: bytes) -> tuple[str, bool]:
    """The body as text, or as base64 where that is shorter: escaped quotes and backslashes double their size."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True
    escapes = body.count(b'"') + body.count(b"\\")
    if escapes > len(body) // 3 and len(body) > 64 * 1024:
        return base64.b64encode(body).decode(), True
    return text, False
