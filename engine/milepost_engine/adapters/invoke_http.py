"""Calls user code at an HTTP address, over pooled connections.

Source for the rules: protocol §2.3 (the call), §2.4 (limits). Redirects are followed here, not by the client, because
a redirected call must stay a POST with the same body and query.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

import httpx

from milepost.protocol import MAX_RESPONSE_BYTES, Request, Response
from milepost_engine.ports import InvocationProblem, ProblemKind, Target

__all__ = ["HttpInvoker"]

MAX_REDIRECTS: Final = 60
CONNECT_SECONDS: Final = 10.0
KEEP_SECONDS: Final = 3.0
"""Shorter than the 5 s after which common servers close an idle connection, so no call uses a closed one."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class HttpInvoker:
    """Implements the Invoker port for `Target("http", url)`.

    `transport` replaces the network in tests. Proxy settings of the environment are ignored.
    """

    def __init__(self, *, transport: httpx.AsyncBaseTransport | None = None, max_connections: int = 200) -> None:
        self._client = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=max_connections, keepalive_expiry=KEEP_SECONDS),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._client.aclose()

    async def invoke(self, target: Target, request: Request) -> Response:
        """Call the address. Raises InvocationProblem when there is no answer."""
        try:
            async with asyncio.timeout(target.timeout_seconds):
                return await self._follow(target, request)
        except TimeoutError:
            raise InvocationProblem(
                ProblemKind.TIMEOUT, f"no answer within {target.timeout_seconds:g} s from {target.address}"
            ) from None
        except (httpx.TimeoutException, httpx.TransportError) as error:
            why = str(error) or type(error).__name__
            raise InvocationProblem(ProblemKind.UNREACHABLE, f"{target.address} cannot be reached: {why}") from error
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise InvocationProblem(
                ProblemKind.UNREACHABLE, f"{target.address!r} is not a usable URL: {error}"
            ) from error

    async def _follow(self, target: Target, request: Request) -> Response:
        url = httpx.URL(target.address)
        for _ in range(MAX_REDIRECTS + 1):
            url = url.copy_merge_params(dict(request.query))
            answer = await self._send(url, target, request)
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not location:
                return answer
            url = url.join(location)
        raise InvocationProblem(ProblemKind.UNREACHABLE, f"{target.address} redirects more than {MAX_REDIRECTS} times")

    async def _send(self, url: httpx.URL, target: Target, request: Request) -> Response:
        call = self._client.build_request(
            request.method,
            url,
            headers=dict(request.headers),
            content=request.body,
            timeout=httpx.Timeout(target.timeout_seconds, connect=CONNECT_SECONDS, pool=None),
        )
        answer = await self._client.send(call, stream=True)
        try:
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_RESPONSE_BYTES:
                    raise InvocationProblem(
                        ProblemKind.TOO_LARGE,
                        f"{target.address} answered with over {MAX_RESPONSE_BYTES} bytes; return a reference instead",
                    )
        finally:
            await answer.aclose()
        return Response(
            answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, bytes(body)
        )
