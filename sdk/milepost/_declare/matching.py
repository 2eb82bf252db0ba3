"""What narrows waits and cancellations: `if_=`, an expression, and `match=`, a path into both events.

    match="data.order_id"  ──►  event.data.order_id != null && event.data.order_id == async.data.order_id

Laws: a path matches only where both events have a value there, so a field that both lack joins nothing. If the events
have models, the path is one of their fields: a misspelt one, which never has a value, is refused with the right one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, cast

from milepost._values.current import check_text
from milepost._values.json_types import JsonObject
from milepost.errors import BadTriggerError

from .triggers import AnyEvent, Event, Trigger, data_schemas, model_name

__all__ = ["check_key", "check_match", "match_condition"]

PathKey = str | int

_FIELDS: Final = ("data", "id", "name", "ts", "user", "v", "meta")
"""The fields of an event."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP: Final = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_]*)|\[(?:(\d{1,9})|"([^"]*)"|'([^']*)')\]""")
_PREFIX: Final = re.compile(r"(event|async)\.")
_ANNOTATIONS: Final = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"})
_MAX_SHOWN: Final = 20


def match_condition(if_: str | None, match: str | None) -> str | None:
    """One expression from a condition and a path. Raises BadTriggerError for an empty one, or what is not a path."""
    if if_ is not None and not check_text(if_, "if_", BadTriggerError).strip():
        raise BadTriggerError("if_ is empty: omit it, or write an expression")
    if match is None:
        return if_
    _read_path(match)
    equal = f"event.{match} != null && event.{match} == async.{match}"
    return f"({equal}) && ({if_})" if if_ else equal


def check_match(match: str, awaited: str | AnyEvent, triggers: Iterable[Trigger]) -> None:
    """Check a path against the models of the awaited event and of those that start the function.

    Raises BadTriggerError if a model says that the path is missing. Events without a model are not checked.
    """
    keys = _read_path(match)
    if isinstance(awaited, Event):
        _refuse_missing(f"match={match!r}", keys, [awaited])
    _refuse_missing(f"match={match!r}", keys, _events(triggers))


def check_key(expression: str, triggers: Iterable[Trigger]) -> None:
    """Check an idempotency key that is a path, such as `event.data.cart`, against the models of the events.

    Raises BadTriggerError if no event has the path: the key would be missing, and so have no effect.
    """
    text = expression.strip()
    if text.startswith("event.") and (keys := _keys(text.removeprefix("event."))):
        _refuse_missing(f"idempotency={expression!r}", keys, _events(triggers))


def _events(triggers: Iterable[Trigger]) -> list[AnyEvent]:
    return [trigger for trigger in triggers if isinstance(trigger, Event)]


# --- how paths are written ------------------------------------------------------------------------------------------


def _read_path(match: str) -> tuple[PathKey, ...]:
    given = check_text(match, "match", BadTriggerError)
    if keys := _keys(given):
        if keys[0] in _FIELDS:
            return keys
        raise BadTriggerError(
            f"match={given!r} is not a path into an event, whose fields are {', '.join(_FIELDS)}: write "
            f"{'data' + _written(keys)!r}"
        )
    bare = _PREFIX.sub("", given)
    meant = bare if bare != given and _keys(bare) else "data.order_id"
    raise BadTriggerError(
        f"match={given!r} is not a path: write one that both events have, such as {meant!r}; a condition belongs in if_"
    )


def _keys(text: str) -> tuple[PathKey, ...]:
    """The steps of a path, such as `data.items[0]["first name"]`; empty if it is not one."""
    found: list[PathKey] = []
    place, text = 0, f".{text}"
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            return ()
        name, position, *quoted = step.groups()
        found.append(int(position) if position else name or next(each for each in quoted if each is not None))
        place = step.end()
    return () if found[0] in {"event", "async"} else tuple(found)


def _written(keys: Sequence[PathKey]) -> str:
    """Steps as they are written after a value: `.items[0]["first name"]`."""
    return "".join(
        f"[{key}]" if isinstance(key, int) else f".{key}" if _NAME.fullmatch(key) else f'["{key}"]' for key in keys
    )


