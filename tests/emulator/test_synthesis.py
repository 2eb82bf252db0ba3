"""What is deployed to AWS itself: the repository's own `cdk.json` and the pages' examples, packed from real wheels."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .tools import CACHE, ROOT

pytestmark = pytest.mark.emulator

ELSEWHERE = """
import aws_cdk as cdk
from aws_cdk import aws_dynamodb, aws_sns
others = cdk.Stack(cdk.App(), "Others", env=cdk.Environment(account="123456789012", region="eu-west-1"))
orders = aws_dynamodb.Table.from_table_name(others, "Orders", "orders")
topic = aws_sns.Topic.from_topic_arn(others, "Topic", "arn:aws:sns:eu-west-1:123456789012:ops")
"""


def synthesise(arguments: list[str], folder: Path, out: Path) -> dict[str, dict]:
    """Run a CDK app as the CLI does; its stack's resources."""
    environment = os.environ | {
        "CDK_OUTDIR": str(out),
        "CDK_VALIDATION": "false",
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
    }
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    (template,) = out.glob("*.template.json")
    return json.loads(template.read_text())["Resources"]


def packed(resources: dict[str, dict], out: Path, handler: str) -> Path:
    """The folder of a Lambda's code, found by its handler."""
    (function,) = [
        one for one in resources.values()
        if one["Type"] == "AWS::Lambda::Function" and one["Properties"]["Handler"] == handler
    ]  # fmt: skip
    asset = function["Properties"]["Code"]["S3Key"].removesuffix(".zip")
    (described,) = out.glob("*.assets.json")
    return out / json.loads(described.read_text())["files"][asset]["source"]["path"]


def test_cdk_deploy_in_this_repository_deploys_the_shop(tmp_path: Path):
    settings = json.loads((ROOT / "cdk.json").read_text())
    _, *arguments = settings["app"].split()
    resources = synthesise(arguments, ROOT, tmp_path / "out")
    shop = packed(resources, tmp_path / "out", "_milepost_entry.handler")
    assert (shop / "samples" / "shop" / "app.py").is_file()
    assert (shop / "milepost").is_dir()
    engine = packed(resources, tmp_path / "out", "milepost_handlers.orchestrator.handler")
    assert not (engine / "boto3").exists(), "the runtime brings it"
    for folder in (shop, engine):
        (core,) = folder.glob("pydantic_core/*.so")
        assert "aarch64" in core.name
        assert list(
            folder.glob(f"pydantic/__pycache__/main.cpython-{sys.version_info.major}{sys.version_info.minor}.pyc")
        )


@pytest.mark.parametrize("page", ["README.md", "docs/deploying.md"])
def test_the_example_of_a_page_is_a_cdk_app(page: str, tmp_path: Path):
    (example,) = [
        code
        for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        if "from milepost_infra import" in code
    ]
    assert len(example.strip().splitlines()) <= 12
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "app.py").write_text("from milepost import App\n\napp = App('shop')\n")
    (tmp_path / ".cache" / "milepost").mkdir(parents=True)
    (CACHE / "milepost" / "assets").mkdir(parents=True, exist_ok=True)
    (tmp_path / ".cache" / "milepost" / "assets").symlink_to(CACHE / "milepost" / "assets")
    resources = synthesise(["-c", ELSEWHERE + example], tmp_path, tmp_path / "out")
    assert (packed(resources, tmp_path / "out", "_milepost_entry.handler") / "app.py").is_file()
