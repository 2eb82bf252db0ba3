"""Log lines about one run, from the stack's Lambdas and from the run's app."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from botocore.exceptions import ClientError

from milepost_console.cli.client import ClientProblem
from milepost_console.dev.run_log import LoggedLine, RunLog
from milepost_console.server.problems import Refused
from milepost_engine.core.run import Run
from milepost_engine.operations.queries import iso
from milepost_engine.ports import Clock
from milepost_engine.store.registry import RegisteredApp

from .parts import StackParts
from .problems import aws_problems

__all__ = ["LogLine", "StackRunLogs", "log_group_of", "run_log"]

_BEFORE: Final = timedelta(minutes=1)
_AFTER: Final = timedelta(minutes=15)
"""Margins around the run, because logs arrive late and clocks differ."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_GONE: Final = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line; `fields` is a JSON line's content, or `message` with the text of any other line."""

    at: datetime
    log_group: str
    fields: Mapping[str, Any]

    @property
    def level(self) -> str:
        return str(self.fields.get("level") or self.fields.get("log_level") or "")

    @property
    def message(self) -> str:
        message = self.fields.get("message", "")
        return message if isinstance(message, str) else json.dumps(message)


def log_group_of(session: Any, function: str) -> str:
    """The log group of a Lambda, by ARN or name; empty if the Lambda does not exist."""
    with aws_problems():
        client = session.client("lambda")
        try:
            found = client.get_function_configuration(FunctionName=function)
        except ClientError as error:
            if error.response["Error"]["Code"] == _GONE:
                return ""
            raise
        finally:
            client.close()
    return str(found.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{found['FunctionName']}")


def run_log(
    session: Any,
    parts: StackParts,
    run: Mapping[str, Any],
    more_groups: Sequence[str],
    now: datetime,
    *,
    most: int | None = None,
) -> list[LogLine]:
    """The lines that name a run, oldest first, up to `most` of each log group. `run` is as the API returns it.

    Raises ClientProblem.
    """
    began = datetime.fromisoformat(run["queued_at"]) - _BEFORE
    ended = datetime.fromisoformat(run["ended_at"]) + _AFTER if run["ended_at"] else now + _BEFORE
    found: list[LogLine] = []
    with aws_problems():
        client = session.client("logs")
        try:
            for group in dict.fromkeys([*parts.log_groups, *filter(None, more_groups)]):
                found += islice(_lines(client, group, run["run_id"], began, ended), most)
        finally:
            client.close()
    return sorted(found, key=lambda line: line.at)


@dataclass(frozen=True, slots=True)
class StackRunLogs:
    """Log lines for the dashboard, read like `milepost logs`; at most `most` lines."""

    session: Any
    parts: StackParts
    clock: Clock
    most: int = 1000

    async def of(self, run: Run, app: RegisteredApp | None) -> RunLog:
        """Query CloudWatch on a thread. Raises Refused when AWS refuses or does not answer."""
        address = app.target.address if app is not None and app.target.kind == "lambda" else ""
        try:
            found = await asyncio.to_thread(self._read, run, address)
        except ClientProblem as problem:
            raise Refused(502, problem.code, str(problem)) from problem
        lines = [_logged(number, line) for number, line in enumerate(found[: self.most])]
        return RunLog("cloudwatch", tuple(lines), cut=-1 if len(found) > self.most else 0)

    def _read(self, run: Run, address: str) -> list[LogLine]:
        groups = [log_group_of(self.session, address)] if address else []
        row = {
            "run_id": run.run_id,
            "queued_at": iso(run.queued_at),
            "ended_at": iso(run.ended.ended_at) if run.ended else None,
        }
        return run_log(self.session, self.parts, row, groups, self.clock.now(), most=self.most + 1)


def _logged(number: int, line: LogLine) -> LoggedLine:
    step, attempt = line.fields.get("step"), line.fields.get("attempt")
    more = line.fields.get("error") or line.fields.get("exception") or ""
    return LoggedLine(
        number=number,
        at=line.at,
        level=line.level,
        source=line.log_group,
        text=f"{line.message}\n{more}" if more else line.message,
        step=str(step or ""),
        attempt=attempt if isinstance(attempt, int) else None,
    )


def _lines(client: Any, group: str, run_id: str, began: datetime, ended: datetime) -> Iterator[LogLine]:
    request = {
        "logGroupName": group,
        "startTime": _milliseconds(began),
        "endTime": _milliseconds(ended),
        # Quoted, so that it matches any line with this text, JSON or not.
        "filterPattern": f'"{run_id}"',
    }
    try:
        for page in client.get_paginator("filter_log_events").paginate(**request):
            for event in page["events"]:
                yield LogLine(_EPOCH + timedelta(milliseconds=event["timestamp"]), group, _fields(event["message"]))
    except ClientError as error:
        # A Lambda that was never called has no log group yet.
        if error.response["Error"]["Code"] != _GONE:
            raise


def _fields(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"message": text.rstrip()}


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
