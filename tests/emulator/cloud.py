"""A deployed stack in the emulator: the real CDK CLI brings it there, boto3 and our own client look at it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import httpx
from botocore.config import Config

from milepost_console.stack.client import StackClient
from milepost_console.stack.parts import find_stack

from .emulator import ACCOUNT, REGION, Emulator
from .tools import ROOT, Tools

T = TypeVar("T")
STACK = "Shop"
_PATIENCE_SECONDS = 45


class CdkFailedError(Exception):
    """The CDK CLI failed; the text is what it said."""


@dataclass
class Cloud:
    """Commands of the CDK CLI, clients, and the files that functions of the suite write (`outside`)."""

    tools: Tools
    emulator: Emulator
    folder: Path
    outputs: dict[str, str] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)
    _client: StackClient | None = None

    def __post_init__(self) -> None:
        self.outside.mkdir(parents=True, exist_ok=True)

    @property
    def outside(self) -> Path:
        return self.folder / "outside"

    # --- the CDK CLI ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> None:
        """Once for an account, as a user would."""
        self._cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", "--app", "")

    def deploy(self, **context: str) -> None:
        """Synthesise `tests.emulator.cdk_app` with the context and deploy it. Raises CdkFailedError."""
        outputs = self.folder / "outputs.json"
        options = ["--require-approval", "never", "--outputs-file", str(outputs), "--progress", "events"]
        self._cdk("deploy", *options, *self._app(context))
        self.outputs = json.loads(outputs.read_text())[STACK]

    def destroy(self, **context: str) -> None:
        """Take the stack down."""
        self._cdk("destroy", "-f", *self._app(context))

    def _app(self, context: Mapping[str, str]) -> list[str]:
        given = [word for name, value in context.items() for word in ("-c", f"{name}={value}")]
        program = f"{sys.executable} -W ignore -m tests.emulator.cdk_app"
        return ["--app", program, "--output", str(self.folder / "cdk.out"), *given]

    def _cdk(self, *arguments: str) -> str:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self.emulator.environment,
            # The CLI keeps account ids by access key at home, and this home is gone with the emulator.
            "HOME": str(self.folder),
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(Path.home() / ".cache" / "aws" / "jsii" / "package-cache"),
            "PATH": f"{self.tools.node_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "CDK_VALIDATION": "false",
            "CDK_DISABLE_VERSION_CHECK": "1",
            "EMULATOR_PYTHON": str(self.tools.python),
            "EMULATOR_FOLDER": str(self.outside),
        }
        done = subprocess.run(
            [str(self.tools.cdk), *arguments, "--ci", "--no-notices"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode != 0:
            raise CdkFailedError(f"cdk {arguments[0]} failed:\n{said[-6000:]}\n{self.emulator.output()}")
        return said

    # --- clients --------------------------------------------------------------------------------------------------

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client of the emulator: what a `boto3.Session` gives, for opening a stack client."""
        if config is None and service in self._clients:
            return self._clients[service]
        env = self.emulator.environment
        made = boto3.client(
            service,
            endpoint_url=self.emulator.url,
            region_name=REGION,
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            verify=env.get("AWS_CA_BUNDLE"),
            config=config or Config(retries={"total_max_attempts": 2}, read_timeout=30),
        )
        if config is None:
            self._clients[service] = made
        return made

    @property
    def stack_client(self) -> StackClient:
        """What `milepost … --stack` asks."""
        if self._client is None:
            self._client = StackClient(self, find_stack(self, STACK))
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # --- events and runs ------------------------------------------------------------------------------------------

    def send(self, name: str, data: Mapping[str, object]) -> None:
        """Put an event as any program would."""
        entry = {
            "EventBusName": self.outputs["MilepostBusName"],
            "Source": "tests",
            "DetailType": name,
            "Detail": json.dumps(data),
        }
        answer = self.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer

    @property
    def api(self) -> str:
        """The HTTP API's address with its id in the path: that of the output needs a name service."""
        api_id = urlsplit(self.outputs["MilepostApiUrl"]).netloc.split(".")[0]
        return f"{self.emulator.url}/_aws/execute-api/{api_id}/$default"

    def key(self, name: str) -> str:
        """What a secret of the api holds: `EventKey` or `SigningKey`."""
        client = self.client("secretsmanager")
        (secret,) = [one["ARN"] for one in client.list_secrets()["SecretList"] if name in one["Name"]]
        return str(client.get_secret_value(SecretId=secret)["SecretString"])

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """A request to the HTTP API."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        trusted = self.emulator.environment.get("AWS_CA_BUNDLE")
        verify = ssl.create_default_context(cafile=trusted) if trusted else True
        with httpx.Client(verify=verify, timeout=30, trust_env=False) as client:
            return client.request(method, self.api + path, content=content, headers=sent)

    def runs(self, function: str, word: str) -> list[dict[str, Any]]:
        """Runs of a function whose event has this word, the newest first."""
        return self.stack_client.get("/runs", {"function": function, "q": word})["runs"]

    def run(self, run_id: str) -> dict[str, Any]:
        return self.stack_client.get(f"/runs/{run_id}")

    def ended(self, function: str, word: str, *, seconds: float = _PATIENCE_SECONDS) -> dict[str, Any]:
        """The one run of a function whose event has this word, once it has ended."""

        def find() -> dict[str, Any] | None:
            found = self.runs(function, word)
            return self.run(found[0]["run_id"]) if found and found[0]["ended_at"] else None

        run = eventually(find, f"a run of {function} for {word!r} ends", seconds=seconds, details=self.emulator.output)
        assert len(self.runs(function, word)) == 1
        return run

    def tries(self, name: str) -> int:
        """How often a function of the trials wrote its mark."""
        mark = self.outside / f"{name}.tries"
        return mark.stat().st_size if mark.exists() else 0

    def log(self, part: str) -> list[dict[str, Any]]:
        """The JSON lines that a Lambda of the engine has written."""
        (group,) = [name for name in self.outputs["MilepostLogGroups"].split(",") if f"{part}LambdaLogs" in name]
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        lines = [each["message"].strip() for each in events]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def start_anew(self, part: str) -> None:
        """Let the processes of a Lambda go, with all that they remember: the next call meets a fresh one."""
        client = self.client("lambda")
        (known,) = [one for one in client.list_functions()["Functions"] if part in one["FunctionName"]]
        # The emulator keeps them unless something about them changes.
        client.update_function_configuration(FunctionName=known["FunctionName"], MemorySize=known["MemorySize"] ^ 1)

    def idle(self, output: str) -> bool:
        """Whether a queue has nothing that is due or being processed; what is delayed does not count."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.client("sqs").get_queue_attributes(QueueUrl=self.outputs[output], AttributeNames=names)
        return all(attributes["Attributes"][name] == "0" for name in names)

    def dead_letters(self, part: str) -> str:
        """The address of a queue of dead letters: of `Events`, `Work` or `Bus`."""
        (address,) = [url for url in self.outputs["MilepostDeadLetterQueueUrls"].split(",") if part in url]
        return address

    def drain(self, queue: str) -> list[str]:
        """Take all messages out of a queue."""
        client = self.client("sqs")
        bodies: list[str] = []
        while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                bodies.append(message["Body"])
                client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    @contextmanager
    def queue_stopped(self, part: str) -> Iterator[None]:
        """Let no Lambda read the queue of this part meanwhile: what is sent lies there."""
        client = self.client("lambda")
        (mapping,) = [
            one for one in client.list_event_source_mappings()["EventSourceMappings"] if part in one["FunctionArn"]
        ]
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def eventually(
    find: Callable[[], T | None],
    what: str,
    *,
    seconds: float = _PATIENCE_SECONDS,
    details: Callable[[], str] = str,
) -> T:
    """What `find` returns, as soon as it returns something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = find()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:g} s: {what}\n{details()}")


def step(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The span of a step."""
    (span,) = [span for span in run["trace"] if span["name"] == name]
    return span
