"""AWS on its bad days: any call may be refused, be answered by nobody, or fail after it took effect.

    refused       throttled, or in conflict with a transaction: nothing was done, and AWS says so
    unavailable   a 500 before anything was done; the caller cannot know
    unsent        no connection
    lost          done, and the answer got lost
    broken        done, and answered by a 500
    partial       a batch of which only a part was done
A call also gives way to others before and after its effect, a random number of times: that is what mixes workers.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from milepost_engine.adapters.aws.calls import AwsAnswer, AwsRefused, AwsUnreachable, Caller
from milepost_engine.adapters.aws.client import AwsTransport
from milepost_engine.adapters.aws.sockets import HttpAnswer, NotAnswered, NotConnected
from milepost_engine.ports import TableBusy

__all__ = ["FaultyCaller", "FaultyPort", "FaultyTransport", "Storm"]

_KINDS: Final = ("refused", "unavailable", "unsent", "lost", "broken", "partial")
_THROTTLED: Final = {
    "dynamodb": "ProvisionedThroughputExceededException",
    "sqs": "RequestThrottled",
}
_WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})


@dataclass
class Storm:
    """Draws the faults; `share` of the calls have one. `happened` counts them by kind."""

    draw: random.Random
    share: float = 0.1
    happened: Counter[str] = field(default_factory=Counter)

    def fault(self) -> str:
        return self.draw.choice(_KINDS) if self.draw.random() < self.share else ""

    def note(self, kind: str) -> None:
        self.happened[kind] += 1

    async def mix(self) -> None:
        """Give way to other workers for a while."""
        for _ in range(self.draw.choice((0, 0, 0, 1, 2, 5))):
            await asyncio.sleep(0)


class FaultyTransport:
    """Implements the Transport of `AwsHttp` over another one, with faults."""

    def __init__(self, inner: AwsTransport, storm: Storm) -> None:
        self._inner = inner
        self._storm = storm

    async def request(
        self, origin: str, target: str, headers: dict[str, str], body: bytes, *, answer_seconds: float
    ) -> HttpAnswer:
        async def do(content: bytes) -> HttpAnswer:
            return await self._inner.request(origin, target, headers, content, answer_seconds=answer_seconds)

        storm = self._storm
        await storm.mix()
        fault = storm.fault()
        operation = headers["X-Amz-Target"].partition(".")[2]
        if fault == "partial":
            answer = await _part(operation, body, do, storm)
            await storm.mix()
            return answer
        storm.note(fault)
        match fault:
            case "refused":
                return _refused(origin, operation, storm)
            case "unavailable":
                return _failure(500, "InternalServerError")
            case "unsent":
                raise NotConnected("connection refused")
        answer = await do(body)
        await storm.mix()
        match fault:
            case "lost":
                raise NotAnswered("timed out")
            case "broken":
                return _failure(500, "InternalServerError")
        return answer

    async def close(self) -> None:
        await self._inner.close()


class FaultyCaller:
    """Implements Caller over another one, with the same faults: for S3."""

    def __init__(self, inner: Caller, storm: Storm) -> None:
        self._inner = inner
        self._storm = storm

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        storm = self._storm
        await storm.mix()
        fault = storm.fault()
        storm.note(fault)
        match fault:
            case "refused" | "unavailable":
                raise AwsRefused(operation, "SlowDown", "reduce your request rate", 503, {})
            case "unsent":
                raise AwsUnreachable(operation, "connection refused", sent=False)
        answer = await self._inner.call(operation, request, repeatable=repeatable)
        await storm.mix()
        match fault:
            case "lost" | "broken" | "partial":
                raise AwsUnreachable(operation, "timed out", sent=True)
        return answer


def _refused(origin: str, operation: str, storm: Storm) -> HttpAnswer:
    if operation in _WRITES and storm.draw.random() < 0.3:
        return _failure(400, "TransactionConflictException")
    service = origin.removeprefix("https://").partition(".")[0]
    return _failure(400, _THROTTLED.get(service, "ThrottlingException"))


def _failure(status: int, code: str) -> HttpAnswer:
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": "on a bad day"}).encode()
    return HttpAnswer(status, {"content-type": "application/x-amz-json-1.0"}, body)


async def _part(operation: str, body: bytes, do: Callable[[bytes], Awaitable[HttpAnswer]], storm: Storm) -> HttpAnswer:
    """Do a part of a batch and answer for all of it, as AWS does; other calls are simply done."""
    request = json.loads(body)
    match operation:
        case "SendMessageBatch":
            entries = request["Entries"]
            done = [entry for entry in entries if storm.draw.random() < 0.5]
            answer = await do(json.dumps({**request, "Entries": done}).encode()) if done else HttpAnswer(200, {}, b"{}")
            undone = [entry for entry in entries if entry not in done]
            failed = [{"Id": e["Id"], "SenderFault": False, "Code": "InternalError", "Message": ""} for e in undone]
            content = {**json.loads(answer.body), "Failed": failed}
        case "BatchGetItem":
            ((table, wanted),) = request["RequestItems"].items()
            cut = storm.draw.randrange(len(wanted["Keys"]) + 1)
            now, later = wanted["Keys"][:cut], wanted["Keys"][cut:]
            content = {"Responses": {table: []}, "UnprocessedKeys": {}}
            if now:
                part = {"RequestItems": {table: {**wanted, "Keys": now}}}
                content = json.loads((await do(json.dumps(part).encode())).body)
            if later:
                content["UnprocessedKeys"] = {table: {**wanted, "Keys": later}}
        case _:
            return await do(body)
    storm.note("partial")
    return HttpAnswer(200, {"content-type": "application/x-amz-json-1.0"}, json.dumps(content).encode())


class FaultyPort:
    """Any port of the engine, failing as its AWS adapter does: busy and nothing done, or no answer and who knows."""

    def __init__(self, port: object, storm: Storm) -> None:
        self._port = port
        self._storm = storm

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        return self._faulty(name, value) if inspect.iscoroutinefunction(value) else value

    def _faulty(self, name: str, operation: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*given: Any, **named: Any) -> Any:
            storm = self._storm
            await storm.mix()
            fault = storm.fault()
            if fault == "partial" and name == "send":
                given = ([message for message in given[0] if storm.draw.random() < 0.5],)
            storm.note(fault)
            match fault:
                case "refused":
                    raise TableBusy("throttled")
                case "unavailable" | "unsent":
                    raise AwsUnreachable(name, "on a bad day", sent=True)
            result = await operation(*given, **named)
            await storm.mix()
            if fault:
                raise AwsUnreachable(name, "timed out", sent=True)
            return result

        return call
