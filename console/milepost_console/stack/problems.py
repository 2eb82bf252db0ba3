"""Turns botocore's errors into errors that say what to do.

MP330 no such stack      MP331 a stack without Milepost, or of another version
MP332 no credentials, or no region      MP333 AWS refused a call      MP334 AWS does not answer
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from milepost_console.cli.client import ClientProblem
from milepost_console.server.problems import LOG_IN, explain_aws_error

__all__ = ["aws_problems"]

_WHO: Final = (
    NoAuthTokenError, NoCredentialsError, NoRegionError, PartialCredentialsError, ProfileNotFound, SSOError,
    TokenRetrievalError,
)  # fmt: skip


@contextmanager
def aws_problems() -> Iterator[None]:
    """Turns botocore's errors into ClientProblem."""
    try:
        yield
    except _WHO as error:
        raise ClientProblem(
            "MP332", f"No usable AWS credentials or region: {str(error).rstrip('.')}. {LOG_IN}"
        ) from error
    except ClientError as error:
        described = error.response.get("Error", {})
        problem = explain_aws_error(error.operation_name, described.get("Code", ""), described.get("Message", ""))
        raise ClientProblem(*problem) from error
    except BotoCoreError as error:
        raise ClientProblem("MP334", f"AWS does not answer: {error}. Check the network and the region.") from error
