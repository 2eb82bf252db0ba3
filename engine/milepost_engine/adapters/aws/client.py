"""Calls DynamoDB, SQS, EventBridge and Lambda without boto3: for the hot path.

`credentials.py` finds the credentials, `signing.py` makes the signature, `sockets.py` has the connections; the JSON
is encoded here. A call takes about a tenth of boto3's CPU, and no thread.

Law: an answer is returned, or AwsRefused or AwsUnreachable raised; `calls.py` decides what is sent again.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

from milepost_engine.adapters.clock import wall
from milepost_engine.codec import loads

from .calls import AwsAnswer, AwsRefused, AwsRetries, AwsUnreachable, with_retries
from .signing import Signer, host_of
from .sockets import Connections, HttpAnswer, NotAnswered, NotConnected

__all__ = ["AwsHttp", "AwsTransport", "LambdaAnswer", "endpoint_url"]

_ANSWER_SECONDS: Final = 10.0

# Service: the prefix of its operations in X-Amz-Target, and its JSON version.
_JSON_SERVICES: Final = {
    "dynamodb": ("DynamoDB_20120810", "1.0"),
    "sqs": ("AmazonSQS", "1.0"),
    "events": ("AWSEvents", "1.1"),
}
# Services whose name in AWS_ENDPOINT_URL_<NAME> differs from that in the host name.
_ENDPOINT_VARIABLES: Final = {"events": "EVENTBRIDGE"}

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, default=lambda raw: base64.b64encode(raw).decode()
).encode


def endpoint_url(service: str, region: str, environment: Mapping[str, str]) -> str:
    """The service's URL: AWS_ENDPOINT_URL_<SERVICE>, else AWS_ENDPOINT_URL, else Amazon's; without a trailing slash."""
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        own = f"AWS_ENDPOINT_URL_{_ENDPOINT_VARIABLES.get(service, service.upper())}"
        if configured := environment.get(own) or environment.get("AWS_ENDPOINT_URL"):
            return configured.rstrip("/")
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{service}.{region}.{suffix}"


@dataclass(frozen=True, slots=True)
class LambdaAnswer:
    """`status` is 200, or 202 for an asynchronous call; `function_error` is set if the function failed."""

    status: int
    payload: bytes
    function_error: str | None
    executed_version: str | None


@dataclass(frozen=True, slots=True)
class _AwsCall:
    service: str
    operation: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    answer_seconds: float = _ANSWER_SECONDS


class AwsTransport(Protocol):
    """Carries a signed call to AWS and its answer back: `Connections`, or a fake AWS in a test's process."""

    async def request(
        self, origin: str, target: str, headers: dict[str, str], body: bytes, *, answer_seconds: float
    ) -> HttpAnswer:
        """Raises NotConnected when nothing was sent, NotAnswered when no whole answer came."""
        ...

    async def close(self) -> None: ...


