"""What the hot-path client promises: signed calls, and repetition only where it cannot apply a call twice."""

import base64
import json
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from botocore.credentials import Credentials

from milepost_engine.adapters.aws.calls import AwsRefused, AwsRetries, AwsUnreachable, Caller
from milepost_engine.adapters.aws.client import AwsHttp, endpoint_url
from milepost_engine.adapters.random_source import SeededRandom

from .fake_aws import HANG_UP, FakeAws, running_fake_aws
from .labs import ImpatientClock

THROTTLED = (400, {"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down"})
BROKEN = (500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "oh"})
DENIED = (400, {"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "not yours"})


@pytest.fixture
def clock() -> ImpatientClock:
    return ImpatientClock()


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with running_fake_aws() as fake:
        yield fake


@pytest.fixture
async def http(aws: FakeAws, clock: ImpatientClock) -> AsyncIterator[AwsHttp]:
    http = AwsHttp(
        Credentials("AKID", "secret", "session-token"),
        "eu-west-1",
        retries=AwsRetries(clock, SeededRandom(1), attempts=4),
        environment={"AWS_ENDPOINT_URL": aws.url},
        max_connections=2,
    )
    yield http
    await http.close()


@pytest.fixture
def dynamodb(http: AwsHttp) -> Caller:
    return http.service("dynamodb")


async def test_a_call_is_signed_json_and_binary_is_base64(aws: FakeAws, dynamodb: Caller) -> None:
    aws.will_answer((200, {"Item": {"b": {"B": "AAE="}}}))
    answer = await dynamodb.call("GetItem", {"Key": {"pk": {"S": "é"}, "sk": {"B": b"\x00\x01"}}}, repeatable=True)
    assert answer == {"Item": {"b": {"B": "AAE="}}}
    [seen] = aws.seen
    assert json.loads(seen.body) == {"Key": {"pk": {"S": "é"}, "sk": {"B": base64.b64encode(b"\x00\x01").decode()}}}
    assert seen.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert seen.headers["content-type"] == "application/x-amz-json-1.0"
    assert seen.headers["x-amz-security-token"] == "session-token"
    scope = "/eu-west-1/dynamodb/aws4_request"
    assert seen.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert scope in seen.headers["authorization"]


@pytest.mark.parametrize("repeatable", [False, True])
async def test_what_did_nothing_is_repeated_with_growing_jittered_pauses(
    aws: FakeAws, dynamodb: Caller, clock: ImpatientClock, *, repeatable: bool
) -> None:
    aws.will_answer(THROTTLED, THROTTLED, THROTTLED, (200, {"ok": 1}))
    assert await dynamodb.call("PutItem", {}, repeatable=repeatable) == {"ok": 1}
    assert len(clock.pauses) == 3
    assert all(0 <= pause <= 0.05 * 2**n for n, pause in enumerate(clock.pauses))


async def test_patience_with_throttling_ends(aws: FakeAws, dynamodb: Caller) -> None:
    aws.will_answer(*[THROTTLED] * 9)
    with pytest.raises(AwsRefused) as refusal:
        await dynamodb.call("PutItem", {}, repeatable=False)
    assert len(aws.seen) == 4
    assert refusal.value.did_nothing
    assert str(refusal.value) == "PutItem: ThrottlingException (400): slow down"


@pytest.mark.parametrize("outcome", [BROKEN, HANG_UP, (503, b"<html>busy</html>")], ids=["500", "hang_up", "503"])
async def test_a_write_whose_fate_is_unknown_is_sent_once(aws: FakeAws, dynamodb: Caller, outcome: tuple) -> None:
    aws.will_answer(outcome)
    with pytest.raises((AwsRefused, AwsUnreachable)) as failure:
        await dynamodb.call("PutItem", {}, repeatable=False)
    assert len(aws.seen) == 1
    assert getattr(failure.value, "sent", True)
    assert not getattr(failure.value, "did_nothing", False)


@pytest.mark.parametrize("outcome", [BROKEN, HANG_UP, (503, b"<html>busy</html>")], ids=["500", "hang_up", "503"])
async def test_a_repeatable_call_is_retried_after_an_unknown_outcome(
    aws: FakeAws, dynamodb: Caller, outcome: tuple
) -> None:
    aws.will_answer(outcome, outcome, (200, {"ok": 1}))
    assert await dynamodb.call("GetItem", {}, repeatable=True) == {"ok": 1}
    assert len(aws.seen) == 3


async def test_a_wrong_request_is_never_repeated(aws: FakeAws, dynamodb: Caller) -> None:
    aws.will_answer(DENIED)
    with pytest.raises(AwsRefused, match=r"AccessDeniedException .400.: not yours") as refusal:
        await dynamodb.call("GetItem", {}, repeatable=True)
    assert not refusal.value.did_nothing
    assert len(aws.seen) == 1


async def test_a_cancelled_transaction_did_nothing_if_it_only_met_another(aws: FakeAws, dynamodb: Caller) -> None:
    cancelled = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    met = {"__type": cancelled, "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}]}
    failed = {"__type": cancelled, "CancellationReasons": [{"Code": "ConditionalCheckFailed"}, {"Code": "None"}]}
    aws.will_answer((400, met), (400, failed))
    with pytest.raises(AwsRefused) as refusal:
        await dynamodb.call("TransactWriteItems", {}, repeatable=False)
    assert len(aws.seen) == 2
    assert not refusal.value.did_nothing


async def test_a_refused_connection_is_reported_as_not_sent(clock: ImpatientClock) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment = {"AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{probe.getsockname()[1]}"}
    http = AwsHttp(
        Credentials("a", "b"), "eu-west-1", retries=AwsRetries(clock, SeededRandom(1)), environment=environment
    )
    with pytest.raises(AwsUnreachable, match="no answer from AWS") as silence:
        await http.service("dynamodb").call("PutItem", {}, repeatable=False)
    assert not silence.value.sent
    assert len(clock.pauses) == 4
    await http.close()


async def test_connections_are_kept_but_not_after_a_rest(aws: FakeAws, dynamodb: Caller, clock: ImpatientClock) -> None:
    for seconds in (0, 10, 19, 21):
        await clock.advance(seconds)
        await dynamodb.call("GetItem", {}, repeatable=False)
    assert [seen.connection for seen in aws.seen] == [1, 1, 1, 2]


async def test_a_lambda_function_is_invoked_and_its_failure_reported(aws: FakeAws, http: AwsHttp) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop:7"
    aws.answer_headers = {"X-Amz-Function-Error": "Unhandled", "X-Amz-Executed-Version": "7"}
    aws.will_answer((200, b'{"errorMessage": "x"}'))
    answer = await http.invoke(arn, b'{"in": 1}')
    assert (answer.status, answer.payload) == (200, b'{"errorMessage": "x"}')
    assert (answer.function_error, answer.executed_version) == ("Unhandled", "7")
    [seen] = aws.seen
    assert seen.path == f"/2015-03-31/functions/{arn.replace(':', '%3A')}/invocations"
    assert seen.headers["x-amz-invocation-type"] == "RequestResponse"
    assert seen.body == b'{"in": 1}'


async def test_an_asynchronous_invocation_is_accepted(aws: FakeAws, http: AwsHttp) -> None:
    aws.will_answer((202, b""))
    answer = await http.invoke("shop", b"{}", asynchronous=True)
    assert (answer.status, answer.function_error) == (202, None)
    assert aws.seen[0].headers["x-amz-invocation-type"] == "Event"


async def test_a_busy_lambda_is_tried_again_a_missing_one_is_not(aws: FakeAws, http: AwsHttp) -> None:
    aws.answer_headers = {"X-Amzn-ErrorType": "TooManyRequestsException:http://internal.amazon.com/coral/"}
    aws.will_answer((429, {"Reason": "ConcurrentInvocationLimitExceeded"}), (200, b"{}"))
    assert (await http.invoke("shop", b"{}")).status == 200
    aws.answer_headers = {"X-Amzn-ErrorType": "ResourceNotFoundException"}
    aws.will_answer((404, {"Message": "Function not found"}))
    with pytest.raises(AwsRefused, match=r"Invoke: ResourceNotFoundException .404.: Function not found"):
        await http.invoke("shop", b"{}")


async def test_a_lambda_whose_answer_was_lost_may_have_run(aws: FakeAws, http: AwsHttp) -> None:
    aws.will_answer(HANG_UP)
    with pytest.raises(AwsUnreachable) as silence:
        await http.invoke("shop", b"{}", timeout_seconds=5)
    assert silence.value.sent
    assert len(aws.seen) == 1


def test_endpoints_come_from_the_environment_or_are_amazons() -> None:
    both = {"AWS_ENDPOINT_URL": "http://all/", "AWS_ENDPOINT_URL_EVENTBRIDGE": "http://events"}
    assert endpoint_url("dynamodb", "eu-west-1", {}) == "https://dynamodb.eu-west-1.amazonaws.com"
    assert endpoint_url("sqs", "cn-north-1", {}) == "https://sqs.cn-north-1.amazonaws.com.cn"
    assert endpoint_url("sqs", "eu-west-1", both) == "http://all"
    assert endpoint_url("events", "eu-west-1", both) == "http://events"
    ignoring = {**both, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert endpoint_url("events", "eu-west-1", ignoring) == "https://events.eu-west-1.amazonaws.com"


def test_missing_credentials_are_reported_at_once(clock: ImpatientClock) -> None:
    with pytest.raises(ValueError, match="no AWS credentials: set"):
        AwsHttp(None, "eu-west-1", retries=AwsRetries(clock, SeededRandom(1)))
