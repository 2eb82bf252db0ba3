"""docs/cli.md names every command and every exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperOption
from typer.main import get_command

from milepost_console.cli import context
from milepost_console.cli.main import cli

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(command: Any, path: tuple[str, ...] = ("milepost",)) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


def test_every_command_stands_in_the_table_and_no_other():
    assert set(re.findall(r"^\| `(milepost [a-z -]+)` \|", PAGE, re.MULTILINE)) == {
        name for name, _ in commands(get_command(cli))
    }


def test_every_command_explains_itself_and_each_of_its_options():
    for name, command in commands(get_command(cli)):
        assert command.help, name
        for option in command.params:
            if isinstance(option, TyperOption) and option.name != "limit":
                assert option.help, (name, option.name)


def test_every_command_that_prints_answers_has_json():
    without = {
        name for name, command in commands(get_command(cli)) if "as_json" not in {p.name for p in command.params}
    }
    # They serve or deploy until they are done; there is no answer to print.
    assert without == {"milepost dashboard", "milepost deploy"}


def test_every_exit_code_is_explained():
    codes = {str(getattr(context, name)) for name in ("DONE", "FAILED", "USAGE", "UNREACHABLE")}
    assert set(re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)) == codes
