"""Which server a command works with: one at an address, or a deployed stack.

`with_target` gives a command the options `--stack`, `--region` and `--profile`; `open_context` reads their values here.
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

__all__ = ["StackTarget", "current_target", "with_target"]

_PANEL = "Server"

Stack = Annotated[
    str,
    typer.Option(
        "--stack",
        envvar="MILEPOST_STACK",
        help="Use a deployed stack, with your AWS credentials, instead of a server.",
        rich_help_panel=_PANEL,
    ),
]
# boto3 itself reads only AWS_DEFAULT_REGION; other AWS tools read both.
Region = Annotated[
    str, typer.Option("--region", envvar="AWS_REGION", help="AWS region of the stack.", rich_help_panel=_PANEL)
]
Profile = Annotated[str, typer.Option("--profile", help="AWS profile.", rich_help_panel=_PANEL)]


@dataclass(frozen=True, slots=True)
class StackTarget:
    """A stack; with an empty `stack`, the server at `--url`. `closing` is closed when the command ends."""

    stack: str = ""
    region: str = ""
    profile: str = ""
    closing: ExitStack = field(default_factory=ExitStack)


_current_target: ContextVar[StackTarget] = ContextVar("current_target")


def current_target() -> StackTarget:
    """The target of the running command."""
    return _current_target.get(StackTarget())


def with_target(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the target's options to a command. Goes below `@….command()`."""

    @functools.wraps(function)
    def command(*args: Any, stack: str, region: str, profile: str, **own: Any) -> Any:
        with ExitStack() as closing:
            token = _current_target.set(StackTarget(stack, region, profile, closing))
            closing.callback(_current_target.reset, token)
            return function(*args, **own)

    hints = {**get_type_hints(function, include_extras=True), "stack": Stack, "region": Region, "profile": Profile}
    own = inspect.signature(function).parameters.values()
    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=hints[name])
        for name in ("stack", "region", "profile")
    ]
    # typer reads defaults from the signature and types from the annotations.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = hints
    del command.__wrapped__
    return command
