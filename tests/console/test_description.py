"""What the server really answers is what /api/openapi.json says: every address, the refusals too."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from milepost import App, Context, Cron, WebhookRequest
from milepost_engine.core.ids import ulid

from .served import Served, served, until

DOCUMENT = "urn:openapi"
NOBODY = ulid(1_700_000_000_000, b"0123456789")
SECRET = "s"


def story() -> App:
    app = App("story")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> str:
        await ctx.step.run("one", lambda: 1)
        await ctx.step.sleep("nap", "10ms")
        if ctx.event.data.get("bad"):
            raise ValueError("broken")
        await ctx.step.wait_for_event("signal", "signal", timeout="1h")
        return "found"

    @app.function(id="once", trigger="once", idempotency="event.data.key")
    async def once(ctx: Context) -> None:
        """Started by hand twice with one key, it refuses."""

    @app.function(id="tick", trigger=Cron("0 3 1 1 *"))
    async def tick(ctx: Context) -> None:
        """Has a trigger of the other kind."""

    @app.webhook("hook", secret=SECRET)
    def hook(request: WebhookRequest) -> Any:
        return request.json

    return app


def closed(schema: Any) -> Any:
    """The same, but an object has no field that is not described: `additionalProperties` says where it may."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(part) for key, part in schema.items()}
    return {"additionalProperties": False, **inner} if isinstance(inner.get("properties"), dict) else inner


@dataclass
class Described:
    """A server, its description, and two of its runs."""

    server: Served
    document: dict[str, Any]
    live: str
    failed: str

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        """Checks against a schema of the document; its references are looked up there."""
        strict = self.document | {"components": closed(self.document["components"])}
        registry = Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(strict))
        absolute = json.loads(json.dumps(closed(schema)).replace('"#/', f'"{DOCUMENT}#/'))
        return Draft202012Validator(absolute, registry=registry)

    def check(self, answer: httpx.Response, method: str, path: str) -> None:
        """The answer has a described status, media type and shape."""
        operation = self.document["paths"][path][method.lower()]
        about = f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        declared = operation["responses"].get(str(answer.status_code))
        assert declared is not None, about
        if not declared.get("content"):
            assert answer.content == b"", about
            return
        [(media_type, content)] = declared["content"].items()
        assert answer.headers["content-type"] == media_type, about
        errors = [error.message for error in self.validator(content["schema"]).iter_errors(answer.json())]
        assert errors == [], about

    def ask(self, method: str, path: str, body: object = None, status: int = 200, **given: Any) -> httpx.Response:
        """Ask, check the status and the shape; `given` are the path's parameters, and `headers`."""
        headers, query = given.pop("headers", {}), given.pop("query", "")
        answer = self.server.ask(method, path.format(**given) + query, body, **headers)
        assert answer.status_code == status, answer.text[:300]
        self.check(answer, method, path)
        return answer


@pytest.fixture(scope="module")
def described() -> Iterator[Described]:
    with served(story()) as server:
        server.send({"name": "go", "v": "1"}, {"name": "go", "data": {"bad": True}})
        until(lambda: server.runs(status="Failed"))
        until(lambda: any(row["status"] == "Running" for row in server.runs()))
        [live], [failed] = server.runs(status="Running"), server.runs(status="Failed")
        until(lambda: len(server.get(f"/api/runs/{live['run_id']}")["trace"]) == 3)
        yield Described(server, server.get("/api/openapi.json"), live["run_id"], failed["run_id"])


def of_event(described: Described) -> str:
    return described.server.get("/api/events?name=go")["events"][0]["event_id"]


def test_every_get_answers_as_it_is_described(described: Described):
    known: dict[str, Any] = {
        "run_id": described.live,
        "event_id": of_event(described),
        "function_id": "story-f",
    }
    gets = [path for method, path, _ in described.operations() if method == "GET"]
    assert len(gets) > 18
    for path in gets:
        if path != "/api/stream":  # never ends
            described.ask("GET", path, **known)
    # Rows of other kinds: an ended run, a cron function, an event of nobody.
    described.ask("GET", "/api/runs", query="?limit=1")
    described.ask("GET", "/api/runs/{run_id}", run_id=described.failed)
    described.ask("GET", "/v1/runs/{run_id}", run_id=described.failed)
    described.ask("GET", "/api/functions/{function_id}", function_id="story-tick")


