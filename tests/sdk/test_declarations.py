"""Apps and functions are checked while the module is imported."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from milepost import App, Cancel, Context, Cron, Event, Retries, Timeouts
from milepost.errors import (
    BadDurationError,
    BadIdError,
    BadRetriesError,
    BadTriggerError,
    ConfigError,
    DuplicateFunctionError,
    FlowControlUnsupportedError,
)
from milepost.middleware import Middleware


async def handler(ctx: Context[Any]) -> None: ...


@pytest.mark.parametrize("app_id", ["", "a b", "-a", "ä", "a" * 200, None])
def test_an_invalid_app_id_is_refused(app_id: Any) -> None:
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
def test_an_invalid_number_of_retries_is_refused(app: App, retries: Any) -> None:
    with pytest.raises(BadRetriesError):
        app.function(id="f", triggers=[], retries=retries)(handler)


@pytest.mark.parametrize(
    "options",
    [{"factor": 0.5}, {"factor": 1000}, {"jitter": 2}, {"jitter": -1}, {"first_delay": "soon"}, {"max_delay": -1}],
)
def test_an_invalid_backoff_is_refused(options: Any) -> None:
    with pytest.raises(BadRetriesError):
        Retries(3, **options)


def test_retries_says_the_new_name_of_attempts() -> None:
    with pytest.raises(BadRetriesError, match=r"made 5 attempts.* write Retries\(max_retries=4\)"):
        Retries(attempts=4, first_delay="1s")  # type: ignore[call-arg]
    with pytest.raises(BadRetriesError, match="write max_retries="):
        Retries(attempts="4")  # type: ignore[call-arg]


def test_max_retries_counts_the_tries_after_the_first() -> None:
    assert Retries(max_retries=4).max_attempts == 5
    assert replace(Retries(max_retries=4), max_retries=2).to_wire() == {"attempts": 2}


def test_more_than_ten_triggers_are_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="11 triggers"):
        app.function(id="f", triggers=[Event(f"t/{n}") for n in range(11)])(handler)


def test_more_than_five_cancellations_are_refused(app: App) -> None:
    with pytest.raises(BadTriggerError, match="6 cancel_on"):
        app.function(id="f", triggers=[], cancel_on=[Cancel(f"t/{n}") for n in range(6)])(handler)


@pytest.mark.parametrize("given", [{"trigger": "t/a"}, {"triggers": "t/a"}, {"triggers": ["t/a"]}])
def test_a_text_is_the_name_of_an_event_that_starts_the_function(app: App, given: dict) -> None:
    function = app.function(id="f", **given)(handler)
    assert [trigger.name for trigger in function.triggers if isinstance(trigger, Event)] == ["t/a"]


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
def test_other_invalid_options_are_refused(app: App, options: Any) -> None:
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


def no_parameter() -> None: ...


async def two_parameters(ctx: Context[Any], more: int) -> None: ...


async def keyword_only(*, ctx: Context[Any]) -> None: ...


async def defaults(ctx: Context[Any], more: int = 1, **rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trigger": "t/\0"}, "NUL"),
        ({"trigger": "t/\ud800"}, "a lone surrogate"),
        ({"triggers": 5}, "5 is not a trigger"),
        ({"triggers": [None]}, "trigger None"),
        ({"cancel_on": "c"}, "cancel_on is 'c': write Cancel"),
        ({"cancel_on": ["c"]}, "cancel_on is ['c']: write Cancel"),
        ({"cancel_on": 5}, "cancel_on is 5: write Cancel"),
        ({"cancel_on": Cancel(5)}, "the event of Cancel is 5"),  # type: ignore[arg-type]
        ({"cancel_on": Cancel("c", if_="'\ud800'")}, "if_"),
        ({"cancel_on": Cancel("c", match=5)}, "match is 5"),  # type: ignore[arg-type]
        ({"cancel_on": Cancel("c", timeout="soon")}, "timeout of Cancel('c')"),
        ({"idempotency": 5}, "idempotency is 5"),
        ({"idempotency": "'\ud800'"}, "idempotency"),
        ({"idempotency": ""}, "idempotency is empty"),
        ({"timeouts": {"start": "1h"}}, "write Timeouts("),
        ({"middleware": Middleware()}, "pass a list, middleware=[…]"),
        ({"retries": 21}, "retries are 21"),
        ({"retries": "3"}, "retries are '3'"),
        ({"name": 5}, "its name is 5"),
        ({"name": "\ud800"}, "its name"),
    ],
    ids=lambda given: given if isinstance(given, str) else next(iter(given)),
)
def test_an_option_of_the_wrong_kind_is_refused_naming_the_function(app: App, options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^function 'f' of app 'shop'.*{re.escape(said)}"):
        app.function(id="f", **{"triggers": []} | options if "trigger" not in options else options)(handler)


@pytest.mark.parametrize("given", [no_parameter, two_parameters, keyword_only, lambda: None])
def test_a_handler_that_cannot_be_called_with_the_context_alone_is_refused(app: App, given: Any) -> None:
    with pytest.raises(ConfigError, match=r"function 'f' of app 'shop' is called with one argument, its context"):
        app.function(id="f", triggers=[])(given)
    with pytest.raises(ConfigError, match="function 'f-failure' of app 'shop'"):
        app.function(id="f", triggers=[], on_failure=given)(handler)


@pytest.mark.parametrize("given", [defaults, lambda *args: None, functools.partial(two_parameters, more=1), print])
def test_a_handler_may_have_more_parameters_if_it_needs_none_of_them(app: App, given: Any) -> None:
    assert app.function(id="f", triggers=[])(given).id == "f"


class NoModel:
    pass


@dataclass
class HoldsNoModel:
    field: NoModel


@dataclass
class NamesNothing:
    field: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclass
class NamesWhatFollows:
    field: Follows


EARLY = Event("t/early", NamesWhatFollows)
EARLY_UNION = Event("t/early", Annotated[NamesWhatFollows | int, "tried at once"])  # type: ignore[call-overload]


class Follows(TypedDict):
    number: int


@pytest.mark.parametrize("model", [5, "NoModel", NoModel, {"a": int}, [int], handler])
def test_an_event_whose_model_is_none_is_refused_where_it_is_made(model: Any) -> None:
    with pytest.raises(BadTriggerError, match=r"^event 't/a' has .*model"):
        Event("t/a", model)


@pytest.mark.parametrize("model", [NamesWhatFollows, Follows, dict[str, int], NamesWhatFollows | Follows])
def test_a_model_is_any_class_that_pydantic_reads_as_one(model: Any) -> None:
    assert Event("t/a", model).schema() is not None
    assert repr(Event("t/a", model)).startswith("Event('t/a', ")


@pytest.mark.parametrize("event", [EARLY, EARLY_UNION])
def test_a_model_may_name_a_type_that_is_defined_after_its_event(event: Event[Any]) -> None:
    assert event.create({"field": {"number": 7}}).data == NamesWhatFollows({"number": 7})
    assert event.schema() is not None


@pytest.mark.parametrize("model", [HoldsNoModel, NamesNothing])
def test_a_model_with_a_field_that_cannot_be_read_is_refused_at_registration_naming_the_function(
    app: App, model: Any
) -> None:
    event = Event("t/a", model)
    app.function(id="f", trigger=event)(handler)
    with pytest.raises(BadTriggerError, match=rf"^function 'f' of app 'shop': .*{model.__name__}"):
        app.manifest("http://x")
    with pytest.raises(BadTriggerError, match="event 't/a'"):
        event.create({"field": 1})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tz": "Europe"}, "unknown time zone 'Europe'"),
        ({"tz": "Mars/Olympus"}, "unknown time zone"),
        ({"tz": 5}, "tz is 5"),
        ({"jitter": "10m"}, "jitter is '10m'"),
        ({"jitter": "soon"}, "jitter is not a duration"),
        ({"catch_up": []}, r"catch_up is \[\]"),
    ],
)
def test_a_wrong_option_of_a_cron_is_refused_naming_the_line(options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cron '0 8 \* \* \*': {said}"):
        Cron("0 8 * * *", **options)


@pytest.mark.parametrize("line", [5, None, "0 8 * * \ud800", "0 8 * * \0"])
def test_a_cron_line_that_is_no_text_is_refused(line: Any) -> None:
    with pytest.raises(BadTriggerError, match="a cron line"):
        Cron(line)


@pytest.mark.parametrize("condition", [5, "event.data.a == '\ud800'"])
def test_a_condition_that_is_no_text_is_refused_naming_the_event(condition: Any) -> None:
    with pytest.raises(BadTriggerError, match="if_ of event 't/a'"):
        Event("t/a", if_=condition)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"middleware": Middleware()}, "pass a list"),
        ({"retries": 21}, "retries are 21"),
        ({"checkpoint_budget": "soon"}, "checkpoint_budget is not a duration"),
        ({"retention": "soon"}, "retention is not a duration"),
    ],
)
def test_a_wrong_option_of_an_app_is_refused_naming_the_app(options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^app 'shop': .*{said}"):
        App("shop", **options)
