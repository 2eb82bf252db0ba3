"""Orchestrator: drives runs, calls the apps' Lambdas, and continues runs through the work queue."""

from __future__ import annotations

from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from .blobs import BlobBucket
from .compute import EngineCode, EngineLambda, grant_invoke
from .errors import InfraError
from .names import Handler, Variable
from .queues import QueuePair
from .table import RunTable

__all__ = ["Orchestrator", "orchestrator_timeout"]

_BATCH: Final = 10
_SPARE_SECONDS: Final = 30
"""Added to the longest invocation: time to reach the next step before it, and to save the answer after it."""
_LAMBDA_LONGEST_SECONDS: Final = 900


def orchestrator_timeout(longest_invocation: Duration) -> Duration:
    """The orchestrator's timeout, which covers the longest synchronous invocation. Raises InfraError above 870 s."""
    seconds = longest_invocation.to_seconds() + _SPARE_SECONDS
    if seconds > _LAMBDA_LONGEST_SECONDS:
        most = _LAMBDA_LONGEST_SECONDS - _SPARE_SECONDS
        raise InfraError(
            "MP605",
            f"longest_invocation is {longest_invocation.to_seconds():.0f} s, but the orchestrator waits for each "
            f"invocation and a Lambda runs for at most {_LAMBDA_LONGEST_SECONDS} s: choose at most {most} s. An app "
            "with entry= may still have a longer timeout: it is then invoked asynchronously.",
        )
    return Duration.seconds(seconds)


class Orchestrator(Construct):
    """The orchestrator Lambda on the work queue."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
        blobs: BlobBucket,
        work: QueuePair,
        longest_invocation: Duration,
        max_concurrency: int,
        memory_mb: int,
    ) -> None:
        super().__init__(scope, construct_id)
        self.engine = EngineLambda(
            self,
            "Lambda",
            shared=shared,
            handler=Handler.ORCHESTRATOR,
            purpose="Milepost orchestrator: drives runs and calls the apps",
            timeout=orchestrator_timeout(longest_invocation),
            memory_mb=memory_mb,
            environment={Variable.INVOCATION_SECONDS.value: f"{longest_invocation.to_seconds():.0f}"},
            recursive=True,
        )
        self.engine.function.add_event_source(
            sources.SqsEventSource(
                work.queue, batch_size=_BATCH, max_concurrency=max_concurrency, report_batch_item_failures=True
            )
        )
        table.grant_use(self.engine.role)
        blobs.grant_use(self.engine.role)
        work.queue.grant_send_messages(self.engine.role)

    def may_invoke(self, function: lambda_.IFunction) -> None:
        """Allow the orchestrator to invoke all versions of an app."""
        grant_invoke(self.engine.role, function).assert_success()
