"""The ways to the server of runs: over HTTP to a dev server or a stack's API, or by invoking a stack's Lambda.

HttpApi.request ─────────┐
LambdaApi.request ───────┴─► BlockingDoor (sync code) · WaitingDoor (async code, on a thread)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol, cast, runtime_checkable

from pydantic_core import from_json, to_json

from milepost._declare.runs import Door
from milepost._values.json_types import JsonObject
from milepost.errors import ConfigError, RunRefusedError, SendError

from .http import Reply
from .tries import TRIES, pause_seconds

if TYPE_CHECKING:
    from .sender import EventSender

__all__ = ["AppDoors", "LambdaApi", "RunsApi", "RunsHost"]

_TRANSIENT: Final = frozenset({
    "EC2ThrottledException", "ENILimitReachedException", "ServiceException", "ThrottlingException",
    "TooManyRequestsException",
})  # fmt: skip


class RunsApi(Protocol):
    """Sends one request, in several tries; blocks. Raises SendError."""

    def request(self, method: str, path: str, body: bytes | None = None) -> Reply: ...


@runtime_checkable
class RunsHost(Protocol):
    """A transport of events that is a server of runs too: a test harness."""

    def waiting_door(self) -> Door: ...

    def blocking_door(self) -> Door: ...


class LambdaClient(Protocol):
    """The one method of a boto3 client of `lambda` that is used."""

    @property
    def invoke(self) -> Callable[..., Mapping[str, object]]: ...


class LambdaApi:
    """Invokes the Lambda of a stack that answers requests about runs; IAM decides who may.

    Args:
        function: Name or ARN of the Lambda. `App` takes it from MILEPOST_RUNS_FUNCTION.
        client: A boto3 client of `lambda`; by default created for the first request.
        pause: Called with the seconds to wait between tries; for tests.
    """

    def __init__(
        self, function: str, *, client: LambdaClient | None = None, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._function = function
        self._made = client
        self._pause = pause

    def request(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """Send a request, in up to five tries while the Lambda fails or is throttled; then raises SendError.

        Raises RunRefusedError if a permission or the Lambda is missing, ConfigError without boto3.
        """
        payload = b'{"method":%s,"path":%s,"body":%s}' % (to_json(method), to_json(path), body or b"null")
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(pause_seconds(attempt))
            reply, problem = self._once(payload)
            if reply is not None:
                return reply
        raise SendError(f"{method} {path} through the Lambda {self._function!r} failed {TRIES} times: {problem}")

    def _once(self, payload: bytes) -> tuple[Reply | None, str]:
        client, errors = self._client(), import_module("botocore.exceptions")
        try:
            answer = client.invoke(FunctionName=self._function, Payload=payload)
            text = cast("_Readable", answer["Payload"]).read()
        except errors.ClientError as error:
            given: JsonObject = error.response
            status = given.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(given.get("Error", {}).get("Code", ""))
            if status >= 500 or code in _TRANSIENT:
                return None, str(error)
            raise RunRefusedError(
                f"the Lambda {self._function!r} cannot be invoked: {error}. The caller needs lambda:InvokeFunction on "
                "it (Milepost.grant_start in the CDK), and MILEPOST_RUNS_FUNCTION must name it", reason=code,
            ) from error  # fmt: skip
        except errors.BotoCoreError as error:
            return None, str(error)
        if answer.get("FunctionError"):
            return None, text[:500].decode("utf-8", "replace")
        read = cast("JsonObject", from_json(text))
        return Reply(int(read["status"]), to_json(read["body"])), ""

    def _client(self) -> LambdaClient:
        if self._made is None:
            try:
                boto3 = import_module("boto3")  # takes 0.3 s
            except ImportError:
                raise ConfigError("starting runs in a stack needs boto3: pip install 'milepost[aws]'") from None
            self._made = cast("LambdaClient", boto3.client("lambda"))
        return self._made


class _Readable(Protocol):
    def read(self) -> bytes: ...


class _BlockingDoor:
    """For sync code: nothing here suspends."""

    def __init__(self, api: RunsApi) -> None:
        self._api = api

    async def request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        reply = self._api.request(method, path, body)
        return reply.status, reply.body

    async def pause(self, seconds: float, left: float | None) -> None:  # noqa: ARG002 - as the Protocol says
        time.sleep(seconds)  # noqa: ASYNC251 - blocking is what sync code asks for

    def now(self) -> float:
        return time.monotonic()


class _WaitingDoor:
    """For async code: requests are sent on a thread."""

    def __init__(self, api: RunsApi) -> None:
        self._api = api

    async def request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        import asyncio  # noqa: PLC0415 - takes 30 ms, needed only here

        reply = await asyncio.to_thread(self._api.request, method, path, body)
        return reply.status, reply.body

    async def pause(self, seconds: float, left: float | None) -> None:  # noqa: ARG002 - as the Protocol says
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()


class AppDoors:
    """The doors of an app: to the harness that it is in, else over `api`, the way that the environment names."""

    def __init__(self, api: RunsApi | None, sender: EventSender) -> None:
        self._api = api
        self._sender = sender

    def waiting(self) -> Door | None:
        host = self._sender.current_default()
        if isinstance(host, RunsHost):
            return host.waiting_door()
        return _WaitingDoor(self._api) if self._api else None

    def blocking(self) -> Door | None:
        host = self._sender.current_default()
        if isinstance(host, RunsHost):
            return host.blocking_door()
        return _BlockingDoor(self._api) if self._api else None

    def seed(self) -> str:
        return self._sender.fresh_seed()

    def chain(self, function_id: str) -> int:
        return self._sender.place_in_chain(f"start of {function_id}")
