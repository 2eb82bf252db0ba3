"""The parsed form of an expression: a tree of small frozen records.

Laws: a tree is no higher than the parser's depth limit, so walking it by recursion is safe; `&&`, `||` and
chains of arithmetic are flat, however long; a path with fixed steps (`event.data.items[0]`) is one node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "And",
    "Call",
    "Chain",
    "Choice",
    "Compare",
    "Expression",
    "Has",
    "Index",
    "Key",
    "ListOf",
    "Literal",
    "Macro",
    "MapOf",
    "Method",
    "Negate",
    "Node",
    "Not",
    "Or",
    "Path",
    "Select",
    "children",
    "rebuilt",
]

Key = str | int
"""One fixed step of a path: a field name, or a position in a list."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: object


@dataclass(frozen=True, slots=True)
class Path:
    """A variable and the fixed steps into it; without steps, the variable itself."""

    root: str
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Select:
    """Fixed steps into a value that is not a variable, as in `json_parse(x).a.b`."""

    base: Node
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Index:
    base: Node
    key: Node


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node


@dataclass(frozen=True, slots=True)
class Negate:
    operand: Node


@dataclass(frozen=True, slots=True)
class And:
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """Arithmetic of one precedence, read from the left: `first op node op node …`."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """`== != < <= > >= in`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Choice:
    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    target: Node
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Has:
    target: Node


@dataclass(frozen=True, slots=True)
class Macro:
    """`target.name(variable, body)`; `map` may carry a transformation after its condition."""

    name: str
    target: Node
    variable: str
    body: Node
    transform: Node | None = None


Node = (
    Literal | Path | Select | Index | ListOf | MapOf | Not | Negate | And | Or | Chain | Compare | Choice
    | Call | Method | Has | Macro
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: the text as given, and its tree."""

    text: str
    root: Node


def children(node: Node) -> Iterator[Node]:
    """The nodes right below `node`, in reading order."""
    if not isinstance(node, Literal):
        for name in node.__slots__:
            yield from _nodes_in(getattr(node, name))


def rebuilt(node: Node, change: Callable[[Node], Node]) -> Node:
    """The same node over changed children."""
    if isinstance(node, Literal):
        return node
    fields = (_changed(getattr(node, name), change) for name in node.__slots__)
    return type(node)(*fields)  # type: ignore[arg-type]  # the fields of the same record


def _nodes_in(value: object) -> Iterator[Node]:
    if isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)
    elif isinstance(value, Node):
        yield value


def _changed(value: object, change: Callable[[Node], Node]) -> object:
    if isinstance(value, tuple):
        return tuple(_changed(item, change) for item in value)
    return change(value) if isinstance(value, Node) else value
