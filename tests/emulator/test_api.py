"""The HTTP endpoints of a deployed stack: real requests through the emulator's HTTP API to the api Lambda.

The emulator serves the API under a path of its own instead of a host name; routes, payloads and the Lambda are real.
"""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from samples.shop.provider import refund, signature

from milepost import App, Context, SyncContext
from milepost.errors import SendError
from milepost.protocol import Header
from milepost.sending import HttpTransport

from .cloud import Cloud, eventually
from .remote import at_the_root, official_app, serving

pytestmark = pytest.mark.emulator


def test_an_event_with_the_event_key_starts_its_function(cloud: Cloud):
    answer = cloud.ask("POST", f"/e/{cloud.key('EventKey')}", {"name": "trial/once", "data": {"name": "by-http"}})
    assert (answer.status_code, answer.headers[Header.SERVER_KIND.value]) == (200, "cloud")
    run = cloud.ended("trials-once", "by-http")
    assert (run["status"], [run["event_id"]]) == ("Completed", answer.json()["ids"])


def test_an_event_with_another_key_is_refused_and_starts_nothing(cloud: Cloud):
    for key in ("guessed", cloud.key("SigningKey")):
        answer = cloud.ask("POST", f"/e/{key}", {"name": "trial/once", "data": {"name": "by-stranger"}})
        assert answer.status_code == 401
        assert answer.json()["error"].startswith("[MP505]")
    cloud.send("trial/once", {"name": "behind-stranger"})
    cloud.ended("trials-once", "behind-stranger")
    assert cloud.runs("trials-once", "by-stranger") == []


def test_a_webhook_signed_as_stripe_does_starts_its_function_and_a_forged_one_does_not(cloud: Cloud):
    body = refund("o-refund", "evt_1")
    now = int(time.time())
    forged = cloud.ask("POST", "/webhooks/payments", body, **{"stripe-signature": signature(body, now, "guessed")})
    assert (forged.status_code, "does not match the body" in forged.json()["error"]) == (401, True)
    for _ in range(2):  # the provider repeats itself: one event
        answer = cloud.ask("POST", "/webhooks/payments", body, **{"stripe-signature": signature(body, now)})
        assert answer.status_code == 200, answer.text
    run = cloud.ended("shop-note-refund", "o-refund")
    assert (run["status"], run["event_name"]) == ("Completed", "payment/refunded")


def elsewhere(cloud: Cloud, key: str, app_id: str = "elsewhere") -> App:
    """An app outside of the stack, configured with the address of the stack's API."""
    app = App(app_id, signing_key=key, transport=HttpTransport(cloud.api, cloud.key("EventKey")))

    @app.function(id="story", trigger="elsewhere/go")
    async def story(ctx: Context) -> list[object]:
        pair = await asyncio.gather(ctx.step.run("left", lambda: 1), ctx.step.run("right", lambda: 2))
        await ctx.step.sleep("nap", "1s")
        await ctx.step.send_event("tell", {"name": "elsewhere/sent", "data": {"word": ctx.event.data["word"]}})
        counted = await ctx.step.invoke("call", count, {"n": 3})
        return [*pair, counted]

    @app.function(id="count", triggers=[], mode="checkpoint")
    def count(ctx: SyncContext) -> int:
        return sum(ctx.step.run(f"part {n}", lambda n: n, n) for n in range(ctx.event.data["n"]))

    @app.function(id="sent", trigger="elsewhere/sent")
    async def sent(ctx: Context) -> str:
        return ctx.event.data["word"]

    return app


def test_an_app_elsewhere_registers_with_the_signing_key_and_its_runs_are_called_with_signed_requests(cloud: Cloud):
    app = elsewhere(cloud, cloud.key("SigningKey"))
    with serving(app.asgi()) as url:
        app.register(url)
        # Whoever calls it without a signature is refused, so what follows was signed.
        assert httpx.post(f"{url}?fnId=elsewhere-count&stepId=step", content=b"{}", trust_env=False).status_code == 401

        cloud.start_anew("Orchestrator")  # which remembers for five seconds which apps there are
        answer = cloud.ask("POST", f"/e/{cloud.key('EventKey')}", {"name": "elsewhere/go", "data": {"word": "by-http"}})
        assert answer.status_code == 200
        run = cloud.ended("elsewhere-story", "by-http")
        assert (run["status"], run["output"]) == ("Completed", [1, 2, 3])
        assert cloud.ended("elsewhere-sent", "by-http")["output"] == "by-http"


def test_an_app_elsewhere_with_another_signing_key_is_not_registered(cloud: Cloud):
    with pytest.raises(SendError, match=r"HTTP 401.*\[MP506\]"):
        elsewhere(cloud, "00ff", "strangers").register("http://127.0.0.1:9/api")
    assert "strangers" not in {app["app_id"] for app in cloud.stack_client.get("/apps")["apps"]}


def test_an_app_of_the_official_sdk_registers_runs_and_sends_through_the_api(cloud: Cloud):
    with at_the_root(cloud) as server, official_app(cloud, server) as url:

        def registered() -> bool:
            try:
                return httpx.put(url, trust_env=False, timeout=20).status_code == 200
            except httpx.ConnectError:
                return False

        eventually(registered, "the official app is registered")
        cloud.start_anew("Orchestrator")  # which remembers for five seconds which apps there are
        cloud.send("py/order", {"id": "official-7", "cents": 42})
        cloud.send("py/fail", {"id": "official-fail"})

        def waits() -> bool:
            found = cloud.runs("official-py-story", "official-7")
            return bool(found) and any(span["status"] == "Waiting" for span in cloud.run(found[0]["run_id"])["trace"])

        eventually(waits, "the story waits for its answer", details=cloud.emulator.output)
        cloud.send("py/answer", {"id": "official-7", "word": "yes"})
        run = cloud.ended("official-py-story", "official-7")
        assert (run["status"], run["output"]) == (
            "Completed", {"paid": 42, "sides": ["l", "r"], "tries": 2, "child": 42, "answer": "yes"},
        )  # fmt: skip
        failed = cloud.ended("official-py-failing", "official-fail")
        assert (failed["status"], failed["error"]["message"]) == ("Failed", "no way")
        # Sent by the SDK itself through the api, with the event key.
        assert eventually(
            lambda: [
                r for r in cloud.stack_client.get("/runs", {"function": "official-py-sent"})["runs"] if r["ended_at"]
            ],
            "what the app sent has started its function",
        )