def test_the_stream_is_described_as_events(described: Described):
    declared = described.document["paths"]["/api/stream"]["get"]["responses"]["200"]
    assert list(declared["content"]) == ["text/event-stream"]
    with httpx.stream("GET", described.server.url + "/api/stream", trust_env=False) as answer:
        assert answer.headers["content-type"].partition(";")[0] == "text/event-stream"


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("/api/runs/{run_id}", {"run_id": NOBODY}, 404),
        ("/api/runs/{run_id}/logs", {"run_id": NOBODY}, 404),
        ("/api/runs/{run_id}/logs", {"run_id": NOBODY, "query": "?after=x"}, 400),
        ("/api/runs", {"query": "?limit=0"}, 400),
        ("/api/runs", {"query": "?status=Flying"}, 400),
        ("/api/runs", {"headers": {"host": "evil.example"}}, 403),
        ("/api/events", {"query": "?limit=0"}, 400),
        ("/api/events/{event_id}", {"event_id": NOBODY}, 404),
        ("/api/functions/{function_id}", {"function_id": "nothing"}, 404),
        ("/v0/runs/{run_id}/actions", {"run_id": NOBODY}, 404),
        ("/v0/runs/{run_id}/batch", {"run_id": NOBODY}, 404),
        ("/v1/events", {"query": "?received_before=soon"}, 400),
        ("/v1/events/{event_id}", {"event_id": NOBODY}, 404),
        ("/v1/events/{event_id}/runs", {"event_id": NOBODY}, 404),
        ("/v1/runs/{run_id}", {"run_id": NOBODY}, 404),
        ("/v1/runs/{run_id}", {"run_id": "zzz"}, 400),
    ],
    ids=str,
)
def test_a_refused_get_answers_as_it_is_described(described: Described, path: str, given: dict[str, Any], status: int):
    described.ask("GET", path, None, status, **given)


def test_whatever_cannot_be_read_or_found_is_refused_as_it_is_described(described: Described):
    for method, path, _ in described.operations():
        if method != "GET":
            nothing = dict.fromkeys(("run_id", "event_id", "function_id", "app_id", "name", "slug", "key"), "nothing")
            answer = described.server.ask(method, path.format(**nothing), 7)
            assert 400 <= answer.status_code < 500, (method, path)
            described.check(answer, method, path)


def test_an_ended_runs_state_is_gone_as_it_is_described(described: Described):
    for path in ("/v0/runs/{run_id}/actions", "/v0/runs/{run_id}/batch"):
        described.ask("GET", path, None, 410, run_id=described.failed)


def test_events_are_taken_and_refused_as_it_is_described(described: Described):
    path = "/e/{key}"
    described.ask("POST", path, {"name": "none"}, key="k")
    described.ask("POST", path, [{"name": "none"}, {"name": ""}], 400, key="k")
    described.ask("POST", path, b"{", 400, key="k")
    described.ask("POST", path, b" " * ((10 << 20) + 1), 413, key="k")
    described.ask("POST", path, {"name": "none"}, 403, key="k", headers={"origin": "https://evil.example"})


