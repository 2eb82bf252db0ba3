"""Parses tokens to a tree: a Pratt parser.

Laws: what is too long, too deep or too large is refused here, so later walks of the tree need no guard; functions,
macros and their numbers of arguments are checked here, so a misspelt name fails at registration.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .errors import ExpressionError
from .functions import FUNCTIONS, METHODS, check_literal_regex
from .lexer import Token, place, tokenize
from .tree import (
    And,
    CallNode,
    Chain,
    Choice,
    Compare,
    Expression,
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

__all__ = ["BOUND_LIMITS", "USER_LIMITS", "Limits", "compile_expression", "compile_within"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an expression may be: characters, nesting, nodes."""

    characters: int
    depth: int
    nodes: int


USER_LIMITS: Final = Limits(characters=4_096, depth=64, nodes=2_000)
"""For an expression that a user writes: the longest useful one seen lists a few hundred ids, about 4 KiB."""
BOUND_LIMITS: Final = Limits(characters=65_536, depth=96, nodes=20_000)
"""For a user's expression after the trigger event's values were filled in."""

_MAX_DIGITS: Final = 4_300
"""Of a whole number: what JSON readers accept, so a bound condition can hold every number of an event."""
_POWERS: Final = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_COMPARE: Final = 3
_UNARY: Final = 6
_MACROS: Final = {"all": (2, 2), "exists": (2, 2), "exists_one": (2, 2), "filter": (2, 2), "map": (2, 3)}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_INSTEAD: Final = {
    "===": "==", "!==": "!=", "and": "&&", "or": "||", "not": "!", "is": "==",
    "True": "true", "False": "false", "None": "null", "undefined": "null", "nil": "null",
    "len": "size", "length": "size", "count": "size", "lower": "lowercase", "toLowerCase": "lowercase",
    "upper": "uppercase", "toUpperCase": "uppercase", "includes": "contains", "starts_with": "startsWith",
    "startswith": "startsWith", "ends_with": "endsWith", "endswith": "endsWith", "match": "matches",
    "test": "matches", "any": "exists", "some": "exists", "every": "all", "str": "string", "float": "double",
    "number": "double", "boolean": "bool", "parseInt": "int", "exist": "exists", "defined": "has",
}  # fmt: skip


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> Expression:
    """Parse an expression; the last 1024 are cached.

    At most 4096 characters, 64 levels of nesting and 2000 nodes. Raises ExpressionError that names the place
    (`column`) and what to write instead. Variables are not checked: an unknown one is simply missing.
    """
    return compile_within(text, USER_LIMITS)


def compile_within(text: str, limits: Limits) -> Expression:
    """Parse under other limits, without caching. Raises ExpressionError like `compile_expression`."""
    if len(text) > limits.characters:
        raise ExpressionError(
            f"the expression has {len(text)} characters, the limit is {limits.characters}; move long lists "
            "of values into the event, or decide inside the function"
        )
    try:
        return Expression(text, _Parser(text, limits).parse())
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply; split it with && and ||") from error


