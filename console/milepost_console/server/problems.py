"""Refusals as HTTP answers: a status, a stable code and a sentence.

MP201 manifest            MP301–MP309 runs, events and functions (engine)
MP310 malformed request   MP311 foreign host
MP312 foreign origin      MP313 missing header       MP314 too large          MP315 no such address
MP316 expression, filter  MP317 no such webhook      MP318 webhook refused    MP319 not available here
MP320 internal error      MP321 app cannot be reached or refused to register
MP323 data too large or too deep (engine)     MP324 the disk is full    MP325 no cron line (engine)
MP332 unknown AWS credentials  MP333 AWS refused a call  MP334 AWS does not answer
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from milepost_engine.adapters.aws.calls import AwsRefused, AwsUnreachable
from milepost_engine.codec import Json, dumps
from milepost_engine.http.webhooks import WebhookRefused
from milepost_engine.operations.actions import OperationError
from milepost_engine.store.manifest import ManifestError

__all__ = ["LOG_IN", "JsonResponse", "Refused", "add_handlers", "bare", "explain_aws_error", "problem_body"]

_STATUS: Final[Mapping[str, int]] = {
    "MP301": 404, "MP302": 409, "MP303": 409, "MP304": 410, "MP305": 409, "MP306": 404, "MP307": 400,
    "MP308": 404, "MP309": 409, "MP310": 400, "MP325": 400,
}  # fmt: skip

LOG_IN: Final = (
    "Log in (`aws sso login`, or set AWS_PROFILE), choose a region (--region or AWS_REGION), then try again; "
    "`aws sts get-caller-identity` shows your identity."
)
_UNKNOWN: Final = frozenset(
    {
        "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException",
        "SignatureDoesNotMatch", "UnrecognizedClientException",
    }
)  # fmt: skip


class JsonResponse(JSONResponse):
    """A JSON answer serialised by the engine's codec.

    A subclass of Starlette's JSONResponse, because FastAPI describes any other class as plain text.
    """

    def render(self, content: Json) -> bytes:
        return dumps(content)


class Refused(Exception):
    """A refusal, which becomes the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def problem_body(code: str, message: str) -> dict[str, Json]:
    """The JSON body of every refusal under /api."""
    return {"code": code, "error": message}


def explain_aws_error(operation: str, code: str, message: str) -> tuple[str, str]:
    """The code and message for an error returned by AWS."""
    if code in _UNKNOWN:
        return "MP332", f"AWS does not accept your credentials ({code}: {message}). {LOG_IN}"
    return "MP333", (
        f"AWS refused {operation} ({code}: {message}). If a permission is missing, see "
        "docs/permissions.md for the ones you need."
    )  # fmt: skip


def bare(code: str, error: Exception) -> str:
    """An engine message without its leading code, which has its own field."""
    return str(error).removeprefix(f"[{code}] ")


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JsonResponse(problem_body(error.code, error.message), error.status)


async def _operation(_: Request, error: Exception) -> Response:
    assert isinstance(error, OperationError)
    return JsonResponse(problem_body(error.code, bare(error.code, error)), _STATUS.get(error.code, 400))


async def _manifest(_: Request, error: Exception) -> Response:
    return JsonResponse(problem_body("MP201", bare("MP201", error)), 400)


async def _webhook(_: Request, error: Exception) -> Response:
    assert isinstance(error, WebhookRefused)
    body = problem_body(error.code, bare(error.code, error))
    return JsonResponse({**body, "ids": list(error.ids)} if error.ids else body, error.status)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    clauses = [f"{'.'.join(str(part) for part in item['loc'][1:]) or 'body'}: {item['msg']}" for item in error.errors()]
    return JsonResponse(problem_body("MP310", f"The request cannot be read: {'; '.join(clauses)}."), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        message = f"There is nothing at {request.method} {request.url.path}. The addresses are in /api/openapi.json."
        return JsonResponse(problem_body("MP315", message), 404)
    headers = dict(error.headers or {})
    return JsonResponse(problem_body("MP310", str(error.detail)), error.status_code, headers)


async def _aws_refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, AwsRefused)
    return JsonResponse(problem_body(*explain_aws_error(error.operation, error.code, error.message)), 502)


async def _aws_unreachable(_: Request, error: Exception) -> Response:
    return JsonResponse(problem_body("MP334", f"AWS does not answer: {error}. Check the network, then try again."), 503)


async def _internal(_: Request, error: Exception) -> Response:
    message = (
        f"The server failed: {type(error).__name__}: {error}. See its terminal for details. "
        "Nothing that was accepted is lost."
    )
    return JsonResponse(problem_body("MP320", message), 500)


def add_handlers(app: FastAPI) -> None:
    """Give every refusal the same shape."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(OperationError, _operation)
    app.add_exception_handler(ManifestError, _manifest)
    app.add_exception_handler(WebhookRefused, _webhook)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(AwsRefused, _aws_refused)
    app.add_exception_handler(AwsUnreachable, _aws_unreachable)
    app.add_exception_handler(Exception, _internal)
