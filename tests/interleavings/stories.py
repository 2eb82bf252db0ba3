"""The stories: small functions of which every interleaving is explored.

A new story is a function under `@story` that returns a `Story`: an app whose function `f` is started by the event `go`
and whose bodies are `work(name)` under the step's own name. `f` returns the results of its steps by name, which are
compared with what was recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from milepost import App, Context

from .ledger import work
from .table import Items

__all__ = ["STORIES", "Send", "Story"]

Function = Callable[[Context], Coroutine[object, None, dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Send:
    """Something from outside that may happen at any moment: an event once a wait for it is open, or a cancellation."""

    event: str = ""
    cancels: bool = False

    def is_due(self, items: Items) -> bool:
        return self.cancels or any(pk.startswith(f"W#{self.event}#") for pk, _ in items.items)

    def __str__(self) -> str:
        return "a cancellation" if self.cancels else f"event {self.event!r}"


@dataclass(frozen=True, slots=True)
class Story:
    """`steps` are the names of all steps; `sends` happen in this order.

    `replays_from`: what is explored is a replay from this step, of a run that has ended. `reports`: calls are handed
    over to the app, which reports its answers. `watch_after`: when the sweeper checks the run. `ticks`: when timers
    move what is due to the queue.
    """

    name: str
    app: App
    steps: tuple[str, ...]
    sends: tuple[Send, ...] = ()
    replays_from: str = ""
    reports: bool = False
    watch_after: timedelta | None = None
    ticks: tuple[timedelta, ...] = ()

    @property
    def is_swept(self) -> bool:
        """Whether the sweeper may check the run, so that it matters how long bodies last."""
        return self.watch_after is not None or bool(self.ticks)

    @property
    def long_bodies(self) -> bool:
        """Whether the end of a body is a scheduling point: what else its worker does while it runs depends on it."""
        return self.is_swept or self.reports


STORIES: Final[dict[str, Callable[[], Story]]] = {}
_PAID: Final = Send("paid")
_CANCEL: Final = Send(cancels=True)


def story(make: Callable[[], Story]) -> Callable[[], Story]:
    STORIES[make.__name__] = make
    return make


def _story(name: str, f: Function, steps: str, *sends: Send, checkpoint: bool = False, replays_from: str = "") -> Story:
    """A story of one function; `steps` are names with commas between them."""
    app = App("a")
    mode: dict[str, Any] = {"mode": "checkpoint"} if checkpoint else {}
    app.function(id="f", trigger="go", retries=2, **mode)(f)
    return Story(name, app, tuple(steps.split(", ")), sends, replays_from)


# --- one step after the other -----------------------------------------------------------------------------------------


async def _three(ctx: Context) -> dict[str, object]:
    return {name: await ctx.step.run(name, work, name) for name in ("one", "two", "three")}


@story
def sequence() -> Story:
    return _story("sequence", _three, "one, two, three")


@story
def sequence_checkpoint() -> Story:
    return _story("sequence_checkpoint", _three, "one, two, three", checkpoint=True)


@story
def sequence_cancel() -> Story:
    return _story("sequence_cancel", _three, "one, two, three", _CANCEL)


@story
def checkpoint_cancel() -> Story:
    return _story("checkpoint_cancel", _three, "one, two, three", _CANCEL, checkpoint=True)


@story
def replay() -> Story:
    """A replay of a run from its second step."""
    return _story("replay", _three, "one, two, three", replays_from="two")


@story
def retry() -> Story:
    """A step that fails at its first attempt."""

    async def f(ctx: Context) -> dict[str, object]:
        one = await _flaky(ctx, "one")
        return {"one": one, "two": await ctx.step.run("two", work, "two")}

    return _story("retry", f, "one, two")


# --- joins ------------------------------------------------------------------------------------------------------------


def _joined(branches: str) -> Function:
    async def f(ctx: Context) -> dict[str, object]:
        found = await asyncio.gather(*(ctx.step.run(name, work, name) for name in branches))
        end = await ctx.step.run("end", work, "end")
        return {**dict(zip(branches, found, strict=True)), "end": end}

    return f


@story
def join2() -> Story:
    return _story("join2", _joined("ab"), "a, b, end")


@story
def join3() -> Story:
    return _story("join3", _joined("abc"), "a, b, c, end")


@story
def join2_checkpoint() -> Story:
    return _story("join2_checkpoint", _joined("ab"), "a, b, end", checkpoint=True)


@story
def join2_cancel() -> Story:
    return _story("join2_cancel", _joined("ab"), "a, b, end", _CANCEL)


@story
def join2_retry() -> Story:
    """A branch fails at its first attempt."""

    async def f(ctx: Context) -> dict[str, object]:
        a, b = await asyncio.gather(_flaky(ctx, "a"), ctx.step.run("b", work, "b"))
        return {"a": a, "b": b, "end": await ctx.step.run("end", work, "end")}

    return _story("join2_retry", f, "a, b, end")


@story
def branches2() -> Story:
    """Two branches of two steps each."""

    async def f(ctx: Context) -> dict[str, object]:
        async def branch(name: str) -> dict[str, object]:
            first = await ctx.step.run(f"{name}1", work, f"{name}1")
            return {f"{name}1": first, f"{name}2": await ctx.step.run(f"{name}2", work, f"{name}2")}

        a, b = await asyncio.gather(branch("a"), branch("b"))
        return {**a, **b}

    return _story("branches2", f, "a1, a2, b1, b2")


@story
def naps() -> Story:
    """Two sleeps that end together, then a step."""

    async def f(ctx: Context) -> dict[str, object]:
        await asyncio.gather(ctx.step.sleep("nap a", "1m"), ctx.step.sleep("nap b", "1m"))
        return {"charge": await ctx.step.run("charge", work, "charge")}

    return _story("naps", f, "nap a, nap b, charge")


@story
def naps_then_step() -> Story:
    """Two sleeps end together, and a step follows one: the peek plans it, the message of the last may run it."""

    async def f(ctx: Context) -> dict[str, object]:
        async def branch() -> str:
            await ctx.step.sleep("nap a", "1m")
            return await ctx.step.run("x", work, "x")

        x, _ = await asyncio.gather(branch(), ctx.step.sleep("nap b", "1m"))
        return {"x": x}

    return _story("naps_then_step", f, "nap a, nap b, x")


@story
def step_beside_nap() -> Story:
    """A step runs beside a sleep, then a step: the step may be taken for the last by a worker that knows little."""

    async def f(ctx: Context) -> dict[str, object]:
        a, _ = await asyncio.gather(ctx.step.run("a", work, "a"), ctx.step.sleep("nap", "1m"))
        return {"a": a, "end": await ctx.step.run("end", work, "end")}

    return _story("step_beside_nap", f, "a, nap, end")


@story
def one_branch() -> Story:
    """The first of a step and a sleep wins, and the sleep does not end while this is explored: one planned step."""

    async def f(ctx: Context) -> dict[str, object]:
        a, nap = (asyncio.ensure_future(each) for each in (ctx.step.run("a", work, "a"), ctx.step.sleep("nap", "7h")))
        await asyncio.wait([a, nap], return_when=asyncio.FIRST_COMPLETED)
        return {"a": a.result()}

    return _story("one_branch", f, "a, nap")


async def _flaky(ctx: Context, name: str, failures: int = 1) -> str:
    """A step whose first attempts fail."""

    async def attempt() -> str:
        return await work(name, fails=ctx.attempt < failures)

    return await ctx.step.run(name, attempt)


@story
def retry_beside_nap() -> Story:
    """As `step_beside_nap`; the step fails twice, and its retries are due long before the sleep ends."""

    async def f(ctx: Context) -> dict[str, object]:
        a, _ = await asyncio.gather(_flaky(ctx, "a", failures=2), ctx.step.sleep("nap", "10m"))
        return {"a": a}

    return _story("retry_beside_nap", f, "a, nap")


# --- races ------------------------------------------------------------------------------------------------------------


@story
def race() -> Story:
    """The first of a sleep and a wait wins, then a step."""

    async def f(ctx: Context) -> dict[str, object]:
        tasks = [
            asyncio.ensure_future(ctx.step.sleep("nap", "1m")),
            asyncio.ensure_future(ctx.step.wait_for_event("paid", "paid", timeout="5m")),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return {"charge": await ctx.step.run("charge", work, "charge")}

    return _story("race", f, "nap, paid, charge", _PAID)


@story
def race_waits() -> Story:
    """The first of two waits wins, then a step."""

    async def f(ctx: Context) -> dict[str, object]:
        names = ("paid", "refused")
        tasks = [asyncio.ensure_future(ctx.step.wait_for_event(name, name, timeout="5m")) for name in names]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return {"charge": await ctx.step.run("charge", work, "charge")}

    return _story("race_waits", f, "paid, refused, charge", _PAID, Send("refused"))


@story
def step_beside_wait() -> Story:
    """A step runs beside a wait that another step follows: the step's worker and the wait's may both be the last."""

    async def f(ctx: Context) -> dict[str, object]:
        async def waiting() -> str:
            await ctx.step.wait_for_event("paid", "paid", timeout="5m")
            return await ctx.step.run("x", work, "x")

        a, x = await asyncio.gather(ctx.step.run("a", work, "a"), waiting())
        return {"a": a, "x": x, "end": await ctx.step.run("end", work, "end")}

    return _story("step_beside_wait", f, "paid, a, x, end", _PAID)


@story
def race_steps() -> Story:
    """The first of two steps wins, then a step."""

    async def f(ctx: Context) -> dict[str, object]:
        tasks = [asyncio.ensure_future(ctx.step.run(name, work, name)) for name in "ab"]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return {"end": await ctx.step.run("end", work, "end")}

    return _story("race_steps", f, "a, b, end")


# --- sleeps, waits and invokes ----------------------------------------------------------------------------------------


async def _waiting(ctx: Context) -> dict[str, object]:
    await ctx.step.wait_for_event("paid", "paid", timeout="5m")
    return {"charge": await ctx.step.run("charge", work, "charge")}


@story
def wait_two_events() -> Story:
    return _story("wait_two_events", _waiting, "paid, charge", _PAID, _PAID)


@story
def wait_timeout() -> Story:
    """The event and the timeout of one wait: either may come while or after the next step runs."""
    return _story("wait_timeout", _waiting, "paid, charge", _PAID)


@story
def wait_timeout_checkpoint() -> Story:
    return _story("wait_timeout_checkpoint", _waiting, "paid, charge", _PAID, checkpoint=True)


@story
def wait_then_two() -> Story:
    """As `wait_timeout`, with two steps after the wait."""

    async def f(ctx: Context) -> dict[str, object]:
        return {**await _waiting(ctx), "ship": await ctx.step.run("ship", work, "ship")}

    return _story("wait_then_two", f, "paid, charge, ship", _PAID)


@story
def invoke_timeout() -> Story:
    """The child's end and the timeout of one invoke."""
    app = App("a")

    @app.function(id="child", trigger="never")
    async def child(ctx: Context) -> str:
        return "done"

    @app.function(id="f", trigger="go", retries=2)
    async def f(ctx: Context) -> dict[str, object]:
        await asyncio.wait([asyncio.ensure_future(ctx.step.invoke("call", child, {}, timeout="5m"))])
        return {"charge": await ctx.step.run("charge", work, "charge")}

    return Story("invoke_timeout", app, ("call", "charge"))


