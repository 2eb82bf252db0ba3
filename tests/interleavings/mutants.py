"""Takes the rules of ownership out of the engine, one at a time: the default suite must find each; see `--help`.

A mutant is a rule, the text in the engine that upholds it, and what the text is replaced by. A copy of the engine with
that one change is tested by the small stories and by the unit tests of claims, beginning with the test that is known to
fail (`shown_by`). The exit status is 1 when all tests pass with a mutant, or when its text is not found any more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .mutant_list import MUTANTS, Mutant

__all__ = ["ROOT", "UNIT_TESTS", "Verdict", "main", "mutated", "node_of", "verdict_on"]

ROOT: Final = Path(__file__).parents[2]
ENGINE: Final = ROOT / "engine"
SMALL_STORIES: Final = "tests/interleavings/test_small_stories.py"
UNIT_TESTS: Final = (
    "tests/engine/test_run_claims.py",
    "tests/engine/test_step_claims.py",
    "tests/engine/test_young_claims.py",
    "tests/engine/test_checkpoint_sessions.py",
    "tests/engine/test_joining.py",
)
PACKAGES: Final = ("sdk", "handlers", "infra", "console")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The test that failed with a mutant; "" when none did."""

    caught_by: str
    seconds: float


def mutated(mutant: Mutant) -> str:
    """The text of the mutant's file with its rule taken out. Raises LookupError when the rule is not found there."""
    text = (ENGINE / "milepost_engine" / mutant.file).read_text()
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.rule!r}: its text is found {text.count(mutant.old)} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


def node_of(name: str) -> str:
    """The id of a test that `shown_by` names: a case of the small stories, such as "race-twice", or a test's own id."""
    return name if "::" in name else f"{SMALL_STORIES}::test_no_schedule_breaks_a_promise[{name}]"


def main() -> int:
    """Run the command."""
    options = _options()
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.rule for word in options.words)]
    survivors = 0
    for mutant in chosen:
        verdict = verdict_on(mutant, first_only=options.first_only)
        survivors += not verdict.caught_by
        _print(f"{'caught' if verdict.caught_by else 'NOT CAUGHT'} in {verdict.seconds:.0f} s: {mutant.rule}")
        if verdict.caught_by:
            _print(f"    by {verdict.caught_by}")
    _print(f"{len(chosen)} mutants, {survivors} not caught")
    return int(survivors > 0 or not chosen)


def verdict_on(mutant: Mutant, *, first_only: bool) -> Verdict:
    """Test a copy of the engine without the mutant's rule."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="milepost-mutant-") as place:
        engine = Path(place, "engine")
        shutil.copytree(ENGINE, engine, ignore=shutil.ignore_patterns("__pycache__"))
        (engine / "milepost_engine" / mutant.file).write_text(mutated(mutant))
        caught = _failing([node_of(mutant.shown_by)], engine) if mutant.shown_by else ""
        if not caught and not first_only:
            caught = _failing([*UNIT_TESTS, SMALL_STORIES], engine)
    return Verdict(caught, time.monotonic() - began)


def _failing(tests: list[str], engine: Path) -> str:
    """The first of these tests that fails over an engine; "" when all pass."""
    path = os.pathsep.join(map(str, (engine, *(ROOT / each for each in PACKAGES))))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=no", "-rfE"]
    command += [*tests]
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    imported = subprocess.run(
        [sys.executable, "-c", "import milepost_engine; print(milepost_engine.__file__)"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    if not Path(imported.stdout.strip()).is_relative_to(engine):
        raise RuntimeError(f"the tests would import {imported.stdout.strip()}, not the copy in {engine}")
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode not in {0, 1}:
        raise RuntimeError(f"the tests could not be run: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    failed = [line.split()[1] for line in ran.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return failed[0] if failed else ""


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.interleavings.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutants whose rule has these words")
    parser.add_argument(
        "--first-only", action="store_true", help="run only the test that is known to fail, not the suite after it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
