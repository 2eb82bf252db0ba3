"""A user's app in a stack: its Lambda, published in versions, and registered at every deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from .acknowledged import RUNTIME, TRACES, acknowledge
from .app_id import find_app_id
from .compute import architecture_of, grant_network, runtime_of, write_only_role
from .entry import ENTRY_HANDLER, Entry, read_entry
from .errors import InfraError
from .failures import failures_to, keep_with
from .milepost import Milepost
from .names import Variable

__all__ = ["MilepostApp", "Versioning"]

Versioning = Literal["pinned", "latest"]

_TIMEOUT: Final = Duration.seconds(60)
_LAMBDA_DEFAULT_SECONDS: Final = 3.0
_LAMBDA_LONGEST_SECONDS: Final = 900


class MilepostApp(Construct):
    """Durable functions served by one Lambda: `MilepostApp(milepost, "Shop", entry="shop/app.py")`.

    Args:
        milepost: The `Milepost` that runs the app.
        entry: The file that defines the `App`. Its folder (or topmost package) is packed with the requirements in
            `requirements.txt` and the SDK.
        function: Instead of `entry`, an existing function, including container images, whose handler is
            `app.lambda_handler()`.
        saves_steps: Allow `function` direct access to its runs' steps, as apps with `entry` have. Its handler must then
            be `milepost_handlers.app.lambda_handler(app)`. Without it, checkpoint mode saves through the API, if there
            is one, and otherwise works like step mode; a run whose results exceed 4 MB in total cannot be called.
        attribute: Name of the `App` in the entry file.
        app_id: The app's own id, if it is not written in the entry file as `App("shop")` and the file cannot be
            imported where the stack is synthesised. It names the Lambda within the stack, so that the file may move and
            the construct may be renamed while runs are live.
        environment: Environment variables.
        requirements: Requirements in addition to `requirements.txt`.
        memory_mb: 256 by default.
        timeout: Longest invocation, at most 900 s; 60 s by default. An app with `entry` and a timeout above the
            Milepost's `longest_invocation` is invoked asynchronously and reports its results.
        versioning: `"pinned"`: a run stays on the code that it started with. `"latest"`: it continues with the newest.
        layers, vpc: As for any Lambda.
        revision: For an imported `function`: change it whenever its code changes, so that it is registered again.

    The attribute `function` is the Lambda; grant it what the steps need (`bucket.grant_read(app.function)`).
    """

    def __init__(
        self,
        milepost: Milepost,
        construct_id: str,
        *,
        entry: str | Path | None = None,
        function: lambda_.IFunction | None = None,
        saves_steps: bool = False,
        attribute: str = "app",
        app_id: str = "",
        environment: Mapping[str, str] | None = None,
        requirements: Sequence[str] = (),
        memory_mb: int = 256,
        timeout: Duration = _TIMEOUT,
        versioning: Versioning = "pinned",
        layers: Sequence[lambda_.ILayerVersion] = (),
        vpc: ec2.IVpc | None = None,
        revision: str = "",
    ) -> None:
        super().__init__(milepost, construct_id)
        self._milepost = milepost
        self._home: Construct = self
        self._failures: lambda_.EventInvokeConfig | None = None
        if (entry is None) == (function is None):
            raise InfraError(
                "MP607", f"The app {construct_id!r} needs exactly one of entry= (a file) and function= (a Lambda)."
            )
        self._reports = entry is not None and timeout.to_seconds() > milepost.longest_invocation.to_seconds()
        if entry is not None:
            read = read_entry(entry, attribute)
            app_id = app_id or find_app_id(read, Path(entry))
            self._home = self._home_of(app_id, construct_id)
            function = self._from_entry(read, app_id, environment or {}, requirements, memory_mb, timeout, layers, vpc)
        elif saves_steps:
            self._let_save(construct_id, function)
        assert function is not None  # one of the two is given
        self.function: lambda_.IFunction = function
        self._check_timeout(construct_id)
        self.address, revision = self._publish(versioning, revision)
        milepost.may_invoke(function)
        milepost.code.keep(function)
        self.registration = milepost.registrar.register(
            self._home, function, address=self.address, revision=revision, timeout_seconds=self._timeout_seconds(),
            reports=self._reports, after=[milepost.code],
        )  # fmt: skip
        if self._failures:
            self.registration.node.add_dependency(self._failures)
            if milepost.alarms:
                milepost.alarms.watch_answers(construct_id, function)

    def _from_entry(
        self,
        read: Entry,
        app_id: str,
        environment: Mapping[str, str],
        requirements: Sequence[str],
        memory_mb: int,
        timeout: Duration,
        layers: Sequence[lambda_.ILayerVersion],
        vpc: ec2.IVpc | None,
    ) -> lambda_.Function:
        milepost = self._milepost
        log_group = logs.LogGroup(
            self._home, "Logs", retention=milepost.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        role = write_only_role(self._home, "Role", log_group)
        made = lambda_.Function(
            self._home,
            "Function",
            description=f"Milepost app {app_id}",
            code=milepost.assets.app(read.source, [*read.requirements, *requirements], read.shim),
            handler=ENTRY_HANDLER,
            runtime=runtime_of(milepost.assets.platform),
            architecture=architecture_of(milepost.assets.platform),
            role=role,
            timeout=timeout,
            memory_size=memory_mb,
            environment={**environment, **milepost.app_environment, **self._report_environment()},
            layers=list(layers),
            vpc=vpc,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            system_log_level_v2=lambda_.SystemLogLevel.WARN,
            tracing=lambda_.Tracing.ACTIVE if milepost.tracing else lambda_.Tracing.DISABLED,
            # Orchestrator and app call each other in turn, which looks like a loop; Lambda would stop it after 16.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if self._reports else None,
            # Old versions are retained because runs are pinned to them.
            current_version_options=lambda_.VersionOptions(removal_policy=RemovalPolicy.RETAIN),
        )
        self._grant_steps(role)
        if self._reports:
            milepost.work.queue.grant_send_messages(role)
        milepost.include_logs(log_group)
        acknowledge(made, RUNTIME)
        if milepost.tracing:
            acknowledge(role, TRACES)
        if vpc is not None:
            grant_network(role)
        return made

    def _home_of(self, app_id: str, construct_id: str) -> Construct:
        """Where the app's resources are, whatever this construct is called."""
        name = f"App-{app_id}"
        if self._milepost.node.try_find_child(name) is not None:
            raise InfraError(
                "MP615",
                f"The app {construct_id!r} has the id {app_id!r}, which another app of this Milepost has, too: an app "
                "is one Lambda, and ids are unique. Give one of the two another id.",
            )
        return Construct(self._milepost, name)

    def _let_save(self, construct_id: str, function: lambda_.IFunction | None) -> None:
        """Grant what apps with `entry` have by default."""
        role = function.role if isinstance(function, lambda_.Function) else None
        if not isinstance(function, lambda_.Function) or not isinstance(role, iam.Role):
            raise InfraError(
                "MP612",
                f"The app {construct_id!r} cannot use saves_steps=True: its function or role is imported, so this "
                "stack can neither set its environment nor grant it permissions. Define both in this stack, or leave "
                "saves_steps out.",
            )
        for name, value in self._milepost.app_environment.items():
            function.add_environment(name, value)
        self._grant_steps(role)

    def _grant_steps(self, role: iam.Role) -> None:
        self._milepost.grant_send(role)
        self._milepost.table.grant_steps(role)
        self._milepost.blobs.grant_steps(role)

    def _publish(self, versioning: Versioning, revision: str) -> tuple[str, str]:
        """The address that runs call, and a revision that changes with the code."""
        if not isinstance(self.function, lambda_.Function):
            return self.function.function_arn, revision or self.function.function_arn
        version = self.function.current_version
        version.apply_removal_policy(RemovalPolicy.RETAIN)
        alias = lambda_.Alias(self._home, "Live", alias_name="live", version=version)
        if self._reports and versioning == "latest":
            self._failures = failures_to(self._home, self._milepost.work.queue, self.function, alias.alias_name)
        elif self._reports:
            self._failures = failures_to(self._home, self._milepost.work.queue, self.function, version.version)
            keep_with(self._failures, version)
        return (alias if versioning == "latest" else version).function_arn, version.function_arn

    def _report_environment(self) -> dict[str, str]:
        return {Variable.QUEUE_URL.value: self._milepost.work.queue.queue_url} if self._reports else {}

    def _timeout_seconds(self) -> float:
        given = (
            self.function.timeout if isinstance(self.function, lambda_.Function) else self._milepost.longest_invocation
        )
        return float(given.to_seconds()) if given else _LAMBDA_DEFAULT_SECONDS

    def _check_timeout(self, construct_id: str) -> None:
        longest, seconds = self._milepost.longest_invocation.to_seconds(), self._timeout_seconds()
        if seconds > _LAMBDA_LONGEST_SECONDS:
            raise InfraError(
                "MP608",
                f"The app {construct_id!r} has a timeout of {seconds:g} s, but a Lambda runs for at most "
                f"{_LAMBDA_LONGEST_SECONDS} s: split longer work into steps.",
            )
        if seconds > longest and not self._reports:
            raise InfraError(
                "MP608",
                f"The app {construct_id!r} has a timeout of {seconds:g} s, but its Milepost waits at most "
                f"{longest:g} s for an invocation, and apps with function= cannot be invoked asynchronously: use "
                "entry=, raise Milepost(longest_invocation=…), or shorten the timeout.",
            )
