"""Makes a release of this repository: `make release VERSION=x.y.z`. It uploads and pushes nothing.

The steps, each of which can refuse:

1. The tree is clean, on branch main, without the tag; the version is newer; the changelog has a section for it.
2. The version is written to its one source, and today's date over "unreleased" in the changelog.
3. The sdist is built from the tree, and the wheel from the unpacked sdist.
4. Both are checked (`tools.distributions`), and the wheel is installed into a new virtual environment.
5. The two files are committed and the commit is tagged.

After a refusal, and after a dry run, the two files are as they were. The distributions stay in dist/.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from tools.distributions import Distributions, build, problems

ROOT: Final = Path(__file__).parents[1]
VERSION_FILE: Final = Path("sdk/milepost/_version.py")
CHANGELOG: Final = Path("CHANGELOG.md")

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_ASSIGNMENT: Final = re.compile(r'^VERSION = "([^"]+)"$', re.MULTILINE)
_PACKAGES: Final = ("milepost", "milepost_engine.engine", "milepost_handlers.app", "milepost_infra")
_EXTRAS: Final = "dev,aws,infra"

Install = Callable[[Path, str], None]


class ReleaseError(Exception):
    """The release was refused; nothing was committed or tagged."""


def release(root: Path, version: str, *, today: date, install: Install, dry_run: bool) -> Distributions:
    """Build, check and, unless it is a dry run, commit and tag. Raises ReleaseError."""
    check_repository(root, version)
    versioned = with_version((root / VERSION_FILE).read_text(), version)
    changelog = with_date((root / CHANGELOG).read_text(), version, today)
    with _restored_unless_kept(root / VERSION_FILE, root / CHANGELOG) as keep:
        (root / VERSION_FILE).write_text(versioned)
        (root / CHANGELOG).write_text(changelog)
        with tempfile.TemporaryDirectory() as folder:
            made = build(root, Path(folder))
            if found := problems(made, version):
                raise ReleaseError("The distributions are not fit for release:\n" + "\n".join(found))
            install(made.wheel, version)
            kept = made.moved_to(root / "dist")
        if not dry_run:
            _commit(root, version)
            keep()
    return kept


def check_repository(root: Path, version: str) -> None:
    """Raises ReleaseError if the repository is in no state for this release."""
    if not _VERSION.fullmatch(version):
        raise ReleaseError(f"{version!r} is no version: give three numbers, such as 0.2.0.")
    if (branch := _git(root, "branch", "--show-current")) != "main":
        raise ReleaseError(f"Releases are made on branch main; this is {branch or 'a detached commit'}.")
    if changed := _git(root, "status", "--porcelain"):
        raise ReleaseError(f"The tree is not clean; commit or stash first:\n{changed}")
    if _git(root, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"The tag v{version} exists. A released version is never released again.")
    tags = _git(root, "tag", "--list", "v*").splitlines()
    released = [_numbers(tag[1:]) for tag in tags if _VERSION.fullmatch(tag[1:])]
    if released and _numbers(version) < max(released):
        newest = ".".join(map(str, max(released)))
        raise ReleaseError(f"{version} is older than {newest}, which is released.")


def with_version(source: str, version: str) -> str:
    """The text of the version's module, with another version."""
    changed, count = _ASSIGNMENT.subn(f'VERSION = "{version}"', source)
    if count != 1:
        raise ReleaseError(f'{VERSION_FILE} needs one line VERSION = "…"; it has {count}.')
    return changed


def with_date(changelog: str, version: str, today: date) -> str:
    """The changelog, with a date in the heading of this version."""
    heading = re.compile(rf"^## {re.escape(version)}(?: \((.*)\))?$", re.MULTILINE)
    found = heading.search(changelog)
    if not found:
        raise ReleaseError(f"{CHANGELOG} has no section '## {version}'. Write what changes for the person upgrading.")
    following = changelog[found.end() :].partition("\n## ")[0]
    if not following.strip():
        raise ReleaseError(f"The section '## {version}' of {CHANGELOG} is empty.")
    if found[1] not in {None, "unreleased"}:
        return changelog
    return heading.sub(f"## {version} ({today.isoformat()})", changelog)


def install_and_import(wheel: Path, version: str) -> None:
    """Installs a wheel with its extras into a new virtual environment, and imports every package from there."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        _run([str(python), "-m", "pip", "install", "--quiet", f"{wheel}[{_EXTRAS}]"], Path(folder))
        _run([str(python), "-I", "-c", "; ".join(f"import {package}" for package in _PACKAGES)], Path(folder))
        said = _run([str(python), "-I", str(Path(folder, "bin", "milepost")), "--version"], Path(folder))
        if said != f"milepost {version}":
            raise ReleaseError(f"The installed command says {said!r} of itself, not 'milepost {version}'.")


def _commit(root: Path, version: str) -> None:
    files = [str(VERSION_FILE), str(CHANGELOG)]
    # The version may be the one of the tree already, as before the first release: then there is nothing to commit.
    if _git(root, "status", "--porcelain", "--", *files):
        _git(root, "commit", "--quiet", "--message", f"Release {version}", "--", *files)
    _git(root, "tag", "--annotate", f"v{version}", "--message", f"Milepost {version}")


@contextmanager
def _restored_unless_kept(*files: Path) -> Iterator[Callable[[], None]]:
    """Gives files their contents back at the end, unless the function that it yields was called."""
    before = {file: file.read_bytes() for file in files}
    try:
        yield before.clear
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(root: Path, *arguments: str) -> str:
    return _run([shutil.which("git") or "git", *arguments], root)


def _run(command: list[str], folder: Path) -> str:
    """What a command prints. Raises ReleaseError with its own words if it fails."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make release", description="Build, check and tag a release.")
    parser.add_argument("version", help="three numbers, such as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="do everything except commit and tag")
    given = parser.parse_args()
    today = datetime.now(UTC).date()
    try:
        made = release(ROOT, given.version, today=today, install=install_and_import, dry_run=given.dry_run)
    except ReleaseError as refused:
        sys.exit(f"No release was made. {refused}")
    print(f"Built and checked:\n  {made.sdist}\n  {made.wheel}")
    if given.dry_run:
        print("Dry run: nothing was committed or tagged.")
    else:
        print(f"Committed and tagged v{given.version}. To publish: git push origin main v{given.version}")


if __name__ == "__main__":
    main()
