"""The types of Milepost, as a type checker sees them in a user's own project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the examples of the README use without saying where it comes from.
THEIRS = {
    "milepost_infra": "from aws_cdk import aws_dynamodb\n\norders: aws_dynamodb.Table\n",
    "ctx.step.run": """
class payments:
    @staticmethod
    def charge(order_id: str, cents: int) -> str:
        return order_id

class database:
    @staticmethod
    async def insert(order_id: str, payment: str) -> None: ...

class mail:
    @staticmethod
    async def send(order_id: str) -> None: ...
""",
}


def strict(unpacked: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    # The cache is kept: without it, the types of aws-cdk-lib alone take a minute.
    cache = ROOT / ".mypy_cache" / "users"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(cache), "."]
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_the_examples_of_the_readme_are_clean_under_strict_mypy(unpacked: Path, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for known, before in THEIRS.items():
        (example,) = (one for one in examples if known in one)
        (tmp_path / f"example_{known.replace('.', '_')}.py").write_text(before + example)
    done = strict(unpacked, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no issues found in 2 source files" in done.stdout


def test_a_wrong_argument_in_a_users_code_is_found(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("from milepost import App\n\napp: int = App('shop')\n")
    done = strict(unpacked, tmp_path)
    assert 'has type "App"' in done.stdout, done.stdout + done.stderr
