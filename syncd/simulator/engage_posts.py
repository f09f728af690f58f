"""Engage's events as requests: flavours, batches, signatures (section 5). Pure.

classic          one event a request, signed whole
actions_single   the same from the Actions framework, with the customer's headers
actions_batch    a JSON array; today only its first element is signed (H7)
extensible       the same, each element wrapped as {"json": …}, signed unwrapped
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from syncd.simulator.engage_events import Event
from syncd.simulator.sender import Post
from syncd.simulator.sender_policy import Policy
from syncd.simulator.sender_settings import EngageSettings
from syncd.simulator.signing import signature, stringify

BATCHED = ("actions_batch", "extensible")
AGENT = {"classic": "Segment.io/1.0"}
"""`User-Agent` by flavour; the framework's otherwise."""
FRAMEWORK = "Segment (Actions)"
CLASSIC_TIMEOUT, ACTIONS_TIMEOUT = 5.0, 10.0


def policy(settings: EngageSettings, *, honours_retry_after: bool) -> Policy:
    """How long this flavour waits, and what it retries (H1, H2, R11)."""
    classic = settings.flavour == "classic"
    own = CLASSIC_TIMEOUT if classic else ACTIONS_TIMEOUT
    return Policy(
        vendor="segment",
        timeout=settings.timeout or own,
        retries=settings.retries,
        honours_retry_after=honours_retry_after,
    )


def disordered(
    events: Sequence[Any], *, duplicates: float, shuffle: bool, dice: random.Random
) -> list[Any]:
    """The same with a share of it twice, in order or in none.

    Copies of a list that stays in order come after all of it.
    """
    copies = dice.sample(list(events), round(duplicates * len(events)))
    made = [*events, *copies]
    if shuffle:
        dice.shuffle(made)
    return made


def posts_of(settings: EngageSettings, events: Sequence[Event]) -> Iterator[Post]:
    """The requests that carry these events, in order."""
    size = settings.batch_size or 1
    if settings.flavour not in BATCHED:
        for event in events:
            yield _single(settings, event)
        return
    for start in range(0, len(events), size):
        yield _batch(settings, events[start : start + size])


def _single(settings: EngageSettings, event: Event) -> Post:
    signed = stringify(event)
    body = stringify(event | settings.extras) if settings.extras else signed
    return request(settings, body, signed=signed, items=1)


def _batch(settings: EngageSettings, events: Sequence[Event]) -> Post:
    body = _array(settings, [event | settings.extras for event in events])
    # Signed before the extras come in (H9), and a first element unwrapped (H10).
    if settings.signing in ("whole", "segment_header"):
        signed = _array(settings, events) if settings.extras else body
    else:
        signed = stringify(events[0])
    return request(settings, body, signed=signed, items=len(events))


def _array(settings: EngageSettings, events: Sequence[Event]) -> bytes:
    if settings.flavour == "extensible":
        return stringify([{"json": event} for event in events])
    return stringify(events)


def request(
    settings: EngageSettings,
    body: bytes,
    *,
    signed: bytes | None,
    items: int,
    headers: dict[str, str] | None = None,
) -> Post:
    """One request; `signed` is what the signature covers, None: there is none."""
    own = {
        "Content-Type": "application/json",
        "User-Agent": AGENT.get(settings.flavour, FRAMEWORK),
    }
    if signed is not None and settings.secret and settings.signing != "none":
        new = settings.signing == "segment_header"
        header = "X-Segment-Signature" if new else "X-Signature"
        own[header] = signature(settings.secret, signed)
    given = own | settings.headers | (headers or {})
    return Post(
        url=settings.url,
        body=body,
        headers=tuple(given.items()),
        method=settings.method,
        items=items,
    )
