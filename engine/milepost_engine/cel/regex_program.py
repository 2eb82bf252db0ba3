"""Compiles parsed patterns to programs with a few kinds of instruction.

Law: a program has at most 2000 instructions, counted while bounded repeats are unrolled.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .errors import ExpressionError
from .regex_syntax import (
    Assertion,
    At,
    CharSet,
    Either,
    Many,
    One,
    Part,
    Sequence,
    read_pattern,
    shown,
)

__all__ = ["Instruction", "assemble"]

MAX_INSTRUCTIONS: Final = 2_000


class Instruction(NamedTuple):
    """One state: consume a character of `chars`, assert, or only continue; `after` are the states that follow.

    Without `after` the pattern has matched.
    """

    after: tuple[int, ...]
    chars: CharSet | None = None
    assertion: Assertion | None = None


def assemble(pattern: str) -> tuple[Instruction, ...]:
    """The program of a pattern; it starts at the last instruction. Raises ExpressionError with the reason."""
    program: list[Instruction] = [Instruction(())]
    start = _emit(read_pattern(pattern), 0, program, pattern)
    program.append(Instruction((start,)))
    return tuple(program)


def _emit(part: Part, after: int, program: list[Instruction], pattern: str) -> int:
    """Append the states of `part`, which continue to the state `after`; returns the state to enter."""
    match part:
        case One(chars=chars):
            return _append(Instruction((after,), chars=chars), program, pattern)
        case At(assertion=assertion):
            return _append(Instruction((after,), assertion=assertion), program, pattern)
        case Sequence(parts=parts):
            for one in reversed(parts):
                after = _emit(one, after, program, pattern)
            return after
        case Either(parts=parts):
            return _append(Instruction(tuple(_emit(one, after, program, pattern) for one in parts)), program, pattern)
        case Many():
            return _emit_many(part, after, program, pattern)


def _emit_many(many: Many, after: int, program: list[Instruction], pattern: str) -> int:
    if many.most is None:
        # The loop's state is appended first, because the body must know where to return to.
        loop = _append(Instruction((after,)), program, pattern)
        program[loop] = Instruction((_emit(many.part, loop, program, pattern), after))
        after = loop
    else:
        end = after
        for _ in range(many.most - many.fewest):
            body = _emit(many.part, after, program, pattern)
            after = _append(Instruction((body, end)), program, pattern)
    for _ in range(many.fewest):
        after = _emit(many.part, after, program, pattern)
    return after


def _append(instruction: Instruction, program: list[Instruction], pattern: str) -> int:
    if len(program) >= MAX_INSTRUCTIONS:
        raise ExpressionError(f"the regular expression {shown(pattern)} is too large; use smaller {{m,n}} repeats")
    program.append(instruction)
    return len(program) - 1
