"""The engine's Lambdas on moto's AWS over real sockets, with Lambda's own endpoint beside it."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from milepost import App
from milepost_engine.adapters.aws.dynamodb_schema import create_table
from milepost_engine.ports import Target
from milepost_handlers import direct_state, wiring
from milepost_handlers.app import lambda_handler

from .lambda_service import FunctionError, LambdaService, running_lambda_service
from .recorded import Context, failure_record, sqs_record

REGION = "us-east-1"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def lambda_service() -> Iterator[LambdaService]:
    with running_lambda_service() as service:
        yield service


@dataclass
class World:
    """One stack's table, queues and apps."""

    table: str
    work_url: str
    events_url: str
    dead_url: str
    lambdas: LambdaService
    clients: dict[str, Any] = field(default_factory=dict)

    @property
    def here(self) -> wiring.Deployment:
        return wiring.deployment()

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = boto3.client(service)
        return self.clients[service]

    def serve(
        self, app: App, address: str = "", timeout_seconds: float = 60.0, *, keeps: bool = True, reports: bool = False
    ) -> str:
        """Deploy an app: its handler answers at an address, its manifest is registered."""
        address = address or f"arn:aws:lambda:{REGION}:123456789012:function:{app.id}:1"
        handler = lambda_handler(app) if keeps else app.lambda_handler()
        # An app that reports tries to send as long as it has time: it has little.
        self.lambdas.functions[address] = lambda event: handler(event, Context(1_500 if reports else 30_000))
        manifest = app.manifest("https://lambda.invalid/")
        target = Target("lambda", address, timeout_seconds, reports)
        self.here.run(self.here.engine.registry.sync(manifest, target))
        return address

    def put(self, *bodies: Mapping[str, Any] | str, receives: int = 1) -> Any:
        """Hand messages to the intake, as the event source mapping would."""
        from milepost_handlers.intake import handler  # noqa: PLC0415 - after the environment is set

        records = [self.record(body, self.events_url, receives) for body in bodies]
        return handler({"Records": records}, Context())

    def record(self, body: Mapping[str, Any] | str, url: str, receives: int = 1) -> Any:
        text = body if isinstance(body, str) else json.dumps(body)
        return sqs_record(text, self.arn(url), receives=receives)

    def arn(self, url: str) -> str:
        return f"arn:aws:sqs:{REGION}:123456789012:{url.rpartition('/')[2]}"

    def receive(self, url: str, wait_seconds: int = 0) -> list[Any]:
        answer = self.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], WaitTimeSeconds=wait_seconds
        )
        return answer.get("Messages", [])

    def pump(self, context: Context | None = None, *, rounds: int = 50) -> list[str]:
        """Let the orchestrator work until its queue is empty; gives the ids of messages that failed."""
        from milepost_handlers.orchestrator import handler  # noqa: PLC0415 - as above

        failed: list[str] = []
        for _ in range(rounds):
            messages = self.receive(self.work_url)
            if not messages:
                return failed
            records = []
            for message in messages:
                receives = int(message["Attributes"]["ApproximateReceiveCount"])
                record = sqs_record(
                    message["Body"], self.arn(self.work_url), receives=receives, handle=message["ReceiptHandle"]
                )
                records.append({**record, "messageId": message["MessageId"]})
            answer = handler({"Records": records}, context or Context())
            bad = {str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]}
            failed += bad
            for message in messages:
                if message["MessageId"] not in bad:
                    self.client("sqs").delete_message(QueueUrl=self.work_url, ReceiptHandle=message["ReceiptHandle"])
        raise AssertionError(f"the work queue is not empty after {rounds} rounds")

    def pump_until_ended(self, seconds: float = 30) -> None:
        """Let the orchestrator work until no run lives, delayed messages included."""
        end = time.monotonic() + seconds
        while any(run["status"] in {"Queued", "Running"} for run in self.runs()):
            assert time.monotonic() < end, f"a run still lives after {seconds} s: {self.runs()}"
            self.pump()

    def deliver(self) -> list[Any]:
        """Make the calls that Lambda has accepted, and report failures as it does; what they returned."""
        accepted, self.lambdas.accepted[:] = list(self.lambdas.accepted), []
        return [self.call(name, json.loads(body)) for name, body in accepted]

    def call(self, name: str, event: Any) -> Any:
        """One asynchronous invocation of a Lambda."""
        try:
            return self.lambdas.functions[name](event)
        except FunctionError as error:
            self.deliver_record(failure_record(event, "RetriesExhausted", error.payload))
        except Exception as error:  # noqa: BLE001 - as the runtime's client reports it
            payload = {"errorType": type(error).__name__, "errorMessage": str(error)}
            self.deliver_record(failure_record(event, "RetriesExhausted", payload))
        return None

    def deliver_record(self, message: Mapping[str, Any]) -> None:
        """Put a message on the work queue."""
        self.client("sqs").send_message(QueueUrl=self.work_url, MessageBody=json.dumps(message))

    def settle(self, seconds: float = 30) -> None:
        """Let orchestrator and app call each other until no run lives, delayed messages included."""
        end = time.monotonic() + seconds
        while True:
            assert self.pump() == []
            if not self.deliver() and all(run["status"] not in {"Queued", "Running"} for run in self.runs()):
                return
            assert time.monotonic() < end, f"a run still lives after {seconds} s: {self.runs()}"

    def runs(self) -> list[dict[str, Any]]:
        from milepost_engine.operations.queries import RunFilter  # noqa: PLC0415 - keeps the fixtures' imports small

        engine = self.here.engine
        listed = self.here.run(engine.queries.list_runs(RunFilter(), limit=100))
        return [self.run(str(row["run_id"])) for row in listed["runs"]]  # type: ignore[attr-defined]

    def run(self, run_id: str) -> dict[str, Any]:
        found = self.here.run(self.here.engine.queries.run(run_id))
        assert found is not None
        return found


