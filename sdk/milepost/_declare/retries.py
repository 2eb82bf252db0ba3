"""The retry policy of a function or a step.

The word `attempts` of the wire format counts retries, the first try not included; here that number is `max_retries`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self, cast

from milepost._values.durations import Duration, to_duration
from milepost.errors import BadDurationError, BadRetriesError, CodeError, FinalError, RetryAfterError
from milepost.protocol import MAX_RETRIES

__all__ = ["DEFAULT_RETRIES", "Retries", "to_retries"]


ErrorKinds = type[BaseException] | Sequence[type[BaseException]]
"""An exception class, or several."""


@dataclass(frozen=True, slots=True)
class Retries:
    """How many times a failed step or function is retried, and how long to wait before each retry.

    Args:
        max_retries: Retries after the first attempt, 0–20; default 4, so at most five attempts.
        first_delay: Wait before the first retry; default 15 s if any other delay option is given.
        factor: Each further wait is this many times longer than the one before, 1–100; default 2.
        max_delay: Upper limit of every wait; default 2 h.
        jitter: Share of each wait, 0–1, of which a random part is subtracted; default 0.2.
        on: Exception class, or several, after which a retry follows; after others, none. Default: all. A
            RetryAfterError asks for a retry and needs no place here.
        never: Exception class, or several, after which no retry follows, even if they are also in `on`. Default: none.

    An error that is final in itself, such as NonRetriableError, is never retried. A group of errors is retried if one
    of them is.

    Without any delay option the server's own table applies: 15 s, 30 s, 1 m, 2 m, 5 m … up to 2 h, plus up to 30 s.
    Raises BadRetriesError for values outside these limits, and for the former name of `max_retries`, `attempts`.
    """

    max_retries: int = 4
    first_delay: Duration | None = None
    factor: float | None = None
    max_delay: Duration | None = None
    jitter: float | None = None
    on: ErrorKinds | None = None
    never: ErrorKinds = ()

    def __new__(cls, *_args: object, **options: object) -> Self:
        """Refuse the former name of `max_retries`, which type checkers refuse already."""
        if "attempts" in options:
            raise BadRetriesError(_renamed(options["attempts"]))
        return object.__new__(cls)

    def __post_init__(self) -> None:
        count = cast("object", self.max_retries)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MAX_RETRIES:
            raise BadRetriesError(f"retries are {self.max_retries!r}: give a whole number from 0 to {MAX_RETRIES}")
        object.__setattr__(self, "on", None if self.on is None else _kinds("on", self.on))
        object.__setattr__(self, "never", _kinds("never", self.never))
        _in_range("factor", self.factor, 1, 100)
        _in_range("jitter", self.jitter, 0, 1)
        for name, value in (("first_delay", self.first_delay), ("max_delay", self.max_delay)):
            try:
                if value is not None:
                    to_duration(value, f"Retries({name}=…)")
            except BadDurationError as error:
                raise BadRetriesError(str(error)) from None

    def allows(self, error: BaseException) -> bool:
        """Whether `on` and `never` allow a retry after an error."""
        if isinstance(error, cast("tuple[type[BaseException], ...]", self.never)):
            return False
        listed = cast("tuple[type[BaseException], ...] | None", self.on)
        return listed is None or isinstance(error, (*listed, RetryAfterError))

    @property
    def max_attempts(self) -> int:
        """Attempts in all, the first one included."""
        return self.max_retries + 1

    def to_wire(self) -> dict[str, object]:
        """`{"attempts": max_retries, "backoff": {first_delay, factor, max_delay, jitter}}`, delays in seconds."""
        options = (self.first_delay, self.factor, self.max_delay, self.jitter)
        if all(option is None for option in options):
            return {"attempts": self.max_retries}
        backoff = {
            "first_delay": _seconds(self.first_delay, 15),
            "factor": 2.0 if self.factor is None else float(self.factor),
            "max_delay": _seconds(self.max_delay, 7200),
            "jitter": 0.2 if self.jitter is None else float(self.jitter),
        }
        return {"attempts": self.max_retries, "backoff": backoff}


def _kinds(option: str, given: object) -> tuple[type[BaseException], ...]:
    """One exception class or several as a tuple. Raises BadRetriesError for what is none, or is final in itself."""
    listed: tuple[object, ...] = tuple(cast("Sequence[object]", given)) if isinstance(given, Sequence) else (given,)
    for kind in listed:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise BadRetriesError(
                f"Retries({option}=…) has {kind!r}, which is not an exception class: write for example "
                f"Retries({option}=ConnectionError), or several in a tuple"
            )
        if option == "on" and issubclass(kind, FinalError | CodeError):
            raise BadRetriesError(
                f"Retries(on=…) has {kind.__name__}, which is never retried: remove it, or raise another exception"
            )
    if option == "on" and not listed:
        raise BadRetriesError("Retries(on=()) retries nothing: write max_retries=0")
    return cast("tuple[type[BaseException], ...]", listed)


def _renamed(attempts: object) -> str:
    if isinstance(attempts, int):
        return (
            f"Retries(attempts={attempts}) made {attempts + 1} attempts, because it counted the retries: "
            f"write Retries(max_retries={attempts})"
        )
    return f"Retries(attempts={attempts!r}) has a new name: write max_retries=, the number of retries"


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
