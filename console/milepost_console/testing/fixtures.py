"""The pytest plugin that comes with the package: the fixture `milepost_harness`.

Every pytest run loads it where Milepost is installed, so it imports nothing of Milepost before it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from milepost import App

    from .harness import Harness

__all__ = ["milepost_harness"]


@pytest.fixture
def milepost_harness() -> Iterator[Callable[..., Harness]]:
    """Makes harnesses for `async with`. Those left open are closed after the test."""
    from milepost.testing import Harness  # noqa: PLC0415 - a plugin must not cost every test run an engine

    made: list[Harness] = []

    def make(*apps: App, **options: Any) -> Harness:
        harness = Harness(*apps, **options)
        made.append(harness)
        return harness

    yield make
    for harness in made:
        if not harness.closed:
            asyncio.run(harness.close())
