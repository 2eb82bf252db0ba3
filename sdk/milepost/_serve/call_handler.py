"""Serves one call of a function: reads it, runs it on a worker, writes the response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, cast

from pydantic_core import from_json

from milepost._declare.triggers import find_events, read_tick, received_event
from milepost._replay.async_runner import AsyncRunner
from milepost._replay.context import Context, SyncContext
from milepost._replay.logger import run_logger
from milepost._replay.loop import Worker, pool, run_in_worker
from milepost._replay.ops import Answer, Ops, Raised
from milepost._replay.replay import Invocation
from milepost._replay.requests import CallRequest
from milepost._replay.step_tools import Steps, SyncSteps
from milepost._replay.sync_runner import SyncRunner
from milepost._send.http import HttpApi
from milepost._send.sender import step_seed
from milepost._values.current import in_run
from milepost._values.json_types import JsonObject
from milepost._values.serializer import adapter_for, dropped, pack, returned_type
from milepost.errors import MilepostError, RequestError
from milepost.middleware import CallInput, call_and_wait
from milepost.protocol import DISCOVERY, EXTENSION

from .answer import transform_answer, transform_ops, write_answer
from .checkpoint import HttpCheckpointer

if TYPE_CHECKING:
    from milepost._declare.function import AnyFunction
    from milepost._replay.execute import Checkpointer, RunStateStore
    from milepost._replay.rehearsal import Rehearsal
    from milepost._send.sender import EventSender
    from milepost._values.events import Sendable
    from milepost.protocol import Request, Response

    from .settings import AppSettings

__all__ = ["CallHandler"]

AnyContext = Context[object] | SyncContext[object]

_MAX_WARNED: Final = 10_000


@dataclass(frozen=True, slots=True)
class _CallBody:
    """The parsed body of a call."""

    context: JsonObject
    events: tuple[JsonObject, ...]
    steps: JsonObject
    order: tuple[str, ...]

    @property
    def extension(self) -> JsonObject | None:
        """The fields that only Milepost's server sends; None from other servers."""
        extension = self.context.get(EXTENSION)
        return cast("JsonObject", extension) if isinstance(extension, Mapping) else None


class CallHandler:
    """Serves the calls to an app's functions."""

    def __init__(self, settings: AppSettings, sender: EventSender) -> None:
        self._settings = settings
        self._sender = sender

    async def serve(
        self,
        function: AnyFunction,
        request: Request,
        checkpointer: Checkpointer | None,
        state_store: RunStateStore | None,
        budget: timedelta,
        rehearsal: Rehearsal | None = None,
    ) -> Response:
        """Serve one call. Raises RequestError for a call that cannot be read."""
        started_at = self._settings.now()
        body = await self._read(request, state_store)
        call = _read_call(function, body, request.query.get("stepId") or DISCOVERY)
        home = asyncio.get_running_loop() if checkpointer is not None else None
        checkpointer = checkpointer or self._http_checkpointer(function, body, started_at)
        serving = _Serving(self._settings, self._sender, function, body, call, rehearsal)

        def work(worker: Worker) -> Response:
            kind = AsyncRunner if function.is_async else SyncRunner
            return serving.on(kind(worker, checkpointer, home), worker, saves=checkpointer is not None, budget=budget)

        return await run_in_worker(work)

    def _http_checkpointer(self, function: AnyFunction, body: _CallBody, started_at: datetime) -> Checkpointer | None:
        """The server's checkpoint endpoint, if it offers one and the function is in checkpoint mode."""
        offer = (body.extension or {}).get("checkpoint")
        if function.mode != "checkpoint" or not offer:
            return None
        settings = self._settings
        api = settings.api
        if isinstance(offer, Mapping) and (url := cast("JsonObject", offer).get("url")):
            api = HttpApi(str(url), signing_key=settings.signing_key, fallback_key=settings.fallback_key)
        if api is None:
            return None
        return HttpCheckpointer(api, body.context, function.slug, settings.now, started_at)

    async def _read(self, request: Request, state_store: RunStateStore | None) -> _CallBody:
        try:
            raw = from_json(request.body)
        except ValueError as error:
            raise RequestError(f"the body of the call is not JSON: {error}", code="body_invalid") from None
        fields: JsonObject = cast("JsonObject", raw) if isinstance(raw, dict) else {}
        ctx: JsonObject = fields.get("ctx") or {}
        if "run_id" not in ctx:
            raise RequestError("the body of the call has no ctx with a run_id", code="body_invalid")
        events: Sequence[JsonObject] = fields.get("events") or [fields.get("event") or {}]
        steps: JsonObject = fields.get("steps") or {}
        if fields.get("use_api") or ctx.get("use_api"):
            events, steps = await (state_store.load() if state_store else self._fetch(str(ctx["run_id"])))
        stack = ctx.get("stack")
        order = cast("JsonObject", stack).get("stack") if isinstance(stack, Mapping) else None
        return _CallBody(ctx, tuple(events), steps, tuple(map(str, order or ())))

    async def _fetch(self, run_id: str) -> tuple[Sequence[JsonObject], JsonObject]:
        """The events and steps of a run, from the server's API: they were too large for the call."""
        api = self._settings.api
        if api is None:
            raise RequestError(
                f"the state of run {run_id} is too large for one call, and the app does not know where to fetch it: "
                "set MILEPOST_API_URL",
                status=500, code="no_api",
            )  # fmt: skip

        def get(path: str) -> object:
            reply = api.request("GET", path)
            if reply.status != 200:
                raise RequestError(f"GET {path} answered HTTP {reply.status}", status=500, code="state_unavailable")
            return cast("object", from_json(reply.body))

        events, steps = await asyncio.gather(
            asyncio.to_thread(get, f"/v0/runs/{run_id}/batch"), asyncio.to_thread(get, f"/v0/runs/{run_id}/actions")
        )
        return cast("Sequence[JsonObject]", events), cast("JsonObject", steps)


