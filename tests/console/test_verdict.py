"""The verdict on a ledger finds each kind of fault, and accepts what a kill explains."""

from __future__ import annotations

from typing import Any

import pytest

from .verdict import Verdict, judge

Row = dict[str, Any]


def row(what: str, at: float, value: str, *, pid: int = 7, earlier: tuple[str, ...] = ()) -> Row:
    step = value.split(":", maxsplit=1)[0]
    made: Row = {"what": what, "at": at, "run": "r", "step": step, "value": value, "pid": pid, "server": 1}
    return made | {"earlier": list(earlier)}


def kill(pid: int, at: float) -> Row:
    return {"what": "kill", "kind": "code", "killed": pid, "at": at}


A1 = [row("begun", 1, "a:1"), row("ended", 2, "a:1")]
B = [row("begun", 3, "b:1", earlier=("a:1",)), row("ended", 4, "b:1")]


def verdict(*rows: Row, output: list[str] | None = None) -> Verdict:
    return judge(rows, {"r": output})


def test_a_straight_run_has_no_fault():
    found = verdict(*A1, *B, output=["a:1", "b:1"])
    assert (found.faults(), found.bodies, found.repeated) == ([], 2, 0)


def test_a_body_that_begins_after_its_result_was_recorded_is_found_in_spite_of_a_kill():
    found = verdict(*A1, *B, kill(7, 5), row("begun", 6, "a:2", pid=8))
    assert [fault[:4] for fault in found.doubled] == ["r a:"]


def test_a_body_that_runs_again_without_a_reason_is_found_even_if_nothing_was_recorded():
    assert verdict(*A1, row("begun", 3, "a:2")).doubled


@pytest.mark.parametrize("killed", [7, 1])
def test_a_body_that_a_kill_of_its_process_or_server_cut_off_may_run_again(killed: int):
    found = verdict(A1[0], kill(killed, 1.5), row("begun", 3, "a:2", pid=8), row("ended", 4, "a:2", pid=8))
    assert (found.faults(), found.repeated) == ([], 1)


def test_the_kill_of_another_process_is_no_reason():
    assert verdict(*A1, kill(9, 2.5), row("begun", 3, "a:2", pid=8)).doubled


def test_a_body_that_failed_may_run_again():
    assert verdict(A1[0], row("failed", 2, "a:1"), row("begun", 3, "a:2")).faults() == []


def test_two_bodies_side_by_side_are_found():
    assert verdict(A1[0], row("begun", 1.5, "a:2", pid=8), A1[1]).side_by_side


def test_a_stop_is_no_reason():
    stop = {"what": "stop", "kind": "stopped code", "killed": 7, "at": 1.2}
    assert verdict(A1[0], stop, row("begun", 1.5, "a:2", pid=8), A1[1]).side_by_side


def test_two_values_of_one_step_are_found():
    again = [kill(7, 2.5), row("begun", 2.7, "a:2", pid=8), row("ended", 2.8, "a:2", pid=8)]
    assert verdict(*A1, *again, *B, output=["a:2", "b:1"]).underived


def test_a_value_that_no_body_returned_is_found():
    assert verdict(*A1, output=["a:9"]).underived
    assert verdict(A1[0], row("failed", 2, "a:1"), output=["a:1"]).underived
