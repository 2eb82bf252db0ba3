"""Serves the app from a web application of the user's: Starlette and FastAPI, Flask, and Django's list of URLs.

The frameworks are recognised by their classes' names and imported only when one of them is given. Each gets both
spellings of the address, with and without a slash at its end, so that none answers a call with a redirect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qsl

from milepost._values.web import json_response
from milepost.errors import ConfigError
from milepost.protocol import Request, Response

from .asgi import MAX_BODY_BYTES, AsgiApp, Message, Receive, Send, asgi_app

if TYPE_CHECKING:
    from .handler import RequestHandler

__all__ = ["mount_app"]

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_METHODS: Final = ("GET", "POST", "PUT")
_STARLETTE: Final = "starlette.applications.Starlette"
_FLASK: Final = "flask.sansio.scaffold.Scaffold"


def mount_app(app: RequestHandler, name: str, web: object, path: str) -> None:
    """Serve an app at a path of a web application. `name` is the name of the route. Raises ConfigError."""
    given = cast("object", path)
    plain = given.rstrip("/") if isinstance(given, str) else ""
    if not _PATH.fullmatch(plain):
        raise ConfigError(f"app.mount: the path is {given!r}: write one without parameters, such as '/api/milepost'")
    classes = {f"{each.__module__}.{each.__qualname__}" for each in type(web).__mro__}
    if _STARLETTE in classes:
        _mount_starlette(app, name, web, plain)
    elif _FLASK in classes:
        _mount_flask(app, name, web, plain)
    elif isinstance(web, list):
        _mount_django(app, name, cast("list[object]", web), plain)
    else:
        raise ConfigError(
            f"app.mount got an object of type {type(web).__name__}: pass a FastAPI, Starlette or Flask application, or "
            "Django's list urlpatterns. With any other framework, serve app.asgi(), or answer requests with app.handle"
        )


class _Endpoint:
    """An ASGI application as an object: Starlette takes a function for a view."""

    def __init__(self, serve: AsgiApp) -> None:
        self._serve = serve

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send)


def _mount_starlette(app: RequestHandler, name: str, web: Any, path: str) -> None:
    routing: Any = import_module("starlette.routing")
    endpoint = _Endpoint(asgi_app(app, ""))
    for each in (path, f"{path}/"):
        web.router.routes.append(routing.Route(each, endpoint, name=name, include_in_schema=False))


def _mount_flask(app: RequestHandler, name: str, web: Any, path: str) -> None:
    flask: Any = import_module("flask")

    def view() -> object:
        from .aws_lambda import run_on_app_loop  # noqa: PLC0415 - loads event loops, needed only for calls

        asked = flask.request
        body = asked.stream.read(MAX_BODY_BYTES + 1)
        answer = _answer(app, asked.method, asked.query_string.decode("latin-1"), asked.headers, body, asked.base_url)
        response = run_on_app_loop(answer)
        return flask.Response(response.body, response.status, headers=dict(response.headers))

    web.add_url_rule(path, name, view, methods=list(_METHODS), strict_slashes=False, provide_automatic_options=False)


def _mount_django(app: RequestHandler, name: str, patterns: list[object], path: str) -> None:
    urls: Any = import_module("django.urls")
    http: Any = import_module("django.http")

    # Async: under ASGI, Django runs all sync views one after the other. Under WSGI each request has a loop of its own.
    async def view(request: Any) -> object:
        # Not request.body, which refuses more than DATA_UPLOAD_MAX_MEMORY_SIZE, by default less than a call may have.
        body = request.read(MAX_BODY_BYTES + 1)
        address = request.build_absolute_uri(request.path)
        response = await _answer(app, request.method, request.META["QUERY_STRING"], request.headers, body, address)
        return http.HttpResponse(response.body, status=response.status, headers=dict(response.headers))

    # Calls are signed; they have no cookie and no CSRF token.
    view.csrf_exempt = True  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess]
    pattern: Callable[..., object] = urls.re_path
    patterns.append(pattern(rf"^{re.escape(path.lstrip('/'))}/?$", view, name=name))


async def _answer(
    app: RequestHandler, method: str, query: str, headers: Mapping[str, str], body: bytes, url: str
) -> Response:
    if len(body) > MAX_BODY_BYTES:
        message = f"the body is over {MAX_BODY_BYTES} bytes"
        return json_response(413, {"name": "RequestError", "message": message, "stack": ""})
    lower = {name.lower(): value for name, value in headers.items()}
    fields = dict(parse_qsl(query, keep_blank_values=True))
    return await app.handle(Request(method, fields, lower, body, url))
