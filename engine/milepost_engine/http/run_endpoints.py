"""The endpoints behind `Function.start` and the run that it returns: start, look, cancel.

    POST /v1/functions/{function}/runs                  {"data"?, "id"?, "seed"?, "chain"?} → {"run_id"}
    GET  /v1/functions/{function}/runs/{run}            → {"status", "output", "error"}
    POST /v1/functions/{function}/runs/{run}/cancel     {"reason"?} → {"ok"}
Every server answers them with `answer_run_request`: the dev server, a stack's API, the Lambda that callers with IAM
permissions invoke, and the test harness. The server checks who may call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import unquote

from milepost.protocol import MAX_CHAIN_CEILING, MAX_NESTING
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.core.ids import is_ulid, seeded_ulid, to_ms, ulid
from milepost_engine.core.run import RunStatus
from milepost_engine.engine import Engine
from milepost_engine.operations.actions import OperationError
from milepost_engine.operations.starts import MAX_CALLER_ID_CHARS
from milepost_engine.operations.traces import Traces
from milepost_engine.store.events import read_seed

from .endpoints import Answer

__all__ = ["answer_run_request"]

_ADDRESS: Final = re.compile(r"/v1/functions/(?P<function>[^/]+)/runs(?:/(?P<run>[^/]+)(?P<cancel>/cancel)?)?")
_STATUS: Final = {"MP301": 404, "MP302": 409, "MP308": 404, "MP309": 409, "MP315": 404}
_MAX_REASON_CHARS: Final = 1000


async def answer_run_request(engine: Engine, method: str, path: str, raw: bytes) -> Answer:
    """Answer one request; a refusal is `{"code", "error", "status"}`. `path` is percent-encoded."""
    try:
        return Answer(200, dumps(await _answer(engine, method, path, raw)))
    except OperationError as refused:
        status = _STATUS.get(refused.code, 400)
        error = str(refused).removeprefix(f"[{refused.code}] ")
        return Answer(status, dumps({"code": refused.code, "error": error, "status": status}))


async def _answer(engine: Engine, method: str, path: str, raw: bytes) -> Json:
    found = _ADDRESS.fullmatch(path)
    if found is None:
        raise OperationError("MP315", f"There is nothing at {method} {path}.")
    function_id, run_id = unquote(found["function"]), unquote(found["run"] or "")
    match method, bool(run_id), bool(found["cancel"]):
        case "POST", False, False:
            return await _start(engine, function_id, _read(raw))
        case "GET", True, False:
            return await _show(engine, function_id, run_id)
        case "POST", True, True:
            return await _cancel(engine, function_id, run_id, _read(raw))
    raise OperationError("MP315", f"There is nothing at {method} {path}.")


async def _start(engine: Engine, function_id: str, body: Mapping[str, Json]) -> Json:
    data = body.get("data", {})
    if not isinstance(data, Mapping):
        raise OperationError("MP310", f"data to start function {function_id!r} with must be an object.")
    caller_id = _text(body, "id", MAX_CALLER_ID_CHARS)
    seed = read_seed(str(body.get("seed") or ""))
    now = to_ms(engine.clock.now())
    event_id = seeded_ulid(*seed, 1) if seed else ulid(now, engine.random_source.random_bytes(10))
    given = body.get("chain", 0)
    chain = given if isinstance(given, int) and 0 <= given <= MAX_CHAIN_CEILING else 0
    return {"run_id": await engine.starts.start(function_id, data, event_id, caller_id=caller_id, chain=chain)}


async def _show(engine: Engine, function_id: str, run_id: str) -> Json:
    status = await _status(engine, function_id, run_id)
    shown: dict[str, Json] = {"run_id": run_id, "function_id": function_id, "status": status.value}
    if not status.ended:
        return {**shown, "output": None, "error": None}  # one small read, however many steps the run has
    run = await engine.runs.load(run_id, function_id)
    if run is None:
        raise _gone(function_id, run_id)
    output, error = await Traces(engine.values).result(run)
    return {**shown, "output": output, "error": error}


async def _cancel(engine: Engine, function_id: str, run_id: str, body: Mapping[str, Json]) -> Json:
    reason = _text(body, "reason", _MAX_REASON_CHARS)
    await _status(engine, function_id, run_id)
    await engine.operations.cancel(run_id, reason)
    return {"ok": True}


async def _status(engine: Engine, function_id: str, run_id: str) -> RunStatus:
    status = await engine.runs.status_of(run_id, function_id) if is_ulid(run_id) else None
    if status is None:
        raise _gone(function_id, run_id)
    return status


def _gone(function_id: str, run_id: str) -> OperationError:
    return OperationError(
        "MP301", f"There is no run {run_id} of function {function_id!r}; it may have expired or been erased."
    )


def _read(raw: bytes) -> Mapping[str, Json]:
    try:
        body = loads(raw or b"{}")
    except ValueError as error:
        if "recursion limit" in str(error):
            raise OperationError(
                "MP323", f"The JSON is nested too deeply to be read; send data of at most {MAX_NESTING} levels."
            ) from None
        raise OperationError("MP310", f"The request cannot be read: the body is not JSON: {error}.") from None
    if not isinstance(body, Mapping):
        raise OperationError("MP310", "The request cannot be read: the body is not an object.")
    return cast("Mapping[str, Json]", body)


def _text(body: Mapping[str, Json], name: str, most: int) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or len(value) > most:
        raise OperationError(
            "MP310", f"The request cannot be read: {name} must be a text of at most {most} characters."
        )
    return value
