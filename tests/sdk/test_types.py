"""The public API is typed: mypy and pyright agree on the types that users see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = "tests/sdk/types_public_api.py"


@pytest.mark.parametrize("command", [["mypy", "--warn-unused-ignores"], ["pyright"]], ids=["mypy", "pyright"])
def test_a_type_checker_sees_what_users_should_see(command: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *command, FILE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
