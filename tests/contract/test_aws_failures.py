"""How the AWS adapters translate AWS's failures to those of the ports."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import pytest

from milepost_engine.adapters.aws.calls import AwsAnswer, AwsRefused, AwsRetries, AwsUnreachable
from milepost_engine.adapters.aws.dynamodb import DynamoTable
from milepost_engine.adapters.aws.s3 import S3Blobs
from milepost_engine.adapters.aws.sqs import SqsQueue
from milepost_engine.adapters.clock import WoundClock
from milepost_engine.adapters.random_source import SeededRandom
from milepost_engine.ports import Absent, Changes, Delete, Key, Message, Put, TableBusy, TransactionFailed

from .labs import ImpatientClock


class FakeCaller:
    """Gives scripted answers in turn, and records the requests."""

    def __init__(self, *answers: AwsAnswer | Exception) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[str, Mapping[str, Any], bool]] = []

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        self.asked.append((operation, dict(request), repeatable))
        answer = self.answers.popleft() if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def refused(code: str, **details: Any) -> AwsRefused:
    return AwsRefused("Operation", code, "what AWS said", 400, details)


def table(*answers: AwsAnswer | Exception) -> tuple[DynamoTable, FakeCaller]:
    caller = FakeCaller(*answers)
    return DynamoTable(caller, "milepost", WoundClock(), retries=AwsRetries(ImpatientClock(), SeededRandom(1))), caller


@pytest.mark.parametrize(
    "failure",
    [
        refused("ThrottlingException"),
        refused("ProvisionedThroughputExceededException"),
        refused("TransactionConflictException"),
        AwsUnreachable("PutItem", "connection refused", sent=False),
    ],
    ids=str,
)
async def test_what_wrote_nothing_is_a_busy_table(failure: Exception) -> None:
    busy, _ = table(failure)
    with pytest.raises(TableBusy, match="table milepost"):
        await busy.put({"pk": "p", "sk": "s"})


async def test_a_lost_answer_is_not_called_busy() -> None:
    lost, _ = table(AwsUnreachable("PutItem", "read timed out", sent=True))
    with pytest.raises(AwsUnreachable):
        await lost.put({"pk": "p", "sk": "s"})


async def test_only_reads_and_transactions_with_a_token_are_repeatable() -> None:
    item = {"Attributes": {"pk": {"S": "p"}, "sk": {"S": "s"}}}
    all_calls, caller = table({}, {}, {}, item, {}, {})
    await all_calls.get(Key("p", "s"))
    await all_calls.query("p")
    await all_calls.put({"pk": "p", "sk": "s"})
    await all_calls.update(Key("p", "s"), Changes(add={"n": 1}))
    await all_calls.delete(Key("p", "s"), when=Absent())
    await all_calls.transact([Delete(Key("p", "s")), Delete(Key("p", "t"))])
    assert {operation: repeatable for operation, _, repeatable in caller.asked} == {
        "GetItem": True,
        "Query": True,
        "PutItem": False,
        "UpdateItem": False,
        "DeleteItem": False,
        "TransactWriteItems": True,
    }
    assert len(caller.asked[-1][1]["ClientRequestToken"]) == 32


async def test_a_transaction_of_one_write_costs_one_write() -> None:
    single, caller = table({}, refused("ConditionalCheckFailedException"))
    await single.transact([Put({"pk": "p", "sk": "s"})])
    with pytest.raises(TransactionFailed) as failure:
        await single.transact([Put({"pk": "p", "sk": "s"}, when=Absent())])
    assert failure.value.failed == (0,)
    assert [operation for operation, _, _ in caller.asked] == ["PutItem", "PutItem"]


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["None", "ConditionalCheckFailed"], TransactionFailed),
        (["TransactionConflict", "ConditionalCheckFailed"], TransactionFailed),
        (["None", "TransactionConflict"], TableBusy),
        (["ThrottlingError", "None"], TableBusy),
        (["None", "ValidationError"], ValueError),
        (["None", "ItemCollectionSizeLimitExceeded"], AwsRefused),
    ],
    ids=str,
)
async def test_a_cancelled_transaction_says_why(reasons: list[str], expected: type[Exception]) -> None:
    cancelled = refused("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in reasons])
    cancelling, _ = table(cancelled)
    with pytest.raises(expected):
        await cancelling.transact([Put({"pk": "p", "sk": "s"}), Put({"pk": "p", "sk": "t"}, when=Absent())])


async def test_keys_left_unread_are_asked_for_again_and_not_forever() -> None:
    left = {"milepost": {"Keys": [{"pk": {"S": "p"}, "sk": {"S": "2"}}]}}
    one, two = ({"pk": {"S": "p"}, "sk": {"S": n}} for n in "12")
    reading, caller = table(
        {"Responses": {"milepost": [one]}, "UnprocessedKeys": left},
        {"Responses": {"milepost": [two]}, "UnprocessedKeys": {}},
    )
    found = await reading.get_many([Key("p", "2"), Key("p", "1")])
    assert found == [{"pk": "p", "sk": "2"}, {"pk": "p", "sk": "1"}]
    assert caller.asked[1][1]["RequestItems"] == left
    stuck, _ = table(*[{"Responses": {}, "UnprocessedKeys": left}] * 50)
    with pytest.raises(TableBusy, match="unread"):
        await stuck.get_many([Key("p", "2")])


async def test_a_table_that_is_not_there_is_named() -> None:
    missing, _ = table(refused("ResourceNotFoundException"))
    with pytest.raises(AwsRefused, match="ResourceNotFoundException"):
        await missing.get(Key("p", "s"))


def queue(*answers: AwsAnswer | Exception) -> tuple[SqsQueue, FakeCaller, ImpatientClock]:
    caller, clock = FakeCaller(*answers), ImpatientClock()
    return SqsQueue(caller, "http://queue", retries=AwsRetries(clock, SeededRandom(1), attempts=3)), caller, clock


async def test_messages_travel_in_tens_and_in_whole_seconds() -> None:
    sending, caller, _ = queue()
    await sending.send([Message("x", number / 2) for number in range(11)])
    sizes = [len(request["Entries"]) for _, request, _ in caller.asked]
    entries = [entry for _, request, _ in caller.asked for entry in request["Entries"]]
    assert sizes == [10, 1]
    assert [entry.get("DelaySeconds", 0) for entry in entries] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


async def test_a_batch_stays_within_a_mebibyte() -> None:
    sending, caller, _ = queue()
    await sending.send([Message("é" * 2**18), Message("x" * 2**19), Message("y"), Message("z" * 2**20)])
    assert [len(request["Entries"]) for _, request, _ in caller.asked] == [2, 1, 1]


async def test_the_messages_of_a_batch_that_failed_are_sent_again() -> None:
    sending, caller, clock = queue({"Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError"}]})
    await sending.send([Message("a"), Message("b"), Message("c")])
    assert [entry["MessageBody"] for entry in caller.asked[1][1]["Entries"]] == ["b"]
    assert len(clock.pauses) == 1


async def test_messages_that_keep_failing_are_reported() -> None:
    failed = {"Failed": [{"Id": "0", "SenderFault": False, "Code": "InternalError", "Message": "oh"}]}
    sending, caller, _ = queue(failed, failed, failed)
    with pytest.raises(AwsRefused, match=r"InternalError .200.: 1 of 2 messages were not sent to http://queue: oh"):
        await sending.send([Message("a"), Message("b")])
    assert len(caller.asked) == 3


async def test_a_message_that_sqs_refuses_is_not_sent_again() -> None:
    sending, caller, _ = queue({"Failed": [{"Id": "0", "SenderFault": True, "Code": "InvalidMessageContents"}]})
    with pytest.raises(AwsRefused, match="InvalidMessageContents"):
        await sending.send([Message("a")])
    assert len(caller.asked) == 1


async def test_blobs_left_undeleted_are_reported() -> None:
    listed = {"Contents": [{"Key": "r/1"}, {"Key": "r/2"}], "IsTruncated": False}
    failed = {"Errors": [{"Key": "r/2", "Code": "AccessDenied", "Message": "not yours"}]}
    blobs = S3Blobs(FakeCaller(listed, failed), "bucket")
    with pytest.raises(AwsRefused, match=r"AccessDenied .200.: 1 of 2 blobs were not deleted, first r/2: not yours"):
        await blobs.delete_prefix("r/")


async def test_long_lists_of_blobs_are_deleted_page_by_page() -> None:
    first = {"Contents": [{"Key": f"r/{n}"} for n in range(1000)], "IsTruncated": True, "NextContinuationToken": "t"}
    caller = FakeCaller(first, {}, {"Contents": [{"Key": "r/x"}], "IsTruncated": False}, {})
    assert await S3Blobs(caller, "bucket").delete_prefix("r/") == 1001
    assert [operation for operation, _, _ in caller.asked] == ["ListObjectsV2", "DeleteObjects"] * 2
    assert caller.asked[2][1]["ContinuationToken"] == "t"
