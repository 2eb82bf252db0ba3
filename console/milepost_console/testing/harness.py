"""A whole engine in a test: real store and queue in memory, a wound clock, and your functions in this process.

    async with Harness(app) as h:
        await h.send("order/created", {"order_id": "7"})
        await h.advance("3d")
        run = await h.only_run("shop-fulfil-order")
        assert run.status == "Completed"
Nothing is patched: this is the production engine on other adapters.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Self, cast, overload

from pydantic_core import to_json

from milepost import App, Function, NewEvent, ReceivedEvent
from milepost.protocol import parse_duration
from milepost.sending import EventBatch, RecordingTransport
from milepost.serving import Replacement
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.codec import Json, loads
from milepost_engine.core.run import Run
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.http.endpoints import Answer, accept_events
from milepost_engine.http.run_endpoints import answer_run_request
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Target
from milepost_engine.runs.checkpoints import CheckpointWriter

from .crashes import Crashed, Deaths
from .environment import Environment, MemoryEnvironment
from .failing import failed
from .records import RunRecord
from .stage import Stage, untimed
from .transport import HarnessTransport

__all__ = ["Harness"]

AnyFunction = Function[Any, object]
Sendable = NewEvent[object] | ReceivedEvent[object] | Mapping[str, object]
"""What `app.send` takes."""
_MAX_LIVES: Final = 50
LONGEST_INVOCATION: Final = timedelta(seconds=30)
MOMENT: Final = 0.001
"""Seconds: times are compared by the millisecond."""


def _span(given: str | float | timedelta) -> timedelta:
    if isinstance(given, str):
        return parse_duration(given)
    return given if isinstance(given, timedelta) else timedelta(seconds=given)


def _slug(function: str | AnyFunction) -> str:
    return function if isinstance(function, str) else function.slug


async def _wired(events: Sendable | Sequence[Sendable]) -> Sequence[Mapping[str, object]]:
    """Events as an app sends them, checked by the same code."""
    recorder = RecordingTransport()
    await App("harness", dev=False, transport=recorder).send(events)
    return recorder.events


class _UntimedCheckpointer:
    """Saves the steps of checkpointing functions without the app's timings."""

    def __init__(self, checkpointer: CheckpointWriter) -> None:
        self._checkpointer = checkpointer

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        await self._checkpointer.save(untimed(ops))


