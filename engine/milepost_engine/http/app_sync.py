"""Asks an app for its manifest and registers it, so the app need not reach this engine (in-band sync)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from milepost.protocol import Header, Request, Response, sign
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.engine import Engine
from milepost_engine.ports import InvocationProblem, Invoker, Target
from milepost_engine.store.registry import RegisteredApp

__all__ = ["SyncProblem", "sync_app"]

_ADDRESS: Final = "https://lambda.invalid/"
"""The address sent to the app as its own. The app is called through its target, whatever it answers."""


class SyncProblem(Exception):
    """An app did not return its manifest."""

    def __init__(self, target: Target, why: str) -> None:
        super().__init__(f"[MP503] The app at {target.address} did not return its manifest: {why}")


async def sync_app(engine: Engine, invoker: Invoker, target: Target, *, made_by: str = "") -> RegisteredApp:
    """Register the app behind a target. Raises SyncProblem, and ManifestError with all problems of its functions."""
    body = dumps({"url": _ADDRESS})
    headers = {Header.CONTENT_TYPE.value: "application/json", Header.SYNC_KIND.value: "in_band"}
    key = engine.settings.signing_key
    if key:
        headers[Header.SIGNATURE.value] = sign(key, body, engine.clock.now())
    try:
        answer = await invoker.invoke(target, Request("PUT", {}, headers, body))
    except InvocationProblem as problem:
        raise SyncProblem(target, problem.detail) from problem
    return await engine.registry.sync(_manifest(target, answer), target, made_by=made_by)


def _manifest(target: Target, answer: Response) -> Mapping[str, Json]:
    try:
        body = loads(answer.body)
    except ValueError:
        body = None
    fields: dict[str, Json] = dict(cast("Mapping[str, Json]", body)) if isinstance(body, Mapping) else {}
    if answer.status != 200:
        raise SyncProblem(target, f"HTTP {answer.status}: {fields.get('message') or answer.body[:300].decode()}")
    if "functions" not in fields:
        raise SyncProblem(target, "the answer has no functions; the SDK must support in-band sync")
    sdk = fields.get("sdk") or f"{fields.get('sdk_author')}-{fields.get('sdk_language')}:v{fields.get('sdk_version')}"
    return {**fields, "appName": fields.get("app_id"), "sdk": sdk}
