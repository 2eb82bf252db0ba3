"""The two random sources: the system's, and a seeded one that repeats."""

from __future__ import annotations

import random
import secrets

__all__ = ["SeededRandom", "SystemRandom"]


class SystemRandom:
    """Unguessable bytes from the operating system; jitter from the same."""

    def __init__(self) -> None:
        self._source = random.SystemRandom()

    def random_bytes(self, count: int) -> bytes:
        """Bytes suitable for ids and secrets."""
        return secrets.token_bytes(count)

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._source.random()


class SeededRandom:
    """The same values in the same order for the same seed: for tests, never for secrets."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def random_bytes(self, count: int) -> bytes:
        """The next bytes of the seed's sequence."""
        return self._source.randbytes(count)

    def uniform(self) -> float:
        """The next number in [0, 1) of the seed's sequence."""
        return self._source.random()
