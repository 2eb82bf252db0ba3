"""Packs Lambda code from wheels, without Docker: one folder per content hash, built once, with bytecode.

    .cache/milepost/assets/<hash>/     a finished folder; the hash covers all its inputs
    .cache/milepost/assets/.<hash>.*   a folder being built; renamed when complete, so that no crash leaves half of one

Bytecode is compiled by the Lambda's own minor version of Python and is not checked against the sources at import.
/var/task is read-only, so a missing `.pyc` would be compiled at every cold start and imports take four times as long.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from aws_cdk import AssetHashType
from aws_cdk import aws_lambda as lambda_

from .errors import PackingError
from .sources import ENGINE_PACKAGES, package_folders, requirements_of, tree_digest

__all__ = ["AppSource", "Assets", "Platform", "WheelAssets", "pip_arguments"]

_FORMAT: Final = "1"
"""Part of every hash; increase it when the packing changes."""

_PROVIDED: Final = ("boto3", "botocore", "s3transfer")
"""Included in managed Python runtimes; leaving them out of the engine's asset saves 25 MB."""

_LEFT_OUT: Final = (
    ".*", "__pycache__", "*.pyc", "node_modules", "cdk.out", "venv", "tests", "*.db", "*.db-wal", "*.db-shm",
)  # fmt: skip


_MANAGED: Final = ("3.11", "3.12", "3.13", "3.14")
"""Python runtimes that Lambda manages and Milepost supports, oldest first (AWS documentation, November 2026)."""

_HERE: Final = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True)
class Platform:
    """The target of the wheels: by default Arm and the Python version running the synthesis, if Lambda supports it.

    The code then runs on the version it was developed with, and its bytecode can be compiled here. `host` packs for
    this interpreter and machine, for emulators and tests.
    """

    python: str = _HERE if _HERE in _MANAGED else _MANAGED[-1]
    architecture: str = "arm64"
    host: bool = False

    @classmethod
    def here(cls) -> Platform:
        """The current machine and interpreter."""
        return cls(_HERE, "x86_64", host=True)

    @property
    def tags(self) -> tuple[str, ...]:
        """Wheel platform tags that run on Amazon Linux 2023 (glibc 2.34), best first."""
        machine = {"arm64": "aarch64", "x86_64": "x86_64"}[self.architecture]
        return tuple(f"manylinux{level}_{machine}" for level in ("_2_34", "_2_28", "2014"))


@dataclass(frozen=True, slots=True)
class AppSource:
    """A folder of user code, placed in the asset's root or as a package of the given name."""

    folder: Path
    package: str = ""


class Assets(Protocol):
    """Provides the code of Lambdas. Template tests use an implementation that packs nothing."""

    @property
    def platform(self) -> Platform: ...

    def engine(self) -> lambda_.Code:
        """The engine with its handlers."""
        ...

    def app(self, source: AppSource, requirements: Sequence[str], extra_files: Mapping[str, str]) -> lambda_.Code:
        """User code with its requirements, the SDK and the handlers; `extra_files` are added by name."""
        ...


