"""The package's pytest plugin: the fixtures `milepost_harness` and `milepost_aws`.

Every pytest run loads it where Milepost is installed, so it imports nothing from Milepost until a fixture is used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from milepost import App

    from .aws import AwsHarness
    from .harness import Harness

__all__ = ["milepost_aws", "milepost_harness"]


@pytest.fixture
def milepost_harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses for `async with`. Those left open are closed after the test."""
    from milepost.testing import Harness  # noqa: PLC0415 - loading the engine would slow every pytest run

    made: list[Harness] = []

    def make(*apps: App, **options: Any) -> Harness:
        harness = Harness(*apps, **options)
        made.append(harness)
        return harness

    yield make
    for harness in made:
        if not harness.closed:
            with contextlib.suppress(AssertionError):  # the test has failed already
                asyncio.run(harness.close())


@pytest.fixture
def milepost_aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., AwsHarness]]:
    """Makes `AwsHarness`es for `async with`: real boto3 calls, to moto. Those left open are closed after the test.

    Sets AWS_DEFAULT_REGION, and MILEPOST_EVENT_BUS to the bus of the latest harness. Unsets variables that would lead
    to a real account or another endpoint.
    """
    from milepost.testing import AwsHarness  # noqa: PLC0415 - see above

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "MILEPOST_DEV", "MILEPOST_EVENT_URL"):
        monkeypatch.delenv(name, raising=False)
    made: list[AwsHarness] = []

    def make(*apps: App, **options: Any) -> AwsHarness:
        harness = AwsHarness(*apps, **options)
        made.append(harness)
        monkeypatch.setenv("AWS_DEFAULT_REGION", harness.stack.region)
        monkeypatch.setenv("MILEPOST_EVENT_BUS", harness.stack.bus)
        return harness

    yield make
    for harness in made:
        if not harness.closed:
            with contextlib.suppress(AssertionError):  # the test has failed already
                asyncio.run(harness.close())
