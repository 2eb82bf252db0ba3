"""Webhooks: the user's app turns requests of other services into events.

The app is called through its own transport with the unchanged request and `?webhook=<name>`. It verifies the signature
with a secret that only it knows, and answers with events. They are accepted before the sender gets its 200, so a sender
that retries failed requests loses nothing. Events whose id names the delivery do not start a second run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from milepost.protocol import Request, Response
from milepost_engine.codec import Json, loads
from milepost_engine.engine import Engine
from milepost_engine.ports import InvocationProblem, Invoker
from milepost_engine.store.registry import RegisteredApp

__all__ = ["WebhookRefused", "receive_webhook", "webhooks_of"]

_LEFT_OUT: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"}
)
"""Headers about the connection to this server; they do not apply to the connection to the app."""


class WebhookRefused(Exception):
    """A request was refused; `status` is the HTTP status for its sender."""

    def __init__(self, status: int, code: str, message: str, ids: tuple[str, ...] = ()) -> None:
        super().__init__(f"[{code}] {message}")
        self.status = status
        self.code = code
        self.ids = ids
        """Ids of the events before the one that was refused; those are accepted."""


async def receive_webhook(
    engine: Engine, invokers: Mapping[str, Invoker], name: str, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """Accept the events that an app makes from a request; returns their ids.

    Raises WebhookRefused: 401 for a missing or wrong signature, 404 for an unknown name, 422 when the app's code
    cannot read the payload, 502 when the app cannot be reached.
    """
    app = _app_with((await engine.registry.snapshot()).apps.values(), name)
    forwarded = {key.lower(): value for key, value in headers.items() if key.lower() not in _LEFT_OUT}
    try:
        answer = await invokers[app.target.kind].invoke(app.target, Request("POST", {"webhook": name}, forwarded, body))
    except InvocationProblem as problem:
        message = f"App {app.app_id!r} could not be called for webhook {name!r}: {problem.detail}. Send it again."
        raise WebhookRefused(502, "MP321", message) from problem
    fields = _body(answer)
    if answer.status != 200:
        message = str(fields.get("message") or f"App {app.app_id!r} answered HTTP {answer.status} to webhook {name!r}.")
        raise WebhookRefused(answer.status if 400 <= answer.status < 500 else 502, "MP318", message)
    events = fields.get("events")
    if events == []:
        return []
    read = await engine.accept(events)
    ids = tuple(event.event_id for event in read.events)
    if read.problem:
        message = f"Webhook {name!r} of app {app.app_id!r} returned an event that cannot be accepted: {read.problem}"
        raise WebhookRefused(422, "MP318", message, ids)
    return list(ids)


def webhooks_of(app: RegisteredApp) -> list[str]:
    """The names of an app's webhooks."""
    listed = app.manifest.get("webhooks")
    return [str(name) for name in listed] if isinstance(listed, list) else []


def _app_with(apps: Iterable[RegisteredApp], name: str) -> RegisteredApp:
    listed = list(apps)
    found = [app for app in listed if name in webhooks_of(app)]
    if len(found) == 1:
        return found[0]
    if found:
        owners = ", ".join(repr(app.app_id) for app in found)
        raise WebhookRefused(409, "MP317", f"Several apps have a webhook {name!r}: {owners}. Rename all but one.")
    known = ", ".join(sorted(repr(hook) for app in listed for hook in webhooks_of(app))) or "none"
    raise WebhookRefused(404, "MP317", f"No app has a webhook {name!r}. Known webhooks: {known}.")


def _body(answer: Response) -> Mapping[str, Json]:
    try:
        body = loads(answer.body)
    except ValueError:
        return {}
    return cast("Mapping[str, Json]", body) if isinstance(body, Mapping) else {}
