"""What is pushed to us: bodies, the proofs in their headers, and names of cohorts.

Whatever a door takes must be of use to those behind it: ids and names are UTF-8 text
that any store keeps, and the answer can be written.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from syncd.clock import Clock
from syncd.model import Feed, IdType, Message
from syncd.sources.amplitude_push.access import check_api_key, check_secret
from syncd.sources.amplitude_push.door import AmplitudeDoor, route_of
from syncd.sources.amplitude_push.names import CohortNames
from syncd.sources.amplitude_push.settings import AmplitudeDoorSettings
from syncd.sources.amplitude_push.template_json import parse_template
from syncd.sources.door import Delivery, Door, Head, Refused, Reply, Stored
from syncd.sources.engage_inbox import EngageDoor, EngageDoorSettings, SecondFactor
from syncd.sources.engage_inbox.proof import Prover
from syncd.sources.presented import Keys, basic
from syncd.sources.strict_json import InvalidJson, element_span, member_span, parse
from syncd.sync.ids import accept, reason
from tests.fuzzing.target import Target, require

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = b"a-key-of-the-tests"
KEYS = Keys(current=KEY, previous=b"another-key-of-the-tests")
HEADERS: Mapping[str, str] = {"x-syncd-key": KEY.decode(), "api_key": KEY.decode()}
NAMED = "fuzzed-list"
COHORT = "zz1a2b3c"


class Noon(Clock):
    """Always the same instant."""

    def now(self) -> datetime:
        return NOON


class AnyList:
    """Every list is known."""

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        require_text(feed.key, name)
        return NAMED

    def find(self, connection: str, list_id: str) -> Feed | None:
        return Feed(connection=connection, key=COHORT, id_type=IdType.USER_ID)


def taken(block: list[bytes], id_type: IdType) -> tuple[list[bytes], Mapping[str, int]]:
    """Hygiene, as `app` wires it; the quick way must agree with the rule."""
    found = accept(block, id_type)
    assert found.ids == [each for each in block if reason(each, id_type) is None]
    return found.ids, {str(why): count for why, count in found.refused.items()}


FACTOR = SecondFactor(header="x-syncd-key", user=None, keys=KEYS)


def engage(**fields: Any) -> EngageDoor:
    """A door of Engage."""
    defaults: dict[str, Any] = {
        "connection": "engage",
        "path": "/in/engage",
        "signature": None,
        "second_factor": FACTOR,
        "amplitude_id": ("traits", "amplitude_id"),
        "max_body": 1 << 20,
        "entered_without_value": frozenset(["vip"]),
        "accept": taken,
        "clock": Noon(),
        "directory": AnyList(),
        "readers": {"vip": 1, "aud_1": 1},
    }
    return EngageDoor(EngageDoorSettings(**(defaults | fields)))


def amplitude() -> AmplitudeDoor:
    """A door of Amplitude with everything open."""
    return AmplitudeDoor(
        AmplitudeDoorSettings(
            connection="amplitude",
            path="/in/amplitude",
            api_key=KEYS,
            webhook_header="x-syncd-key",
            webhook_secret=KEYS,
            max_body=1 << 20,
            accept=taken,
            clock=Noon(),
            directory=AnyList(),
            readers={COHORT: 1, "with_under_score": 2},
        )
    )


# ---- what must hold ------------------------------------------------------------------


def require_text(*texts: str) -> None:
    """Each can be stored: UTF-8 without NUL."""
    for text in texts:
        text.encode()
        assert "\0" not in text


def require_refusal(refused: Refused, body: bytes = b"") -> None:
    """A refusal is the sender's fault, and can be written."""
    assert 400 <= refused.status <= 499
    require_text(str(refused), refused.hint, refused.code)


def require_delivery(brought: Delivery | Reply) -> None:
    """What is stored can be stored, and the answer written."""
    if isinstance(brought, Delivery):
        for message in brought.messages:
            require_message(message)
        brought = brought.reply(Stored(messages=1, duplicates=0, people=1))
    orjson.dumps(brought.body)


