"""Webhooks of an app: which requests are accepted, and which events they become."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from milepost import App, Event, NewEvent, Webhook, WebhookRequest
from milepost.errors import ConfigError
from milepost.middleware import Middleware
from milepost.serving import Request, Response

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECRET = "whsec_first"
BODY = json.dumps({"id": "evt_1", "type": "charge.refunded", "order": "7"}).encode()


class Refund(BaseModel):
    order: str


refunded = Event("payment/refunded", Refund)


def hexed(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def stripe(body: bytes = BODY, at: datetime = NOW, secret: str = SECRET) -> str:
    moment = int(at.timestamp())
    return f"t={moment},v1={hexed(f'{moment}.'.encode() + body, secret)}"


def app_with(handler: Any = None, **options: Any) -> App:
    app = App("shop", dev=False, now=lambda: NOW, middleware=options.pop("middleware", ()))

    def refund(request: WebhookRequest) -> NewEvent[Refund]:
        return refunded.create(Refund(order=request.json["order"]))

    options = {"provider": "stripe", "secret": SECRET} | options
    app.webhook("payments", **options)(handler or refund)
    return app


async def post(
    app: App, header: str | None, body: bytes = BODY, name: str = "stripe-signature", **more: str
) -> Response:
    headers = more | ({name: header} if header is not None else {})
    return await app.handle(Request("POST", {"webhook": "payments"}, headers, body))


def body_of(response: Response) -> Any:
    return json.loads(response.body)


async def test_a_rightly_signed_request_becomes_the_events_that_the_users_code_makes() -> None:
    response = await post(app_with(), stripe())
    assert response.status == 200
    assert body_of(response)["events"] == [
        {"id": "shop/payments/evt_1/0", "name": "payment/refunded", "data": {"order": "7"}}
    ]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "t=,v1=",
        "t=١٢٣,v1=00",
        f"v1={hexed(BODY)}",
        f"t={int(NOW.timestamp())}",
        f"t={int(NOW.timestamp())},v1=é",
        f"t={int(NOW.timestamp())},v1={hexed(BODY)}",
        f"t={int(NOW.timestamp())},v0={stripe().partition('v1=')[2]}",
        stripe(secret="whsec_other"),
        stripe(body=BODY + b" "),
        stripe(at=NOW - timedelta(seconds=301)),
        stripe(at=NOW + timedelta(seconds=301)),
    ],
)
async def test_a_request_whose_signature_is_missing_wrong_or_old_never_reaches_the_users_code(
    header: str | None,
) -> None:
    reached: list[WebhookRequest] = []
    response = await post(app_with(reached.append), header)
    assert (response.status, body_of(response)["code"], reached) == (401, "webhook_signature", [])
    assert "webhook 'payments' of app 'shop'" in body_of(response)["message"]
    assert "stripe-signature" in body_of(response)["message"]


@pytest.mark.parametrize("seconds", [-300, 0, 300])
async def test_a_signature_is_good_for_five_minutes_both_ways(seconds: int) -> None:
    assert (await post(app_with(), stripe(at=NOW + timedelta(seconds=seconds)))).status == 200


async def test_one_good_signature_of_several_is_enough_because_senders_rotate_their_secrets_too() -> None:
    moment = stripe().partition(",")[0]
    both = f"{moment},v1={'0' * 64},{stripe().partition(',')[2]}"
    assert (await post(app_with(), both)).status == 200


async def test_while_a_secret_is_replaced_both_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with(secret=None, secret_env="PAYMENTS_SECRET")
    monkeypatch.setenv("PAYMENTS_SECRET", "whsec_new, whsec_first")
    assert (await post(app, stripe())).status == 200
    monkeypatch.setenv("PAYMENTS_SECRET", "whsec_new")
    assert (await post(app, stripe())).status == 401


@pytest.mark.parametrize("secrets", [None, "", " , "])
async def test_without_a_secret_requests_are_rejected_and_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, secrets: str | None
) -> None:
    monkeypatch.delenv("PAYMENTS_SECRET", raising=False)
    if secrets is not None:
        monkeypatch.setenv("PAYMENTS_SECRET", secrets)
    response = await post(app_with(secret=None, secret_env="PAYMENTS_SECRET"), stripe(secret=""))
    assert (response.status, body_of(response)["code"]) == (500, "webhook_secret_missing")
    assert "set PAYMENTS_SECRET" in body_of(response)["message"]


async def test_github_signs_the_body_and_names_its_deliveries() -> None:
    app = app_with(provider="github")
    header = f"sha256={hexed(BODY)}"
    more = {"x-github-delivery": "d-9"}
    response = await post(app, header, BODY, "x-hub-signature-256", **more)
    assert [event["id"] for event in body_of(response)["events"]] == ["shop/payments/d-9/0"]
    assert (await post(app, header, BODY + b" ", name="x-hub-signature-256")).status == 401


@pytest.mark.parametrize("header", [hexed(BODY), f"sha256={hexed(BODY)}", hexed(BODY).upper()])
async def test_a_generic_signature_is_hmac_in_hex_under_a_header_of_your_choice(header: str) -> None:
    response = await post(app_with(provider="generic", header="X-Acme-Sign"), header, name="x-acme-sign")
    assert response.status == 200
    # A sender that does not name its deliveries cannot be recognised when it repeats one.
    assert "id" not in body_of(response)["events"][0]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"order": NaN}', b"[" * 100_000])
async def test_a_signed_body_that_is_no_json_is_refused(body: bytes) -> None:
    response = await post(app_with(), stripe(body), body)
    assert (response.status, body_of(response)["code"]) == (400, "webhook_unreadable")
    assert "the body is not JSON" in body_of(response)["message"]


async def test_what_the_users_code_raises_refuses_the_request_so_that_the_sender_repeats_it() -> None:
    body = b'{"id": "evt_2"}'
    response = await post(app_with(), stripe(body), body)
    assert (response.status, body_of(response)["code"]) == (422, "webhook_unreadable")
    assert "KeyError: 'order'" in body_of(response)["message"]


@pytest.mark.parametrize("made", ["text", b"bytes", 7, [7], {"data": {}}, {"name": "inngest/function.failed"}])
async def test_a_result_that_is_not_an_event_is_refused(made: object) -> None:
    assert (await post(app_with(lambda _: made), stripe())).status == 422


async def test_code_may_be_async_and_make_none_one_or_several_events() -> None:
    async def handler(request: WebhookRequest) -> Any:
        return {"none": None, "one": {"name": "a"}, "two": [{"name": "a", "id": "mine"}, {"name": "b"}]}[
            request.json["make"]
        ]

    app = app_with(handler)
    made = {}
    for what in ("none", "one", "two"):
        body = json.dumps({"id": "evt_3", "make": what}).encode()
        made[what] = [event["id"] for event in body_of(await post(app, stripe(body), body))["events"]]
    assert made == {
        "none": [],
        "one": ["shop/payments/evt_3/0"],
        "two": ["mine", "shop/payments/evt_3/1"],
    }


async def test_middleware_changes_the_events_of_webhooks_as_it_does_sent_ones() -> None:
    class Stamp(Middleware):
        def before_send_events(self, events: Any) -> Any:
            return [{**event, "data": {**event["data"], "tenant": 3}} for event in events]

    response = await post(app_with(middleware=[Stamp()]), stripe())
    assert body_of(response)["events"][0]["data"] == {"order": "7", "tenant": 3}


async def test_a_webhook_that_the_app_does_not_have_is_named() -> None:
    response = await App("shop", dev=False).handle(Request("POST", {"webhook": "payments"}, {}, BODY))
    assert (response.status, body_of(response)["code"]) == (404, "webhook_not_found")
    assert "no webhook 'payments'" in body_of(response)["message"]


def test_the_registration_names_the_webhooks_only_where_there_are_some() -> None:
    assert app_with().manifest("http://x")["webhooks"] == ["payments"]
    assert "webhooks" not in App("shop").manifest("http://x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"provider": "paypal"}, "provider 'paypal'"),
        ({"secret": None}, "needs either secret_env"),
        ({"secret_env": "X"}, "needs either secret_env"),
        ({"header": "x-mine"}, "'stripe' uses its own"),
    ],
)
def test_an_invalid_webhook_is_refused_at_import_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match="webhook 'payments' of app 'shop'") as refused:
        app_with(**options)
    assert said in str(refused.value)


def test_names_of_webhooks_are_ids_and_differ() -> None:
    app = app_with()
    with pytest.raises(ConfigError, match="two webhooks with the name 'payments'"):
        app.webhook("payments", secret=SECRET)(lambda _: None)
    with pytest.raises(ConfigError, match="a/b"):
        app.webhook("a/b", secret=SECRET)(lambda _: None)


def test_the_decorated_name_is_the_webhook() -> None:
    app = App("shop")

    @app.webhook("payments", secret=SECRET)
    def payments(request: WebhookRequest) -> None: ...

    assert isinstance(payments, Webhook)
    assert payments.what == "webhook 'payments' of app 'shop'"