async def _looped(ctx: Context) -> dict[str, object]:
    found: dict[str, object] = {}
    for _ in range(2):
        event = await ctx.step.wait_for_event("paid", "paid", timeout="5h", lookback="1h")
        name = f"charge {event.id}" if event else "timed out"
        found[name] = await ctx.step.run(name, work, name)
    return found


@story
def loop_of_waits() -> Story:
    """Two events of one millisecond for a loop of two waits that look back: each event is charged once.

    The timeout is not explored, so that a lost event leaves the run waiting. The names of the steps say which event
    came: a second step for the same event has the same name.
    """
    return _story("loop_of_waits", _looped, "paid, charge paid 1, charge paid 0", _PAID, _PAID)


@story
def loop_of_waits_checkpoint() -> Story:
    return _story(
        "loop_of_waits_checkpoint", _looped, "paid, charge paid 1, charge paid 0", _PAID, _PAID, checkpoint=True
    )


def _family(name: str, *, checkpoint: bool = False) -> Story:
    """A run that is cancelled, and the run that it invokes, which does not end while this is explored."""
    app = App("a")
    mode: dict[str, Any] = {"mode": "checkpoint"} if checkpoint else {}

    @app.function(id="child", trigger="never", **mode)
    async def child(ctx: Context) -> None:
        await ctx.step.run("inside", work, "inside")
        await ctx.step.sleep("nap", "5h")

    @app.function(id="f", trigger="go", retries=2, **mode)
    async def f(ctx: Context) -> dict[str, object]:
        await ctx.step.run("one", work, "one")
        await ctx.step.invoke("call", child, {})
        return {}

    return Story(name, app, ("one", "call"), (_CANCEL,))


