"""Saves finished steps over HTTP while an invocation continues (protocol §2.12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic_core import to_json

from milepost._send.http import HttpApi
from milepost.errors import CheckpointRefused, SendError

__all__ = ["HttpCheckpointer"]


@dataclass(frozen=True)
class HttpCheckpointer:
    """Posts steps to `/v1/checkpoint/{run_id}/async`. `context` is the `ctx` of the call being served."""

    api: HttpApi
    context: Mapping[str, object]
    function_id: str
    now: Callable[[], datetime]
    started_at: datetime

    async def save(self, ops: Sequence[Mapping[str, object]]) -> None:
        """Save ops. Raises CheckpointRefused if the server refuses them, SendError if it fails or is unreachable."""
        run_id = str(self.context["run_id"])
        body = {
            "run_id": run_id,
            "fn_id": self.context.get("fn_id") or self.function_id,
            "qi_id": self.context.get("qi_id"),
            "request_id": self.context.get("request_id"),
            "generation_id": self.context.get("generation_id"),
            "request_started_at": round(self.started_at.timestamp() * 1000),
            "steps": list(ops),
            "ts": round(self.now().timestamp() * 1000),
        }
        reply = await asyncio.to_thread(self.api.request, "POST", f"/v1/checkpoint/{run_id}/async", to_json(body))
        if reply.status == 200:
            return
        problem = reply.body[:300].decode("utf-8", "replace")
        if reply.status in {404, 409}:
            raise CheckpointRefused(problem or "another invocation has taken over", stale=True)
        if reply.status in {400, 413}:
            raise CheckpointRefused(f"HTTP {reply.status}: {problem}", stale=False)
        raise SendError(f"the checkpoint of run {run_id} failed with HTTP {reply.status}: {problem}")
