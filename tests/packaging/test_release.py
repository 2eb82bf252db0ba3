"""A release is refused before it does harm, and leaves the tree alone until all is checked."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from tools.distributions import Distributions, metadata_problems, problems
from tools.release import CHANGELOG, VERSION_FILE, ReleaseError, install_and_import, release, with_date, with_version

from milepost import __version__

TODAY = date(2026, 3, 4)


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def origin(distributions: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own, with the files of the sdist."""
    folder = tmp_path_factory.mktemp("origin")
    with tarfile.open(distributions.sdist) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    (root / "PKG-INFO").unlink()
    (root / CHANGELOG).write_text("# Changelog\n\n## 9.8.7 (unreleased)\n\nAll is new.\n")
    git(root, "init", "--quiet", "--initial-branch", "main")
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.com"), ("commit.gpgSign", "false")):
        git(root, "config", name, value)
    git(root, "config", "tag.gpgSign", "false")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Start")
    return root


@pytest.fixture
def repository(origin: Path, tmp_path: Path) -> Path:
    return shutil.copytree(origin, tmp_path / "repository")


class Installed:
    """Stands in for the virtual environment: a wheel's requirements come from an index."""

    def __init__(self) -> None:
        self.wheels: list[tuple[str, str]] = []

    def __call__(self, wheel: Path, version: str) -> None:
        assert wheel.is_file()
        self.wheels.append((wheel.name, version))


def refused(_wheel: Path, _version: str) -> None:
    raise ReleaseError("pip found no way.")


def test_the_distributions_of_this_tree_are_fit_for_release(distributions: Distributions) -> None:
    assert problems(distributions, __version__) == []


def without(wheel: Path, out: Path, name: str) -> Path:
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(out / wheel.name, "w") as less:
        for member in whole.namelist():
            if member != name:
                less.writestr(member, whole.read(member))
    return out / wheel.name


@pytest.mark.parametrize(
    "name",
    [
        "milepost_infra/py.typed",
        "milepost_console/static/js/core/api.js",
        "milepost_console/static/index.html",
        f"milepost-{__version__}.dist-info/licenses/LICENSE",
    ],
)
def test_a_file_that_the_wheel_lacks_is_named(distributions: Distributions, tmp_path: Path, name: str) -> None:
    (problem,) = problems(replace(distributions, wheel=without(distributions.wheel, tmp_path, name)), __version__)
    assert problem.startswith(f"the wheel has no {name}")


def test_a_file_that_is_in_no_package_is_named(distributions: Distributions, tmp_path: Path) -> None:
    wheel = Path(shutil.copy(distributions.wheel, tmp_path))
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tests/test_mine.py", "")
    assert problems(replace(distributions, wheel=wheel), __version__) == [
        "the wheel has tests/test_mine.py, which is in none of its packages"
    ]


METADATA = (
    "Metadata-Version: 2.4\nName: milepost\nVersion: 1.2.3\nLicense-Expression: Apache-2.0\n"
    "Description-Content-Type: text/markdown\n\n# Milepost\n\n"
)
PAGE = "https://github.com/milepost-dev/milepost/blob/main/docs/limits.md"
PICTURE = "https://raw.githubusercontent.com/milepost-dev/milepost/main/docs/images/a.png"
CHANGES = "which changes after the release: it must name the tag v1.2.3"


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        (METADATA + "[docs](docs/limits.md)", "the README links to docs/limits.md, which leads nowhere on an index"),
        (METADATA + '<img src="a.png">', "the README links to a.png, which leads nowhere on an index"),
        (METADATA + f"[docs]({PAGE})", f"the README links to {PAGE}, {CHANGES}"),
        (METADATA + f'<img src="{PICTURE}">', f"the README links to {PICTURE}, {CHANGES}"),
        (METADATA.replace("# Milepost", "Milepost"), "the README is missing or has no title"),
        (METADATA.replace("1.2.3", "1.2.4"), "the metadata has version 1.2.4, not 1.2.3"),
        (METADATA.replace("Apache-2.0", "MIT"), "the metadata has the licence 'MIT'"),
        (METADATA.replace("text/markdown", "text/plain"), "the README is declared as text/plain, not as text/markdown"),
    ],
)
def test_metadata_that_an_index_would_show_wrongly_is_named(metadata: str, problem: str) -> None:
    assert list(metadata_problems(METADATA.encode(), "1.2.3")) == []
    assert list(metadata_problems(metadata.encode(), "1.2.3")) == [problem]


