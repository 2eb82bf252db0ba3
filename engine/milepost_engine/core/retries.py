"""Whether a failed attempt is retried, and when: decided here, for a step and for a function's body alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from milepost.protocol import MAX_RETRY_AFTER

__all__ = ["DEFAULT_RETRIES", "MAX_RETRY_AFTER", "MIN_RETRY_AFTER", "RetryPolicy", "clip_retry_after"]

MIN_RETRY_AFTER: Final = timedelta(seconds=1)

_REFERENCE_SECONDS: Final = (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
"""The reference server's table (protocol §2.9), used unless the function says otherwise."""
_REFERENCE_JITTER_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_attempts` includes the first attempt (1–21).

    Without `first_seconds` the delays are the reference table plus up to 30 s; with it they are
    `first_seconds · factor^n`, at most `cap_seconds`, reduced at random by a share of up to `jitter` (0–1).
    """

    max_attempts: int = 5
    first_seconds: float | None = None
    factor: float = 2.0
    cap_seconds: float = 7200.0
    jitter: float = 0.2

    def retry_after(self, failed_attempt: int, *, final: bool, asked: timedelta | None, salt: str) -> timedelta | None:
        """How long after the given attempt (from 0) the next one follows; None when it was the last.

        `final`: user code says that a retry cannot help. `asked`: the wait that it asks for.
        """
        if final or failed_attempt + 1 >= self.max_attempts:
            return None
        return clip_retry_after(asked) if asked is not None else self.delay(failed_attempt, salt=salt)

    def delay(self, failed_attempt: int, *, salt: str) -> timedelta:
        """The wait after the given attempt (from 0) failed.

        The jitter is drawn from the salt (run, job and attempt), so deciding twice gives the same delay.
        """
        draw = int.from_bytes(hashlib.sha256(salt.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48
        if self.first_seconds is None:
            base = _REFERENCE_SECONDS[min(failed_attempt, len(_REFERENCE_SECONDS) - 1)]
            return timedelta(seconds=base + draw * _REFERENCE_JITTER_SECONDS)
        # factor^n overflows a float from about 2^1024 on; twenty retries at factor 1000 stay below it.
        base_seconds = min(self.first_seconds * self.factor**failed_attempt, self.cap_seconds)
        return timedelta(seconds=base_seconds * (1.0 - self.jitter * draw))


DEFAULT_RETRIES: Final = RetryPolicy()


def clip_retry_after(wait: timedelta) -> timedelta:
    """A wait that user code asked for, limited to 1 s–24 h (protocol §1.4)."""
    return min(max(wait, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