# --- whether models have them ---------------------------------------------------------------------------------------


def _refuse_missing(what: str, keys: tuple[PathKey, ...], events: Sequence[AnyEvent]) -> None:
    """Raises BadTriggerError if the models of all these events say that the path is missing."""
    if keys[0] != "data":
        return
    gaps = [_gap(event, keys) for event in events]
    if not gaps or None in gaps:
        return
    place, names = cast("tuple[int, list[str]]", gaps[0])
    event, key = events[0], keys[place]
    model, inside = model_name(event.model), _written(keys[:place]).removeprefix(".")
    owner = f"{model}, the model of event {event.name!r}," if place == 1 else f"{inside} in {model} ({event.name!r})"
    known = f" It has: {', '.join(names[:_MAX_SHOWN])}{', …' if len(names) > _MAX_SHOWN else ''}." if names else ""
    meant = _similar(key, names)
    hint = f" Did you mean {inside + _written((meant, *keys[place + 1 :]))!r}?" if meant else ""
    raise BadTriggerError(f"{what} is never there: {owner} has no field {key!r}.{hint}{known}")


def _gap(event: AnyEvent, keys: tuple[PathKey, ...]) -> tuple[int, list[str]] | None:
    """The position of the first key that an event's model lacks, with the fields that are there; None if it has all.

    None too for an event without a model, or with one that has no schema.
    """
    schemas = data_schemas(event)
    if not schemas:
        return None
    found = [_first_missing(schema, keys) for schema in schemas]
    if None in found:
        return None
    missing = cast("list[tuple[int, list[str]]]", found)
    place = max(position for position, _ in missing)
    names = dict.fromkeys(name for position, listed in missing if position == place for name in listed)
    return place, list(names)


def _first_missing(root: JsonObject, keys: tuple[PathKey, ...]) -> tuple[int, list[str]] | None:
    parts = list(_parts(root, root))
    for place, key in enumerate(keys[1:], 1):
        below: list[object] = []
        for part in parts:
            if not _says_anything(part):
                return None
            below += _below(part, key)
        if not below:
            return place, [name for part in parts for name in _object(part.get("properties"))]
        if True in below:
            return None
        parts = [deeper for each in below for deeper in _parts(_object(each), root)]
    return None


def _parts(schema: JsonObject, root: JsonObject, seen: frozenset[str] = frozenset()) -> Iterator[JsonObject]:
    """The alternatives of a schema, without references."""
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if reference not in seen:
            name = reference.rpartition("/")[2]
            yield from _parts(_object(_object(root.get("$defs")).get(name)), root, seen | {reference})
        return
    branches = [each for word in ("anyOf", "oneOf", "allOf") for each in cast("list[object]", schema.get(word) or [])]
    for branch in branches:
        yield from _parts(_object(branch), root, seen)
    if not branches or "properties" in schema:
        yield schema


def _says_anything(part: JsonObject) -> bool:
    """Whether a schema restricts its values: that of `Any` does not."""
    return bool(part.keys() - _ANNOTATIONS)


def _below(part: JsonObject, key: PathKey) -> list[object]:
    """The schemas of a key's value: `True` for any value, none if the key is not there."""
    if isinstance(key, int):
        prefix = cast("list[object]", part.get("prefixItems") or [])
        if key < len(prefix):
            return [prefix[key]]
        if key >= cast("int", part.get("maxItems", key + 1)):
            return []
        items = part.get("items", part.get("type") == "array")
        return [items] if items is not False else []
    properties = _object(part.get("properties"))
    if key in properties:
        return [properties[key]]
    if part.get("patternProperties"):
        return [True]
    others = part.get("additionalProperties", part.get("type") == "object" and "properties" not in part)
    return [others] if others is not False else []


def _object(value: object) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, Mapping) else {}


def _similar(key: PathKey, names: Sequence[str]) -> str | None:
    """The name that was probably meant."""
    if isinstance(key, int):
        return None
    same = [name for name in names if _folded(name) == _folded(key)]
    if same:
        return same[0]
    from difflib import get_close_matches  # noqa: PLC0415 - needed only for this error

    return next(iter(get_close_matches(key, names, 1)), None)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
