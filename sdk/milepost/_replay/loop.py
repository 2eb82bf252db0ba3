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
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, TypeVar, TypeVarTuple, cast

from milepost.errors import CodeError

__all__ = ["IdleSelector", "Pool", "Worker", "pool", "run_in_worker"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

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
        # One is the loop's own socket, by which other threads wake it: it has no need of that while it is awake. Asking
        # the system costs little, but whoever asks gives the interpreter away, and has to wait for it then.
        watched = len(self.get_map())
        blocks = timeout is None or timeout > 0
        if self.idle is None or not blocks:
            return super().select(timeout) if blocks or watched > 1 else []
        ready = super().select(0) if watched > 1 else []
        if ready:
            return ready
        most = self.idle(timeout, watched)
        if most is None:
            return super().select(timeout)
        # At zero there are callbacks to run now; what the sockets say was asked a moment ago.
        return super().select(most if timeout is None else min(timeout, most)) if most > 0 else ready


class WorkerLoop(asyncio.SelectorEventLoop):
    """Counts what is put on it: so a task that was woken alone can tell that nothing else has a turn to wait for.

    It knows its own tasks: asyncio would look for them among those of all loops of the process.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self.calls = 0
        self.timers = 0
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self._job: asyncio.Future[Any] | None = None

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """As the base class has it; until then nobody stops the loop."""
        job = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        self._job = job
        try:
            super().run_until_complete(job)
            return job.result()
        finally:
            self._job = None

    def stop(self) -> None:
        """Refused while a job runs: it would leave its tasks to the next one, which waits for them for ever."""
        if self._job is not None and not self._job.done():
            raise CodeError(
                "the event loop that runs your function cannot be stopped (loop.stop()): return from the function to "
                "end it, or raise an error; a loop of your own, asyncio.run(…) on a thread, can be stopped"
            )
        super().stop()

    def create_task(self, coro: Generator[Any, None, T] | Coroutine[Any, Any, T], **options: Any) -> asyncio.Task[T]:
        """As the base class has it, noted."""
        task = super().create_task(coro, **options)
        self.tasks.add(task)
        return task

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As the base class has it, counted."""
        self.calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As the base class has it, counted."""
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


Job = Callable[["Worker"], Callable[[], None]]
"""Runs on a worker; gives what tells the outcome."""


class Worker:
    """A thread with its loop; runs one job at a time."""

    def __init__(self, owner: Pool) -> None:
        self.selector = IdleSelector()
        self.loop = WorkerLoop(self.selector)
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


class _Mailbox:
    """Takes outcomes from workers to a loop, as many at once as have come: each call from a thread costs a system call.

    worker    puts one in ── finds the flag up: tells nobody
    loop         ······················ lets the flag down ── takes all out
    """

    def __init__(self) -> None:
        self._outcomes: deque[tuple[asyncio.Future[Any], object, BaseException | None]] = deque()
        self._told = False

    def put(self, done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        """Settle a future of the loop, from any thread."""
        self._outcomes.append((done, result, error))
        if not self._told:
            self._told = True
            # A closed loop has nobody waiting any more.
            with contextlib.suppress(RuntimeError):
                done.get_loop().call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._told = False
        while self._outcomes:
            done, result, error = self._outcomes.popleft()
            if done.done():
                continue
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)


_mailboxes: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox]] = weakref.WeakKeyDictionary()


async def run_in_worker(job: Callable[[Worker], T]) -> T:
    """Run a job on a worker of the process and wait for it; context variables travel along."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = _mailboxes[loop] = _Mailbox()
    put = mailbox.put

    def work(worker: Worker) -> Callable[[], None]:
        worker.deliver = lambda result: put(done, result, None)
        try:
            result = context.run(job, worker)
        except BaseException as error:  # noqa: BLE001 - handed to the waiting caller
            return partial(put, done, None, error)
        return partial(put, done, result, None)

    pool().submit(work)
    return await done
