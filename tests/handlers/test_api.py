"""The HTTP endpoints on AWS: which requests are accepted, and what they do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from milepost import App, SyncContext, WebhookRequest
from milepost.protocol import bearer
from milepost_handlers import api

from .conftest import World
from .recorded import Context

EVENT_KEY, SIGNING_KEY = "event-key-2", "signing-key-2"
Ask = Callable[..., tuple[int, Any]]


def request(method: str, path: str, body: bytes = b"", **headers: str) -> dict[str, Any]:
    """What an HTTP API hands to its Lambda, in payload format 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {
            "accountId": "123456789012", "apiId": "api-id", "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                     "userAgent": "agent"},
            "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1583348638390,
        },
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }  # fmt: skip


@pytest.fixture
def ask(environment: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ask:
    world: World = request.getfixturevalue("world")
    secrets = world.client("secretsmanager")
    for name, keys in {"EVENT": f"{EVENT_KEY}, event-key-1", "SIGNING": f"{SIGNING_KEY},signing-key-1"}.items():
        made = secrets.create_secret(Name=f"{name}-{world.table}", SecretString=keys)
        monkeypatch.setenv(f"MILEPOST_{name}_KEY_SECRET", made["ARN"])
    api._known.clear()

    def send(*given: Any, **headers: str) -> tuple[int, Any]:
        answer = api.handler(globals()["request"](*given, **headers), Context())
        return answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None

    return send


def shop() -> App:
    app = App("shop")

    @app.function(id="order", trigger="order/placed")
    def order(ctx: SyncContext) -> object:
        return ctx.event.data

    @app.webhook("bank", secret="whsec", header="x-signature")
    def bank(request: WebhookRequest) -> Any:
        body = request.json
        return {"name": "order/placed", "data": body, "id": body["id"]}

    return app


@pytest.mark.parametrize("key", [EVENT_KEY, "event-key-1"])
def test_an_event_with_a_valid_key_starts_its_function(world: World, ask: Ask, key: str):
    world.serve(shop())
    status, body = ask("POST", f"/e/{key}", b'{"name": "order/placed", "data": {"n": 1}}')
    assert (status, len(body["ids"])) == (200, 1)
    world.pump()
    assert [run["output"] for run in world.runs()] == [{"n": 1}]


@pytest.mark.parametrize("key", ["event-key-3", "event-key-", "x"])
def test_an_event_with_another_key_is_refused(world: World, ask: Ask, key: str):
    status, body = ask("POST", f"/e/{key}", b'{"name": "order/placed"}')
    assert status == 401
    assert body["error"].startswith("[MP505]")
    assert world.receive(world.work_url) == []


def test_an_event_that_cannot_be_accepted_is_answered_with_the_reason(ask: Ask):
    status, body = ask("POST", f"/e/{EVENT_KEY}", b'{"name": "order/placed", "data": 5}')
    assert (status, body["error"]) == (400, "data of event 'order/placed' must be an object, got int")


def test_a_signed_webhook_becomes_an_event_and_another_one_is_refused(world: World, ask: Ask):
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    world.serve(shop())
    body = b'{"id": "evt_1", "amount": 7}'
    signature = hmac.new(b"whsec", body, hashlib.sha256).hexdigest()
    assert ask("POST", "/webhooks/bank", body, x_signature=signature)[0] == 200
    assert ask("POST", "/webhooks/bank", body, x_signature="0" * 64)[0] == 401
    assert ask("POST", "/webhooks/nobody", body)[0] == 404
    world.pump()
    assert [run["output"]["amount"] for run in world.runs()] == [7]


def test_an_app_elsewhere_registers_with_the_signing_key_only(world: World, ask: Ask):
    manifest = json.dumps(shop().manifest("https://shop.example/api")).encode()
    assert ask("POST", "/fn/register", manifest)[0] == 401
    assert ask("POST", "/fn/register", manifest, authorization=bearer("guessed"))[0] == 401
    status, body = ask("POST", "/fn/register", manifest, authorization=bearer("signing-key-1"))
    assert (status, body["ok"]) == (200, True)
    snapshot = world.here.run(world.here.engine.registry.snapshot())
    assert (snapshot.apps["shop"].target.kind, snapshot.apps["shop"].target.address) == (
        "http", "https://shop.example/api",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v0/runs/X/actions"), ("GET", "/v0/runs/X/batch"), ("POST", "/v1/checkpoint/X/async")],
)
def test_the_state_of_runs_is_only_for_who_has_the_signing_key(ask: Ask, method: str, path: str):
    body = b'{"steps": []}'
    assert ask(method, path, body)[0] == 401
    assert ask(method, path, body, authorization=bearer(SIGNING_KEY))[0] == 404


def test_calls_to_apps_are_signed_with_the_first_key(world: World, ask: Ask):
    assert ask is not None
    assert world.here.engine.settings.signing_key == SIGNING_KEY


def test_what_is_nowhere_is_answered_as_such(ask: Ask):
    assert ask("GET", "/nowhere")[0] == 404
