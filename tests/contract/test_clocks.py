"""Time and random_source."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from milepost_engine.adapters.clock import SystemClock, WoundClock
from milepost_engine.adapters.random_source import SeededRandom, SystemRandom


async def test_sleepers_wake_in_order_each_at_its_own_moment() -> None:
    clock = WoundClock(datetime(2030, 1, 1, tzinfo=UTC))
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, (clock.now() - datetime(2030, 1, 1, tzinfo=UTC)).seconds))

    async def chain() -> None:
        await sleeper("first", 2)
        await sleeper("again", 3)

    tasks = [asyncio.create_task(work) for work in (sleeper("late", 10), sleeper("same", 2), chain())]
    cancelled = asyncio.create_task(sleeper("never", 1))
    await clock.advance(0)
    cancelled.cancel()
    await clock.advance(9)
    assert woken == [("same", 2), ("first", 2), ("again", 5)]
    assert clock.now() == datetime(2030, 1, 1, 0, 0, 9, tzinfo=UTC)
    assert clock.next_wake() == datetime(2030, 1, 1, 0, 0, 10, tzinfo=UTC)
    await clock.advance(1)
    await asyncio.gather(*tasks)
    assert clock.next_wake() is None


async def test_a_wound_clock_does_not_go_back() -> None:
    clock = WoundClock()
    with pytest.raises(ValueError, match="backwards"):
        await clock.advance(-1)
    now = clock.now()
    await clock.advance_to(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.now() == now


def test_a_wound_clock_wants_an_aware_start() -> None:
    with pytest.raises(ValueError, match="aware start"):
        WoundClock(datetime(2030, 1, 1))  # noqa: DTZ001 - the mistake under test


async def test_the_system_clock_is_aware_and_never_goes_back() -> None:
    clock = SystemClock()
    moments = [clock.now() for _ in range(1000)]
    assert moments == sorted(moments)
    assert moments[0].tzinfo is UTC
    await clock.sleep(0)


def test_when_the_systems_clock_is_set_back_time_continues_until_the_clock_has_caught_up() -> None:
    start = datetime(2030, 1, 1, 12, tzinfo=UTC)
    wall, seconds = [start], [100.0]
    clock = SystemClock(lambda: wall[0], lambda: seconds[0])

    def after(elapsed: float, shown: datetime) -> float:
        seconds[0] += elapsed
        wall[0] = shown
        return (clock.now() - start).total_seconds()

    assert after(1, start + timedelta(seconds=1)) == 1
    # Set back by an hour: timers must not wait for an hour.
    assert after(5, start - timedelta(hours=1)) == 6
    assert after(0, start - timedelta(hours=1)) == 6
    assert after(10, start - timedelta(hours=1) + timedelta(seconds=10)) == 16
    # Set right again, and set forward.
    assert after(1, start + timedelta(seconds=17)) == 17
    assert after(1, start + timedelta(days=1)) == 86_400


def test_a_seed_repeats_its_chances() -> None:
    one, same, other = SeededRandom(1), SeededRandom(1), SeededRandom(2)
    first = [one.random_bytes(8), one.uniform(), one.random_bytes(3)]
    assert first == [same.random_bytes(8), same.uniform(), same.random_bytes(3)]
    assert first[0] != other.random_bytes(8)


def test_the_system_has_chances_of_the_asked_length() -> None:
    random_source = SystemRandom()
    assert len(random_source.random_bytes(17)) == 17
    assert all(0 <= random_source.uniform() < 1 for _ in range(100))
