"""Frames between the dev server and the process with the user's code: a head in JSON and a body of bytes.

    u32 length of the head │ u32 length of the body │ head │ body

What is sent during one turn of the event loop leaves in few system calls; eight frames at a time, so that the other
end begins while this one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from pydantic_core import from_json, to_json

__all__ = ["Frames", "Head"]

Head = Mapping[str, Any]
_LENGTHS: Final = struct.Struct("!II")
_MOST: Final = 3 * 8
"""Three parts of each frame."""


class Frames(asyncio.Protocol):
    """One end of the socket. `took` gets each frame, `ended` is called once when the other end is gone."""

    def __init__(self, took: Callable[[Head, bytes], None], ended: Callable[[], None]) -> None:
        self._took = took
        self._ended = ended
        self._received = bytearray()
        self._sending: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send a frame, on the loop's own thread; one to an end that is gone is dropped."""
        if not self._sending:
            self._loop.call_soon(self._flush)
        told = to_json(head)
        self._sending.append(_LENGTHS.pack(len(told), len(body)))
        self._sending.append(told)
        self._sending.append(body)
        if len(self._sending) >= _MOST:
            self._flush()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Have something done on the loop's own thread; a loop that has ended does nothing any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Send what waits, and close this end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close this end at once; what waits is dropped."""
        self._sending.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        sending, self._sending = self._sending, []
        if sending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(sending))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio has it."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio has it
        """As asyncio has it."""
        self._ended()

    def data_received(self, data: bytes) -> None:
        """As asyncio has it."""
        received = self._received
        received += data
        position, length = 0, len(received)
        with memoryview(received) as view:
            while length - position >= _LENGTHS.size:
                head_length, body_length = _LENGTHS.unpack_from(view, position)
                begin = position + _LENGTHS.size
                end = begin + head_length + body_length
                if length < end:
                    break
                position = end
                head = from_json(bytes(view[begin : begin + head_length]))
                self._took(head, bytes(view[begin + head_length : end]))
        if position:
            del received[:position]