def test_every_link_of_the_readme_to_this_repository_names_the_tag_of_the_release(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"milepost-{__version__}.dist-info/METADATA")
    shown = Metadata.from_email(metadata).description or ""
    source = (Path(__file__).parents[2] / "README.md").read_text()
    for address in (
        "https://github.com/milepost-dev/milepost/blob",
        "https://raw.githubusercontent.com/milepost-dev/milepost",
    ):
        assert f"{address}/main/" in source
        assert shown.count(f"{address}/v{__version__}/") == source.count(f"{address}/main/")
        assert f"{address}/main/" not in shown


def test_metadata_that_an_index_would_refuse_is_named() -> None:
    (problem,) = metadata_problems(METADATA.replace("Apache-2.0", "Apache 2").encode(), "1.2.3")
    assert problem.startswith("metadata: ")


def test_a_dry_run_builds_and_checks_and_leaves_the_tree_alone(repository: Path) -> None:
    installed = Installed()
    made = release(repository, "9.8.7", today=TODAY, install=installed, dry_run=True)
    assert installed.wheels == [("milepost-9.8.7-py3-none-any.whl", "9.8.7")]
    assert {made.sdist, made.wheel} == set((repository / "dist").iterdir())
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag") == ""
    assert f'VERSION = "{__version__}"' in (repository / VERSION_FILE).read_text()


def test_a_release_commits_the_version_and_the_date_and_tags_the_commit(repository: Path) -> None:
    release(repository, "9.8.7", today=TODAY, install=Installed(), dry_run=False)
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "log", "-1", "--format=%s") == "Release 9.8.7"
    assert git(repository, "rev-parse", "v9.8.7^{commit}") == git(repository, "rev-parse", "HEAD")
    assert 'VERSION = "9.8.7"' in (repository / VERSION_FILE).read_text()
    assert "## 9.8.7 (2026-03-04)\n" in (repository / CHANGELOG).read_text()


def test_a_wheel_that_cannot_be_installed_leaves_no_trace(repository: Path) -> None:
    with pytest.raises(ReleaseError, match="pip found no way"):
        release(repository, "9.8.7", today=TODAY, install=refused, dry_run=False)
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag") == ""
    assert not (repository / "dist").exists()


def untidy(root: Path) -> None:
    (root / "notes.txt").write_text("mine")


def elsewhere(root: Path) -> None:
    git(root, "switch", "--quiet", "--create", "feature")


def released(root: Path) -> None:
    git(root, "tag", "v9.8.7")


def newer_released(root: Path) -> None:
    git(root, "tag", "v9.8.10")


def nothing(_root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("before", "version", "words"),
    [
        (untidy, "9.8.7", "The tree is not clean"),
        (elsewhere, "9.8.7", "this is feature"),
        (released, "9.8.7", "The tag v9.8.7 exists"),
        (newer_released, "9.8.7", r"older than 9\.8\.10"),
        (nothing, "9.8", "'9.8' is no version"),
        (nothing, "1.0.0", "has no section '## 1.0.0'"),
    ],
    ids=["untidy", "branch", "tag", "older", "no version", "changelog"],
)
def test_a_release_is_refused_before_anything_is_built(
    repository: Path, before: Callable[[Path], None], version: str, words: str
) -> None:
    before(repository)
    installed = Installed()
    with pytest.raises(ReleaseError, match=words):
        release(repository, version, today=TODAY, install=installed, dry_run=False)
    assert not installed.wheels


def test_a_date_that_the_changelog_has_already_stays() -> None:
    changelog = "## 1.0.0 (2026-01-01)\n\nNew.\n"
    assert with_date(changelog, "1.0.0", TODAY) == changelog
    assert with_date("## 1.0.0\n\nNew.\n", "1.0.0", TODAY) == "## 1.0.0 (2026-03-04)\n\nNew.\n"


def test_an_empty_section_of_the_changelog_is_refused() -> None:
    with pytest.raises(ReleaseError, match="is empty"):
        with_date("## 1.0.0 (unreleased)\n\n## 0.9.0\n\nOld.\n", "1.0.0", TODAY)


def test_a_version_that_is_written_nowhere_is_refused() -> None:
    with pytest.raises(ReleaseError, match="it has 0"):
        with_version("SDK_NAME = 'milepost'\n", "1.0.0")


def test_a_wheel_that_is_none_is_refused_in_the_words_of_pip(tmp_path: Path) -> None:
    wheel = tmp_path / "milepost-1.0.0-py3-none-any.whl"
    wheel.write_bytes(b"no archive")
    with pytest.raises(ReleaseError, match=r"pip install .* ended with 1"):
        install_and_import(wheel, "1.0.0")
