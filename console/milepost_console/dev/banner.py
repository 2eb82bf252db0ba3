"""The dev server's first output: its address, its functions and a command to try."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from milepost import __version__
from milepost_console.printer import Printer, Styled
from milepost_console.server.backend import Backend
from milepost_engine.http.webhooks import webhooks_of
from milepost_engine.store.manifest import CronTrigger, EventTrigger, FunctionSpec

from .event_word import OWN_PREFIX, event_word

__all__ = ["example_of", "welcome"]


async def welcome(printer: Printer, backend: Backend, address: str, file: Path | str, *, requested: int) -> None:
    """Print the banner."""
    snapshot = await backend.engine.registry.snapshot()

    out = printer.line
    out()
    out(Styled("Milepost ", "bold"), f"{__version__}   ", Styled(address, "bold cyan"), "   dashboard, API and events")
    if not address.endswith(f":{requested}"):
        out(Styled(f"port {requested} is in use: this server listens on {address} instead", "yellow"))
    out("data       ", "in memory only; lost when the server stops" if file == ":memory:" else str(file))
    if not snapshot.functions:
        either = "milepost dev app.py, or -u http://… for an app that is already served"
        out(Styled("no functions yet: ", "yellow"), either)
    for spec in sorted(snapshot.functions.values(), key=lambda spec: spec.function_id):
        out("function   ", Styled(spec.function_id, "bold", 28), "  ", _triggers(spec))
    for app in snapshot.apps.values():
        for name in webhooks_of(app):
            out("webhook    ", Styled(name, "bold", 28), f"  POST {address}/webhooks/{name}")
    event = next((found for spec in snapshot.functions.values() if (found := _first_event(spec))), None)
    if event is not None:
        name, data = event
        body = json.dumps(data)
        option = "" if address.endswith(":8288") else f" --url {address}"
        out()
        out("try        ", Styled(f"milepost send {shlex.quote(name)} --data {shlex.quote(body)}{option}", "green"))
        sent = json.dumps({"name": name, "data": data})
        out("or         ", Styled(f"curl -sX POST {address}/e/dev -d {shlex.quote(sent)}", "green"))
        out("then       ", Styled(f"milepost runs list{option}", "green"))
    resumes = "" if file == ":memory:" else " Runs resume when the server is started again."
    out(Styled(f"Press Ctrl-C to stop.{resumes}", "dim"))
    out()


def _triggers(spec: FunctionSpec) -> str:
    shown = [
        f"cron {trigger.text}" if isinstance(trigger, CronTrigger) else _event_text(trigger)
        for trigger in spec.triggers
    ]
    return ", ".join(shown) or "invoked only"


def _event_text(trigger: EventTrigger) -> str:
    word = event_word(trigger.event)
    return f"{word} if {trigger.expression}" if trigger.expression else word


def _first_event(spec: FunctionSpec) -> tuple[str, dict[str, Any]] | None:
    for trigger in spec.triggers:
        if isinstance(trigger, EventTrigger) and "*" not in trigger.event and not trigger.event.startswith(OWN_PREFIX):
            schema = spec.schemas.get(trigger.event)
            return trigger.event, example_of(schema) if isinstance(schema, Mapping) else {}
    return None


_EXAMPLES: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}


def example_of(schema: Mapping[str, object]) -> dict[str, Any]:
    """Example data for a simple model: a value for each required field."""
    properties = cast("Mapping[str, Mapping[str, object]]", schema.get("properties") or {})
    required = cast("list[str]", schema.get("required") or [])
    return {name: _value(name, properties.get(name, {})) for name in required}


def _value(name: str, field: Mapping[str, object]) -> Any:
    examples = field.get("examples")
    if isinstance(examples, list) and examples:
        return examples[0]
    choices = field.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    if field.get("type") == "string":
        return _text(name, str(field.get("format") or ""))
    return _EXAMPLES.get(str(field.get("type")), {})


def _text(name: str, kind: str) -> str:
    if kind == "date-time":
        return "2026-01-31T08:00:00Z"
    if kind == "email" or "email" in name:
        return "ada@example.com"
    return f"{name.removesuffix('_id')}-1" if name.endswith("_id") else name
