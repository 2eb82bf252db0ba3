"""A handle to a run, over a door whose clock the test reads: how often it looks, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import pytest
from pydantic_core import to_json

from milepost._declare.runs import RunHandle, Startable
from milepost._values.serializer import adapter_for
from milepost.errors import NotSerializableError, ResultTimeoutError, RunCancelledError, RunRefusedError, SendError

RUN = "01KK0000000000000000000000"


@dataclass
class Server:
    """Door and doors: the run ends at a moment; time passes only in pauses."""

    ends_at: float = 0.0
    answer: object = None
    status: int = 200
    time: float = 0.0
    looks: list[float] = field(default_factory=list)

    def waiting(self) -> Server:
        return self

    def blocking(self) -> Server:
        return self

    def seed(self) -> str:
        return ""

    def chain(self, function_id: str) -> int:
        return 0

    async def request(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        assert (method, path) == ("GET", f"/v1/functions/a-f/runs/{RUN}")
        self.looks.append(self.time)
        live = {"run_id": RUN, "function_id": "a-f", "status": "Running", "output": None, "error": None}
        return self.status, to_json(live if self.time < self.ends_at else self.answer)

    async def pause(self, seconds: float, left: float | None) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


def ended(output: object) -> dict[str, object]:
    return {"run_id": RUN, "function_id": "a-f", "status": "Completed", "output": output, "error": None}


def handle(server: Server, returns: object = object) -> RunHandle[object]:
    return RunHandle(RUN, Startable("a-f", server, adapter_for(returns)))


async def test_it_looks_ever_more_rarely_up_to_every_five_seconds():
    server = Server(600, ended(1))
    assert await handle(server).result() == 1
    gaps = [later - earlier for earlier, later in zip(server.looks, server.looks[1:], strict=False)]
    assert 0.025 <= gaps[0] <= 0.05
    assert max(gaps) <= 5
    assert all(gap >= 2.5 for gap in gaps[15:])
    assert len(server.looks) < 15 + 600 / 2.5


async def test_the_sync_form_asks_the_same():
    server = Server(60, ended(1))
    assert handle(server).result_sync("90s") == 1
    assert 60 <= server.time <= 65


async def test_it_looks_once_more_when_the_time_is_up():
    server = Server(1.0, ended(1))
    assert await handle(server).result(timeout=1) == 1
    assert server.looks[-1] == 1.0
    server = Server(1.001, ended(1))
    with pytest.raises(ResultTimeoutError) as late:
        await handle(server).result(timeout=1)
    assert (late.value.run_id, late.value.function_id, late.value.status) == (RUN, "a-f", "Running")
    with pytest.raises(TimeoutError):
        await handle(Server(1)).result(timeout=0)


async def test_an_output_that_the_annotation_does_not_accept_is_named():
    with pytest.raises(NotSerializableError, match=f"run {RUN} of function 'a-f' has a recorded result"):
        await handle(Server(0, ended("many")), datetime).result()


async def test_a_cancelled_run_without_a_reason_says_so():
    with pytest.raises(RunCancelledError, match="no reason was given"):
        await handle(Server(0, {**ended(None), "status": "Cancelled"})).result()


@pytest.mark.parametrize(
    ("status", "answer", "error", "words"),
    [
        (401, {"error": "[MP506] no"}, RunRefusedError, "set MILEPOST_SIGNING_KEY"),
        (404, {"code": "MP301", "error": "gone"}, RunRefusedError, f"run {RUN} of function 'a-f': gone"),
        (404, "nothing here", SendError, "not that of a Milepost of this version"),
        (200, [], SendError, "not that of a Milepost of this version"),
    ],
)
async def test_an_answer_that_is_no_result_says_what_to_do(
    status: int, answer: object, error: type[Exception], words: str
):
    with pytest.raises(error, match=words):
        await handle(Server(0, answer, status)).result()
