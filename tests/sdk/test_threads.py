"""Many concurrent invocations in one process, each on a worker with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import Any

from milepost import App, Context, Event, SyncContext

from .fake_server import FakeServer

tenant: ContextVar[str] = ContextVar("tenant", default="none")


async def test_eight_invocations_at_once_do_not_wait_for_each_other(app: App) -> None:
    barrier = threading.Barrier(8, timeout=5)

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("meet", barrier.wait)

    @app.function(id="g", trigger=Event("t/a"))
    def g(ctx: SyncContext) -> int:
        return ctx.step.run("meet", barrier.wait)

    servers = [FakeServer(app, f"shop-{'fg'[n % 2]}", run_id=f"run-{n}") for n in range(8)]
    await asyncio.gather(*(server.run() for server in servers))
    assert sorted(server.result for server in servers) == list(range(8))


async def test_runs_at_once_keep_their_own_steps(app: App) -> None:
    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> list[str]:
        async def body(n: int) -> str:
            await asyncio.sleep(0)
            return f"{ctx.run_id}.{n}"

        return await asyncio.gather(*(ctx.step.run("s", body, n) for n in range(3)))

    servers = [FakeServer(app, "shop-f", run_id=f"run-{n}") for n in range(20)]
    await asyncio.gather(*(server.run() for server in servers))
    assert [server.result for server in servers] == [[f"run-{n}.{m}" for m in range(3)] for n in range(20)]


async def test_invocations_one_after_the_other_share_a_loop_so_that_clients_stay_usable(app: App) -> None:
    loops: list[int] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        loops.append(id(asyncio.get_running_loop()))

    for _ in range(5):
        await FakeServer(app, "shop-f").call()
    assert len(set(loops)) == 1
    assert loops[0] != id(asyncio.get_running_loop())


async def test_context_variables_of_the_caller_are_seen_by_the_function(app: App) -> None:
    seen: list[str] = []

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> None:
        seen.append(tenant.get())
        await ctx.step.run("a", lambda: seen.append(tenant.get()))

    @app.function(id="g", trigger=Event("t/a"))
    def g(ctx: SyncContext) -> None:
        ctx.step.parallel((lambda: seen.append(tenant.get()), lambda: None))

    token = tenant.set("acme")
    await FakeServer(app, "shop-f").call()
    await FakeServer(app, "shop-g").call()
    tenant.reset(token)
    assert seen == ["acme"] * 3


async def test_a_blocking_function_does_not_block_the_loop_of_the_caller(app: App) -> None:
    release = threading.Event()

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        return release.wait(5)

    call = asyncio.create_task(FakeServer(app, "shop-f").call())
    await asyncio.sleep(0.01)
    release.set()
    assert (await call).json is True


async def test_a_caller_that_goes_away_leaves_the_worker_usable(app: App) -> None:
    release = threading.Event()

    @app.function(id="f", trigger=Event("t/a"))
    def f(ctx: SyncContext) -> Any:
        return release.wait(5)

    call = asyncio.create_task(FakeServer(app, "shop-f").call())
    await asyncio.sleep(0.01)
    call.cancel()
    release.set()
    assert (await FakeServer(app, "shop-f").call()).json is True


async def test_code_that_stops_the_loop_fails_clearly_and_leaves_the_worker_usable(app: App) -> None:
    async def stop() -> None:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)

    @app.function(id="body", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        await stop()

    @app.function(id="step", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        await ctx.step.run("stop", stop)

    @app.function(id="thread", trigger=Event("t/a"))
    async def _(ctx: Context) -> None:
        await asyncio.to_thread(asyncio.get_running_loop().stop)

    @app.function(id="sync", trigger=Event("t/a"))
    def _(ctx: SyncContext) -> None:
        ctx.step.run("stop", stop)

    @app.function(id="good", trigger=Event("t/a"))
    async def _(ctx: Context) -> int:
        await asyncio.sleep(0)
        return await ctx.step.run("a", int)

    for function in ("body", "step", "thread", "sync"):
        called = await FakeServer(app, f"shop-{function}").call()
        error = called.ops[0]["error"] if called.ops else called.json
        assert called.reported in ([], ["StepFailed stop"])
        assert error["code"] == "code"
        assert "loop.stop()" in error["message"]
        assert "in stop" in error["stack"] or function == "thread"
        server = FakeServer(app, "shop-good")
        await asyncio.wait_for(server.run(), 10)
        assert server.result == 0
