"""Each way in which a Lambda fails is distinguished, over real sockets, and has its own retry rule."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from botocore.credentials import Credentials

from milepost import App, SyncContext
from milepost.protocol import Request
from milepost_engine.adapters.aws.calls import AwsRetries
from milepost_engine.adapters.aws.client import AwsHttp, LambdaAnswer
from milepost_engine.adapters.aws.invoke_lambda import MAX_HANDED_OVER_BYTES, MAX_PAYLOAD_BYTES, LambdaInvoker
from milepost_engine.adapters.random_source import SystemRandom
from milepost_engine.ports import InvocationProblem, ProblemKind, Target
from tests.contract.labs import ImpatientClock

from .conftest import World
from .lambda_service import FunctionError, LambdaService, Refusal
from .recorded import Context, envelope

ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop:7"
TARGET = Target("lambda", ARN, 30.0)
CALL = Request(
    "POST", {"fnId": "shop-order", "stepId": "step"}, {"x-run-id": "R1", "user-agent": "Milepost"}, b'{"ctx":{}}'
)


@pytest.fixture
async def invoker(lambda_service: LambdaService) -> AsyncIterator[LambdaInvoker]:
    lambda_service.clear()
    http = AwsHttp(
        Credentials("test", "test"), "us-east-1", retries=AwsRetries(ImpatientClock(), SystemRandom()),
        environment={"AWS_ENDPOINT_URL_LAMBDA": lambda_service.url},
    )  # fmt: skip
    yield LambdaInvoker(http)
    await http.close()


def failing(error: Exception) -> Callable[[Any], Any]:
    def function(_: Any) -> Any:
        raise error

    return function


FAILURES = [
    (FunctionError("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 3.00 seconds"),
     ProblemKind.TIMEOUT, "Split the step, or give the function a longer timeout"),
    (FunctionError("", "2026-03-02T09:00:00.000Z 1 Task timed out after 3.00 seconds"),
     ProblemKind.TIMEOUT, "Task timed out after 3.00 seconds"),
    (FunctionError("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: exit status 3"),
     ProblemKind.CRASHED, "exit status 3"),
    (FunctionError("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
     ProblemKind.CRASHED, "most likely out of memory"),
    (FunctionError("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited with error: signal: killed"),
     ProblemKind.CRASHED, "Give it more memory_mb"),
    (FunctionError("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'x'"),
     ProblemKind.CRASHED, "the code could not be imported"),
    (FunctionError("KeyError", "'price'"), ProblemKind.CRASHED, "KeyError: 'price'"),
    (FunctionError("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size."),
     ProblemKind.TOO_LARGE, "Return a reference instead"),
    (Refusal(429, "TooManyRequestsException", "Rate Exceeded."), ProblemKind.THROTTLED, "Rate Exceeded"),
    (Refusal(404, "ResourceNotFoundException", "Function not found"), ProblemKind.MISSING, "deploy it again"),
    (Refusal(403, "AccessDeniedException", "not authorized to perform: lambda:InvokeFunction"),
     ProblemKind.FORBIDDEN, "grant lambda:InvokeFunction on the function"),
    (Refusal(413, "RequestTooLargeException", "Request must be smaller"), ProblemKind.TOO_LARGE, "must be smaller"),
    (Refusal(502, "ResourceNotReadyException", "The function is inactive"), ProblemKind.UNREACHABLE, "inactive"),
    (Refusal(500, "ServiceException", "Internal"), ProblemKind.UNREACHABLE, "ServiceException"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "kind", "reason"), FAILURES, ids=lambda value: str(value)[:40])
async def test_each_failure_has_its_kind_and_says_what_to_do(
    invoker: LambdaInvoker, lambda_service: LambdaService, error: Exception, kind: str, reason: str
):
    lambda_service.functions[ARN] = failing(error)
    with pytest.raises(InvocationProblem) as problem:
        await invoker.invoke(TARGET, CALL)
    assert (problem.value.kind, reason in problem.value.detail) == (kind, True), problem.value.detail


REFUSALS = [(error, kind) for error, kind, _ in FAILURES if isinstance(error, Refusal)]


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS, ids=lambda value: str(value)[:40])
async def test_reasons_why_a_call_is_not_handed_over_are_distinguished_too(
    invoker: LambdaInvoker, lambda_service: LambdaService, refusal: Refusal, kind: str
):
    lambda_service.functions[ARN] = failing(AssertionError("it is not called"))
    lambda_service.refuses[:] = [refusal] * 5  # all tries of one call
    with pytest.raises(InvocationProblem) as problem:
        await invoker.hand_over(TARGET, CALL, {"run": "R1"})
    lambda_service.refuses.clear()
    assert problem.value.kind == kind


async def test_a_call_is_handed_over_with_its_token(invoker: LambdaInvoker, lambda_service: LambdaService):
    lambda_service.functions[ARN] = failing(AssertionError("it is not called"))
    await invoker.hand_over(TARGET, CALL, {"run": "R1"})
    [(name, body)] = lambda_service.accepted
    event = json.loads(body)
    assert (name, event["milepost"], event["headers"]["x-run-id"]) == (ARN, {"run": "R1"}, "R1")


async def test_a_call_that_lambda_would_not_take_later_is_refused_before_it_travels(
    invoker: LambdaInvoker, lambda_service: LambdaService
):
    with pytest.raises(InvocationProblem, match="Lambda accepts 1048576 for an asynchronous call") as problem:
        await invoker.hand_over(TARGET, Request("POST", {}, {}, b"x" * MAX_HANDED_OVER_BYTES), {"run": "R1"})
    assert (problem.value.kind, lambda_service.accepted) == (ProblemKind.TOO_LARGE, [])


async def test_no_call_is_waited_for_longer_than_the_orchestrator_lives():
    seen: list[float] = []

    class Lambdas:
        async def invoke(
            self, function: str, payload: bytes, *, asynchronous: bool = False, timeout_seconds: float
        ) -> LambdaAnswer:
            seen.append(timeout_seconds)
            return LambdaAnswer(200, b'{"statusCode": 200}', None, None)

    for app_seconds in (30.0, 900.0):
        await LambdaInvoker(Lambdas(), 60.0).invoke(Target("lambda", ARN, app_seconds), CALL)
    assert seen == [35.0, 65.0]


@pytest.mark.parametrize(
    "answer",
    [{"hello": "world"}, None, "text", b"no json", [1], {"statusCode": True}, {"statusCode": "200"},
     {"statusCode": 200, "body": "?", "isBase64Encoded": True}],
    ids=repr,
)  # fmt: skip
async def test_an_answer_that_is_no_http_response_is_malformed(
    invoker: LambdaInvoker, lambda_service: LambdaService, answer: Any
):
    lambda_service.functions[ARN] = lambda _: answer
    with pytest.raises(InvocationProblem) as problem:
        await invoker.invoke(TARGET, CALL)
    assert problem.value.kind == ProblemKind.MALFORMED


async def test_a_request_over_lambdas_limit_is_refused_before_it_travels(
    invoker: LambdaInvoker, lambda_service: LambdaService
):
    lambda_service.calls.clear()
    with pytest.raises(
        InvocationProblem, match=r"Lambda accepts 6291456: return references from large steps"
    ) as problem:
        await invoker.invoke(TARGET, Request("POST", {}, {}, b"x" * MAX_PAYLOAD_BYTES))
    assert problem.value.kind == ProblemKind.TOO_LARGE
    assert lambda_service.calls == []


async def test_a_large_body_full_of_quotes_travels_as_base64(invoker: LambdaInvoker, lambda_service: LambdaService):
    lambda_service.functions[ARN] = lambda event: {"statusCode": 200, "body": str(event["isBase64Encoded"])}
    plain = await invoker.invoke(TARGET, Request("POST", {}, {}, b"x" * 100_000))
    quoted = await invoker.invoke(TARGET, Request("POST", {}, {}, b'"' * 4_000_000))
    assert (plain.body, quoted.body) == (b"False", b"True")


async def test_the_function_sees_a_request_as_a_function_url_would_hand_it_over(
    invoker: LambdaInvoker, lambda_service: LambdaService
):
    seen: list[Any] = []

    def answering(event: Any) -> Any:
        seen.append(event)
        return {"statusCode": 204, "headers": {"X-A": 1}}

    lambda_service.functions[ARN] = answering
    answer = await invoker.invoke(TARGET, CALL)
    [event] = seen
    assert event["version"] == "2.0"
    assert event["rawQueryString"] == "fnId=shop-order&stepId=step"
    assert event["requestContext"]["http"] == {
        "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "Milepost",
    }  # fmt: skip
    assert event["headers"]["x-run-id"] == "R1"
    assert json.loads(event["body"]) == {"ctx": {}}
    assert (answer.status, answer.headers, answer.body) == (204, {"x-a": "1"}, b"")


def order_app() -> App:
    app = App("shop")

    @app.function(id="order", trigger="order/placed", retries=0)
    def order(ctx: SyncContext) -> str:
        return "done"

    return app


def test_a_throttled_call_costs_no_attempt(world: World):
    address = world.serve(order_app())
    good = world.lambdas.functions[address]
    refused: list[Any] = []

    def busy(event: Any) -> Any:
        if len(refused) < 5:  # all tries of one call
            refused.append(event)
            raise Refusal(429, "TooManyRequestsException", "Rate Exceeded.")
        return good(event)

    world.lambdas.functions[address] = busy
    world.put(envelope("order/placed", {}))
    world.pump()
    assert [run["status"] for run in world.runs()] == ["Running"]
    world.pump_until_ended()
    assert [run["status"] for run in world.runs()] == ["Completed"]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (FunctionError("Sandbox.Timedout", "Task timed out after 3.00 seconds"), "InvocationTimeout"),
        (FunctionError("Runtime.ExitError", "Runtime exited with error: exit status 1"), "AppCrashed"),
        (Refusal(403, "AccessDeniedException", "no"), "AppForbidden"),
        (Refusal(404, "ResourceNotFoundException", "no"), "AppMissing"),
    ],
)
def test_a_run_without_retries_fails_and_names_function_run_and_version(world: World, error: Exception, name: str):
    address = world.serve(order_app())
    world.lambdas.functions[address] = failing(error)
    world.put(envelope("order/placed", {}))
    world.pump()
    [run] = world.runs()
    assert run["status"] == "Failed"
    assert run["error"]["name"] == name
    assert f"function shop-order, run {run['run_id']}, {address}" in run["error"]["message"]


def test_no_call_begins_when_it_could_outlive_the_orchestrator(world: World):
    left = world.here.deadline(Context(90_000)) - world.here.clock.now()
    assert 20 < left.total_seconds() <= 25
