"""The registry: apps and their functions, where they are served, and which event starts what.

    pk    sk              item
    REG   app#<app>       one app: its manifest, target, version, last sync and the error of a failed one
    REG   paused#<fn>     a paused function
    REG   gone#<fn>       a function that was registered once; its runs are still listed
One small partition, read as a whole and cached for a few seconds; a change made here clears the cache.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, cast

from milepost_engine.codec import Json, dumps, loads, text
from milepost_engine.core.ids import from_ms, short_hash, to_ms
from milepost_engine.ports import Clock, Item, Key, Table, Target

from .manifest import CronTrigger, EventTrigger, FunctionSpec, ManifestError, read_manifest
from .values import Values

__all__ = ["RegisteredApp", "Registry", "Snapshot", "patterns"]

_PARTITION: Final = "REG"


@dataclass(frozen=True, slots=True)
class RegisteredApp:
    """A registered app. `error` is the text of the last sync if it failed; `functions` are from the last good one.

    `made_by`: what registered it, if several may register and remove the same app.
    """

    app_id: str
    target: Target
    version: int
    synced_at: datetime
    sdk: str
    functions: tuple[FunctionSpec, ...]
    manifest: Mapping[str, Json]
    error: str = ""
    made_by: str = ""

    @property
    def shown_version(self) -> str:
        """The version that the app's author gave it; without one, the number of its registration."""
        return str(self.manifest.get("appVersion") or self.version)


