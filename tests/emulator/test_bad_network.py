"""Somebody else's proxy spoils the calls to somebody else's AWS: the production adapters over real sockets hold.

microburst stands in front of Amazon's DynamoDB Local, then between the deployed Lambdas and the emulator: calls are
throttled or late, and every so often one is done and its answer cut off, so that nobody can know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from milepost import App, Context, Event, Retries
from tests.bodies import noting
from tests.contract.conftest import dynamodb_endpoint
from tests.scenarios.rig import PLACE, rig

from .cloud import Cloud
from .conftest import account
from .proxy import control, microburst
from .tools import Tools

__all__ = ["dynamodb_endpoint"]

pytestmark = pytest.mark.emulator

RULES = [
    {
        "service": "dynamodb",
        "operation": "PutItem",
        "sequence": {"fail": 1, "pass": 4},
        "error": {"code": "ProvisionedThroughputExceededException"},
    },
    {
        "service": "dynamodb",
        "operation": "PutItem",
        "sequence": {"fail": 1, "pass": 9},
        "response": {"abort_frac": 0.0},
    },
    {"service": "dynamodb", "operation": "Query", "sequence": {"fail": 1, "pass": 9}, "reset": True},
]


def shop(bodies: list[tuple[str, str]]) -> App:
    app = App("a")

    def body(ctx: Context, name: str) -> Callable[[], str]:
        return noting(bodies, (ctx.run_id, name), name)

    @app.function(id="f", trigger=Event("go"), retries=Retries(max_retries=10, first_delay="1s", max_delay="2s"))
    async def f(ctx: Context) -> list[str]:
        found = [await ctx.step.run(name, body(ctx, name)) for name in ("one", "two", "three")]
        await ctx.step.sleep("nap", "20m")
        return found

    return app


async def test_runs_come_to_their_end_behind_a_proxy_that_throttles_and_swallows_answers(
    dynamodb_endpoint: str, tmp_path: Path
):
    bodies: list[tuple[str, str]] = []
    with microburst(dynamodb_endpoint, tmp_path) as url:
        PLACE.set(url)
        async with rig(shop(bodies)) as made:
            control(url, "rules", RULES)
            for _ in range(5):
                await made.engine.accept({"name": "go"})
            await made.wind(timedelta(minutes=5))
            fired = [str(each["action"]) for each in control(url, "fired")]
            control(url, "rules", [])
            await made.wind(timedelta(minutes=40))
            runs = await made.runs()
            assert [(run["status"], run["output"]) for run in runs] == [("Completed", ["one", "two", "three"])] * 5
            # What was swallowed had been saved: its step did not run again.
            assert sorted(bodies) == sorted(set(bodies))
            assert any("ProvisionedThroughput" in action for action in fired), fired
            assert len(set(fired)) >= 2, fired


@pytest.fixture(scope="module")
def behind(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A stack whose Lambdas reach AWS through the proxy; the test's own calls go past it."""
    folder = tmp_path_factory.mktemp("behind")
    with account(tools, folder, proxy=lambda url: microburst(url, folder)) as cloud:
        cloud.deploy(apps="trials")
        yield cloud


def spoiled(service: str, operation: str, every: int, **how: object) -> dict[str, object]:
    """One in so many calls of an operation goes wrong."""
    return {"service": service, "operation": operation, "sequence": {"fail": 1, "pass": every - 1}, **how}


def throttled(service: str, operation: str, every: int, code: str) -> dict[str, object]:
    """Refused before it took effect."""
    return spoiled(service, operation, every, error={"code": code})


def unheard(service: str, operation: str, every: int) -> dict[str, object]:
    """It took effect, and its answer was lost."""
    return spoiled(service, operation, every, response={"abort_frac": 0.0})


@contextmanager
def bad_days(cloud: Cloud, rules: list[dict[str, object]]) -> Iterator[None]:
    """The rules hold for the Lambdas' calls meanwhile, and each of them was felt."""
    proxy = cloud.emulator.proxy
    assert proxy
    rules = control(proxy, "rules", rules)
    began = time.time()
    try:
        yield
    finally:
        control(proxy, "rules", [])
    fired = control(proxy, f"fired?limit=10000&since={began}")
    assert {each["rule_id"] for each in fired} == {rule["id"] for rule in rules}, fired


WRITING_SECONDS = 2
"""From the moment that a record names to the one at which everybody sees it, with its writes throttled."""

STORE = [
    throttled("dynamodb", "PutItem", 6, "ProvisionedThroughputExceededException"),
    throttled("dynamodb", "UpdateItem", 6, "ThrottlingException"),
    unheard("dynamodb", "PutItem", 9),
    unheard("dynamodb", "UpdateItem", 12),
    spoiled("dynamodb", "Query", 9, reset=True),
    spoiled("dynamodb", "GetItem", 3, latency={"fixed_ms": 300}),
]
CARRIERS = [
    unheard("sqs", "SendMessageBatch", 3),
    throttled("lambda", "Invoke", 4, "TooManyRequestsException"),
    spoiled("lambda", "Invoke", 3, latency={"fixed_ms": 400}),
]


def check_that_no_recorded_step_ran_again(cloud: Cloud, run: dict[str, Any], name: str) -> None:
    """Two deliveries of a message may both begin a step of which there is no record yet; afterwards nobody may."""
    for span in (span for span in run["trace"] if span["kind"] == "run"):
        recorded = datetime.fromisoformat(span["ended_at"]).timestamp()
        begun = [float(line) for line in (cloud.outside / f"{name}-{span['output']}.begun").read_text().split()]
        assert begun
        assert max(begun) < recorded + WRITING_SECONDS, (span["name"], begun, recorded)


@pytest.mark.parametrize("rules", [STORE, CARRIERS], ids=["store", "carriers"])
def test_runs_of_deployed_lambdas_end_and_no_recorded_step_runs_again(
    behind: Cloud, rules: list[dict[str, object]], request: pytest.FixtureRequest
):
    started = [(kind, f"{request.node.callspec.id}-{n}-{kind}") for n in range(2) for kind in ("three", "many")]
    with bad_days(behind, rules):
        for kind, name in started:
            behind.send(f"trial/{kind}", {"name": name})
        for kind, name in started:
            run = behind.ended(f"trials-{kind}", name, seconds=120)
            assert (run["status"], run["output"]) == ("Completed", {"three": 6, "many": 45}[kind])
            check_that_no_recorded_step_ran_again(behind, run, name)


def test_a_step_whose_answer_is_lost_on_its_way_from_the_app_runs_again_and_its_run_ends(behind: Cloud):
    with bad_days(behind, [unheard("lambda", "Invoke", 2)]):
        behind.send("trial/three", {"name": "lost-answer"})
        run = behind.ended("trials-three", "lost-answer", seconds=120)
    assert (run["status"], run["output"]) == ("Completed", 6)
