"""Runs as a harness returns them: the API's JSON objects, whose fields are typed attributes as well."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

__all__ = ["AttemptRecord", "ErrorRecord", "RunRecord", "StepRecord"]


class _Record(dict[str, Any]):
    """A JSON object; `record["status"]` and `record.status` are the same."""

    def _moment(self, name: str) -> datetime | None:
        text = self.get(name)
        return datetime.fromisoformat(text) if isinstance(text, str) else None

    def _error(self) -> ErrorRecord | None:
        error = self.get("error")
        return ErrorRecord(error) if isinstance(error, dict) else None


class ErrorRecord(_Record):
    """Why a run, a step or an attempt failed, or why a run was cancelled."""

    @property
    def name(self) -> str:
        """Class name of the error."""
        return str(self.get("name") or "")

    @property
    def message(self) -> str:
        """Its text."""
        return str(self.get("message") or "")

    @property
    def data(self) -> Any:
        """The `data` of the error; None if it had none."""
        return self.get("data")


class AttemptRecord(_Record):
    """One attempt of a step."""

    @property
    def attempt(self) -> int:
        """Its number, from 0."""
        return int(self["attempt"])

    @property
    def status(self) -> str:
        """`"Completed"` or `"Failed"`."""
        return str(self["status"])

    @property
    def error(self) -> ErrorRecord | None:
        """Why it failed."""
        return self._error()


class StepRecord(_Record):
    """One step of a run's trace."""

    @property
    def name(self) -> str:
        """The id that the function gave it."""
        return str(self["name"])

    @property
    def kind(self) -> str:
        """`"run"`, `"sleep"`, `"wait"`, `"invoke"` or `"function"`."""
        return str(self["kind"])

    @property
    def status(self) -> str:
        """`"Completed"`, `"Failed"`, or what it is doing, such as `"Sleeping"`."""
        return str(self["status"])

    @property
    def output(self) -> Any:
        """Its result as JSON."""
        return self["output"]

    @property
    def error(self) -> ErrorRecord | None:
        """Why it failed for good."""
        return self._error()

    @property
    def attempts(self) -> list[AttemptRecord]:
        """Its attempts, oldest first."""
        return [AttemptRecord(attempt) for attempt in self["attempts"]]

    @property
    def started_at(self) -> datetime | None:
        """When it started, in UTC."""
        return self._moment("started_at")

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in UTC; None while it is open."""
        return self._moment("ended_at")

    @property
    def kept(self) -> bool:
        """Whether its result was kept from the run that this one replays."""
        return bool(self.get("kept", False))


class RunRecord(_Record):
    """A run with its whole trace. The fields are those of `GET /api/runs/{id}`; these are the ones that tests use."""

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return str(self["run_id"])

    @property
    def function_id(self) -> str:
        """Full id of its function."""
        return str(self["function_id"])

    @property
    def status(self) -> str:
        """`"Queued"`, `"Running"`, `"Completed"`, `"Failed"` or `"Cancelled"`."""
        return str(self["status"])

    @property
    def output(self) -> Any:
        """What the function returned, as JSON; None unless the run completed."""
        return self["output"]

    @property
    def error(self) -> ErrorRecord | None:
        """Why the run failed or was cancelled."""
        return self._error()

    @property
    def event(self) -> dict[str, Any]:
        """The event that started it."""
        return cast("dict[str, Any]", self["event"] or {})

    @property
    def trace(self) -> list[StepRecord]:
        """Its steps, in the order in which they started."""
        return [StepRecord(span) for span in self["trace"]]

    def step(self, name: str, index: int = 0) -> StepRecord:
        """The `index`-th use of a step's id, from 0. Raises LookupError, which names the steps that there are."""
        found = [span for span in self.trace if span.name == name]
        if index >= len(found):
            names = ", ".join(repr(span.name) for span in self.trace) or "none"
            raise LookupError(f"run {self.run_id} has {len(found)} step(s) of the id {name!r}; its steps are: {names}")
        return found[index]

    @property
    def queued_at(self) -> datetime | None:
        """When it was queued, in UTC."""
        return self._moment("queued_at")

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, in UTC; None while it lives."""
        return self._moment("ended_at")
