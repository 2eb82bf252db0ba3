"""No schedule of a small story breaks a promise: not without faults, and not with any one fault.

Most cases must be complete up to a number of pre-emptions (`COMPLETE`); the others are searched for a while. What was
explored is printed after the tests. `--thorough` searches each case for longer, with up to three pre-emptions, and
adds three workers and two faults at once; that takes some twenty minutes on two cores.
"""

from collections.abc import Callable
from typing import Final

import pytest

from milepost_engine.core.run import RunStatus

from .explore import Explored, Limits, explore, words_of
from .setting import FAULTS, Setup
from .stories import STORIES

Record = Callable[[str, object], None]

SIMPLE_FAULTS: Final = ("none", "twice", "again", "crash", "lost", "late")
SECONDS: Final = 0.5
SECONDS_THOROUGH: Final = 10.0
SECONDS_OF: Final = {("step_beside_wait", "none"): 8.0, ("loop_of_waits", "again"): 9.0}
"""Cases in which a broken rule shows late."""
NO_LIMIT: Final = 600.0
LEAST_POINTS: Final = 300
"""A search that ends because its time is up has come at least as far."""

_STRAIGHT: Final = ("sequence", "sequence_checkpoint", "replay", "retry", "sleep_step")
"""One thing after the other: without a fault there is a single schedule."""
_DISTURBED: Final = (
    "sequence_cancel", "checkpoint_cancel", "sleep_cancel", "naps", "wait_timeout", "wait_timeout_checkpoint",
    "wait_then_two", "invoke_timeout",
)  # fmt: skip
_SIDE_BY_SIDE: Final = ("join2", "join2_checkpoint", "join2_cancel", "join2_retry", "race", "race_waits", "race_steps")
_LOOPS: Final = ("loop_of_waits", "loop_of_waits_checkpoint")
_WATCHED: Final = ("sequence_watched", "sleep_watched", "retry_watched")
_REPORTED: Final = ("sequence_reported", "sequence_checkpoint_reported", "retry_reported")
_REPORTED_DISTURBED: Final = ("sequence_cancel_reported", "wait_timeout_reported")
_FAMILIES: Final = ("invoke_cancel", "invoke_cancel_checkpoint")

COMPLETE: Final[dict[tuple[str, str], int]] = {
    **{(name, faults): 3 for name in _STRAIGHT for faults in ("none", "crash", "lost", "late")},
    **{(name, faults): 1 for name in _STRAIGHT for faults in ("twice", "again")},
    **{(name, faults): 1 for name in _DISTURBED for faults in ("none", "late")},
    **{(name, faults): 0 for name in _DISTURBED for faults in ("twice", "again", "crash", "lost")},
    **{(name, "none"): 0 for name in _SIDE_BY_SIDE},
    **{("one_branch", faults): 2 for faults in SIMPLE_FAULTS},
    **{("one_branch_watched", faults): 1 for faults in ("none", "late", "dropped")},
    **{("one_branch_reported", faults): 1 for faults in SIMPLE_FAULTS},
    **{(name, faults): 1 for name in _WATCHED for faults in ("none",)},
    **{(name, faults): 0 for name in _WATCHED for faults in ("dropped", "late", "twice")},
    **{("sleep_watched", faults): 0 for faults in ("crash", "lost", "again")},
    ("join2_watched", "none"): 0,
    ("nap_ticked", "none"): 1,
    **{("nap_ticked", faults): 0 for faults in ("twice", "crash", "lost", "late", "dropped")},
    **{(name, faults): 3 for name in _REPORTED for faults in ("none", "crash", "late")},
    **{(name, faults): 0 for name in _REPORTED for faults in ("twice", "again")},
    **{(name, "lost"): 0 for name in _REPORTED},
    ("sequence_reported", "lost"): 1,
    **{(name, faults): 1 for name in _REPORTED_DISTURBED for faults in ("none", "late")},
    **{(name, faults): 0 for name in _REPORTED_DISTURBED for faults in ("twice", "again", "crash", "lost")},
    ("join2_reported", "none"): 1,
    ("join2_reported", "late"): 0,
    **{(name, "torn"): 1 for name in ("step_beside_nap", "wait_timeout", "naps")},
    **{(name, "torn"): 0 for name in ("join2", "loop_of_waits")},
    ("retry", "lost"): 1,
    ("sleep_step", "again"): 2,
    **{("step_beside_nap", faults): 1 for faults in ("none", "twice", "late")},
    **{("step_beside_nap", faults): 0 for faults in ("again", "crash", "lost")},
    **{("retry_beside_nap", faults): 1 for faults in ("none", "late")},
    **{("retry_beside_nap", faults): 0 for faults in ("twice", "crash", "lost")},
    ("join2", "none"): 1,
    ("join2", "twice"): 0,
    ("join2", "crash"): 0,
    ("wait_two_events", "none"): 0,
    **{(name, faults): 1 for name in _LOOPS + _FAMILIES for faults in ("none", "late")},
    **{(name, "crash"): 0 for name in _LOOPS + _FAMILIES},
}
"""Up to how many pre-emptions nothing may be left out of a case."""


