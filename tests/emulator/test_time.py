"""The one-minute rule: it fires by itself, and its tick starts cron functions."""

from __future__ import annotations

import pytest

from .cloud import Cloud, eventually

pytestmark = pytest.mark.emulator


def test_a_cron_function_runs_when_its_minute_comes(cloud: Cloud):
    def ran() -> bool:
        return any(
            run["status"] == "Completed" for run in cloud.stack_client.get("/runs", {"function": "trials-tick"})["runs"]
        )

    # Nobody invokes the timers Lambda here: the rule must. One tick arms the line, the next fires it.
    eventually(ran, "the cron function completed a run", seconds=200, details=cloud.emulator.output)
    assert cloud.tries("tick") >= 1
