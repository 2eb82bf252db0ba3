"""The ops that an invocation reports, and its possible answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic_core import from_json, to_json

from milepost._values.failure import Failure
from milepost.protocol import COMPLETE_ID, Opcode

__all__ = ["Answer", "Op", "Ops", "Raised", "Returned", "complete_op", "join_ops"]


@dataclass(frozen=True, slots=True)
class Op:
    """One op. `data` is JSON text; `index` numbers uses of the name; `mark` is that of its arguments."""

    id: str
    opcode: Opcode
    name: str
    index: int = 0
    wire_name: str | None = None
    opts: Mapping[str, object] = field(default_factory=dict[str, object])
    data: bytes | None = None
    failure: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    mark: str = ""

    def head(self) -> dict[str, object]:
        """The JSON object without `data`."""
        wire: dict[str, object] = {
            "id": self.id,
            "op": self.opcode.value,
            "name": self.wire_name or self.name,
            "displayName": self.name,
            "opts": dict(self.opts),
            "userland": {"id": self.name, "index": self.index, **({"mark": self.mark} if self.mark else {})},
        }
        if self.failure is not None:
            wire["error"] = self.failure.to_wire()
        if self.started_at is not None and self.ended_at is not None:
            wire["timing"] = {"started_at": _ms(self.started_at), "ended_at": _ms(self.ended_at)}
        return wire

    def to_wire(self) -> dict[str, object]:
        """The JSON object."""
        wire = self.head()
        if self.data is not None:
            wire["data"] = from_json(self.data)
        return wire

    def to_json(self) -> bytes:
        """The JSON text, with `data` copied unchanged."""
        head = to_json(self.head())
        return head if self.data is None else b"%s,%s%s}" % (head[:-1], b'"data":', self.data)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def complete_op(data: bytes) -> Op:
    """The op that ends a run with its result."""
    return Op(COMPLETE_ID, Opcode.RUN_COMPLETE, "complete", data=data)


def join_ops(ops: Sequence[Op]) -> bytes:
    """The body of a 206."""
    return b"[" + b",".join(op.to_json() for op in ops) + b"]"


@dataclass(frozen=True, slots=True)
class Ops:
    """206: steps discovered, run or failed. `error` is the error of the step that failed."""

    ops: tuple[Op, ...]
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """200: the function returned; `data` is JSON text."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """400 or 500: the function raised."""

    error: BaseException


Answer = Ops | Returned | Raised
