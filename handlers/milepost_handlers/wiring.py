"""Wires the engine to AWS, once per Lambda process. Reads the environment.

MILEPOST_TABLE                  name of the table
MILEPOST_BUCKET                 bucket of large values
MILEPOST_QUEUE_URL              the work queue
MILEPOST_RETENTION_DAYS         how long ended runs are kept; 30 by default
MILEPOST_INVOCATION_SECONDS     longest synchronous invocation; 60 by default
MILEPOST_EVENT_KEY_SECRET       ARN of the secret with the event keys       (api)
MILEPOST_SIGNING_KEY_SECRET     ARN of the secret with the signing keys     (api, orchestrator)
POWERTOOLS_TRACE_DISABLED       "false" for X-Ray; off by default
POWERTOOLS_SERVICE_NAME         dimension `service` of the metrics
AWS_REGION, AWS_ENDPOINT_URL…   set by Lambda, or by an emulator
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

from milepost.protocol import Request, Response
from milepost_engine.adapters.aws.batching import GatheringQueue
from milepost_engine.adapters.aws.calls import AwsRetries, Caller
from milepost_engine.adapters.aws.client import AwsHttp, endpoint_url
from milepost_engine.adapters.aws.credentials import find_credentials
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.invoke_lambda import LambdaInvoker
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.ports import Clock, Invoker, Table, Target
from milepost_engine.store.schema import check_schema

from .lazy_s3 import LazyS3
from .metrics import CountingInvoker, Metrics

__all__ = ["Deployment", "MissingVariable", "Variable", "deployment", "read_keys", "traced", "wire"]

T = TypeVar("T")
H = TypeVar("H", bound=Callable[..., Any])

_SPARE: Final = timedelta(seconds=8)
"""Reserved after the longest invocation: five seconds for a late answer, three for saving it."""
_LAMBDA_CONNECTIONS: Final = 512


class Variable:
    """Names of environment variables; `milepost_infra.names` has the same."""

    TABLE: Final = "MILEPOST_TABLE"
    BUCKET: Final = "MILEPOST_BUCKET"
    QUEUE_URL: Final = "MILEPOST_QUEUE_URL"
    RETENTION_DAYS: Final = "MILEPOST_RETENTION_DAYS"
    INVOCATION_SECONDS: Final = "MILEPOST_INVOCATION_SECONDS"
    EVENT_KEY_SECRET: Final = "MILEPOST_EVENT_KEY_SECRET"  # noqa: S105 - a name
    SIGNING_KEY_SECRET: Final = "MILEPOST_SIGNING_KEY_SECRET"  # noqa: S105 - a name
    SERVICE: Final = "POWERTOOLS_SERVICE_NAME"
    TRACING_OFF: Final = "POWERTOOLS_TRACE_DISABLED"


class MissingVariable(Exception):
    """The Lambda was deployed without a variable that it needs."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"[MP504] The environment variable {name} is not set. The Milepost construct sets it: deploy this Lambda "
            "with that construct."
        )


@dataclass
class Deployment:
    """Everything that handlers use. Created once per process; connections, credentials and caches are reused."""

    engine: Engine
    table: Table
    invokers: Mapping[str, Invoker]
    metrics: Metrics
    clock: Clock
    sqs: Caller
    outbox: GatheringQueue
    queue_address: Callable[[str], str]
    longest_invocation: timedelta = timedelta(seconds=60)
    event_key_secret: str | None = None
    signing_key_secret: str | None = None
    keys: Callable[[str], list[str]] = field(default=lambda _: [])
    connections: tuple[AwsHttp, ...] = ()
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _checked: bool = False

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work on the process's event loop, then write the metrics."""
        try:
            return self.runner.run(work)
        finally:
            self.metrics.flush()

    def close(self) -> None:
        """Close connections and loop. Only tests need it."""
        for each in self.connections:
            self.runner.run(each.close())
        self.runner.close()

    async def ready(self) -> None:
        """Raises SchemaMismatch when the table belongs to another version."""
        if not self._checked:
            await check_schema(self.table)
            self._checked = True

    def deadline(self, context: Any) -> datetime:
        """After this time no invocation of user code may start, so that even the longest ends before the Lambda."""
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        return self.clock.now() + left - self.longest_invocation - _SPARE


