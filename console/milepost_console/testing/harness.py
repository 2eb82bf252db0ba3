"""A whole engine in a test: real store and queue in memory, a wound clock, and your functions in this process.

    async with Harness(app) as h:
        await h.send("order/created", {"order_id": "7"})
        await h.advance("3d")
        run = await h.only_run("shop-fulfil-order")
        assert run["status"] == "Completed"
Nothing is patched: this is the production engine on other adapters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self, cast

from milepost import App
from milepost.protocol import Request, Response, hash_step_id, parse_duration
from milepost.sending import EventBatch
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.core.run import Run
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Target
from milepost_engine.runs.checkpoints import CheckpointWriter
from milepost_engine.store.events import read_seed

from .crashes import Crashed, Deaths
from .environment import Environment, MemoryEnvironment
from .transport import HarnessTransport

__all__ = ["Harness"]

_MAX_LIVES = 50


def _untimed(ops: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Finished steps without the app's own timings, so that traces show wound time only."""
    return [{key: value for key, value in op.items() if key != "timing"} for op in ops]


class _UntimedCheckpointer:
    """Saves the steps of checkpointing functions without the app's timings."""

    def __init__(self, checkpointer: CheckpointWriter) -> None:
        self._checkpointer = checkpointer

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        await self._checkpointer.save(_untimed(ops))


class _Stage:
    """The invoker: passes calls to the apps, with replaced steps already finished."""

    def __init__(self, transport: HarnessTransport) -> None:
        self.inner = InProcessInvoker()
        self._transport = transport
        self.replaced: dict[str, dict[str, object]] = {}

    async def invoke(self, target: Target, request: Request) -> Response:
        if self.replaced:
            body = json.loads(request.body)
            stack = body["ctx"]["stack"]
            for step_id, memo in self.replaced.items():
                if step_id not in body["steps"]:
                    body["steps"][step_id] = memo
                    stack["stack"].append(step_id)
            stack["current"] = len(stack["stack"])
            request = replace(request, body=json.dumps(body).encode())
        with self._transport.calling():
            answer = await self.inner.invoke(target, request)
        if answer.status != 206:
            return answer
        return replace(answer, body=json.dumps(_untimed(json.loads(answer.body))).encode())


