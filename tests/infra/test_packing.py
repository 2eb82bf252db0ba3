"""What lies in a Lambda's folder: wheels for its platform, Milepost's packages, the user's code, and bytecode."""

from __future__ import annotations

import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from milepost_infra import AppSource, Platform, WheelAssets
from milepost_infra.entry import read_entry
from milepost_infra.errors import InfraError, PackingError
from milepost_infra.packing import pip_arguments
from milepost_infra.sources import ENGINE_PACKAGES, SDK_PACKAGES, requirements_of

UNCHECKED_HASH = 0b01
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def app_folder(root: Path) -> Path:
    folder = root / "orders"
    folder.mkdir()
    (folder / "app.py").write_text("from milepost import App\napp = App('orders')\n")
    (folder / "rates.csv").write_text("de,19\n")
    (folder / ".env").write_text("SECRET=1\n")
    (folder / "__pycache__").mkdir()
    return folder


@pytest.fixture
def assets(tmp_path: Path) -> WheelAssets:
    return WheelAssets(Platform.here(), tmp_path / "cache")


def test_an_apps_asset_holds_the_sdk_the_users_files_and_no_secrets(assets, tmp_path):
    built = assets.build(SDK_PACKAGES, (), AppSource(app_folder(tmp_path)), {"_milepost_entry.py": "handler = None\n"})
    assert {one.name for one in built.iterdir()} == {
        "milepost", "app.py", "rates.csv", "_milepost_entry.py", "__pycache__",
    }  # fmt: skip


def test_a_package_is_packed_under_its_own_name(assets, tmp_path):
    built = assets.build(SDK_PACKAGES, (), AppSource(app_folder(tmp_path), "company"))
    assert (built / "company" / "app.py").is_file()


def test_every_module_has_bytecode_that_is_not_checked_against_its_source(assets):
    built = assets.build(ENGINE_PACKAGES, ())
    for module in built.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(module)))
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == UNCHECKED_HASH


def test_the_same_content_is_packed_once(assets, tmp_path):
    source = AppSource(app_folder(tmp_path))
    first = assets.build(SDK_PACKAGES, (), source)
    stamp = first.stat().st_mtime_ns
    assert assets.build(SDK_PACKAGES, (), source) == first
    assert first.stat().st_mtime_ns == stamp
    assert [one.name for one in first.parent.iterdir()] == [first.name], "no half folder is left"


def test_any_change_of_the_code_its_requirements_or_the_platform_makes_another_asset(assets, tmp_path):
    folder = app_folder(tmp_path)
    first = assets.build(SDK_PACKAGES, (), AppSource(folder))
    (folder / "rates.csv").write_text("de,7\n")
    assert assets.build(SDK_PACKAGES, (), AppSource(folder)) != first


def test_wheels_are_for_the_lambdas_platform_and_nothing_is_compiled():
    arguments = pip_arguments(Platform("3.13", "arm64"), Path("out"), ["pydantic>=2"])
    assert "--only-binary=:all:" in arguments
    assert arguments[arguments.index("--python-version") + 1] == "3.13"
    tags = [after for before, after in pairwise(arguments) if before == "--platform"]
    assert tags == ["manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"]
    assert arguments[-1] == "pydantic>=2"


def test_the_engine_needs_what_the_extra_aws_names():
    names = [name for line in requirements_of("aws") for name in re.findall(r"^[\w-]+", line)]
    assert {"boto3", "croniter", "pydantic"} <= set(names)
    assert "fastapi" not in names


def test_a_requirement_without_a_wheel_is_reported_with_pips_output(assets):
    with pytest.raises(PackingError, match=r"(?s)MP603.*pip's output"):
        assets.build(SDK_PACKAGES, ("/nowhere/nothing-1.0-py3-none-any.whl",))


def test_a_python_that_this_machine_lacks_is_reported_before_anything_is_deployed(tmp_path):
    with pytest.raises(PackingError, match=r"MP601.*python3\.99"):
        WheelAssets(Platform("3.99", host=True), tmp_path).build(SDK_PACKAGES, ())


def test_a_package_that_is_not_installed_is_named(assets):
    with pytest.raises(PackingError, match=r"MP604.*'nothing_of_the_kind'"):
        assets.build(("nothing_of_the_kind",), ())


def test_an_entry_in_a_folder_is_imported_by_its_file_name(tmp_path):
    entry = read_entry(app_folder(tmp_path) / "app.py")
    assert (entry.module, entry.source.package) == ("app", "")
    assert "from app import app" in entry.shim["_milepost_entry.py"]


def test_an_entry_in_a_package_is_imported_by_its_full_name(tmp_path):
    package = tmp_path / "company" / "shop"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "functions.py").write_text("")
    (tmp_path / "requirements.txt").write_text("# ours\nstripe==12.0  # payments\n\n")
    entry = read_entry(package / "functions.py", "shop")
    assert entry.module == "company.shop.functions"
    assert entry.source == AppSource(tmp_path / "company", "company")
    assert entry.requirements == ("stripe==12.0",)
    assert "from company.shop.functions import shop" in entry.shim["_milepost_entry.py"]


@pytest.mark.parametrize("name", ["24_orders", "order-mail", "class"])
def test_an_entry_whose_name_is_no_module_name_is_refused(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("app = None\n")
    with pytest.raises(InfraError, match=f"MP606.*{name}.*rename it"):
        read_entry(tmp_path / f"{name}.py")


def test_an_entry_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InfraError, match="MP606"):
        read_entry(tmp_path / "app.py")
