"""The credentials that sign calls to AWS: those in the environment, else those that botocore finds.

Lambda puts its role's credentials into the environment, so a cold start need not import botocore (0.15 s).
Source: "Using Lambda environment variables" in the Lambda developer guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["GivenCredentials", "find_credentials"]


@dataclass(frozen=True, slots=True)
class GivenCredentials:
    """Credentials that never change, with botocore's interface."""

    access_key: str
    secret_key: str
    token: str | None = None

    def get_frozen_credentials(self) -> GivenCredentials:
        """These credentials."""
        return self


def find_credentials(environment: Mapping[str, str]) -> Any:
    """The credentials, or None. Those with a stated expiry come from botocore, which renews them."""
    access_key, secret_key = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key and "AWS_CREDENTIAL_EXPIRATION" not in environment:
        return GivenCredentials(access_key, secret_key, environment.get("AWS_SESSION_TOKEN"))
    from botocore.session import get_session  # noqa: PLC0415 - as above

    return get_session().get_credentials()
