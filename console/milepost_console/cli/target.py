"""Where a command looks: a server at an address, or a deployed stack.

A command that is `placed` has the options `--stack`, `--region` and `--profile`; `open_desk` asks here what they were.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, get_type_hints

import typer

__all__ = ["Target", "current_target", "placed"]

_PANEL = "Server"

Stack = Annotated[
    str,
    typer.Option(
        "--stack",
        envvar="MILEPOST_STACK",
        help="A deployed stack, reached with your AWS credentials, instead of a server.",
        rich_help_panel=_PANEL,
    ),
]
# boto3 itself reads AWS_DEFAULT_REGION only; the other tools of AWS read both.
Region = Annotated[
    str, typer.Option("--region", envvar="AWS_REGION", help="AWS region of the stack.", rich_help_panel=_PANEL)
]
Profile = Annotated[str, typer.Option("--profile", help="AWS profile to ask as.", rich_help_panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class Target:
    """A stack, or with an empty `stack` the server that `--url` names. `closing` is closed when the command ends."""

    stack: str = ""
    region: str = ""
    profile: str = ""
    closing: ExitStack = field(default_factory=ExitStack)


_current_target: ContextVar[Target] = ContextVar("current_target")


def current_target() -> Target:
    """Where the command that runs now looks."""
    return _current_target.get(Target())


def placed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of a current_target added to its own. Goes below `@….command()`."""

    @functools.wraps(function)
    def command(*args: Any, stack: str, region: str, profile: str, **own: Any) -> Any:
        with ExitStack() as closing:
            token = _current_target.set(Target(stack, region, profile, closing))
            closing.callback(_current_target.reset, token)
            return function(*args, **own)

    hints = {**get_type_hints(function, include_extras=True), "stack": Stack, "region": Region, "profile": Profile}
    own = inspect.signature(function).parameters.values()
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=hints[name])
        for name in ("stack", "region", "profile")
    ]
    # What typer reads: the signature for the defaults, the annotations for the kinds.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = hints
    del command.__wrapped__
    return command
