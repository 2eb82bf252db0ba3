"""Saved queries for CloudWatch Logs Insights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aws_cdk import aws_logs as logs
from constructs import Construct

__all__ = ["SavedQueries"]

_QUERIES: Final = {
    "failed runs with their event": logs.QueryString(
        fields=["@timestamp", "function_id", "run_id", "event_id", "event_name", "error"],
        filter_statements=["message = 'run failed'"],
        sort="@timestamp desc",
        limit=100,
    ),
    "one run's story": logs.QueryString(
        fields=["@timestamp", "message", "step", "attempt", "error", "level"],
        filter_statements=["run_id = 'PUT THE RUN ID HERE'"],
        sort="@timestamp asc",
        limit=1000,
    ),
    "slowest steps": logs.QueryString(
        fields=["@timestamp", "function_id", "run_id", "slowest_step", "slowest_step_ms"],
        filter_statements=["ispresent(slowest_step_ms)"],
        sort="slowest_step_ms desc",
        limit=50,
    ),
}


class SavedQueries(Construct):
    """Saved queries over the logs of the engine and of the apps."""

    def __init__(self, scope: Construct, construct_id: str, *, folder: str) -> None:
        super().__init__(scope, construct_id)
        self._saved = [
            logs.CfnQueryDefinition(
                self,
                title.title().replace(" ", "").replace("'", ""),
                name=f"{folder}/{title}",
                query_string=query.to_string(),
            )
            for title, query in _QUERIES.items()
        ]

    def ask(self, log_groups: Sequence[logs.ILogGroup]) -> None:
        """Query these log groups instead of the previous ones."""
        for query in self._saved:
            query.log_group_names = [group.log_group_name for group in log_groups]
