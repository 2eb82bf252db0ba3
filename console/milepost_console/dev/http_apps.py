"""Apps at HTTP addresses: asked to register at the start and after they were down; known again after a restart.

An app is asked to answer with its registration (in-band); one that cannot calls `POST /fn/register` instead, as in the
protocol's dev mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from milepost.protocol import Header, Request, Response
from milepost_console.server.backend import Backend
from milepost_console.server.problems import Refused
from milepost_console.server.protocol import register
from milepost_engine.codec import Json, dumps, loads
from milepost_engine.http.endpoints import normal_url
from milepost_engine.ports import InvocationProblem, Invoker, Target
from milepost_engine.store.manifest import ManifestError

__all__ = ["Remotes"]

POLL_SECONDS: Final = 5.0
MISSING_POLL_SECONDS: Final = 1.0
"""Used while a given app does not answer, since it is probably being started."""
TIMEOUT_SECONDS: Final = 10.0


class Remotes:
    """The HTTP apps of a dev server. `say` prints when one appears, changes or stops answering."""

    def __init__(self, invoker: Invoker, say: Callable[[str, str], None]) -> None:
        self._invoker = invoker
        self._say = say
        self._state: dict[str, str] = {}

    async def sync(self, backend: Backend, url: str) -> str:
        """Register the app at a URL and return its id. Raises Refused with the reason."""
        try:
            address = normal_url(url)
        except ValueError as error:
            raise Refused(400, "MP310", f"{error}.") from error
        headers = {
            "content-type": "application/json",
            Header.SERVER_KIND.value: backend.server_kind,
            Header.SYNC_KIND.value: "in_band",
        }
        request = Request("PUT", {}, headers, dumps({"url": url}))
        try:
            answer = await self._invoker.invoke(Target("http", address, TIMEOUT_SECONDS), request)
        except InvocationProblem as problem:
            raise Refused(502, "MP321", f"The app at {url} did not register: {problem.detail}.") from problem
        body = _read(answer)
        if answer.status != 200:
            raise Refused(
                502, "MP321", f"The app at {url} did not register: HTTP {answer.status}, {_reason(answer, body)}"
            )
        if isinstance(body.get("functions"), list) and body.get("app_id"):
            manifest = {**body, "appName": body["app_id"], "url": url}
            try:
                return (await register(backend, manifest, url))[0]
            except ManifestError as error:
                raise Refused(400, "MP201", str(error)) from error
        return await self._called_back(backend, url, address)

    async def _called_back(self, backend: Backend, url: str, address: str) -> str:
        """The app that registered itself by calling back."""
        apps = (await backend.engine.registry.snapshot()).apps.values()
        found = next((app.app_id for app in apps if app.target == Target("http", address)), None)
        if found is None:
            raise Refused(
                502,
                "MP321",
                f"The app at {url} says that it has registered, but this server did not hear from it. Set INNGEST_DEV "
                "or MILEPOST_DEV in the app to this server's address, and let the app register under the host name in "
                "this URL.",
            )
        return found

    async def watch(self, backend: Backend, urls: Sequence[str]) -> None:
        """Keep apps registered until cancelled: the given ones and those registered before."""
        while True:
            known = (await backend.engine.registry.snapshot()).apps.values()
            addresses = dict.fromkeys(
                [*map(normal_url, urls), *(a.target.address for a in known if a.target.kind == "http")]
            )
            await asyncio.gather(*(self._check(backend, address) for address in addresses))
            missing = any(self._state.get(address) != "ok" for address in addresses)
            await backend.engine.clock.sleep(MISSING_POLL_SECONDS if missing else POLL_SECONDS)

    async def _check(self, backend: Backend, address: str) -> None:
        """Register an app again; a healthy, unchanged one answers with the same registration."""
        before = await self._version(backend, address)
        try:
            app_id = await self.sync(backend, address)
        except Refused as refused:
            if self._state.get(address) != refused.message:
                self._state[address] = refused.message
                self._say(refused.message, "red")
                await self._remember(backend, address, refused.message)
            return
        after = await self._version(backend, address)
        count = len((await backend.engine.registry.snapshot()).apps[app_id].functions)
        word = "registered" if address not in self._state or before is None else "changed"
        if self._state.get(address) != "ok" or before != after:
            self._say(f"app {app_id} {word}: {count} function{'' if count == 1 else 's'} at {address}", "green")
        self._state[address] = "ok"

    @staticmethod
    async def _remember(backend: Backend, address: str, problem: str) -> None:
        """Show the problem in the list of apps; the app's functions stay registered."""
        registry = backend.engine.registry
        for app in (await registry.snapshot()).apps.values():
            if app.target.address == address and not app.error:
                await registry.fail_sync(app.app_id, app.target, problem)

    @staticmethod
    async def _version(backend: Backend, address: str) -> int | None:
        apps = (await backend.engine.registry.snapshot()).apps.values()
        return next((app.version for app in apps if app.target.address == address), None)


def _read(answer: Response) -> Mapping[str, Json]:
    try:
        body = loads(answer.body)
    except ValueError:
        return {}
    return cast("Mapping[str, Json]", body) if isinstance(body, Mapping) else {}


def _reason(answer: Response, body: Mapping[str, Json]) -> str:
    text = body.get("message") or body.get("error") or answer.body[:200].decode("utf-8", "replace") or "no message"
    problems = body.get("problems")
    return f"{text}: {'; '.join(map(str, problems))}" if isinstance(problems, list) else str(text)
