"""What a test harness decides about the steps of an invocation, and what it learns about where the code is.

A replaced step is a step like any other: it is planned, retried, recorded and replayed; only its body is another. A
replaced invoke becomes such a step too, so that no function is started for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pydantic_core import to_json

from milepost._declare.retries import Retries
from milepost._values.serializer import plain_json, unpack
from milepost.protocol import Opcode

if TYPE_CHECKING:
    from milepost._values.serializer import Adapter

    from .calls import StepCall

__all__ = ["Rehearsal", "Replacement", "replaced"]

_REPLACEABLE: Final = frozenset({Opcode.STEP_RUN, Opcode.INVOKE_FUNCTION})


class Replacement(NamedTuple):
    """What a step gets instead of running its body: a JSON value, or an error after which it is not retried.

    Attributes:
        result: A plain JSON value; `Replacement.by` makes one of a model or a dataclass.
        error: Raised in place of the body; default None.
    """

    result: object = None
    error: Exception | None = None

    @classmethod
    def by(cls, result: object, what: str) -> Replacement:
        """A replacement by any result that a step may return. Raises NotSerializableError, which names `what`."""
        return cls(plain_json(result, what))


class Rehearsal(Protocol):
    """A test harness, as one invocation sees it. Called on the thread, and in the task, that runs the code."""

    def replacement(self, name: str, index: int, kind: Opcode) -> Replacement | None:
        """What replaces the `index`-th use (from 0) of a step's id; asked for each step that has no result yet.

        `kind` is the opcode that the step reports. Only steps that run code, and invokes, can be replaced.
        """
        ...

    def began(self, step: str | None) -> None:
        """The body of a step begins; None: the function itself."""
        ...

    def ended(self, step: str) -> None:
        """The body of a step has ended."""
        ...


def replaced(call: StepCall, index: int, rehearsal: Rehearsal) -> StepCall:
    """The step call with its replacement as its body, or as it is."""
    found = rehearsal.replacement(call.name, index, call.opcode)
    if found is None or call.opcode not in _REPLACEABLE:
        return call
    body = partial(_read, found.result, call.adapter, f"the replacement of step {call.name!r}")
    retries = call.retries
    if found.error is not None:
        body, retries = partial(_fail, found.error), Retries(max_retries=0)
    call = call._replace(body=body, args=(), kwargs={}, retries=retries)
    return call if call.opcode is Opcode.STEP_RUN else call._replace(opcode=Opcode.STEP_RUN, opts={}, wire_name=None)


def _read(result: object, adapter: Adapter | None, what: str) -> object:
    return result if adapter is None else unpack(to_json(result), adapter, what)


def _fail(error: Exception) -> object:
    raise error
