"""Much at once: large events, many events, many timers of one minute."""

import pytest

from milepost import App, Context
from milepost_engine.adapters.limits import MAX_MESSAGE_BYTES

from .rig import rig


def shop(seen: list[int]) -> App:
    app = App("shop")

    @app.function(id="measure", triggers="order/created")
    async def measure(ctx: Context) -> int:
        seen.append(len(ctx.event.data.get("note", "")))
        return seen[-1]

    return app


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES // 2, MAX_MESSAGE_BYTES + 1, 3_000_000])
async def test_an_event_larger_than_a_queue_message_starts_its_function(size: int) -> None:
    seen: list[int] = []
    async with rig(shop(seen)) as made:
        await made.send("order/created", {"note": "x" * size})
        assert (await made.only_run())["status"] == "Completed"
    assert seen == [size]


@pytest.mark.crowded
async def test_five_thousand_events_of_one_request_are_all_accepted() -> None:
    seen: list[int] = []
    async with rig(shop(seen)) as made:
        read = await made.engine.accept([{"name": "order/seen", "data": {"n": n}} for n in range(5000)])
        assert (len(read.events), read.problem) == (5000, "")
        await made.settle()
        for event in (read.events[0], read.events[4999]):
            assert await made.engine.events.load(event.event_id) == event
