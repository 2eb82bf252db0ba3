"""The wheel as users install it: bare, with nothing but its one dependency and their own pytest."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTALLED = ("annotated-types", "iniconfig", "packaging", "pluggy", "pydantic", "pydantic-core", "pygments", "pytest")
INSTALLED += ("typing-extensions", "typing-inspection")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages such as `pip install milepost pytest` makes."""
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(site)
    for name in INSTALLED:
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            (site / top).symlink_to(found.locate_file(top))
    return site


def python(site: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs with the packages of `site` only."""
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n" + arguments[0]]
    return subprocess.run([*command, *arguments[1:]], cwd=cwd, check=False, capture_output=True, text=True)


def test_the_wheel_has_the_dashboard_and_the_type_markers(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "milepost_console/static/index.html" in names
    assert {f"{package}/py.typed" for package in ("milepost", "milepost_engine", "milepost_console")} <= names
    assert not [name for name in names if name.startswith(("tests/", "samples/"))]


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
