"""Explores stories from the command line; see `--help`. The exit status is 1 when a promise was broken."""

from __future__ import annotations

import argparse
import sys

from .explore import Explored, Limits, explore, words_of
from .setting import FAULTS, Setup
from .stories import STORIES

_SIMPLE = ("none", "twice", "again", "crash", "lost", "late", "torn")


def main() -> int:
    """Run the command."""
    options = _options()
    broken = 0
    for name in options.stories or STORIES:
        for kind in _SIMPLE if options.all_faults else (options.faults,):
            setup = Setup(STORIES[name](), FAULTS[kind], options.workers, options.every_call)
            found = explore(setup, Limits(options.preemptions, options.seconds))
            broken += len(found.findings)
            _print(str(found))
            _report(found, words=options.words, every=options.all_words)
    return int(bool(broken))


def _report(found: Explored, *, words: bool, every: bool) -> None:
    for place, (finding, level, choices) in enumerate(found.shortest):
        _print(f"  ! {finding} [{level} pre-emptions, {len(choices)} decisions]")
        if every or (words and place == 0):
            _print("\n".join("      " + line for line in words_of(found.setup, choices)))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.interleavings", description=__doc__)
    parser.add_argument("stories", nargs="*", metavar="STORY", help=f"all by default; of {', '.join(STORIES)}")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--faults", choices=FAULTS, default="none")
    parser.add_argument("--all-faults", action="store_true", help=f"one after the other: {', '.join(_SIMPLE)}")
    parser.add_argument("--preemptions", type=int, default=3, help="at most so many in one schedule (default: 3)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time for each case (default: 60)")
    parser.add_argument("--every-call", action="store_true", help="switch threads at each call of a port")
    parser.add_argument("--words", action="store_true", help="print the shortest failing schedule in words")
    parser.add_argument("--all-words", action="store_true", help="print the shortest schedule of each finding in words")
    options = parser.parse_args()
    unknown = set(options.stories) - set(STORIES)
    if unknown:
        parser.error(f"there is no story {', '.join(sorted(unknown))}; there are {', '.join(STORIES)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
