"""Threads and workers of the explored world, and the actions that may happen next."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from milepost_engine.engine import Engine

from .footprint import Footprint
from .ports import Call
from .setting import Sent
from .stories import Send

__all__ = ["Action", "AnswerLost", "Crash", "Deliver", "Go", "Lose", "Outside", "Point", "Tear", "Thread", "Worker"]


class AnswerLost(Exception):
    """What the caller of a write sees when the write took effect and its answer was lost."""


@dataclass(slots=True, eq=False)
class Point:
    """Where a thread stands. `after_body`: the thread is inside a body until it continues."""

    call: Call
    done: asyncio.Future[Any]
    switches: bool
    after_body: bool = False


@dataclass(slots=True, eq=False)
class Thread:
    """One message being handled by one worker.

    `history` stands for everything that its code has seen so far, `began` for when its worker received the message.
    `fresh`: its worker had nothing else to do then, and it has made no call yet. `asleep`: what its next call touches,
    while nothing has happened that this depends on.
    """

    message: Sent
    worker: Worker
    fresh: bool
    began: datetime
    task: asyncio.Task[None] | None = None
    points: list[Point] = field(default_factory=list)
    history: int = 0
    draws: int = 0
    bodies: int = 0
    in_body: bool = False
    saw_end: bool = False
    failed_on_purpose: bool = False
    asleep: Footprint | None = None

    @property
    def identity(self) -> tuple[str, int, str]:
        return self.message.identity

    @property
    def has_reported(self) -> bool:
        """Whether it has served a call that was handed over: its bodies are over when what it reports is recorded."""
        return self.message.is_call and self.task is not None and self.task.done() and self.task.exception() is None

    @property
    def label(self) -> str:
        return self.message.name + (" (redelivered)" if self.redelivered else "") + self.message.copy

    @property
    def worker_name(self) -> str:
        return self.worker.name

    @property
    def body(self) -> str:
        return self.message.body

    @property
    def redelivered(self) -> bool:
        return self.message.receives > 1


@dataclass(slots=True, eq=False)
class Worker:
    """`known` is the fingerprint of what it knows of its runs, once it was taken."""

    name: str
    engine: Engine
    threads: list[Thread] = field(default_factory=list)
    known: int | None = None


# --- what may happen next ---------------------------------------------------------------------------------------------


class Go(NamedTuple):
    """A thread makes the call that it stands before."""

    thread: Thread


class Lose(NamedTuple):
    """The same, but the answer is lost."""

    thread: Thread


class Deliver(NamedTuple):
    """A worker receives a message. `fault`: "twice" or "again" keeps a copy in the queue."""

    message: Sent
    worker: Worker
    fault: str = ""


class Tear(NamedTuple):
    """A thread reads the first items of a run, up to a place; the others are a call of their own."""

    thread: Thread
    place: int


class Crash(NamedTuple):
    """`fault`: "crashes", or "dropped" when the messages of the worker are gone with it."""

    worker: Worker
    fault: str = "crashes"


class Outside(NamedTuple):
    """The next thing from outside happens: an event or a cancellation."""

    send: Send


Action = Go | Lose | Tear | Deliver | Crash | Outside
