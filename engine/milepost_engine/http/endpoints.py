"""The HTTP endpoints for senders and SDKs (protocol §2.1, §2.12, §3), independent of the server that runs them.

Each endpoint takes the request's bytes and returns an answer; the server checks who may call it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from milepost.protocol import MAX_NESTING, MAX_STATE_BYTES, MAX_STEP_OUTPUT_BYTES, nests_deeper
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.core.ids import from_ms, is_ulid, short_hash
from milepost_engine.core.run import Run
from milepost_engine.engine import Engine
from milepost_engine.ports import Target
from milepost_engine.runs.checkpoints import CheckpointRefusal
from milepost_engine.runs.requests import memo_json
from milepost_engine.store.events import read_seed
from milepost_engine.store.manifest import ManifestError
from milepost_engine.store.registry import RegisteredApp

__all__ = [
    "Answer", "accept_events", "normal_url", "register_app", "register_http", "run_events", "run_steps",
    "save_checkpoint", "uuid_of",
]  # fmt: skip

_SAME_HOST: Final = frozenset({"localhost", "0.0.0.0", "[::1]", "::1"})  # noqa: S104 - names to be normalised
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NOT_ADDRESS: Final = frozenset({"deployId", "probe", "fnId", "stepId"})
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; `body` is JSON, or empty."""

    status: int
    body: bytes = b""
    media_type: str = _JSON


# --- events ---------------------------------------------------------------------------------------------------------


async def accept_events(engine: Engine, raw: bytes, seed: str) -> Answer:
    """Accept one event or a list, up to the first that cannot be accepted; those after it are not accepted.

    `seed` is the header that makes the ids of a repeated request the same.
    """
    if not raw.strip():
        return _accepted([""])
    try:
        body = loads(raw)
    except ValueError as error:
        if "recursion limit" in str(error):
            return _accepted(
                [], f"[MP323] the JSON is nested too deeply to be read; send data of at most {MAX_NESTING} levels"
            )
        whole = "EOF" not in str(error)
        return _accepted([], f"the body is not JSON: {error}" if whole else "unexpected end of JSON input")
    if body == []:
        return _accepted([""])
    read = await engine.accept(body, seed=read_seed(seed))
    return _accepted([event.event_id for event in read.events], read.problem)


def _accepted(ids: list[str], problem: str = "") -> Answer:
    status = 400 if problem else 200
    fields: dict[str, Json] = {"ids": cast("Json", ids), "status": status}
    return Answer(status, dumps({**fields, "error": problem} if problem else fields), _TEXT)


# --- registration ---------------------------------------------------------------------------------------------------


def normal_url(url: str) -> str:
    """One spelling for each address: names of this machine, default ports and transient parameters do not matter.

    Raises ValueError if it is not an HTTP address.
    """
    parts = urlsplit(url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is not an HTTP address such as http://127.0.0.1:8000/api/milepost")
    host = "127.0.0.1" if parts.hostname in _SAME_HOST else parts.hostname
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    where = host if port is None or port == _DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"
    query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key not in _NOT_ADDRESS])
    return urlunsplit((parts.scheme, where, parts.path or "/", query, ""))


async def register_http(engine: Engine, manifest: Mapping[str, Json], url: str) -> tuple[RegisteredApp, bool]:
    """Register an HTTP app; returns it and whether anything changed.

    Raises ManifestError, whose text is stored with the app, and ValueError for an invalid address.
    """
    registry = engine.registry
    target = Target("http", normal_url(url))
    app_id = str(manifest.get("appName") or manifest.get("appname") or "")
    known = (await registry.snapshot()).apps.get(app_id)
    try:
        app = await registry.sync(manifest, target)
    except ManifestError as error:
        if app_id:
            await registry.fail_sync(app_id, target, str(error))
        raise
    # If an app is registered under a new name, its old name is removed.
    for other in (await registry.snapshot()).apps.values():
        if other.target == target and other.app_id != app_id:
            await registry.remove(other.app_id)
    return app, known is None or known.version != app.version


