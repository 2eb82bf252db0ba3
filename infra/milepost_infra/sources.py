"""Finds what to pack: Milepost's installed packages, their requirements, and the digests of folders."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from .errors import PackingError

__all__ = ["ENGINE_PACKAGES", "SDK_PACKAGES", "package_folders", "requirements_of", "tree_digest"]

SDK_PACKAGES: Final = ("milepost",)
ENGINE_PACKAGES: Final = ("milepost", "milepost_engine", "milepost_handlers")

_DISTRIBUTION: Final = "milepost"


def package_folders(packages: Sequence[str]) -> list[Path]:
    """The folders of packages, found without importing them; works for wheels and for a checkout."""
    return [_folder(package) for package in packages]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PackingError("MP604", f"The package {package!r} is not installed; run: pip install 'milepost[infra]'.")
    return Path(next(iter(spec.submodule_search_locations)))


def requirements_of(extra: str = "") -> list[str]:
    """The requirements of the installed Milepost, including one of its extras."""
    found = []
    for line in importlib.metadata.requires(_DISTRIBUTION) or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if not marker or marker in {f"extra == '{extra}'", f'extra == "{extra}"'}:
            found.append(requirement)
    return sorted(found)


def tree_digest(folder: Path, left_out: Sequence[str]) -> str:
    """A digest of all file names and contents in a folder."""
    total = hashlib.sha256()
    for path in _files(folder, left_out):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder)}\0{content}\n".encode())
    return total.hexdigest()


def _files(folder: Path, left_out: Sequence[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in left_out):
            continue
        if path.is_dir():
            yield from _files(path, left_out)
        elif path.is_file():
            yield path
