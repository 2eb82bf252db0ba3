"""The entry of `cdk deploy` in this repository, and of `milepost deploy`: one stack from context values.

cdk deploy                                      the shop sample
cdk deploy -c entry=app.py -c stack=my-stack    an app of your own
-c api=true   -c python=3.13   -c architecture=x86_64     (default: arm64 and the Python running this)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aws_cdk import App

from .packing import Platform, WheelAssets
from .stack import MilepostStack

_SHOP: Final = "samples/shop/app.py"


def main() -> None:
    app = App()

    def given(name: str, default: str) -> str:
        value = app.node.try_get_context(name)
        return default if value is None else str(value)

    entries = [Path(path.strip()) for path in given("entry", _SHOP).split(",")]
    MilepostStack(
        app,
        given("stack", "milepost"),
        entries={_title(entry): entry for entry in entries},
        assets=WheelAssets(Platform(given("python", Platform().python), given("architecture", "arm64"))),
        api=given("api", "false").lower() == "true",
    )
    app.synth()


def _title(entry: Path) -> str:
    """The construct id for an entry file: `Shop` for `samples/shop/app.py`, `Billing` for `billing.py`."""
    name = entry.resolve().parent.name if entry.stem in {"app", "main", "__init__"} else entry.stem
    return name.replace("_", " ").replace("-", " ").title().replace(" ", "")


if __name__ == "__main__":
    main()
