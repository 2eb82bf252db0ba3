"""The wire contract between engine and SDK: words, limits, ids, durations and signatures.

Both sides import it from here, so that they cannot drift apart. The rules are those of the open Inngest SDK protocol;
what Milepost adds is marked "extension" and ignored by other implementations. Its names keep the word `inngest` on the
wire (the headers `x-inngest-…`, the events `inngest/…`, the key `_inngest`): they are part of the protocol, so that
apps written with an Inngest SDK run on this engine, and this SDK answers other servers of the protocol too.

Laws: standard library only, no I/O, no clock.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Final

__all__ = [
    "COMPLETE_ID",
    "DISCOVERY",
    "EVENTBRIDGE_SOURCE",
    "EXTENSION",
    "LAMBDA_API_ID",
    "MAX_CHAIN_CEILING",
    "MAX_CHAIN_DEFAULT",
    "MAX_EVENTS_PER_REQUEST",
    "MAX_EVENT_BYTES",
    "MAX_EVENT_NAME_CHARS",
    "MAX_NESTING",
    "MAX_OPEN_DAYS",
    "MAX_RESPONSE_BYTES",
    "MAX_RETENTION_DAYS",
    "MAX_RETRIES",
    "MAX_RETRY_AFTER",
    "MAX_STATE_BYTES",
    "MAX_STEPS_CEILING",
    "MAX_STEPS_DEFAULT",
    "MAX_STEP_OUTPUT_BYTES",
    "MIN_RETENTION_DAYS",
    "REQUEST_VERSION",
    "SIGNATURE_WINDOW_SECONDS",
    "ULID_LETTERS",
    "EventName",
    "Header",
    "Opcode",
    "Request",
    "Response",
    "bearer",
    "format_duration",
    "hash_step_id",
    "nests_deeper",
    "next_millisecond",
    "normalize_key",
    "parse_duration",
    "seeded_ulid",
    "sign",
    "ulid",
    "verify",
]

DISCOVERY: Final = "step"
"""Target of a call that discovers new steps; any other target is the hashed id of one planned step."""

EVENTBRIDGE_SOURCE: Final = "milepost"
"""Source of the EventBridge entries in which this SDK sends whole events (extension)."""

MAX_EVENT_BYTES: Final = 3 * 1024 * 1024
"""Largest event, as JSON."""
MAX_EVENTS_PER_REQUEST: Final = 5000
MAX_EVENT_NAME_CHARS: Final = 512
MAX_NESTING: Final = 100
"""Levels of arrays and objects in an event's data or a result. Their envelope (a queue message, a call, the event that
reports the end of a run) adds more, and JSON readers stop at 200."""
MAX_STEP_OUTPUT_BYTES: Final = 4 * 1024 * 1024
"""Largest result of a step or function, as JSON."""
MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024
"""Largest body of an app's response to a call."""
MAX_STATE_BYTES: Final = 32 * 1024 * 1024
EXTENSION: Final = "milepost"
"""The key of Milepost's own fields, in calls, manifests and events; other servers and SDKs ignore it."""
LAMBDA_API_ID: Final = "milepost"
"""The API id in the events with which the engine invokes a Lambda (extension). AWS sets that of its own requests."""
MAX_CHAIN_DEFAULT: Final = 50
MAX_CHAIN_CEILING: Final = 1_000_000
"""Limits on a chain of events in which each started a run that sent the next."""
MAX_STEPS_DEFAULT: Final = 10_000
MAX_STEPS_CEILING: Final = 100_000
MAX_RETRIES: Final = 20
"""Most retries of a step or function, after its first attempt."""
MAX_RETRY_AFTER: Final = timedelta(hours=24)
"""Longest delay before a retry that code can request."""
MAX_OPEN_DAYS: Final = 366
"""Longest sleep or wait."""
MIN_RETENTION_DAYS: Final = 1
MAX_RETENTION_DAYS: Final = 366
REQUEST_VERSION: Final = "2"
"""Version of the call format that the SDK speaks (§2.8: the server joins parallel steps)."""
SIGNATURE_WINDOW_SECONDS: Final = 300
"""How far the time of a signature may be from the verifier's clock, either way."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, independent of its transport.

    Args:
        method: `"PUT"`, `"GET"` or `"POST"`.
        query: Query parameters; of a repeated one, the last.
        headers: Headers, with names in lower case.
        body: The bytes as received: signatures cover them.
        url: Address of the app without the query, for registration; may be empty.
    """

    method: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response, independent of its transport. Header names are lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class Opcode(StrEnum):
    """The kinds of op that an invocation reports."""

    __hash__ = str.__hash__  # the enum's own is Python code, and every lookup by opcode calls it

    STEP_RUN = "StepRun"
    STEP_ERROR = "StepError"
    STEP_FAILED = "StepFailed"
    STEP_PLANNED = "StepPlanned"
    SLEEP = "Sleep"
    WAIT_FOR_EVENT = "WaitForEvent"
    INVOKE_FUNCTION = "InvokeFunction"
    RUN_COMPLETE = "RunComplete"
    DISCOVERY_REQUEST = "DiscoveryRequest"
    NONE = "None"

    @classmethod
    def parse(cls, word: str) -> Opcode | None:
        """The opcode for a word of the wire, in upper or lower case; None if Milepost does not know it."""
        return _OPCODES.get(word.lower())


