"""AWS Signature Version 4 for the POSTs of `client.py`: the same signature as botocore's, at a tenth of its CPU.

botocore's signer takes a request object of its own, with headers of `email.message`, and derives the signing key for
each request; that was a third of a call's CPU. Here the key of a day, region and service is cached, and headers are a
dict.
Source: "Create a signed AWS API request", IAM User Guide. A test compares signatures with botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

__all__ = ["Credentials", "Signer", "host_of"]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Credentials(Protocol):
    """The interface of botocore's frozen credentials."""

    access_key: str
    secret_key: str
    token: str | None


def host_of(origin: str) -> str:
    """The host to sign, with its port unless that is the scheme's default."""
    url = urlsplit(origin)
    host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    return host if url.port in {None, _DEFAULT_PORTS.get(url.scheme)} else f"{host}:{url.port}"


class Signer:
    """Signs for one service in one region."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._cached: tuple[str, str, bytes] = ("", "", b"")

    def sign(
        self, credentials: Credentials, host: str, path: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> dict[str, str]:
        """The headers of a POST, with its date and its signature; `path` is quoted and has no query."""
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        sent = {**headers, "X-Amz-Date": moment}
        if credentials.token:
            sent["X-Amz-Security-Token"] = credentials.token
        signed = {name.lower(): " ".join(value.split()) for name, value in sent.items()}
        signed["host"] = host
        names = sorted(signed)
        listed = ";".join(names)
        # All services but S3 expect the path, which is already quoted, to be quoted once more.
        lines = ["POST", quote(path, safe="/~"), "", *[f"{name}:{signed[name]}" for name in names], "", listed]
        canonical = "\n".join([*lines, hashlib.sha256(body).hexdigest()])
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key(credentials.secret_key, moment[:8]), text.encode(), "sha256").hex()
        sent["Authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return sent

    def _key(self, secret: str, day: str) -> bytes:
        cached_secret, cached_day, key = self._cached
        if cached_day == day and cached_secret == secret:
            return key
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._cached = secret, day, key
        return key
