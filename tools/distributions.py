"""Builds the sdist and the wheel, and says what is wrong with them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from packaging.metadata import InvalidMetadata, Metadata

# Each package with the folder of the repository that it lies in.
PACKAGES: Final = {
    "milepost": "sdk",
    "milepost_engine": "engine",
    "milepost_handlers": "handlers",
    "milepost_infra": "infra",
    "milepost_console": "console",
}
_REQUIRED: Final = (
    *(f"{package}/py.typed" for package in PACKAGES),
    "milepost_console/static/index.html",
    "milepost_console/static/favicon.svg",
    "milepost_console/static/css/base.css",
    "milepost_console/static/js/main.js",
)
_LINK: Final = re.compile(r'(?:href|src|srcset)="([^"]*)"')
_NOT_RELATIVE: Final = ("https://", "http://", "mailto:", "#")
_BRANCHES: Final = (
    "https://github.com/milepost-dev/milepost/blob/",
    "https://github.com/milepost-dev/milepost/tree/",
    "https://raw.githubusercontent.com/milepost-dev/milepost/",
)
"""Links to files of our own repository begin like this; the name of a branch or tag follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distributions:
    sdist: Path
    wheel: Path

    def moved_to(self, folder: Path) -> Distributions:
        """Moves both files; older distributions of the folder are removed."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return Distributions(sdist=Path(shutil.move(self.sdist, folder)), wheel=Path(shutil.move(self.wheel, folder)))


def build(root: Path, out: Path) -> Distributions:
    """The sdist of a tree, and the wheel of that sdist: what is missing in the sdist is missing in both.

    Needs the requirements of `[build-system]` in this environment. Raises CalledProcessError.
    """
    _hatchling(root, "sdist", out)
    (sdist,) = out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (unpacked,) = Path(folder).iterdir()
        _hatchling(unpacked, "wheel", out)
    (wheel,) = out.glob("*.whl")
    return Distributions(sdist=sdist, wheel=wheel)


def _hatchling(root: Path, target: str, out: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(out)]
    subprocess.run(command, cwd=root, check=True, stdout=subprocess.DEVNULL)


def problems(made: Distributions, version: str) -> list[str]:
    """What is wrong with two distributions, a line each. Empty if they are fit for release."""
    return [*_of_the_wheel(made, version), *_of_the_sdist(made, version)]


def _of_the_wheel(made: Distributions, version: str) -> Iterator[str]:
    info = f"milepost-{version}.dist-info"
    with zipfile.ZipFile(made.wheel) as archive:
        wheel = {name for name in archive.namelist() if not name.endswith("/")}
        written = archive.read(f"{info}/METADATA") if f"{info}/METADATA" in wheel else b""
    for name in sorted({*_REQUIRED, f"{info}/licenses/LICENSE"} - wheel):
        yield f"the wheel has no {name}"
    code = {name for name in wheel if not name.startswith(f"{info}/")}
    expected = _packages_of_the_sdist(made.sdist)
    yield from (f"the wheel has no {name}, the sdist has" for name in sorted(expected - code - set(_REQUIRED)))
    yield from (f"the wheel has {name}, which is in none of its packages" for name in sorted(code - expected))
    yield from (f"wheel: {problem}" for problem in metadata_problems(written, version))


def _of_the_sdist(made: Distributions, version: str) -> Iterator[str]:
    top = f"milepost-{version}"
    with tarfile.open(made.sdist) as archive:
        names = set(archive.getnames())
        for name in ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "PKG-INFO", "tests", "docs"):
            if not any(one == f"{top}/{name}" or one.startswith(f"{top}/{name}/") for one in names):
                yield f"the sdist has no {name}"
        info = archive.extractfile(f"{top}/PKG-INFO") if f"{top}/PKG-INFO" in names else None
        written = info.read() if info else b""
    yield from (f"sdist: {problem}" for problem in metadata_problems(written, version))


def _packages_of_the_sdist(sdist: Path) -> set[str]:
    """The files of the packages, named as a wheel names them."""
    folders = {(folder, package) for package, folder in PACKAGES.items()}
    with tarfile.open(sdist) as archive:
        parts = [Path(member.name).parts[1:] for member in archive.getmembers() if member.isfile()]
    return {"/".join(part[1:]) for part in parts if part[:2] in folders}


def metadata_problems(written: bytes, version: str) -> Iterator[str]:
    """What an index would refuse or show wrongly: fields that do not fit their standard, and links of the README."""
    try:
        metadata = Metadata.from_email(written, validate=True)
    except ExceptionGroup as group:
        yield from (f"metadata: {error}" for error in group.exceptions if isinstance(error, InvalidMetadata))
        return
    if str(metadata.version) != version:
        yield f"the metadata has version {metadata.version}, not {version}"
    if metadata.license_expression != "Apache-2.0":
        yield f"the metadata has the licence {metadata.license_expression!r}"
    content_type = str(message_from_bytes(written)["Description-Content-Type"])
    if not content_type.startswith("text/markdown"):
        yield f"the README is declared as {content_type}, not as text/markdown"
    # What an index renders: CommonMark with tables. A relative link leads nowhere there.
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(metadata.description or "")
    if "<h1>" not in rendered:
        yield "the README is missing or has no title"
    for link in _LINK.findall(rendered):
        if not link.startswith(_NOT_RELATIVE):
            yield f"the README links to {link}, which leads nowhere on an index"
        for prefix in _BRANCHES:
            if link.startswith(prefix) and not link.startswith(f"{prefix}v{version}/"):
                yield f"the README links to {link}, which changes after the release: it must name the tag v{version}"
