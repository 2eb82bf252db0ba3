"""`milepost deploy`: runs the CDK CLI on `milepost_infra.app`, after checking what it needs.

The CDK CLI is a Node program: the one on the PATH if it is new enough for the CDK library, otherwise a pinned version
fetched by npx. It reads the stack that `python -m milepost_infra.app` writes; the console does not import that module.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from milepost_console.cli.client import ClientProblem

from .problems import aws_problems

__all__ = ["PINNED_CLI", "DeployRequest", "check_account", "check_packages", "command", "find_cli"]

PINNED_CLI: Final = "aws-cdk@2.1148.1"
"""Pinned, because the npm tag `latest` of aws-cdk is an older build that cannot read the current library's output."""
_OLDEST_CLI: Final = (2, 1148, 0)
_BOOTSTRAP: Final = "/cdk-bootstrap/hnb659fds/version"
"""The parameter that `cdk bootstrap` writes; hnb659fds is the CDK's default qualifier."""
_OUTPUT: Final = ".cache/milepost/cdk.out"


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What to deploy: a stack with an app for each entry file."""

    stack: str
    entries: tuple[Path, ...]
    api: bool = False
    python: str = ""
    architecture: str = "arm64"
    region: str = ""
    profile: str = ""


def check_packages() -> None:
    """Raises ClientProblem when the CDK library is not installed here."""
    if importlib.util.find_spec("aws_cdk") is None or importlib.util.find_spec("milepost_infra") is None:
        raise ClientProblem("MP604", "Deploying needs the CDK library: pip install 'milepost[infra]'.")


def find_cli(which: Callable[[str], str | None]) -> list[str]:
    """The command that calls the CDK CLI; `which` finds programs. Raises ClientProblem."""
    cdk = which("cdk")
    if cdk is not None and _version_of(cdk) >= _OLDEST_CLI:
        return [cdk]
    npx = which("npx")
    if npx is not None:
        return [npx, "--yes", PINNED_CLI]
    problem = (
        f"The cdk on the PATH is older than {'.'.join(map(str, _OLDEST_CLI))}" if cdk else "The CDK CLI is missing"
    )
    raise ClientProblem(
        "MP609",
        f"{problem}, and npx, which could fetch it, is not installed. Install Node 20 or newer (https://nodejs.org).",
    )


def _version_of(cdk: str) -> tuple[int, ...]:
    """The CLI's version; () when it prints none."""
    answer = subprocess.run([cdk, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, found.groups())) if found else ()


def check_account(session: Any) -> str:
    """The account to deploy to. Raises ClientProblem without credentials, or when the account is not bootstrapped."""
    with aws_problems():
        sts, ssm = session.client("sts"), session.client("ssm")
        try:
            account = str(sts.get_caller_identity()["Account"])
            _check_bootstrap(ssm, account)
        finally:
            sts.close()
            ssm.close()
    return account


def _check_bootstrap(ssm: Any, account: str) -> None:
    try:
        ssm.get_parameter(Name=_BOOTSTRAP)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            return  # no permission to read it does not mean none to deploy
        target = f"aws://{account}/{ssm.meta.region_name}"
        raise ClientProblem(
            "MP610",
            f"The CDK is not bootstrapped in {target}. Run once: npx {PINNED_CLI} bootstrap {target}",
        ) from error


def command(cli: Sequence[str], request: DeployRequest, *, verb: str, ask: bool) -> list[str]:
    """The command that deploys (`verb` "deploy") or only writes the template ("synth")."""
    app = shlex.join([sys.executable, "-W", "ignore", "-m", "milepost_infra.app"])
    context: Mapping[str, str] = {
        "stack": request.stack,
        "entry": ",".join(str(entry) for entry in request.entries),
        "api": str(request.api).lower(),
        "architecture": request.architecture,
        **({"python": request.python} if request.python else {}),
    }
    words = [*cli, verb, request.stack, "--app", app, "--output", _OUTPUT]
    words += [word for name, value in context.items() for word in ("--context", f"{name}={value}")]
    if request.profile:
        words += ["--profile", request.profile]
    if verb == "deploy":
        words += ["--require-approval", "broadening" if ask else "never"]
    return words
