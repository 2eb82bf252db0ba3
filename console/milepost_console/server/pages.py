"""The dashboard's files: scripts and styles from the package, one page for every address that is not an API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from .problems import Refused

__all__ = ["add_pages"]

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_APIS: Final = ("api/", "v0/", "v1/", "e/", "fn/", "invoke/", "webhooks/")
_HEADERS: Final = {
    "cache-control": "no-cache",
    # The page shows payloads that strangers may have written: only our own scripts run, and nobody frames it.
    "content-security-policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_WITHOUT = "Milepost is running. Its API is described at /api/openapi.json.\n"


def add_pages(app: FastAPI, folder: Path) -> None:
    """Serve a folder, and its index.html for every other address."""
    root = folder.resolve()

    async def page(request: Request) -> Response:
        path = request.path_params["path"]
        if path.startswith(_APIS) or path in {"e", "invoke", "api"}:
            raise Refused(404, "MP315", f"There is nothing at {request.method} /{path}; see /api/openapi.json.")
        file = (root / path.removeprefix("static/")).resolve()
        if path and file.is_relative_to(root) and file.is_file() and file.suffix in _TYPES:
            return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)
        index = root / "index.html"
        if Path(path).suffix in _TYPES:
            raise Refused(404, "MP315", f"There is no file /{path}.")
        if index.is_file():
            return FileResponse(index, media_type=_TYPES[".html"], headers=_HEADERS)
        return PlainTextResponse(_WITHOUT)

    app.add_api_route("/{path:path}", page, methods=["GET", "HEAD"], include_in_schema=False)