@story
def invoke_cancel() -> Story:
    return _family("invoke_cancel")


@story
def invoke_cancel_checkpoint() -> Story:
    return _family("invoke_cancel_checkpoint", checkpoint=True)


async def _sleeping(ctx: Context) -> dict[str, object]:
    await ctx.step.sleep("nap", "1m")
    return {"charge": await ctx.step.run("charge", work, "charge")}


@story
def sleep_step() -> Story:
    return _story("sleep_step", _sleeping, "nap, charge")


@story
def sleep_cancel() -> Story:
    return _story("sleep_cancel", _sleeping, "nap, charge", _CANCEL)


# --- the sweeper and the tick -----------------------------------------------------------------------------------------

_WATCH: Final = timedelta(minutes=16)
"""A tick puts a watch on a run within a minute after it has become a quarter of an hour old."""


@story
def sequence_watched() -> Story:
    return replace(sequence(), name="sequence_watched", watch_after=_WATCH)


@story
def sleep_watched() -> Story:
    return replace(sleep_step(), name="sleep_watched", watch_after=_WATCH)


@story
def join2_watched() -> Story:
    return replace(join2(), name="join2_watched", watch_after=_WATCH)


@story
def one_branch_watched() -> Story:
    return replace(one_branch(), name="one_branch_watched", watch_after=_WATCH)


