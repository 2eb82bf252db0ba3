"""Orchestrator: drives runs, calls the apps' Lambdas, passes the baton on through the work queue."""

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
"""Time beyond the longest invocation: before it for going on with the next step, after it for saving the answer."""
_LAMBDA_LONGEST_SECONDS: Final = 900


def orchestrator_timeout(longest_invocation: Duration) -> Duration:
    """The orchestrator waits for apps with a short time-out, so its own covers the longest invocation of those."""
    seconds = longest_invocation.to_seconds() + _SPARE_SECONDS
    if seconds > _LAMBDA_LONGEST_SECONDS:
        most = _LAMBDA_LONGEST_SECONDS - _SPARE_SECONDS
        raise InfraError(
            "MP605",
            f"longest_invocation is {longest_invocation.to_seconds():.0f} s, but the orchestrator waits for each "
            f"invocation and a Lambda lives at most {_LAMBDA_LONGEST_SECONDS} s: choose at most {most} s. An app with "
            "an entry may have a longer timeout all the same: nobody waits for it then.",
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
        """Let the orchestrator call an app in any of its versions."""
        grant_invoke(self.engine.role, function).assert_success()
