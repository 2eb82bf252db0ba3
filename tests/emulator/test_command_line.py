"""`milepost … --stack`, as a process, over a deployed stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .cloud import STACK, Cloud
from .emulator import REGION

pytestmark = [pytest.mark.emulator, pytest.mark.xdist_group("emulator")]

MILEPOST = Path(sys.executable).parent / "milepost"


def milepost(cloud: Cloud, *words: str) -> Any:
    """What a command prints as JSON."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MILEPOST_"))},
        **cloud.emulator.environment,
    }
    command = [str(MILEPOST), *words, "--stack", STACK, "--region", REGION, "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_run_is_found_shown_and_named_by_the_logs(cloud: Cloud):
    cloud.send("order/created", {"order_id": "o-desk"})
    run = cloud.ended("shop-fulfil-order", "o-desk")
    [row] = milepost(cloud, "runs", "list", "--function", "shop-fulfil-order", "--search", "o-desk")["runs"]
    assert row["run_id"] == run["run_id"]
    shown = milepost(cloud, "runs", "show", row["run_id"])
    assert [span["name"] for span in shown["trace"]] == ["charge card", "create fulfilment", "send confirmation"]
    lines = milepost(cloud, "logs", row["run_id"])
    assert "run completed" in [line.get("message") for line in lines]
    assert milepost(cloud, "dead-letters", "list")["dead_letters"] == []
