"""Apps and functions are checked while the module is imported."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import App, Cancel, Context, Cron, Event, Middleware, Retries, Timeouts
from milepost.errors import (
    BadDurationError,
    BadIdError,
    BadRetriesError,
    BadTriggerError,
    ConfigError,
    DuplicateFunctionError,
    FlowControlUnsupportedError,
)


async def handler(ctx: Context[Any]) -> None: ...


@pytest.mark.parametrize("app_id", ["", "a b", "-a", "ä", "a" * 200, None])
def test_an_app_id_that_cannot_be_is_refused(app_id: Any) -> None:
    with pytest.raises(BadIdError):
        App(app_id)


def test_two_functions_with_one_id_are_refused(app: App) -> None:
    app.function(id="f", triggers=[])(handler)
    with pytest.raises(DuplicateFunctionError, match="'f'"):
        app.function(id="f", triggers=[])(handler)


def test_a_failure_handler_takes_the_id_that_its_function_gives_it(app: App) -> None:
    app.function(id="f", triggers=[], on_failure=handler)(handler)
    assert set(app.functions) == {"shop-f", "shop-f-failure"}
    with pytest.raises(DuplicateFunctionError):
        app.function(id="f-failure", triggers=[])(handler)


@pytest.mark.parametrize(
    "option",
    ["concurrency", "throttle", "rate_limit", "debounce", "batch_events", "priority", "singleton"],
)
def test_flow_control_is_refused_by_name_rather_than_ignored(app: App, option: str) -> None:
    with pytest.raises(FlowControlUnsupportedError, match=f"'f'.*{option}"):
        app.function(id="f", triggers=[], **{option: 1})  # type: ignore[call-overload]


def test_an_option_that_does_not_exist_is_refused(app: App) -> None:
    with pytest.raises(ConfigError, match="retry"):
        app.function(id="f", triggers=[], retry=3)  # type: ignore[call-overload]


@pytest.mark.parametrize("retries", [-1, 21, 1.5, True, "3"])
def test_a_number_of_retries_that_cannot_be_is_refused(app: App, retries: Any) -> None:
    with pytest.raises(BadRetriesError):
        app.function(id="f", triggers=[], retries=retries)(handler)


@pytest.mark.parametrize(
    "options",
    [{"factor": 0.5}, {"factor": 1000}, {"jitter": 2}, {"jitter": -1}, {"first_delay": "soon"}, {"max_delay": -1}],
)
def test_a_backoff_that_cannot_be_is_refused(options: Any) -> None:
    with pytest.raises(BadRetriesError):
        Retries(3, **options)


def test_more_than_ten_triggers_are_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="11 triggers"):
        app.function(id="f", triggers=[Event(f"t/{n}") for n in range(11)])(handler)


def test_more_than_five_cancellations_are_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="6 cancel_on"):
        app.function(id="f", triggers=[], cancel_on=[Cancel(f"t/{n}") for n in range(6)])(handler)


@pytest.mark.parametrize("given", [{"trigger": "t/a"}, {"triggers": "t/a"}, {"triggers": ["t/a"]}])
def test_a_text_is_the_name_of_an_event_that_starts_the_function(app: App, given: dict) -> None:
    function = app.function(id="f", **given)(handler)
    assert [trigger.name for trigger in function.triggers] == ["t/a"]


def test_something_else_than_a_trigger_is_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="function 'f'"):
        app.function(id="f", triggers=[7])(handler)  # type: ignore[list-item]


def test_the_same_cron_twice_is_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="twice"):
        app.function(id="f", triggers=[Cron("* * * * *"), Cron("* * * * *", jitter="2s")])(handler)


def test_crons_with_different_catch_up_are_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="catch_up"):
        app.function(id="f", triggers=[Cron("* * * * *"), Cron("0 * * * *", catch_up="all")])(handler)


def test_one_cancellation_needs_no_list(app: App) -> None:
    function = app.function(id="f", triggers=[], cancel_on=Cancel("t/c"))(handler)
    assert [cancel.event for cancel in function.cancel_on] == ["t/c"]


def test_a_cancellation_with_a_trigger_that_has_a_condition_is_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="if_"):
        app.function(id="f", triggers=[], cancel_on=[Cancel(Event("t/c", if_="true"))])(handler)


def test_both_trigger_and_triggers_are_refused(app: App) -> None:
    with pytest.raises(ConfigError, match="both"):
        app.function(id="f", trigger=Event("t/a"), triggers=[])  # type: ignore[call-overload]


@pytest.mark.parametrize("options", [{"start": 0}, {"finish": "0s"}])
def test_a_timeout_of_zero_is_refused(options: Any) -> None:
    with pytest.raises(ConfigError, match="zero"):
        Timeouts(**options)


def test_a_duration_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadDurationError):
        Timeouts(start="later")


def test_a_timeout_of_more_than_a_year_is_refused(app: App) -> None:
    Timeouts(start="366d")
    with pytest.raises(BadDurationError, match=r"Timeouts\(finish=…\) is 3500000 days: at most 366"):
        Timeouts(finish="500000w")
    with pytest.raises(BadDurationError, match=r"function 'f' of app 'shop'.*Cancel\('t/c'\) is 367 days: at most 366"):
        app.function(id="f", triggers=[], cancel_on=Cancel("t/c", timeout="367d"))(handler)


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"idempotency": " "}, {"middleware": [Middleware]}])
def test_other_options_that_cannot_be_are_refused(app: App, options: Any) -> None:
    with pytest.raises(ConfigError):
        app.function(id="f", triggers=[], **options)(handler)


def test_a_generator_is_refused(app: App) -> None:
    async def generator(ctx: Context[Any]) -> Any:
        yield 1

    with pytest.raises(ConfigError, match="generator"):
        app.function(id="f", triggers=[])(generator)


def test_middleware_of_an_app_must_be_instances() -> None:
    with pytest.raises(ConfigError, match="instance"):
        App("shop", middleware=[Middleware])  # type: ignore[list-item]
