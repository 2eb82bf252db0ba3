"""The parsed form of an expression: a tree of small frozen records.

They are named tuples, because importing seventeen dataclasses takes 15 ms and making one takes three times as long.

Laws: a tree is no higher than the parser's depth limit, so walking it by recursion is safe; `&&`, `||` and
chains of arithmetic are flat, however long; a path with fixed steps (`event.data.items[0]`) is one node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "And",
    "CallNode",
    "Chain",
    "Choice",
    "Compare",
    "Expression",
    "HasNode",
    "Index",
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
    "PathKey",
    "Select",
    "children",
    "free_names",
    "rebuilt",
]

PathKey = str | int
"""One fixed step of a path: a field name, or a position in a list."""


class Literal(NamedTuple):
    value: object


class Path(NamedTuple):
    """A variable and the fixed steps into it; without steps, the variable itself."""

    root: str
    keys: tuple[PathKey, ...] = ()


class Select(NamedTuple):
    """Fixed steps into a value that is not a variable, as in `json_parse(x).a.b`."""

    base: Node
    keys: tuple[PathKey, ...]


class Index(NamedTuple):
    base: Node
    key: Node


class ListOf(NamedTuple):
    items: tuple[Node, ...]


class MapOf(NamedTuple):
    entries: tuple[tuple[Node, Node], ...]


class Not(NamedTuple):
    operand: Node


class Negate(NamedTuple):
    operand: Node


class And(NamedTuple):
    operands: tuple[Node, ...]


class Or(NamedTuple):
    operands: tuple[Node, ...]


class Chain(NamedTuple):
    """Arithmetic of one precedence, read from the left: `first op node op node …`."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


class Compare(NamedTuple):
    """`== != < <= > >= in`."""

    operator: str
    left: Node
    right: Node


class Choice(NamedTuple):
    condition: Node
    then: Node
    otherwise: Node


class CallNode(NamedTuple):
    name: str
    arguments: tuple[Node, ...]


class Method(NamedTuple):
    name: str
    target: Node
    arguments: tuple[Node, ...]


class HasNode(NamedTuple):
    target: Node


class Macro(NamedTuple):
    """`target.name(variable, body)`; `map` may carry a transformation after its condition."""

    name: str
    target: Node
    variable: str
    body: Node
    transform: Node | None = None


Node = (
    Literal | Path | Select | Index | ListOf | MapOf | Not | Negate | And | Or | Chain | Compare | Choice
    | CallNode | Method | HasNode | Macro
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: the text as given, and its tree."""

    text: str
    root: Node


def children(node: Node) -> Iterator[Node]:
    """The nodes right below `node`, in reading order."""
    if not isinstance(node, Literal):
        for name in node._fields:
            yield from _nodes_in(getattr(node, name))


def free_names(node: Node, bound: frozenset[str] = frozenset()) -> frozenset[str]:
    """The free variables: all but those that a macro around them defines."""
    match node:
        case Path(root=root):
            return frozenset({root}) - bound
        case Macro(target=target, variable=variable):
            inner = [node.body] if node.transform is None else [node.body, node.transform]
            return free_names(target, bound).union(*(free_names(part, bound | {variable}) for part in inner))
        case _:
            return frozenset[str]().union(*(free_names(child, bound) for child in children(node)))


def rebuilt(node: Node, change: Callable[[Node], Node]) -> Node:
    """The same node with other children."""
    if isinstance(node, Literal):
        return node
    fields = (_changed(getattr(node, name), change) for name in node._fields)
    return type(node)(*fields)  # type: ignore[arg-type]  # the fields of the same record


def _nodes_in(value: object) -> Iterator[Node]:
    if isinstance(value, Node):  # before the tuple, since nodes are tuples too
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes_in(item)


def _changed(value: object, change: Callable[[Node], Node]) -> object:
    if isinstance(value, Node):
        return change(value)
    return tuple(_changed(item, change) for item in value) if isinstance(value, tuple) else value
