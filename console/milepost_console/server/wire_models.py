"""Shapes that apps, SDKs and senders exchange with the server, for the API description; see `models`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel, to_pascal

__all__ = [
    "CancelRunBody",
    "CheckpointBody",
    "DevServerInfo",
    "EventAnswer",
    "EventsAnswer",
    "EventsRefused",
    "EventsTaken",
    "Health",
    "InvokeBody",
    "InvokeRefused",
    "Invoked",
    "PutEventsAnswer",
    "PutEventsBody",
    "PutEventsRefused",
    "RegisterBody",
    "RegisterRefused",
    "Registered",
    "RunAnswer",
    "RunOutcome",
    "RunsAnswer",
    "SentEvent",
    "StartRefused",
    "StartRunBody",
    "WireEvent",
    "WireRefused",
]


class SentEvent(BaseModel):
    """An event as sent; other fields are ignored."""

    name: str = Field(min_length=1)
    data: dict[str, Any] | None = None
    id: str | None = Field(
        default=None, max_length=512, description="Within 24 hours, an id starts each function at most once."
    )
    ts: float | None = Field(default=None, description="Milliseconds since 1970; if in the future, runs start then.")
    user: dict[str, Any] | None = None
    v: Any = None
    meta: Any = None


class EventsTaken(BaseModel):
    """The accepted events, in order."""

    ids: list[str] = Field(description="A single empty id when no events were sent.")
    status: int


class EventsRefused(EventsTaken):
    """The accepted events before the first invalid one, and what is wrong with that one."""

    error: str


class InvokeBody(BaseModel):
    data: dict[str, Any] = Field(default_factory=dict)


class Invoked(BaseModel):
    """The event created for the run."""

    id: str
    status: int


class InvokeRefused(BaseModel):
    error: str
    status: int


class StartRunBody(BaseModel):
    """What a run is started with."""

    data: dict[str, Any] = Field(default_factory=dict)
    id: str = Field(
        default="", max_length=1024, description="Within 24 hours, an id starts a function at most once; same run."
    )
    seed: str = Field(default="", description="`<milliseconds>,<base64 of 10 bytes>`: the same in each try.")
    chain: int = Field(default=0, description="How many events and starts led to this one.")


class CancelRunBody(BaseModel):
    reason: str = Field(default="", max_length=1000)


class RunOutcome(BaseModel):
    """A run's status, with its output or its error once it has ended."""

    run_id: str
    function_id: str
    status: str = Field(description="Queued, Running, Completed, Failed or Cancelled.")
    output: Any
    error: Any


class StartRefused(InvokeRefused):
    code: str = Field(examples=["MP308"])


class RegisterBody(BaseModel):
    """An app's registration; SDKs send more fields than listed here."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    app_name: str
    url: str = Field(description="URL of the app.")
    functions: list[dict[str, Any]]
    sdk: str = ""


class Registered(BaseModel):
    ok: bool
    modified: bool
    sync_id: str
    app_id: str


class WireRefused(BaseModel):
    """A refusal in the protocol's format."""

    error: str
    status: int
    data: dict[str, Any] | None


class RegisterRefused(WireRefused):
    problems: list[str] = Field(default=[], description="Problems by function.")


class CheckpointBody(BaseModel):
    """Finished steps of a running invocation; SDKs send more fields than listed here."""

    model_config = ConfigDict(extra="allow")

    steps: list[dict[str, Any]] = Field(description="Ops, as an invocation would return them.")
    fn_id: str = ""
    request_started_at: int | None = Field(default=None, description="Milliseconds since 1970.")


class WireEvent(BaseModel):
    """An event as functions see it."""

    id: str
    name: str
    data: dict[str, Any]
    ts: int = Field(description="Milliseconds since 1970.")
    user: dict[str, Any]
    v: Any = None
    meta: Any = None


class Health(BaseModel):
    status: int
    message: str


class DevFunction(BaseModel):
    id: str
    name: str
    slug: str
    triggers: list[dict[str, Any]]
    steps: list[dict[str, Any]]


class DevApp(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    sdk: dict[str, Any] = Field(description="The app's registration.")
    created_at: datetime
    updated_at: datetime
    error: str


class DevServerInfo(BaseModel):
    """Server information that tools of the protocol read."""

    model_config = ConfigDict(alias_generator=to_camel)

    version: str
    authed: bool
    start_opts: dict[str, Any]
    functions: list[DevFunction]
    handlers: list[DevApp]
    features: dict[str, Any]
    is_single_node_service: bool
    is_missing_signing_key: bool
    is_missing_event_keys: bool


class Fetched(BaseModel):
    fetched_at: datetime
    cached_until: datetime


class KeptEvent(WireEvent):
    """A stored event."""

    internal_id: str
    account_id: str
    environment_id: str
    source: str
    source_id: str | None
    received_at: datetime


class WireRun(BaseModel):
    run_id: str
    run_started_at: datetime
    function_id: str
    function_version: int
    environment_id: str
    event_id: str
    status: str
    ended_at: datetime | None
    output: Any = Field(description="What the function returned, or its error.")


class EventAnswer(BaseModel):
    data: KeptEvent
    metadata: Fetched


class EventsAnswer(BaseModel):
    data: list[KeptEvent]
    metadata: Fetched


class RunAnswer(BaseModel):
    data: WireRun
    metadata: Fetched


class RunsAnswer(BaseModel):
    data: list[WireRun]
    metadata: Fetched


class PutEventsEntry(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal, extra="allow")

    source: str
    detail_type: str = Field(description="Becomes the event's name.")
    detail: str = Field(description="A JSON object; becomes the event's data.")
    time: float | None = Field(default=None, description="Seconds since 1970.")


class PutEventsBody(BaseModel):
    """As in the Amazon EventBridge API reference."""

    model_config = ConfigDict(alias_generator=to_pascal, extra="allow")

    entries: list[PutEventsEntry] = Field(min_length=1, max_length=10)


class PutEventsResult(BaseModel):
    """An `EventId`, or why the entry was refused."""

    model_config = ConfigDict(alias_generator=to_pascal)

    event_id: str = ""
    error_code: str = ""
    error_message: str = ""


class PutEventsAnswer(BaseModel):
    model_config = ConfigDict(alias_generator=to_pascal)

    failed_entry_count: int
    entries: list[PutEventsResult]


class PutEventsRefused(BaseModel):
    kind: str = Field(alias="__type")
    message: str
