"""What the Tracking API refuses, and what it drops with a 200 (T3, T4, T7). Pure.

Sizes are of the JSON as it is after gzip. Where the documents leave two readings of a
KB, each limit is one that Segment's own clients keep: 480 KiB a batch, 32 KiB an event.
"""

import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from syncd.simulator.answers import Refusal
from syncd.simulator.segment_history import CODES, EPOCH, Common, object_or_empty

MAX_BATCH_BYTES = 500_000
"""A batch of this size or more is a 400."""
MAX_EVENT_BYTES = 32 * 1024
"""An event of more is a 400."""
MAX_EVENTS = 2500
"""Events after these are dropped with a 200."""
MAX_MESSAGE_ID = 100
"""A message id of as many characters, or more, is dropped."""
MAX_TRAITS = 300
"""An identify of as many traits, or more, is dropped."""
MAX_INFLATED = 16 * 1024 * 1024
"""Nobody needs to unpack more to know that it is too much."""
NOTHING = Common({}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The events of one request, read as far as they can be read."""

    events: list[Any] = field(default_factory=list)
    common: Common = NOTHING
    sent_at: int | None = None
    """µs since 1970; None without a usable `sentAt`."""
    write_key: str | None = field(default=None, repr=False)
    """The one in the body."""
    size: int = 0
    """Bytes of the JSON."""
    largest_event: int = 0
    """Bytes; 0 where the whole request is no larger than one event may be."""
    refusal: Refusal | None = None
    """Why the whole request is a 400."""


def read_batch(raw: bytes, *, encoding: str | None, single: bool) -> Batch:
    """A request body of `/v1/batch`, or of a `single` event. Never raises."""
    try:
        body = _inflate(raw) if encoding == "gzip" else raw
        parsed = orjson.loads(body)
    except (zlib.error, orjson.JSONDecodeError):
        return Batch(size=len(raw), refusal=Refusal(400, "Malformed JSON"))
    events = [parsed] if single else object_or_empty(parsed).get("batch")
    if not isinstance(parsed, dict) or not isinstance(events, list):
        problem = Refusal(400, "batch: must be a list of events")
        return Batch(size=len(body), refusal=problem)
    largest = _largest(events, len(body))
    key, common = parsed.get("writeKey"), parsed if not single else {}
    return Batch(
        events=events,
        common=Common(
            object_or_empty(common.get("context")),
            object_or_empty(common.get("integrations")),
        ),
        sent_at=instant(parsed.get("sentAt")),
        write_key=key if isinstance(key, str) else None,
        size=len(body),
        largest_event=largest,
        refusal=_too_large(len(body), largest),
    )


def _inflate(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    body = unpacker.decompress(raw, MAX_INFLATED)
    if not unpacker.eof and not unpacker.unconsumed_tail:
        raise zlib.error("the stream has no end")
    return body


def _largest(events: list[Any], size: int) -> int:
    if size <= MAX_EVENT_BYTES:
        return 0
    return max((len(orjson.dumps(event)) for event in events), default=0)


def _too_large(size: int, largest: int) -> Refusal | None:
    if size >= MAX_BATCH_BYTES:
        return Refusal(400, f"batch: {size} bytes, must be under {MAX_BATCH_BYTES}")
    if largest > MAX_EVENT_BYTES:
        return Refusal(400, f"event: {largest} bytes, at most {MAX_EVENT_BYTES}")
    return None


def instant(text: Any) -> int | None:
    """µs since 1970 of an ISO 8601 time with a zone; None for anything else."""
    try:
        read = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    if read.tzinfo is None:
        return None
    past = read - EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


class Times:
    """Stored timestamps (T7) of one request's events, which mostly say the same."""

    def __init__(self, *, received: int, sent_at: int | None) -> None:
        self._received = received
        self._late = 0 if sent_at is None else received - sent_at
        self._known: dict[str, int | None] = {}

    def stored(self, event: dict[str, Any]) -> int | None:
        """receivedAt - (sentAt - timestamp); None where the zone is missing."""
        said = event.get("timestamp")
        if said is None:
            return self._received
        if type(said) is not str:
            return None
        if said not in self._known:
            read = instant(said)
            self._known[said] = None if read is None else read + self._late
        return self._known[said]


def drop_code(event: Any, place: int) -> int | None:
    """Why an event is dropped, apart from its time; a code of OUTCOMES."""
    if place >= MAX_EVENTS:
        return CODES["over_2500_events"]
    if type(event) is not dict or type(event.get("type")) is not str:
        return CODES["malformed"]
    if not _text(event.get("userId")) and not _text(event.get("anonymousId")):
        return CODES["no_user_or_anonymous_id"]
    message = event.get("messageId")
    if type(message) is str and len(message) >= MAX_MESSAGE_ID:
        return CODES["message_id_too_long"]
    traits = event.get("traits")
    if event["type"] == "identify" and type(traits) is dict:
        if len(traits) >= MAX_TRAITS:
            return CODES["too_many_traits"]
    return None


def _text(value: Any) -> bool:
    return type(value) is str and value != ""
