"""A small server of the wire protocol: it remembers steps and calls the app until the run has ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from milepost import App
from milepost.serving import Request, Response

RUN_ID = "01KB3Y7M8E0000000000000000"

Json = dict[str, Any]


@dataclass(frozen=True)
class Called:
    """One call and what came back."""

    target: str
    response: Response

    @property
    def ops(self) -> list[Json]:
        body = json.loads(self.response.body)
        return body if self.response.status == 206 else []

    @property
    def reported(self) -> list[str]:
        """The ops in short, as `Opcode name`."""
        return [f"{op['op']} {op['displayName']}" for op in self.ops]

    @property
    def json(self) -> Any:
        return json.loads(self.response.body)


@dataclass
class FakeServer:
    """Serves one run of one function.

    `milepost` adds the extension to calls. `wakes` gives what an open wait or invoke becomes, by step name.
    """

    app: App
    function: str
    data: Any = None
    event: Json | None = None
    milepost: Any = field(default_factory=lambda: {"version": 1})
    wakes: dict[str, Any] = field(default_factory=dict)
    max_attempts: int = 3
    memos: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    checkpointer: Any = None
    run_id: str = RUN_ID
    complete_first: Callable[[list[str]], Sequence[str]] = list
    """Orders the planned steps of one answer, by name: as they are to finish."""

    async def call(self, target: str = "step", *, attempt: int = 0, peek: bool = False, **context: Any) -> Called:
        """One call, with what is remembered now."""
        ctx: Json = {
            "run_id": self.run_id,
            "fn_id": "fn",
            "attempt": attempt,
            "max_attempts": self.max_attempts,
            "disable_immediate_execution": peek,
            "stack": {"stack": list(self.order), "current": len(self.order)},
            "use_api": False,
            **({"milepost": self.milepost} if self.milepost is not None else {}),
            **context,
        }
        event = self.event or {"id": "e1", "name": "t/a", "data": self.data or {}, "ts": 1_795_464_895_551}
        body = {"ctx": ctx, "event": event, "events": [event], "steps": self.memos, "version": -1}
        query = {"fnId": self.function, "stepId": target}
        request = Request("POST", query, {}, json.dumps(body).encode())
        called = Called(target, await self.app.handle(request, checkpointer=self.checkpointer, authenticated=True))
        self.calls.append(called)
        return called

    def remember(self, step_id: str, memo: Any, name: str = "") -> None:
        """Close a step; the first result stands."""
        if step_id not in self.memos:
            self.memos[step_id] = memo
            self.order.append(step_id)
            self.names[step_id] = name

    async def save(self, ops: Sequence[Mapping[str, Any]]) -> None:
        """Take steps as a checkpointer."""
        for op in ops:
            self.remember(op["id"], _memo(op), op["displayName"])

    async def run(self, most: int = 60) -> Called:
        """Call until the run has ended; gives the last call."""
        jobs: list[tuple[str, int]] = [("step", 0)]
        parallel = 0
        while most:
            most -= 1
            target, attempt = jobs.pop(0)
            called = await self.call(target, attempt=attempt, peek=target == "step" and parallel > 0)
            if called.response.status != 206:
                if self._retries(called, attempt):
                    jobs.insert(0, (target, attempt + 1))
                    continue
                return called
            again = False
            planned: list[str] = []
            for op in called.ops:
                match op["op"]:
                    case "RunComplete":
                        return called
                    case "StepRun":
                        self.remember(op["id"], _memo(op), op["displayName"])
                    case "StepError":
                        again = True
                    case "StepFailed":
                        self.remember(op["id"], {"error": op["error"]}, op["displayName"])
                    case "StepPlanned":
                        planned.append(op["id"])
                        self.names[op["id"]] = op["displayName"]
                    case _:
                        self.remember(op["id"], self.wakes.get(op["displayName"]), op["displayName"])
            if again:
                jobs.insert(0, (target, attempt + 1))
                continue
            by_name: dict[str, list[str]] = {}
            for step_id in planned:
                by_name.setdefault(self.names[step_id], []).append(step_id)
            jobs += [(step_id, 0) for name in self.complete_first(list(by_name)) for step_id in by_name.get(name, ())]
            if not jobs:
                jobs.append(("step", 0))
        raise AssertionError("the run does not end")

    def _retries(self, called: Called, attempt: int) -> bool:
        final = called.response.headers.get("x-inngest-no-retry") == "true"
        return not final and called.response.status >= 400 and attempt + 1 < self.max_attempts

    @property
    def result(self) -> Any:
        """What the function returned."""
        last = self.calls[-1]
        if last.response.status == 206:
            return next(op["data"] for op in last.ops if op["op"] == "RunComplete")
        assert last.response.status == 200, (last.response.status, last.response.body)
        return last.json

    @property
    def reported(self) -> list[list[str]]:
        """What each call reported."""
        return [call.reported for call in self.calls]


def _memo(op: Mapping[str, Any]) -> Json:
    """What Milepost's server gives back of a step."""
    mark = op["userland"].get("mark")
    return {"data": op["data"], **({"mark": mark} if mark else {})}
