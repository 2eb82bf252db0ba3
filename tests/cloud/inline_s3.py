"""S3 over moto without threads: calls happen in the order in which they are made."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any

import boto3
from moto import mock_aws

from milepost_engine.adapters.aws.boto import BotoCaller, boto_config
from milepost_engine.adapters.aws.calls import AwsAnswer, Caller

__all__ = ["InlineS3"]


class _Inline(BotoCaller):
    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        return self._call(operation, request)


class InlineS3:
    """Implements Caller for one bucket of moto's S3, which is made with the first call: few stories need it."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._stack = ExitStack()

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        return await self._caller.call(operation, request, repeatable=repeatable)

    def close(self) -> None:
        self._stack.close()

    @cached_property
    def _caller(self) -> Caller:
        mock = mock_aws()
        mock.start(reset=False)  # a reset would drop the tables and queues of this process
        self._stack.callback(mock.stop)
        client = boto3.client(
            "s3", config=boto_config(), aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
        )
        self._stack.callback(client.close)
        client.create_bucket(Bucket=self._bucket)
        caller = _Inline(client, threads=1)
        self._stack.callback(caller.close)
        return caller
