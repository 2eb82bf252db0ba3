"""The harness's invoker: calls the apps, replaces steps, and names code that does not answer.

Laws: what passes through keeps its size, so every limit holds as it does elsewhere; what the test should know is kept
in `problems`, and the run goes on as it would in production.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from milepost import App
from milepost.protocol import MAX_RESPONSE_BYTES, Header, Opcode, Request, Response
from milepost.serving import Replacement
from milepost_engine.adapters.local.invoke_inprocess import InProcessInvoker
from milepost_engine.codec import dumps, loads
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

from .transport import HarnessTransport
from .whereabouts import Whereabouts

__all__ = ["Stage", "untimed"]

_INSTEAD: Final = {
    Opcode.SLEEP: "a sleep, which has no body to replace: let it end with h.advance(…)",
    Opcode.WAIT_FOR_EVENT: "a wait for an event, which has no body to replace: end it with h.send(…), or let its "
    "timeout pass with h.advance(…)",
}
_MAX_NAMED: Final = 20


def untimed(ops: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Finished steps without the app's own timings, so that traces show wound time only."""
    return [{key: value for key, value in op.items() if key != "timing"} for op in ops]


@dataclass
class _Wanted:
    """A replacement that the test asked for."""

    replacement: Replacement
    required: bool
    used: bool = False


@dataclass
class Stage:
    """See the module. Implements the Invoker port."""

    transport: HarnessTransport
    inner: InProcessInvoker = field(default_factory=InProcessInvoker)
    problems: list[str] = field(default_factory=list)
    """Lines for the test."""
    _wanted: dict[tuple[str, int], _Wanted] = field(default_factory=dict)
    _reached: dict[str, dict[str, int]] = field(default_factory=dict)
    """By the id of a step: the functions that have it, and the highest index of its uses."""
    _open: dict[str, _Rehearsal] = field(default_factory=dict)
    """By the id of the call."""

    def serve(self, app: App) -> None:
        """Call this app from now on. Raises ValueError if another one has its id."""
        if app.id in self.inner.apps:
            raise ValueError(f"two apps have the id {app.id!r}: give one of them a different id")
        self.inner.apps[app.id] = _Rehearsed(app, self)

    def replace(self, name: str, index: int, replacement: Replacement, *, required: bool) -> None:
        """Replace the `index`-th use of a step from now on."""
        self._wanted[name, index] = _Wanted(replacement, required)

    def rehearsal_of(self, request: Request) -> _Rehearsal:
        """The rehearsal of a call in progress."""
        return self._open[request.headers[Header.REQUEST_ID.value]]

    def replacement(self, function_id: str, name: str, index: int, kind: Opcode) -> Replacement | None:
        """What replaces a step that a function has reached."""
        uses = self._reached.setdefault(name, {})
        uses[function_id] = max(index, uses.get(function_id, 0))
        wanted = self._wanted.get((name, index))
        if wanted is None:
            return None
        wanted.used = True
        if kind in _INSTEAD:
            self.problems.append(f"{_call_of(name, index)}: in function {function_id!r} this is {_INSTEAD[kind]}")
            return None
        return wanted.replacement

    def take_problems(self) -> list[str]:
        """What the test should know, once."""
        found, self.problems = self.problems, []
        return list(dict.fromkeys(found))

    def unused(self) -> list[str]:
        """A sentence for each replacement that no run has used."""
        return [
            f"{_call_of(name, index)} replaced nothing: {self._why_unused(name, index)}"
            for (name, index), wanted in self._wanted.items()
            if wanted.required and not wanted.used
        ]

    async def invoke(self, target: Target, request: Request) -> Response:
        """Call the app of a target. Raises InvocationProblem when there is no answer."""
        call_id = request.headers[Header.REQUEST_ID.value]
        rehearsal = self._open[call_id] = _Rehearsal(self, request.query["fnId"])
        try:
            with self.transport.calling():
                answer = await self.inner.invoke(target, request)
        except InvocationProblem as problem:
            if problem.kind == ProblemKind.TIMEOUT:
                run_id = request.headers[Header.RUN_ID.value]
                self.problems += _stuck(rehearsal, run_id, target.timeout_seconds)
            raise
        finally:
            del self._open[call_id]
        if answer.status != 206 or len(answer.body) > MAX_RESPONSE_BYTES:
            return answer
        try:
            ops = loads(answer.body)
        except ValueError:
            return answer  # the engine says what is wrong with it
        if not isinstance(ops, list) or not all(isinstance(op, Mapping) for op in ops):
            return answer
        return replace(answer, body=dumps(untimed(ops)))

    def _why_unused(self, name: str, index: int) -> str:
        if uses := self._reached.get(name):
            if index > max(uses.values()):
                return (
                    f"step {name!r} was used at most {max(uses.values()) + 1} time(s) in a run (the first has index 0)"
                )
            return f"step {name!r} had its result before it was replaced; call replace_step before you send the event"
        if not self._reached:
            return "no function reached a step; was an event sent that starts one?"
        similar = difflib.get_close_matches(name, self._reached, 1)
        hint = f" Did you mean {similar[0]!r}?" if similar else ""
        shown = ", ".join(map(repr, sorted(self._reached)[:_MAX_NAMED]))
        return f"no function reached a step of that id.{hint} Reached were: {shown}"


@dataclass(frozen=True)
class _Rehearsed:
    """An app, called with a rehearsal for each invocation."""

    app: App
    stage: Stage

    async def handle(self, request: Request, *, checkpointer: Any = None, authenticated: bool = False) -> Response:
        rehearsal = self.stage.rehearsal_of(request)
        return await self.app.handle(
            request, checkpointer=checkpointer, rehearsal=rehearsal, authenticated=authenticated
        )


@dataclass
class _Rehearsal:
    """Implements `milepost.serving.Rehearsal` for one invocation."""

    stage: Stage
    function_id: str
    where: Whereabouts = field(default_factory=Whereabouts)

    def replacement(self, name: str, index: int, kind: Opcode) -> Replacement | None:
        return self.stage.replacement(self.function_id, name, index, kind)

    def began(self, step: str | None) -> None:
        self.where.began(step)

    def ended(self, step: str) -> None:
        self.where.ended(step)


def _stuck(rehearsal: _Rehearsal, run_id: str, seconds: float) -> list[str]:
    advice = (
        "If it waits for something that never comes, let it wait for a step instead (wait_for_event, sleep). If it "
        "only takes long, or you are debugging, pass Harness(…, longest_invocation='1h')."
    )
    return [
        f"function {rehearsal.function_id!r}, run {run_id}, did not answer within {seconds:g} s:",
        *(f"  - {line}" for line in rehearsal.where.describe()),
        advice,
    ]


def _call_of(name: str, index: int) -> str:
    return f"replace_step({name!r}{f', index={index}' if index else ''})"
