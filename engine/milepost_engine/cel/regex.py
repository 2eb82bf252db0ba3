"""Regular expressions in linear time: whether a pattern occurs anywhere in a text.

Laws: the time is at most proportional to pattern × text, whatever the pattern, because all states advance together, one
character at a time (Thompson's simulation). Sets of states are cached (a lazy automaton), so common texts cost one
look-up per character; every character that is not in the cache is charged as work.

Why not `re`: it backtracks, and one hostile pattern of ten characters blocks a process for hours.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from .regex_program import Instruction, assemble
from .regex_syntax import Assertion

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Regex", "compile_regex"]

_MATCH: Final = 0
"""The state without followers; `assemble` puts it first."""
_MAX_REMEMBERED: Final = 20_000
"""States in cached sets plus cached moves before the cache is cleared: about 2 MB per pattern."""
_WORD: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


@lru_cache(maxsize=256)
def compile_regex(pattern: str) -> Regex:
    r"""The regex of an RE2 pattern; the last 256 are cached. Raises ExpressionError with the reason.

    At most 1000 characters and 2000 states. `$` is the end of the text (as in RE2, not before a last newline),
    and `\d \w \s \b` match ASCII only.
    """
    return Regex(assemble(pattern))


class Neighbour(StrEnum):
    """What is on one side of a position between two characters."""

    EDGE = "edge"
    NEWLINE = "newline"
    WORD = "word"
    OTHER = "other"


class _Set:
    """States before a character, and where each character met so far leads (None: the pattern matched)."""

    __slots__ = ("before", "moves", "states")

    def __init__(self, states: frozenset[int], before: Neighbour) -> None:
        self.states = states
        self.before = before
        self.moves: dict[str, _Set | None] = {}


class Regex:
    """A pattern ready to search with."""

    def __init__(self, program: tuple[Instruction, ...]) -> None:
        self._program = program
        self._start = len(program) - 1
        self._sets: dict[tuple[frozenset[int], Neighbour], _Set] = {}
        self._remembered = 0

    def search(self, text: str, spend: Callable[[int], None] | None = None) -> bool:
        """Whether the pattern occurs in the text. `spend` is called with the work done and may raise to stop it."""
        pay = spend or _free
        pay(len(text) >> 4)
        here = self._set(frozenset({self._start}), Neighbour.EDGE)
        for character in text:
            try:
                there = here.moves[character]
            except KeyError:
                there = self._move(here, character, pay)
            if there is None:
                return True
            here = there
        return self._follow(here, Neighbour.EDGE, pay) is None

    def _move(self, here: _Set, character: str, pay: Callable[[int], None]) -> _Set | None:
        after = _place_of(character)
        reached = self._follow(here, after, pay)
        there: _Set | None = None
        if reached is not None:
            program = self._program
            eaten = (program[state] for state in reached)
            followers = {one.after[0] for one in eaten if one.chars is not None and one.chars.holds(character)}
            # A match may start at every character: the start is part of every set.
            there = self._set(frozenset({self._start, *followers}), after)
        here.moves[character] = there
        self._remembered += 1
        return there

    def _follow(self, here: _Set, after: Neighbour, pay: Callable[[int], None]) -> list[int] | None:
        """The consuming states reached without input between `here.before` and `after`; None for a match."""
        program = self._program
        seen = set(here.states)
        todo = list(here.states)
        eating: list[int] = []
        while todo:
            state = todo.pop()
            if state == _MATCH:
                return None
            instruction = program[state]
            if instruction.chars is not None:
                eating.append(state)
            elif instruction.assertion is None or _holds(instruction.assertion, here.before, after):
                fresh = [one for one in instruction.after if one not in seen]
                seen.update(fresh)
                todo.extend(fresh)
        pay(1 + len(seen) // 2)
        return eating

    def _set(self, states: frozenset[int], before: Neighbour) -> _Set:
        found = self._sets.get((states, before))
        if found is None:
            if self._remembered > _MAX_REMEMBERED:
                self._sets.clear()
                self._remembered = 0
            found = self._sets[states, before] = _Set(states, before)
            self._remembered += len(states)
        return found


def _place_of(character: str) -> Neighbour:
    if character in _WORD:
        return Neighbour.WORD
    return Neighbour.NEWLINE if character == "\n" else Neighbour.OTHER


def _holds(assertion: Assertion, before: Neighbour, after: Neighbour) -> bool:
    match assertion:
        case Assertion.TEXT_BEGINS:
            return before is Neighbour.EDGE
        case Assertion.TEXT_ENDS:
            return after is Neighbour.EDGE
        case Assertion.LINE_BEGINS:
            return before in {Neighbour.EDGE, Neighbour.NEWLINE}
        case Assertion.LINE_ENDS:
            return after in {Neighbour.EDGE, Neighbour.NEWLINE}
        case Assertion.WORD_EDGE:
            return (before is Neighbour.WORD) is not (after is Neighbour.WORD)
        case Assertion.NOT_WORD_EDGE:
            return (before is Neighbour.WORD) is (after is Neighbour.WORD)


def _free(_steps: int) -> None:
    """Work is not counted."""
