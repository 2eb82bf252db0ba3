"""The whole system on moto's AWS in this process: a stack without Lambdas, your functions, and a wound clock.

    async with AwsHarness(app) as aws:
        boto3.client("events").put_events(Entries=[{
            "EventBusName": aws.stack.bus, "Source": "shop", "DetailType": "order/created", "Detail": "{}"}])
        await aws.until_idle()

    put_events ── bus ── rule ── intake queue ──┐ pumped, one message at a time:
                          work queue ───────────┴─► engine ─► your functions     moto is not thread-safe

Messages with a delay are held here until the wound clock reaches their time, because moto's clock cannot be wound.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import Any, Final, ParamSpec, TypeVar, cast

import boto3
from moto import mock_aws

from milepost import App
from milepost.sending import EventBatch, EventBridgeTransport
from milepost_console.stack.parts import Output, StackParts
from milepost_engine.adapters.aws.boto import BotoCaller, boto_config
from milepost_engine.adapters.aws.calls import AwsRetries
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.dynamodb_schema import create_table
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import SystemClock, WoundClock
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.codec import loads
from milepost_engine.engine import Engine
from milepost_engine.intake.envelopes import read_envelope
from milepost_engine.ports import Clock, Message

from .harness import LONGEST_INVOCATION, MOMENT, Harness

__all__ = ["AwsEnvironment", "AwsHarness", "make_stack"]

_REGION: Final = "us-east-1"
_RETENTION_DAYS: Final = 30
_BATCH: Final = 10

P = ParamSpec("P")
T = TypeVar("T")


def make_stack(session: Any, name: str) -> StackParts:
    """Create in moto's AWS what the CDK construct creates, except Lambdas and alarms."""
    dynamodb, s3, sqs, events = (session.client(service) for service in ("dynamodb", "s3", "sqs", "events"))
    create_table(dynamodb, f"{name}-table")
    s3.create_bucket(Bucket=f"{name}-bucket")
    undelivered = _queue(sqs, f"{name}-undelivered")
    queues = {kind: _queue(sqs, f"{name}-{kind}", _queue(sqs, f"{name}-{kind}-dead")) for kind in ("events", "work")}
    events.create_event_bus(Name=f"{name}-bus")
    _add_rule(session, f"{name}-bus", f"{name}-everything", {"source": [{"prefix": ""}]}, queues["events"])
    parts = StackParts(
        name=name,
        region=session.region_name,
        bus=f"{name}-bus",
        table=f"{name}-table",
        bucket=f"{name}-bucket",
        queue=queues["work"],
        intake_queue=queues["events"],
        dead_letters=(f"{queues['events']}-dead", f"{queues['work']}-dead", undelivered),
        log_groups=(f"{name}-logs",),
        retention=timedelta(days=_RETENTION_DAYS),
    )
    for client in (dynamodb, s3, sqs, events):
        client.close()
    return parts


def _add_rule(session: Any, bus: str, name: str, pattern: Mapping[str, object], queue: str) -> None:
    events, sqs = session.client("events"), session.client("sqs")
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    target = {"Id": "intake", "Arn": _arn(sqs, queue)}
    events.put_targets(Rule=name, EventBusName=bus, Targets=[target])
    events.close()
    sqs.close()


def outputs_of(parts: StackParts) -> Mapping[str, str]:
    """The outputs through which the command line finds the stack."""
    return {
        Output.BUS: parts.bus,
        Output.TABLE: parts.table,
        Output.BUCKET: parts.bucket,
        Output.QUEUE: parts.queue,
        Output.INTAKE_QUEUE: parts.intake_queue,
        Output.DEAD_LETTERS: ",".join(parts.dead_letters),
        Output.LOG_GROUPS: ",".join(parts.log_groups),
        Output.RETENTION: str(parts.retention.days),
    }


def _queue(sqs: Any, name: str, dead_letters: str = "") -> str:
    attributes = {}
    if dead_letters:
        policy = {"deadLetterTargetArn": _arn(sqs, dead_letters), "maxReceiveCount": 10}
        attributes["RedrivePolicy"] = json.dumps(policy)
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def _arn(sqs: Any, url: str) -> str:
    return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


