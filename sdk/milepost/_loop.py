"""Worker threads, each with an event loop that tells when everything on it waits.

A loop's selector is asked to block only when no callback is ready to run: that is the moment when a function has
gone as far as it can. The selector is ours (an argument of `asyncio.SelectorEventLoop`), so the moment is known
without guessing. Loops live as long as their thread, so that HTTP clients pooled on them keep working.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import queue
import selectors
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar

__all__ = ["IdleSelector", "Pool", "Worker", "pool", "run_in_worker"]

T = TypeVar("T")

MAX_WORKERS: Final = 64
"""Invocations that one process serves at the same moment; more wait their turn."""

_JOIN_SECONDS: Final = 1.0


class IdleSelector(selectors.DefaultSelector):
    """A selector that asks `idle` before it blocks.

    `idle(timeout, watched)` is told how long the loop means to block (None: for ever) and how many file objects it
    watches. It answers with None to block so long, or with a number of seconds that is at most blocked for.
    """

    idle: Callable[[float | None, int], float | None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for file objects, after having asked `idle`."""
        if self.idle is None or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        most = self.idle(timeout, len(self.get_map()))
        if most is None:
            return super().select(timeout)
        # At zero there are callbacks to run now; what the sockets say was asked a moment ago.
        return super().select(most if timeout is None else min(timeout, most)) if most > 0 else ready


Job = Callable[["Worker"], Callable[[], None]]
"""Runs on a worker; gives what tells the outcome."""


class Worker:
    """A thread with its loop; runs one job at a time."""

    def __init__(self, owner: Pool) -> None:
        self.selector = IdleSelector()
        self.loop = asyncio.SelectorEventLoop(self.selector)
        self.left_behind: set[asyncio.Task[Any]] = set()
        """Tasks that did not end when they were cancelled. Kept, or the loop would complain when they vanish."""
        self._owner = owner
        self._jobs: queue.SimpleQueue[Callable[[], Callable[[], None]] | None] = queue.SimpleQueue()
        self.deliver: Callable[[object], None] = lambda _: None
        """Gives the result of the running job to whoever waits for it, before the job ends (it may never end)."""
        self._thread = threading.Thread(target=self._serve, name="milepost-worker", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], Callable[[], None]] | None) -> None:
        """Run a job; what it gives is called when the worker is free again. None ends the worker."""
        self._jobs.put(job)

    def join(self) -> None:
        self._thread.join(_JOIN_SECONDS)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            tell = job()
            # Free before the caller hears of it: its next job comes here again, to this loop.
            self._owner.give_back(self)
            tell()
            # Nothing of this invocation may be kept alive while waiting for the next.
            del job, tell
        self.loop.close()


class Pool:
    """Workers, started as needed and used again, the last one first: its caches and connections are warm."""

    def __init__(self, most: int = MAX_WORKERS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._closed = False

    def submit(self, job: Job) -> None:
        """Run a job on a worker, now or when one is free."""
        with self._lock:
            if self._idle:
                worker = self._idle.pop()
            elif len(self._all) < self._most:
                worker = Worker(self)
                self._all.append(worker)
            else:
                self._waiting.put(job)
                return
        worker.put(lambda: job(worker))

    def give_back(self, worker: Worker) -> None:
        """A worker is free again."""
        with self._lock:
            if self._closed:
                return
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                self._idle.append(worker)
                return
        worker.put(lambda: job(worker))

    def give_up(self, worker: Worker) -> None:
        """A worker's thread will never come back."""
        with self._lock:
            if worker in self._all:
                self._all.remove(worker)

    def close(self) -> None:
        """End all idle workers and close their loops."""
        with self._lock:
            self._closed = True
            workers, self._all, self._idle = self._idle, [], []
        for worker in workers:
            worker.put(None)
        for worker in workers:
            worker.join()


@functools.lru_cache(maxsize=1)
def _pool_of(process_id: int) -> Pool:
    del process_id
    made = Pool()
    atexit.register(made.close)
    return made


def pool() -> Pool:
    """The process's pool. A forked process has none of its parent's threads, so it gets one of its own."""
    return _pool_of(os.getpid())


async def run_in_worker(job: Callable[[Worker], T]) -> T:
    """Run a job on a worker of the process and wait for it; context variables travel along."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def settle(result: object, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    def deliver(result: object, problem: BaseException | None = None) -> None:
        # A closed loop has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, problem)

    def work(worker: Worker) -> Callable[[], None]:
        worker.deliver = deliver
        try:
            result = context.run(job, worker)
        except BaseException as error:  # noqa: BLE001 - handed to the waiting caller
            return partial(deliver, None, error)
        return partial(deliver, result)

    pool().submit(work)
    return await done  # type: ignore[no-any-return]
