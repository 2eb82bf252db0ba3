r"""Text from outside as it may be shown: what would act on a terminal, or hide, is written as an escape.

Event names, ids of steps, errors and log lines come from senders and from user code. Raw, their control characters
would set the terminal's title, erase its screen or forge lines; characters that reverse or hide text would show other
words than there are.

    control characters, DEL      \x1b \n \r \t          also U+0080 to U+009F, which are escapes to some terminals
    direction marks, invisible   \u202e \u200b \ufeff   not the joiners that emoji and Persian are written with
    line separators, surrogates  \u2028 \ud800
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["visible", "visible_json"]

_FORMAT: Final = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f"
)
_HIDDEN: Final = re.compile(f"[\x00-\x1f\x7f-\x9f{_FORMAT}\ud800-\udfff]")
_IN_JSON: Final = re.compile(f"[\x7f-\x9f{_FORMAT}\ud800-\udfff]")
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, keep_lines: bool = False) -> str:
    """The text on one line, with everything that would act or hide written as an escape.

    `keep_lines` keeps line breaks and tabs, of a traceback for example; then whoever prints it indents all lines but
    the first, so that none looks like an entry of its own.
    """
    if text.isprintable():
        return text
    if not keep_lines:
        return _HIDDEN.sub(_escaped, text)
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(_HIDDEN.sub(_escaped, line.replace("\t", "    ")) for line in lines)


def visible_json(text: str) -> str:
    """A JSON text in which the same characters are escaped as JSON does it: its meaning stays the same."""
    return text if text.isascii() and "\x7f" not in text else _IN_JSON.sub(_escaped_in_json, text)


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _SHORT:
        return _SHORT[letter]
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _escaped_in_json(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