class _AtOnce(Executor):
    """Runs work immediately, on the caller's thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it
            done.set_exception(error)
        return done


class _HeldQueue:
    """SQS, with delayed messages held until the wound clock reaches their time. Shared by all lives."""

    def __init__(self, sqs: SqsQueue, clock: Clock) -> None:
        self._sqs = sqs
        self._clock = clock
        self._order = itertools.count()
        self.held: list[tuple[datetime, int, str]] = []

    async def send(self, messages: Sequence[Message]) -> None:
        now = self._clock.now()
        for message in messages:
            if message.delay_seconds > 0:
                due = now + timedelta(seconds=message.delay_seconds)
                heapq.heappush(self.held, (due, next(self._order), message.body))
        await self._sqs.send([message for message in messages if message.delay_seconds <= 0])

    async def release(self) -> None:
        """Send the held messages that are due."""
        due: list[Message] = []
        while self.held and self.held[0][0] <= self._clock.now():
            due.append(Message(heapq.heappop(self.held)[2]))
        await self._sqs.send(due)


class AwsEnvironment:
    """Moto's AWS as a harness's environment. Everything runs on the caller's thread."""

    def __init__(self, clock: WoundClock, name: str, region: str) -> None:
        self._clock = clock
        self._moto = mock_aws()
        self._moto.start()
        self.session = boto3.Session(region_name=region)
        self.stack = make_stack(self.session, name)
        self._clients: list[Any] = []
        # The engine uses the wound clock; pauses between retries use the real one.
        retries = AwsRetries(SystemClock(), SystemRandom())
        self._sqs = self._caller("sqs", retries)
        self.table = DynamoTable(self._caller("dynamodb", retries), self.stack.table, clock, retries=retries)
        self.blobs = S3Blobs(self._caller("s3", retries), self.stack.bucket)
        events = self.session.client("events", config=boto_config())
        self._clients.append(events)
        self.bus = EventBridgeTransport(self.stack.bus, client=events)
        self.sent_at: dict[str, datetime] = {}
        """When our SDK put an event on the bus, by its id; when another's was first processed, by its envelope's."""
        self._queue = _HeldQueue(SqsQueue(self._sqs, self.stack.queue, retries=retries), clock)

    def new_queue(self) -> _HeldQueue:
        return self._queue

    async def drain(self, engine: Engine) -> None:
        """Process both queues until nothing is due."""
        while True:
            await self._queue.release()
            taken = await self._pump(
                self.stack.intake_queue,
                lambda body, redelivered: self._process_event(engine, body, redelivered=redelivered),
            )
            taken += await self._pump(
                self.stack.queue, lambda body, redelivered: engine.handle(body, redelivered=redelivered)
            )
            if not taken:
                return

    def next_due(self) -> datetime | None:
        return self._queue.held[0][0] if self._queue.held else None

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._moto.stop()

    async def _pump(self, url: str, handle: Callable[[str, bool], Any]) -> int:
        """Process one batch like a Lambda: handled messages are deleted, one that raised is delivered again."""
        request = {
            "QueueUrl": url,
            "MaxNumberOfMessages": _BATCH,
            "MessageSystemAttributeNames": ["ApproximateReceiveCount"],
        }
        messages = (await self._sqs.call("ReceiveMessage", request, repeatable=True)).get("Messages", [])
        handles = [{"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]} for message in messages]
        for index, message in enumerate(messages):
            try:
                await handle(message["Body"], int(message["Attributes"]["ApproximateReceiveCount"]) > 1)
            except BaseException:
                for unfinished in handles[index:]:
                    await self._sqs.call(
                        "ChangeMessageVisibility", {**unfinished, "VisibilityTimeout": 0}, repeatable=True
                    )
                raise
            await self._sqs.call("DeleteMessage", handles[index], repeatable=True)
        return len(messages)

    async def _process_event(self, engine: Engine, body: str, *, redelivered: bool) -> None:
        """Process an envelope from the bus. Raises for an invalid one, which would become a dead letter on AWS."""
        envelope = cast("dict[str, Any]", loads(body))
        detail = envelope.get("detail")
        event_id = detail.get("event_id") if isinstance(detail, dict) else None
        # Moto writes the real time; use the wound clock's instead. What others put counts from now, as in a stack.
        moment = self.sent_at.setdefault(str(event_id or envelope.get("id")), self._clock.now())
        event = read_envelope({**envelope, "time": moment.isoformat()}, now=moment, random_source=engine.random_source)
        await engine.intake.take(event, redelivered=redelivered)
        await self._clock.advance(MOMENT)

    def _caller(self, service: str, retries: AwsRetries) -> BotoCaller:
        client = self.session.client(service, config=boto_config())
        self._clients.append(client)
        return BotoCaller(client, retries=retries, executor=_AtOnce())


class AwsHarness(Harness):
    """See the module; otherwise like `Harness`. `stack` has the names of bus, table, bucket and queues.

    Args:
        apps: Your apps.
        start: Where the wound clock starts (aware).
        name: Prefix of the resource names.
        region: The AWS region.
        longest_invocation: As for `Harness`.
    """

    def __init__(
        self,
        *apps: App,
        start: datetime | None = None,
        longest_invocation: str | float | timedelta = LONGEST_INVOCATION,
        name: str = "milepost",
        region: str = _REGION,
    ) -> None:
        self._name = name
        self._region = region
        self._feeds = itertools.count(1)
        super().__init__(*apps, start=start, longest_invocation=longest_invocation)

    @property
    def stack(self) -> StackParts:
        """Names and addresses of the stack's resources."""
        return self._aws.stack

    @property
    def session(self) -> Any:
        """A `boto3.Session` of moto's AWS."""
        return self._aws.session

    def feed(self, pattern: Mapping[str, object]) -> None:
        """Send matching events of the account's default bus to the event queue, like `Milepost.feed`.

        `{"source": ["aws.s3"]}` lets S3's own events start functions, named `aws.s3/Object Created` and so on.
        """
        _add_rule(
            self.session, "default", f"{self.stack.bus}-feed-{next(self._feeds)}", pattern, self.stack.intake_queue
        )

    async def _accept(self, batch: EventBatch) -> None:
        # On this thread, like everything in moto. A permanent refusal raises in the function, as on AWS.
        self._aws.sent_at |= dict.fromkeys(self._aws.bus.send(batch), self.clock.now())
        await self.clock.advance(MOMENT)

    def _open_environment(self) -> AwsEnvironment:
        self._aws = AwsEnvironment(self.clock, self._name, self._region)
        return self._aws
