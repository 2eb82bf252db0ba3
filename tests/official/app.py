"""Written with the official Python SDK, from its own documentation; nothing here knows Milepost."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from typing import Any

import fastapi
import inngest
import inngest.fast_api
import uvicorn

client = inngest.Inngest(
    app_id="official-py",
    is_production="INNGEST_SIGNING_KEY" in os.environ,
    api_base_url=os.environ["SERVER"],
    event_api_base_url=os.environ["SERVER"],
)
tried: list[int] = []
tried_again: list[int] = []


async def value(made: Any) -> Any:
    return made


async def flaky() -> int:
    tried.append(1)
    if len(tried) < 2:
        raise inngest.RetryAfterError("not yet", dt.timedelta(seconds=1))
    return len(tried)


@client.create_function(fn_id="child", trigger=inngest.TriggerEvent(event="py/child"))
async def child(ctx: inngest.Context) -> object:
    return await ctx.step.run("double", lambda: value(int(str(ctx.event.data["n"])) * 2))


@client.create_function(fn_id="story", trigger=inngest.TriggerEvent(event="py/order"), retries=2)
async def story(ctx: inngest.Context) -> object:
    paid = await ctx.step.run("pay", lambda: value(ctx.event.data["cents"]))
    sides = await ctx.group.parallel(
        (
            lambda: ctx.step.run("left", lambda: value("l")),
            lambda: ctx.step.run("right", lambda: value("r")),
        )
    )
    tries = await ctx.step.run("flaky", flaky)
    await ctx.step.sleep("nap", dt.timedelta(milliseconds=100))
    doubled = await ctx.step.invoke("call", function=child, data={"n": 21})
    answer = await ctx.step.wait_for_event(
        "answer",
        event="py/answer",
        timeout=dt.timedelta(minutes=1),
        if_exp="event.data.id == async.data.id",
    )
    await ctx.step.send_event("tell", inngest.Event(name="py/sent", data={"paid": paid}))
    word = answer.data["word"] if answer else None
    return {"paid": paid, "sides": list(sides), "tries": tries, "child": doubled, "answer": word}


@client.create_function(fn_id="sent", trigger=inngest.TriggerEvent(event="py/sent"))
async def sent(ctx: inngest.Context) -> object:
    return ctx.event.data["paid"]


async def after_failure(ctx: inngest.Context) -> object:
    error: Any = ctx.event.data["error"]
    return await ctx.step.run("note", lambda: value(error["message"]))


@client.create_function(
    fn_id="failing", trigger=inngest.TriggerEvent(event="py/fail"), retries=4, on_failure=after_failure
)
async def failing(ctx: inngest.Context) -> None:
    async def fail() -> None:
        raise inngest.NonRetriableError("no way")

    await ctx.step.run("try", fail)


async def shaky() -> int:
    tried_again.append(1)
    if len(tried_again) < 3:
        raise ValueError(f"broken {len(tried_again)}")
    return len(tried_again)


@client.create_function(fn_id="patient", trigger=inngest.TriggerEvent(event="py/patient"), retries=2)
async def patient(ctx: inngest.Context) -> object:
    return await ctx.step.run("shaky", shaky)


@client.create_function(fn_id="waiting", trigger=inngest.TriggerEvent(event="py/wait"))
async def waiting(ctx: inngest.Context) -> object:
    answer = await ctx.step.wait_for_event("never", event="py/never", timeout=dt.timedelta(hours=1))
    return await ctx.step.run("tell", lambda: value("nobody" if answer is None else answer.name))


@client.create_function(fn_id="forgiving", trigger=inngest.TriggerEvent(event="py/forgive"), retries=1)
async def forgiving(ctx: inngest.Context) -> object:
    async def fail() -> None:
        raise KeyError("lost")

    said: list[str] = []
    try:
        await ctx.step.run("break", fail)
    except inngest.StepError as error:
        said = [error.name, error.message]
    return await ctx.step.run("mend", lambda: value(said))


async def main() -> None:
    server = fastapi.FastAPI()
    inngest.fast_api.serve(server, client, [story, child, sent, failing, patient, waiting, forgiving])
    config = uvicorn.Config(server, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
    await uvicorn.Server(config).serve()


asyncio.run(main())
