"""The dev server as a process: the sample's stories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from .process import MILEPOST, ROOT, DevProcess
from .served import until


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[DevProcess]:
    server = DevProcess(tmp_path, "samples/shop/app.py")
    server.start()
    yield server
    server.stop()


def test_an_order_is_charged_once_while_the_database_is_down_and_its_run_is_replayed(shop: DevProcess):
    services = [sys.executable, "-m", "samples.shop.services"]
    environment = {**os.environ, "SHOP_FOLDER": str(shop.folder)}
    subprocess.run([*services, "break", "database"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    shop.call("/e/dev", {"name": "order/created", "data": {"order_id": "8"}})
    where = {"function": "shop-fulfil-order"}

    def retrying() -> bool:
        runs = shop.runs(**where)
        detail = shop.call(f"/api/runs/{runs[0]['run_id']}") if runs else {"trace": []}
        return any(span["name"] == "create fulfilment" and span["attempts"] for span in detail["trace"])

    until(retrying, details=shop.log)
    run_id = shop.runs(**where)[0]["run_id"]
    subprocess.run([*services, "fix", "database"], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    until(lambda: shop.call(f"/api/runs/{run_id}")["status"] == "Completed", seconds=30, details=shop.log)
    new = shop.call(f"/api/runs/{run_id}/replay", {"from_step": "send confirmation"})["run_id"]
    until(lambda: shop.call(f"/api/runs/{new}")["status"] == "Completed", details=shop.log)
    ledger = [json.loads(line) for line in (shop.folder / "ledger.jsonl").read_text().splitlines()]
    calls = Counter((entry["service"], entry["what"]) for entry in ledger)
    assert calls["payment", "charge"] == 1
    assert calls["database", "insert into fulfilments"] == 1
    assert calls["mail", "send"] == 2


def test_what_the_terminal_says_to_try_works_as_it_stands(shop: DevProcess):
    until(lambda: "Ctrl-C" in shop.log(), details=shop.log)
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in shop.log().splitlines() if len(line.split()) > 1}
    path = f"{MILEPOST.parent}{os.pathsep}{os.environ['PATH']}"
    for word in ("try", "or", "then"):
        done = subprocess.run(
            lines[word], shell=True, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (lines[word], done)
    assert lines["or"].startswith("curl ")
    assert lines["try"].startswith("milepost send user/signed-up")
    # Both sent the event.
    until(lambda: len(shop.runs(function="shop-welcome-mail")) == 2, details=shop.log)
