"""What a deployment registers, and how it fails."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import moto.backends
import pytest

from milepost import App, SyncContext
from milepost_handlers.manifest import handler

from .conftest import World
from .lambda_service import FunctionError
from .recorded import Context, envelope

VERSION = "arn:aws:lambda:us-east-1:123456789012:function:shop:{}"


@dataclass
class CloudFormation:
    """Takes the answers of a custom resource."""

    url: str = ""
    answers: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, kind: str, address: str, **more: Any) -> dict[str, Any]:
        event = {
            "RequestType": kind,
            "ResponseURL": self.url,
            "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/shop/1",
            "RequestId": "c1a1",
            "LogicalResourceId": "ShopRegistration",
            "ResourceType": "Custom::MilepostApp",
            "ResourceProperties": {"Address": address, "Revision": address, "TimeoutSeconds": "30"},
            **more,
        }
        handler(event, Context())
        return self.answers[-1]


@pytest.fixture
def cloudformation() -> Iterator[CloudFormation]:
    cloudformation = CloudFormation()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            assert self.headers.get("Content-Type") == ""
            cloudformation.answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    cloudformation.url = f"http://127.0.0.1:{server.server_port}/answer?signature=x"
    yield cloudformation
    server.shutdown()
    server.server_close()
    thread.join()


def shop(*names: str, app_id: str = "shop") -> App:
    app = App(app_id)
    for name in names:

        @app.function(id=name, trigger=f"{name}/wanted")
        def function(ctx: SyncContext) -> str:
            return ctx.event.name

    return app


def deploy(world: World, app: App, version: int) -> str:
    address = VERSION.format(version)
    served = app.lambda_handler()
    world.lambdas.functions[address] = lambda event: served(event, Context(30_000))
    return address


def registered(world: World) -> dict[str, list[str]]:
    world.here.engine.registry.forget()
    snapshot = world.here.run(world.here.engine.registry.snapshot())
    return {app.app_id: [spec.function_id for spec in app.functions] for app in snapshot.apps.values()}


def test_a_deployed_app_is_registered_under_its_version(world: World, cloudformation: CloudFormation):
    answer = cloudformation.ask("Create", deploy(world, shop("tea", "cake"), 1))
    assert answer["Status"] == "SUCCESS"
    assert answer["PhysicalResourceId"] == "app:shop"
    assert answer["Data"] == {"AppId": "shop", "Functions": "2"}
    assert registered(world) == {"shop": ["shop-tea", "shop-cake"]}
    world.put(envelope("tea/wanted", {}))
    world.pump()
    assert world.lambdas.calls[-1] == (VERSION.format(1), "RequestResponse")


def test_a_run_stays_on_the_version_that_it_started_on(world: World, cloudformation: CloudFormation):
    cloudformation.ask("Create", deploy(world, shop("tea"), 1))
    world.put(envelope("tea/wanted", {}))
    cloudformation.ask("Update", deploy(world, shop("tea"), 2), PhysicalResourceId="app:shop")
    world.lambdas.calls.clear()
    world.pump()
    world.put(envelope("tea/wanted", {}))
    world.pump()
    assert [name for name, _ in world.lambdas.calls] == [VERSION.format(1), VERSION.format(2)]


def test_a_function_that_was_taken_out_starts_no_more_but_finishes_its_runs(
    world: World, cloudformation: CloudFormation
):
    cloudformation.ask("Create", deploy(world, shop("tea", "cake"), 1))
    world.put(envelope("cake/wanted", {}))
    [run] = world.runs()
    cloudformation.ask("Update", deploy(world, shop("tea"), 2), PhysicalResourceId="app:shop")
    world.put(envelope("cake/wanted", {}))
    world.pump()
    run = world.run(run["run_id"])
    assert (run["status"], run["output"]) == ("Completed", "cake/wanted")


def test_an_app_that_cannot_be_imported_fails_the_deployment_with_pythons_words(
    world: World, cloudformation: CloudFormation
):
    def broken(_: object) -> None:
        raise FunctionError("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'stripe'")

    world.lambdas.functions[VERSION.format(1)] = broken
    answer = cloudformation.ask("Create", VERSION.format(1))
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith(f"[MP503] The app at {VERSION.format(1)} did not return its manifest")
    assert "No module named 'stripe'" in answer["Reason"]
    assert answer["PhysicalResourceId"] == "app:none"


def test_a_manifest_with_mistakes_fails_the_deployment_and_the_previous_version_stays(
    world: World, cloudformation: CloudFormation
):
    cloudformation.ask("Create", deploy(world, shop("tea"), 1))
    address = deploy(world, shop("tea"), 2)
    good = world.lambdas.functions[address]

    def wrong(event: Any) -> Any:
        answer = good(event)
        body = json.loads(answer["body"])
        body["functions"][0]["concurrency"] = 3
        return {**answer, "body": json.dumps(body)}

    world.lambdas.functions[address] = wrong
    answer = cloudformation.ask("Update", address, PhysicalResourceId="app:shop")
    assert answer["Status"] == "FAILED"
    assert "[MP201] App 'shop' cannot be registered" in answer["Reason"]
    assert "concurrency" in answer["Reason"]
    assert answer["PhysicalResourceId"] == "app:shop"
    world.put(envelope("tea/wanted", {}))
    world.pump()
    assert world.lambdas.calls[-1][0] == VERSION.format(1)


def test_a_manifest_of_a_newer_version_is_refused_by_name(world: World, cloudformation: CloudFormation):
    address = deploy(world, shop("tea"), 1)
    good = world.lambdas.functions[address]

    def newer(event: Any) -> Any:
        answer = good(event)
        return {**answer, "body": json.dumps({**json.loads(answer["body"]), "milepost_version": 2})}

    world.lambdas.functions[address] = newer
    answer = cloudformation.ask("Create", address)
    assert answer["Status"] == "FAILED"
    assert "The manifest has version 2, this engine reads up to 1; upgrade Milepost" in answer["Reason"]


def test_an_app_that_is_deleted_is_forgotten(world: World, cloudformation: CloudFormation):
    address = deploy(world, shop("tea"), 1)
    cloudformation.ask("Create", address)
    assert cloudformation.ask("Delete", address, PhysicalResourceId="app:shop")["Status"] == "SUCCESS"
    assert registered(world) == {}


def test_deleting_an_app_that_moved_elsewhere_leaves_the_new_one(world: World, cloudformation: CloudFormation):
    old, new = deploy(world, shop("tea"), 1), deploy(world, shop("tea"), 2)
    cloudformation.ask("Create", old)
    cloudformation.ask("Create", new)
    cloudformation.ask("Delete", old, PhysicalResourceId="app:shop")
    assert registered(world) == {"shop": ["shop-tea"]}


def test_deleting_what_was_never_registered_succeeds(world: World, cloudformation: CloudFormation):
    assert cloudformation.ask("Delete", VERSION.format(1), PhysicalResourceId="app:none")["Status"] == "SUCCESS"


def test_a_handler_that_is_not_the_apps_is_recognised_by_its_answer(world: World, cloudformation: CloudFormation):
    world.lambdas.functions[VERSION.format(1)] = lambda _: {"hello": "world"}
    answer = cloudformation.ask("Create", VERSION.format(1))
    assert "which is not an HTTP response: its handler must be the app's" in answer["Reason"]


@pytest.mark.parametrize("reports", [True, False])
def test_whether_an_app_reports_back_itself_is_registered_and_kept_by_its_runs(
    world: World, cloudformation: CloudFormation, *, reports: bool
):
    address = deploy(world, shop("tea"), 1)
    more = {"Reports": "true"} if reports else {}
    properties = {"Address": address, "Revision": "1", "TimeoutSeconds": "900", **more}
    cloudformation.ask("Create", address, ResourceProperties=properties)
    world.put(envelope("tea/wanted", {}))
    world.pump()
    assert world.lambdas.calls[-1] == (address, "Event" if reports else "RequestResponse")


def keep(
    cloudformation: CloudFormation,
    old: list[str],
    new: list[str],
    *abandoned: str,
    stack_id: str = "arn:aws:cloudformation:us-east-1:123456789012:stack/unknown/1",
) -> dict[str, Any]:
    return cloudformation.ask(
        "Update",
        "",
        ResourceType="Custom::MilepostCode",
        PhysicalResourceId="code",
        StackId=stack_id,
        ResourceProperties={"Functions": new, "Abandoned": list(abandoned)},
        OldResourceProperties={"Functions": old},
    )


SHOP, OTHER = (f"arn:aws:lambda:us-east-1:123456789012:function:{name}" for name in ("shop", "other"))


def test_a_deployment_that_would_delete_the_code_of_a_live_run_is_refused(world: World, cloudformation: CloudFormation):
    cloudformation.ask("Create", deploy(world, shop("tea"), 1))
    world.put(envelope("tea/wanted", {}))
    answer = keep(cloudformation, [SHOP, OTHER], [OTHER])
    assert answer["Status"] == "FAILED"
    (run,) = world.runs()
    assert (
        f"[MP508] This deployment would delete Lambdas on which runs are live: shop-tea {run['run_id']}."
        in (answer["Reason"])
    )
    # What stays, what is new, and what is another's does no harm.
    for old, new in (([SHOP], [SHOP]), ([SHOP], [OTHER, SHOP]), ([SHOP, OTHER], [SHOP]), ([SHOP[:-1]], [])):
        assert keep(cloudformation, old, new)["Status"] == "SUCCESS", (old, new)
    assert keep(cloudformation, [SHOP], [], "shop")["Status"] == "SUCCESS"
    world.pump()
    assert keep(cloudformation, [SHOP], [])["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("status", "answered"), [("UPDATE_IN_PROGRESS", "FAILED"), ("UPDATE_ROLLBACK_IN_PROGRESS", "SUCCESS")]
)
def test_a_rollback_removes_what_the_failed_deployment_made(
    world: World, cloudformation: CloudFormation, status: str, answered: str
):
    cloudformation.ask("Create", deploy(world, shop("tea"), 1))
    world.put(envelope("tea/wanted", {}))
    template = json.dumps({"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    made = world.client("cloudformation").create_stack(StackName=f"in-{answered}".lower(), TemplateBody=template)
    stacks = moto.backends.get_backend("cloudformation")["123456789012"]["us-east-1"].stacks
    stacks[made["StackId"]].status = status
    answer = keep(cloudformation, [SHOP], [], stack_id=made["StackId"])
    assert answer["Status"] == answered, answer


def test_the_first_deployment_and_the_last_one_have_nothing_to_look_for(world: World, cloudformation: CloudFormation):
    for kind in ("Create", "Delete"):
        answer = cloudformation.ask(
            kind, "", ResourceType="Custom::MilepostCode", ResourceProperties={"Functions": [SHOP]}
        )
        assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", "code")


def test_a_registration_that_is_replaced_by_another_of_the_same_address_leaves_the_app(
    world: World, cloudformation: CloudFormation
):
    address = deploy(world, shop("tea"), 1)
    cloudformation.ask("Create", address, LogicalResourceId="Old")
    cloudformation.ask("Create", address, LogicalResourceId="Renamed")
    cloudformation.ask("Delete", address, LogicalResourceId="Old", PhysicalResourceId="app:shop")
    assert registered(world) == {"shop": ["shop-tea"]}
    cloudformation.ask("Delete", address, LogicalResourceId="Renamed", PhysicalResourceId="app:shop")
    assert registered(world) == {}
