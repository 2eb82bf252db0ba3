"""Names that the stack shares with the code it deploys: environment variables, metrics, table attributes, outputs.

The engine is not imported here; `tests/infra/test_shared_words.py` proves that both sides use the same names.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = [
    "LONGEST_OPEN_DAYS",
    "NAMESPACE",
    "TTL_ATTRIBUTE",
    "Handler",
    "MetricName",
    "Output",
    "Variable",
]

NAMESPACE: Final = "Milepost"
"""Namespace of all metrics."""

TTL_ATTRIBUTE: Final = "expires_at"

LONGEST_OPEN_DAYS: Final = 366
"""Longest sleep or wait of a run; large values are kept at least that long."""


class Variable(StrEnum):
    """Environment variables of the engine's Lambdas."""

    TABLE = "MILEPOST_TABLE"
    BUCKET = "MILEPOST_BUCKET"
    QUEUE_URL = "MILEPOST_QUEUE_URL"
    RETENTION_DAYS = "MILEPOST_RETENTION_DAYS"
    INVOCATION_SECONDS = "MILEPOST_INVOCATION_SECONDS"
    EVENT_KEY_SECRET = "MILEPOST_EVENT_KEY_SECRET"  # noqa: S105 - a name
    SIGNING_KEY_SECRET = "MILEPOST_SIGNING_KEY_SECRET"  # noqa: S105 - a name
    EVENT_BUS = "MILEPOST_EVENT_BUS"
    RUNS_FUNCTION = "MILEPOST_RUNS_FUNCTION"
    SERVICE = "POWERTOOLS_SERVICE_NAME"
    NAMESPACE = "POWERTOOLS_METRICS_NAMESPACE"
    TRACING_OFF = "POWERTOOLS_TRACE_DISABLED"


class Handler(StrEnum):
    """Entry points of the engine's Lambdas."""

    INTAKE = "milepost_handlers.intake.handler"
    ORCHESTRATOR = "milepost_handlers.orchestrator.handler"
    TIMERS = "milepost_handlers.timers.handler"
    API = "milepost_handlers.api.handler"
    MANIFEST = "milepost_handlers.manifest.handler"
    RUNS = "milepost_handlers.runs.handler"


class MetricName(StrEnum):
    """Metrics emitted by the handlers, with the dimension `service`, and `function_id` for those of a function."""

    RUNS_STARTED = "RunsStarted"
    RUNS_COMPLETED = "RunsCompleted"
    RUNS_FAILED = "RunsFailed"
    RUNS_CANCELLED = "RunsCancelled"
    RUNS_RESCUED = "RunsRescued"
    STEP_RETRIES = "StepRetries"
    STEP_LATENCY = "StepLatency"
    FIRST_STEP_DELAY = "FirstStepDelay"
    INVOCATIONS_THROTTLED = "InvocationsThrottled"
    EVENTS_REFUSED = "EventsRefused"
    MESSAGES_FAILED = "MessagesFailed"


class Output(StrEnum):
    """Outputs of the stack, through which the command line finds it."""

    BUS = "MilepostBusName"
    TABLE = "MilepostTableName"
    BUCKET = "MilepostBucketName"
    QUEUE = "MilepostQueueUrl"
    INTAKE_QUEUE = "MilepostIntakeQueueUrl"
    DEAD_LETTERS = "MilepostDeadLetterQueueUrls"
    LOG_GROUPS = "MilepostLogGroups"
    RETENTION = "MilepostRetentionDays"
    DASHBOARD = "MilepostDashboardName"
    API = "MilepostApiUrl"
    RUNS = "MilepostRunsFunctionArn"
