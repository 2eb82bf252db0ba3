"""Webhooks through the dev server: a signed request becomes events, once, or its sender learns why not."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from samples.shop import app as sample
from samples.shop.provider import refund, signature

from milepost import App, WebhookRequest

from .served import Served, served


def noisy() -> App:
    app = App("noisy")

    @app.webhook("anything", secret="s")
    def anything(request: WebhookRequest) -> Any:
        return request.json

    return app


@pytest.fixture
def shop(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("SHOP_FOLDER", str(tmp_path))
    with served(sample.app) as server:
        yield server


def deliver(server: Served, body: bytes, header: str | None = None, name: str = "payments"):
    header = signature(body, int(time.time())) if header is None else header
    return server.ask("POST", f"/webhooks/{name}", body, **{"stripe-signature": header})


def test_a_signed_request_of_the_payment_provider_starts_the_function_that_notes_the_refund(shop: Served):
    answer = deliver(shop, refund("7", "evt_1"))
    assert answer.status_code == 200
    [event_id] = answer.json()["ids"]
    [run] = shop.ended(1, function="shop-note-refund")
    assert (run["status"], run["event_id"], run["event_name"]) == ("Completed", event_id, "payment/refunded")


def test_a_repeated_delivery_is_answered_well_and_starts_nothing_twice(shop: Served):
    for _ in range(3):
        assert deliver(shop, refund("7", "evt_1")).status_code == 200
    assert deliver(shop, refund("8", "evt_2")).status_code == 200
    runs = shop.ended(2, function="shop-note-refund")
    data = [shop.get(f"/api/runs/{run['run_id']}")["event"]["data"]["order_id"] for run in runs]
    assert sorted(data) == ["7", "8"]


def test_a_request_that_means_nothing_to_the_app_is_answered_well(shop: Served):
    body = json.dumps({"id": "evt_9", "type": "charge.updated"}).encode()
    assert deliver(shop, body).json() == {"ids": [], "status": 200}


@pytest.mark.parametrize(
    ("body", "header", "status", "said"),
    [
        (refund("7", "e"), "", 401, "stripe-signature header is missing"),
        (refund("7", "e"), "t=1,v1=00", 401, "does not match the body"),
        (refund("7", "e"), signature(refund("7", "e"), 1), 401, "more than five minutes ago"),
        (refund("7", "e"), signature(refund("8", "e"), int(time.time())), 401, "does not match the body"),
        (b"{", None, 400, "the body is not JSON"),
        (b'{"id": "e"}', None, 422, "KeyError: 'type'"),
    ],
    # Named, since one of the signatures changes with the moment of collection.
    ids=["unsigned", "forged", "late", "of another body", "not JSON", "unreadable"],
)
def test_a_sender_learns_with_a_code_why_its_request_is_refused(
    shop: Served, body: bytes, header: str | None, status: int, said: str
):
    answer = deliver(shop, body, header)
    assert (answer.status_code, answer.json()["code"]) == (status, "MP318")
    assert said in answer.json()["error"]
    assert shop.runs() == []


def test_an_unknown_webhook_is_refused_with_the_names_of_the_known_ones(shop: Served):
    answer = deliver(shop, b"{}", name="nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "MP317")
    assert "Known webhooks: 'payments'." in answer.json()["error"]


def test_a_name_that_two_apps_use_is_refused_and_both_are_named(shop: Served):
    other = App("other")
    other.webhook("payments", secret="s")(lambda _: None)
    shop.serve(other)
    answer = deliver(shop, b"{}")
    assert (answer.status_code, answer.json()["code"]) == (409, "MP317")
    assert "'other', 'shop'" in answer.json()["error"]


def test_events_before_one_that_cannot_be_accepted_are_named_and_accepted(shop: Served):
    shop.serve(noisy())
    body = json.dumps([{"name": "good"}, {"name": "bad", "ts": 5}]).encode()
    answer = shop.ask("POST", "/webhooks/anything", body, **{"x-signature": _hex(body)})
    assert (answer.status_code, answer.json()["code"], len(answer.json()["ids"])) == (422, "MP318", 1)
    assert "Webhook 'anything' of app 'noisy' returned" in answer.json()["error"]


def test_an_app_that_does_not_answer_is_reported_so_that_the_sender_retries(shop: Served):
    shop.code.apps.clear()
    answer = deliver(shop, refund("7", "evt_1"))
    assert (answer.status_code, answer.json()["code"]) == (502, "MP321")
    shop.serve(sample.app)
    assert deliver(shop, refund("7", "evt_1")).status_code == 200
    shop.ended(1, function="shop-note-refund")


def test_a_body_over_ten_megabytes_is_refused_before_it_is_read(shop: Served):
    answer = deliver(shop, b"x" * (10 * 1024 * 1024 + 1), header="t=1,v1=0")
    assert (answer.status_code, answer.json()["code"]) == (413, "MP314")


def _hex(body: bytes) -> str:
    return hmac.new(b"s", body, hashlib.sha256).hexdigest()
