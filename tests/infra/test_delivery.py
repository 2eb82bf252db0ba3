"""What the template promises about messages and events: nothing is lost on the way."""

from __future__ import annotations

import json

from .rig import Synthesised, listed


def queues_with_consumers(made: Synthesised):
    functions = made.all("AWS::Lambda::Function")
    for mapping in made.all("AWS::Lambda::EventSourceMapping").values():
        yield mapping["EventSourceArn"]["Fn::GetAtt"][0], functions[mapping["FunctionName"]["Ref"]], mapping


def dead_letter_queues(made: Synthesised) -> set[str]:
    redriven = [
        q["RedrivePolicy"]["deadLetterTargetArn"] for q in made.all("AWS::SQS::Queue").values() if "RedrivePolicy" in q
    ]
    targets = [
        t.get("DeadLetterConfig", {}).get("Arn") for r in made.all("AWS::Events::Rule").values() for t in r["Targets"]
    ]
    return {arn["Fn::GetAtt"][0] for arn in [*redriven, *targets] if arn}


def test_every_queue_that_a_lambda_reads_has_a_dead_letter_queue(plain):
    queues = plain.all("AWS::SQS::Queue")
    read = [name for name, _, _ in queues_with_consumers(plain)]
    assert len(read) == 2
    assert all(queues[name]["RedrivePolicy"]["maxReceiveCount"] == 10 for name in read)


def test_every_queue_is_read_by_a_lambda_or_holds_dead_letters(full):
    read = {name for name, _, _ in queues_with_consumers(full)}
    assert read | dead_letter_queues(full) == set(full.all("AWS::SQS::Queue"))


def test_a_message_stays_hidden_for_six_times_its_consumers_time_out(full):
    queues = full.all("AWS::SQS::Queue")
    for name, function, _ in queues_with_consumers(full):
        assert queues[name]["VisibilityTimeout"] >= 6 * function["Timeout"]


def test_queues_keep_messages_for_as_long_as_sqs_can_and_are_encrypted(full):
    for queue in full.all("AWS::SQS::Queue").values():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
        assert queue["SqsManagedSseEnabled"] is True


def test_a_batch_gives_back_only_the_messages_that_failed(plain):
    for _, _, mapping in queues_with_consumers(plain):
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 10
        assert mapping["ScalingConfig"] == {"MaximumConcurrency": 50}


def test_each_lambda_may_receive_and_delete_from_the_queue_that_it_reads(plain):
    for name, function, _ in queues_with_consumers(plain):
        role = function["Role"]["Fn::GetAtt"][0]
        allowed = {
            action
            for statement in plain.statements(role)
            if statement["Resource"] == {"Fn::GetAtt": [name, "Arn"]}
            for action in listed(statement["Action"])
        }
        assert {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"} <= allowed


def test_every_event_of_the_bus_goes_to_the_intake_queue_and_is_tried_for_a_day(plain):
    (rule,) = [r for r in plain.all("AWS::Events::Rule").values() if "EventPattern" in r]
    (target,) = rule["Targets"]
    intake = next(name for name, f, _ in queues_with_consumers(plain) if "intake" in f["Handler"])
    assert rule["EventPattern"] == {"source": [{"prefix": ""}]}
    assert target["Arn"] == {"Fn::GetAtt": [intake, "Arn"]}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 24 * 3600, "MaximumRetryAttempts": 185}


def test_each_rule_may_send_to_its_queue_and_to_its_dead_letters_and_no_other_rule_may(plain):
    policies = plain.all("AWS::SQS::QueuePolicy").values()
    for name, rule in plain.all("AWS::Events::Rule").items():
        for target in rule["Targets"]:
            wanted = [
                arn["Fn::GetAtt"][0] for arn in (target["Arn"], target.get("DeadLetterConfig", {}).get("Arn")) if arn
            ]
            for queue in (one for one in wanted if one in plain.all("AWS::SQS::Queue")):
                (policy,) = [p for p in policies if p["Queues"] == [{"Ref": queue}]]
                (allow,) = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
                assert "sqs:SendMessage" in listed(allow["Action"])
                assert allow["Principal"] == {"Service": "events.amazonaws.com"}
                assert allow["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": [name, "Arn"]}}}


def test_queues_and_bucket_refuse_calls_without_tls(full):
    documents = [
        p["PolicyDocument"]
        for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy")
        for p in full.all(kind).values()
    ]
    assert len(documents) == 6
    for document in documents:
        (deny,) = [s for s in document["Statement"] if s["Effect"] == "Deny"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_timers_tick_every_minute(plain):
    (rule,) = [r for r in plain.all("AWS::Events::Rule").values() if "ScheduleExpression" in r]
    function = plain.all("AWS::Lambda::Function")[rule["Targets"][0]["Arn"]["Fn::GetAtt"][0]]
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["State"] == "ENABLED"
    assert "timers" in function["Handler"]
    assert function["Timeout"] < 60, "ticks do not overlap"


def test_events_of_the_default_bus_are_fed_by_a_rule_of_their_own(tmp_path):
    from aws_cdk import App  # noqa: PLC0415
    from aws_cdk import aws_events as events  # noqa: PLC0415

    from .rig import make, synthesised  # noqa: PLC0415

    def write(app: App):
        made = make(tmp_path, app=app)
        made.milepost.feed("Uploads", events.EventPattern(source=["aws.s3"], detail_type=["Object Created"]))
        return made

    rules = synthesised(write).all("AWS::Events::Rule").values()
    (rule,) = [r for r in rules if "aws.s3" in json.dumps(r.get("EventPattern", {}))]
    assert "EventBusName" not in rule
