"""Splits the text of an expression into tokens.

Laws: string literals are raw between their quotes, where a backslash is an ordinary character; `//` starts a
comment.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .errors import ExpressionError

__all__ = ["Token", "TokenKind", "place", "tokenize"]

TokenKind = str
"""`name`, `number`, `string`, `operator` or `end`."""


class Token(NamedTuple):
    kind: TokenKind
    text: str
    start: int


_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|//[^\n]*)
    |(?P<string>[rR]?"[^"]*"|[rR]?'[^']*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[uU]?)
    |(?P<operator>===|!==|==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()\[\]{}])""",
    re.VERBOSE,
)

_INSTEAD: Final = {
    "=": "write == to compare",
    "&": "write && for «and»",
    "|": "write || for «or»",
    "`": "write strings in ' or \" quotes",
    "\\": "a backslash is allowed only inside quotes, where it does not escape anything; "
    'to have one kind of quote in a string, use the other kind around it: "it\'s"',
    "$": "write the field directly: event.data.name",
    "@": 'quote field names with special characters: event.data["@name"]',
    "#": "comments start with //",
}


def place(text: str, start: int) -> str:
    """Where `start` is, for error messages: `column 7`, or `line 2, column 7` in a text of several lines."""
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    if "\n" not in text:
        return f"column {column}"
    return f"line {text.count(chr(10), 0, start) + 1}, column {column}"


def tokenize(text: str) -> list[Token]:
    """Every token of the text, then an `end` token. Raises ExpressionError at a character that starts no token."""
    tokens: list[Token] = []
    position = 0
    length = len(text)
    match_at = _TOKEN.match
    while position < length:
        found = match_at(text, position)
        if found is None:
            raise _unreadable(text, position)
        kind = found.lastgroup or ""
        if kind != "space":
            tokens.append(Token(kind, found.group(), position))
        position = found.end()
    tokens.append(Token("end", "", length))
    return tokens


def _unreadable(text: str, position: int) -> ExpressionError:
    character = text[position]
    where = place(text, position)
    if character in "'\"":
        escaped = f"\\{character}" in text
        instead = "a backslash does not escape a quote: use the other kind of quotes around" if escaped else "add it"
        message = f"the string that starts at {where} has no closing {character}; {instead}"
    else:
        instead = _INSTEAD.get(
            character, "only ASCII names, numbers, quoted strings and CEL operators are allowed here"
        )
        message = f"unexpected {character!r} at {where}; {instead}"
    return ExpressionError(message, column=position + 1)
