"""A user's Lambda dies in the middle of a step: the step is tried again, what stood before it is kept."""

from __future__ import annotations

import pytest

from .cloud import Cloud

pytestmark = pytest.mark.emulator


# The emulator reports no exit status and no signal; how AWS words them is tried in tests/handlers.
GONE = "exited before returning a response"


@pytest.mark.parametrize(("how", "said"), [("exit", GONE), ("memory", GONE), ("timeout", "timed out after 3")])
def test_a_lambda_that_dies_in_a_step_costs_an_attempt_and_nothing_else(cloud: Cloud, how: str, said: str):
    name = f"fall-by-{how}"
    cloud.send("trial/crash", {"name": name, "how": how})
    run = cloud.ended("trials-crash", name)
    assert (run["status"], run["output"]) == ("Completed", f"stood up after {how}")
    assert cloud.tries(name) == 2
    assert cloud.tries(f"{name}-before") == 1
    messages = [
        attempt["error"]["message"] for span in run["trace"] for attempt in span["attempts"] if attempt["error"]
    ]
    assert len(messages) == 1
    assert said in messages[0]
