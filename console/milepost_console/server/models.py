"""Shapes of answers for the API description. The engine creates the answers; these models validate nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

__all__ = [
    "AppList",
    "AppRow",
    "BulkResult",
    "DeadLetterList",
    "Done",
    "Erased",
    "EventDetail",
    "EventList",
    "EventNames",
    "FunctionDetail",
    "FunctionList",
    "FunctionRow",
    "Problem",
    "Redriven",
    "RunDetail",
    "RunList",
    "RunLogLines",
    "RunRow",
    "ServerInfo",
    "Started",
    "WebhookProblem",
]


class Problem(BaseModel):
    """A refusal."""

    code: str = Field(examples=["MP301"])
    error: str = Field(description="What happened and what to do.")


class WebhookProblem(Problem):
    """A webhook's request was refused, perhaps after some of its events were accepted."""

    ids: list[str] = Field(default=[], description="Ids of the accepted events.")


class Done(BaseModel):
    ok: bool


class Erased(Done):
    erased: int = Field(description="Number of removed rows and objects.")


class Started(BaseModel):
    """The run that was started."""

    run_id: str


class RunRow(BaseModel):
    """A run in a list."""

    run_id: str
    function_id: str
    app_id: str
    status: str = Field(description="Queued, Running, Completed, Failed or Cancelled.")
    queued_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    event_id: str
    event_name: str
    origin_run_id: str | None = Field(description="The run that this one replays.")


class RunList(BaseModel):
    """A page of runs."""

    runs: list[RunRow]
    next: str = Field(description="Pass it as `after` for the next page; empty on the last.")
    cut: bool = Field(description="The search stopped before it had examined all runs.")


class Attempt(BaseModel):
    """One attempt of a step."""

    attempt: int
    started_at: datetime
    ended_at: datetime
    duration_ms: int
    status: str
    error: dict[str, Any] | None
    next_at: datetime | None = None


class Span(BaseModel):
    """One step of a run."""

    step_id: str
    name: str
    kind: str = Field(description="run, sleep, wait, invoke or function.")
    status: str
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    due_at: datetime | None
    next_try_at: datetime | None
    turn: int | None = Field(description="Steps with the same number were planned together.")
    output: Any
    error: dict[str, Any] | None
    attempts: list[Attempt]
    kept: bool = Field(default=False, description="The result was kept from the replayed run.")
    wait: dict[str, Any] | None = None
    invoke: dict[str, Any] | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


class RunDetail(RunRow):
    """A run with its whole trace."""

    app_version: str = Field(description="As given in the app's code; without that, the number of its registration.")
    function_name: str = Field(description="The name given to the function in its code; empty without one.")
    outcome: str | None
    start_at: datetime | None
    started_at: datetime | None
    start_by: datetime | None
    finish_by: datetime | None
    max_attempts: int
    cancel_on: list[dict[str, str]]
    parent: dict[str, str] | None
    event: dict[str, Any] | None
    events: list[dict[str, Any]]
    output: Any
    error: dict[str, Any] | None
    replays: list[RunRow]
    trace: list[Span]


class RunLogLine(BaseModel):
    """A line logged by a run's code."""

    number: int = Field(description="Counts the lines of the run from 0.")
    at: datetime
    level: str
    source: str = Field(description="The logger, or the log group in CloudWatch.")
    text: str = Field(description="Includes the traceback, if any; cut after 4,000 characters.")
    step: str | None = Field(description="The step whose body logged the line; null for the function itself.")
    step_id: str | None
    attempt: int | None


class RunLogLines(BaseModel):
    """What a run's code logged, oldest first."""

    kept: str = Field(description="Where lines are kept: memory (of the dev server), cloudwatch, or elsewhere.")
    since: datetime | None = Field(description="Lines logged earlier were not kept.")
    cut: int = Field(description="Number of older lines dropped; -1: there are more, uncounted.")
    lines: list[RunLogLine]


class BulkResult(BaseModel):
    """The result of a bulk action."""

    count: int
    run_ids: list[str]
    done: list[str] = Field(description="Cancelled runs, or the new runs of a replay.")
    failed: list[dict[str, str]] = Field(
        description="`run_id`, `code` and `error` of each run that could not be changed."
    )


class EventRow(BaseModel):
    """An event in a list."""

    event_id: str
    name: str
    received_at: datetime


class EventList(BaseModel):
    """A page of events."""

    events: list[EventRow]
    next: str


class EventNames(BaseModel):
    names: list[str]


class EventDetail(EventRow):
    """An event with the runs that it started."""

    id: str
    data: dict[str, Any]
    ts: int
    user: dict[str, Any]
    v: Any = None
    meta: Any = None
    runs: list[RunRow]
    runs_cut: bool = Field(description="Replays may be missing: there are too many later runs to examine.")
    started: list[str] | None = Field(description="Ids of the runs that it started; null when unknown.")
    skipped: dict[str, str] = Field(
        description="Functions that have a matching trigger but were skipped, and why; `*` stands for all functions."
    )
    waits_ended: list[dict[str, str]] | None = Field(
        description="Waits that it ended: run_id, function_id, step; null when unknown."
    )


class FunctionRow(BaseModel):
    """A function with the runs of the last day."""

    function_id: str
    app_id: str
    app_version: str = Field(description="As given in the app's code; without that, the number of its registration.")
    name: str
    own_name: str = Field(description="The name given to the function in its code; empty without one.")
    triggers: list[dict[str, Any]]
    paused: bool
    retries: dict[str, Any]
    mode: str
    idempotency: str | None
    timeouts: dict[str, str | None]
    cancel_on: list[dict[str, Any]]
    limits: dict[str, Any] = Field(description="invocation_seconds, steps (per run), retention_seconds.")
    schemas: dict[str, Any]
    stats: dict[str, Any] = Field(description="Statistics of the runs queued in the last 24 hours.")


class FunctionList(BaseModel):
    functions: list[FunctionRow]


class FunctionDetail(FunctionRow):
    """A function with its backlog."""

    backlog: dict[str, Any] = Field(description="Runs that have not ended and what they wait for.")


class AppRow(BaseModel):
    """An app."""

    app_id: str
    target: dict[str, str]
    version: int = Field(description="Counts the registrations that changed something.")
    app_version: str = Field(description="As given in the app's code; without that, the number of its registration.")
    synced_at: datetime
    sdk: str
    error: str
    functions: list[str]
    webhooks: list[str]


class AppList(BaseModel):
    apps: list[AppRow]


class ServerInfo(BaseModel):
    """The server's version, mode and capabilities."""

    version: str
    mode: str = Field(description="dev, or stack.")
    stack: str | None
    now: datetime
    can: dict[str, bool]


class DeadLetterRow(BaseModel):
    """A message that failed too often."""

    id: int | str
    queue: str
    body: str
    receive_count: int
    problem: str
    dead_at: datetime | None
    sent_at: datetime | None


class DeadLetterList(BaseModel):
    dead_letters: list[DeadLetterRow]


class Redriven(BaseModel):
    count: int
