"""Shared by the tests of the SDK: an app that sends its events to a recording transport."""

from __future__ import annotations

import pytest

from milepost import App
from milepost.sending import RecordingTransport


@pytest.fixture
def transport() -> RecordingTransport:
    return RecordingTransport()


@pytest.fixture
def app(transport: RecordingTransport, monkeypatch: pytest.MonkeyPatch) -> App:
    for name in ("DEV", "EVENT_URL", "API_URL", "EVENT_KEY", "SIGNING_KEY", "SIGNING_KEY_FALLBACK"):
        monkeypatch.delenv(f"MILEPOST_{name}", raising=False)
    return App("shop", transport=transport)