@dataclass(frozen=True)
class WheelAssets:
    """Packs from wheels with pip.

    Args:
        platform: What to pack for.
        cache: Folder of finished assets.
        added: Files put into every asset, by name (an emulator's `bootstrap`, for example).
    """

    platform: Platform = field(default_factory=Platform)
    cache: Path = Path(".cache/milepost/assets")
    added: Mapping[str, str] = field(default_factory=dict)

    def engine(self) -> lambda_.Code:
        """See `Assets.engine`."""
        return self._code(ENGINE_PACKAGES, requirements_of("aws"), None, {}, without=_PROVIDED)

    def app(self, source: AppSource, requirements: Sequence[str], extra_files: Mapping[str, str]) -> lambda_.Code:
        """See `Assets.app`."""
        return self._code(ENGINE_PACKAGES, [*requirements_of(), *requirements], source, extra_files)

    def _code(
        self,
        packages: Sequence[str],
        requirements: Sequence[str],
        source: AppSource | None,
        extra_files: Mapping[str, str],
        *,
        without: Sequence[str] = (),
    ) -> lambda_.Code:
        built = self.build(packages, requirements, source, extra_files, without=without)
        return lambda_.Code.from_asset(str(built), asset_hash=built.name, asset_hash_type=AssetHashType.CUSTOM)

    def build(
        self,
        packages: Sequence[str],
        requirements: Sequence[str],
        source: AppSource | None = None,
        extra_files: Mapping[str, str] | None = None,
        *,
        without: Sequence[str] = (),
    ) -> Path:
        """The finished folder, built unless it is in the cache. Raises PackingError."""
        files = {**self.added, **(extra_files or {})}
        folders = [*package_folders(packages), *([source.folder] if source else [])]
        digest = self._digest(folders, requirements, files, without)
        done = self.cache / digest
        if not done.is_dir():
            self.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{digest}.", dir=self.cache) as scratch:
                built = Path(scratch) / "asset"
                self._fill(built, packages, requirements, source, files, without)
                _move(built, done)
        return done

    def _digest(
        self, folders: Iterable[Path], requirements: Sequence[str], files: Mapping[str, str], without: Sequence[str]
    ) -> str:
        parts = [_FORMAT, str(self.platform), *sorted(requirements), *sorted(without), str(sorted(files.items()))]
        parts += [tree_digest(folder, _LEFT_OUT) for folder in folders]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]

    def _fill(
        self,
        built: Path,
        packages: Sequence[str],
        requirements: Sequence[str],
        source: AppSource | None,
        files: Mapping[str, str],
        without: Sequence[str],
    ) -> None:
        built.mkdir()
        if requirements:
            _run(pip_arguments(self.platform, built, requirements), f"install {', '.join(requirements)}")
        for name in without:
            _remove(built, name)
        ignored = shutil.ignore_patterns(*_LEFT_OUT)
        for package in package_folders(packages):
            shutil.copytree(package, built / package.name, ignore=ignored, dirs_exist_ok=True)
        if source:
            shutil.copytree(source.folder, built / source.package, ignore=ignored, dirs_exist_ok=True)
        for name, content in files.items():
            (built / name).write_text(content)
            (built / name).chmod(0o755 if content.startswith("#!") else 0o644)
        _compile(built, self.platform)


def pip_arguments(platform: Platform, target: Path, requirements: Sequence[str]) -> list[str]:
    """The pip command. Wheels only, so that nothing is compiled for the wrong machine."""
    chosen = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    chosen += ["--target", str(target)]
    if not platform.host:
        chosen += ["--only-binary=:all:", "--implementation", "cp", "--python-version", platform.python]
        for tag in platform.tags:
            chosen += ["--platform", tag]
    return [*chosen, *requirements]


def _compile(built: Path, platform: Platform) -> None:
    interpreter = sys.executable if platform.python == _HERE else shutil.which(f"python{platform.python}")
    if interpreter is None:
        raise PackingError(
            "MP601",
            f"The Lambdas run Python {platform.python}, whose bytecode only python{platform.python} can compile. It is "
            f"not installed here: install it, or choose another version: Platform(python={_HERE!r}).",
        )
    quiet = ["-m", "compileall", "-q", "-q", "--invalidation-mode", "unchecked-hash"]
    # Exit status 1: some files are not valid Python of this version (templates, test data). That is fine.
    done = subprocess.run([interpreter, *quiet, str(built)], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode not in {0, 1} or not any(built.rglob("*.pyc")):
        raise PackingError("MP602", f"{interpreter} could not compile bytecode in {built}: {done.stderr.strip()}")


def _run(arguments: Sequence[str], purpose: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise PackingError(
            "MP603",
            f"pip could not {purpose} for the Lambda. A package without a wheel for the Lambda's platform must be "
            f"removed or replaced. pip's output:\n{done.stderr.strip()[-2000:]}",
        )


def _remove(built: Path, name: str) -> None:
    shutil.rmtree(built / name, ignore_errors=True)
    for record in built.glob(f"{name}-*.dist-info"):
        shutil.rmtree(record)


def _move(built: Path, done: Path) -> None:
    try:
        built.rename(done)
    except OSError:
        if not done.is_dir():  # another synthesis finished first; its folder has the same content
            raise
