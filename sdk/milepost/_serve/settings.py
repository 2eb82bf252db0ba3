"""The settings of an app, fixed when it is created."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from milepost._replay.log_gate import WrittenLines

if TYPE_CHECKING:
    import logging

    from milepost._send.http import HttpApi
    from milepost.middleware import Middlewares

__all__ = ["AppSettings"]


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Settings shared by everything that serves one app."""

    app_id: str
    version: str | None
    dev: bool
    event_key: str | None
    signing_key: str | None
    fallback_key: str | None
    api: HttpApi | None
    middlewares: Middlewares
    retention: timedelta | None
    budget: timedelta
    max_chain: int
    now: Callable[[], datetime]
    logger: Callable[[], logging.Logger]
    written: WrittenLines = field(default_factory=WrittenLines)
    warned: set[str] = field(default_factory=set[str])
    """Warnings already logged; each is logged once, not in every replay."""

    @property
    def verifies(self) -> bool:
        """Whether requests must be signed: a signing key is set, and the app is not in dev mode."""
        return self.signing_key is not None and not self.dev

    @property
    def unguarded(self) -> str:
        """Why requests from a transport that authenticates nobody are refused; empty if they are verified, or in dev
        mode.
        """
        if self.dev or self.signing_key is not None:
            return ""
        return (
            f"app {self.app_id!r} has no signing key, so it cannot tell its server's calls from anybody else's, and "
            "serves none: set MILEPOST_SIGNING_KEY to the key of its server, or MILEPOST_DEV=1 on a development machine"
        )
