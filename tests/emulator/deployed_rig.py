"""The scenarios' rig over the deployed stack: user code in the test's process, called over HTTP, all else in Lambdas.

    test ── send, cancel, replay ──► table, work queue ◄── orchestrator Lambda ── signed calls ──► the test's app
Time is real: `wind` waits until all runs have ended, and at most as long as it is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from milepost import App
from milepost_console.stack.parts import find_stack
from milepost_console.stack.wiring import open_stack
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.operations.queries import RunFilter
from milepost_engine.ports import Table, Target
from tests.scenarios.rig import Rig

from .cloud import STACK, Cloud, eventually
from .remote import serving

__all__ = ["deployed_place"]

_PAUSE_SECONDS = 0.1


@dataclass
class Elsewhere:
    """The apps of a test as one ASGI application, each under its own path; counts the calls by target."""

    apps: dict[str, App] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = parse_qs(scope["query_string"].decode())
        self.calls.append((query["fnId"][0], query["stepId"][0]))
        await self.apps[scope["path"].rpartition("/")[2]].asgi()(scope, receive, send)


@dataclass
class Stored:
    """What stories look into."""

    table: Table


@dataclass
class DeployedRig(Rig):
    """See the module."""

    cloud: Cloud
    url: str
    began: datetime

    async def serve(self, app: App) -> None:
        """Register an app as its `/fn/register` would, and let no process remember an older registry."""
        self.served.apps[app.id] = app
        url = f"{self.url}/{app.id}"
        await self.engine.registry.sync(app.manifest(url), Target("http", url))
        await self.settle()
        await asyncio.to_thread(self.cloud.start_anew, "Orchestrator")

    async def settle(self) -> None:
        """Wait until nothing is due. A message is deleted after all that it led to was sent, so none is between."""
        await asyncio.to_thread(eventually, lambda: self.cloud.idle("MilepostQueueUrl"), "nothing is due any more")

    async def wind(self, span: timedelta | float) -> None:
        """Wait for the end of all runs."""
        end = time.monotonic() + (span.total_seconds() if isinstance(span, timedelta) else span)
        await self.settle()
        while await self._open() and time.monotonic() < end:
            await asyncio.sleep(_PAUSE_SECONDS)
            await self.settle()

    def which(self, function_id: str | None) -> RunFilter:
        """Runs of this test's apps; those of tests before it are still in the table."""
        manifests: list[Any] = [app.manifest(self.url) for app in self.served.apps.values()]
        known = [str(each["id"]) for manifest in manifests for each in manifest["functions"]]
        return RunFilter(functions=(function_id,) if function_id else tuple(known), since=self.began)

    async def _open(self) -> list[dict]:
        return [run for run in await self.runs() if not run["ended_at"]]

    async def leave(self) -> None:
        """End what is still open and take the apps out."""
        for run in await self._open():
            await self.engine.operations.cancel(run["run_id"], "the test is over")
        await self.settle()
        for app_id in self.served.apps:
            await self.engine.registry.remove(app_id)


@contextmanager
def deployed_place(cloud: Cloud) -> Iterator[Callable[[], AbstractAsyncContextManager[Rig]]]:
    """What opens a rig, for one test after the other."""
    clock, elsewhere = SystemClock(), Elsewhere()
    with serving(elsewhere) as url, open_stack(cloud, find_stack(cloud, STACK), clock=clock) as backend:
        stored = Stored(backend.engine.queries.table)

        @asynccontextmanager
        async def opened() -> AsyncIterator[Rig]:
            elsewhere.apps.clear()
            elsewhere.calls.clear()
            # No queue of its own and no wound clock: what needs them cannot be shown here.
            made = DeployedRig(backend.engine, None, clock, elsewhere, stored, cloud, url, clock.now())  # type: ignore[arg-type]
            yield made
            await made.leave()

        yield opened
