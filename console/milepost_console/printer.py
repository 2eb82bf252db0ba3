"""The only way to the terminal: everything that is printed passes through a `Printer`, which makes it harmless.

Law: no other module of the console imports rich, writes to standard output or standard error, or prints (the linter
bans it). So nothing that comes from outside can reach a terminal raw, whoever adds the next line of output.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO

import typer

from .visible import visible, visible_json

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console

__all__ = ["Printer", "Styled", "cells"]

_PIPED_WIDTH: Final = 240
_INDENT: Final = 4
_RESET: Final = "\x1b[0m"
_CODES: Final = {
    "bold": "1", "dim": "2",
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip


class Styled(NamedTuple):
    """A piece of a line.

    Attributes:
        text: Any text; what would act on a terminal is escaped.
        style: Colour and weight, such as `bold red`.
        width: Padded to so many characters.
        many: Line breaks are kept; all lines but the first are indented.
    """

    text: str
    style: str = ""
    width: int = 0
    many: bool = False


class Printer:
    """Prints lines, tables and JSON, on standard output unless told otherwise.

    Colours appear on a terminal only, and not with NO_COLOR or TERM=dumb; FORCE_COLOR asks for them elsewhere.
    """

    def __init__(self, file: TextIO | None = None, *, width: int | None = None) -> None:
        self._given_file = file
        self._given_width = width
        self._colours = _wants_colours(self._file)
        self._pending: deque[str] = deque()
        self._flush_due = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def for_errors(cls) -> Printer:
        """A printer on standard error."""
        return cls(sys.stderr)

    @property
    def plain(self) -> bool:
        """Whether only ASCII signs can be shown."""
        return not _encoding(self._file).startswith("utf")

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads it as it is printed."""
        return self._file.isatty()

    @contextmanager
    def gathering(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """During the block, write what one turn of the loop prints with one system call."""
        self._loop = loop
        try:
            yield
        finally:
            self._loop = None
            self._flush()

    def line(self, *parts: Styled | str, indent: int = _INDENT) -> None:
        """Print parts as one entry. Further lines of a part with `many` are indented."""
        shown: list[str] = []
        for part in parts:
            if isinstance(part, str):
                shown.append(visible(part))
                continue
            text = visible(part.text, keep_lines=part.many)
            if part.many:
                text = text.replace("\n", "\n" + " " * indent)
            text = f"{text:<{part.width}}"
            shown.append(f"{_sequence(part.style)}{text}{_RESET}" if part.style and self._colours else text)
        shown.append("\n")
        self._write("".join(shown))

    def json(self, value: object) -> None:
        """Print a value as indented JSON."""
        self.json_text(json.dumps(value, indent=2, ensure_ascii=False))

    def json_text(self, text: str) -> None:
        """Print a JSON text."""
        self._write(visible_json(text) + "\n")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[Styled]]) -> None:
        """Print a table. Ids are never truncated: cells do not wrap."""
        from rich.table import Table  # noqa: PLC0415 - loads for as long as most commands run
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for heading in headings:
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(visible(cell.text, keep_lines=cell.many), style=cell.style) for cell in row))
        wide = None if self.is_terminal else _PIPED_WIDTH
        self._console(self._given_width or wide).print(table, soft_wrap=not self.is_terminal)

    @contextmanager
    def progress(self, what: str, total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
        """Show how far something is; call the yielded function with what was done since."""
        from rich.progress import Progress  # noqa: PLC0415 - as above

        with Progress(console=self._console(), disable=hidden, transient=True) as bar:
            task = bar.add_task(visible(what), total=total)
            yield lambda done: bar.advance(task, done)

    @staticmethod
    def confirm(question: str) -> None:
        """Ask on the terminal. Raises typer.Abort unless the answer is yes."""
        typer.confirm(visible(question), abort=True)

    @property
    def _file(self) -> TextIO:
        return self._given_file or sys.stdout

    def _console(self, width: int | None = None) -> Console:
        from rich.console import Console  # noqa: PLC0415 - as above

        self._flush()
        return Console(file=self._file, width=width)

    def _write(self, text: str) -> None:
        self._pending.append(text)
        loop = self._loop
        if loop is None:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            loop.call_soon_threadsafe(self._flush)  # log records come from any thread

    def _flush(self) -> None:
        self._flush_due = False
        text = "".join(self._pending.popleft() for _ in range(len(self._pending)))
        if not text:
            return
        file = self._file
        if not text.isascii() and self.plain:
            encoding = _encoding(file)
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            file.write(text)
            file.flush()
        except BrokenPipeError:
            # Whoever read it has gone, as `head` does; Python would complain once more when it closes the file.
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
            raise SystemExit(1) from None


def _encoding(file: TextIO) -> str:
    return (getattr(file, "encoding", None) or "utf-8").lower()


def _wants_colours(file: TextIO) -> bool:
    environment = os.environ
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    return bool(environment.get("FORCE_COLOR")) or file.isatty()


@functools.cache
def _sequence(style: str) -> str:
    """The escape sequence (ECMA-48, SGR) of a style such as `bold red`."""
    return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m"


def cells(row: Mapping[str, Any], keys: Sequence[str], styles: Mapping[str, str]) -> list[Styled]:
    """The cells of a table's row: values as people read them."""
    return [_cell(row.get(key), styles) for key in keys]


def _cell(value: object, styles: Mapping[str, str]) -> Styled:
    if isinstance(value, Styled):
        return value
    return Styled(_shown(value), styles.get(str(value), ""))


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
