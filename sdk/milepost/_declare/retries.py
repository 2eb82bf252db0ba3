"""The retry policy of a function or a step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

from milepost._values.durations import Duration, to_duration
from milepost.errors import BadDurationError, BadRetriesError
from milepost.protocol import MAX_RETRIES

__all__ = ["DEFAULT_RETRIES", "Retries", "to_retries"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often something that failed is tried again, and after what delays.

    Args:
        attempts: Tries after the first one, 0–20; 4 unless said otherwise (so five tries in all).
        first_delay: Wait before the first retry; 15 s when any other delay option is given.
        factor: Each further wait is this much longer than the one before, 1–100; 2 by default.
        max_delay: No wait is longer; 2 h by default.
        jitter: Share of each wait, 0–1, that may be taken off at random; 0.2 by default.

    With no delay option the server's own table holds: 15 s, 30 s, 1 m, 2 m, 5 m … up to 2 h, plus up to 30 s.
    Raises BadRetriesError for values outside these limits.
    """

    attempts: int = 4
    first_delay: Duration | None = None
    factor: float | None = None
    max_delay: Duration | None = None
    jitter: float | None = None

    def __post_init__(self) -> None:
        count = cast("object", self.attempts)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_RETRIES:
            raise BadRetriesError(f"retries are {self.attempts!r}: give a whole number from 0 to {MAX_RETRIES}")
        _in_range("factor", self.factor, 1, 100)
        _in_range("jitter", self.jitter, 0, 1)
        for name in ("first_delay", "max_delay"):
            value: Duration | None = getattr(self, name)
            try:
                if value is not None:
                    to_duration(value, f"Retries({name}=…)")
            except BadDurationError as error:
                raise BadRetriesError(str(error)) from None

    @property
    def max_attempts(self) -> int:
        """Tries in all, the first one included."""
        return self.attempts + 1

    def to_wire(self) -> dict[str, object]:
        """`{"attempts": retries, "backoff": {first_delay, factor, max_delay, jitter}}`, delays in seconds."""
        options = (self.first_delay, self.factor, self.max_delay, self.jitter)
        if all(option is None for option in options):
            return {"attempts": self.attempts}
        backoff = {
            "first_delay": _seconds(self.first_delay, 15),
            "factor": 2.0 if self.factor is None else float(self.factor),
            "max_delay": _seconds(self.max_delay, 7200),
            "jitter": 0.2 if self.jitter is None else float(self.jitter),
        }
        return {"attempts": self.attempts, "backoff": backoff}


def _in_range(name: str, value: object, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value) or not low <= value <= high:
        raise BadRetriesError(f"Retries({name}={value!r}): give a number from {low} to {high}")


def _seconds(value: Duration | None, default: float) -> float:
    return float(default) if value is None else to_duration(value, "delay") / timedelta(seconds=1)


DEFAULT_RETRIES = Retries()


def to_retries(value: Retries | int) -> Retries:
    """A policy from what users write: a number is that many retries."""
    return value if isinstance(value, Retries) else Retries(value)
