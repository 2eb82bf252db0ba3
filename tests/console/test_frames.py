"""What one end sends, the other takes, however the bytes are cut on the way."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost_console.code.frames import Frames

HEADS = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=20), max_size=3
)


class Wire(asyncio.Transport):
    """Collects what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False


@given(frames=st.lists(st.tuples(HEADS, st.binary(max_size=40)), max_size=6), sizes=st.lists(st.integers(1, 30)))
@settings(deadline=None)
def test_frames_come_out_whole_and_in_order_whatever_the_pieces(
    frames: list[tuple[dict[str, Any], bytes]], sizes: list[int]
):
    async def run() -> None:
        taken: list[tuple[Any, bytes]] = []
        here = Frames(lambda _head, _body: None, lambda: None)
        there = Frames(lambda head, body: taken.append((head, body)), lambda: None)
        wire = Wire()
        here.connection_made(wire)
        for head, body in frames:
            here.send(head, body)
        await asyncio.sleep(0)
        sent = b"".join(wire.writes)
        assert len(wire.writes) == (1 if frames else 0)
        for size in [*sizes, len(sent)]:
            there.data_received(sent[:size])
            sent = sent[size:]
        assert taken == frames

    asyncio.run(run())


async def test_large_bodies_cross_a_socket_and_a_closed_end_is_reported_once():
    one, other = socket.socketpair()
    for end in (one, other):
        end.setblocking(False)
    loop = asyncio.get_running_loop()
    taken: asyncio.Future[tuple[Any, bytes]] = loop.create_future()
    gone: list[str] = []
    ended = asyncio.Event()
    here = Frames(lambda _head, _body: None, lambda: gone.append("here"))
    there = Frames(lambda head, body: taken.set_result((head, body)), ended.set)
    await loop.create_connection(lambda: here, sock=one)
    await loop.create_connection(lambda: there, sock=other)
    here.send({"t": "call"}, b"x" * 9_000_000)
    here.close()
    assert await taken == ({"t": "call"}, b"x" * 9_000_000)
    await ended.wait()
    here.send({"t": "late"})
    await asyncio.sleep(0)
    there.close()
    assert gone == ["here"]


@pytest.mark.parametrize("bad", [b"\0\0\0\1\0\0\0\0{", b"\0\0\0\2\0\0\0\0[]"])
async def test_what_is_no_frame_is_not_taken(bad: bytes):
    def take(head: Any, _: bytes) -> None:
        _ = head["t"]

    with pytest.raises((ValueError, TypeError)):
        Frames(take, lambda: None).data_received(bad)
