"""Wires an engine to a stack's table, bucket and queues, with the caller's credentials.

This engine reads, and writes what people request (cancel, replay, erase, send); the stack's Lambdas do everything else.
It calls no user code. The only module of this package that names adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from milepost_console.cli.client import ClientProblem
from milepost_console.dev.live import Live
from milepost_console.server.backend import Backend
from milepost_console.server.problems import explain_aws_error
from milepost_engine.adapters.aws.boto import BotoCaller, boto_config
from milepost_engine.adapters.aws.calls import AwsRefused, AwsUnreachable
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.engine import Engine, EngineSettings
from milepost_engine.ports import Clock
from milepost_engine.store.schema import SchemaMismatch, check_schema

from .dead_letters import SqsDeadLetters
from .logs import StackRunLogs
from .parts import StackParts
from .problems import aws_problems

__all__ = ["THREADS", "check_table", "open_stack"]

THREADS = 8
"""Concurrent calls per service: a dashboard page requests several lists at once."""


@contextmanager
def open_stack(
    session: Any, parts: StackParts, *, threads: int = THREADS, clock: Clock | None = None
) -> Iterator[Backend]:
    """The backend of the console's server for a stack. `session` is a `boto3.Session`."""
    clock = clock or SystemClock()
    callers: list[BotoCaller] = []
    clients: list[Any] = []

    def caller(service: str) -> BotoCaller:
        with aws_problems():
            client = session.client(service, config=boto_config(threads))
        clients.append(client)
        callers.append(BotoCaller(client, threads=threads))
        return callers[-1]

    try:
        queues = caller("sqs")
        engine = Engine.build(
            table=DynamoTable(caller("dynamodb"), parts.table, clock),
            blobs=S3Blobs(caller("s3"), parts.bucket),
            queue=SqsQueue(queues, parts.queue),
            invokers={},
            clock=clock,
            random_source=SystemRandom(),
            settings=EngineSettings(retention=parts.retention),
        )
        letters = SqsDeadLetters(queues, parts.dead_letters, (parts.queue, parts.intake_queue), parts.intake_queue)
        logs = StackRunLogs(session, parts, clock)
        yield Backend(engine, Live(), dead_letters=letters, logs=logs, mode="stack", stack=parts.name)
    finally:
        for made in callers:
            made.close()
        for client in clients:
            client.close()


async def check_table(backend: Backend) -> None:
    """Raises ClientProblem when the stack's table belongs to another version of Milepost."""
    try:
        await check_schema(backend.engine.queries.table, claim=False)
    except SchemaMismatch as mismatch:
        raise ClientProblem("MP502", str(mismatch).removeprefix("[MP502] ")) from mismatch
    except AwsRefused as refusal:
        raise ClientProblem(*explain_aws_error(refusal.operation, refusal.code, refusal.message)) from refusal
    except AwsUnreachable as error:
        raise ClientProblem("MP334", f"AWS does not answer: {error}. Check the network, then try again.") from error
