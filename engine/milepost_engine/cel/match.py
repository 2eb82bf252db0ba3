"""Whether a trigger, wait or cancellation condition holds.

Law: only the value `true` is a match; any other value or an error is no match, and the reason is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ExpressionError
from .evaluation import evaluate
from .values import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .tree import Expression

__all__ = ["MatchResult", "explain", "matches"]


@dataclass(frozen=True, slots=True)
class MatchResult:
    """The result of a condition: a match, no match, or no match because of a problem described in a sentence."""

    matched: bool
    problem: str | None = None


def matches(expression: Expression, variables: Mapping[str, object], now: datetime) -> bool:
    """Whether the condition is literally true; errors are no match. Never raises."""
    return explain(expression, variables, now).matched


def explain(expression: Expression, variables: Mapping[str, object], now: datetime) -> MatchResult:
    """Like `matches`, with the reason when the condition could not be decided. Never raises."""
    try:
        value = evaluate(expression, variables, now=now)
    except ExpressionError as error:
        return MatchResult(matched=False, problem=str(error))
    if isinstance(value, bool):
        return MatchResult(matched=value)
    return MatchResult(
        matched=False,
        problem=f"the condition is {kind_of(value)}, not true or false; compare it, for example with ==",
    )
