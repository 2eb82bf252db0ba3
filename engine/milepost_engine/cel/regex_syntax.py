"""Parses RE2 patterns to trees.

Law: only what a linear-time engine can run is accepted, so back-references and lookaround are errors.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Final, NamedTuple

from .errors import ExpressionError

__all__ = ["Assertion", "At", "CharSet", "Either", "Many", "One", "Part", "Sequence", "read_pattern", "shown"]

_MAX_PATTERN: Final = 1_000
_MAX_REPEAT: Final = 1_000
_MAX_DEPTH: Final = 64
_TOP: Final = 0x10FFFF

_DIGITS: Final = ((0x30, 0x39),)
_WORD: Final = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_SPACE: Final = ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))
_PERL: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_POSIX: Final = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0x00, 0x7F),),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "cntrl": ((0x00, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGITS,
    "graph": ((0x21, 0x7E),),
    "lower": ((0x61, 0x7A),),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": ((0x41, 0x5A),),
    "word": _WORD,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
_CONTROL: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_SUBCATEGORIES: Final = {"L": "ultmo", "M": "nce", "N": "dlo", "P": "cdseifo", "S": "mcko", "Z": "slp", "C": "cfos"}
_CATEGORIES: Final = frozenset(major + minor for major, minors in _SUBCATEGORIES.items() for minor in ("", *minors))
_REPEAT: Final = re.compile(r"\{(\d{1,5})(?:(,)(\d{0,5}))?\}", re.ASCII)
_FLAGS: Final = re.compile(r"\?([imsU]*)(?:-([imsU]+))?([:)])", re.ASCII)
_GROUP_NAME: Final = re.compile(r"\?P?<([A-Za-z_][A-Za-z0-9_]*)>", re.ASCII)


class Assertion(StrEnum):
    """A condition at a position between two characters."""

    TEXT_BEGINS = "text begins"
    TEXT_ENDS = "text ends"
    LINE_BEGINS = "line begins"
    LINE_ENDS = "line ends"
    WORD_EDGE = "word edge"
    NOT_WORD_EDGE = "not word edge"


class CharSet(NamedTuple):
    """A set of characters: ranges of code points and Unicode categories, perhaps without regard to case."""

    ranges: tuple[tuple[int, int], ...]
    categories: tuple[tuple[str, bool], ...] = ()
    negated: bool = False
    folded: bool = False

    def holds(self, character: str) -> bool:
        if not self.folded:
            return self._holds(character) is not self.negated
        variants = {character, character.lower(), character.upper(), character.upper().lower()}
        return any(self._holds(one) for one in variants if len(one) == 1) is not self.negated

    def _holds(self, character: str) -> bool:
        code = ord(character)
        if any(low <= code <= high for low, high in self.ranges):
            return True
        if not self.categories:
            return False
        category = unicodedata.category(character)
        return any(category.startswith(name) is not negated for name, negated in self.categories)


class One(NamedTuple):
    chars: CharSet


class At(NamedTuple):
    assertion: Assertion


class Sequence(NamedTuple):
    parts: tuple[Part, ...]


class Either(NamedTuple):
    parts: tuple[Part, ...]


class Many(NamedTuple):
    part: Part
    fewest: int
    most: int | None


Part = One | At | Sequence | Either | Many


def read_pattern(pattern: str) -> Part:
    """The parsed pattern. Raises ExpressionError with the reason, the character and a remedy."""
    if len(pattern) > _MAX_PATTERN:
        raise ExpressionError(f"the regular expression is longer than {_MAX_PATTERN} characters; shorten it")
    return _PatternReader(pattern).read()


class _PatternReader:
    """Reads one pattern by recursive descent. `flags` are those in force: i, m, s."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.depth = 0
        self.flags: frozenset[str] = frozenset()

    def read(self) -> Part:
        part = self.alternatives()
        if self.at < len(self.pattern):
            raise self.error("there is a ) without its (; write \\) for the character")
        return part

    def alternatives(self) -> Part:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error(f"groups are nested more than {_MAX_DEPTH} deep")
        parts = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.sequence())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def sequence(self) -> Part:
        parts: list[Part] = []
        while self.peek() not in {"", "|", ")"}:
            part = self.atom()
            if part is not None:
                parts.append(self.repeated(part))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, part: Part) -> Part:
        bounds = self.bounds()
        if bounds is None:
            return part
        if self.peek() == "?":  # lazy: whether there is a match is the same
            self.at += 1
        if self.bounds() is not None:
            raise self.error("two repeats follow each other; put the first into a group: (?:a*)*")
        return Many(part, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        """The repeat at this position, if there is one: minimum and maximum."""
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if simple is not None:
            self.at += 1
            return simple
        found = _REPEAT.match(self.pattern, self.at)
        if found is None:
            return None
        self.at = found.end()
        fewest = int(found[1])
        most = fewest if found[2] is None else int(found[3]) if found[3] else None
        if max(fewest, most or 0) > _MAX_REPEAT or (most is not None and most < fewest):
            raise self.error(f"the repeat {found.group()} must rise and stay within {_MAX_REPEAT}")
        return fewest, most

    def atom(self) -> Part | None:
        """One character, class, group or assertion; None for a change of flags only."""
        character = self.pattern[self.at]
        self.at += 1
        match character:
            case "(":
                return self.group()
            case "[":
                return One(self.char_class())
            case "\\":
                return self.escape()
            case ".":
                return One(CharSet(((0, _TOP),) if "s" in self.flags else ((0, 9), (11, _TOP))))
            case "^":
                return At(Assertion.LINE_BEGINS if "m" in self.flags else Assertion.TEXT_BEGINS)
            case "$":
                return At(Assertion.LINE_ENDS if "m" in self.flags else Assertion.TEXT_ENDS)
            case "*" | "+" | "?":
                raise self.error(f"there is nothing for {character} to repeat; write \\{character} for the character")
            case _:
                return self.literal(ord(character))

    def group(self) -> Part | None:
        outer = self.flags
        if self.peek() == "?":
            named = _GROUP_NAME.match(self.pattern, self.at)
            flags = _FLAGS.match(self.pattern, self.at)
            if named is not None:
                self.at = named.end()
            elif flags is not None:
                self.at = flags.end()
                self.flags = (self.flags | set(flags[1])) - set(flags[2] or "")
                if flags[3] == ")":
                    return None
            else:
                raise self.error("lookaround and other (?…) groups are not supported; test twice and join with &&")
        part = self.alternatives()
        if self.peek() != ")":
            raise self.error("a ( has no closing )")
        self.at += 1
        self.flags = outer
        return part

    def escape(self) -> Part:
        character = self.peek()
        edges = {
            "A": Assertion.TEXT_BEGINS, "z": Assertion.TEXT_ENDS, "b": Assertion.WORD_EDGE,
            "B": Assertion.NOT_WORD_EDGE,
        }  # fmt: skip
        if character in edges:
            self.at += 1
            return At(edges[character])
        if character == "Q":
            end = self.pattern.find("\\E", self.at)
            quoted = self.pattern[self.at + 1 : end if end >= 0 else None]
            self.at = end + 2 if end >= 0 else len(self.pattern)
            return Sequence(tuple(self.literal(ord(one)) for one in quoted))
        chars = self.class_escape()
        return One(chars) if chars is not None else self.literal(self.character_escape())

    def class_escape(self) -> CharSet | None:
        r"""`\d`, `\W`, `\pL`, `\P{Lu}` …, which are also allowed in brackets; else None."""
        character = self.peek()
        if character != "" and character.lower() in _PERL:
            self.at += 1
            return CharSet(_PERL[character.lower()], negated=character.isupper())
        if character not in {"p", "P"}:
            return None
        self.at += 1
        end = self.pattern.find("}", self.at) if self.peek() == "{" else self.at
        name = self.pattern[self.at : end + 1].strip("{}")
        self.at = max(end, self.at) + 1
        negated = (character == "P") is not name.startswith("^")
        if name.lstrip("^") not in _CATEGORIES:
            raise self.error(f"there is no Unicode category {name!r}; scripts are not supported")
        return CharSet((), categories=((name.lstrip("^"), negated),), folded="i" in self.flags)

    def character_escape(self) -> int:
        """The code point of an escaped character, after the backslash."""
        character = self.peek()
        if character == "":
            raise self.error("a backslash at the end escapes nothing")
        if hexadecimal := re.compile(r"x(?:([0-9a-fA-F]{2})|\{([0-9a-fA-F]{1,6})\})").match(self.pattern, self.at):
            code = int(hexadecimal[1] or hexadecimal[2], 16)
            if code > _TOP:
                raise self.error(f"there is no character \\{hexadecimal.group()}")
            self.at = hexadecimal.end()
            return code
        if octal := re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}").match(self.pattern, self.at):
            self.at = octal.end()
            return int(octal.group(), 8)
        if character.isdecimal():
            raise self.error("back-references are not supported, they cannot be matched in bounded time")
        self.at += 1
        if character in _CONTROL:
            return _CONTROL[character]
        if not character.isascii() or character.isalnum():
            raise self.error(f"the escape \\{character} is not known")
        return ord(character)

    def char_class(self) -> CharSet:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[int, int]] = []
        categories: list[tuple[str, bool]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            if self.peek() == "":
                raise self.error("a [ has no closing ]")
            chars = self.inner_class()
            if chars is None:
                ranges.append(self.range())
            elif chars.negated:
                ranges.extend(_complement(chars.ranges))
            else:
                ranges.extend(chars.ranges)
                categories.extend(chars.categories)
        self.at += 1
        return CharSet(tuple(ranges), tuple(categories), negated=negated, folded="i" in self.flags)

    def inner_class(self) -> CharSet | None:
        r"""A class inside brackets, such as `\d` or `[:alpha:]`; else None."""
        if self.pattern.startswith("[:", self.at):
            end = self.pattern.find(":]", self.at)
            name = self.pattern[self.at + 2 : end] if end >= 0 else ""
            if name.lstrip("^") in _POSIX:
                self.at = end + 2
                return CharSet(_POSIX[name.lstrip("^")], negated=name.startswith("^"))
            raise self.error(f"there is no class [:{name}:]")
        if self.peek() != "\\":
            return None
        self.at += 1
        chars = self.class_escape()
        if chars is None:
            self.at -= 1
        return chars

    def range(self) -> tuple[int, int]:
        low = self.bound()
        if self.peek() != "-" or self.pattern[self.at + 1 : self.at + 2] in {"]", ""}:
            return low, low
        self.at += 1
        high = self.bound()
        if high < low:
            raise self.error(f"the range {chr(low)}-{chr(high)} runs backwards")
        return low, high

    def bound(self) -> int:
        character = self.pattern[self.at]
        self.at += 1
        return self.character_escape() if character == "\\" else ord(character)

    def literal(self, code: int) -> One:
        return One(CharSet(((code, code),), folded="i" in self.flags))

    def peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def error(self, message: str) -> ExpressionError:
        return ExpressionError(f"in the regular expression {shown(self.pattern)}, character {self.at}: {message}")


def _complement(ranges: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
    """All other code points; `ranges` are in ascending order."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    return [*gaps, (start, _TOP)]


def shown(pattern: str) -> str:
    """A pattern as error messages show it."""
    return repr(pattern if len(pattern) <= 80 else pattern[:80] + "…")
