"""Lambda's queue of invocations that nobody waits for: each is made once or more, and failures are reported.

A process that serves one may die at any moment; then the destination for failures hears of it, now and then twice.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from milepost.protocol import Request, Response
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.ports import InvocationProblem, ProblemKind, Target
from milepost_engine.runs.checkpoints import CheckpointWriter
from milepost_engine.runs.reporter import Reporter
from milepost_engine.runs.reports import failure_body
from milepost_engine.store.messages import CallToken
from milepost_engine.store.runs import RunStore
from milepost_engine.store.values import Values
from tests.cloud.wound_queue import Delivery, WoundQueue

from .ledger import LAST_READ, LAST_READS, Witness

if TYPE_CHECKING:
    from .world import World

__all__ = ["Later"]


class Later:
    """Implements Handover over a queue of its own, and serves what lies there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.queue = WoundQueue(world.clock)
        self.tasks: dict[asyncio.Task[None], Delivery] = {}
        self.begun = 0
        self.crashes = 0
        self.swallows = 0
        """How many calls will vanish without a trace, as nothing on AWS should."""

    async def hand_over(self, target: Target, request: Request, token: Mapping[str, object]) -> None:
        """See `Handover`."""
        storm = self._world.storm
        await storm.mix()
        fault = storm.fault()
        if fault in {"refused", "unsent"}:
            raise InvocationProblem(ProblemKind.THROTTLED, "rate exceeded")
        if self.swallows:
            self.swallows -= 1
            return
        body = base64.b64encode(request.body).decode()
        invocation = {"token": token, "query": dict(request.query), "headers": dict(request.headers), "body": body}
        self.queue.take(json.dumps(invocation))
        await storm.mix()
        if fault in {"lost", "broken"}:
            raise InvocationProblem(ProblemKind.UNREACHABLE, "the answer got lost")

    def begin(self) -> bool:
        """Begin what lies in the queue; whether anything did."""
        batch, storm = self.queue.receive(), self._world.storm
        for delivery in batch:
            for _ in range(2 if storm.draw.random() < storm.share else 1):
                self.begun += 1
                self.tasks[asyncio.ensure_future(self._serve(delivery))] = delivery
            if storm.draw.random() < storm.share / 4:  # and once more, long after
                self.queue.take(delivery.body, storm.draw.uniform(0, 900))
        return bool(batch)

    def check(self) -> None:
        """Report those that failed; let one die, now and then."""
        storm = self._world.storm
        if self.tasks and storm.draw.random() < storm.share / 5:
            self.crashes += 1
            storm.draw.choice(list(self.tasks)).cancel()
        for task in [task for task in self.tasks if task.done()]:
            delivery = self.tasks.pop(task)
            if not task.cancelled() and task.exception() is None:
                continue
            problem = InvocationProblem(ProblemKind.CRASHED, "exit status 1")
            report = failure_body(CallToken.read(json.loads(delivery.body)["token"]), problem)
            for _ in range(2 if storm.draw.random() < storm.share else 1):
                self._world.queue.take(report, storm.draw.uniform(0, 2))

    async def _serve(self, delivery: Delivery) -> None:
        LAST_READS.set({})
        world, invocation = self._world, json.loads(delivery.body)
        ports, token = world.open_ports(world.storm), CallToken.read(invocation["token"])
        values = Values(ports.blobs, 64)
        random_source = SeededRandom(world.storm.draw.randrange(2**32))
        runs = RunStore(Witness(ports.table, world.ledger), values)
        reporter = Reporter(runs, ports.blobs, ports.queue, world.impatient, random_source)
        app = world.make_app(world.ledger)
        request = Request("POST", invocation["query"], invocation["headers"], base64.b64decode(invocation["body"]))

        async def call(checkpointer: CheckpointWriter) -> Response:
            LAST_READ.set(LAST_READS.get()[token.run])
            answer = await app.handle(request, checkpointer=checkpointer, authenticated=True)
            return Response(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.body)

        tries = iter(range(3))
        await reporter.serve(token, call, lambda: 10.0 if next(tries, None) is not None else 0.0)
