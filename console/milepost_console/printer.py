"""The only way to the terminal: everything that is printed passes through a `Printer`, which makes it harmless.

Law: no other module of the console imports rich, writes to standard output or standard error, or prints (the linter
bans it). So nothing that comes from outside can reach a terminal raw, whoever adds the next line of output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TextIO

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from .visible import visible, visible_json

__all__ = ["Printer", "Styled", "cells"]

_PIPED_WIDTH: Final = 240
_INDENT: Final = 4


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
    """Prints lines, tables and JSON, on standard output unless told otherwise."""

    def __init__(self, file: TextIO | None = None, *, width: int | None = None) -> None:
        self._console = Console(file=file, width=width)
        self._given_width = width
        self.plain = not self._console.encoding.lower().startswith("utf")
        """Whether only ASCII signs can be shown."""

    @classmethod
    def for_errors(cls) -> Printer:
        """A printer on standard error."""
        return cls(sys.stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody reads it as it is printed."""
        return self._console.is_terminal

    def line(self, *parts: Styled | str, indent: int = _INDENT) -> None:
        """Print parts as one entry. Further lines of a part with `many` are indented."""
        shown = Text()
        for part in parts:
            given = Styled(part) if isinstance(part, str) else part
            text = visible(given.text, keep_lines=given.many)
            if given.many:
                text = text.replace("\n", "\n" + " " * indent)
            shown.append(f"{text:<{given.width}}", style=given.style)
        self._console.print(shown, soft_wrap=True, highlight=False)

    def json(self, value: object) -> None:
        """Print a value as indented JSON."""
        self.json_text(json.dumps(value, indent=2, ensure_ascii=False))

    def json_text(self, text: str) -> None:
        """Print a JSON text."""
        self._console.out(visible_json(text), highlight=False)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[Styled]]) -> None:
        """Print a table. Ids are never truncated: cells do not wrap."""
        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for heading in headings:
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(Text(visible(cell.text, keep_lines=cell.many), style=cell.style) for cell in row))
        console = self._console if self.is_terminal or self._given_width else self._wide()
        console.print(table, soft_wrap=not self.is_terminal)

    @contextmanager
    def progress(self, what: str, total: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
        """Show how far something is; call the yielded function with what was done since."""
        with Progress(console=self._console, disable=hidden, transient=True) as bar:
            task = bar.add_task(visible(what), total=total)
            yield lambda done: bar.advance(task, done)

    @staticmethod
    def confirm(question: str) -> None:
        """Ask on the terminal. Raises typer.Abort unless the answer is yes."""
        typer.confirm(visible(question), abort=True)

    def _wide(self) -> Console:
        return Console(file=self._console.file, width=_PIPED_WIDTH)


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
