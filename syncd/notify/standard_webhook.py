"""A message as a signed webhook, by the Standard Webhooks specification 1.0.0. Pure.

The headers say id, time of the attempt and one signature for each secret: HMAC-SHA256
over `id.time.body`, in base64 (specification, "Signature scheme" and "Webhook
headers"). The id stays the same in every attempt, the time does not.
"""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from syncd.notify import Kind, News
from syncd.notify.messages import Item, Message
from syncd.notify.words import headline, plain, runbook

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, by the specification."""
_TYPES = {
    Kind.CONNECTION_STOPPED: ("connection", "stopped"),
    Kind.QUOTA: ("project", "quota"),
    Kind.CONFIG: ("daemon", "config"),
}
"""Of what is not about a sync; the others are `sync.` and the kind."""


class BadSecret(ValueError):
    """The secret is none of Standard Webhooks. Says why, never what it is."""


def body(message: Message) -> bytes:
    """The JSON of one request: `type`, `timestamp`, `data`."""
    return orjson.dumps(
        {
            "type": type_of(message),
            "timestamp": _happened(message),
            "data": _data(message),
        },
        option=orjson.OPT_UTC_Z,
    )


def type_of(message: Message) -> str:
    """`sync.held`; `sync.held.reminded` and `sync.held.resolved` of what follows."""
    if message.is_test:
        words = ["syncd", "test"]
    else:
        words = [*_TYPES.get(message.kind, ("sync", message.kind))]
    if message.news is not News.OPENED:
        words.append(message.news)
    return ".".join(words)


def headers(
    message_id: str, content: bytes, secrets: Sequence[str], now: datetime
) -> dict[str, str]:
    """What goes with these bytes in an attempt at `now` (real time).

    Of several secrets each gives a signature, so that receivers may change theirs at
    any time during a rotation. Raises `BadSecret`.
    """
    at = str(int(now.astimezone(UTC).timestamp()))
    signed = f"{message_id}.{at}.".encode() + content
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(_signature(key_of(s), signed) for s in secrets),
    }


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for. Raises `BadSecret`."""
    if not secret.startswith(PREFIX):
        raise BadSecret(f"it does not begin with {PREFIX}")
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecret(f"what follows {PREFIX} is not base64") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise BadSecret(f"it must have {SHORTEST} to {LONGEST} bytes, in base64")
    return key


def _signature(key: bytes, signed: bytes) -> str:
    made = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{b64encode(made).decode()}"


def _happened(message: Message) -> datetime:
    """When what is told happened, which is the same in every attempt."""
    rows = [item.row for item in message.items]
    match message.news:
        case News.OPENED:
            return max(row.opened_at for row in rows)
        case News.REMINDED:
            return message.at
        case News.RESOLVED:
            return max(row.resolved_at or message.at for row in rows)


def _data(message: Message) -> dict[str, object]:
    return {
        "news": message.news,
        "kind": message.kind,
        "cause": message.cause,
        "instance": message.instance,
        "test": message.is_test,
        "headline": headline(message),
        "text": plain(message),
        "runbook": runbook(message) or None,
        "conditions": [_condition(message, item) for item in message.items],
    }


def _condition(message: Message, item: Item) -> dict[str, object]:
    """`key` pairs what was opened with what is resolved, over all messages."""
    row, seen = item.row, item.seen
    return {
        "key": f"syncd/{message.instance}/{row.subject}/{row.kind}",
        "subject": row.subject,
        "sync": row.sync,
        "headline": seen.headline if seen is not None else row.text,
        "cause": row.cause,
        "opened_at": row.opened_at,
        "resolved_at": row.resolved_at,
        "run_id": seen.run_id if seen is not None else None,
        "command": seen.command if seen is not None else None,
        "url": message.link(item) or None,
    }