def _read_call(function: AnyFunction, body: _CallBody, target: str) -> CallRequest:
    context, extension = body.context, body.extension or {}
    most = context.get("max_attempts")
    return CallRequest(
        function_id=function.slug,
        run_id=str(context["run_id"]),
        attempt=_whole(context.get("attempt")),
        max_attempts=_whole(most) if most is not None else None,
        target=target,
        order=body.order,
        memos=body.steps,
        may_run_steps=not context.get("disable_immediate_execution", False),
        may_continue=body.extension is not None,
        mode=function.mode,
        retries=function.retries,
        chain=_whole(extension.get("chain")),
        logged=_whole(extension["logged"]) if "logged" in extension else None,
    )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


class _Serving:
    """One call on one worker, from the first middleware hook to the last."""

    def __init__(
        self,
        settings: AppSettings,
        sender: EventSender,
        function: AnyFunction,
        body: _CallBody,
        call: CallRequest,
        rehearsal: Rehearsal | None,
    ) -> None:
        self._rehearsal = rehearsal
        self._settings = settings
        self._sender = sender
        self._function = function
        self._body = body
        self._call = call
        self._middlewares = settings.middlewares.within(function.middleware)
        self._context: AnyContext | None = None
        self._invocation: Invocation | None = None

    def on(self, runner: AsyncRunner | SyncRunner, worker: Worker, *, saves: bool, budget: timedelta) -> Response:
        """Serve the call. The awaits suspend on an event loop; in a sync runner they finish without suspending."""
        if isinstance(runner, SyncRunner):
            runner.on_stuck = lambda: self._abandon(runner, worker)
        return runner.run(self._serve(runner, saves=saves, budget=budget))

    async def _serve(self, runner: AsyncRunner | SyncRunner, *, saves: bool, budget: timedelta) -> Response:
        try:
            call = await self._transform_input(runner)
            invocation = self._invocation = Invocation(
                call, now=self._settings.now, warn=self._warn, saves=saves, budget=budget, rehearsal=self._rehearsal
            )
            in_run.set(invocation)
            context = self._context = self._make_context(runner, invocation)
            if invocation.answer is None:
                await self._drive(runner, invocation, context)
        except Exception as error:  # noqa: BLE001 - an error of middleware or in an event fails the run, not the app
            return await self._conclude(runner, (self._invocation and self._invocation.answer) or Raised(error))
        if invocation.answer is None:
            raise MilepostError(f"the invocation of {call.function_id!r}, run {call.run_id}, has no answer")
        return await self._conclude(runner, invocation.answer)

    async def _transform_input(self, runner: AsyncRunner | SyncRunner) -> CallRequest:
        if not self._middlewares.overrides("transform_input"):
            return self._call
        call, body = self._call, self._body
        given = CallInput(call.function_id, call.run_id, call.attempt, body.events, body.steps)
        changed = await self._middlewares.transform(runner.call, "transform_input", given)
        self._body = replace(body, events=tuple(changed.events), steps=changed.steps)
        return replace(call, memos=changed.steps)

    async def _drive(self, runner: AsyncRunner | SyncRunner, invocation: Invocation, context: AnyContext) -> None:
        function = self._function
        what = f"function {function.slug!r}, run {self._call.run_id},"
        annotation = returned_type(function.handler)
        if (problem := dropped(annotation)) is not None:
            self._warn(f"function {function.slug!r} {problem}")
        adapter = adapter_for(annotation)
        hooks = self._middlewares.overrides("after_memoization") or self._middlewares.overrides("before_execution")

        async def go_live() -> None:
            await self._middlewares.notify(runner.call, "after_memoization", context)
            await self._middlewares.notify(runner.call, "before_execution", context)
            invocation.go_live()

        if self._middlewares.overrides("transform_output"):
            runner.prepare = lambda ops: transform_ops(self._middlewares, runner.call, ops, self._call)
        if not invocation.remembers:
            await go_live()
        await runner.drive(
            invocation,
            lambda: self._call_function(context),
            lambda value: pack(value, adapter, what),
            go_live if hooks else None,
        )

    def _call_function(self, context: AnyContext) -> object:
        if self._rehearsal is not None:
            self._rehearsal.began(None)
        return self._function.handler(context)

    async def _conclude(self, runner: AsyncRunner | SyncRunner, answer: Answer) -> Response:
        """Call the middleware hooks on the way out, and write the response."""
        call = self._call
        if not self._middlewares:
            return write_answer(answer, call, self._settings.now())
        try:
            if self._context is not None:
                await self._middlewares.notify(runner.call, "after_execution", self._context, inwards=False)
            answer = await transform_answer(self._middlewares, runner.call, answer, call)
        except Exception as error:  # noqa: BLE001 - as if the function had raised it
            answer = Raised(error)
        response = write_answer(answer, call, self._settings.now())
        await self._middlewares.notify(runner.call, "before_response", response, inwards=False)
        return response

    def _abandon(self, runner: SyncRunner, worker: Worker) -> None:
        """The function will never stop: answer without it."""
        self._warn(
            f"function {self._call.function_id!r}, run {self._call.run_id}, keeps catching the interrupt that ends an "
            "invocation, so its thread is abandoned. Write 'except Exception', not a bare except."
        )
        answer = self._invocation.answer if self._invocation is not None else None
        worker.deliver(runner.run(self._conclude(runner, answer or Ops(()))))
        pool().discard(worker)

    def _make_context(self, runner: AsyncRunner | SyncRunner, invocation: Invocation) -> AnyContext:
        function, call, events = self._function, self._call, self._body.events
        where = f"function {function.slug!r}, run {call.run_id},"
        brought = function.triggers if function.input is None else (function.input,)
        received = tuple(
            received_event(raw, find_events(brought, str(raw.get("name") or "")), where) for raw in events or ({},)
        )
        logger = run_logger(self._settings.logger(), invocation, self._settings.written)
        common = (received[0], received, call.run_id, call.attempt, call.max_attempts or 0, function.slug, logger)
        tick = read_tick(events[0]) if events else None
        send = self._sending(invocation)
        if isinstance(runner, AsyncRunner):
            return Context(*common, tick, Steps(runner, send, function.triggers))
        return SyncContext(*common, tick, SyncSteps(runner, send, function.triggers))

    def _sending(self, invocation: Invocation) -> Callable[[Sendable | Sequence[Sendable]], Awaitable[list[str]]]:
        def send(events: Sendable | Sequence[Sendable]) -> Awaitable[list[str]]:
            step = invocation.running
            seed = step_seed(self._call.run_id, step.id if step is not None else "")
            return self._sender.send(
                events, call=call_and_wait, hand_over=asyncio.to_thread, seed=seed, middlewares=self._middlewares
            )

        return send

    def _warn(self, message: str) -> None:
        warned = self._settings.warned
        if message in warned:
            return
        if len(warned) < _MAX_WARNED:
            warned.add(message)
        self._settings.logger().warning("milepost: %s", message)
