"""Decides one invocation: which remembered step resolves next, which new one runs, and what the answer is.

Rules
 1. A step call arrives and waits. Nothing is decided until the function can go no further without steps (idle).
 2. Remembered steps resolve one at a time, in the order in which they finished, each at an idle moment. So a race ends
    in every replay as it ended the first time, and the n-th use of a name stays the n-th.
 3. A call for one planned step runs that step as soon as it has arrived, and its answer has that step only.
 4. A single new step that runs code is run at once, if the server allows it. What follows decides the answer: the end
    of the function, or steps of the server, are reported together with it; another single step waits for the next call
    (step mode), or is run too, once the one before is saved (checkpoint mode).
 5. Several new steps, or a single one of the server (a sleep, a wait, an invoke), are reported together; none is run.
 6. The first answer is final. Whatever the function does after it changes nothing.

Laws: no I/O, no asyncio, no threads. `async_runner` and `sync_runner` carry out the decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Final, cast

from milepost._values.current import after_step, in_body
from milepost._values.failure import Failure, is_final
from milepost._values.serializer import adapter_for, returned_type
from milepost.errors import BadIdError, Interrupt, NestedStepError, NonDeterminismError, RetryAfterError
from milepost.protocol import DISCOVERY, Opcode, hash_step_id

from .branches import Branch
from .calls import StepCall
from .log_gate import LogGate
from .marks import Marks, mark_of
from .ops import Answer, Op, Ops, Raised, Returned, complete_op
from .outcomes import READERS, is_input, read_result
from .rehearsal import Rehearsal, replaced
from .requests import CallRequest, Step

__all__ = ["UNKNOWN", "Invocation", "Move"]

UNKNOWN: Final = object()
"""No value: the step must arrive, and be decided at an idle moment."""


_NONE: Final[Mapping[str, object]] = MappingProxyType({})
_MAX_REFUSED: Final = 10
"""Step calls that are refused, once there is an answer, before the function counts as stuck."""


class Move(Enum):
    """What to do at an idle moment."""

    NOTHING = "nothing"
    GO_LIVE = "go live"
    RESOLVE = "resolve"
    RUN = "run"
    ANSWERED = "answered"


class Invocation:
    """The state of one call. `warn` gets warnings for the user; `now` is the clock.

    `saves`: there is a checkpointer; `budget`: how long further steps may start in checkpoint mode; `rehearsal`: a
    test harness that watches it.
    """

    def __init__(
        self,
        call: CallRequest,
        *,
        now: Callable[[], datetime],
        warn: Callable[[str], None],
        saves: bool = False,
        budget: timedelta = timedelta(0),
        log_gate: LogGate | None = None,
        rehearsal: Rehearsal | None = None,
    ) -> None:
        self.call = call
        self.rehearsal = rehearsal
        self.now = now
        self.warn = warn
        self.log_gate = log_gate or LogGate()
        self.answer: Answer | None = None
        self.live = False
        self._refused = 0
        self.on_answer: Callable[[], None] = lambda: None
        self._saves = saves and call.may_continue and call.mode == "checkpoint" and call.target == DISCOVERY
        self._ends_at = now() + budget
        self._main = Branch()
        self._marks = Marks()
        self._arrived: set[str] = set()
        self._open: dict[str, Step] = {}
        self._running: Step | None = None
        # A replay from a step with new input has only the input of that step, no result.
        self._inputs = {step_id: memo["input"] for step_id, memo in call.memos.items() if is_input(memo)}
        self._order = call.order
        if self._inputs or tuple(call.memos) != call.order:
            known = dict.fromkeys((*call.order, *call.memos))
            self._order = tuple(step_id for step_id in known if step_id in call.memos and step_id not in self._inputs)
        self._next = 0
        self._resolved: set[str] = set()
        self._executed = 0
        self._unsaved: list[Op] = []
        self._logged = frozenset(self._order[: max(call.logged - 1, 0)]) if call.logged is not None else None
        if call.logged == 0 and call.target == DISCOVERY:
            self.log_gate.open()
        if call.target in call.memos and call.target not in self._inputs:
            # The step has a result already; a late duplicate of its call must not produce another.
            self.answer = Ops(())

    # --- step calls of the function's code ------------------------------------------------------------------------

    def arrive(self, call: StepCall, use: int | None = None) -> Step:
        """Accept a step call; `use` is the number of the use of its name, by default the next of the function itself.

        Raises Interrupt if the invocation has its answer, NestedStepError in a step's body.
        """
        outer = in_body.get()
        if self.answer is not None:
            self._refused += 1
            raise Interrupt
        if outer is not None:
            raise NestedStepError(
                f"step {call.name!r} is called inside the body of step {outer.call.name!r} {self.call.place}: "
                "call it in the function itself, before or after that step"
            )
        index = self._main.use(call.name) if use is None else use
        step = Step(hash_step_id(call.name, index), index, call)
        if step.id in self._arrived or step.id in self._resolved:
            raise self._same_id(call.name, index)
        if self._inputs and step.id in self._inputs and call.body is not None:
            given = self._inputs[step.id]
            args = tuple(cast("list[object]", given)) if isinstance(given, list) else (given,)
            step.call = call = call._replace(args=args)
        if self.rehearsal is not None and (step.id not in self.call.memos or step.id in self._inputs):
            step.call = replaced(call, step.nth, self.rehearsal)
        self._arrived.add(step.id)
        self._open[step.id] = step
        return step

    @property
    def stuck(self) -> bool:
        """Whether the function keeps catching the interrupt and calling steps: it would never stop."""
        return self._refused > _MAX_REFUSED

    def abandon(self, step: Step) -> None:
        """The function's code no longer waits for the step (its task was cancelled)."""
        self._open.pop(step.id, None)
        if self._running is step:
            self._running = None

    def outcome(self, step: Step) -> object:
        """The remembered value of a step, or its error raised."""
        call = step.call
        memo: object = self.call.memos[step.id]
        after_step.set((call.name, step.id))
        if call.body is None:
            if call.unresolved is not None:
                self.warn(f"{self.call.what(step)} {call.unresolved}")
            return READERS[call.opcode](self.call, step, memo)
        if isinstance(memo, dict):
            fields = cast("dict[str, object]", memo)
            if "mark" in fields:
                self._check_mark(step, fields)
            return read_result(self.call, step, fields)
        return read_result(self.call, step, memo)

    def _check_mark(self, step: Step, memo: Mapping[str, object]) -> None:
        """Raise NonDeterminismError if the result belongs to a call with other arguments."""
        call = step.call
        use = self._marks.find_other(call.name, step.index, call.args, call.kwargs, memo)
        if not use:
            return
        raise NonDeterminismError(
            f"use {use} of step {call.name!r} {self.call.place}, was recorded with other arguments than it has now: "
            "the code or its data has changed while the run was in progress, and results would go to the wrong calls. "
            f"Keep the order of the calls, or give each an id of its own, such as f'{call.name} {{item}}'; then replay "
            "the run"
        )

    # --- idle moments -------------------------------------------------------------------------------------------

    def decide(self, *, quiet: bool = True) -> tuple[Move, Step | None]:
        """The next move, while the function's code waits.

        `quiet` is False while something other than steps may let the code continue (its own I/O): then a planned step
        that has not arrived may still arrive.
        """
        if self.answer is not None:
            return Move.ANSWERED, None
        if self._running is not None:
            return Move.NOTHING, None
        targeted = self._open.get(self.call.target)
        if targeted is not None:
            return self._run_or_report(targeted)
        remembered = self._next_remembered()
        if remembered is not None:
            return self._resolve(remembered)
        found = list(self._open.values())
        if not found:
            return Move.NOTHING, None
        if not self.live:
            return Move.GO_LIVE, None
        if self.call.target != DISCOVERY:
            return self._target_missing(found, quiet=quiet)
        return self._found(found)

    def go_live(self) -> None:
        """The history is replayed: everything after it is new."""
        self.live = True
        if self.call.target != DISCOVERY:
            return
        if self.call.logged is None:
            self.log_gate.open()
        elif self.call.logged > len(self._order):
            self.log_gate.hold(again=True)

    @property
    def remembers(self) -> bool:
        """Whether there is history to replay before anything new."""
        return bool(self._order)

    def _first_left(self) -> int:
        """The position in the order of the first remembered step that has not been resolved."""
        order, resolved, place = self._order, self._resolved, self._next
        while place < len(order) and order[place] in resolved:
            place += 1
        self._next = place
        return place

    def _next_remembered(self) -> Step | None:
        order = self._order
        for position in range(self._first_left(), len(order)):
            step = self._open.get(order[position])
            if step is not None:
                return step
        return None

    def follows(self, step: Step) -> bool:
        """Resolve a step that arrived at an idle moment, if it is the next remembered one and not the last.

        A shortcut for `decide` in the most frequent case: a replay comes here for each step.
        """
        order, resolved = self._order, self._resolved
        place = self._first_left()
        # The last one waits for `go_live`.
        left = len(order) - len(resolved) - (not self.live)
        if left <= 0 or order[place] != step.id or self._running is not None or self.call.target in self._open:
            return False
        resolved.add(step.id)
        del self._open[step.id]
        self._reach(step.id)
        return True

    def recall(
        self, name: object, fn: object, use: int, args: tuple[object, ...] = (), kwargs: Mapping[str, object] = _NONE
    ) -> object:
        """The value of a step that is called at an idle moment; or UNKNOWN, and then nothing has changed.

        A shortcut for `arrive`, `follows` and `outcome` in the most frequent case of a replay: the next remembered
        step, not the last, which ran code and returned plain JSON. It takes half of their time.
        """
        order, resolved = self._order, self._resolved
        if self._inputs or self._open or self._running is not None or self.answer is not None:
            return UNKNOWN
        place = self._first_left()
        if len(order) - len(resolved) - (not self.live) <= 0 or type(name) is not str or in_body.get() is not None:
            return UNKNOWN
        step_id = hash_step_id(name, use)
        if order[place] != step_id or step_id in self._arrived:
            return UNKNOWN
        if not callable(fn) or adapter_for(returned_type(fn)) is not None:
            return UNKNOWN
        memo = self.call.memos[step_id]
        if not isinstance(memo, dict):
            return UNKNOWN
        fields = cast("dict[str, object]", memo)
        if "data" not in fields:
            return UNKNOWN
        if len(fields) != 1 and (
            len(fields) != 2 or "mark" not in fields or self._marks.find_other(name, use, args, kwargs, fields)
        ):
            return UNKNOWN
        resolved.add(step_id)
        self._next = place + 1
        self._reach(step_id)
        after_step.set((name, step_id))
        return fields["data"]

    def _resolve(self, step: Step) -> tuple[Move, Step | None]:
        if len(self._resolved) + 1 == len(self._order) and not self.live:
            return Move.GO_LIVE, None
        self._resolved.add(step.id)
        del self._open[step.id]
        self._reach(step.id)
        return Move.RESOLVE, step

    def _reach(self, step_id: str) -> None:
        """The code after a remembered step follows: its log lines are new if no earlier call has reached it."""
        if self._logged is not None and step_id not in self._logged and self.call.target == DISCOVERY:
            self.log_gate.open()

    def _run_or_report(self, step: Step) -> tuple[Move, Step | None]:
        if not self.live:
            return Move.GO_LIVE, None
        if step.call.body is None:
            return self._answer(Ops((self._planned(step),)))
        return self._run(step)

    def _target_missing(self, found: list[Step], *, quiet: bool) -> tuple[Move, Step | None]:
        if not quiet:
            return Move.NOTHING, None
        self.warn(
            f"the planned step {self.call.target} is no longer reached {self.call.place}: the code changed while "
            "the run was in progress, or takes a different path each time. Keep step ids and their conditions stable."
        )
        return self._answer(Ops(tuple(self._planned(step) for step in found)))

    def _found(self, found: list[Step]) -> tuple[Move, Step | None]:
        alone = found[0] if len(found) == 1 and found[0].call.body is not None else None
        if alone is None:
            self.log_gate.open()
            return self._answer(Ops((*self._unsaved, *(self._planned(step) for step in found))))
        if self.call.may_run_steps and self._may_run_another():
            return self._run(alone)
        if self._unsaved:
            self.log_gate.drop()
            return self._answer(Ops(tuple(self._unsaved)))
        # All results are saved and the time is up, or this call must only report. The plan says what it has reached.
        self.log_gate.open()
        return self._answer(Ops((self._planned(alone),)))

    def _may_run_another(self) -> bool:
        return self._executed == 0 or (self._saves and not self._unsaved and self.now() < self._ends_at)

    def _run(self, step: Step) -> tuple[Move, Step | None]:
        del self._open[step.id]
        self._running = step
        step.runs_here = True
        self.log_gate.run()
        return Move.RUN, step

    # --- the outcome of a step that ran here ----------------------------------------------------------------------

    @property
    def attempt(self) -> int:
        """The attempt of the running step, from 0: 0 for a step that follows another one in this invocation."""
        return self.call.attempt if self._executed == 0 else 0

    def ran(self, step: Step, data: bytes, started_at: datetime) -> tuple[Op, bool]:
        """A body has finished. Returns its op and whether to save it before the function continues."""
        op = self._op(step, Opcode.STEP_RUN, data=data, started_at=started_at, ended_at=self.now())
        self._executed += 1
        self._unsaved.append(op)
        if self.call.target != DISCOVERY or not self.call.may_continue:
            self._running = None
            self._answer(Ops(tuple(self._unsaved)))
            return op, False
        # The answer carries the last step before the time is up: that saves one request.
        return op, self._saves and self.now() < self._ends_at

    @property
    def running(self) -> Step | None:
        """The step whose body is running."""
        return self._running

    @property
    def unsaved(self) -> tuple[Op, ...]:
        """The ops of finished steps that the server does not have yet."""
        return tuple(self._unsaved)

    def saved(self) -> None:
        """The server has the unsaved ops."""
        self._unsaved.clear()

    def save_failed(self) -> None:
        """The ops could not be saved: the answer carries them, and no further step runs."""
        self._saves = False

    def stale(self) -> None:
        """Another invocation has taken over: stop and report nothing."""
        self._running = None
        self._answer(Ops(()))

    def resumed(self, step: Step) -> None:
        """The function's code continues with the value of the step that ran."""
        if self._running is step:
            self._running = None
        after_step.set((step.call.name, step.id))
        if self.answer is None:
            self.log_gate.hold()

    def failed(self, step: Step, error: BaseException, started_at: datetime) -> None:
        """A body has raised: one attempt of the step has failed."""
        self._running = None
        if self.answer is not None:
            return
        limit = step.call.retries.max_attempts if step.call.retries is not None else self.call.max_attempts
        policy = step.call.retries or self.call.retries
        allows = policy.allows if policy is not None else None
        last = is_final(error, allows) or (limit is not None and self.attempt + 1 >= limit)
        opts: dict[str, object] = {}
        if isinstance(error, RetryAfterError) and not last:
            opts["retry_after"] = error.due_at(self.now()).isoformat()
        op = self._op(
            step,
            Opcode.STEP_FAILED if last else Opcode.STEP_ERROR,
            failure=Failure.of(error, allows),
            opts=opts,
            started_at=started_at,
            ended_at=self.now(),
        )
        self._answer(Ops((*self._unsaved, op), error))

    # --- the end of the function ---------------------------------------------------------------------------------

    def returned(self, data: bytes) -> None:
        """The function has returned; `data` is its result as JSON."""
        if self.answer is not None:
            return
        self._warn_unreached()
        self.log_gate.open()
        if self._executed:
            self._answer(Ops((*self._unsaved, complete_op(data))))
        else:
            self._answer(Returned(data))

    def raised(self, error: BaseException) -> None:
        """The function has raised. If there are unsaved steps, only they are reported: the next call raises again."""
        if self.answer is not None:
            return
        if self._unsaved:
            self.log_gate.drop()
            self._answer(Ops(tuple(self._unsaved)))
        else:
            self.log_gate.open()
            self._answer(Raised(error))

    def warn_interrupt_caught(self) -> None:
        """The function has caught the interrupt and ended later."""
        self.warn(
            f"function {self.call.function_id!r} caught the interrupt that ends an invocation and continued "
            f"(run {self.call.run_id}). What it did then is ignored. Write 'except Exception', not a bare except."
        )

    def _warn_unreached(self) -> None:
        missing = len(set(self._order) - self._arrived - self._resolved)
        if missing:
            self.warn(
                f"{missing} finished step(s) were not reached before the function returned {self.call.place}: "
                "the code changed while the run was in progress, or takes a different path each time. Keep step ids "
                "stable, and put whatever differs between calls (time, random numbers, reads) into steps."
            )
        if self.call.target != DISCOVERY:
            self.warn(f"the function returned before it reached the planned step {self.call.target} {self.call.place}")

    # --- parts ----------------------------------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> tuple[Move, Step | None]:
        if self.answer is None:
            self.answer = answer
            self.on_answer()
        return Move.ANSWERED, None

    def _planned(self, step: Step) -> Op:
        return self._op(step, Opcode.STEP_PLANNED if step.call.body is not None else step.call.opcode)

    def _op(
        self,
        step: Step,
        opcode: Opcode,
        *,
        data: bytes | None = None,
        failure: Failure | None = None,
        opts: Mapping[str, object] | None = None,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> Op:
        all_opts = {**step.call.opts, **(opts or {})}
        if step.call.retries is not None:
            all_opts["retries"] = step.call.retries.to_wire()
        return Op(
            id=step.id,
            opcode=opcode,
            name=step.call.name,
            index=step.index,
            wire_name=step.call.wire_name,
            opts=all_opts,
            data=data,
            failure=failure,
            started_at=started_at,
            ended_at=ended_at,
            mark=mark_of(step.call.args, step.call.kwargs) if opcode is Opcode.STEP_RUN else "",
        )

    def _same_id(self, name: str, index: int) -> BadIdError:
        """The n-th use of a name has the wire id of `name:n`, so no step may have that name itself."""
        text = f"{name}:{index}" if index else name
        base, _, nth = text.rpartition(":")
        return BadIdError(
            f"step {text!r} {self.call.place}, has the same id as use {int(nth) + 1} of step {base!r}, because further "
            f"uses are numbered after a colon. Give one of them another id, such as {f'{base}-{nth}'!r}."
        )
