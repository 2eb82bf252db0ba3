"""Whatever is sent to the dev server: a clear answer, nothing lost, nothing stuck."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from milepost import App, Context

from .served import Served, served, until


def echo() -> App:
    app = App("echo")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("back", lambda: ctx.event.data)

    return app


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(echo()) as made:
        yield made


def still_works(server: Served) -> None:
    """An event sent after all of that is processed, and its run ends."""
    before = len(server.runs(function="echo-f"))
    server.send({"name": "go", "data": {"last": True}})
    server.ended(before + 1, function="echo-f")


def problem(answer) -> str:
    body = answer.json()
    return str(body.get("error"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "JSON"),
        (b"null", "event object"),
        (b"7", "event object"),
        (b'"text"', "event object"),
        (b"\xff\xfe\x00", "JSON"),
        (b'{"name": "go", "data": {"x": NaN}}', "JSON"),
        (b'{"name": "go", "name": 7}', "name"),
        (b"[" * 100_000, "JSON"),
        (b'{"name": "go", "data": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", "JSON"),
        (b'{"name": "go\\ud800"}', ""),
        (b'{"name": "go", "data": {"x": "\\ud800"}}', ""),
        (b"{}", "name is empty"),
        (b'{"name": ""}', "name is empty"),
        (b'{"name": 7}', "name is empty"),
        (b'{"name": "a\\u0000b"}', "NUL"),
        (b'{"name": "inngest/function.failed"}', "reserved"),
        (b'{"name": "go", "data": 7}', "must be an object"),
        (b'{"name": "go", "data": []}', "must be an object"),
        (b'{"name": "go", "id": 7}', "id of event"),
        (b'{"name": "go", "id": "' + b"x" * 600 + b'"}', "at most 512"),
        (b'{"name": "' + b"x" * 600 + b'"}', "at most 512"),
        (('{"name": "' + "🎈" * 300 + '"}').encode(), "1024 bytes"),
        (b'{"name": "go", "ts": "soon"}', "milliseconds"),
        (b'{"name": "go", "ts": true}', "milliseconds"),
        (b'{"name": "go", "ts": 5}', "before Jan 1, 1980"),
        (b'{"name": "go", "ts": -1}', "before Jan 1, 1980"),
        (b'{"name": "go", "ts": 1e300}', "milliseconds"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_event_is_refused_with_a_reason(server: Served, body: bytes, said: str):
    answer = server.ask("POST", "/e/test", body)
    assert answer.status_code == 400, answer.text[:300]
    assert said in problem(answer)


def test_an_event_over_three_mebibytes_is_refused_and_one_below_runs(server: Served):
    answer = server.ask("POST", "/e/test", {"name": "go", "data": {"x": "x" * (3 << 20)}})
    assert (answer.status_code, "max size" in problem(answer)) == (400, True)
    count = len(server.runs(function="echo-f"))
    server.send({"name": "go", "data": {"x": "x" * ((3 << 20) - 100)}})
    assert server.ended(count + 1, function="echo-f")[0]["status"] == "Completed"


def test_a_request_over_ten_mebibytes_is_refused_before_it_is_read(server: Served):
    answer = server.ask("POST", "/e/test", b" " * ((10 << 20) + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "MP314")


def test_of_a_batch_the_events_before_the_bad_one_are_accepted_and_named(server: Served):
    count = len(server.runs(function="echo-f"))
    batch = [{"name": "go"}, {"name": "go"}, {"name": ""}, {"name": "go"}]
    answer = server.ask("POST", "/e/test", batch)
    assert (answer.status_code, len(answer.json()["ids"])) == (400, 2)
    server.ended(count + 2, function="echo-f")
    over = server.ask("POST", "/e/test", [{"name": "none"}] * 5001)
    assert (over.status_code, "5001 events" in problem(over)) == (400, True)


STRANGE = [
    {"name": "go", "data": {"nul\0key": "nul\0value", "emoji 🎈": "𝔘𝔫𝔦", "rtl": "\u202e", "": ""}},
    {"name": "go", "id": "🎈 \0 ' \" -- ; DROP TABLE events", "data": {}},
    {"name": "go", "data": {"big": 2**200, "small": -(2**63), "float": 1e308, "deep": [[[[[[{}]]]]]]}},
    {"name": "go", "data": {"__proto__": {"x": 1}, "constructor": None, "_inngest": {"status": "lies"}}},
    {"name": "go", "data": None, "user": {"id": 7}, "v": "1", "meta": {"a": 1}, "unknown": "field"},
    {"name": "go", "ts": 400_000_000_000},
]


@pytest.mark.parametrize("event", STRANGE, ids=lambda event: repr(event)[:40])
def test_strange_but_good_events_run_and_come_back_as_they_were(server: Served, event: dict):
    [event_id] = server.send(event)
    runs = server.ended(1, event_id=event_id)
    run = server.get(f"/api/runs/{runs[0]['run_id']}")
    assert run["status"] == "Completed", run["error"]
    data = {key: value for key, value in (event.get("data") or {}).items() if key != "_inngest"}
    assert json.loads(json.dumps(run["output"])) == data


def test_an_event_of_the_far_future_waits_and_can_be_cancelled(server: Served):
    [event_id] = server.send({"name": "go", "ts": 253_402_300_799_999})
    until(lambda: server.runs(event_id=event_id))
    [run] = server.runs(event_id=event_id)
    assert run["status"] == "Queued"
    server.post(f"/api/runs/{run['run_id']}/cancel")
    server.ended(1, event_id=event_id)
    still_works(server)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/runs/nonsense", None, 404, "MP301"),
        ("GET", "/api/runs/" + "0" * 5000, None, 404, "MP301"),
        ("GET", "/api/runs/%00", None, 404, "MP301"),
        ("GET", "/api/events/%F0%9F%8E%88", None, 404, "MP306"),
        ("GET", "/api/functions/%2e%2e%2fetc", None, 404, "MP315"),
        ("GET", "/api/nothing", None, 404, "MP315"),
        ("GET", "/api/runs?limit=0", None, 400, "MP310"),
        ("GET", "/api/runs?limit=many", None, 400, "MP310"),
        ("GET", "/api/runs?color=red", None, 400, "MP310"),
        ("GET", "/api/runs?after=%F0%9F%8E%88", None, 200, None),
        ("GET", "/api/runs?since=2026-01-01T00:00:00", None, 400, "MP316"),
        ("GET", "/api/runs?since=soon", None, 400, "MP310"),
        ("GET", "/api/runs?status=Flying", None, 400, "MP316"),
        ("GET", "/api/runs?q=cel:event.(", None, 400, "MP316"),
        ("GET", "/api/events?after=nonsense", None, 200, None),
        ("POST", "/api/runs/nonsense/cancel", {}, 404, "MP301"),
        ("POST", "/api/runs/nonsense/replay", {"data": 7}, 400, "MP310"),
        ("POST", "/api/runs/bulk", {}, 400, "MP310"),
        ("POST", "/api/runs/bulk", {"action": "burn", "run_ids": []}, 400, "MP310"),
        ("POST", "/api/runs/bulk", {"action": "cancel", "run_ids": [], "filter": {}}, 400, "MP310"),
        ("POST", "/api/runs/bulk", {"action": "cancel", "filter": {"colour": "red"}}, 400, "MP310"),
        ("POST", "/api/runs/bulk", {"action": "cancel", "run_ids": ["x"] * 10_001}, 400, "MP310"),
        ("POST", "/api/runs/bulk", b"{", 400, "MP310"),
        ("POST", "/api/functions/nothing/pause", {}, 404, "MP308"),
        ("POST", "/api/functions/echo-f/trigger", {"data": []}, 400, "MP310"),
        ("POST", "/api/apps", {}, 400, "MP310"),
        ("POST", "/api/apps", {"url": "javascript:alert(1)"}, 400, "MP310"),
        ("POST", "/api/dead-letters/redrive", {"ids": 7}, 400, "MP310"),
        ("DELETE", "/api/runs/nonsense", None, 404, "MP301"),
        ("DELETE", "/api/apps/nothing", None, 404, "MP308"),
        ("POST", "/fn/register", b"{", 400, None),
        ("POST", "/fn/register", {}, 400, None),
        ("POST", "/fn/register", {"appName": "x", "functions": "many"}, 400, None),
        ("POST", "/invoke/nothing", {}, 404, None),
        ("POST", "/", b"{", 400, None),
        ("PUT", "/e/test", {}, 405, "MP310"),
    ],
    ids=str,
)
def test_bad_requests_get_a_status_a_code_and_a_sentence(
    server: Served, method: str, path: str, body: Any, status: int, code: str | None
):
    answer = server.ask(method, path, body)
    assert answer.status_code == status, answer.text[:300]
    if code:
        assert answer.json()["code"] == code
        assert len(answer.json()["error"]) > 10
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 1000,
        "event.data.x" + ".y" * 5000,
        "x" * 100_000,
        "1 + " * 5000 + "1 == 1",
        "[1,2,3].all(a, [1,2,3].all(b, [1,2,3].all(c, [1,2,3].all(d, a+b+c+d > 0))))" * 3,
        "event.data.matches('(a+)+$')",
        "event.data.x.matches('" + "(" * 200 + "')",
    ],
    ids=lambda value: value[:30],
)
def test_hostile_expressions_are_refused_or_evaluated_in_no_time(server: Served, expression: str):
    manifest = {
        "appName": "hostile",
        "url": "http://127.0.0.1:9/x",
        "sdk": "milepost",
        "functions": [{"id": "hostile-f", "name": "f", "triggers": [{"event": "go", "expression": expression}]}],
    }
    answer = server.ask("POST", "/fn/register", manifest)
    assert answer.status_code in {200, 400}
    if answer.status_code == 400:
        assert "hostile-f" in answer.text
    still_works(server)
    server.ask("DELETE", "/api/apps/hostile")


def test_none_of_this_made_a_dead_letter(server: Served):
    still_works(server)
    assert server.get("/api/dead-letters")["dead_letters"] == []
