"""Options of `step.run` among the keyword arguments of the body: they are taken out, and look-alikes are refused.

A body that takes `**kwargs` would swallow a misspelt option in silence. A word that the body declares as a parameter
of its own is the body's; if it is also an option, nobody can know which is meant, and the call is refused.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Final, cast

from milepost._declare.retries import Retries, to_retries
from milepost._values.current import Named
from milepost._values.durations import Duration, open_duration
from milepost.errors import ConfigError

__all__ = ["take_options"]

_OPTIONS: Final = frozenset({"retries", "timeout"})
_RETRIES: Final = "write retries=, a number of retries or Retries(…)"
_TIMEOUT: Final = "write timeout=, the longest time that an attempt may take"
_ONCE: Final = (
    "a step that never runs a second time is not available: retries=0 excludes retries after an error, but after a "
    "crash the step runs again, so give the service that it calls an idempotency key"
)
_MISTAKEN: Final[Mapping[str, str]] = {
    "at_most_once": _ONCE,
    "attempts": _RETRIES,
    "backoff": "write retries=Retries(first_delay=…, factor=…)",
    "max_attempts": _RETRIES,
    "max_retries": _RETRIES,
    "once": _ONCE,
    "retry": _RETRIES,
    "retry_policy": _RETRIES,
    "time_out": _TIMEOUT,
    "timeout_seconds": _TIMEOUT,
    "timeouts": _TIMEOUT,
}
_RESERVED: Final = _OPTIONS | _MISTAKEN.keys()


def take_options(
    name: str, fn: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> tuple[Retries | None, float | None, Mapping[str, object]]:
    """The policy and the time-out in seconds of a step, and what is left for its body. Raises ConfigError."""
    if not kwargs or _RESERVED.isdisjoint(kwargs):
        return None, None, kwargs
    with Named(f"step {name!r}"):
        for word in sorted(_RESERVED & kwargs.keys()):
            _check(word, fn, args)
        given = cast("Retries | int | None", kwargs.get("retries"))  # as in the signature of step.run; checked below
        retries = to_retries(given) if given is not None else None
        longest = cast("Duration | None", kwargs.get("timeout"))
        seconds = None if longest is None else open_duration(longest, "its timeout").total_seconds()
        if seconds is not None and seconds <= 0:
            raise ConfigError(f"its timeout is {longest!r}: omit it, or set a longer time")
    return retries, seconds, {key: value for key, value in kwargs.items() if key not in _OPTIONS}


def _check(word: str, fn: Callable[..., object], args: tuple[object, ...]) -> None:
    """Refuse a word that is not an option, or that may be meant for the body."""
    declared = _declares(word, fn, args)
    if word in _MISTAKEN and not declared:
        raise ConfigError(
            f"{word}= is not an option of step.run: {_MISTAKEN[word]}. "
            f"If it is an argument of the step's code, pass functools.partial(fn, {word}=…)"
        )
    if word in _OPTIONS and declared:
        raise ConfigError(
            f"{word}= is an option of step.run, and the step's code has a parameter of that name: pass "
            f"functools.partial(fn, {word}=…) for the code; then {word}= is the option of the step"
        )


def _declares(word: str, fn: Callable[..., object], args: tuple[object, ...]) -> bool:
    """Whether a keyword argument would fill a parameter that the body declares by name."""
    given: object = fn
    if isinstance(given, functools.partial) and word in given.keywords:
        return False
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return False  # a callable written in C may have no signature
    parameter = signature.parameters.get(word)
    if parameter is None or parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
        return False
    try:
        return word not in signature.bind_partial(*args).arguments
    except TypeError:
        return True
