"""Worker threads, each with an event loop that reports when it is idle.

A loop asks its selector to block only when no callback is ready to run: that is the moment when a function can go no
further. The selector is ours (an argument of `asyncio.SelectorEventLoop`), so the moment is known exactly. A loop lives
as long as its thread, so that HTTP clients with connections on it keep working.
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

from .branches import child_of_task, current_branch

__all__ = ["IdleSelector", "Pool", "Worker", "pool", "run_in_worker"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MAX_WORKERS: Final = 1024
"""Invocations that one process serves at the same time; others wait. The caller decides how many there are."""

_JOIN_SECONDS: Final = 1.0


class IdleSelector(selectors.DefaultSelector):
    """A selector that calls `idle` before it blocks.

    `idle(timeout, watched)` gets the seconds for which the loop would block (None: until something happens) and the
    number of file objects that it watches. It returns None to block that long, or the most seconds to block for.
    """

    idle: Callable[[float | None, int], float | None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for file objects, after a call of `idle`."""
        # One file object is the loop's own socket, by which other threads wake it: not needed while it is awake. The
        # system call is cheap, but it releases the interpreter lock, and the thread has to wait to get it back.
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
        # At zero there are callbacks to run now, and the sockets were polled a moment ago.
        return super().select(most if timeout is None else min(timeout, most)) if most > 0 else ready


class WorkerLoop(asyncio.SelectorEventLoop):
    """Counts the callbacks and timers put on it, so that a task woken alone can see that nothing else is scheduled.

    It knows its own tasks: asyncio would search for them among the tasks of all loops of the process.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        super().__init__(selector)
        self.calls = 0
        self.timers = 0
        self.tasks: weakref.WeakSet[asyncio.Task[object]] = weakref.WeakSet()
        self._main_done: Callable[[], bool] | None = None

    def run_until_complete(self, future: Generator[object, None, T] | Awaitable[T]) -> T:
        """As in the base class; the loop cannot be stopped until then."""
        main = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        self._main_done = main.done
        try:
            super().run_until_complete(main)
            return main.result()
        finally:
            self._main_done = None

    def stop(self) -> None:
        """Refused while an invocation runs: its tasks would stay on the loop, and the next one would wait for them."""
        if self._main_done is not None and not self._main_done():
            raise CodeError(
                "the event loop that runs your function cannot be stopped (loop.stop()): return from the function to "
                "end it, or raise an error; a loop that you start yourself, with asyncio.run(…) on a thread, can be "
                "stopped"
            )
        super().stop()

    def create_task(
        self, coro: Generator[object, None, T] | Coroutine[object, None, T], **options: Any
    ) -> asyncio.Task[T]:
        """As in the base class, and recorded. In a function it begins a branch, unless it comes with its context."""
        if options.get("context") is None and (branch := child_of_task(getattr(coro, "cr_code", None))) is not None:
            options["context"] = context = copy_context()
            context.run(current_branch.set, branch)
        task = super().create_task(coro, **options)
        self.tasks.add(task)
        return task

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As in the base class, and counted."""
        self.calls += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As in the base class, and counted."""
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)


Notify = Callable[[], None]
"""Delivers the outcome of a piece of work to the caller that waits for it."""
Work = Callable[["Worker"], Notify]
"""Runs on a worker; returns how to deliver its outcome."""


class Worker:
    """A thread with its loop; runs one piece of work at a time."""

    def __init__(self, pool: Pool) -> None:
        self.selector = IdleSelector()
        self.loop = WorkerLoop(self.selector)
        self.left_behind: set[asyncio.Task[object]] = set()
        """Tasks that did not end when they were cancelled. Kept, because the loop logs an error when they are freed."""
        self._pool = pool
        self._queue: queue.SimpleQueue[Callable[[], Notify] | None] = queue.SimpleQueue()
        self.deliver: Callable[[Any], None] = lambda _: None
        """Delivers the result of the running work to its caller before the work ends (it may never end)."""
        self._thread = threading.Thread(target=self._serve, name="milepost-worker", daemon=True)
        self._thread.start()

    def put(self, work: Callable[[], Notify] | None) -> None:
        """Run a piece of work; what it returns is called when the worker is free again. None ends the worker."""
        self._queue.put(work)

    def join(self) -> None:
        """Wait for the end of the thread, at most a second."""
        self._thread.join(_JOIN_SECONDS)

    def _serve(self) -> None:
        while (work := self._queue.get()) is not None:
            notify = work()
            # Free before the caller is notified, so that its next call comes to this worker and loop again.
            self._pool.release(self)
            notify()
            # Do not keep anything of this invocation alive while waiting for the next.
            del work, notify
        self.loop.close()


class Pool:
    """Workers, started when needed and reused, the last one first: its caches and connections are warm."""

    def __init__(self, most: int = MAX_WORKERS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._all: list[Worker] = []
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._closed = False

    def submit(self, work: Work) -> None:
        """Run a piece of work on a worker, now or when one is free."""
        with self._lock:
            if self._idle:
                worker = self._idle.pop()
            elif len(self._all) < self._most:
                worker = Worker(self)
                self._all.append(worker)
            else:
                self._waiting.put(work)
                return
        worker.put(lambda: work(worker))

    def release(self, worker: Worker) -> None:
        """A worker is free again."""
        with self._lock:
            if self._closed:
                return
            try:
                work = self._waiting.get_nowait()
            except queue.Empty:
                self._idle.append(worker)
                return
        worker.put(lambda: work(worker))

    def discard(self, worker: Worker) -> None:
        """A worker's thread will never be free again."""
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
    """The process's pool. A forked process does not have its parent's threads, so it gets a new pool."""
    return _pool_of(os.getpid())


class _Mailbox:
    """Passes outcomes from workers to a loop, all waiting ones together: each call from a thread costs a system call.

    worker    puts one in ── finds it scheduled: does not wake the loop
    loop         ······················ clears the flag ── takes all out
    """

    def __init__(self) -> None:
        self._outcomes: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def put(self, loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
        """Call `settle` on the loop of this mailbox, from any thread."""
        self._outcomes.append(settle)
        if not self._scheduled:
            self._scheduled = True
            # On a closed loop no caller waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._scheduled = False
        while self._outcomes:
            self._outcomes.popleft()()


def _set_result(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _set_exception(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


_mailboxes: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox]] = weakref.WeakKeyDictionary()


async def run_in_worker(work: Callable[[Worker], T]) -> T:
    """Run a piece of work on a worker of the process and wait for it, with a copy of the context variables."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = copy_context()
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = _mailboxes[loop] = _Mailbox()
    put = partial(mailbox.put, loop)

    def run(worker: Worker) -> Notify:
        worker.deliver = lambda result: put(partial(_set_result, done, result))
        try:
            result = context.run(work, worker)
        except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
            return partial(put, partial(_set_exception, done, error))
        return partial(put, partial(_set_result, done, result))

    pool().submit(run)
    return await done
