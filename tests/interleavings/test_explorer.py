"""The explorer itself: it finds what is broken, it leaves nothing out that differs, and it repeats what it found."""

from dataclasses import dataclass

import pytest

from .explore import Explored, Limits, base_of, explore, words_of
from .fingerprint import Fingerprints
from .ledger import Ledger
from .setting import FAULTS, Setup
from .stories import STORIES
from .threads import Go
from .world import World

ENOUGH = Limits(preemptions=2, seconds=60.0)


def explored(
    name: str,
    faults: str,
    limits: Limits = ENOUGH,
    *,
    every_call: bool = False,
    reduced: bool = True,
    conditions: bool = True,
) -> Explored:
    setup = Setup(STORIES[name](), FAULTS[faults], every_call=every_call, reduced=reduced, conditions=conditions)
    found = explore(setup, limits)
    assert found.complete == limits.preemptions, found
    return found


@pytest.mark.parametrize(
    ("name", "faults"), [("sequence", "twice"), ("sequence", "crash"), ("sleep_step", "lost"), ("sleep_step", "none")]
)
def test_leaving_equal_schedules_out_loses_no_outcome_and_no_finding(name: str, faults: str) -> None:
    reduced, full = explored(name, faults), explored(name, faults, reduced=False)
    assert reduced.worlds == full.worlds
    assert reduced.findings.keys() == full.findings.keys()
    assert reduced.points <= full.points


def test_leaving_equal_schedules_out_saves_time_where_branches_run_side_by_side() -> None:
    limits = Limits(preemptions=1, seconds=60.0)
    reduced, full = explored("join2", "none", limits), explored("join2", "none", limits, reduced=False)
    assert reduced.worlds == full.worlds
    assert reduced.points < full.points


def test_a_table_without_conditional_writes_is_found_out() -> None:
    found = explored("sequence", "twice", conditions=False)
    assert {finding.rule for finding in found.findings} & {
        "two bodies of one step",
        "a body begins although its step is recorded",
        "a run ends twice",
    }


def test_a_finding_is_repeated_by_its_choices_and_shown_in_words() -> None:
    found = explored("sequence", "twice", conditions=False)
    finding, _, choices = found.shortest[0]
    words = words_of(found.setup, choices)
    assert words[-1] == f"=> {finding}"
    assert any("BODY" in line for line in words)
    assert words == words_of(found.setup, choices)


@pytest.mark.parametrize("faults", ["none", "crash"])
def test_switching_at_every_call_finds_nothing_more_in_a_sequence(faults: str) -> None:
    assert not explored("sequence", faults, every_call=True).findings


def test_each_crash_and_each_lost_answer_of_a_sequence_is_a_schedule_of_its_own() -> None:
    assert explored("sequence", "none").schedules == 1
    assert explored("sequence", "crash").schedules >= 4
    assert explored("sequence", "lost").schedules >= 4


def test_messages_that_say_the_same_stay_two() -> None:
    setup = Setup(STORIES["sequence"]())
    world = World(setup, base_of(setup))
    (start,) = world.queue
    world.enqueue(start.body.replace('"n":"', '"n":"another'), 0.0)
    assert [message.name for message in world.queue] == ["start", "start'"]
    assert len({message.identity for message in world.queue}) == 2
    world.close()


def test_a_worker_that_knows_nothing_makes_its_first_call_when_it_receives_a_message() -> None:
    setup = Setup(STORIES["sequence"]())
    world = World(setup, base_of(setup))
    (deliver,) = world.actions()
    world.take(deliver)
    (go,) = world.actions()
    assert isinstance(go, Go)
    world.close()


@dataclass
class Handling:
    """A delivery as the ledger sees it."""

    body: str
    redelivered: bool = False
    saw_end: bool = False
    label: str = "a message"
    worker_name: str = "a worker"


def rules(ledger: Ledger) -> list[str]:
    return [rule for rule, _ in ledger.broken]


def test_two_messages_may_not_run_a_body_at_once() -> None:
    ledger = Ledger()
    ledger.begin("one", Handling("a"), recorded=False)
    ledger.begin("one", Handling("b", redelivered=True), recorded=False)
    assert rules(ledger) == ["two bodies of one step"]


def test_two_deliveries_of_one_message_that_both_look_like_the_first_are_not_excused() -> None:
    ledger = Ledger()
    ledger.begin("one", Handling("a"), recorded=False)
    ledger.begin("one", Handling("a"), recorded=False)
    assert rules(ledger) == ["two bodies of one step"]


def test_a_redelivery_is_excused() -> None:
    ledger = Ledger()
    ledger.begin("one", Handling("a"), recorded=False)
    ledger.begin("one", Handling("a", redelivered=True), recorded=False)
    assert (rules(ledger), ledger.excused) == ([], 1)


def test_a_body_is_over_when_its_worker_has_crashed() -> None:
    ledger, gone = Ledger(), Handling("a")
    ledger.begin("one", gone, recorded=False)
    ledger.leave(gone)
    ledger.begin("one", Handling("b"), recorded=False)
    assert rules(ledger) == []


def test_no_body_begins_once_its_step_is_recorded_or_the_end_was_seen() -> None:
    ledger = Ledger()
    ledger.begin("one", Handling("a", redelivered=True), recorded=True)
    ledger.begin("two", Handling("a", saw_end=True), recorded=False)
    assert rules(ledger) == [
        "a body begins although its step is recorded",
        "a body begins after its worker saw the run ended",
    ]


def test_the_fingerprint_of_an_unknown_kind_of_object_is_refused() -> None:
    with pytest.raises(TypeError, match=r"fingerprint\.py"):
        Fingerprints().of({"run": object()})
