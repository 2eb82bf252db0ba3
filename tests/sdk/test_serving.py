"""Requests from a server: registration, inspection, signatures, and calls that cannot be served."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from milepost import App, Context, Event
from milepost.errors import ConfigError, SendError
from milepost.protocol import bearer, sign, verify
from milepost.serving import Request

from .fake_server import FakeServer
from .http_server import serving

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
KEY = "signkey-prod-00112233445566778899aabbccddeeff"
FALLBACK = "signkey-prod-ffeeddccbbaa99887766554433221100"


def signed_app(monkeypatch: pytest.MonkeyPatch | None = None, **options: Any) -> App:
    if monkeypatch is not None:
        monkeypatch.setenv("MILEPOST_SIGNING_KEY_FALLBACK", FALLBACK)
    app = App("shop", signing_key=KEY, event_key="secret-event-key", dev=options.pop("dev", False), now=lambda: NOW)

    @app.function(id="f", trigger=Event("t/a"))
    async def f(ctx: Context) -> str:
        return "ran"

    return app


def call_body() -> bytes:
    return json.dumps({"ctx": {"run_id": "r", "attempt": 0}, "event": {"name": "t/a"}, "steps": {}}).encode()


def signed(method: str, body: bytes = b"", key: str = KEY, at: datetime = NOW, **query: str) -> Request:
    return Request(method, query, {"x-inngest-signature": sign(key, body, at)}, body)


async def test_a_signed_call_is_served_and_its_answer_is_signed() -> None:
    response = await signed_app().handle(signed("POST", call_body(), fnId="shop-f", stepId="step"))
    assert (response.status, response.body) == (200, b'"ran"')
    assert verify(KEY, response.body, response.headers["x-inngest-signature"], NOW)


@pytest.mark.parametrize(
    "request_",
    [
        Request("POST", {"fnId": "shop-f"}, {}, call_body()),
        Request("POST", {"fnId": "shop-f"}, {"x-inngest-signature": "t=1&s=zz"}, call_body()),
        Request("POST", {"fnId": "shop-f"}, {"x-inngest-signature": "nonsense"}, call_body()),
        signed("POST", call_body(), key="signkey-prod-abcd", fnId="shop-f"),
        signed("POST", call_body(), at=NOW - timedelta(minutes=6), fnId="shop-f"),
        signed("POST", call_body(), at=NOW + timedelta(minutes=6), fnId="shop-f"),
        Request("POST", {"probe": "trust"}),
        Request("PUT"),
    ],
)
async def test_a_request_without_a_right_and_fresh_signature_is_refused(request_: Request) -> None:
    response = await signed_app().handle(request_)
    assert response.status == 401
    assert json.loads(response.body)["code"] == "signature_verification_failed"


async def test_a_body_that_was_changed_is_refused() -> None:
    request = signed("POST", call_body(), fnId="shop-f")
    changed = Request("POST", request.query, request.headers, request.body.replace(b'"r"', b'"s"'))
    assert (await signed_app().handle(changed)).status == 401


async def test_while_keys_are_exchanged_both_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = signed_app(monkeypatch)
    for key in (KEY, FALLBACK):
        assert (await app.handle(signed("POST", call_body(), key=key, fnId="shop-f"))).status == 200


PROBES = [Request("POST", {"fnId": "shop-f"}, {}, call_body()), Request("POST", {"probe": "trust"}), Request("PUT")]


def keyless_app() -> App:
    app = App("shop", dev=False)
    app.function(id="f", trigger=Event("t/a"))(lambda _: "ran")
    return app


@pytest.mark.parametrize("request_", PROBES)
async def test_without_a_key_and_outside_of_dev_mode_nobody_is_served(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILEPOST_SIGNING_KEY_FALLBACK", FALLBACK)
    response = await keyless_app().handle(request_)
    body = json.loads(response.body)
    assert (response.status, body["code"]) == (500, "signing_key_missing")
    for part in ("'shop'", "MILEPOST_SIGNING_KEY", "MILEPOST_DEV=1"):
        assert part in body["message"]


async def test_a_transport_that_authenticates_its_callers_needs_no_key() -> None:
    assert (await keyless_app().handle(PROBES[0], authenticated=True)).body == b'"ran"'
    # With a key, the signature counts all the same.
    assert (await signed_app().handle(PROBES[0], authenticated=True)).status == 401


async def test_a_web_server_does_not_start_an_app_without_a_key() -> None:
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        messages.append(message)

    await keyless_app().asgi()({"type": "lifespan"}, receive, send)
    [message] = messages
    assert message["type"] == "lifespan.startup.failed"
    assert "MILEPOST_SIGNING_KEY" in message["message"]


@pytest.mark.parametrize(
    ("context", "status"),
    [
        ({"apiId": "milepost", "accountId": "anonymous"}, 200),
        ({"apiId": "a1b2c3", "authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/me"}}}, 200),
        ({"apiId": "a1b2c3", "accountId": "anonymous"}, 500),
        ({"apiId": "a1b2c3", "authorizer": {"jwt": {"claims": {}}}}, 500),
        ({"apiId": "a1b2c3", "authorizer": {"iam": None}}, 500),
        ({}, 500),
    ],
)
def test_a_lambda_without_a_key_serves_whom_iam_has_authenticated(context: dict[str, Any], status: int) -> None:
    event = lambda_event(call_body().decode())
    event["headers"]["x-amz-source-account"] = "milepost"
    event["requestContext"] |= context
    assert keyless_app().lambda_handler()(event, None)["statusCode"] == status


async def test_in_dev_mode_nothing_is_verified() -> None:
    assert (await signed_app(dev=True).handle(Request("POST", {"fnId": "shop-f"}, {}, call_body()))).status == 200


async def test_the_trust_probe_is_answered_empty_when_it_is_signed() -> None:
    response = await signed_app().handle(signed("POST", probe="trust"))
    assert (response.status, response.body) == (200, b"")


async def test_unsigned_inspection_shows_no_secrets() -> None:
    response = await signed_app().handle(Request("GET"))
    body = json.loads(response.body)
    assert body["function_count"] == 1
    assert (body["has_event_key"], body["has_signing_key"], body["mode"]) == (True, True, "cloud")
    assert "app_id" not in body
    assert "signing_key_hash" not in body
    assert b"secret-event-key" not in response.body


async def test_signed_inspection_shows_more_but_never_a_key() -> None:
    response = await signed_app().handle(signed("GET"))
    body = json.loads(response.body)
    assert (body["app_id"], body["sdk_language"]) == ("shop", "py")
    assert len(body["signing_key_hash"]) == 12
    assert b"secret-event-key" not in response.body
    assert KEY.rsplit("-", maxsplit=1)[-1].encode() not in response.body


async def test_an_in_band_sync_answers_the_registration() -> None:
    body = b'{"url":"https://app.example/api"}'
    request = signed("PUT", body)
    request = Request("PUT", {}, {**request.headers, "x-inngest-sync-kind": "in_band"}, body)
    response = await signed_app().handle(request)
    body = json.loads(response.body)
    assert (response.status, response.headers["x-inngest-sync-kind"]) == (200, "in_band")
    assert (body["app_id"], body["url"]) == ("shop", "https://app.example/api")
    assert body["functions"][0]["id"] == "shop-f"
    assert body["inspection"]["authentication_succeeded"] is True


async def test_an_out_of_band_sync_registers_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((200, {"ok": True, "modified": True})) as server:
        monkeypatch.setenv("MILEPOST_API_URL", server.url)
        request = signed("PUT", deployId="d1")
        request = Request("PUT", request.query, request.headers, b"", "https://app.example/api")
        response = await signed_app().handle(request)
    assert (response.status, json.loads(response.body)) == (200, {"ok": True, "modified": True})
    heard = server.heard[0]
    assert (heard.method, heard.path) == ("POST", "/fn/register?deployId=d1")
    assert heard.headers["authorization"] == bearer(KEY)
    assert KEY.rsplit("-", maxsplit=1)[-1] not in heard.headers["authorization"]
    assert heard.json["url"] == "https://app.example/api"


async def test_a_refused_bearer_is_tried_again_with_the_fallback_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((401, {}), (200, {"ok": True})) as server:
        monkeypatch.setenv("MILEPOST_API_URL", server.url)
        app = signed_app(monkeypatch)
        assert (await app.handle(signed("PUT"))).status == 200
    assert [heard.headers["authorization"] for heard in server.heard] == [bearer(KEY), bearer(FALLBACK)]


async def test_a_refused_registration_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((400, {"error": "At least one function is invalid"})) as server:
        monkeypatch.setenv("MILEPOST_DEV", server.url)
        response = await App("shop").handle(Request("PUT", url="http://127.0.0.1/api"))
    assert (response.status, json.loads(response.body)["error"]) == (400, "At least one function is invalid")


async def test_a_sync_that_does_not_know_where_to_register_says_what_to_set() -> None:
    response = await App("shop", dev=False).handle(Request("PUT", url="http://127.0.0.1/api"), authenticated=True)
    assert response.status == 500
    assert "MILEPOST_API_URL" in json.loads(response.body)["message"]


def test_an_app_registers_itself_under_the_address_that_it_is_served_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving((200, {"ok": True})) as server:
        monkeypatch.setenv("MILEPOST_API_URL", server.url)
        signed_app().register("https://app.example/api")
    [heard] = server.heard
    assert (heard.method, heard.path, heard.json["url"]) == ("POST", "/fn/register", "https://app.example/api")
    assert heard.headers["authorization"] == bearer(KEY)


def test_a_failed_registration_is_an_error_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="MILEPOST_API_URL"):
        App("shop", dev=False).register("https://app.example/api")
    with serving((401, {"error": "[MP506] The request is not authorised"})) as server:
        monkeypatch.setenv("MILEPOST_API_URL", server.url)
        with pytest.raises(SendError, match=r"'shop' was not registered at .*HTTP 401.*MP506"):
            signed_app().register("https://app.example/api")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (Request("POST", {"fnId": "shop-none"}, {}, call_body()), 404, "function_not_found"),
        (Request("POST", {"fnId": "shop-f"}, {}, b"{"), 400, "body_invalid"),
        (Request("POST", {"fnId": "shop-f"}, {}, b"[]"), 400, "body_invalid"),
        (Request("POST", {"fnId": "shop-f"}, {}, b'{"ctx":{}}'), 400, "body_invalid"),
        (Request("PATCH"), 405, "method_not_allowed"),
    ],
)
async def test_what_cannot_be_served_is_answered_clearly_and_as_an_sdk(
    request_: Request, status: int, code: str
) -> None:
    response = await signed_app(dev=True).handle(request_)
    assert (response.status, json.loads(response.body)["code"]) == (status, code)
    assert response.headers["x-inngest-sdk"].startswith("milepost:v")
    assert "x-inngest-no-retry" not in response.headers


async def test_a_function_is_found_without_the_apps_name_too() -> None:
    response = await signed_app(dev=True).handle(Request("POST", {"fnId": "f"}, {}, call_body()))
    assert response.body == b'"ran"'


async def test_a_large_run_is_fetched_from_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = "r1"
    step_id = "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"
    with serving() as server:
        server.by_path[f"/v0/runs/{run_id}/actions"] = (200, {step_id: {"data": "kept"}})
        server.by_path[f"/v0/runs/{run_id}/batch"] = (200, [{"name": "t/a", "data": {"n": 7}}])
        monkeypatch.setenv("MILEPOST_DEV", server.url)
        app = App("shop")

        @app.function(id="f", trigger=Event("t/a"))
        async def f(ctx: Context) -> Any:
            return [ctx.event.data["n"], await ctx.step.run("a", int)]

        called = await FakeServer(app, "shop-f", run_id=run_id).call(use_api=True)
    assert called.json == [7, "kept"]


async def test_a_large_run_that_cannot_be_fetched_is_retried() -> None:
    app = signed_app(dev=True)
    with serving((410, {"error": "gone"})) as server:
        app = App("shop", dev=server.url)
        app.function(id="f", triggers=[])(lambda ctx: None)
        called = await FakeServer(app, "shop-f").call(use_api=True)
    assert called.response.status == 500
    assert "410" in called.json["message"]


def test_a_bearer_is_the_hash_of_the_key_with_its_prefix() -> None:
    assert bearer("signkey-test-6162").startswith("Bearer signkey-test-fb8e20fc2e4c3f248c60c39bd652f3c1347298bb")
    assert bearer("plain text").startswith("Bearer ")


async def test_an_asgi_server_can_carry_the_app() -> None:
    app = signed_app(dev=True)
    sent: list[Any] = []
    parts = [call_body()[:10], call_body()[10:]]

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api", "query_string": b"fnId=shop-f&stepId=step",
        "headers": [(b"Host", b"app.example")], "scheme": "https",
    }  # fmt: skip
    await app.asgi()(scope, receive, send)
    assert (sent[0]["status"], sent[1]["body"]) == (200, b'"ran"')
    assert dict(sent[0]["headers"])[b"content-length"] == b"5"


async def test_an_asgi_server_may_start_and_stop_the_app() -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await signed_app().asgi()({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_real_web_framework_can_mount_the_app() -> None:
    import httpx  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.routing import Mount  # noqa: PLC0415

    with serving((200, {"ok": True})) as server:
        app = App("shop", dev=server.url)
        web = Starlette(routes=[Mount("/jobs", app=app.asgi())])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="https://app.example") as client:
            assert (await client.get("/jobs/milepost")).json()["function_count"] == 0
            assert (await client.put("/jobs/milepost")).status_code == 200
    assert server.heard[0].json["url"] == "https://app.example/jobs/milepost"


def lambda_event(body: str, *, is_base64: bool = False) -> dict[str, Any]:
    return {
        "version": "2.0", "rawPath": "/", "rawQueryString": "fnId=shop-f&stepId=step",
        "headers": {"content-type": "application/json", "Host": "abc.lambda-url.eu-west-1.on.aws"},
        "requestContext": {"http": {"method": "POST", "path": "/"}}, "body": body, "isBase64Encoded": is_base64,
    }  # fmt: skip


def test_a_lambda_invocation_carries_the_same_request() -> None:
    handler = signed_app(dev=True).lambda_handler()
    for event in (
        lambda_event(call_body().decode()),
        lambda_event(base64.b64encode(call_body()).decode(), is_base64=True),
    ):
        answer = handler(event, None)
        assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, '"ran"', False)
        assert answer["headers"]["x-inngest-req-version"] == "2"


def test_a_lambda_event_that_is_no_request_is_a_clear_error() -> None:
    handler = signed_app(dev=True).lambda_handler()
    with pytest.raises(Exception, match=r"payload format 2\.0"):
        handler({"Records": []}, None)
