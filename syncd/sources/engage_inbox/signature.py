"""Segment's signature: hex HMAC-SHA1 by the shared secret (contract section 5, H6, H7).

`X-Signature` covers a single event whole, but of a batch only the first event, as
JavaScript wrote it: so it is computed over that event's own bytes, never over a JSON
written anew. `X-Segment-Signature` (a switch of the destination since 2026, the end of
what the contract calls PR #3989) always covers the whole body, and a receiver that sees
it does not fall back. There is no time in it: replays are found by the messages' ids.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from syncd.sources.door import Refused
from syncd.sources.presented import Keys, Which, raw
from syncd.sources.strict_json import element_span, member_span

WHOLE_HEADER = "x-segment-signature"
HEADER = "x-signature"

Covers = Literal["all", "first_event", "nothing"]
"""How much of a body a signature proves."""

_HEX = re.compile(rb"[0-9a-f]{40}")
_WRAPPER = "json"
"""The Extensible Webhook wraps the events of a batch and signs the first one bare
(contract H10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What the sender presents."""

    digest: bytes
    """40 lower-case hex digits."""
    whole_only: bool
    """It must cover the whole body."""


def signature_in(headers: Mapping[str, str]) -> Signature:
    """The signature a request brings. Raises `Refused` with 401."""
    name = WHOLE_HEADER if WHOLE_HEADER in headers else HEADER
    presented = headers.get(name)
    if presented is None:
        raise Refused(
            401,
            "there is no X-Signature header",
            code="signature.missing",
            hint="set the shared secret of the connection in Segment's destination",
        )
    digest = raw(presented)
    if not _HEX.fullmatch(digest):
        raise Refused(
            401, "the signature is not 40 hex digits", code="signature.malformed"
        )
    return Signature(digest=digest, whole_only=name == WHOLE_HEADER)


def verify(
    signature: Signature, body: bytes, keys: Keys, now: datetime
) -> tuple[Covers, Which] | None:
    """How much of `body` the signature proves, and by which secret; None: nothing."""
    if which := _signed(signature.digest, body, keys, now):
        return "all", which
    if signature.whole_only or (first := element_span(body)) is None:
        return None
    bare = member_span(body, first, _WRAPPER)
    for start, end in (first, bare or first):
        if which := _signed(signature.digest, body[start:end], keys, now):
            return "first_event", which
    return None


def _signed(digest: bytes, content: bytes, keys: Keys, now: datetime) -> Which | None:
    return keys.proven_by(
        lambda secret: hmac.compare_digest(
            hmac.new(secret, content, "sha1").hexdigest().encode(), digest
        ),
        now,
    )
