"""Segment's identify events: one per person, valid before they leave. Pure.

From contract/segment.md T3 (shape), T4 (limits), T6 (`messageId`), T7 (times), A2 to A4
(trait and context). Segment answers 200 to much of what it throws away, so whatever it
would drop must be found here; no byte of such a body may be sent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import orjson

from syncd import __version__
from syncd.clients.integration import CONTEXT
from syncd.errors import DeliveryError, Fault

MAX_EVENT_BYTES = 32 * 1024
"""Of one event, as Segment's own clients count (contract T5)."""
MAX_BODY_BYTES = 500 * 1000 - 1
"""Of a whole body. "500 KB" read strictly: thousands of bytes, and less than that."""
MAX_EVENTS = 2_500
"""Event no. 2,501 of a batch is answered 200 and thrown away."""
MAX_MESSAGE_ID = 99
"""Characters. Longer ones are dropped without a word."""

_EVENT = b'{"type":"identify","userId":%b,"messageId":"%b",%b'
"""User id as JSON, `messageId`, and what everybody's event ends with."""
_LIBRARY = {"library": {"name": "syncd", "version": __version__}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifies:
    """What a batch of events says; the same of everybody in it."""

    plan_id: str
    """The plan that made the transition (`Batch.plan_id`)."""
    sync: str
    trait: str
    """Its name, which is the target."""
    value: bool
    """True on entry, false on exit."""
    at: datetime | None
    """When the change was planned; the events' `timestamp`. None is when it is sent."""
    integrations: Mapping[str, bool]
    """Which destinations of Segment get the events; names are case-sensitive."""


def body_of(
    identifies: Identifies, ids: Sequence[bytes], *, sent_at: datetime
) -> bytes:
    """The body of `POST /v1/batch`. Raises `DeliveryError` if Segment would drop it.

    `TOO_LARGE`: fewer people would do. `BAD_IDS`: some id makes an event that can never
    be valid. `REFUSED`: no event of this sync can, whoever it is about.
    """
    at = identifies.at or sent_at
    _require_valid(identifies.trait, at)
    if len(ids) > MAX_EVENTS:
        raise _too_large(f"{len(ids)} events are more than {MAX_EVENTS}")
    head = orjson.dumps({"sentAt": iso(sent_at), "context": _LIBRARY})
    events = b",".join(_events(identifies, at, ids))
    body = b'%b,"batch":[%b]}' % (head.removesuffix(b"}"), events)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(f"{len(body)} bytes are more than {MAX_BODY_BYTES}")
    return body


def message_ids(identifies: Identifies, ids: Sequence[bytes]) -> list[str]:
    """A `messageId` per person: 46 characters, one for each transition.

    A plan names an id once, so (plan, sync, trait, value, person) is one transition:
    the same over every retry, half and resumption, another when the person comes back.
    Each part goes in with its length before it, so that no two mixes of parts read
    alike.
    """
    parts = (identifies.plan_id, identifies.sync, identifies.trait)
    shared = sha256()
    for part in (*parts, "true" if identifies.value else "false"):
        raw = part.encode()
        shared.update(b"%d:%s" % (len(raw), raw))
    made: list[str] = []
    for each in ids:
        own = shared.copy()
        own.update(b"%d:%s" % (len(each), each))
        made.append(f"syncd-{own.hexdigest()[:40]}")
    return made


def iso(at: datetime) -> str:
    """An instant as Segment writes it: ISO-8601, milliseconds, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _events(identifies: Identifies, at: datetime, ids: Sequence[bytes]) -> list[bytes]:
    """Every event, valid. The parts that all have are written once, and a person's own
    two are put before them as bytes: a document per person would cost thrice as much.
    """
    shared = {
        "timestamp": iso(at),
        "traits": {identifies.trait: identifies.value},
        "context": CONTEXT,
        "integrations": dict(identifies.integrations),
    }
    rest = orjson.dumps(shared).removeprefix(b"{")
    _require_room(_EVENT % (b'""', b"-" * MAX_MESSAGE_ID, rest))
    events = [
        _EVENT % (orjson.dumps(user_id), message_id.encode(), rest)
        for user_id, message_id in zip(
            _texts(ids), message_ids(identifies, ids), strict=True
        )
    ]
    if max(map(len, events), default=0) > MAX_EVENT_BYTES:
        raise _bad_id(f"an event has more than {MAX_EVENT_BYTES} bytes")
    return events


def _require_valid(trait: str, at: datetime) -> None:
    """Refuse what would spoil every event: its people are not to blame."""
    if at.tzinfo is None:  # Engage discards a time without a zone (contract T7)
        raise _refused("the time of the change has no zone", error_type="internal")
    if not trait.strip():
        raise _refused("the trait has no name")
    if any("\ud800" <= character <= "\udfff" for character in trait):
        raise _refused("the trait's name is not Unicode text")


def _require_room(empty_event: bytes) -> None:
    if len(empty_event) >= MAX_EVENT_BYTES:
        raise _refused(f"the trait's name leaves no room in {MAX_EVENT_BYTES} bytes")


def _texts(ids: Sequence[bytes]) -> list[str]:
    """The ids as user ids; `BAD_IDS` where one is empty or no text."""
    if not all(map(bytes.strip, ids)):
        raise _bad_id("an id is empty")
    try:
        return [each.decode() for each in ids]
    except UnicodeDecodeError:
        pass
    # Raised out here: the library's error carries the id.
    raise _bad_id("an id is not UTF-8")


def _too_large(why: str) -> DeliveryError:
    return DeliveryError(
        f"not sent to Segment: {why}", fault=Fault.TOO_LARGE, error_type="too_large"
    )


def _bad_id(why: str) -> DeliveryError:
    return DeliveryError(
        f"not sent to Segment: {why}", fault=Fault.BAD_IDS, error_type="invalid_id"
    )


def _refused(why: str, *, error_type: str = "config") -> DeliveryError:
    return DeliveryError(
        f"not sent to Segment: {why}",
        fault=Fault.REFUSED,
        error_type=error_type,
        hint="name the trait with `to: {trait: ...}`: syncd check"
        if error_type == "config"
        else "",
    )
