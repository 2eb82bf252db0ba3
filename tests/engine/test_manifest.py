"""An app that cannot be registered gets every problem at once, each with the function's name; nothing of it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.scenarios.rig import rig

from milepost import App, Cancel, Context, Event, Timeouts
from milepost_engine.codec import dumps, loads
from milepost_engine.ports import Key, Target
from milepost_engine.store.manifest import ManifestError, read_manifest
from milepost_engine.store.registry import Registry
from milepost_engine.store.values import Values


def manifest(**function: Any) -> dict[str, Any]:
    return {"appName": "shop", "functions": [{"id": "shop-f", "triggers": [{"event": "go"}], **function}]}


def problems(given: dict[str, Any]) -> str:
    with pytest.raises(ManifestError) as refused:
        read_manifest(given)
    return str(refused.value)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("concurrency", "concurrency"),
        ("throttle", "throttle"),
        ("rateLimit", "rate limit"),
        ("debounce", "debounce"),
        ("batchEvents", "event batching"),
        ("priority", "priority"),
        ("singleton", "singleton"),
    ],
)
def test_flow_control_is_refused_by_name_never_silently_run_without(setting: str, word: str):
    said = problems(manifest(**{setting: {"limit": 1}}))
    assert f"Function 'shop-f': it asks for {word} ({setting})" in said
    assert "refused rather than run without the limit" in said


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ({"triggers": [{"cron": "61 * * * *"}]}, "cron line '61 * * * *'"),
        ({"triggers": [{"cron": "0 0 31 2 *"}]}, "cron line '0 0 31 2 *'"),
        ({"triggers": [{"cron": "* * * *"}]}, "cron line '* * * *'"),
        ({"triggers": [{"cron": "TZ=Mars/Olympus 0 8 * * *"}]}, "Mars/Olympus"),
        ({"triggers": [{"cron": "0 8 * * *", "jitter": "10m"}]}, "jitter"),
        ({"triggers": [{"cron": "0 8 * * *"}, {"cron": "0 8 * * *"}]}, "occurs twice"),
        ({"triggers": [{"cron": "0 8 * * *", "catch_up": "most"}]}, "catch_up is 'most'"),
        ({"triggers": [{}]}, "neither an event nor a cron line"),
        ({"triggers": [{"event": 7}]}, "neither an event nor a cron line"),
        ({"triggers": [{"event": "a*b"}]}, "wildcard"),
        ({"triggers": [{"event": "*"}]}, "wildcard"),
        ({"triggers": [{"event": "x" * 256}]}, "at most 255"),
        ({"triggers": [{"event": "go"}] * 11}, "at most 10"),
        ({"triggers": "go"}, "triggers must be a list"),
        ({"triggers": [{"event": "go", "expression": "event.data.("}]}, "cannot be read"),
        ({"triggers": [{"event": "go", "expression": "(" * 500}]}, "cannot be read"),
        ({"idempotency": "event.data..x"}, "idempotency"),
        ({"cancel": [{"event": "stop", "if": "event ="}]}, "the cancellation by 'stop'"),
        ({"cancel": [{"event": "stop", "timeout": "soon"}]}, "cancel.timeout"),
        ({"cancel": [{}]}, "a cancellation names no event"),
        ({"cancel": [{"event": "stop"}] * 6}, "at most 5"),
        ({"cancel": "stop"}, "cancel must be a list"),
        ({"timeouts": {"start": "soon"}}, "timeouts.start 'soon' cannot be read"),
        ({"timeouts": {"finish": "99999999999d"}}, "timeouts.finish"),
        ({"timeouts": {"finish": "500000w"}}, "timeouts.finish is '500000w'; at most 366 days"),
        ({"timeouts": {"start": "367d"}}, "timeouts.start is '367d'; at most 366 days"),
        ({"cancel": [{"event": "stop", "timeout": "367d"}]}, "cancel.timeout (by 'stop') is '367d'; at most 366 days"),
        ({"steps": {"step": {"retries": {"attempts": 21}}}}, "whole number from 0 to 20"),
        ({"steps": {"step": {"retries": {"attempts": -1}}}}, "whole number from 0 to 20"),
        ({"steps": {"one": {}, "two": {}}}, "exactly one step"),
        ({"id": ""}, "it has no id"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_naming_function_and_setting(function: dict[str, Any], said: str):
    found = problems(manifest(**function))
    assert said in found
    assert "[MP201] App 'shop' cannot be registered" in found
    assert f"Function {function.get('id', 'shop-f')!r}:" in found


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (
            {"triggers": [{"event": "go", "expression": "evnt.data.a == 1"}]},
            "the trigger 'go' uses evnt, which is not available there: it may use event, as in event.data.id.",
        ),
        (
            {"triggers": [{"event": "go", "expression": "async.data.a == 1"}]},
            "uses async, which is not available there",
        ),
        ({"triggers": [{"event": "go", "expression": "event.a.exists(x, x == y)"}]}, "uses y, which"),
        ({"idempotency": "data.id + event.data.id"}, "the expression of idempotency uses data, which"),
        (
            {"cancel": [{"event": "stop", "if": "asnc.data.id == evt.data.id"}]},
            "uses asnc and evt, which is not available there: it may use event and async, as in event.data.id ==",
        ),
    ],
    ids=str,
)
def test_an_expression_over_what_does_not_exist_is_refused_naming_what_does(function: dict[str, Any], said: str):
    found = problems(manifest(**function))
    assert "Function 'shop-f': the expression of" in found
    assert said in found


@pytest.mark.parametrize(
    "function",
    [
        {"triggers": [{"event": "go", "expression": "event.data.items.exists(x, x.price > 3) && has(event.user)"}]},
        {"cancel": [{"event": "stop", "if": "event.data.id == async.data.id && now() > timestamp(async.ts)"}]},
        {"idempotency": "event.data.id + '-' + string(event.ts)"},
    ],
    ids=str,
)
def test_variables_that_a_macro_brings_and_functions_are_known(function: dict[str, Any]):
    assert read_manifest(manifest(**function))[0] == "shop"


async def test_an_app_that_was_registered_with_an_unknown_variable_before_is_served_on():
    app = App("shop")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> int:
        return 1

    async with rig(app) as r:
        key = Key("REG", "app#shop")
        item = await r.store.table.get(key)
        assert item is not None
        before = manifest(triggers=[{"event": "go"}], idempotency="evnt.data.id")
        packed = Values(r.store.blobs).pack("manifest", dumps(before))
        kept = {name: value for name, value in item.items() if not name.startswith("manifest")}
        await r.store.table.put({**kept, **packed})
        r.engine.registry.forget()
        await r.send("go")
        assert (await r.only_run())["status"] == "Completed"


@pytest.mark.parametrize(
    "given",
    [{}, {"appName": ""}, {"appName": "a"}, {"appName": "a", "functions": {}}, {"appName": "a", "functions": [7]}],
)
def test_what_is_no_manifest_is_refused(given: dict[str, Any]):
    assert "[MP201]" in problems(given)


def test_a_manifest_of_a_later_milepost_is_refused_rather_than_half_understood():
    assert "upgrade Milepost" in problems({"appName": "a", "functions": [], "milepost_version": 2})


def test_all_problems_are_reported_at_once():
    given = manifest(triggers=[{"cron": "x"}], idempotency="(", throttle={"limit": 1})
    given["functions"].append(given["functions"][0])
    found = problems(given)
    assert all(word in found for word in ("cron line", "idempotency", "throttle", "the id is used twice in app 'shop'"))


async def test_a_refused_app_stores_nothing_and_its_earlier_registration_stays():
    app = App("shop")

    @app.function(id="f", trigger="go")
    async def f(ctx: Context) -> int:
        return 1

    async with rig(app) as r:
        broken = app.manifest("http://local")
        broken["functions"][0]["idempotency"] = "event.("  # type: ignore[index]
        with pytest.raises(ManifestError, match="shop-f"):
            await r.engine.registry.sync(broken, Target("inprocess", "shop"))
        await r.send("go")
        assert (await r.only_run())["status"] == "Completed"


async def test_a_longer_time_out_that_was_registered_once_is_as_long_as_it_may_be():
    app = App("a")

    @app.function(id="f", trigger="go", timeouts=Timeouts(start="1d", finish="1d"), cancel_on=Cancel("stop"))
    async def f(ctx: Context) -> None:
        await ctx.step.sleep("for long", "366d")

    @app.function(id="g", trigger="go")
    async def g(ctx: Context) -> int:
        return 1

    async with rig(app) as r:
        item = await r.store.table.get(Key("REG", "app#a"))
        assert item is not None
        stored = loads(r.engine.values.unpack("manifest", item))
        long: dict[str, Any] = {"timeouts": {"start": "500000w", "finish": "500000w"}}
        stored["functions"][0] |= long | {"cancel": [{"event": "stop", "timeout": "500000w"}]}  # type: ignore[index]
        kept = {key: value for key, value in item.items() if not key.startswith("manifest")}
        await r.store.table.put({**kept, **r.engine.values.pack("manifest", dumps(stored))})
        r.engine.registry.forget()
        await r.send("go")
        assert (await r.only_run("a-g"))["status"] == "Completed"
        assert (await r.only_run("a-f"))["status"] == "Running"
        await r.send("stop")
        assert (await r.only_run("a-f"))["status"] == "Cancelled"


async def test_the_second_of_two_apps_whose_functions_have_the_same_full_id_is_refused():
    first, second = App("a"), App("a-b")

    async def handler(ctx: Context) -> None: ...

    first.function(id="b-c", triggers=[])(handler)
    second.function(id="c", triggers=[])(handler)
    async with rig(first) as r:
        with pytest.raises(ManifestError, match="'a-b-c': app 'a' has a function with the same full id"):
            await r.serve(second)


async def test_a_run_of_an_app_that_another_process_registered_a_moment_ago_is_called_at_once():
    app = App("a")

    @app.function(id="f", trigger="go", retries=0)
    async def f(ctx: Context) -> int:
        return 1

    async with rig() as r:
        # The orchestrator has just read a registry without the app; the intake reads it later.
        older = Registry(r.store.table, r.engine.values, r.clock)
        await older.snapshot()
        r.engine.orchestrator.invocations = replace(r.engine.orchestrator.invocations, registry=older)
        await r.serve(app)
        await r.send("go")
        assert (await r.only_run())["output"] == 1


async def test_expressions_of_our_own_sdk_are_checked_at_registration():
    app = App("shop")

    @app.function(
        id="f",
        trigger=Event("go", if_="event.data.x ==="),
        cancel_on=[Cancel("stop", if_="async.data.(")],
        idempotency="1 +",
    )
    async def f(ctx: Context) -> None: ...

    found = problems(app.manifest("http://local"))
    assert found.count("Function 'shop-f'") == 3
