"""What follows from a run's records is the same whether they are read at once or added one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from milepost.protocol import DISCOVERY, Opcode
from milepost_engine.core.records import ClosedStep, FailedAttempt, OpenOp, Plan, StepStatus
from milepost_engine.core.view import Unseen, View

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DERIVED = ("order", "seen", "unseen_kinds", "open", "in_flight", "discovered", "stored_bytes", "latest_due", "planned")


def closed(step_id: str, seq: int, *, job: str = f"{DISCOVERY}#0", second: int = 0, vanished: bool = False):
    status = StepStatus.VANISHED if vanished else StepStatus.COMPLETED
    moment = NOW + timedelta(seconds=second)
    return ClosedStep(step_id, Opcode.STEP_RUN, step_id, status, b'{"data":1}', seq, job, 0, moment, moment)


def planned(step_id: str, kind: Opcode = Opcode.STEP_PLANNED, *, races: bool = False) -> OpenOp:
    due_at = None if kind is Opcode.STEP_PLANNED else NOW + timedelta(minutes=len(step_id))
    return OpenOp(step_id, kind, step_id, due_at, {"parallelMode": "race"} if races else {})


@st.composite
def histories(draw: st.DrawFn) -> list[ClosedStep | Plan | FailedAttempt]:
    """Records as several workers may write them: what a job had seen may be older than what is stored."""
    view, records = View(), []
    for number in range(draw(st.integers(0, 12))):
        match draw(st.sampled_from(["discovery", "plan", "close", "fail"])):
            case "discovery":
                seq = draw(st.integers(max(0, len(view.order) - 2), len(view.order))) + 1
                record = closed(f"s{number}", seq, second=draw(st.integers(0, 3)))
            case "plan":
                kinds = draw(st.lists(st.sampled_from([Opcode.STEP_PLANNED, Opcode.SLEEP]), max_size=3))
                ops = tuple(planned(f"p{number}.{n}", kind, races=draw(st.booleans())) for n, kind in enumerate(kinds))
                seen = view.order[: draw(st.integers(view.seen, len(view.order)))]
                record = Plan(len(view.plans), f"{DISCOVERY}#{number}", seen, ops, NOW)
            case "close" if view.open:
                step_id = draw(st.sampled_from(sorted(view.open)))
                seq = draw(st.integers(0, len(view.order))) + 1
                gone = draw(st.booleans()) and draw(st.booleans())
                record = closed(step_id, seq, job=step_id, second=draw(st.integers(0, 3)), vanished=gone)
            case _:
                due = NOW + timedelta(seconds=number)
                tries = len(view.failures.get("job", ()))
                record = FailedAttempt("job", tries, "", "", {}, NOW, NOW, due)
        records.append(record)
        view = view.after(record)
    return records


@given(histories(), st.randoms())
def test_a_view_that_grew_equals_one_that_was_read(records, random_source):
    grown = View()
    for record in records:
        grown = grown.after(record)
    read = list(records)
    random_source.shuffle(read)
    read.sort(key=lambda record: (record.turn if isinstance(record, Plan) else 0, getattr(record, "attempt", 0)))
    assert View.of(read) == grown
    for name in DERIVED:
        assert getattr(View.of(read), name) == getattr(grown, name), name


@given(histories())
def test_a_later_order_begins_with_what_a_plan_was_decided_on(records):
    view = View()
    for record in records:
        view = view.after(record)
        if view.plans:
            fixed = view.plans[-1].order
            assert view.order[: len(fixed)] == fixed


@given(histories())
def test_a_new_record_leaves_the_view_before_it_as_it_was(records):
    view = View()
    for place, record in enumerate(records):
        before = {name: getattr(view, name) for name in DERIVED}
        copies = {name: value.copy() if isinstance(value, dict) else value for name, value in before.items()}
        later = view.after(record)
        assert {name: getattr(view, name) for name in DERIVED} == copies
        assert view == View.of(records[:place])
        view = later


def test_a_finished_parallel_step_waits_for_its_siblings_unless_it_races():
    for races in (False, True):
        view = View.of([Plan(0, f"{DISCOVERY}#0", (), (planned("a", races=races), planned("b")), NOW)])
        assert view.after(closed("a", 1, job="a")).unseen_kinds == {Unseen.RACING if races else Unseen.PARALLEL}


def test_a_finished_sleep_causes_a_discovery_at_once():
    view = View.of([Plan(0, f"{DISCOVERY}#0", (), (planned("nap", Opcode.SLEEP), planned("b")), NOW)])
    assert view.after(closed("nap", 1, job="nap")).unseen_kinds == {Unseen.AWAITED}


def test_a_vanished_step_is_closed_but_not_in_the_order():
    view = View.of([Plan(0, f"{DISCOVERY}#0", (), (planned("a"),), NOW)]).after(closed("a", 1, job="a", vanished=True))
    assert "a" in view.closed
    assert view.order == ()
    assert view.in_flight == 0


def test_a_step_placed_before_what_was_seen_makes_the_step_it_displaces_unseen():
    """A slow worker's branch sorts first; the branch that a discovery had seen in its place is to be seen once more."""
    plan = Plan(0, f"{DISCOVERY}#0", (), (planned("a"), planned("b"), planned("nap", Opcode.SLEEP)), NOW)
    view = View.of([plan]).after(closed("a", 1, job="a", second=2)).after(closed("new", 2, second=3))
    assert (view.order, view.seen, view.unseen_kinds) == (("a", "new"), 1, frozenset({Unseen.RAN}))
    view = view.after(closed("nap", 1, job="nap", second=1))
    assert (view.order, view.seen) == (("nap", "a", "new"), 1)
    assert view.unseen_kinds == {Unseen.PARALLEL, Unseen.RAN}