def require_message(message: Message) -> None:
    """Every text of it is one that any store takes."""
    require_text(message.id)
    assert message.deleted_at is None or message.deleted_at.tzinfo is UTC
    for told in message.told:
        require_text(told.feed.key, told.name, told.tie)
        assert told.ids
        assert told.at is None or told.at.tzinfo is not None
        assert not [each for each in told.ids if reason(each, told.feed.id_type)]


# ---- targets -------------------------------------------------------------------------


def read(door: Door, path: str, data: bytes, headers: Mapping[str, str]) -> None:
    """One request at a door."""
    head = Head(method="POST", path=path, headers=headers)
    try:
        door.admit(head)
        require_delivery(door.read(head, data))
    except Refused as refused:
        require_refusal(refused, data)


def reader(door: Door, path: str) -> Callable[[bytes], None]:
    """A target: bodies at one path."""
    return lambda data: read(door, path, data, HEADERS)


def headed(data: bytes) -> Mapping[str, str]:
    """Headers as the server hands them on: Latin-1, names in lower case."""
    named = [line.partition(b":") for line in data.split(b"\n")]
    return {
        name.decode("latin-1").lower(): value.decode("latin-1").strip(" \t")
        for name, _, value in named
    }


def engage_headers(data: bytes) -> None:
    """Every way to prove an event, with headers of a stranger."""
    for prover in (
        Prover(signature=KEYS, factor=None),
        Prover(
            signature=None,
            factor=SecondFactor(header="authorization", user="segment", keys=KEYS),
        ),
        Prover(signature=KEYS, factor=FACTOR),
    ):
        head = Head(method="POST", path="", headers=headed(data))
        try:
            prover.admit(head, NOON)
            prover.prove(head, data, NOON)
        except Refused as refused:
            require(refused.status == 401)
            require_refusal(refused)


def amplitude_headers(data: bytes) -> None:
    """Basic, `api_key` and the webhook's secret, with headers of a stranger."""
    headers = headed(data)
    presented = basic(headers.get("authorization", ""))
    assert presented is None or len(presented) == 2
    for check in (
        lambda: check_api_key(KEYS, headers, NOON),
        lambda: check_secret(KEYS, "x-syncd-key", headers, NOON),
    ):
        try:
            check()
        except Refused as refused:
            require_refusal(refused)


def engage_paths(data: bytes) -> None:
    """Announcements of audiences, whose path carries a secret."""
    path, _, body = data.partition(b"\n")
    for headers in ({}, HEADERS):
        read(engage(), path.decode("utf-8", "replace"), body, headers)


def amplitude_paths(data: bytes) -> None:
    """Paths below the door's own."""
    try:
        route_of(data.decode("utf-8", "replace"))
    except Refused as refused:
        require(refused.status == 404)


def first_elements(data: bytes) -> None:
    """The bytes that Segment signs in a batch."""
    span = element_span(data)
    if span is None:
        return
    first = data[slice(*span)]
    assert (first[:1], first[-1:]) == (b"{", b"}")
    inner = member_span(data, span, "json")
    assert inner is None or span[0] < inner[0] <= inner[1] < span[1]


def strict(data: bytes) -> None:
    """Whatever is read strictly is read the same by the standard reader."""
    try:
        found = parse(data)
    except InvalidJson:
        return
    assert found == json.loads(data)
    json.dumps(found, ensure_ascii=False).encode()


def templates(data: bytes) -> None:
    """JSON of hand-made templates."""
    try:
        parse_template(data)
    except InvalidJson as error:
        require_text(str(error))


def trait_keys(data: bytes) -> None:
    """Names of lists and properties."""
    text = data.decode("utf-8", "replace")
    for known in ([], [COHORT, "with_under_score"]):
        cohort = CohortNames(known).cohort_in(text)
        if cohort is not None:
            require_text(cohort.id, cohort.name)


# ---- seeds ---------------------------------------------------------------------------