_OPCODES: Final = {op.value.lower(): op for op in Opcode} | {"step": Opcode.STEP_RUN}


class Header(StrEnum):
    """HTTP headers, in lower case as in Lambda events."""

    AUTHORIZATION = "authorization"
    CONTENT_TYPE = "content-type"
    SDK = "x-inngest-sdk"
    SIGNATURE = "x-inngest-signature"
    SERVER_KIND = "x-inngest-server-kind"
    EXPECTED_SERVER_KIND = "x-inngest-expected-server-kind"
    SYNC_KIND = "x-inngest-sync-kind"
    REQUEST_VERSION = "x-inngest-req-version"
    NO_RETRY = "x-inngest-no-retry"
    RETRY_AFTER = "retry-after"
    CLAIM = "x-milepost-claim"
    """The claim under which a call is made (extension): saved steps must name it."""
    RUN_ID = "x-run-id"
    REQUEST_ID = "x-request-id"
    EVENT_ID_SEED = "x-inngest-event-id-seed"
    FRAMEWORK = "x-inngest-framework"
    ENV = "x-inngest-env"


class EventName(StrEnum):
    """Events that the engine publishes. Their prefix is reserved: users cannot send events with it."""

    FAILED = "inngest/function.failed"
    FINISHED = "inngest/function.finished"
    CANCELLED = "inngest/function.cancelled"
    INVOKED = "inngest/function.invoked"
    CRON = "inngest/scheduled.timer"


@functools.lru_cache(maxsize=4096)
def hash_step_id(name: str, index: int = 0) -> str:
    """The wire id of the `index`-th use (from 0) of a step name: lower-case hex SHA-1."""
    text = name if index == 0 else f"{name}:{index}"
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


_BRACKETS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b'[{]}"'))


def nests_deeper(text: bytes, levels: int = MAX_NESTING) -> bool:
    """Whether the arrays and objects of a JSON text nest more than `levels` deep.

    Called for each result: most have fewer brackets than `levels`; for the rest this is cheaper than parsing.
    """
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = text.translate(_BRACKETS, _NO_BRACKETS).replace(b'""', b"")
    if b'"' in marks:
        # Brackets inside strings do not count.
        marks = b"".join(marks.split(b'"')[::2])
    # As signed bytes, an opening bracket is 1 and a closing one -1.
    return max(accumulate(array("b", marks)), default=0) > levels


