"""The `Milepost` construct: bus, table, bucket, queues, intake, orchestrator, timers, alarms and dashboard."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration, Names, RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .alarms import Alarms, AlarmSettings, Watched
from .api import Api
from .blobs import BlobBucket
from .bus import Bus
from .compute import EngineCode, EngineLambda, grant_invoke
from .dashboard import Dashboard
from .intake import TIMEOUT, Intake
from .kept_code import KeptCode
from .manifest_sync import ManifestSync
from .measures import Measures
from .names import NAMESPACE, Output, Variable
from .orchestrator import Orchestrator, orchestrator_timeout
from .packing import Assets, WheelAssets
from .queries import SavedQueries
from .queues import QueuePair
from .runs import Runs
from .table import RunTable
from .timers import Timers

__all__ = ["Milepost"]

_LONGEST_INVOCATION = Duration.seconds(60)
_RETENTION = Duration.days(30)
_DEFAULT_ALARMS = AlarmSettings()


class Milepost(Construct):
    """Everything needed to run durable functions, in one construct; at most one per stack.

    Args:
        longest_invocation: Longest invocation that the orchestrator waits for. 60 s by default, at most 870 s. An app
            with a longer timeout is invoked asynchronously. A run whose orchestrator dies resumes after six times
            the orchestrator's timeout, which is this value plus 30 s.
        retention: How long ended runs and their events are kept. 30 days by default.
        max_concurrency: Maximum number of concurrent orchestrators, each with up to ten runs: 2 to 1000. 50 by
            default.
        orchestrator_memory_mb: 512 by default.
        api: Whether to create an HTTP API, for event keys, webhooks and apps outside AWS. Off by default.
        alarms: When alarms start, as `AlarmSettings`; None for no alarms. By default, all with their default
            thresholds.
        alarm_topic: Notified when an alarm starts and ends.
        tracing: X-Ray for the engine's Lambdas. Off by default.
        log_retention: How long the engine's and the apps' logs are kept. One month by default.
        saved_queries: Whether to save queries for CloudWatch Logs Insights. On by default.
        abandoned_apps: Ids of apps whose Lambdas may be deleted although runs are live on them; these runs fail at
            their next step. Otherwise a deployment that would delete such a Lambda fails.
        removal_policy: What happens to table and bucket when the stack is deleted. Kept by default.
        assets: Packs the Lambdas' code. By default, wheels for Arm and the Python version running the synthesis.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        longest_invocation: Duration = _LONGEST_INVOCATION,
        retention: Duration = _RETENTION,
        max_concurrency: int = 50,
        orchestrator_memory_mb: int = 512,
        api: bool = False,
        alarms: AlarmSettings | None = _DEFAULT_ALARMS,
        alarm_topic: sns.ITopic | None = None,
        tracing: bool = False,
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
        saved_queries: bool = True,
        abandoned_apps: Sequence[str] = (),
        removal_policy: RemovalPolicy = RemovalPolicy.RETAIN,
        assets: Assets | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        self.assets: Assets = assets or WheelAssets()
        self.longest_invocation = longest_invocation
        self.retention = retention
        self.log_retention = log_retention
        self.tracing = tracing
        self.service = Names.unique_resource_name(self, max_length=64, separator="-")
        self.table = RunTable(self, "Table", removal_policy=removal_policy)
        self.blobs = BlobBucket(self, "Blobs", retention=retention, removal_policy=removal_policy)
        self.events = QueuePair(self, "Events", consumer_timeout=TIMEOUT)
        self.work = QueuePair(self, "Work", consumer_timeout=orchestrator_timeout(longest_invocation))
        self._bus = Bus(self, "Bus", intake=self.events)
        shared = self._shared(retention)
        self.intake = Intake(
            self, "Intake", shared=shared, table=self.table, blobs=self.blobs, events=self.events, work=self.work,
            max_concurrency=max_concurrency,
        )  # fmt: skip
        self.orchestrator = Orchestrator(
            self, "Orchestrator", shared=shared, table=self.table, blobs=self.blobs, work=self.work,
            longest_invocation=longest_invocation, max_concurrency=max_concurrency, memory_mb=orchestrator_memory_mb,
        )  # fmt: skip
        self.timers = Timers(self, "Timers", shared=shared, table=self.table, work=self.work)
        self.runs = Runs(self, "Runs", shared=shared, table=self.table, blobs=self.blobs, work=self.work)
        self.registrar = ManifestSync(self, "Registrar", shared=shared, table=self.table)
        self.code = KeptCode(self, "Code", registrar=self.registrar.engine, table=self.table, abandoned=abandoned_apps)
        self.api = Api(self, "Api", shared=shared, table=self.table, blobs=self.blobs, work=self.work) if api else None
        if self.api:
            for engine in (self.orchestrator.engine, self.registrar.engine):
                self.api.share_signing_key(engine)
        self._watch(alarms, alarm_topic)
        self._queries = SavedQueries(self, "Queries", folder=self.service) if saved_queries else None
        self._write_outputs(retention)
        self._log_groups: list[logs.ILogGroup] = []
        self._logs_output = _output(self, Output.LOG_GROUPS, "")
        self.include_logs(*(engine.log_group for engine in self._engines()))

    @property
    def bus(self) -> events.EventBus:
        """The bus that `put_events` sends to."""
        return self._bus.bus

    def feed(
        self,
        construct_id: str,
        pattern: events.EventPattern,
        *,
        bus: events.IEventBus | None = None,
    ) -> events.Rule:
        """Let matching events of another bus, by default the account's default bus, start functions.

        Events of AWS services are named by source and detail type, for example `aws.s3/Object Created`.
        """
        return self._bus.feed(construct_id, pattern, bus=bus)

    def may_invoke(self, function: lambda_.IFunction) -> None:
        """Allow the engine to call an app: the orchestrator for runs, the API for webhooks."""
        self.orchestrator.may_invoke(function)
        if self.api:
            grant_invoke(self.api.engine.role, function).assert_success()

    def grant_send(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to send events."""
        return self.bus.grant_put_events_to(grantee)

    def grant_start(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow a grantee to start any function from Python (`Function.start`), and to see and cancel any run.

        A Lambda gets the variable MILEPOST_RUNS_FUNCTION too, through which the SDK finds its way.
        """
        if isinstance(grantee, lambda_.Function):
            grantee.add_environment(Variable.RUNS_FUNCTION.value, self.runs.engine.function.function_arn)
        return self.runs.grant_invoke(grantee)

    def include_logs(self, *log_groups: logs.ILogGroup) -> None:
        """Add logs to the saved queries and `milepost logs`. Logs of apps with `entry` are added automatically."""
        self._log_groups += log_groups
        self._logs_output.value = ",".join(group.log_group_name for group in self._log_groups)
        if self._queries:
            self._queries.ask(self._log_groups)

    @property
    def app_environment(self) -> dict[str, str]:
        """Environment variables of an app's Lambda: the event bus, and the store of its runs."""
        return {
            Variable.EVENT_BUS.value: self.bus.event_bus_name,
            Variable.TABLE.value: self.table.table.table_name,
            Variable.BUCKET.value: self.blobs.bucket.bucket_name,
            Variable.RETENTION_DAYS.value: f"{self.retention.to_days():.0f}",
        }

    def _shared(self, retention: Duration) -> EngineCode:
        environment = {
            Variable.TABLE.value: self.table.table.table_name,
            Variable.BUCKET.value: self.blobs.bucket.bucket_name,
            Variable.QUEUE_URL.value: self.work.queue.queue_url,
            Variable.RETENTION_DAYS.value: f"{retention.to_days():.0f}",
            Variable.SERVICE.value: self.service,
            Variable.NAMESPACE.value: NAMESPACE,
            Variable.TRACING_OFF.value: "false" if self.tracing else "true",
        }
        return EngineCode(self.assets.engine(), self.assets.platform, environment, self.log_retention, self.tracing)

    def _engines(self) -> list[EngineLambda]:
        found = [self.intake.engine, self.orchestrator.engine, self.timers.engine, self.runs.engine]
        found.append(self.registrar.engine)
        return [*found, self.api.engine] if self.api else found

    def _watch(self, settings: AlarmSettings | None, topic: sns.ITopic | None) -> None:
        measures = Measures(self.service)
        queues: dict[str, sqs.IQueue] = {"Events": self.events.queue, "Work": self.work.queue}
        dead: dict[str, sqs.IQueue] = {
            "Events": self.events.dead_letters,
            "Work": self.work.dead_letters,
            "Bus": self._bus.undelivered,
        }
        lambdas: dict[str, lambda_.IFunction] = {
            "Intake": self.intake.engine.function,
            "Orchestrator": self.orchestrator.engine.function,
            "Timers": self.timers.engine.function,
            "Runs": self.runs.engine.function,
        }
        if self.api:
            lambdas["Api"] = self.api.engine.function
        watched = Watched(
            measures=measures, queues=queues, dead_letters=dead, lambdas=lambdas,
            timers=self.timers.engine.function, table=self.table.table,
        )  # fmt: skip
        self.alarms = Alarms(self, "Alarms", settings=settings, watched=watched, topic=topic) if settings else None
        sized = {name: (function, _memory_of(function)) for name, function in lambdas.items()}
        self.dashboard: cloudwatch.Dashboard = Dashboard(
            self, "Dashboard", measures=measures, queues=queues, dead_letters=dead, lambdas=sized,
            table=self.table.table, bus=self.bus,
        ).dashboard  # fmt: skip

    def _write_outputs(self, retention: Duration) -> None:
        dead = (self.events.dead_letters, self.work.dead_letters, self._bus.undelivered)
        outputs = {
            Output.BUS: self.bus.event_bus_name,
            Output.TABLE: self.table.table.table_name,
            Output.BUCKET: self.blobs.bucket.bucket_name,
            Output.QUEUE: self.work.queue.queue_url,
            Output.INTAKE_QUEUE: self.events.queue.queue_url,
            Output.DEAD_LETTERS: ",".join(queue.queue_url for queue in dead),
            Output.RETENTION: f"{retention.to_days():.0f}",
            Output.DASHBOARD: self.dashboard.dashboard_name,
            Output.RUNS: self.runs.engine.function.function_arn,
        }
        if self.api:
            outputs[Output.API] = self.api.url
        for output, value in outputs.items():
            _output(self, output, value)


def _output(scope: Construct, output: Output, value: str) -> CfnOutput:
    """An output of the stack, by a name that the commands know."""
    made = CfnOutput(scope, f"Output{output.value}", value=value)
    made.override_logical_id(output.value)
    return made


def _memory_of(function: lambda_.IFunction) -> int:
    resource = function.node.default_child
    return int(resource.memory_size or 128) if isinstance(resource, lambda_.CfnFunction) else 128
