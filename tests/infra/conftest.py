"""Two stacks, synthesised once: what a user gets without asking, and all that can be asked for."""

from __future__ import annotations

import pytest
from aws_cdk import Stack
from aws_cdk import aws_sns as sns

from .rig import Made, Synthesised, make, synthesised


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    return synthesised(lambda app: make(tmp_path_factory.mktemp("plain"), app=app))


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    def everything(app) -> Made:
        topic = sns.Topic.from_topic_arn(Stack(app, "Elsewhere"), "Topic", "arn:aws:sns:eu-west-1:123456789012:ops")
        return make(tmp_path_factory.mktemp("full"), app=app, api=True, tracing=True, alarm_topic=topic)

    return synthesised(everything)
