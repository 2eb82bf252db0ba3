"""The shop sample runs its stories on the wound clock, as docs/testing.md shows it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from samples.shop import services
from samples.shop.app import app

from milepost.testing import Harness


@pytest.fixture(autouse=True)
def shop_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_FOLDER", str(tmp_path))


def calls() -> list[tuple[str, str, str]]:
    return [(entry["service"], entry["what"], entry.get("key", "")) for entry in services.ledger()]


async def test_a_sign_up_starts_three_functions_and_one_that_fails_disturbs_no_other():
    async with Harness(app) as h:
        services.switch("mail", fails=True)
        await h.send("user/signed-up", {"user_id": "u1", "email": "ada@example.com"})
        runs = {run["function_id"]: run["status"] for run in await h.runs()}
        assert runs == {
            "shop-welcome-mail": "Running",
            "shop-default-project": "Completed",
            "shop-track-signup": "Completed",
        }
        services.switch("mail", fails=False)
        await h.advance("2m")
        assert {run["status"] for run in await h.runs()} == {"Completed"}
    assert sorted(calls()) == [
        ("database", "insert into projects", "u1"),
        ("database", "insert into signups", "u1"),
        ("mail", "send", "ada@example.com"),
    ]


async def test_an_order_whose_database_stays_down_fails_keeps_its_event_and_is_replayed_without_a_second_charge():
    async with Harness(app) as h:
        services.switch("database", fails=True)
        await h.send("order/created", {"order_id": "7", "cents": 100})
        await h.advance("1h")
        run = await h.only_run("shop-fulfil-order")
        assert (run["status"], run["error"]["name"]) == ("Failed", "ServiceDownError")
        assert run["event"]["data"] == {"order_id": "7", "cents": 100}
        tries = next(span for span in run["trace"] if span["name"] == "create fulfilment")["attempts"]
        assert [tried["status"] for tried in tries] == ["Failed"] * 5
        moments = [datetime.fromisoformat(tried["started_at"]) for tried in tries]
        waits = [(after - before).total_seconds() for before, after in itertools.pairwise(moments)]
        # With some jitter.
        assert all(wanted * 0.7 <= waited <= wanted * 1.3 for wanted, waited in zip((2, 4, 8, 16), waits, strict=True))
        services.switch("database", fails=False)
        again = await h.replay(run["run_id"], from_step="create fulfilment")
        replayed = next(run for run in await h.runs("shop-fulfil-order") if run["run_id"] == again.run_id)
        assert (replayed["status"], replayed["origin_run_id"]) == ("Completed", run["run_id"])
    assert [call for call in calls() if call[0] == "payment"] == [("payment", "charge", "7")]


async def test_a_cancelled_order_is_not_sent():
    async with Harness(app) as h:
        services.switch("database", fails=True)
        await h.send("order/created", {"order_id": "7"})
        await h.send("order/cancelled", {"order_id": "8"})
        assert (await h.only_run("shop-fulfil-order"))["status"] == "Running"
        await h.send("order/cancelled", {"order_id": "7"})
        services.switch("database", fails=False)
        await h.advance("1h")
        assert (await h.only_run("shop-fulfil-order"))["status"] == "Cancelled"
    assert ("mail", "send", "customer@example.com") not in calls()


async def test_the_report_is_mailed_every_day_at_eight_in_paris_before_and_after_the_clocks_change():
    async with Harness(app, start=datetime(2026, 3, 28, 0, 0, tzinfo=UTC)) as h:
        await h.advance("2d")
        runs = await h.runs("shop-daily-report")
        assert [run["queued_at"] for run in reversed(runs)] == ["2026-03-28T07:00:00.000Z", "2026-03-29T06:00:00.000Z"]
        assert all([span["name"] for span in run["trace"]] == ["count orders", "mail report"] for run in runs)


async def test_a_review_is_asked_for_once_the_order_is_delivered_and_two_checks_run_side_by_side():
    async with Harness(app) as h:
        await h.send("order/created", {"order_id": "7"})
        checked = await h.only_run("shop-check-order")
        assert sorted(span["name"] for span in checked["trace"]) == ["check fraud", "reserve stock"]
        await h.advance("1m")
        await h.send("order/delivered", {"order_id": "7"})
        asked = await h.only_run("shop-ask-for-review")
        mailed = await h.only_run("shop-send-review-mail")
        assert (asked["status"], asked["output"]) == ("Completed", "mail-send-customer@example.com")
        assert mailed["parent"]["run_id"] == asked["run_id"]
        await h.send("order/created", {"order_id": "8"})
        await h.advance("1h")
        late = next(run for run in await h.runs("shop-ask-for-review") if run["event"]["data"]["order_id"] == "8")
        assert late["output"] == "never delivered"