@functools.cache
def deployment() -> Deployment:
    """The deployment of this process."""
    return wire(os.environ)


def traced(handler: H) -> H:
    """Trace a handler with X-Ray if enabled. Otherwise the tracer, which takes 0.1 s to import, is not loaded."""
    if os.environ.get(Variable.TRACING_OFF) != "false":
        return handler
    from aws_lambda_powertools import Tracer  # noqa: PLC0415 - as above

    return cast("H", Tracer(auto_patch=False).capture_lambda_handler(handler, capture_response=False))


def wire(environment: Mapping[str, str]) -> Deployment:
    """Build the deployment from the environment; calls only Secrets Manager, if at all. Raises MissingVariable."""
    clock, random_source = SystemClock(), SystemRandom()
    retries = AwsRetries(clock, random_source)
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    credentials = find_credentials(environment)
    aws = AwsHttp(credentials, region, retries=retries, environment=environment)
    invoking = AwsHttp(
        credentials, region, retries=retries, environment=environment, max_connections=_LAMBDA_CONNECTIONS
    )
    metrics = Metrics(environment.get(Variable.SERVICE, "milepost"))
    table = DynamoTable(aws.service("dynamodb"), _needed(environment, Variable.TABLE), clock=clock)
    sqs = aws.service("sqs")
    outbox = GatheringQueue(SqsQueue(sqs, _needed(environment, Variable.QUEUE_URL), retries=retries))
    longest = float(environment.get(Variable.INVOCATION_SECONDS, "60"))
    lambdas = CountingInvoker(LambdaInvoker(invoking, longest), metrics)
    invokers: dict[str, Invoker] = {"lambda": lambdas, "http": _HttpApps()}
    secret = environment.get(Variable.SIGNING_KEY_SECRET)
    engine = Engine.build(
        table=table,
        blobs=S3Blobs(LazyS3(), _needed(environment, Variable.BUCKET)),
        queue=outbox,
        invokers=invokers,
        handovers={"lambda": lambdas},
        clock=clock,
        random_source=random_source,
        observer=metrics,
        settings=EngineSettings(
            retention=timedelta(days=float(environment.get(Variable.RETENTION_DAYS, "30"))),
            signing_key=read_keys(secret)[0] if secret else None,
        ),
    )
    return Deployment(
        engine=engine,
        table=table,
        invokers=invokers,
        metrics=metrics,
        clock=clock,
        sqs=sqs,
        outbox=outbox,
        queue_address=functools.partial(_queue_address, endpoint_url("sqs", region, environment)),
        longest_invocation=timedelta(seconds=longest),
        event_key_secret=environment.get(Variable.EVENT_KEY_SECRET),
        signing_key_secret=secret,
        keys=read_keys,
        connections=(aws, invoking),
    )


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise MissingVariable(name)
    return value


def _queue_address(endpoint: str, arn: str) -> str:
    """The URL of a queue, from its ARN."""
    account, name = arn.split(":")[4:6]
    return f"{endpoint}/{account}/{name}"


def read_keys(name: str) -> list[str]:
    """The keys in a secret, separated by commas. The first signs; all are accepted."""
    from botocore.session import get_session  # noqa: PLC0415 - 0.15 s of imports that few Lambdas need

    client = get_session().create_client("secretsmanager")
    try:
        text = str(client.get_secret_value(SecretId=name)["SecretString"])
    finally:
        client.close()
    return [key.strip() for key in text.split(",") if key.strip()]


class _HttpApps:
    """Calls apps outside AWS; the HTTP client is imported at the first call."""

    def __init__(self) -> None:
        self._invoker: Invoker | None = None

    async def invoke(self, target: Target, request: Request) -> Response:
        """See `Invoker`."""
        if self._invoker is None:
            from milepost_engine.adapters.invoke_http import HttpInvoker  # noqa: PLC0415 - as above

            self._invoker = HttpInvoker()
        return await self._invoker.invoke(target, request)