def test_runs_are_started_by_hand_as_it_is_described(described: Described):
    path = "/invoke/{slug}"
    described.ask("POST", path, {"data": {}}, slug="story-tick")
    described.ask("POST", path, {"data": 7}, 400, slug="story-tick")
    described.ask("POST", path, {}, 404, slug="nothing")
    described.ask("POST", path, {"data": {"key": "b"}}, slug="story-once")
    assert "idempotency key" in described.ask("POST", path, {"data": {"key": "b"}}, 409, slug="story-once").text
    path = "/api/functions/{function_id}/trigger"
    described.ask("POST", path, {"data": {"key": "a"}}, function_id="story-once")
    described.ask("POST", path, {"data": {"key": "a"}}, 409, function_id="story-once")
    described.ask("POST", path, {"data": 7}, 400, function_id="story-once")
    described.ask("POST", path, {"at": "2030-01-01T03:00:00Z"}, function_id="story-tick")
    described.ask("POST", path, {"at": "2030-01-01T03:00:00Z"}, 400, function_id="story-once")
    described.ask("POST", path, {"at": "2030-01-01T03:00:00"}, 400, function_id="story-tick")
    described.ask("POST", path, {}, 404, function_id="nothing")
    described.ask("POST", path, {}, 403, function_id="story-once", headers={"x-milepost": "0"})
    described.ask("POST", path, b"data", 415, function_id="story-once", headers={"content-type": "text/plain"})
    described.ask("POST", path, b" " * ((48 << 20) + 1), 413, function_id="story-once")


def test_runs_are_started_from_python_as_it_is_described(described: Described):
    path = "/v1/functions/{function_id}/runs"
    run_id = described.ask("POST", path, {"data": {"key": "c"}, "id": "1"}, function_id="story-once").json()["run_id"]
    described.ask("POST", path, {"data": {"key": "c"}}, 409, function_id="story-once")
    described.ask("POST", path, {"data": 7}, 400, function_id="story-once")
    described.ask("POST", path, {"id": 7}, 400, function_id="story-once")
    described.ask("POST", path, b"{", 400, function_id="story-once")
    described.ask("POST", path, {}, 404, function_id="nothing")
    described.ask("POST", path, {}, 403, function_id="story-once", headers={"origin": "https://evil.example"})
    until(lambda: described.server.get(f"/api/runs/{run_id}")["ended_at"])
    one = path + "/{run_id}"
    described.ask("GET", one, function_id="story-once", run_id=run_id)
    described.ask("GET", one, function_id="story-f", run_id=described.failed)
    described.ask("GET", one, None, 404, function_id="story-f", run_id=run_id)
    cancel = one + "/cancel"
    described.ask("POST", cancel, {}, 409, function_id="story-once", run_id=run_id)
    described.ask("POST", cancel, {"reason": 7}, 400, function_id="story-f", run_id=described.live)
    described.ask("POST", cancel, {}, 404, function_id="story-f", run_id=NOBODY)
    started = described.ask("POST", path, {}, function_id="story-f").json()["run_id"]
    described.ask("POST", cancel, {"reason": "enough"}, function_id="story-f", run_id=started)


def test_runs_are_cancelled_replayed_and_erased_as_it_is_described(described: Described):
    cancel, replay, erase = "/api/runs/{run_id}/cancel", "/api/runs/{run_id}/replay", "/api/runs/{run_id}"
    new = described.ask("POST", replay, {}, run_id=described.failed).json()["run_id"]
    described.ask("POST", replay, {"data": 7}, 400, run_id=described.failed)
    described.ask("POST", replay, {"from_step": "nothing"}, 400, run_id=described.failed)
    described.ask("POST", replay, {}, 404, run_id=NOBODY)
    described.ask("POST", cancel, {}, 409, run_id=described.failed)
    described.ask("POST", cancel, {}, 404, run_id=NOBODY)
    described.ask("POST", cancel, {"reason": 7}, 400, run_id=described.live)
    described.ask("DELETE", erase, None, 409, run_id=described.live)
    described.ask("DELETE", erase, None, 404, run_id=NOBODY)
    until(lambda: described.server.get(f"/api/runs/{new}")["ended_at"])
    described.ask("DELETE", erase, None, run_id=new)

    server = described.server
    [event_id] = server.send({"name": "go"})
    until(lambda: server.runs(event_id=event_id, status="Running"))
    [mine] = server.runs(event_id=event_id)
    described.ask("DELETE", "/api/events/{event_id}", None, 409, event_id=event_id, query="?runs=true")
    described.ask("POST", cancel, {"reason": "enough"}, run_id=mine["run_id"])
    until(lambda: server.runs(event_id=event_id, status="Cancelled"))
    described.ask("DELETE", "/api/events/{event_id}", None, event_id=event_id)
    described.ask("DELETE", "/api/events/{event_id}", None, 404, event_id=event_id)
    described.ask("POST", replay, {}, 410, run_id=mine["run_id"])

    [event_id] = server.send({"name": "go"})
    until(lambda: server.runs(event_id=event_id, status="Running"))
    [mine] = server.runs(event_id=event_id)
    described.ask("DELETE", "/v1/runs/{run_id}", None, run_id=mine["run_id"])
    until(lambda: server.runs(event_id=event_id, status="Cancelled"))
    described.ask("DELETE", "/v1/runs/{run_id}", None, 409, run_id=mine["run_id"])
    described.ask("DELETE", "/v1/runs/{run_id}", None, 404, run_id=NOBODY)
    described.ask("DELETE", "/v1/runs/{run_id}", None, 400, run_id="zzz")