def patterns(name: str) -> Iterator[str]:
    """The trigger names that an event name matches: itself, and `*` after every `/` and every `.` (protocol §1.1)."""
    yield name
    for place, letter in enumerate(name):
        if letter in "/.":
            yield name[: place + 1] + "*"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The registry at one moment."""

    apps: Mapping[str, RegisteredApp]
    paused: frozenset[str]
    functions: Mapping[str, FunctionSpec]
    by_event: Mapping[str, tuple[tuple[FunctionSpec, EventTrigger], ...]]
    gone: frozenset[str] = frozenset()
    """Ids of functions that were removed; some of them may have been registered again."""

    @property
    def known(self) -> tuple[str, ...]:
        """Ids of all functions that may have runs."""
        return tuple(dict.fromkeys((*self.functions, *sorted(self.gone))))

    def started_by(self, event_name: str) -> dict[str, list[tuple[FunctionSpec, EventTrigger]]]:
        """Functions that an event may start, with the triggers that match its name."""
        found: dict[str, list[tuple[FunctionSpec, EventTrigger]]] = {}
        for pattern in patterns(event_name):
            for spec, trigger in self.by_event.get(pattern, ()):
                found.setdefault(spec.function_id, []).append((spec, trigger))
        return found

    def may_have_started(self, *event_names: str) -> tuple[str, ...]:
        """Functions whose runs events of these names may have started, including every function removed since."""
        started = (function_id for name in event_names for function_id in self.started_by(name))
        return tuple(dict.fromkeys((*started, *sorted(self.gone))))

    def retentions_of(self, event_name: str) -> list[timedelta | None]:
        """The retention that each function an event may start asks for; None means the default."""
        return [pairs[0][0].retention for pairs in self.started_by(event_name).values()]

    def listens(self, event_name: str) -> bool:
        return any(pattern in self.by_event for pattern in patterns(event_name))

    def crons(self) -> Iterator[tuple[FunctionSpec, CronTrigger]]:
        for spec in self.functions.values():
            for trigger in spec.triggers:
                if isinstance(trigger, CronTrigger):
                    yield spec, trigger

    def owner_of(self, function_id: str) -> str | None:
        """The app that has a function."""
        spec = self.functions.get(function_id)
        return spec.app_id if spec else None

    def target_of(self, app_id: str) -> Target | None:
        app = self.apps.get(app_id)
        return app.target if app else None


class Registry:
    """Reads and changes the registry. Changes of other processes are seen after at most `max_age`."""

    def __init__(
        self, table: Table, values: Values, clock: Clock, *, max_age: timedelta = timedelta(seconds=5)
    ) -> None:
        self._table = table
        self._values = values
        self._clock = clock
        self._max_age = max_age
        self._snapshot: Snapshot | None = None
        self._read_at: datetime | None = None

    async def snapshot(self) -> Snapshot:
        now = self._clock.now()
        if self._snapshot is None or self._read_at is None or now - self._read_at > self._max_age:
            page = await self._table.query(_PARTITION)
            self._snapshot = self._build(page.items)
            self._read_at = now
        return self._snapshot

    async def known_functions(self, *, anew: bool = False) -> tuple[str, ...]:
        """Ids of all functions that may have runs; with `anew`, read from the table."""
        if anew:
            self.forget()
        return (await self.snapshot()).known

    async def sync(self, manifest: Mapping[str, Json], target: Target, *, made_by: str = "") -> RegisteredApp:
        """Register an app. Raises ManifestError with every problem; then nothing is stored."""
        app_id, functions = read_manifest(manifest)
        now = self._clock.now()
        snapshot = await self.snapshot()
        known = snapshot.apps.get(app_id)
        # App `a` with function `b-c` and app `a-b` with function `c` have the same full id.
        taken = [spec.function_id for spec in functions if snapshot.owner_of(spec.function_id) not in {None, app_id}]
        if taken:
            problem = "Function {!r}: app {!r} has a function with the same full id; give one of them another id."
            raise ManifestError(app_id, tuple(problem.format(id_, snapshot.owner_of(id_)) for id_ in taken))
        body = dumps(manifest)
        digest = short_hash(body.decode(), target.kind, target.address)
        version = known.version if known else 0
        if (
            known is None
            or short_hash(dumps(known.manifest).decode(), known.target.kind, known.target.address) != digest
        ):
            version += 1
        app = RegisteredApp(
            app_id, target, version, now, str(manifest.get("sdk", "")), functions, manifest, "", made_by
        )
        await self._note_gone(snapshot, app_id, kept={spec.function_id for spec in functions})
        await self._table.put(self._item(app, body))
        self.forget()
        return app

    async def fail_sync(self, app_id: str, target: Target, error: str) -> None:
        """Store why an app could not be registered; its earlier registration stays in effect."""
        known = (await self.snapshot()).apps.get(app_id)
        now = self._clock.now()
        app = replace(known, error=error) if known else RegisteredApp(app_id, target, 0, now, "", (), {}, error)
        await self._table.put(self._item(app, dumps(app.manifest)))
        self.forget()

    async def remove(self, app_id: str) -> None:
        """Remove an app: its functions are no longer started; live runs continue while the app answers."""
        await self._note_gone(await self.snapshot(), app_id, kept=frozenset())
        await self._table.delete(Key(_PARTITION, f"app#{app_id}"))
        self.forget()

    async def _note_gone(self, snapshot: Snapshot, app_id: str, *, kept: Collection[str]) -> None:
        """Note functions before they are removed: a crash in between must not hide their runs."""
        app = snapshot.apps.get(app_id)
        for spec in app.functions if app else ():
            if spec.function_id not in kept and spec.function_id not in snapshot.gone:
                await self._table.put({"pk": _PARTITION, "sk": f"gone#{spec.function_id}"})

    async def pause(self, function_id: str, *, paused: bool) -> None:
        """Pause or resume a function. A paused function is not started; its live runs continue."""
        key = Key(_PARTITION, f"paused#{function_id}")
        if paused:
            await self._table.put({"pk": key.pk, "sk": key.sk, "paused_at": to_ms(self._clock.now())})
        else:
            await self._table.delete(key)
        self.forget()

    def forget(self) -> None:
        """Clear the cache: the next call reads the table."""
        self._snapshot = None

    def _item(self, app: RegisteredApp, body: bytes) -> Item:
        target: dict[str, Json] = {
            "kind": app.target.kind,
            "address": app.target.address,
            "timeout": app.target.timeout_seconds,
        }
        if app.target.reports:
            target["reports"] = True
        return {
            "pk": _PARTITION,
            "sk": f"app#{app.app_id}",
            "target": text(target),
            "version": app.version,
            "synced_at": to_ms(app.synced_at),
            "sdk": app.sdk,
            "error": app.error,
            **({"made_by": app.made_by} if app.made_by else {}),
            **self._values.pack("manifest", body),
        }

    def _build(self, items: Sequence[Item]) -> Snapshot:
        apps: dict[str, RegisteredApp] = {}
        paused: set[str] = set()
        gone: set[str] = set()
        for item in items:
            kind, _, name = str(item["sk"]).partition("#")
            match kind:
                case "paused":
                    paused.add(name)
                case "gone":
                    gone.add(name)
                case _:
                    apps[name] = self._app(name, item)
        functions = {spec.function_id: spec for app in apps.values() for spec in app.functions}
        by_event: dict[str, list[tuple[FunctionSpec, EventTrigger]]] = {}
        for spec in functions.values():
            for trigger in spec.triggers:
                if isinstance(trigger, EventTrigger):
                    by_event.setdefault(trigger.event, []).append((spec, trigger))
        return Snapshot(
            apps,
            frozenset(paused),
            functions,
            {name: tuple(found) for name, found in by_event.items()},
            frozenset(gone),
        )

    def _app(self, app_id: str, item: Item) -> RegisteredApp:
        manifest = cast("Mapping[str, Json]", loads(self._values.unpack("manifest", item)))
        functions = read_manifest(manifest, stored=True)[1] if manifest else ()
        raw = cast("Mapping[str, Json]", loads(str(item["target"])))
        timeout, reports = float(cast("float", raw["timeout"])), bool(raw.get("reports"))
        target = Target(str(raw["kind"]), str(raw["address"]), timeout, reports)
        return RegisteredApp(
            app_id,
            target,
            int(item["version"]),
            from_ms(int(item["synced_at"])),
            str(item["sdk"]),
            functions,
            manifest,
            str(item["error"]),
            str(item.get("made_by", "")),
        )
