"""The contract of the table holds over the emulator's DynamoDB too, with real concurrency."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.dynamodb_local import ENDPOINT

from .emulator import running
from .tools import ROOT, Tools

pytestmark = pytest.mark.emulator


def test_the_emulators_table_keeps_the_contract(tools: Tools, tmp_path: Path):
    with running(tools, tmp_path) as emulator:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "dynamodb_local", "-p", "no:cacheprovider", "tests/contract"],
            cwd=ROOT, env={**os.environ, ENDPOINT: emulator.url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
