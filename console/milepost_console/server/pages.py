"""Serves the dashboard: scripts and styles from the package, and one page for every address that is not an API.

All files are read once, when the server is built. Their addresses contain a hash of all files, so browsers cache them
forever but never mix scripts of different versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .problems import Refused

__all__ = ["add_pages"]

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_APIS: Final = ("api/", "v0/", "v1/", "e/", "fn/", "invoke/", "webhooks/")
_HEADERS: Final = {
    "cache-control": "no-cache",
    # Payloads shown on the page may come from strangers: only our own scripts run, text never becomes markup or code
    # (trusted types), nothing is sent to other hosts, and no site can frame the page.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_FOR_GOOD: Final = _HEADERS | {"cache-control": "public, max-age=31536000, immutable"}
_WITHOUT: Final = "Milepost is running. Its API is described at /api/openapi.json.\n"
_PRELOAD: Final = "<!--preload-->"


@dataclass(frozen=True, slots=True)
class _Files:
    """The folder's files by relative path, their common hash, and the page (empty without an index.html)."""

    contents: Mapping[str, bytes]
    version: str
    page: str


def _read(folder: Path) -> _Files:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _TYPES)
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    version = hashlib.sha256(b"".join(name.encode() + content for name, content in contents.items())).hexdigest()[:16]
    page = contents.get("index.html", b"").decode().replace("/static/", f"/static/{version}/")
    # Preloads all scripts at once; otherwise the browser would discover them import by import.
    scripts = [name for name in contents if name.startswith(("js/core/", "js/parts/", "js/pages/"))]
    preload = "\n".join(f'<link rel="modulepreload" href="/static/{version}/{name}">' for name in scripts)
    return _Files(contents, version, page.replace(_PRELOAD, preload))


def add_pages(app: FastAPI, folder: Path) -> None:
    """Serve a folder's files under /static, and its index.html at every other address."""
    files = _read(folder)

    async def page(request: Request) -> Response:
        path = request.path_params["path"]
        if path.startswith(_APIS) or path in {"e", "invoke", "api"}:
            raise Refused(404, "MP315", f"There is nothing at {request.method} /{path}; see /api/openapi.json.")
        if path.startswith("static/"):
            return _file(files, path.removeprefix("static/"))
        if "/" not in path and PurePosixPath(path).suffix in _TYPES:
            raise Refused(404, "MP315", f"There is no file /{path}.")
        if not files.page:
            return PlainTextResponse(_WITHOUT)
        return Response(files.page, media_type=_TYPES[".html"], headers=_HEADERS)

    app.add_api_route("/{path:path}", page, methods=["GET", "HEAD"], include_in_schema=False)


def _file(files: _Files, name: str) -> Response:
    version, _, rest = name.partition("/")
    current = version == files.version
    content = files.contents.get(rest if current else name)
    if content is None:
        # A page of an older version may still be open; navigating loads the new version.
        raise Refused(404, "MP315", f"There is no file /static/{name}.")
    kind = _TYPES[PurePosixPath(name).suffix]
    return Response(content, media_type=kind, headers=_FOR_GOOD if current else _HEADERS)