def test_many_runs_are_changed_as_it_is_described(described: Described):
    path = "/api/runs/bulk"
    described.ask("POST", path, {"action": "cancel", "filter": {}, "dry_run": True})
    described.ask("POST", path, {"action": "replay", "run_ids": [described.failed, NOBODY], "data": {"bad": True}})
    described.ask("POST", path, {"action": "burn", "run_ids": []}, 400)
    described.ask("POST", path, {"action": "cancel", "filter": {"status": ["Flying"]}}, 400)


def test_functions_apps_and_dead_letters_are_changed_as_described(described: Described):
    for verb in ("pause", "resume"):
        path = f"/api/functions/{{function_id}}/{verb}"
        described.ask("POST", path, None, function_id="story-tick")
        described.ask("POST", path, None, 404, function_id="nothing")
    described.ask("POST", "/api/dead-letters/redrive", {})
    described.ask("POST", "/api/dead-letters/redrive", {"ids": 7}, 400)
    described.ask("POST", "/api/apps", {"url": "javascript:"}, 400)
    described.ask("POST", "/api/apps", {"url": "http://127.0.0.1:9/none"}, 502)
    functions = [{"id": "away-f", "name": "f", "triggers": [{"event": "none"}]}]
    away = {"appName": "away", "url": "http://127.0.0.1:9/x", "sdk": "py:1", "functions": functions}
    described.ask("POST", "/fn/register", away)
    described.ask(
        "POST", "/fn/register", {**away, "functions": [{**functions[0], "triggers": [{"cron": "soon"}]}]}, 400
    )
    described.ask("POST", "/fn/register", b"{", 400)
    described.ask("GET", "/api/apps")
    described.ask("GET", "/dev")
    described.ask("DELETE", "/api/apps/{app_id}", None, app_id="away")
    described.ask("DELETE", "/api/apps/{app_id}", None, 404, app_id="away")


def test_webhooks_answer_as_it_is_described(described: Described):
    path = "/webhooks/{name}"

    def deliver(body: bytes, status: int = 200, name: str = "hook") -> httpx.Response:
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        return described.ask("POST", path, body, status, name=name, headers={"x-signature": signature})

    deliver(b'{"name": "none"}')
    assert deliver(b'[{"name": "none"}, {"name": "none", "ts": 5}]', 422).json()["ids"]
    deliver(b"{", 400)
    deliver(b"{}", 404, name="nothing")
    described.ask("POST", path, b"{}", 401, name="hook", headers={"x-signature": "00"})
    deliver(b" " * ((10 << 20) + 1), 413)
    other = App("other")
    other.webhook("hook", secret=SECRET)(lambda _: None)
    described.server.serve(other)
    deliver(b"{}", 409)
    del described.server.code.apps["other"]
    described.ask("DELETE", "/api/apps/{app_id}", app_id="other")
    here = described.server.code.apps.pop("story")
    deliver(b"{}", 502)
    described.server.serve(here)