ULID_LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(first + second for first in ULID_LETTERS for second in ULID_LETTERS)
_SHIFTS: Final = tuple(range(120, -1, -10))
_LAST_MS: Final = 2**48 - 1


def ulid(milliseconds: int, entropy: bytes) -> str:
    """A ULID of 26 characters: 48 bits of time, then 80 bits of `entropy` (ten bytes)."""
    number = (min(max(milliseconds, 0), _LAST_MS) << 80) | int.from_bytes(entropy[:10], "big")
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def seeded_ulid(seed_ms: int, seed: bytes, position: int) -> str:
    """The id of the `position`-th event (from 1) of a request with an event id seed (protocol §3.1)."""
    tail = (int.from_bytes(seed[6:10], "big") + position) & 0xFFFFFFFF
    return ulid(seed_ms, seed[:6] + tail.to_bytes(4, "big"))


COMPLETE_ID: Final = hash_step_id("complete")
"""Id of the op that ends a run."""


_UNIT_MS: Final = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|w|d|h|m|s)")


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `"90s"`, `"1h30m"` or `"1w2d"`; units w d h m s ms, in any order.

    Raises ValueError, which quotes the text, for anything else.
    """
    total, end = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != end:
            break
        total += float(match[1]) * _UNIT_MS[match[2]]
        end = match.end()
    if not text or end != len(text):
        raise ValueError(f"{text!r} is not a duration: write it like '30s', '5m', '1h30m', '7d' (units w d h m s ms)")
    try:
        return timedelta(milliseconds=round(total))
    except OverflowError:
        raise ValueError(f"{text!r} is too long for a duration") from None


def next_millisecond(moment: datetime) -> datetime:
    """The moment, or the next whole millisecond: the wire has milliseconds, and nothing is to come early."""
    return moment + timedelta(microseconds=-moment.microsecond % 1000)


def format_duration(duration: timedelta) -> str:
    """The text of a duration, rounded to milliseconds, largest units first; a negative one is `0s`."""
    left = max(0, round(duration / timedelta(milliseconds=1)))
    parts: list[str] = []
    for unit, size in _UNIT_MS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


_KEY_PREFIX: Final = re.compile(r"^signkey-\w+-")


def normalize_key(key: str) -> str:
    """A signing key without its `signkey-<env>-` prefix."""
    return _KEY_PREFIX.sub("", key)


def bearer(key: str) -> str:
    """The authorization header of a request from SDK to server: a hash, so that the key itself is never sent."""
    prefix = _KEY_PREFIX.match(key)
    bare = normalize_key(key)
    try:
        raw = bytes.fromhex(bare)
    except ValueError:
        # Other implementations require hex; here a key that is not hex is hashed as text.
        raw = bare.encode()
    return f"Bearer {prefix[0] if prefix else ''}{hashlib.sha256(raw).hexdigest()}"


def sign(key: str, body: bytes, now: datetime) -> str:
    """The signature header for a body: HMAC-SHA256 of the body followed by the decimal Unix seconds."""
    seconds = str(int(now.timestamp()))
    digest = hmac.new(normalize_key(key).encode(), body + seconds.encode(), hashlib.sha256).hexdigest()
    return f"t={seconds}&s={digest}"


def verify(key: str, body: bytes, header: str, now: datetime) -> bool:
    """Whether a signature header is valid for a body and within five minutes of `now`; compared in constant time."""
    fields = dict(part.split("=", 1) for part in header.split("&") if "=" in part)
    seconds, given = fields.get("t", ""), fields.get("s", "")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 12):
        return False
    digest = hmac.new(normalize_key(key).encode(), body + seconds.encode(), hashlib.sha256).hexdigest()
    fresh = abs(now.timestamp() - int(seconds)) <= SIGNATURE_WINDOW_SECONDS
    return hmac.compare_digest(digest.encode(), given.encode("utf-8", "replace")) and fresh
