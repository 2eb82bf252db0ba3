"""How a worker handles what it receives: a message of the work queue, a tick of the timers, or a call for the app.

A call that was handed over is served as by an app on Lambda: it is delivered once or more, and never again after it has
failed. Then a message reports the failure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from milepost.protocol import Request, Response
from milepost_engine.codec import text
from milepost_engine.ports import InvocationProblem, ProblemKind, Target
from milepost_engine.runs.checkpoints import CheckpointWriter
from milepost_engine.runs.reporter import Reporter
from milepost_engine.runs.reports import failure_body
from milepost_engine.store.messages import CallToken

from .ports import Call, NoBlobs, Ports, Randomness
from .setting import Sent
from .threads import Worker

if TYPE_CHECKING:
    from .world import World

__all__ = ["Handing", "failure_of", "handling_of"]


def handling_of(world: World, worker: Worker, message: Sent) -> Coroutine[Any, Any, object]:
    """The handling of one delivery by one worker."""
    if message.is_tick:
        return worker.engine.timers.tick()
    if message.is_call:
        return _serve(world, worker, json.loads(message.body))
    return worker.engine.handle(message.body, redelivered=message.receives > 1)


def failure_of(message: Sent) -> str:
    """The message that reports the failure of a call that was handed over."""
    token = CallToken.read(json.loads(message.body)["token"])
    return failure_body(token, InvocationProblem(ProblemKind.CRASHED, "exit status 1"))


async def _serve(world: World, worker: Worker, fields: Mapping[str, Any]) -> None:
    ports = Ports(world)
    request = Request("POST", fields["query"], fields["headers"], base64.b64decode(fields["body"]))

    async def call(checkpointer: CheckpointWriter) -> Response:
        return await world.app().handle(request, checkpointer=checkpointer)

    reporter = Reporter(worker.engine.runs, NoBlobs(), ports, world.clock, Randomness(world.draw))
    await reporter.serve(CallToken.read(fields["token"]), call, lambda: 0.0)


class Handing:
    """Implements Handover: the call is put beside the messages of the queue."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def hand_over(self, target: Target, request: Request, token: Mapping[str, object]) -> None:
        """See `Handover`."""
        world = self._world
        call = {
            "t": "call",
            **{key: token[key] for key in ("run", "fn", "job", "attempt")},
            "token": dict(token),
            "query": dict(request.query),
            "headers": dict(request.headers),
            "body": base64.b64encode(request.body).decode(),
        }
        body = text(call)
        await world.halt(
            Call(lambda: f"hand over {world.words.message(body)}", lambda: world.enqueue(body, 0.0), sends=True)
        )