def test_checkpoints_answer_as_it_is_described(described: Described):
    path = "/v1/checkpoint/{run_id}/async"
    served = described.server
    run = served.do(served.local.engine.runs.load(described.live))
    assert run is not None
    body = {"fn_id": "story-f", "qi_id": f"{described.live}.step.0.{run.owner}", "steps": []}
    described.ask("POST", path, body, run_id=described.live)
    described.ask("POST", path, {"fn_id": "story-f", "steps": []}, 409, run_id=described.live)
    described.ask("POST", path, {}, 400, run_id=described.live)
    described.ask("POST", path, {"steps": []}, 404, run_id=NOBODY)
    large = [{"id": "x", "op": "StepRun", "data": "x" * (4 << 20)}]
    described.ask("POST", path, {"steps": large}, 413, run_id=described.live)
    described.ask("POST", path, b" " * ((48 << 20) + 1), 413, run_id=described.live)


def test_put_events_answers_as_it_is_described(described: Described):
    put = {"x-amz-target": "AWSEvents.PutEvents", "content-type": "application/x-amz-json-1.1"}
    entry = {"Source": "tests", "DetailType": "none", "Detail": "{}"}
    described.ask("POST", "/", {"Entries": [entry, {**entry, "Detail": "7"}]}, headers=put)
    described.ask("POST", "/", {"Entries": []}, 400, headers=put)


def test_every_operation_describes_its_answer_its_body_and_its_refusals(described: Described):
    empty = {("POST", "/v1/checkpoint/{run_id}/async"), ("DELETE", "/v1/runs/{run_id}")}
    bodiless = {("POST", f"/api/functions/{{function_id}}/{verb}") for verb in ("pause", "resume")}
    for method, path, operation in described.operations():
        declared = operation["responses"]
        for status, response in declared.items():
            for content in response.get("content", {}).values():
                assert content["schema"], (method, path, status)
        assert bool(declared["200"].get("content")) != ((method, path) in empty), (method, path)
        assert declared["default"]["content"], (method, path)
        if method == "POST":
            assert ("requestBody" in operation) != ((method, path) in bodiless), path
        header = "X-Milepost" in [given["name"] for given in operation.get("parameters", ())]
        assert header == (path.startswith("/api/") and method != "GET"), (method, path)
        # Only a webhook refuses with it: the app's code cannot read the payload.
        assert ("422" in declared) == (path == "/webhooks/{name}"), (method, path)
    assert "HTTPValidationError" not in described.document["components"]["schemas"]


def test_every_shape_that_is_named_is_described_and_every_described_one_is_used(described: Described):
    written = json.dumps(described.document)
    schemas = described.document["components"]["schemas"]
    named = {part.partition('"')[0] for part in written.split("#/components/schemas/")[1:]}
    assert named == set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("/e/{key}", [{"name": "go"}, [{"name": "go", "ts": 1_700_000_000_000}]], [{}, {"name": "go", "data": 7}, 7]),
        ("/invoke/{slug}", [{}, {"data": {"a": 1}}], [{"data": []}]),
        ("/v1/functions/{function_id}/runs", [{}, {"data": {"a": 1}, "id": "x"}], [{"data": []}, {"id": 7}]),
        ("/v1/functions/{function_id}/runs/{run_id}/cancel", [{}, {"reason": "x"}], [{"reason": 7}]),
        ("/fn/register", [{"appName": "a", "url": "http://a/x", "functions": []}], [{}, {"appName": "a"}]),
        ("/v1/checkpoint/{run_id}/async", [{"steps": []}], [{}, {"steps": 7}]),
        ("/", [{"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}], [{"Entries": []}]),
        ("/webhooks/{name}", [{}, [], 7], []),
    ],
    ids=str,
)
def test_bodies_that_the_server_reads_itself_are_described(
    described: Described, path: str, good: list[object], bad: list[object]
):
    [content] = described.document["paths"][path]["post"]["requestBody"]["content"].values()
    validator = described.validator(content["schema"])
    assert [body for body in good if not validator.is_valid(body)] == []
    assert [body for body in bad if validator.is_valid(body)] == []
