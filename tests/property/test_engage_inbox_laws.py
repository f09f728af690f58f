"""Laws of the Engage door: what was changed on its way changes nothing."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.clock import Clock
from syncd.sources.door import Delivery, Head, Refused, Stored
from syncd.sources.engage_inbox import EngageDoor, EngageDoorSettings, SecondFactor
from syncd.sources.presented import Keys

SECRET = b"s3cr3t-key"
FACTOR = "a-second-factor"


class Noon(Clock):
    def now(self) -> datetime:
        return datetime(2026, 3, 2, 12, tzinfo=UTC)


class NoLists:
    def name_list(self, feed, name, list_id):
        raise AssertionError("an event announced an audience")

    def find(self, connection, list_id):
        raise AssertionError("an event asked for an audience")


def door(**fields) -> EngageDoor:
    defaults: dict[str, Any] = {
        "connection": "engage-main",
        "path": "/in/engage-main",
        "signature": Keys(current=SECRET),
        "second_factor": None,
        "amplitude_id": ("traits", "amplitude_id"),
        "max_body": 1 << 20,
        "entered_without_value": frozenset(["a"]),
        "accept": lambda block, _id_type: (block, {}),
        "clock": Noon(),
        "directory": NoLists(),
        "readers": {},
    }
    return EngageDoor(EngageDoorSettings(**(defaults | fields)))


WITH_FACTOR = SecondFactor(
    header="x-syncd", user=None, keys=Keys(current=FACTOR.encode())
)


def signed(content: bytes) -> bytes:
    return hmac.new(SECRET, content, hashlib.sha1).hexdigest().encode()


def read(at: EngageDoor, body: bytes, signature: bytes) -> Delivery | None:
    """What a request comes to; None where it is refused."""
    headers = {"x-signature": signature.decode("latin-1"), "x-syncd": FACTOR}
    head = Head(method="POST", path="", headers=headers)
    try:
        at.admit(head)
        taken = at.read(head, body)
    except Refused as refusal:
        assert_a_reason(refusal)
        return None
    assert isinstance(taken, Delivery)
    return taken


def assert_a_reason(refusal: Refused) -> None:
    assert 400 <= refusal.status <= 499
    assert refusal.code.partition(".")[0] in CODES


CODES = "json event type personas time batch signature second_factor".split()


def event(user: str, *, inside: bool = True) -> dict[str, Any]:
    return {
        "type": "identify",
        "userId": user,
        "messageId": f"personas_{user}",
        "timestamp": "2026-03-02T10:11:12.131Z",
        "traits": {"vip": inside, "name": "Kim Ünal"},
        "context": {
            "personas": {"computation_class": "audience", "computation_key": "vip"}
        },
    }


SINGLE = json.dumps(event("u-1"), ensure_ascii=False).encode()
BATCH = json.dumps([event("u-1"), event("u-2")], ensure_ascii=False).encode()
FIRST_ENDS = 1 + len(SINGLE)

FLIP = st.tuples(st.integers(0, 10_000), st.integers(1, 255))


def flipped(content: bytes, flip: tuple[int, int]) -> bytes:
    at, mask = flip[0] % len(content), flip[1]
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


@settings(max_examples=150, deadline=None)
@given(flip=FLIP)
def test_a_flipped_byte_of_the_body_or_the_signature_yields_nothing(flip):
    signature = signed(SINGLE)

    assert read(door(), SINGLE, signature) is not None
    assert read(door(), flipped(SINGLE, flip), signature) is None
    assert read(door(), SINGLE, flipped(signature, flip)) is None


@settings(max_examples=100, deadline=None)
@given(flip=st.tuples(st.integers(1, FIRST_ENDS - 1), st.integers(1, 255)))
def test_a_flipped_byte_of_a_batchs_first_event_yields_nothing(flip):
    at = door(second_factor=WITH_FACTOR)

    assert read(at, BATCH, signed(SINGLE)) is not None
    assert read(at, flipped(BATCH, flip), signed(SINGLE)) is None


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=60), flip=FLIP)
@example(tail=b"," + SINGLE + b"]", flip=(0, 1))
@example(tail=b"]", flip=(0, 1))
def test_no_tail_of_a_signed_event_is_taken_without_a_second_factor(tail, flip):
    forged = b"[" + SINGLE + tail

    assert read(door(), forged, signed(SINGLE)) is None
    assert read(door(), flipped(BATCH, flip), signed(SINGLE)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
ODD = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["identify", "track", "delete", "page", "x"]) | JSON,
        "userId": st.text(max_size=6) | JSON,
        "anonymousId": JSON,
        "messageId": JSON,
        "timestamp": st.sampled_from(["2026-03-02T10:11:12Z", "2026-03-02"]) | JSON,
        "traits": st.dictionaries(st.sampled_from(["a", "amplitude_id"]), JSON) | JSON,
        "properties": st.dictionaries(st.just("a"), JSON) | JSON,
        "context": st.fixed_dictionaries(
            {
                "personas": st.fixed_dictionaries(
                    {
                        "computation_class": st.just("audience") | JSON,
                        "computation_key": st.just("a") | JSON,
                    }
                )
                | JSON
            }
        )
        | JSON,
    },
)


@settings(max_examples=200, deadline=None)
@given(content=ODD | st.lists(ODD, max_size=3) | JSON)
def test_whatever_an_authentic_sender_writes_is_taken_or_refused_with_a_reason(content):
    body = json.dumps(content).encode()

    delivery = read(door(second_factor=WITH_FACTOR), body, signed(body))

    if delivery is not None:
        stored = Stored(messages=len(delivery.messages), duplicates=0, people=0)
        answer = delivery.reply(stored)
        assert answer.status == 200
        assert json.loads(json.dumps(answer.body)) == answer.body
        for message in delivery.messages:
            assert message.told or message.deleted
            for told in message.told:
                assert all(told.ids)
