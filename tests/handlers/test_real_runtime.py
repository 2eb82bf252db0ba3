"""The user's Lambda under AWS's own runtime client: what kills it, and how its run continues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from milepost_engine.http.app_sync import SyncProblem, sync_app
from milepost_engine.ports import Target

from .conftest import World
from .recorded import envelope
from .runtime_host import RuntimeHost, running_host

ADDRESS = "arn:aws:lambda:us-east-1:123456789012:function:shop:1"
APP = '''
import os
import pathlib
import sys
import threading

from milepost import App, Retries, SyncContext
from milepost_handlers.app import lambda_handler

app = App("shop", mode="checkpoint")


@app.function(id="order", trigger="order/placed", retries=Retries(max_retries=1, first_delay=0))
def order(ctx: SyncContext) -> list[int]:
    first = ctx.step.run("first", lambda: note("first"))
    second = ctx.step.run("second", lambda: fall(ctx.event.data["how"]) or note("second"))
    return [first, second]


def note(name: str) -> int:
    """How often a step's body ran to its end."""
    path = pathlib.Path(__file__).with_name(name)
    count = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(count))
    return count


def fall(how: str) -> None:
    path = pathlib.Path(__file__).with_name("fell")
    if path.exists() and not how.startswith("always"):
        return
    path.touch()
    match how.rpartition(" ")[2]:
        case "exit":
            os._exit(3)
        case "hang":
            threading.Event().wait()
        case "memory":
            print(len(bytearray(os.urandom(1)) * 600_000_000))
            threading.Event().wait()


handler = lambda_handler(app)
'''


class Deploy(Protocol):
    def __call__(self, code: str, timeout_seconds: float = 10.0) -> RuntimeHost: ...


@pytest.fixture
def deploy(world: World, tmp_path: Path) -> Iterator[Deploy]:
    with ExitStack() as running:

        def deploy(code: str, timeout_seconds: float = 10.0) -> RuntimeHost:
            (tmp_path / "shop.py").write_text(code)
            started = running_host(tmp_path, "shop.handler", timeout_seconds=timeout_seconds, memory_mb=400)
            host = running.enter_context(started)
            world.lambdas.functions[ADDRESS] = host.invoke
            return host

        yield deploy


def register(world: World, *, reports: bool = False) -> None:
    here = world.here
    here.run(sync_app(here.engine, here.invokers["lambda"], Target("lambda", ADDRESS, 30.0, reports)))


@pytest.mark.parametrize("reports", [False, True], ids=["waited for", "reports"])
@pytest.mark.parametrize(
    ("how", "reason"),
    [("exit", "exit status 3"), ("hang", "Task timed out after 4.00 seconds"), ("memory", "most likely out of memory")],
)
def test_a_step_that_kills_the_lambda_is_tried_again_and_those_before_it_are_not(
    world: World, deploy: Deploy, tmp_path: Path, how: str, reason: str, *, reports: bool
):
    host = deploy(APP, timeout_seconds=4.0)
    register(world, reports=reports)
    world.put(envelope("order/placed", {"how": how}))
    world.settle()
    [run] = world.runs()
    assert (run["status"], run["output"]) == ("Completed", [1, 1])
    assert (host.starts, (tmp_path / "first").read_text()) == (2, "1")
    assert reason in str(run["trace"])


@pytest.mark.parametrize("reports", [False, True], ids=["waited for", "reports"])
def test_a_lambda_that_always_dies_fails_the_run_with_the_reason(world: World, deploy: Deploy, *, reports: bool):
    deploy(APP)
    register(world, reports=reports)
    world.put(envelope("order/placed", {"how": "always exit"}))
    world.settle()
    [run] = world.runs()
    assert run["status"] == "Failed"
    assert run["error"]["name"] == "AppCrashed"
    assert "exit status 3" in run["error"]["message"]


def test_code_that_can_no_longer_be_imported_is_reported_by_lambda(world: World, deploy: Deploy):
    deploy(APP).stop()
    register(world, reports=True)
    deploy("import nothing_of_that_name\n")
    world.put(envelope("order/placed", {"how": "well"}))
    world.settle()
    [run] = world.runs()
    assert (run["status"], run["error"]["name"]) == ("Failed", "AppCrashed")
    assert "the code could not be imported: " in run["error"]["message"]


def test_code_that_cannot_be_imported_is_reported_with_pythons_message(world: World, deploy: Deploy):
    deploy("import nothing_of_that_name\n")
    with pytest.raises(SyncProblem, match=r"could not be imported: .*No module named 'nothing_of_that_name'"):
        register(world)
