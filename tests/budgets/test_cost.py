"""A run takes no more calls than its budget, and the page about costs tells what was counted.

Counted on Amazon's DynamoDB Local by the capacity that it reports, over the engine in batches of ten (`bench.load`).
"""

from __future__ import annotations

import pytest
from bench.cost import MODES, PAGE, Counts, counted, dollars, others, page

from tests.contract.conftest import dynamodb_endpoint

__all__ = ["dynamodb_endpoint"]

pytestmark = pytest.mark.dynamodb_local

STEPS = 3


@pytest.fixture
async def counts(dynamodb_endpoint: str) -> dict[str, Counts]:
    return await counted(dynamodb_endpoint, runs=20)


async def test_a_run_takes_no_more_calls_than_its_budget(counts: dict[str, Counts]):
    for mode in MODES:
        count = counts[mode]
        # The run's start, the claim on it, its end, a write for each step, and one for the event.
        assert count["write units"] <= STEPS + 3 + 1, mode
        # Ten runs share one invocation of the orchestrator, from their first step to their last.
        assert count["orchestrator invocations"] <= 0.1, mode
        assert count["intake invocations"] <= 0.1, mode
        # One by EventBridge for each event; what ten runs are started with is sent, received and deleted together.
        assert count["sqs requests"] <= 1.5, mode
    assert counts["step"]["user invocations"] == STEPS
    assert counts["checkpoint"]["user invocations"] == 1


async def test_a_million_runs_cost_no_more_than_their_budget(counts: dict[str, Counts]):
    for mode, most in (("step", 9.0), ("checkpoint", 9.0)):
        assert sum(dollars(counts[mode]).values()) <= most, mode
        assert sum(dollars(counts[mode]).values()) < min(others().values()) / 3, mode


async def test_the_page_about_costs_tells_what_was_counted(counts: dict[str, Counts]):
    assert PAGE.read_text() == page(counts), "run `make bench-cost`"
