"""The run and step whose code is running in this context, and errors that name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Protocol

from milepost.errors import CodeError, ConfigError, EventMismatchError

__all__ = ["Named", "after_step", "check_text", "here", "in_body", "in_run", "nearest"]


class CurrentCall(Protocol):
    """The call that an invocation serves."""

    @property
    def function_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def attempt(self) -> int: ...

    @property
    def chain(self) -> int: ...


class CurrentRun(Protocol):
    """The invocation whose code is running."""

    @property
    def call(self) -> CurrentCall: ...

    @property
    def attempt(self) -> int:
        """The attempt of the step that is running, from 0."""
        ...


class NamedCall(Protocol):
    @property
    def name(self) -> str: ...


class CurrentStep(Protocol):
    """The step whose body is running."""

    @property
    def id(self) -> str: ...

    @property
    def call(self) -> NamedCall: ...


in_run: Final[ContextVar[CurrentRun | None]] = ContextVar("milepost_run", default=None)
"""The invocation whose code is running in this context."""

in_body: Final[ContextVar[CurrentStep | None]] = ContextVar("milepost_step", default=None)
"""The step whose body is running in this context."""

after_step: Final[ContextVar[tuple[str, str] | None]] = ContextVar("milepost_after", default=None)
"""Name and id of the step that the code in this context, a branch of the function, has got last."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def here() -> str:
    """The step, function and run of this context, to follow a noun in an error; empty outside of runs."""
    invocation, step = in_run.get(), in_body.get()
    if invocation is None:
        return ""
    within = f" in step {step.call.name!r}" if step is not None else ""
    return f"{within} of function {invocation.call.function_id!r}, run {invocation.call.run_id}"


def nearest(words: Iterable[str], known: Sequence[str]) -> str:
    """The known words that misspelt ones are closest to, to follow them in an error; empty if none is close."""
    import difflib  # noqa: PLC0415 - needed only for errors

    found = [close[0] for word in words if (close := difflib.get_close_matches(word, known, 1, 0.6))]
    return f" (did you mean {', '.join(found)}?)" if found else ""


class Named:
    """Prefixes errors raised inside the block with `what` and, in a run, with its place: `with Named("sleep 'nap'"):`.

    Applies to CodeError and EventMismatchError; other errors pass unchanged.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, CodeError | EventMismatchError):
            raise type(error)(f"{self._what}{here()}: {error}") from None


def check_text(value: object, what: str, refusal: type[ConfigError] = ConfigError) -> str:
    """Refuse a value that is not a string, or a string that cannot be sent or stored. `what` names it in the error."""
    if not isinstance(value, str):
        raise refusal(f"{what} is {value!r}, of type {type(value).__name__}: pass a string")
    if "\0" in value:
        raise refusal(f"{what} {value!r} contains a NUL character: remove it")
    if not value.isascii() and _SURROGATE.search(value):
        raise refusal(f"{what} {value!r} contains a lone surrogate, which JSON cannot represent: remove it")
    return value