class Harness:
    """See the module.

    Args:
        apps: Your apps.
        start: Where the wound clock starts (aware); default 2030-01-01.
        longest_invocation: Real time that one call of your code may take ("5m", seconds, timedelta); default 30 s.

    Whatever runs your functions (`send`, `advance`, `until_idle`, `replay`) raises AssertionError if code does not
    answer in that time, with the line where it waits.
    """

    longest_delay_seconds = float("inf")
    """The queue supports any delay, so no timers have to be moved to it."""

    def __init__(
        self,
        *apps: App,
        start: datetime | None = None,
        longest_invocation: str | float | timedelta = LONGEST_INVOCATION,
    ) -> None:
        self.clock = WoundClock(start)
        self.closed = False
        self._apps = apps
        self._longest_invocation = _span(longest_invocation).total_seconds()
        self._transport = HarnessTransport(self._accept, self.clock, self)
        self._stage = Stage(self._transport)
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

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.close()
        else:
            self._drop()

    async def close(self) -> None:
        """Close the harness and drop its data. Raises AssertionError if a required replacement was not used."""
        was_closed = self.closed
        self._drop()
        if not was_closed and (unused := self._stage.unused()):
            raise failed(*unused)

    def _drop(self) -> None:
        if not self.closed:
            self.closed = True
            self._opened.close()
            self._environment.close()

    def replace_step(
        self,
        name: str,
        result: object = None,
        *,
        error: Exception | None = None,
        index: int = 0,
        required: bool = True,
    ) -> None:
        """From now on, let a step return a result, or fail for good, without running its body.

        Args:
            name: The id of a `step.run`, `step.send_event` or `step.invoke`, in whichever functions it occurs. An
                invoked function is not started.
            result: What the step returns: anything that its body might return.
            error: Raised instead, as by the last attempt of the step; default None.
            index: Which use of the id in a run, from 0. Each branch (a task, or a member of `step.parallel`) counts its
                own.
            required: Closing the harness raises AssertionError if no run used the replacement. Pass False where tests
                share it.

        Everything else is as usual: the step is recorded, and is part of the run's trace. Raises NotSerializableError
        for a result that JSON cannot represent. A sleep or a wait cannot be replaced: when a run reaches it, what is
        running the functions (`send`, for example) raises AssertionError.
        """
        made = Replacement(error=error) if error else Replacement.by(result, f"replace_step({name!r})")
        self._stage.replace(name, index, made, required=required)

    def crash_at(self, half_operation: int) -> None:
        """Crash the process at an I/O operation, counted from now: 2n is before the n-th, 2n + 1 after it.

        It is restarted at once on the same store, and the test continues in its next life.
        """
        self._begin_life(half_operation)

    @overload
    async def send(self, event: str, data: Mapping[str, object] | None = None, **more: object) -> str: ...
    @overload
    async def send(self, event: Sendable | Sequence[Sendable]) -> list[str]: ...
    async def send(
        self, event: str | Sendable | Sequence[Sendable], data: Mapping[str, object] | None = None, **more: object
    ) -> str | list[str]:
        """Send events, and run everything that is due.

        Args:
            event: The name of an event; returns its id. Or whatever `app.send` takes, such as `ORDER.create(…)` or a
                list of events; returns their ids.
            data: The data of the event with that name.
            **more: Its `id` and `ts`.

        Raises ValueError for an event that a server does not accept; what `app.send` refuses raises as it does there.
        """
        # Anything else is refused as a name, as a server refuses it.
        if isinstance(event, NewEvent | ReceivedEvent | Mapping | Sequence) and not isinstance(event, str):
            if data is not None or more:
                raise TypeError("send takes data, id and ts only with the name of an event: put them into the event")
            return await self._send_wired(await _wired(event))
        try:
            raw = to_json({"name": event, "data": {} if data is None else data, **more})
        except ValueError as error:
            raise ValueError(f"event {event!r} has data that JSON cannot represent: {error}") from None
        return (await self._send_raw(raw))[-1]

    async def _send_wired(self, events: Sequence[Mapping[str, object]]) -> list[str]:
        return await self._send_raw(to_json(list(events))) if events else []

    async def _send_raw(self, raw: bytes) -> list[str]:
        # The same in each life of the process, like a client that resends an unanswered request.
        self._sent += 1
        entropy = base64.b64encode(SeededRandom(1_000_000 + self._sent).random_bytes(10)).decode()
        seed = f"{int(self.clock.now().timestamp() * 1000)},{entropy}"
        accepted: list[str] = []

        async def accept() -> None:
            accepted[:] = await self._receive(raw, seed)

        await self._accept_deferred()
        await self._survive(accept)
        await self.until_idle()
        return accepted

    async def advance(self, span: str | float | timedelta) -> None:
        """Wind the clock forward ("3d", seconds, timedelta): sleeps and timeouts end, retries and crons run."""
        end = self.clock.now() + _span(span)
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
            await self._accept_deferred()
            await self._survive(lambda: self._environment.drain(self.engine))
            if problems := self._stage.take_problems():
                raise failed(*problems)
            if not self._transport.deferred:
                return

    async def runs(self, function: str | AnyFunction | None = None) -> list[RunRecord]:
        """The runs of a function (or its full id), by default of all, newest first, each with its complete trace."""
        where = RunFilter(functions=(_slug(function),) if function else ())
        found: list[RunRecord] = []

        async def read() -> None:
            found.clear()
            rows = cast("list[dict[str, str]]", (await self.engine.queries.list_runs(where, limit=1000))["runs"])
            found.extend([RunRecord(run) for row in rows if (run := await self.engine.queries.run(row["run_id"]))])

        await self._survive(read)
        return found

    async def only_run(self, function: str | AnyFunction | None = None) -> RunRecord:
        """The only run. Raises AssertionError when there is none or more than one."""
        runs = await self.runs(function)
        if len(runs) != 1:
            raise failed(f"{len(runs)} runs, expected one: {[(run.function_id, run.status) for run in runs]}")
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

    async def ask_runs(self, method: str, path: str, body: bytes, *, by_test: bool) -> tuple[int, bytes]:
        """Answer a request of `Function.start` or of the run that it returned; the SDK calls it."""
        answers: list[Answer] = []

        async def ask() -> None:
            answers.append(await answer_run_request(self.engine, method, path, body))
            await self.clock.advance(MOMENT)

        if not by_test:
            await ask()  # within a drain, which survives the crashes
        else:
            await self.until_idle()
            await self._survive(ask)
            await self.until_idle()
        return answers[-1].status, answers[-1].body

    async def wind_on(self, seconds: float | None) -> None:
        """Wind the clock to what is due next, at most so many seconds; the SDK calls it for `result()`."""
        due = await self._next_moment()
        if seconds is None and due is None:
            raise failed(
                "result() would wait for ever: nothing is due, and a run that has not ended waits for an event or for "
                "code that is not running. Send its event first, or pass result(timeout=…)"
            )
        end = None if seconds is None else self.clock.now() + timedelta(seconds=seconds)
        moments = [moment for moment in (due, end) if moment is not None]
        await self.clock.advance_to(max(min(moments), self.clock.now()))
        await self.until_idle()

    async def _next_moment(self) -> datetime | None:
        crons: list[datetime | None] = []

        async def arm() -> None:
            await self.engine.timers.crons.fire(self.clock.now())
            crons.append(await self.engine.timers.crons.next())

        await self._survive(arm)
        await self.until_idle()  # a tick that is due now has no delay, so no queue knows its moment
        return min((moment for moment in (self._environment.next_due(), crons[-1]) if moment), default=None)

    async def _accept_deferred(self) -> None:
        """Accept the events that the test sent through the app, in their order."""
        while self._transport.deferred:
            await self._survive(lambda: self._accept(self._transport.deferred[0]))
            self._transport.deferred.popleft()

    async def _accept(self, batch: EventBatch) -> None:
        """Accept events sent by an app."""
        await self._receive(to_json(list(batch.events)), batch.seed)

    async def _receive(self, raw: bytes, seed: str) -> list[str]:
        """Accept a request with events, as a server does; returns their ids. Raises ValueError for a bad event.

        It takes a millisecond: what is decided after it, such as a wait, is later than it.
        """
        answer = cast("dict[str, Any]", loads((await accept_events(self.engine, raw, seed)).body))
        await self.clock.advance(MOMENT)
        if "error" in answer:
            raise ValueError(answer["error"])
        return cast("list[str]", answer["ids"])

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
            self._stage.serve(app)
            manifest = cast("dict[str, Json]", loads(to_json(app.manifest("http://127.0.0.1/test"))))
            await self.engine.registry.sync(manifest, Target("inprocess", app.id, self._longest_invocation))
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
        raise failed(f"the simulated process crashed {_MAX_LIVES} times without finishing")
