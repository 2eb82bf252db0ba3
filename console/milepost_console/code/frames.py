"""Frames between the dev server and the process with the user's code: a head in JSON and a body of bytes.

    u32 length of the head │ u32 length of the body │ head │ body

Frames sent during one turn of the event loop share few system calls. At most eight are held back, so that the other
end can start while this one continues.
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
"""Parts held back at most; each frame has three."""


class Frames(asyncio.Protocol):
    """One end of the socket. `on_frame` gets each frame; `on_end` is called once when the other end is gone."""

    def __init__(self, on_frame: Callable[[Head, bytes], None], on_end: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._received = bytearray()
        self._sending: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, head: Head, body: bytes = b"") -> None:
        """Send a frame; on the loop's own thread only. Dropped when the other end is gone."""
        if not self._sending:
            self._loop.call_soon(self._flush)
        encoded = to_json(head)
        self._sending.append(_LENGTHS.pack(len(encoded), len(body)))
        self._sending.append(encoded)
        self._sending.append(body)
        if len(self._sending) >= _MOST:
            self._flush()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Run something on the loop's own thread; does nothing when the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Send the waiting frames, then close this end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close this end at once; waiting frames are dropped."""
        self._sending.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        sending, self._sending = self._sending, []
        if sending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(sending))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See `asyncio.Protocol`."""
        self._on_end()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
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
                self._on_frame(head, bytes(view[begin + head_length : end]))
        if position:
            del received[:position]
