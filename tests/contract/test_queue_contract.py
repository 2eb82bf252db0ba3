"""What every Queue promises."""

import json

import pytest

from milepost_engine.ports import Message

from .labs import QueueLab


async def test_every_message_sent_is_delivered(queue_lab: QueueLab) -> None:
    bodies = [json.dumps({"n": number, "text": "é\U0001f680\n"}, ensure_ascii=number % 2 == 0) for number in range(25)]
    await queue_lab.queue.send([Message(body) for body in bodies])
    await queue_lab.queue.send([])
    assert sorted(await queue_lab.receive(25)) == sorted(bodies)


async def test_large_messages_are_delivered(queue_lab: QueueLab) -> None:
    bodies = [str(number) * 400_000 for number in range(5)] + ["é" * 2**19]
    await queue_lab.queue.send([Message(body) for body in bodies])
    assert sorted(await queue_lab.receive(6)) == sorted(bodies)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (Message("x", -1), "0 to 900 s, not -1"),
        (Message("x", 900.5), "0 to 900 s, not 900.5"),
        (Message(""), "1 to 1048576 bytes, not 0"),
        (Message("é" * 2**19 + "x"), "1 to 1048576 bytes, not 1048577"),
        (Message("a\x00"), "has the character"),
        (Message("\ud800"), "lone surrogate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_message_that_sqs_would_not_take_is_refused_and_none_is_sent(
    queue_lab: QueueLab, message: Message, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await queue_lab.queue.send([Message("fine"), message])
    await queue_lab.queue.send([Message("last")])
    assert await queue_lab.receive(1) == ["last"]
