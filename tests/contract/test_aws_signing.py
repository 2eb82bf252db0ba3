"""Our signatures are botocore's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost_engine.adapters.aws.signing import Signer, host_of

MOMENT = datetime(2026, 11, 24, 23, 59, 58, tzinfo=UTC)

credentials = st.builds(
    Credentials,
    st.just("AKIDEXAMPLE"),
    st.text("abcXYZ019+/", min_size=1),
    st.none() | st.text("abcXYZ019+/=", min_size=1),
)
origins = st.sampled_from([
    "https://dynamodb.eu-central-1.amazonaws.com",
    "https://sqs.eu-central-1.amazonaws.com:443",
    "http://127.0.0.1:8000",
    "http://localhost:80",
    "http://[::1]:4566",
])  # fmt: skip
paths = st.just("/") | st.text(min_size=1, max_size=40).map(
    lambda name: f"/2015-03-31/functions/{quote(name, safe='', errors='replace')}/invocations"
).filter(lambda path: "/./" not in path and "/../" not in path)  # fmt: skip
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)
headers = st.dictionaries(st.sampled_from(["Content-Type", "X-Amz-Target", "X-Amz-Invocation-Type"]), values)


def expected(
    credentials: Credentials, origin: str, path: str, headers: dict[str, str], body: bytes, now: datetime
) -> str:
    """The signature by botocore's own parts; only its clock is left out."""
    request = AWSRequest("POST", origin + path, headers=dict(headers), data=body)
    request.context["timestamp"] = now.strftime("%Y%m%dT%H%M%SZ")
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    if credentials.token:
        request.headers["X-Amz-Security-Token"] = credentials.token
    auth = SigV4Auth(credentials, "dynamodb", "eu-central-1")
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


@settings(max_examples=200, deadline=None)
@given(credentials, origins, paths, headers, st.binary(max_size=200))
def test_every_signature_is_the_one_that_botocore_makes(
    credentials: Credentials, origin: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    signed = Signer("dynamodb", "eu-central-1").sign(credentials, host_of(origin), path, headers, body, MOMENT)
    assert signed["Authorization"].endswith(f"Signature={expected(credentials, origin, path, headers, body, MOMENT)}")


@pytest.mark.parametrize("other", [{"secret_key": "new"}, {"days": 1}])
def test_another_day_or_another_secret_makes_another_key(other: dict[str, object]) -> None:
    signer = Signer("dynamodb", "eu-central-1")
    origin = "https://dynamodb.eu-central-1.amazonaws.com"
    signer.sign(Credentials("A", "old"), host_of(origin), "/", {}, b"", MOMENT)
    credentials = Credentials("A", str(other.get("secret_key", "old")))
    now = MOMENT + timedelta(days=int(str(other.get("days", 0))))
    signed = signer.sign(credentials, host_of(origin), "/", {}, b"", now)
    assert signed["Authorization"].endswith(expected(credentials, origin, "/", {}, b"", now))
