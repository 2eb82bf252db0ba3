"""What `milepost` exports, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest

import milepost
from milepost import errors, protocol


@pytest.mark.parametrize("module", [milepost, errors], ids=lambda module: module.__name__)
def test_all_is_sorted(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)


@pytest.mark.parametrize("module", [milepost, errors, protocol], ids=lambda module: module.__name__)
def test_every_name_in_all_exists_once(module: object) -> None:
    names: list[str] = module.__all__  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None


def test_no_public_name_is_missing_from_all() -> None:
    shown = {name for name in dir(milepost) if not name.startswith("_")}
    modules = {name for name in shown if isinstance(getattr(milepost, name), type(milepost))}
    assert shown - modules - {"TYPE_CHECKING", "Final", "annotations", "import_module"} == set(milepost.__all__) - {
        "__version__"
    }


def test_every_error_of_the_package_is_drawn_in_its_tree() -> None:
    for name in errors.__all__:
        assert name in (errors.__doc__ or "")


def test_every_error_has_a_distinct_code() -> None:
    codes = [getattr(errors, name).code for name in errors.__all__ if name != "Interrupt"]
    assert len(set(codes)) == len(codes)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_like_this"):
        milepost.nothing_like_this  # noqa: B018


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_declaring_functions_loads_neither_event_loops_nor_http_nor_aws() -> None:
    loaded = loaded_after(
        "from milepost import App, Context, Cron, Event, Retries, SyncContext\n"
        "app = App('shop', dev=True)\n"
        "@app.function(id='f', triggers=[Event('t/a'), Cron('0 8 * * *')])\n"
        "async def f(ctx: Context): ...\n"
    )
    assert not loaded & {"asyncio", "http.client", "ssl", "boto3", "botocore", "httpx", "logging", "inngest"}


def test_the_wire_contract_loads_without_pydantic() -> None:
    assert "pydantic" not in loaded_after("import milepost.protocol, milepost.errors")


def test_generic_classes_can_be_made_with_their_type_written_out() -> None:
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    assert milepost.FunctionRef[int]("shop", "count").slug == "shop-count"
    assert milepost.NewEvent[dict[str, int]]("a", {"n": 1}).data == {"n": 1}
    assert milepost.ReceivedEvent[dict[str, int]]("id", "a", {"n": 1}, moment).ts == moment
