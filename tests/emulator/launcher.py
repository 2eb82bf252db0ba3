"""Starts the emulator with its clocks quickened. Runs in the emulator's own venv: nothing of this project is imported.

Two waits of the emulator have no setting: its sweep for scheduled rules (10 s) and, after each invocation, its wait for
a log line that quiet handlers never write (50 ms and 100 ms). And where permissions count, two things differ from AWS:
it asks for the permission `sqs:SendMessageBatch`, which AWS does not know (a batch needs what its messages need), and a
template's `Ref` of a secret is its name instead of its ARN, so that a grant on it fits nothing.
"""

from typing import Any

from ministack import app
from ministack.core import iam_actions, lambda_runtime
from ministack.services import eventbridge, lambda_svc, scheduler, secretsmanager
from ministack.services.cloudformation import provisioners

SWEEP_SECONDS = 0.25
LOG_WAIT_SECONDS = 0.003

scheduler._SCHEDULE_TICK_INTERVAL = SWEEP_SECONDS
eventbridge._SCHEDULER_TICK_INTERVAL = SWEEP_SECONDS
for worker in vars(lambda_runtime).values():
    drain = getattr(worker, "_drain_stderr_bounded", None)
    if isinstance(worker, type) and drain is not None:

        def quick(self, *_args, drain=drain, **_named):
            return drain(self, first_line_wait=LOG_WAIT_SECONDS)

        patched: Any = worker
        patched._drain_stderr_bounded = quick

# It keeps how a version's or an alias's asynchronous calls are treated, and then goes by the function's own.
call_later = lambda_svc.invoke_async_with_retry


def as_configured(func, event):
    name, _, qualifier = func["config"]["FunctionArn"].partition(":function:")[2].partition(":")
    configured = (lambda_svc._functions[name].get("event_invoke_configs") or {}).get(qualifier)
    return call_later({**func, "event_invoke_config": configured} if configured else func, event)


lambda_svc.invoke_async_with_retry = as_configured

extract = iam_actions.extract_iam_action


def as_aws_does(*args, **named):
    action = extract(*args, **named)
    return action.removesuffix("Batch") if action and action.startswith("sqs:") else action


iam_actions.extract_iam_action = as_aws_does

secret = provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"]


def arn_of(made):
    _, attributes = made
    return attributes["Arn"], attributes


def name_of(arn):
    name, _ = secretsmanager._resolve(arn)
    return name


provisioners._RESOURCE_HANDLERS["AWS::SecretsManager::Secret"] = {
    **secret,
    "create": lambda *args: arn_of(secret["create"](*args)),
    "update": lambda arn, *args: arn_of(secret["update"](name_of(arn), *args)),
    "delete": lambda arn, *args: secret["delete"](name_of(arn), *args),
}

app.main()
