"""`make bench`: speed on this machine, printed as numbers beside the aims. Nothing here passes or fails.

First what a user of the dev server gets, over HTTP; then the bare engine, with user code in a process of its own: its
share and the SDK's are in every number.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import get_args

from bench.aws import orchestrator_cpu
from bench.cold import cold_starts
from bench.over_http import Output, over_http
from bench.runs import between_steps, fan_out, latency, long_run, throughput, wide_run
from bench.setup import Durability
from bench.waiting import lateness, waits


async def main() -> None:
    for durability in get_args(Durability):
        for name in ("three", "three-checkpointed"):
            await throughput(name, 1000, durability)
        await latency(durability)
    await between_steps(100)
    await long_run("long", 500)
    await long_run("long-checkpointed", 500)
    await long_run("long-checkpointed", 1000)
    await wide_run(200)
    await fan_out()
    await orchestrator_cpu()
    await waits((100, 1_000, 10_000, 100_000))
    await lateness(200)


if __name__ == "__main__":
    began = time.perf_counter()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before: what else runs here is in every time but CPU's"
    )
    for output in get_args(Output):
        over_http(output)
    asyncio.run(main())
    cold_starts()
    print(f"measured in {time.perf_counter() - began:.0f} s")
