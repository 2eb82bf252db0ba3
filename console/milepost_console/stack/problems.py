"""What AWS refuses, as errors that say what to do; the tree of botocore's errors ends here.

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
from milepost_console.server.problems import LOG_IN, told_refusal

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
        raise ClientProblem("MP332", f"There is nobody to ask AWS as: {str(error).rstrip('.')}. {LOG_IN}") from error
    except ClientError as error:
        described = error.response.get("Error", {})
        code, told = told_refusal(error.operation_name, described.get("Code", ""), described.get("Message", ""))
        raise ClientProblem(code, told) from error
    except BotoCoreError as error:
        raise ClientProblem("MP334", f"AWS does not answer: {error}. Check the network and the region.") from error
