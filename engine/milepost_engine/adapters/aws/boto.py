"""Calls AWS through a boto3 client on worker threads: works everywhere, about 2 ms of CPU per call.

The hot path uses `client.py`; this is for S3, for emulators and mocks, and for callers with a client of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from milepost_engine.adapters.clock import SystemClock
from milepost_engine.adapters.random_source import SystemRandom

from .calls import AwsAnswer, AwsRefused, AwsRetries, AwsUnreachable, with_retries

__all__ = ["BotoCaller", "boto_config"]


def boto_config(max_connections: int = 32) -> Config:
    """The configuration for a client of `BotoCaller`: one attempt per call; `calls.py` decides about retries."""
    return Config(
        retries={"total_max_attempts": 1},
        max_pool_connections=max_connections,
        connect_timeout=3,
        read_timeout=10,
    )


class BotoCaller:
    """Implements `Caller` over a boto3 client, which should be made with `boto_config()`.

    `executor` runs the calls instead of a thread pool of its own; `close` shuts it down too.
    """

    def __init__(
        self, client: Any, *, retries: AwsRetries | None = None, threads: int = 32, executor: Executor | None = None
    ) -> None:
        self._client = client
        self._retries = retries or AwsRetries(SystemClock(), SystemRandom())
        self._executor = executor or ThreadPoolExecutor(threads, thread_name_prefix="milepost-boto")
        self._methods = {operation: name for name, operation in client.meta.method_to_api_mapping.items()}

    async def call(self, operation: str, request: Mapping[str, Any], *, repeatable: bool) -> AwsAnswer:
        """Calls the operation on a worker thread; a streamed body is read whole."""
        loop = asyncio.get_running_loop()

        async def attempt() -> AwsAnswer:
            return await loop.run_in_executor(self._executor, self._call, operation, request)

        return await with_retries(attempt, self._retries, repeatable=repeatable)

    def close(self) -> None:
        """Shuts the threads down after the calls in progress have ended."""
        self._executor.shutdown()

    def _call(self, operation: str, request: Mapping[str, Any]) -> AwsAnswer:
        try:
            answer: AwsAnswer = getattr(self._client, self._methods[operation])(**request)
            if hasattr(answer.get("Body"), "read"):
                answer["Body"] = answer["Body"].read()
        except ClientError as error:
            described = error.response.get("Error", {})
            raise AwsRefused(
                operation,
                described.get("Code", "Unknown"),
                described.get("Message", ""),
                error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
                error.response,
            ) from error
        except BotoCoreError as error:
            sent = not isinstance(error, ConnectTimeoutError | EndpointConnectionError)
            raise AwsUnreachable(operation, str(error), sent=sent) from error
        return answer
