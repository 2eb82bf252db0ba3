"""The deployed stack that the suite shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .cloud import Cloud
from .emulator import running
from .tools import Tools, install


@pytest.fixture(scope="session")
def tools() -> Tools:
    return install()


@pytest.fixture(scope="session")
def cloud(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A bootstrapped account with the stack deployed; tests share it, so they leave it as it is."""
    with account(tools, tmp_path_factory.mktemp("shared")) as cloud:
        cloud.deploy()
        yield cloud


@pytest.fixture
def empty_cloud(tools: Tools, tmp_path: Path) -> Iterator[Cloud]:
    """A bootstrapped account of one's own, with nothing deployed."""
    with account(tools, tmp_path) as cloud:
        yield cloud


@contextmanager
def account(tools: Tools, folder: Path, **options: Any) -> Iterator[Cloud]:
    """A bootstrapped account; the options are those of `running`."""
    with running(tools, folder / "emulator", **options) as emulator:
        cloud = Cloud(tools, emulator, folder)
        try:
            cloud.bootstrap()
            yield cloud
        finally:
            cloud.close()
