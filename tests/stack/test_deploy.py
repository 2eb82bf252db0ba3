"""`milepost deploy`: how the CDK CLI is called, and what is said before it would fail."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from milepost_console.cli.client import ClientProblem
from milepost_console.cli.main import cli
from milepost_console.stack.deploy import PINNED_CLI, DeployRequest, check_account, command, find_cli

from .rig import REGION

pytestmark = pytest.mark.usefixtures("no_environment")
APP = str(Path(__file__).parents[2] / "samples" / "shop" / "app.py")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH: what is put there is what the machine has."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AWS_REGION", REGION)
    return tmp_path


def put_program(folder: Path, name: str, version: str, *, exit_code: int = 0) -> Path:
    """A program that writes its words into a file."""
    words = folder / f"{name}.json"
    script = f"""#!{sys.executable}
import json, pathlib, sys
if sys.argv[1:] == ["--version"]:
    print("{version}")
else:
    pathlib.Path({str(words)!r}).write_text(json.dumps(sys.argv[1:]))
    sys.exit({exit_code})
"""
    program = folder / name
    program.write_text(script)
    program.chmod(0o755)
    return words


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, ["deploy", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def bootstrap() -> None:
    client = boto3.client("ssm", region_name=REGION)
    client.put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="30", Type="String")
    client.close()


def test_the_cdk_cli_is_called_with_the_stack_and_the_entries(programs: Path):
    words_file = put_program(programs, "cdk", "2.1148.1 (build abc)")
    with mock_aws():
        bootstrap()
        printed = run(APP, "--stack", "shop", "--yes", "--architecture", "x86_64", "--python", "3.13")
    words = json.loads(words_file.read_text())
    assert words[:2] == ["deploy", "shop"]
    assert shlex.split(words[words.index("--app") + 1]) == [sys.executable, "-W", "ignore", "-m", "milepost_infra.app"]
    context = [words[place + 1] for place, word in enumerate(words) if word == "--context"]
    assert {"stack=shop", f"entry={APP}", "api=false", "python=3.13", "architecture=x86_64"} <= set(context)
    assert words[-2:] == ["--require-approval", "never"]
    assert "milepost dashboard --stack shop" in printed


def test_broader_permissions_are_confirmed_unless_yes_is_given():
    words = command(["cdk"], DeployRequest("shop", (Path("app.py"),)), verb="deploy", ask=True)
    assert words[-2:] == ["--require-approval", "broadening"]


def test_an_old_cdk_gives_way_to_the_pinned_one_of_npx(programs: Path):
    put_program(programs, "cdk", "2.1000.0")
    put_program(programs, "npx", "10.0.0")
    assert find_cli(lambda name: str(programs / name)) == [str(programs / "npx"), "--yes", PINNED_CLI]


@pytest.mark.parametrize(("version", "reason"), [("2.1000.0", "older than 2.1148.0"), ("", "is missing")])
def test_without_node_the_message_says_to_install_it(programs: Path, version: str, reason: str):
    if version:
        put_program(programs, "cdk", version)
    with pytest.raises(ClientProblem, match=reason) as caught:
        run(APP)
    assert caught.value.code == "MP609"


def test_for_an_account_without_cdk_bootstrap_the_error_has_the_command(programs: Path):
    put_program(programs, "cdk", "2.1148.1")
    with mock_aws(), pytest.raises(ClientProblem, match=f"bootstrap aws://123456789012/{REGION}") as caught:
        run(APP)
    assert caught.value.code == "MP610"


def test_a_failing_cdk_fails_the_command(programs: Path):
    put_program(programs, "cdk", "2.1148.1", exit_code=3)
    with mock_aws():
        bootstrap()
        with pytest.raises(ClientProblem, match="exit code 3") as caught:
            run(APP, "--yes")
    assert caught.value.code == "MP611"


def test_only_writing_the_template_asks_nothing_of_aws(programs: Path):
    words_file = put_program(programs, "cdk", "2.1148.1")
    run(APP, "--synth")
    assert json.loads(words_file.read_text())[0] == "synth"


def test_what_is_not_a_python_file_is_refused():
    done = CliRunner().invoke(cli, ["deploy", "pyproject.toml"])
    assert (done.exit_code, "not a Python file" in done.output) == (2, True)


def test_the_account_is_the_callers():
    with mock_aws():
        bootstrap()
        assert check_account(boto3.Session(region_name=REGION)) == "123456789012"
