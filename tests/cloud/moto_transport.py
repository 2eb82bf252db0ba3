"""moto behind the production callers: every request is signed, encoded and parsed as for AWS, only no socket opens.

moto's delays run on the wall clock, so a message that moto accepted is handed to `sent`, and a queue on a wound clock
keeps it from there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from moto.core.request import Request
from moto.dynamodb.responses import DynamoHandler
from moto.sqs.responses import SQSResponse

from milepost_engine.adapters.aws.sockets import HttpAnswer

__all__ = ["MotoTransport"]

_HANDLERS: Final = {"dynamodb": DynamoHandler, "sqs": SQSResponse}


class MotoTransport:
    """Implements the Transport of `AwsHttp`. Single-threaded: moto's table is not atomic across threads."""

    def __init__(self) -> None:
        self.sent: Callable[[str, Mapping[str, Any]], None] = lambda _url, _entry: None
        """Called with the queue's URL and the entry of each message that the queue took."""
        self.put: Callable[[Mapping[str, Any]], None] = lambda _item: None
        """Called with each item that was put, in DynamoDB's JSON."""

    async def request(
        self, origin: str, target: str, headers: dict[str, str], body: bytes, *, answer_seconds: float
    ) -> HttpAnswer:
        operation = headers["X-Amz-Target"].partition(".")[2]
        url = origin + target
        request = Request.from_primitives("POST", url, headers, body)
        service = origin.removeprefix("https://").partition(".")[0]
        status, answer_headers, answer = _HANDLERS[service].dispatch(request, url, request.headers)
        content = answer if isinstance(answer, bytes) else answer.encode()
        if status == 200 and operation == "SendMessageBatch":
            self._took(json.loads(body), json.loads(content))
        elif status == 200 and operation == "PutItem":
            self.put(json.loads(body)["Item"])
        return HttpAnswer(status, {str(name).lower(): str(value) for name, value in answer_headers.items()}, content)

    async def close(self) -> None:
        pass

    def _took(self, request: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        taken = {entry["Id"] for entry in answer.get("Successful", ())}
        for entry in request["Entries"]:
            if entry["Id"] in taken:
                self.sent(request["QueueUrl"], entry)
