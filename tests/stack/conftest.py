"""What the tests of stacks share."""

import pytest


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the machine's user has set leads elsewhere."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "MILEPOST_STACK", "MILEPOST_URL", "MILEPOST_DEV"):
        monkeypatch.delenv(name, raising=False)
