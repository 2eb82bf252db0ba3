"""The optional HTTP API, for event keys, webhooks and apps outside AWS. Off by default."""

from __future__ import annotations

import json
import string
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_apigatewayv2 as gateway
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from .acknowledged import acknowledge
from .blobs import BlobBucket
from .compute import EngineCode, EngineLambda
from .names import Handler, Variable
from .queues import QueuePair
from .table import RunTable

__all__ = ["Api"]

_OWN_KEYS: Final = (
    "AwsSolutions-APIG4",
    "The Lambda compares event keys and signing keys itself, in constant time: webhook senders do not support IAM.",
)
_ROTATION: Final = (
    "AwsSolutions-SMG4",
    "Senders and apps hold the same key, so it is rotated manually while the old key stays valid.",
)

_KEY_DIGITS: Final = 64
"""256 bits in hex: the only signing key format that the official SDKs accept, and safe in URLs."""
_NOT_HEX: Final = "".join(sorted({*string.ascii_letters, *string.punctuation} - {*string.hexdigits.lower()}))

_LOG_FIELDS: Final = json.dumps(
    {
        "request_id": "$context.requestId",
        "route": "$context.routeKey",
        "status": "$context.status",
        "sender": "$context.identity.sourceIp",
        "milliseconds": "$context.responseLatency",
    }
)


class Api(Construct):
    """The HTTP API with its Lambda, its keys in Secrets Manager, and an access log without request contents."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        shared: EngineCode,
        table: RunTable,
        blobs: BlobBucket,
        work: QueuePair,
    ) -> None:
        super().__init__(scope, construct_id)
        self.event_key = self._secret("EventKey", "Key for sending events")
        self.signing_key = self._secret("SigningKey", "Signs calls to and from apps that are reached over HTTP")
        self.engine = EngineLambda(
            self,
            "Lambda",
            shared=shared,
            handler=Handler.API,
            purpose="Milepost API: accepts events and registrations over HTTP",
            timeout=Duration.seconds(29),
            environment={
                Variable.EVENT_KEY_SECRET.value: self.event_key.secret_arn,
                Variable.SIGNING_KEY_SECRET.value: self.signing_key.secret_arn,
            },
        )
        self.event_key.grant_read(self.engine.role)
        self.signing_key.grant_read(self.engine.role)
        table.grant_use(self.engine.role)
        blobs.grant_use(self.engine.role)
        work.queue.grant_send_messages(self.engine.role)
        self.http = gateway.HttpApi(self, "Http", create_default_stage=False)
        integration = integrations.HttpLambdaIntegration("Integration", self.engine.function)
        for path in ("/e/{key}", "/webhooks/{name}", "/fn/register", "/v0/{proxy+}", "/v1/{proxy+}"):
            _acknowledge_routes(
                self.http.add_routes(path=path, methods=[gateway.HttpMethod.ANY], integration=integration)
            )
        requests = logs.LogGroup(self, "Requests", retention=shared.log_retention, removal_policy=RemovalPolicy.DESTROY)
        stage = gateway.HttpStage(
            self,
            "Stage",
            http_api=self.http,
            stage_name="$default",
            auto_deploy=True,
            throttle=gateway.ThrottleSettings(rate_limit=500, burst_limit=1000),
        )
        _log_requests(stage, requests)

    def share_signing_key(self, engine: EngineLambda) -> None:
        """Allow another engine Lambda to sign its calls to apps."""
        engine.function.add_environment(Variable.SIGNING_KEY_SECRET.value, self.signing_key.secret_arn)
        self.signing_key.grant_read(engine.role)

    @property
    def url(self) -> str:
        return self.http.api_endpoint

    def _secret(self, construct_id: str, purpose: str) -> secrets.Secret:
        secret = secrets.Secret(
            self,
            construct_id,
            description=purpose,
            generate_secret_string=secrets.SecretStringGenerator(
                password_length=_KEY_DIGITS,
                exclude_uppercase=True,
                exclude_punctuation=True,
                exclude_characters=_NOT_HEX,
            ),
        )
        acknowledge(secret, _ROTATION)
        return secret


def _log_requests(stage: gateway.HttpStage, log_group: logs.LogGroup) -> None:
    # Set on the L1 resource: the construct's property needs an object that cannot be created from Python.
    resource = stage.node.default_child
    assert isinstance(resource, gateway.CfnStage)
    resource.access_log_settings = gateway.CfnStage.AccessLogSettingsProperty(
        destination_arn=log_group.log_group_arn, format=_LOG_FIELDS
    )


def _acknowledge_routes(routes: list[gateway.HttpRoute]) -> None:
    for route in routes:
        acknowledge(route, _OWN_KEYS)
