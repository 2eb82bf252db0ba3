"""Scenarios run on the deployed stack: the same functions as in `tests/scenarios`, with real time in between.

Not run here: what winds the clock over minutes, days or months (long sleeps, timeouts, cron, retention, the default
pauses between attempts), what loses, holds back or repeats a message within the test's own queue, and runs of hundreds
of steps, which take the emulator minutes. SQLite, moto and DynamoDB Local run those.
"""

# ruff: noqa: F401 - imported to be collected here

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.rig import PLACE
from tests.scenarios.test_bad_input import (
    test_data_that_does_not_fit_the_model_of_an_event_fails_the_run_at_once_and_names_the_field,
    test_steps_may_have_any_name_and_keep_it,
)
from tests.scenarios.test_checkpoint_mode import (
    test_a_failing_step_is_retried_and_those_before_it_are_not_repeated,
    test_sleeps_waits_and_parallel_steps_work_in_between,
    test_three_steps_take_one_invocation_and_are_saved_one_by_one,
)
from tests.scenarios.test_endings import (
    test_each_end_of_a_run_is_an_event_with_its_run_function_and_first_event,
    test_event_triggers_with_conditions_and_wildcards_start_what_fits,
)
from tests.scenarios.test_idempotency import test_an_idempotency_key_lets_one_run_through_in_24_hours
from tests.scenarios.test_steps import (
    test_a_large_value_is_kept_outside_the_item_and_comes_back,
    test_a_non_retriable_error_is_not_tried_again,
    test_a_result_over_four_megabytes_fails_the_step_without_a_retry_and_names_it,
    test_a_step_that_failed_for_good_can_be_caught_and_undone,
    test_a_value_comes_back_from_json_the_first_time_too,
    test_an_error_of_the_function_body_is_retried_too,
    test_loops_may_repeat_a_step_id,
    test_one_of_parallel_steps_is_retried_alone,
    test_parallel_steps_are_joined,
    test_task_groups_and_sync_parallel_work,
    test_three_steps_take_three_invocations_and_each_body_runs_once,
)
from tests.scenarios.test_time_and_events import (
    test_a_failed_child_raises_in_its_parent,
    test_a_failed_run_is_replayed_once_its_cause_is_gone_and_finished_steps_are_kept,
    test_a_failure_handler_gets_the_error_and_the_event,
    test_a_function_invokes_another_and_gets_its_result,
    test_a_replay_may_have_other_data_and_runs_all_steps_again,
    test_a_run_is_cancelled_by_hand_and_only_once,
    test_invoking_what_does_not_exist_says_so,
    test_one_event_starts_every_function_that_listens_once,
)

from .cloud import Cloud
from .deployed_rig import deployed_place

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def opened(cloud: Cloud) -> Iterator[Any]:
    with deployed_place(cloud) as opened:
        yield opened


@pytest.fixture(autouse=True)
def place(cloud: Cloud, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rig's things lie in the stack; the test's apps sign, send and save steps through its api."""
    PLACE.set(opened)
    monkeypatch.setenv("MILEPOST_API_URL", cloud.api)
    monkeypatch.setenv("MILEPOST_EVENT_URL", cloud.api)
    monkeypatch.setenv("MILEPOST_EVENT_KEY", cloud.key("EventKey"))
    monkeypatch.setenv("MILEPOST_SIGNING_KEY", cloud.key("SigningKey"))