async def register_app(
    engine: Engine, raw: bytes, *, expected_kind: str, kind: str
) -> tuple[Answer, RegisteredApp | None]:
    """The endpoint `/fn/register`, which an HTTP app's SDK calls; the second value is the app if it was registered."""
    if expected_kind and expected_kind != kind:
        return _refused(f"Expected server kind {expected_kind}, got {kind}"), None
    try:
        body = loads(raw)
    except ValueError:
        return _refused("Invalid request: unexpected EOF"), None
    if not isinstance(body, Mapping):
        return _refused("Invalid request: not an object"), None
    if not (body.get("appName") or body.get("appname")):
        return _refused("App ID required"), None
    try:
        app, modified = await register_http(engine, body, str(body.get("url") or ""))
    except ManifestError as error:
        return _refused("At least one function is invalid", problems=list(error.problems)), None
    except ValueError as error:
        return _refused(str(error)), None
    ids: dict[str, Json] = {"sync_id": uuid_of(app.app_id, "sync"), "app_id": uuid_of(app.app_id)}
    return Answer(200, dumps({"ok": True, "modified": modified, **ids})), app


def _refused(error: str, **more: Json) -> Answer:
    return Answer(400, dumps({"error": error, "data": None, "status": 400, **more}), _TEXT)


def uuid_of(*parts: str) -> str:
    """A UUID, as other tools expect; always the same for the same parts."""
    digits = (short_hash(*parts) + short_hash("uuid", *parts))[:32]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


# --- a live run -----------------------------------------------------------------------------------------------------


async def run_steps(engine: Engine, run_id: str) -> Answer:
    """The step results of a live run, by step id."""
    run = await _live(engine, run_id)
    return run if isinstance(run, Answer) else Answer(200, await memo_json(run, run.order, engine.values))


async def run_events(engine: Engine, run_id: str) -> Answer:
    """The events of a live run."""
    run = await _live(engine, run_id)
    if isinstance(run, Answer):
        return run
    events = [await engine.events.load(event_id) for event_id in run.event_ids]
    return Answer(200, dumps([event.wire() for event in events if event is not None]))


async def save_checkpoint(engine: Engine, run_id: str, raw: bytes) -> Answer:
    """Save the finished steps of an invocation that continues."""
    about: dict[str, Json] = {"run_id": run_id}
    try:
        body = loads(raw)
    except ValueError as error:
        return _error(400, f"the body is not JSON: {error}", about)
    steps = body.get("steps") if isinstance(body, Mapping) else None
    if not isinstance(body, Mapping) or not isinstance(steps, list):
        return _error(400, "steps must be a list of ops", about)
    problem = _unfit(steps)
    if problem:
        return _error(413, problem, about)
    began = body.get("request_started_at")
    now = engine.clock.now()
    started_at = from_ms(began) if isinstance(began, int) and 0 < began < 2**47 else now
    # Other SDKs return `qi_id` as it was sent; the claim of the call stands at its end.
    claim = str(body.get("qi_id") or "").rpartition(".")[2]
    session = await engine.checkpoints(run_id, str(body.get("fn_id") or ""), claim, min(started_at, now))
    try:
        refusal = session if isinstance(session, CheckpointRefusal) else await session.save(steps)
    except ValueError as error:
        return _error(400, str(error), about)
    if refusal is None:
        return Answer(200)
    return _error(404 if refusal is CheckpointRefusal.GONE else 409, f"the run is {refusal.value}; stop", about)


async def _live(engine: Engine, run_id: str) -> Run | Answer:
    run = await engine.runs.load(run_id) if is_ulid(run_id) else None
    if run is None:
        return _error(404, f"there is no run {run_id}")
    if run.status.ended:
        return _error(410, f"runtime state is no longer available for runID: {run_id}")
    return run


def _error(status: int, error: str, data: Json = None) -> Answer:
    return Answer(status, dumps({"error": error, "data": data, "status": status}))


def _unfit(steps: list[Json]) -> str:
    encoded = [dumps(step.get("data")) for step in steps if isinstance(step, Mapping)]
    sizes = [len(each) for each in encoded]
    if any(size > MAX_STEP_OUTPUT_BYTES for size in sizes):
        return f"a step has more than {MAX_STEP_OUTPUT_BYTES} bytes"
    if any(map(nests_deeper, encoded)):
        return f"a step has a result nested more than {MAX_NESTING} levels deep"
    return f"the steps have more than {MAX_STATE_BYTES} bytes" if sum(sizes) > MAX_STATE_BYTES else ""
