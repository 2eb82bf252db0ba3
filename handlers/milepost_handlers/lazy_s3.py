"""S3's caller, created for the first value too large for the table: creating it takes 0.1 s, and few runs need it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from milepost_engine.adapters.aws.calls import AwsAnswer, Caller

__all__ = ["LazyS3"]


class LazyS3:
    """Implements `Caller` with a boto client."""

    def __init__(self) -> None:
        self._caller: Caller | None = None

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        """See `Caller`."""
        if self._caller is None:
            from botocore.session import get_session  # noqa: PLC0415 - as above

            from milepost_engine.adapters.aws.boto import BotoCaller, boto_config  # noqa: PLC0415 - as above

            self._caller = BotoCaller(get_session().create_client("s3", config=boto_config()))
        return await self._caller.call(operation, request, repeatable=repeatable)
