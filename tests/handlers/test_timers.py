"""The one-minute tick on AWS: timers move to the work queue, cron lines fire, stuck runs are found."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from milepost import App, Cron, SyncContext
from milepost_engine.store.messages import DoJob, MessageSender, parse
from milepost_handlers.timers import handler

from .conftest import Context, World

RULE = {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}


def test_a_timer_that_is_due_soon_is_moved_with_the_rest_of_its_delay(world: World):
    here = world.here
    queue, random_source = here.engine.sender._queue, here.engine.random_source
    sender = MessageSender(queue, here.table, here.clock, random_source, longest_delay_seconds=0)
    job = DoJob("01JN0000000000000000000000", "a-f", job="x")
    here.run(sender.send_at(job, here.clock.now() + timedelta(seconds=1)))
    handler(RULE, Context())
    [message] = world.receive(world.work_url, wait_seconds=5)
    moved = parse(json.loads(message["Body"]))
    assert isinstance(moved, DoJob)
    assert replace(moved, message_id="") == job


def test_a_cron_line_starts_its_function_within_the_look_ahead(world: World):
    app = App("shop")

    @app.function(id="report", trigger=Cron("* * * * *"))
    def report(ctx: SyncContext) -> str:
        return "done"

    world.serve(app)
    handler(RULE, Context())
    attributes = world.client("sqs").get_queue_attributes(QueueUrl=world.work_url, AttributeNames=["All"])["Attributes"]
    waiting = int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesDelayed"])
    assert waiting in {1, 2}


def test_a_second_tick_in_the_same_minute_sends_nothing_again(world: World):
    app = App("shop")

    @app.function(id="report", trigger=Cron("0 0 1 1 *"))
    def report(ctx: SyncContext) -> str:
        return "done"

    world.serve(app)
    handler(RULE, Context())
    handler(RULE, Context())
    assert world.receive(world.work_url) == []
