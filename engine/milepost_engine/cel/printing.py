"""Prints a tree as text.

Laws: the text parses to a tree that means the same; it has one space around operators, strings in double quotes
where possible, doubles with a point (`7.0`), and only the parentheses it needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from .tree import (
    And,
    CallNode,
    Chain,
    Choice,
    Compare,
    HasNode,
    Index,
    ListOf,
    Literal,
    Macro,
    MapOf,
    Method,
    Negate,
    Node,
    Not,
    Or,
    Path,
    PathKey,
    Select,
)

__all__ = ["keys_text", "text_of"]

_CHOICE, _OR, _AND, _COMPARE, _ADD, _MULTIPLY, _UNARY, _ATOM = range(8)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTES: Final = re.compile(r"[^\"]+|\"+")


def text_of(node: Node, lowest: int = _CHOICE) -> str:
    """The text of a node, in parentheses if its precedence is below `lowest`."""
    text, power = _written(node)
    return f"({text})" if power < lowest else text


def keys_text(keys: Sequence[PathKey]) -> str:
    """Fixed steps as they are written after a value: `.data.items[0]["first name"]`."""
    return "".join(
        f".{key}" if isinstance(key, str) and _NAME.fullmatch(key) else f"[{_literal(key)[0]}]" for key in keys
    )


def _written(node: Node) -> tuple[str, int]:
    match node:
        case Literal(value=value):
            return _literal(value)
        case Path(root=root, keys=keys):
            return root + keys_text(keys), _ATOM
        case Or(operands=operands):
            return " || ".join(text_of(one, _OR + 1) for one in operands), _OR
        case And(operands=operands):
            return " && ".join(text_of(one, _AND + 1) for one in operands), _AND
        case Compare(operator=operator, left=left, right=right):
            return f"{text_of(left, _COMPARE)} {operator} {text_of(right, _COMPARE + 1)}", _COMPARE
        case Chain(first=first, rest=rest):
            power = _ADD if rest[0][0] in "+-" else _MULTIPLY
            return " ".join(
                [text_of(first, power), *(f"{sign} {text_of(one, power + 1)}" for sign, one in rest)]
            ), power
        case Choice(condition=condition, then=then, otherwise=otherwise):
            return f"{text_of(condition, _OR)} ? {text_of(then)} : {text_of(otherwise)}", _CHOICE
        case Not(operand=operand):
            return "!" + text_of(operand, _UNARY), _UNARY
        case Negate(operand=operand):
            return f"-({text_of(operand)})", _UNARY
        case _:
            return _atom(node), _ATOM


def _atom(node: Node) -> str:
    match node:
        case Select(base=base, keys=keys):
            return text_of(base, _ATOM) + keys_text(keys)
        case Index(base=base, key=key):
            return f"{text_of(base, _ATOM)}[{text_of(key)}]"
        case ListOf(items=items):
            return f"[{_listed(items)}]"
        case MapOf(entries=entries):
            return "{" + ", ".join(f"{text_of(key)}: {text_of(value)}" for key, value in entries) + "}"
        case HasNode(target=target):
            return f"has({text_of(target)})"
        case CallNode(name=name, arguments=arguments):
            return f"{name}({_listed(arguments)})"
        case Method(name=name, target=target, arguments=arguments):
            return f"{text_of(target, _ATOM)}.{name}({_listed(arguments)})"
        case Macro(name=name, target=target, variable=variable, body=body, transform=transform):
            arguments = (Path(variable), body) if transform is None else (Path(variable), body, transform)
            return f"{text_of(target, _ATOM)}.{name}({_listed(arguments)})"
        case _:
            raise AssertionError(node)


def _listed(nodes: Sequence[Node]) -> str:
    return ", ".join(text_of(node) for node in nodes)


def _literal(value: object) -> tuple[str, int]:
    """A constant and its precedence: negative numbers like a unary minus, joined strings like a sum."""
    if value is None:
        return "null", _ATOM
    if isinstance(value, bool):
        return str(value).lower(), _ATOM
    if isinstance(value, int | float):
        return repr(value), _ATOM if value >= 0 else _UNARY
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_string(key)[0]}: {_literal(item)[0]}" for key, item in value.items()) + "}", _ATOM
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(item)[0] for item in value) + "]", _ATOM
    raise AssertionError(value)


def _string(value: str) -> tuple[str, int]:
    """Literals are raw, so a string with both kinds of quotes is written as a sum of strings."""
    if '"' not in value:
        return f'"{value}"', _ATOM
    if "'" not in value:
        return f"'{value}'", _ATOM
    return " + ".join(f"'{part}'" if part[0] == '"' else f'"{part}"' for part in _QUOTES.findall(value)), _ADD
