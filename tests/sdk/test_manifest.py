"""How an app describes itself."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from milepost import App, Cancel, Context, Cron, Event, Retries, Timeouts


class Order(BaseModel):
    id: str


async def handler(ctx: Context[Any]) -> None: ...


def declared(app: App) -> dict[str, Any]:
    app.function(
        id="f",
        triggers=[
            Event("order/created", Order, if_="event.data.id != ''"),
            Cron("0 8 * * *", tz="Europe/Paris", jitter="30s"),
        ],
        name="Fulfil",
        retries=Retries(2, first_delay=1, factor=3, max_delay="1m", jitter=0),
        cancel_on=[Cancel("order/cancelled", match="data.id", timeout="2h")],
        timeouts=Timeouts(start="10s", finish="1h"),
        idempotency="event.data.id",
        mode="checkpoint",
        on_failure=handler,
    )(handler)
    return json.loads(json.dumps(app.manifest("https://app.example/api")))


def test_the_registration_has_all_that_the_protocol_asks_for(app: App) -> None:
    body = declared(app)
    assert (body["appName"], body["appname"], body["deployType"], body["v"]) == ("shop", "shop", "ping", "0.1")
    assert body["sdk"].startswith("milepost:v")
    function = body["functions"][0]
    assert (function["id"], function["name"]) == ("shop-f", "Fulfil")
    assert function["triggers"] == [
        {"event": "order/created", "expression": "event.data.id != ''"},
        {"cron": "TZ=Europe/Paris 0 8 * * *", "jitter": "30s"},
    ]
    step = function["steps"]["step"]
    assert step["retries"] == {"attempts": 2}
    assert step["runtime"] == {"type": "http", "url": "https://app.example/api?fnId=shop-f&stepId=step"}
    same = "event.data.id != null && event.data.id == async.data.id"
    assert function["cancel"] == [{"event": "order/cancelled", "if": same, "timeout": "7200s"}]
    assert function["timeouts"] == {"start": "10s", "finish": "3600s"}
    assert function["idempotency"] == "event.data.id"


def test_the_registration_has_what_milepost_adds(app: App) -> None:
    extension = declared(app)["functions"][0]["milepost"]
    assert extension["retries"] == {
        "attempts": 2, "backoff": {"first_delay": 1.0, "factor": 3.0, "max_delay": 60.0, "jitter": 0.0},
    }  # fmt: skip
    assert (extension["mode"], extension["catch_up"]) == ("checkpoint", "one")
    assert extension["event_schemas"]["order/created"]["properties"] == {"id": {"title": "Id", "type": "string"}}


def test_a_failure_handler_is_a_function_that_listens_to_the_failures_of_one_function(app: App) -> None:
    function = declared(app)["functions"][1]
    assert function["id"] == "shop-f-failure"
    expression = "event.data.function_id == 'shop-f'"
    assert function["triggers"] == [{"event": "inngest/function.failed", "expression": expression}]


def test_a_plain_function_has_an_entry_without_options(app: App) -> None:
    app.function(id="f", triggers=[])(handler)
    function: Any = app.manifest("https://app.example/api")["functions"]
    assert function[0]["triggers"] == []
    assert function[0]["milepost"] == {"retries": {"attempts": 4}, "mode": "step", "event_schemas": {}}
    assert "cancel" not in function[0]


def test_the_registration_carries_the_version_of_the_app() -> None:
    assert App("shop", version="abc").manifest("u")["appVersion"] == "abc"
    assert "appVersion" not in App("shop").manifest("u")


def test_defaults_of_the_app_hold_for_functions_that_do_not_say() -> None:
    app = App("shop", retries=1, mode="checkpoint")
    app.function(id="f", triggers=[])(handler)
    app.function(id="g", triggers=[], retries=0, mode="step")(handler)
    functions: Any = app.manifest("u")["functions"]
    policies = [(function["milepost"]["retries"]["attempts"], function["milepost"]["mode"]) for function in functions]
    assert policies == [(1, "checkpoint"), (0, "step")]
