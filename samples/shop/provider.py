"""The other side of the webhook: a payment provider that signs its requests like Stripe.

    python -m samples.shop.provider refund 7
    python -m samples.shop.provider refund 7 --url http://127.0.0.1:8289 --id evt_1

The same --id again is a repeated delivery, which starts no second run.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request
import uuid

SECRET = os.environ.get("SHOP_WEBHOOK_SECRET", "whsec_for_the_sample_only")
"""Shared by both sides. A real app has its own: `@app.webhook(…, secret_env="STRIPE_WEBHOOK_SECRET")`."""


def signature(body: bytes, at: int, secret: str = SECRET) -> str:
    """The value of the `stripe-signature` header; `at` in seconds since 1970."""
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def refund(order_id: str, delivery_id: str) -> bytes:
    """The body of a refund notification."""
    charge = {"object": "charge", "metadata": {"order_id": order_id}}
    return json.dumps({"id": delivery_id, "type": "charge.refunded", "data": {"object": charge}}).encode()


def main() -> int:
    """Send a webhook request; exit code 1 when it is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["refund"])
    parser.add_argument("order_id")
    parser.add_argument("--url", default=os.environ.get("MILEPOST_URL", "http://127.0.0.1:8288"))
    parser.add_argument("--id", default=f"evt_{uuid.uuid4().hex}", help="id of the delivery")
    given = parser.parse_args()
    body = refund(given.order_id, given.id)
    headers = {"content-type": "application/json", "stripe-signature": signature(body, int(time.time()))}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{given.url}/webhooks/payments", body, headers)) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as refused:
        print(refused.read().decode())
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
