"""The dashboard's scripts: plain files that a browser reads as they are, checked by the TypeScript compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.console.process import ROOT

PACKAGE = "typescript@5.9.3"
CACHE = ROOT / ".cache" / "typescript"
STATIC = ROOT / "console" / "milepost_console" / "static"
LONGEST = 300


@pytest.fixture(scope="module")
def compiler() -> Path:
    """The compiler, fetched once from npm."""
    if not (CACHE / "done").exists():
        npm = shutil.which("npm")
        assert npm, "npm is not on the path: install Node 20 or newer"
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(CACHE), PACKAGE]
        subprocess.run(command, check=True, cwd=CACHE)
        (CACHE / "done").touch()
    return CACHE / "node_modules" / "typescript" / "bin" / "tsc"


def test_the_types_written_in_the_scripts_hold(compiler: Path):
    project = Path(__file__).with_name("jsconfig.json")
    done = subprocess.run(["node", compiler, "--project", project], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_script_and_style_is_short_says_what_it_is_for_and_builds_no_markup_from_text():
    files = [path for path in STATIC.rglob("*") if path.suffix in {".js", ".css"}]
    assert files
    for path in files:
        source = path.read_text()
        assert source.startswith(("// ", "/* ")), f"{path} does not say what it is for"
        assert source.count("\n") <= LONGEST, f"{path} is long"
        assert "innerHTML" not in source, f"{path}: text is only ever set as text"