class Harness:
    """See the module. `start` is where the wound clock starts (aware)."""

    longest_delay_seconds = float("inf")
    """The queue supports any delay, so no timers have to be moved to it."""

    def __init__(self, *apps: App, start: datetime | None = None) -> None:
        self.clock = WoundClock(start)
        self.closed = False
        self._apps = apps
        self._transport = HarnessTransport(self._accept, self.clock)
        self._stage = _Stage(self._transport)
        self._opened = ExitStack()
        self._environment = self._open_environment()
        self._deaths = Deaths()
        self._sent = 0
        self.lives = 0
        self._begin_life(None)

    @property
    def operations(self) -> int:
        """I/O operations in the current life of the process; `crash_at` accepts twice as many values."""
        return self._deaths.count

    async def __aenter__(self) -> Self:
        await self._register()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the harness and drop its data."""
        if not self.closed:
            self.closed = True
            self._opened.close()
            self._environment.close()

    def replace_step(self, name: str, result: object = None, *, error: Exception | None = None, index: int = 0) -> None:
        """Give the `index`-th step of this name a result, or a final error, from now on; its body never runs.

        A replaced step is not part of the run's trace.
        """
        memo: dict[str, object] = {"data": result}
        if error is not None:
            memo = {"error": {"name": type(error).__name__, "message": str(error), "stack": ""}}
        self._stage.replaced[hash_step_id(name, index)] = memo

    def crash_at(self, half_operation: int) -> None:
        """Crash the process at an I/O operation, counted from now: 2n is before the n-th, 2n + 1 after it.

        It is restarted at once on the same store, and the test continues in its next life.
        """
        self._begin_life(half_operation)

    async def send(self, name: str, data: Mapping[str, object] | None = None, **more: object) -> str:
        """Send an event, run everything that is due, and return the event's id. Raises ValueError for a bad event."""
        event = {"name": name, "data": dict(data or {}), **more}
        # The same in each life of the process, like a client that resends an unanswered request.
        self._sent += 1
        seed = (int(self.clock.now().timestamp() * 1000), SeededRandom(1_000_000 + self._sent).random_bytes(10))
        accepted: list[str] = []

        async def accept() -> None:
            read = await self.engine.accept(event, seed=seed)
            if read.problem:
                raise ValueError(read.problem)
            accepted.append(read.events[0].event_id)

        await self._survive(accept)
        await self.until_idle()
        return accepted[-1]

    async def advance(self, span: str | float | timedelta) -> None:
        """Wind the clock forward ("3d", seconds, timedelta): sleeps and timeouts end, retries and crons run."""
        if isinstance(span, str):
            span = parse_duration(span)
        end = self.clock.now() + (span if isinstance(span, timedelta) else timedelta(seconds=span))
        while True:
            await self.until_idle()
            due = await self._next_moment()
            if due is None or due > end:
                break
            await self.clock.advance_to(max(due, self.clock.now()))
        await self.clock.advance_to(end)
        await self.until_idle()

    async def until_idle(self) -> None:
        """Run everything that is due now, and process events that the test sent through the app."""
        while True:
            while self._transport.deferred:
                await self._survive(lambda: self._accept(self._transport.deferred[0]))
                self._transport.deferred.popleft()
            await self._survive(lambda: self._environment.drain(self.engine))
            if not self._transport.deferred:
                return

    async def runs(self, function_id: str | None = None) -> list[dict[str, Any]]:
        """The runs, newest first, each with its complete trace."""
        where = RunFilter(functions=(function_id,) if function_id else ())
        found: list[dict[str, Any]] = []

        async def read() -> None:
            found.clear()
            rows = cast("list[dict[str, str]]", (await self.engine.queries.list_runs(where, limit=1000))["runs"])
            found.extend([run for row in rows if (run := await self.engine.queries.run(row["run_id"]))])

        await self._survive(read)
        return found

    async def only_run(self, function_id: str | None = None) -> dict[str, Any]:
        """The only run. Raises AssertionError when there is none or more than one."""
        runs = await self.runs(function_id)
        if len(runs) != 1:
            raise AssertionError(f"{len(runs)} runs, expected one: {[(r['function_id'], r['status']) for r in runs]}")
        return runs[0]

    async def replay(
        self, run_id: str, *, from_step: str | None = None, data: Mapping[str, object] | None = None
    ) -> Run:
        """Replay a run, then run everything that is due."""
        self._sent += 1
        replays: list[Run] = []

        async def begin() -> None:
            # The same ids in each life, as with `send`: one replay, however often the process crashes.
            operations = replace(self.engine.operations, random_source=SeededRandom(1_000_000 + self._sent))
            replays.append(await operations.replay(run_id, from_step=from_step, data=data))

        await self._survive(begin)
        await self.until_idle()
        return replays[-1]

    async def _next_moment(self) -> datetime | None:
        crons: list[datetime | None] = []

        async def arm() -> None:
            await self.engine.timers.cron(self.clock.now())
            crons.append(await self.engine.timers.next_cron())

        await self._survive(arm)
        return min((moment for moment in (self._environment.next_due(), crons[-1]) if moment), default=None)

    async def _accept(self, batch: EventBatch) -> None:
        """Accept events sent by an app."""
        await self.engine.accept(list(batch.events), seed=read_seed(batch.seed))

    def _open_environment(self) -> Environment:
        """The engine's store and queue; subclasses use others."""
        return MemoryEnvironment(self.clock)

    def _begin_life(self, death: int | None) -> None:
        self.lives += 1
        self._deaths = self._transport.life = Deaths(death)
        shell = self._deaths.shell
        self.engine = Engine.build(
            table=shell(self._environment.table),
            blobs=shell(self._environment.blobs),
            queue=shell(self._environment.new_queue()),
            invokers={"inprocess": shell(self._stage)},
            clock=self.clock,
            random_source=SeededRandom(self.lives),
            settings=EngineSettings(longest_delay_seconds=self.longest_delay_seconds),
        )
        self._stage.inner.checkpointer = lambda *ids: _UntimedCheckpointer(self.engine.checkpointer(*ids))

    async def _register(self) -> None:
        for app in self._apps:
            self._stage.inner.apps[app.id] = app
            await self.engine.registry.sync(app.manifest("http://127.0.0.1/test"), Target("inprocess", app.id))
        self._transport.open()
        for app in self._apps:
            self._opened.enter_context(app.default_transport(self._transport))

    async def _survive(self, work: Any) -> None:
        """Do the work, restarting after each crash."""
        for _ in range(_MAX_LIVES):
            try:
                await work()
            except Crashed:
                pass
            except BaseExceptionGroup as group:
                if group.subgroup(Crashed) is None:
                    raise
            else:
                return
            self._begin_life(None)
        raise AssertionError(f"the simulated process crashed {_MAX_LIVES} times without finishing")
