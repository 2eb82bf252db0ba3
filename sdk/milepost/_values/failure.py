"""Errors as they are reported: name, message, stack, data and cause, bounded in size."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, cast

from pydantic_core import to_json, to_jsonable_python

from milepost.errors import CodeError, FinalError, MilepostError, RetryAfterError, StepError
from milepost.protocol import nests_deeper

__all__ = ["Failure", "is_final", "leaves", "read_failure", "retry_after_of"]

Allows = Callable[[BaseException], bool]

_HERE: Final = str(Path(__file__).parents[1])
_MAX_MESSAGE_CHARS: Final = 32_000
_MAX_STACK_CHARS: Final = 16_000
_MAX_CAUSES: Final = 5


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it is reported to the server.

    Attributes:
        name: Class name of the error.
        message: Its text, shortened to 32,000 characters.
        stack: Its traceback as text, shortened to 16,000 characters; empty for causes.
        code: The stable code of a MilepostError, else None.
        data: Its attribute `data` as a JSON value, if it has one that can be written as JSON.
        cause: The error it was raised from; at most 5 levels.
        no_retry: The error is final: a retry cannot help.
    """

    name: str
    message: str
    stack: str = ""
    code: str | None = None
    data: object = None
    cause: Failure | None = None
    no_retry: bool = False

    @classmethod
    def of(cls, error: BaseException, allows: Allows | None = None) -> Failure:
        """Describe an error; a StepError is described as the original error that the step raised."""
        return _describe(_representative(error), no_retry=is_final(error, allows), depth=0)

    def to_wire(self) -> dict[str, object]:
        """The JSON object; keys without a value are left out."""
        wire: dict[str, object] = {"name": self.name, "message": self.message, "stack": self.stack}
        if self.code is not None:
            wire["code"] = self.code
        if self.data is not None:
            wire["data"] = self.data
        if self.cause is not None:
            wire["cause"] = self.cause.to_wire()
        if self.no_retry:
            wire["noRetry"] = True
        return wire


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside nested groups (a TaskGroup raises groups), or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from leaves(inner)
    else:
        yield error


def is_final(error: BaseException, allows: Allows | None = None) -> bool:
    """Whether no retry is to follow. A group is final only if every error in it is.

    `allows` is the policy's part: whether it allows a retry after an error that is not final in itself.
    """
    return all(
        isinstance(leaf, FinalError | CodeError) or not (allows is None or allows(leaf)) for leaf in leaves(error)
    )


def retry_after_of(error: BaseException) -> RetryAfterError | None:
    """The RetryAfterError, alone or in a group; None if there is none."""
    return next((leaf for leaf in leaves(error) if isinstance(leaf, RetryAfterError)), None)


def _representative(error: BaseException) -> BaseException:
    """The error that a group is reported as: its only one, or the first if all are final, else the group."""
    found = list(leaves(error))
    return found[0] if len(found) == 1 or is_final(error) else error


def _describe(error: BaseException, *, no_retry: bool, depth: int) -> Failure:
    if isinstance(error, StepError):
        cause = error.cause
        return Failure(
            error.name, _clip(error.message, _MAX_MESSAGE_CHARS), error.stack, error.code, error.data,
            _describe(cause, no_retry=False, depth=depth + 1) if cause is not None and depth < _MAX_CAUSES else None,
            no_retry,
        )  # fmt: skip
    raised_from = error.__cause__
    return Failure(
        name=type(error).__name__,
        message=_clip(_text(error), _MAX_MESSAGE_CHARS),
        stack=_stack(error) if depth == 0 else "",
        code=error.code if isinstance(error, MilepostError) else None,
        data=_jsonable(_attribute(error, "data")),
        cause=_describe(raised_from, no_retry=False, depth=depth + 1) if raised_from and depth < _MAX_CAUSES else None,
        no_retry=no_retry,
    )


def _attribute(error: BaseException, name: str) -> object:
    """An attribute of an error; None if it has none, or reading it fails."""
    try:
        return cast("object", getattr(error, name, None))
    except Exception:  # noqa: BLE001 - user classes may do anything
        return None


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - user classes may do anything
        return f"<str() of this {type(error).__name__} failed: {type(broken).__name__}>"
    if isinstance(error, StopIteration) or (type(error) is RuntimeError and isinstance(error.__cause__, StopIteration)):
        # In a coroutine Python makes a RuntimeError of it, whose text says nothing of next().
        return f"{text or 'StopIteration'}: next() found nothing in an iterator. Write next(iterator, default)"
    return text


def _jsonable(data: object) -> object:
    if data is None:
        return None
    try:
        plain = cast("object", to_jsonable_python(data, inf_nan_mode="null"))
        return None if nests_deeper(to_json(plain)) else plain
    except Exception:  # noqa: BLE001 - user classes may do anything
        return None


def _stack(error: BaseException) -> str:
    """The traceback, starting at the first frame of the user's code."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_HERE):
        frames = frames.tb_next
    shown = frames or error.__traceback__
    try:
        lines = traceback.format_exception(type(error), error, shown)
    except Exception:  # noqa: BLE001 - it reads attributes of the error
        lines = ["Traceback (most recent call last):\n", *traceback.format_tb(shown), f"{type(error).__name__}\n"]
    return _clip("".join(lines), _MAX_STACK_CHARS)


def _clip(text: str, limit: int) -> str:
    """Keep both ends: the last lines of a traceback matter most."""
    # Lone surrogates cannot be written as UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - limit} characters left out …\n{text[-half:]}"


def read_failure(wire: Mapping[str, object]) -> StepError:
    """The error to raise for a remembered failure."""
    cause = wire.get("cause")
    return StepError(
        str(wire.get("message") or ""),
        name=str(wire.get("name") or "Error"),
        stack=str(wire.get("stack") or ""),
        data=wire.get("data"),
        cause=read_failure(cast("Mapping[str, object]", cause)) if isinstance(cause, Mapping) else None,
    )
