"""Calls DynamoDB, SQS, EventBridge and Lambda over a pool of connections, without boto3: for the hot path.

botocore gives the credentials and the signature (0.12 ms); urllib3 the pool; the JSON is ours. A call costs about a
quarter of boto3's CPU. The network's waiting happens on worker threads, one for each connection.

Laws: an answer is returned or AwsRefused/AwsUnreachable raised (retries: `aws_calls`); connections that rested longer
than `_REST_SECONDS` are closed unused, because a Lambda that was frozen finds its connections dead and cannot tell a
request that died on the way from one whose answer did.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from milepost_engine.adapters.aws_calls import Answer, AwsRefused, AwsUnreachable, Retries, with_retries

__all__ = ["AwsHttp", "LambdaAnswer", "endpoint_url"]

_REST_SECONDS: Final = 20
_CONNECT_SECONDS: Final = 3.0
_READ_SECONDS: Final = 10.0

# Service: the prefix of its operations in X-Amz-Target, and its JSON version.
_JSON_SERVICES: Final = {
    "dynamodb": ("DynamoDB_20120810", "1.0"),
    "sqs": ("AmazonSQS", "1.0"),
    "events": ("AWSEvents", "1.1"),
}
# Where the name in AWS_ENDPOINT_URL_<NAME> is not that of the host.
_ENDPOINT_VARIABLES: Final = {"events": "EVENTBRIDGE"}

_encode: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, default=lambda raw: base64.b64encode(raw).decode()
).encode


def endpoint_url(service: str, region: str, environment: Mapping[str, str]) -> str:
    """The service's URL: AWS_ENDPOINT_URL_<SERVICE>, else AWS_ENDPOINT_URL, else Amazon's; no slash at the end."""
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
class _Call:
    service: str
    operation: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    read_seconds: float = _READ_SECONDS


class AwsHttp:
    """One pool of connections and threads; `max_connections` calls travel at once, further ones wait.

    Lambda calls may last minutes: give them a pool of their own. `credentials` are botocore's (they may refresh
    themselves); `environment` is searched for endpoint URLs; `ca_bundle` is a file of certificates.
    """

    def __init__(
        self,
        credentials: Any,
        region: str,
        *,
        retries: Retries,
        environment: Mapping[str, str] | None = None,
        max_connections: int = 64,
        ca_bundle: str | None = None,
    ) -> None:
        if credentials is None:
            raise ValueError("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
        self._credentials = credentials
        self._region = region
        self._retries = retries
        self._environment = environment or {}
        self._executor = ThreadPoolExecutor(max_connections, thread_name_prefix="milepost-aws")
        self._pool = urllib3.PoolManager(
            maxsize=max_connections, retries=False, ca_certs=ca_bundle or get_cert_path(verify=True)
        )
        self._last_use: datetime | None = None

    def service(self, name: str) -> "JsonService":
        """A caller of dynamodb, sqs or events."""
        return JsonService(self, name)

    async def invoke(
        self,
        function: str,
        payload: bytes,
        *,
        asynchronous: bool = False,
        timeout_seconds: float = 900.0,
    ) -> LambdaAnswer:
        """Invokes a Lambda function by name or (versioned) ARN; repeated only if Lambda was too busy to start."""
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Amz-Invocation-Type": "Event" if asynchronous else "RequestResponse",
        }
        path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
        call = _Call("lambda", "Invoke", path, headers, payload, timeout_seconds)
        answer = await self.send(call, repeatable=False)
        return LambdaAnswer(
            answer.status,
            answer.data,
            answer.headers.get("X-Amz-Function-Error"),
            answer.headers.get("X-Amz-Executed-Version"),
        )

    async def send(self, call: _Call, *, repeatable: bool) -> urllib3.BaseHTTPResponse:
        """Sends the call on a worker thread, again if that is safe."""
        loop = asyncio.get_running_loop()

        async def attempt() -> urllib3.BaseHTTPResponse:
            self._close_rested()
            return await loop.run_in_executor(self._executor, self._send, call)

        return await with_retries(attempt, self._retries, repeatable=repeatable)

    def close(self) -> None:
        """Closes the connections and lets the threads go; calls on their way end first."""
        self._executor.shutdown()
        self._pool.clear()

    def _close_rested(self) -> None:
        now = self._retries.clock.now()  # the wall clock: while a Lambda is frozen others may stand still
        if self._last_use is not None and now - self._last_use > timedelta(seconds=_REST_SECONDS):
            self._pool.clear()
        self._last_use = now

    def _send(self, call: _Call) -> urllib3.BaseHTTPResponse:
        url = endpoint_url(call.service, self._region, self._environment) + call.path
        request = AWSRequest("POST", url, headers=dict(call.headers), data=call.body)
        try:
            credentials = self._credentials.get_frozen_credentials()
            SigV4Auth(credentials, call.service, self._region).add_auth(request)
            answer = self._pool.request(
                "POST",
                url,
                body=call.body,
                headers=dict(request.headers.items()),
                redirect=False,
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=call.read_seconds),
            )
        except BotoCoreError as error:
            raise AwsUnreachable(call.operation, f"no credentials: {error}", sent=False) from error
        except HTTPError as error:
            sent = not isinstance(error, NewConnectionError | ConnectTimeoutError)
            raise AwsUnreachable(call.operation, f"{url}: {error}", sent=sent) from error
        if answer.status >= 300:
            raise _refusal(call.operation, answer)
        return answer


class JsonService:
    """Implements `Caller` for one service."""

    def __init__(self, http: AwsHttp, service: str) -> None:
        self._http = http
        self._service = service
        self._prefix, version = _JSON_SERVICES[service]
        self._content_type = f"application/x-amz-json-{version}"

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> Answer:
        """Calls the operation; binary values are bytes in the request and base64 in the answer."""
        headers = {"Content-Type": self._content_type, "X-Amz-Target": f"{self._prefix}.{operation}"}
        call = _Call(self._service, operation, "/", headers, _encode(request).encode())
        answer = await self._http.send(call, repeatable=repeatable)
        decoded: Answer = json.loads(answer.data or b"{}")
        return decoded


def _refusal(operation: str, answer: urllib3.BaseHTTPResponse) -> AwsRefused:
    try:
        details = json.loads(answer.data or b"{}")
    except ValueError:
        details = None
    if not isinstance(details, dict):  # a load balancer's own page
        details = {"message": answer.data[:200].decode(errors="replace")}
    # A type may come with its namespace before a "#", or with a URL after a ":".
    told = details.get("__type") or answer.headers.get("X-Amzn-ErrorType") or details.get("code") or "Unknown"
    code = str(told).rpartition("#")[2].partition(":")[0]
    message = str(details.get("message") or details.get("Message") or "")
    return AwsRefused(operation, code, message, answer.status, details)
