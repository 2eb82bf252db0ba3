"""HTTP/1.1 over a pool of asyncio connections, limited to what calls to AWS need.

Why not urllib3: it needs a thread for each call in progress (0.2 ms, and hundreds of them while Lambdas run for
minutes), and spends 0.4 ms of CPU per call on http.client's headers; this spends 0.12 ms.

Laws: a connection serves one call at a time, and returns to the pool only after a complete answer; one that may be
dead is never used; nothing is sent twice here (`calls.py` decides about retries).
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from milepost_engine.ports import Clock

__all__ = ["Connections", "HttpAnswer", "NotAnswered", "NotConnected"]

_CONNECT_SECONDS: Final = 3.0
_REST: Final = timedelta(seconds=20)
_BUFFER_BYTES: Final = 2**20
_UNANSWERED: Final = (
    TimeoutError,
    OSError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ValueError,  # not HTTP
)
_NO_BODY: Final = frozenset({204, 304})


class NotConnected(Exception):
    """The connection failed: nothing was sent."""


class NotAnswered(Exception):
    """The request, or a part of it, was sent, and no complete answer came in time."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_at: datetime
    poll: select.poll

    def is_usable(self, now: datetime) -> bool:
        # A thawed Lambda's connections may be dead although it has not seen them close. If an idle connection is
        # readable, the other side has closed it.
        rested = now - self.used_at > _REST
        return not (rested or self.writer.is_closing() or self.reader.at_eof() or self.poll.poll(0))


class Connections:
    """Connections to any number of origins, at most `limit` in use at once; further calls wait.

    They belong to the event loop that opened them: a process should use one loop (`asyncio.Runner`) throughout.
    A new loop starts with an empty pool.
    """

    def __init__(self, clock: Clock, *, limit: int, ca_bundle: str | None) -> None:
        self._clock = clock
        self._limit = limit
        self._ca_bundle = ca_bundle
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: dict[str, deque[_Connection]] = {}
        self._slots = asyncio.Semaphore(limit)

    async def request(
        self, origin: str, target: str, headers: dict[str, str], body: bytes, *, answer_seconds: float
    ) -> HttpAnswer:
        """Posts to an origin such as `https://sqs.eu-west-1.amazonaws.com`; raises NotConnected or NotAnswered."""
        self._adopt_loop()
        async with self._slots:
            connection = self._take(origin) or await self._open(origin)
            try:
                async with asyncio.timeout(answer_seconds):
                    connection.writer.write(_request(origin, target, headers, body))
                    await connection.writer.drain()
                    answer, keep = await _read_answer(connection.reader)
            except _UNANSWERED as error:
                connection.writer.transport.abort()
                raise NotAnswered(_described(error, answer_seconds)) from error
            except BaseException:  # cancelled: the answer still to come must not reach another call
                connection.writer.transport.abort()
                raise
            if keep:
                connection.used_at = self._clock.now()
                self._idle.setdefault(origin, deque()).append(connection)
            else:
                connection.writer.close()
            return answer

    async def close(self) -> None:
        """Closes the connections that are not in use."""
        for connections in self._idle.values():
            for connection in connections:
                connection.writer.transport.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # the transports close in the next turn

    def _adopt_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._idle, self._slots = loop, {}, asyncio.Semaphore(self._limit)

    def _take(self, origin: str) -> _Connection | None:
        now = self._clock.now()
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()  # the one used last
            if connection.is_usable(now):
                return connection
            connection.writer.transport.abort()
        return None

    async def _open(self, origin: str) -> _Connection:
        url = urlsplit(origin)
        secure = url.scheme == "https"
        if secure and self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_bundle)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    url.hostname,
                    url.port or (443 if secure else 80),
                    ssl=self._tls if secure else None,
                    limit=_BUFFER_BYTES,
                )
        except (TimeoutError, OSError) as error:  # ssl.SSLError is an OSError
            raise NotConnected(f"{origin}: {_described(error, _CONNECT_SECONDS)}") from error
        poll = select.poll()
        poll.register(writer.get_extra_info("socket").fileno(), select.POLLIN)
        return _Connection(reader, writer, self._clock.now(), poll)


def _request(origin: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    host = origin.partition("//")[2]
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1") + body


async def _read_answer(reader: asyncio.StreamReader) -> tuple[HttpAnswer, bool]:
    """The answer, and whether the connection may be used again."""
    status, headers = await _read_head(reader)
    while status < 200:  # 100 Continue
        status, headers = await _read_head(reader)
    keep = headers.get("connection", "").lower() != "close"
    if status in _NO_BODY:
        body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _read_chunks(reader)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body, keep = await reader.read(), False
    return HttpAnswer(status, headers, body), keep


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = await reader.readuntil(b"\r\n\r\n")
    version_and_status, *lines = head.decode("latin-1").split("\r\n")
    version, status, *_ = version_and_status.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not an HTTP answer: {version_and_status[:80]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return b"".join(chunks)


def _described(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"timed out after {seconds:g} s"
    return f"{type(error).__name__}: {error}"