CASES: Final = [
    *((name, faults) for name in STORIES for faults in SIMPLE_FAULTS),
    # A message is dropped where the sweeper checks, and a read is torn where others write.
    *((name, "dropped") for name in (*_WATCHED, "one_branch_watched", "join2_watched", "nap_ticked")),
    *((name, faults) for name, faults in COMPLETE if faults == "torn"),
    *((name, "torn") for name in ("join2_retry", "join3", "branches2", "race_steps", "step_beside_wait")),
    *((name, "torn") for name in ("race", "join2_watched")),
]


@pytest.mark.parametrize(("name", "faults"), CASES)
def test_no_schedule_breaks_a_promise(name: str, faults: str, *, thorough: bool, record_property: Record) -> None:
    due = COMPLETE.get((name, faults))
    setup = Setup(STORIES[name](), FAULTS[faults])
    seconds = SECONDS_OF.get((name, faults), SECONDS)
    found = explore(setup, Limits(3, seconds) if due is None else Limits(due, NO_LIMIT))
    if thorough and not found.findings and not found.exhausted:
        found = explore(setup, Limits(3, max(SECONDS_THOROUGH, 2 * found.seconds)))
    record_property("explored", str(found))
    _judge(found)
    if due is not None:
        assert found.complete >= due, found


@pytest.mark.parametrize("faults", ["crash2", "crash+twice", "crash+late"])
@pytest.mark.parametrize("name", STORIES)
def test_no_schedule_with_two_faults_breaks_a_promise(
    name: str, faults: str, *, thorough: bool, record_property: Record
) -> None:
    if not thorough:
        pytest.skip("two faults at once take minutes: --thorough")
    found = explore(Setup(STORIES[name](), FAULTS[faults]), Limits(2, SECONDS_THOROUGH))
    record_property("explored", str(found))
    _judge(found)


@pytest.mark.parametrize("faults", ["none", "crash", "twice"])
@pytest.mark.parametrize("name", ["join3", "branches2", "wait_two_events", "race_waits"])
def test_no_schedule_of_three_workers_breaks_a_promise(
    name: str, faults: str, *, thorough: bool, record_property: Record
) -> None:
    if not thorough:
        pytest.skip("three workers take minutes: --thorough")
    found = explore(Setup(STORIES[name](), FAULTS[faults], workers=3), Limits(2, SECONDS_THOROUGH))
    record_property("explored", str(found))
    _judge(found)


def _judge(found: Explored) -> None:
    """Nothing was broken, and something was explored."""
    if found.shortest:
        _, _, choices = found.shortest[0]
        pytest.fail("\n".join([str(found), *words_of(found.setup, choices)]), pytrace=False)
    # No story may fail, and in each some schedule comes to its end: else nothing of it was explored.
    assert RunStatus.FAILED.value not in found.endings, found
    assert {RunStatus.COMPLETED.value, RunStatus.CANCELLED.value} & found.endings.keys(), found
    assert found.complete >= 0 or found.points > LEAST_POINTS, found
    if found.setup.faults != FAULTS["none"] and found.setup.faults != FAULTS["late"]:
        # The fault can strike at the first message, so that there is always more than one schedule.
        assert found.schedules > 1, found