@pytest.fixture
def environment(moto_url: str, lambda_service: LambdaService, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the stack sets, and what points it at this machine."""
    number = next(_numbers)
    for name in [name for name in os.environ if name.startswith(("AWS_", "MILEPOST_"))]:
        monkeypatch.delenv(name)
    environment = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ENDPOINT_URL_LAMBDA": lambda_service.url,
        "MILEPOST_TABLE": f"handlers-{number}",
        "MILEPOST_BUCKET": f"handlers-{number}",
        "MILEPOST_QUEUE_URL": f"{moto_url}/123456789012/work-{number}",
        "MILEPOST_RETENTION_DAYS": "30",
        "MILEPOST_INVOCATION_SECONDS": "60",
        "POWERTOOLS_SERVICE_NAME": "shop",
        "POWERTOOLS_METRICS_NAMESPACE": "Milepost",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def world(environment: dict[str, str], lambda_service: LambdaService) -> Iterator[World]:
    number = environment["MILEPOST_TABLE"].rpartition("-")[2]
    world = World(environment["MILEPOST_TABLE"], environment["MILEPOST_QUEUE_URL"], "", "", lambda_service)
    create_table(world.client("dynamodb"), world.table)
    world.client("s3").create_bucket(Bucket=environment["MILEPOST_BUCKET"])
    sqs = world.client("sqs")
    world.dead_url = sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": world.arn(world.dead_url), "maxReceiveCount": 10})
    sqs.create_queue(QueueName=f"work-{number}", Attributes={"VisibilityTimeout": "540", "RedrivePolicy": redrive})
    world.events_url = sqs.create_queue(
        QueueName=f"events-{number}", Attributes={"VisibilityTimeout": "360", "RedrivePolicy": redrive}
    )["QueueUrl"]
    lambda_service.clear()
    wiring.deployment.cache_clear()
    yield world
    if wiring.deployment.cache_info().currsize:
        wiring.deployment().close()
    wiring.deployment.cache_clear()
    direct_state.stores.cache_clear()
    for client in world.clients.values():
        client.close()