class AwsHttp:
    """One pool of connections; at most `max_connections` calls at once, further ones wait. For one event loop.

    Lambda calls may last minutes: give them a pool of their own. `credentials` have botocore's interface (they may
    refresh themselves). `environment` is searched for endpoint URLs and AWS_CA_BUNDLE; `ca_bundle`, a file of
    certificates, takes precedence. `transport` replaces the connections, `wall` the system's clock. The clock that
    never goes back would not do: AWS refuses a signature that is minutes off.
    """

    def __init__(
        self,
        credentials: Any,
        region: str,
        *,
        retries: AwsRetries,
        environment: Mapping[str, str] | None = None,
        max_connections: int = 64,
        ca_bundle: str | None = None,
        transport: AwsTransport | None = None,
        wall: Callable[[], datetime] = wall,
    ) -> None:
        if credentials is None:
            raise ValueError("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
        self._credentials = credentials
        self._region = region
        self._wall = wall
        self._signers: dict[str, Signer] = {}
        self._retries = retries
        self._environment = environment or {}
        bundle = ca_bundle or self._environment.get("AWS_CA_BUNDLE") or _certificates()
        self._connections: AwsTransport = transport or Connections(
            retries.clock, limit=max_connections, ca_bundle=bundle
        )

    def service(self, name: str) -> JsonService:
        """A caller for dynamodb, sqs or events."""
        return JsonService(self, name)

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        asynchronous: bool = False,
        timeout_seconds: float = 900.0,
    ) -> LambdaAnswer:
        """Invokes a Lambda function by name or (versioned) ARN; repeated only if it was throttled or never sent."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Amz-Invocation-Type": "Event" if asynchronous else "RequestResponse",
        }
        path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
        call = _AwsCall("lambda", "Invoke", path, headers, payload, timeout_seconds)
        answer = await self.send(call, repeatable=False)
        return LambdaAnswer(
            answer.status,
            answer.body,
            answer.headers.get("x-amz-function-error"),
            answer.headers.get("x-amz-executed-version"),
        )

    async def send(self, call: _AwsCall, *, repeatable: bool) -> HttpAnswer:
        """Sends the call, and again if that is safe."""
        return await with_retries(lambda: self._send(call), self._retries, repeatable=repeatable)

    async def close(self) -> None:
        """Closes the idle connections; calls in progress may still finish."""
        await self._connections.close()

    async def _send(self, call: _AwsCall) -> HttpAnswer:
        origin = endpoint_url(call.service, self._region, self._environment)
        headers = await self._signed(call, origin)
        try:
            answer = await self._connections.request(
                origin, call.path, headers, call.body, answer_seconds=call.answer_seconds
            )
        except NotConnected as error:
            raise AwsUnreachable(call.operation, str(error), sent=False) from error
        except NotAnswered as error:
            raise AwsUnreachable(call.operation, f"{origin}: {error}", sent=True) from error
        if answer.status >= 300:
            raise _refusal(call.operation, answer)
        return answer

    async def _signed(self, call: _AwsCall, origin: str) -> dict[str, str]:
        signer = self._signers.get(call.service)
        if signer is None:
            signer = self._signers[call.service] = Signer(call.service, self._region)
        try:
            if getattr(self._credentials, "refresh_needed", bool)():
                await asyncio.to_thread(self._credentials.get_frozen_credentials)  # it may use the network
            credentials = self._credentials.get_frozen_credentials()
        except _botocore_error() as error:
            raise AwsUnreachable(call.operation, f"no credentials: {error}", sent=False) from error
        return signer.sign(credentials, host_of(origin), call.path, call.headers, call.body, self._wall())


def _botocore_error() -> type[Exception]:
    """What botocore's credentials raise; imported only after something was raised, because the import is slow."""
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above

    return cast("type[Exception]", BotoCoreError)


def _certificates() -> str | None:
    """The certificates that botocore would trust, found without importing it; None for the system's."""
    for package in ("certifi", "botocore"):
        found = importlib.util.find_spec(package)
        bundle = Path(found.origin).with_name("cacert.pem") if found is not None and found.origin else None
        if bundle is not None and bundle.is_file():
            return str(bundle)
    return None


class JsonService:
    """Implements `Caller` for one service."""

    def __init__(self, http: AwsHttp, service: str) -> None:
        self._http = http
        self._service = service
        self._prefix, version = _JSON_SERVICES[service]
        self._content_type = f"application/x-amz-json-{version}"

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        """Calls the operation; binary values are bytes in the request and base64 in the answer."""
        headers = {"Content-Type": self._content_type, "X-Amz-Target": f"{self._prefix}.{operation}"}
        call = _AwsCall(self._service, operation, "/", headers, _encode(request).encode())
        answer = await self._http.send(call, repeatable=repeatable)
        return cast("AwsAnswer", loads(answer.body or b"{}"))


def _refusal(operation: str, answer: HttpAnswer) -> AwsRefused:
    try:
        details = loads(answer.body or b"{}")
    except ValueError:
        details = None
    if not isinstance(details, dict):  # a load balancer's error page
        details = {"message": answer.body[:200].decode(errors="replace")}
    # The type may have a namespace before a "#", or a URL after a ":".
    type_ = details.get("__type") or answer.headers.get("x-amzn-errortype") or details.get("code") or "Unknown"
    code = str(type_).rpartition("#")[2].partition(":")[0]
    message = str(details.get("message") or details.get("Message") or "")
    return AwsRefused(operation, code, message, answer.status, details)