EVENT: Mapping[str, Any] = {
    "type": "identify",
    "userId": "person-1",
    "messageId": "personas_1",
    "timestamp": "2026-03-02T11:00:00.000Z",
    "traits": {"vip": True, "amplitude_id": 42},
    "context": {
        "personas": {
            "computation_class": "audience",
            "computation_key": "vip",
            "external_audience_id": "aud_1",
        }
    },
}
TRACK = {**EVENT, "type": "track", "properties": {"vip": "False"}, "anonymousId": "a"}
DELETE = {**EVENT, "type": "delete"}
_EVENTS = tuple(
    json.dumps(each).encode()
    for each in (
        EVENT,
        TRACK,
        DELETE,
        {"json": EVENT},
        [EVENT, TRACK],
        [{"json": EVENT}],
    )
)
_LISTS = (
    b'{"name": "[Amplitude] Trial users: zz1a2b3c"}',
    b'{"userIds": ["person-1", "person-2"]}',
    b'{"user_ids": ["person-1"], "batch": null}',
)
_UPDATES = (
    b'{"type": "identify", "userId": "person-1", "traits": {"Trial (zz1a2b3c)": true}}',
    b'{"batch": [{"userId": "person-1", "traits": {"a: zz1a2b3c": "False"}}]}',
)
_HOOKS = (
    json.dumps(
        {
            "cohort_id": COHORT,
            "cohort_name": "Trial",
            "in_cohort": "true",
            "computed_time": "1767225600",
            "message_id": "m-1",
            "users": [{"user_id": "person-1"}, {"user_id": None}],
        }
    ).encode(),
    b'[{"user_id": "person-1", "amplitude_Trial_zz1a2b3c": true,},]',
)
_BASIC = b64encode(KEY + b":").decode().encode()
_HEADS = (
    b"X-Signature: " + b"0a" * 20 + b"\nX-Syncd-Key: " + KEY,
    b"X-Segment-Signature: " + b"0A" * 20,
    b"Authorization: Basic " + _BASIC,
    b"authorization: basic  " + _BASIC + b"\napi_key: " + KEY,
)
_WORDS = (b'"json":', b'"userId":', b'"traits":', b"computed_time", b"amplitude_")

TARGETS = (
    Target(name="engage-events", run=reader(engage(), ""), seeds=_EVENTS, words=_WORDS),
    Target(name="engage-headers", run=engage_headers, seeds=_HEADS),
    Target(
        name="engage-hooks",
        run=engage_paths,
        seeds=(
            b'/audiences\n{"audienceName": "Lapsed Trials"}',
            b'/audiences/get/a-key\n{"externalId": "aud_1"}',
            b"/audiences/" + KEY + b'\n{"audienceName": "VIP"}',
        ),
    ),
    Target(name="amplitude-lists", run=reader(amplitude(), "/lists"), seeds=_LISTS),
    Target(
        name="amplitude-list-changes",
        run=reader(amplitude(), f"/lists/{NAMED}/remove"),
        seeds=_LISTS + _UPDATES,
    ),
    Target(
        name="amplitude-properties",
        run=reader(amplitude(), "/properties"),
        seeds=_UPDATES,
        words=_WORDS,
    ),
    Target(
        name="amplitude-webhooks",
        run=reader(amplitude(), "/webhook"),
        seeds=_HOOKS,
        words=_WORDS,
    ),
    Target(name="amplitude-headers", run=amplitude_headers, seeds=_HEADS),
    Target(
        name="amplitude-paths",
        run=amplitude_paths,
        seeds=(b"/lists/abc/add", b"/properties", b"/webhook/"),
    ),
    Target(name="first-elements", run=first_elements, seeds=_EVENTS),
    Target(name="strict-json", run=strict, seeds=_EVENTS + _HOOKS),
    Target(name="template-json", run=templates, seeds=_HOOKS),
    Target(
        name="trait-keys",
        run=trait_keys,
        seeds=(b"[Amplitude] Trial: zz1a2b3c", b"amplitude_A_b_with_under_score"),
        words=(b"[Amplitude] ", b"amplitude_", b"_", b"(", b")"),
    ),
)
