"""`milepost dashboard --stack`: the pages and the API over a stack, only for who has the key."""

from __future__ import annotations

import httpx
import pytest

from milepost_console.server.app import build_app
from milepost_console.server.session import KeyRequired
from milepost_console.stack.wiring import open_stack
from milepost_console.testing.aws import AwsHarness

from .test_commands import shop

KEY = "a-key-of-a-test"
ADDRESS = "http://127.0.0.1:8288"


@pytest.fixture
async def served():
    """A client of the dashboard over a stack with one run, without the key."""
    async with AwsHarness(shop([])) as aws:
        await aws.send("order/created", {"order_id": "7"})
        with open_stack(aws.session, aws.stack, threads=1, clock=aws.clock) as backend:
            transport = httpx.ASGITransport(KeyRequired(build_app(backend), KEY))
            async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
                yield client


async def test_the_address_with_the_key_opens_the_pages_and_the_key_leaves_the_address(served: httpx.AsyncClient):
    opened = await served.get("/runs", params={"key": KEY, "status": "Failed"})
    assert (opened.status_code, opened.headers["location"]) == (303, "/runs?status=Failed")
    assert "HttpOnly; SameSite=Strict" in opened.headers["set-cookie"]
    page = await served.get("/runs")
    assert page.headers["content-type"].startswith("text/html")
    rows = (await served.get("/api/runs")).json()["runs"]
    assert [row["status"] for row in rows] == ["Completed"]


@pytest.mark.parametrize("path", ["/", "/api/runs", "/api/openapi.json", "/static/js/boot.js"])
async def test_without_the_key_there_is_nothing_to_see(served: httpx.AsyncClient, path: str):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "milepost_key=wrong"}):
        answer = await served.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "MP336")


async def test_a_program_sends_the_key_in_a_header(served: httpx.AsyncClient):
    answer = await served.get("/api/info", headers={"authorization": f"Bearer {KEY}"})
    body = answer.json()
    assert (body["mode"], body["stack"], body["can"]["stream"]) == ("stack", "milepost", False)


async def test_a_page_of_another_origin_is_refused_even_with_the_key(served: httpx.AsyncClient):
    headers = {"authorization": f"Bearer {KEY}", "x-milepost": "1", "origin": "https://evil.example"}
    answer = await served.post("/api/runs/bulk", headers=headers, json={"action": "cancel", "filter": {}})
    assert (answer.status_code, answer.json()["code"]) == (403, "MP312")


@pytest.mark.parametrize("path", ["/fn/register", "/webhooks/stripe", "/v1/runs"])
async def test_apps_and_senders_are_not_served_with_a_persons_credentials(served: httpx.AsyncClient, path: str):
    answer = await served.post(path, headers={"authorization": f"Bearer {KEY}"}, json={})
    assert answer.status_code in {404, 405}


async def test_why_an_event_started_nothing_is_read_from_the_stacks_table():
    async with AwsHarness(shop([])) as aws:
        await aws.engine.registry.pause("shop-order", paused=True)
        event_id = await aws.send("order/created", {"order_id": "7"})
        with open_stack(aws.session, aws.stack, threads=1, clock=aws.clock) as backend:
            transport = httpx.ASGITransport(build_app(backend))
            async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
                body = (await client.get(f"/api/events/{event_id}")).json()
        assert body["skipped"] == {"shop-order": "the function is paused"}
        # A stack has no live updates: whether the event ended a wait is not known, which is not the same as none.
        assert (body["started"], body["waits_ended"]) == (None, None)
