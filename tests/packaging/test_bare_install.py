"""The wheel as users install it: bare, with nothing but its one dependency and their own pytest."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from tools.distributions import PACKAGES, Distributions

INSTALLED = (
    "annotated-types",
    "iniconfig",
    "packaging",
    "pluggy",
    "pydantic",
    "pydantic-core",
    "pygments",
    "pytest",
    "typing-extensions",
    "typing-inspection",
)


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages such as `pip install milepost pytest` makes."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    for name in INSTALLED:
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (site / top).symlink_to(Path(str(found.locate_file(top))))
    return site


def python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs with the packages of `site` only."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n" + arguments[0]]
    return subprocess.run([*command, *arguments[1:]], cwd=cwd, check=False, capture_output=True, text=True)


def test_the_wheel_has_the_dashboard_and_the_type_markers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "milepost_console/static/index.html" in names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert not [name for name in names if name.startswith(("tests/", "samples/"))]


def test_the_licence_is_in_the_wheel_and_in_the_sdist(distributions: Distributions) -> None:
    licence = (Path(__file__).parents[2] / "LICENSE").read_bytes()
    with zipfile.ZipFile(distributions.wheel) as wheel, tarfile.open(distributions.sdist) as sdist:
        (in_wheel,) = (name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
        (in_sdist,) = (member for member in sdist.getmembers() if Path(member.name).parts[1:] == ("LICENSE",))
        assert wheel.read(in_wheel) == licence
        found = sdist.extractfile(in_sdist)
        assert found
        assert found.read() == licence


def test_functions_are_declared_with_the_bare_package(bare: Path, tmp_path: Path) -> None:
    code = "from milepost import App\napp = App('shop')\n@app.function(id='f', trigger='a/b')\nasync def f(ctx): ...\n"
    done = python(bare, code + "print(*app.functions)", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "shop-f\n"), done.stderr


def test_the_bare_package_leaves_the_tests_of_its_users_alone(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("def test_mine():\n    pass\n")
    done = python(bare, "import pytest; raise SystemExit(pytest.main([]))", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plugins: milepost-" in done.stdout


@pytest.mark.parametrize(
    "code", ["import milepost.testing", "from milepost_console.cli import main; main()"], ids=["harness", "command"]
)
def test_what_needs_an_extra_says_which(bare: Path, tmp_path: Path, code: str) -> None:
    done = python(bare, code, cwd=tmp_path)
    assert done.returncode == 1
    assert "pip install 'milepost[dev]'" in done.stderr.splitlines()[-1]
