"""Checks the signatures of other services: HMAC-SHA256 over the received bytes.

    provider   header                  signed                       source
    stripe     stripe-signature        "<t>.<body>", at most 5 min  Stripe, "Verify webhook signatures manually"
    github     x-hub-signature-256     body                         GitHub, "Validating webhook deliveries"
    generic    one that you name       body                         in hex, with or without "sha256=" in front

Only Stripe signs a time, so only its requests have a time window. A captured request of the others can be sent again;
the id of the delivery (see `webhooks`) keeps it from starting a second run for 24 hours.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

__all__ = ["HEADERS", "Provider", "flaw"]

Provider = Literal["stripe", "github", "generic"]

HEADERS: Final[Mapping[str, str]] = {
    "stripe": "stripe-signature",
    "github": "x-hub-signature-256",
    "generic": "x-signature",
}
TOLERANCE_SECONDS: Final = 300
_MISMATCH: Final = "does not match the body: check the secret, and that no proxy changes the body"


def flaw(provider: Provider, given: str, body: bytes, secrets: Sequence[str], now: datetime) -> str:
    """What is wrong with the signature header `given`, to follow the header's name in a sentence; empty if valid.

    `secrets` are all valid secrets: two during a rotation. Signatures are compared in constant time.
    """
    return _SCHEMES[provider](given, body, secrets, now)


def _stripe(given: str, body: bytes, secrets: Sequence[str], now: datetime) -> str:
    parts = [part.strip().partition("=") for part in given.split(",")]
    moment = next((value for key, _, value in parts if key == "t"), "")
    signatures = [value for key, _, value in parts if key == "v1"]
    if not (moment.isascii() and moment.isdigit() and len(moment) <= 12 and signatures):
        return "has no valid t= and v1="
    if not _matches(moment.encode() + b"." + body, secrets, signatures):
        return _MISMATCH
    if abs(now.timestamp() - int(moment)) > TOLERANCE_SECONDS:
        return "was made more than five minutes ago, or the clocks differ"
    return ""


def _plain(given: str, body: bytes, secrets: Sequence[str], now: datetime) -> str:  # noqa: ARG001 - signs no time
    return "" if _matches(body, secrets, [given.strip().removeprefix("sha256=")]) else _MISMATCH


def _matches(content: bytes, secrets: Sequence[str], given: Sequence[str]) -> bool:
    expected = [hmac.new(secret.encode(), content, hashlib.sha256).hexdigest().encode() for secret in secrets]
    received = [signature.lower().encode("utf-8", "replace") for signature in given]
    return any(hmac.compare_digest(one, other) for one in expected for other in received)


_SCHEMES: Final[Mapping[str, Callable[[str, bytes, Sequence[str], datetime], str]]] = {
    "stripe": _stripe,
    "github": _plain,
    "generic": _plain,
}