class _Parser:
    """One pass over the tokens. `height` is that of the node made last."""

    def __init__(self, text: str, limits: Limits) -> None:
        self.text = text
        self.limits = limits
        self.tokens = tokenize(text)
        self.next = 0
        self.depth = 0
        self.height = 0
        self.nodes = 0

    def parse(self) -> Node:
        if self.tokens[0].kind == "end":
            raise ExpressionError("the expression is empty; write, for example, event.data.plan == 'pro'", column=1)
        node = self.expression()
        if self.tokens[self.next].kind != "end":
            raise self.unexpected("an operator such as == or &&")
        return node

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > self.limits.depth:
            raise self.too_deep()
        node = self.binary(1)
        if self.accept("?"):
            height = self.height
            then = self.expression()
            height = max(height, self.height)
            self.expect(":", "the : of condition ? value : other value")
            otherwise = self.expression()
            node = self.made(Choice(node, then, otherwise), max(height, self.height))
        self.depth -= 1
        return node

    def binary(self, lowest: int) -> Node:
        """Operators of precedence `lowest` and above, from the left."""
        left = self.operand()
        while True:
            operator = self.tokens[self.next].text
            power = _POWERS.get(operator, 0)
            if power < lowest or self.tokens[self.next].kind in {"string", "end"}:
                return left
            left = self.comparison(left) if power == _COMPARE else self.chain(left, power)

    def comparison(self, left: Node) -> Node:
        height = self.height
        operator = self.take().text
        right = self.binary(_COMPARE + 1)
        return self.made(Compare(operator, left, right), max(height, self.height))

    def chain(self, first: Node, power: int) -> Node:
        """All operands joined by operators of one precedence: flat, so its length adds no height."""
        height = self.height
        rest: list[tuple[str, Node]] = []
        while _POWERS.get(self.tokens[self.next].text) == power and self.tokens[self.next].kind == "operator":
            operator = self.take().text
            rest.append((operator, self.binary(power + 1)))
            height = max(height, self.height)
        operands = (first, *(operand for _, operand in rest))
        if power == _POWERS["||"]:
            return self.made(Or(operands), height)
        if power == _POWERS["&&"]:
            return self.made(And(operands), height)
        return self.made(Chain(first, tuple(rest)), height)

    def operand(self) -> Node:
        """`!x`, `-x`, or a primary with everything that follows it: fields, indexes, methods."""
        token = self.tokens[self.next]
        if token.kind != "operator" or token.text not in {"!", "-"}:
            return self.postfix(self.primary())
        self.next += 1
        self.depth += 1
        if self.depth > self.limits.depth:
            raise self.too_deep()
        below = self.negated_number() if token.text == "-" else None
        if below is None:
            below = self.operand()
            below = self.made(Not(below) if token.text == "!" else Negate(below), self.height)
        self.depth -= 1
        return below

    def negated_number(self) -> Node | None:
        """A minus right before a number is part of it (so -9223372036854775808 fits), unless a method follows."""
        if self.tokens[self.next].kind != "number" or self.tokens[self.next + 1].text in {".", "["}:
            return None
        return self.made(Literal(self.number(self.take(), negative=True)), 0)

    def postfix(self, node: Node) -> Node:
        while True:
            if self.accept("."):
                node = self.member(node)
            elif self.accept("["):
                node = self.index(node)
            else:
                return node

    def member(self, base: Node) -> Node:
        name = self.tokens[self.next]
        if name.kind != "name":
            raise self.unexpected('a field name after the dot; quote unusual names: ["first name"]')
        self.next += 1
        if not self.accept("("):
            return self.step(base, name.text)
        height = self.height
        if name.text in _MACROS:
            return self.macro(base, name, height)
        arguments = self.arguments()
        height = max(height, self.height)
        self.check_call(name, METHODS, len(arguments), "method")
        if name.text == "matches":
            self.check_regex(name, arguments[0])
        return self.made(Method(name.text, base, arguments), height)

    def macro(self, target: Node, name: Token, height: int) -> Node:
        arguments = self.arguments()
        height = max(height, self.height)
        fewest, most = _MACROS[name.text]
        variable = arguments[0] if arguments else None
        if not fewest <= len(arguments) <= most or not isinstance(variable, Path) or variable.keys:
            raise self.error(name, f"{name.text} is written list.{name.text}(item, condition on item)")
        transform = arguments[2] if len(arguments) == most and most > fewest else None
        return self.made(Macro(name.text, target, variable.root, arguments[1], transform), height)

    def index(self, base: Node) -> Node:
        height = self.height
        key = self.expression()
        height = max(height, self.height)
        self.expect("]", "the closing ]")
        if isinstance(key, Literal) and (isinstance(key.value, str) or _is_position(key.value)):
            self.height = height
            return self.step(base, key.value)  # type: ignore[arg-type]  # just checked
        return self.made(Index(base, key), height)

    def step(self, base: Node, key: PathKey) -> Node:
        """One more fixed step; paths and selections grow in place, so long ones stay one node."""
        self.nodes += 1
        match base:
            case Path(root=root, keys=keys):
                return Path(root, (*keys, key))
            case Select(base=below, keys=keys):
                return Select(below, (*keys, key))
            case _:
                return self.made(Select(base, (key,)), self.height)

    def primary(self) -> Node:
        token = self.take()
        match token.kind:
            case "string":
                return self.made(Literal(_unquoted(token.text)), 0)
            case "number":
                return self.made(Literal(self.number(token)), 0)
            case "name":
                return self.name(token)
        match token.text:
            case "(":
                node = self.expression()
                self.expect(")", "the closing )")
                return node
            case "[":
                return self.list_of()
            case "{":
                return self.map_of()
        self.next -= 1
        raise self.unexpected("a value, for example event.data.plan, 'text' or 42")

    def name(self, token: Token) -> Node:
        if token.text in _CONSTANTS:
            return self.made(Literal(_CONSTANTS[token.text]), 0)
        if self.accept("("):
            return self.call(token)
        if token.text in {"True", "False", "None", "undefined", "nil", "not"} or token.text == "in":
            raise self.error(token, f"unexpected {token.text!r}; write {_INSTEAD.get(token.text, 'a value before in')}")
        return self.made(Path(token.text), 0)

    def call(self, name: Token) -> Node:
        arguments = self.arguments()
        height = self.height
        if name.text == "has":
            target = arguments[0] if len(arguments) == 1 else None
            if not isinstance(target, Path | Select) or not target.keys:
                raise self.error(name, "has() takes one field, for example has(event.data.plan)")
            return self.made(HasNode(target), height)
        self.check_call(name, FUNCTIONS, len(arguments), "function")
        if name.text == "matches":
            self.check_regex(name, arguments[1])
        return self.made(CallNode(name.text, arguments), height)

    def arguments(self) -> tuple[Node, ...]:
        """Up to the closing parenthesis; leaves `height` at the highest argument."""
        found: list[Node] = []
        height = 0
        while not self.accept(")"):
            if found:
                self.expect(",", "a comma or the closing )")
            found.append(self.expression())
            height = max(height, self.height)
        self.height = height
        return tuple(found)

    def list_of(self) -> Node:
        items: list[Node] = []
        height = 0
        while not self.accept("]"):
            if items:
                self.expect(",", "a comma or the closing ]")
                if self.accept("]"):
                    break
            items.append(self.expression())
            height = max(height, self.height)
        if all(isinstance(item, Literal) for item in items):
            return self.made(Literal(tuple(item.value for item in items if isinstance(item, Literal))), height)
        return self.made(ListOf(tuple(items)), height)

    def map_of(self) -> Node:
        entries: list[tuple[Node, Node]] = []
        height = 0
        while not self.accept("}"):
            if entries:
                self.expect(",", "a comma or the closing }")
                if self.accept("}"):
                    break
            key = self.expression()
            height = max(height, self.height)
            self.expect(":", "the : between key and value")
            entries.append((key, self.expression()))
            height = max(height, self.height)
        return self.made(MapOf(tuple(entries)), height)

    def number(self, token: Token, *, negative: bool = False) -> int | float:
        text = token.text.rstrip("uU")
        sign = -1 if negative else 1
        if text[:2] in {"0x", "0X"}:
            return sign * int(text, 16)
        if text.isdecimal():
            if len(text) > _MAX_DIGITS:
                raise self.error(token, f"the number has {len(text)} digits; at most {_MAX_DIGITS} are allowed")
            return sign * int(text)
        number = sign * float(text)
        if number in {float("inf"), float("-inf")}:
            raise self.error(token, "the number is too large for a double")
        return number

    def check_call(self, name: Token, known: object, count: int, kind: str) -> None:
        """Raises ExpressionError for an unknown name or a wrong number of arguments."""
        table = METHODS if known is METHODS else FUNCTIONS
        function = table.get(name.text)
        if function is None:
            other = FUNCTIONS if table is METHODS else METHODS
            if name.text in other or name.text in _MACROS:
                hint = f"write value.{name.text}(…)" if table is FUNCTIONS else f"write {name.text}(value)"
            elif name.text in _INSTEAD:
                hint = f"write {_INSTEAD[name.text]}"
            else:
                names = sorted({*table, *(_MACROS if table is METHODS else {"has"})})
                hint = f"there are: {', '.join(names)}"
            raise self.error(name, f"there is no {kind} {name.text}; {hint}")
        if not function.fewest <= count <= function.most:
            raise self.error(name, f"{name.text} is written {function.usage}")

    def check_regex(self, name: Token, pattern: Node) -> None:
        if isinstance(pattern, Literal):
            try:
                check_literal_regex(pattern.value)
            except ExpressionError as error:
                raise self.error(name, str(error)) from error

    def made(self, node: Node, height: int) -> Node:
        """Count a new node over others of at most `height`."""
        self.height = height + 1
        self.nodes += 1
        if self.height > self.limits.depth:
            raise self.too_deep()
        if self.nodes > self.limits.nodes:
            raise ExpressionError(
                f"the expression has more than {self.limits.nodes} parts; move long lists of values into the event"
            )
        return node

    def take(self) -> Token:
        token = self.tokens[self.next]
        if token.kind == "end":
            raise self.unexpected("a value, for example event.data.plan, 'text' or 42")
        self.next += 1
        return token

    def accept(self, text: str) -> bool:
        token = self.tokens[self.next]
        if token.text == text and token.kind == "operator":
            self.next += 1
            return True
        return False

    def expect(self, text: str, wanted: str) -> None:
        if not self.accept(text):
            raise self.unexpected(wanted)

    def unexpected(self, wanted: str) -> ExpressionError:
        token = self.tokens[self.next]
        if token.kind == "end":
            return self.error(token, f"the expression ends where {wanted} should follow")
        instead = f"; write {_INSTEAD[token.text]}" if token.text in _INSTEAD and token.kind != "string" else ""
        if token.kind == "number" and token.text[0] == ".":
            instead = "; a position in a list is written [0]"
        before = self.tokens[self.next - 1] if self.next else None
        if not instead and before is not None and before.kind == "string" and before.text[-2:-1] == "\\":
            instead = "; a backslash does not escape a quote: use the other kind of quotes around the string"
        return self.error(token, f"expected {wanted}, found {_shortened(token.text)}{instead}")

    def too_deep(self) -> ExpressionError:
        token = self.tokens[min(self.next, len(self.tokens) - 1)]
        return self.error(token, f"nested more than {self.limits.depth} levels deep; join conditions with && and ||")

    def error(self, token: Token, message: str) -> ExpressionError:
        return ExpressionError(f"{message} (at {place(self.text, token.start)})", column=token.start + 1)


def _is_position(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unquoted(text: str) -> str:
    return text[2:-1] if text[0] in "rR" else text[1:-1]


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"
