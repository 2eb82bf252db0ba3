"""The rules that are taken out on purpose: each is still found in the engine, and so is the test that shows it."""

import re
from dataclasses import replace

import pytest

from .mutant_list import MUTANTS, Mutant
from .mutants import ROOT, UNIT_TESTS, mutated, node_of, verdict_on
from .test_small_stories import CASES

_CASE = re.compile(r"(?P<file>[^:]+)::(?P<test>\w+)(\[(?P<case>.+)\])?")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_each_rule_is_found_in_the_engine_and_can_be_taken_out(mutant: Mutant) -> None:
    compile(mutated(mutant), mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_each_rule_names_a_test_of_the_default_suite_that_shows_it(mutant: Mutant) -> None:
    assert mutant.shown_by
    found = _CASE.fullmatch(node_of(mutant.shown_by))
    assert found is not None
    assert f"def {found['test']}(" in (ROOT / found["file"]).read_text()
    if "::" in mutant.shown_by:
        assert found["file"] in UNIT_TESTS
    else:
        assert tuple(mutant.shown_by.rsplit("-", 1)) in CASES


def test_no_rule_is_listed_twice() -> None:
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS)


def test_a_rule_that_is_not_found_is_an_error() -> None:
    with pytest.raises(LookupError, match="found 0 times"):
        mutated(replace(MUTANTS[0], old="what nobody ever wrote"))


def test_the_suite_fails_when_a_rule_is_taken_out_and_passes_when_nothing_is() -> None:
    """Two of the cheapest runs of the program, which takes minutes for all rules."""
    mutant = next(mutant for mutant in MUTANTS if mutant.rule == "a call that is withdrawn stays so")
    assert verdict_on(mutant, first_only=True).caught_by == mutant.shown_by
    assert verdict_on(replace(mutant, new=mutant.old), first_only=True).caught_by == ""
