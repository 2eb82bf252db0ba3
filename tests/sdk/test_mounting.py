"""One line serves an app from FastAPI, Starlette, Flask or Django: signed calls only, and never a redirect."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import types
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Blueprint, Flask
from starlette.applications import Starlette

from milepost import App, Context, SyncContext
from milepost.errors import ConfigError
from milepost.protocol import sign

KEY = "signkey-test-0123456789abcdef"
Ask = Callable[..., Awaitable[httpx.Response]]
FRAMEWORKS = ("fastapi", "starlette", "flask", "blueprint", "django-asgi", "django-wsgi")


def shop(key: str | None = KEY) -> App:
    app = App("shop", signing_key=key, dev=False)

    @app.function(id="order", triggers=[])
    async def order(ctx: Context) -> Any:
        return {"got": ctx.event.data, "double": await ctx.step.run("double", lambda: 4)}

    @app.function(id="plain", triggers=[])
    def plain(ctx: SyncContext) -> str:
        return "plain"

    return app


def django_app(app: App, kind: str) -> Any:
    pytest.importorskip("django")
    from django.conf import settings  # noqa: PLC0415 - only where it is installed
    from django.core.asgi import get_asgi_application  # noqa: PLC0415
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415
    from django.urls import clear_url_caches, set_urlconf  # noqa: PLC0415

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["web.example"], ROOT_URLCONF="mounted_urls", SECRET_KEY="s", APPEND_SLASH=True,
            MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
        )  # fmt: skip
    urls = types.ModuleType("mounted_urls")
    urls.urlpatterns = []  # type: ignore[attr-defined]
    app.mount(urls.urlpatterns)
    sys.modules["mounted_urls"] = urls
    clear_url_caches()
    set_urlconf(None)
    return get_asgi_application() if kind == "django-asgi" else get_wsgi_application()


def web_of(kind: str, app: App) -> httpx.ASGITransport | httpx.WSGITransport:
    if kind == "fastapi":
        fast = FastAPI()
        app.mount(fast)
        return httpx.ASGITransport(fast)
    if kind == "starlette":
        star = Starlette()
        app.mount(star, "/api/milepost/")
        return httpx.ASGITransport(star)
    if kind == "flask":
        flask = Flask("web")
        app.mount(flask)
        return httpx.WSGITransport(flask.wsgi_app)
    if kind == "blueprint":
        flask, jobs = Flask("web"), Blueprint("jobs", "web", url_prefix="/api")
        app.mount(jobs, "/milepost")
        flask.register_blueprint(jobs)
        return httpx.WSGITransport(flask.wsgi_app)
    made = django_app(app, kind)
    return httpx.ASGITransport(made) if kind == "django-asgi" else httpx.WSGITransport(made)


@pytest.fixture(params=FRAMEWORKS)
def serve(request: pytest.FixtureRequest) -> Callable[[App], Ask]:
    def made(app: App) -> Ask:
        transport = web_of(request.param, app)

        async def ask(method: str, body: bytes = b"", path: str = "/api/milepost", **headers: str) -> httpx.Response:
            url = f"http://web.example{path}"
            if isinstance(transport, httpx.ASGITransport):
                async with httpx.AsyncClient(transport=transport) as client:
                    return await client.request(method, url, content=body, headers=headers)

            def at_once() -> httpx.Response:
                with httpx.Client(transport=transport) as client:
                    return client.request(method, url, content=body, headers=headers)

            return await asyncio.to_thread(at_once)

        return ask

    return made


def call(data: object) -> bytes:
    event = {"id": "1", "name": "inngest/function.invoked", "data": data, "ts": 0}
    ctx = {"run_id": "01KK0000000000000000000000", "attempt": 0, "stack": {"stack": [], "current": 0}}
    return json.dumps({"ctx": ctx, "event": event, "events": [event], "steps": {}, "version": -1}).encode()


def signed(body: bytes) -> dict[str, str]:
    return {"x-inngest-signature": sign(KEY, body, datetime.now(UTC))}


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_signed_call_is_answered_at_once_with_and_without_a_slash(serve: Callable[[App], Ask], slash: str):
    ask, body = serve(shop()), call({"n": 1})
    answer = await ask("POST", body, f"/api/milepost{slash}?fnId=shop-order&stepId=step", **signed(body))
    assert (answer.status_code, [op["data"] for op in answer.json()]) == (206, [4])
    assert "x-inngest-signature" in answer.headers
    answer = await ask("POST", body, f"/api/milepost{slash}?fnId=shop-plain&stepId=step", **signed(body))
    assert (answer.status_code, answer.json()) == (200, "plain")


async def test_a_call_may_be_larger_than_what_web_forms_may_be(serve: Callable[[App], Ask]):
    ask, body = serve(shop()), call({"text": "x" * 4_000_000})
    answer = await ask("POST", body, "/api/milepost?fnId=shop-plain&stepId=step", **signed(body))
    assert (answer.status_code, answer.json()) == (200, "plain")


async def test_an_unsigned_or_wrongly_signed_call_is_refused(serve: Callable[[App], Ask]):
    ask, body = serve(shop()), call({})
    for headers in ({}, signed(body + b" ")):
        answer = await ask("POST", body, "/api/milepost?fnId=shop-plain&stepId=step", **headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_verification_failed")
    assert (await ask("PUT")).status_code == 401


async def test_without_a_key_every_call_is_refused_and_the_log_says_so(
    serve: Callable[[App], Ask], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    for name in ("MILEPOST_SIGNING_KEY", "MILEPOST_SIGNING_KEY_FALLBACK", "MILEPOST_DEV"):
        monkeypatch.delenv(name, raising=False)
    with caplog.at_level(logging.WARNING):
        ask = serve(shop(None))
    assert "set MILEPOST_SIGNING_KEY" in caplog.text
    answer = await ask("POST", call({}), "/api/milepost?fnId=shop-plain&stepId=step")
    assert (answer.status_code, answer.json()["code"]) == (500, "signing_key_missing")


async def test_the_app_registers_the_address_at_which_it_is_asked(serve: Callable[[App], Ask]):
    ask = serve(shop())
    answer = await ask("PUT", **signed(b""), **{"x-inngest-sync-kind": "in_band"})
    assert (answer.status_code, answer.json()["url"]) == (200, "http://web.example/api/milepost")
    assert (await ask("GET")).status_code == 200
    assert (await ask("DELETE")).status_code in {404, 405}


@pytest.mark.parametrize("path", ["", "/", "api", "/api/{id}", "/api/<id>", "/a//b", "/api?x=1", 7])
def test_a_path_that_is_none_is_refused(path: Any):
    with pytest.raises(ConfigError, match="such as '/api/milepost'"):
        shop().mount(Flask("web"), path)


def test_another_object_is_refused_with_what_to_do_instead():
    with pytest.raises(ConfigError, match=r"of type dict: pass a FastAPI.*serve app\.asgi\(\)"):
        shop().mount({})