@story
def retry_watched() -> Story:
    return replace(retry(), name="retry_watched", watch_after=_WATCH)


@story
def nap_ticked() -> Story:
    """A sleep that the queue cannot hold: one tick moves its timer to the queue, and the next checks it once more.

    The run is old by then, so that the ticks put a watch on it as well. Those after the sleep are late ones.
    """

    async def f(ctx: Context) -> dict[str, object]:
        await ctx.step.sleep("nap", "20m")
        return {"charge": await ctx.step.run("charge", work, "charge")}

    made = _story("nap_ticked", f, "nap, charge")
    return replace(made, ticks=tuple(timedelta(minutes=minutes) for minutes in (18.5, 19.5, 45, 90)))


# --- calls that are handed over ---------------------------------------------------------------------------------------


@story
def sequence_reported() -> Story:
    return replace(sequence(), name="sequence_reported", reports=True)


@story
def sequence_checkpoint_reported() -> Story:
    return replace(sequence_checkpoint(), name="sequence_checkpoint_reported", reports=True)


@story
def one_branch_reported() -> Story:
    return replace(one_branch(), name="one_branch_reported", reports=True)


@story
def join2_reported() -> Story:
    return replace(join2(), name="join2_reported", reports=True)


@story
def retry_reported() -> Story:
    return replace(retry(), name="retry_reported", reports=True)


@story
def wait_timeout_reported() -> Story:
    return replace(wait_timeout(), name="wait_timeout_reported", reports=True)


@story
def sequence_cancel_reported() -> Story:
    return replace(sequence_cancel(), name="sequence_cancel_reported", reports=True)
