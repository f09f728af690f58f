"""The Engage door against what Segment documents and its source code sends."""

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.clock import Clock
from syncd.model import Feed, IdType, Told
from syncd.sources.door import Delivery, Door, Head, Refused, Reply, Stored
from syncd.sources.engage_inbox import EngageDoor, EngageDoorSettings, SecondFactor
from syncd.sources.presented import Keys
from syncd.sync import ids

SECRET = b"s3cr3t-key"
FACTOR = "a-second-factor"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT = datetime(2026, 3, 2, 10, 11, 12, 131000, tzinfo=UTC)


class Noon(Clock):
    def now(self) -> datetime:
        return NOW


class Lists:
    """A directory in memory."""

    def __init__(self):
        self.names: dict[tuple[str, str], tuple[Feed, str]] = {}

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        self.names[(feed.connection, list_id)] = (feed, name)
        return list_id

    def find(self, connection: str, list_id: str) -> Feed | None:
        feed, _name = self.names.get((connection, list_id), (None, ""))
        return feed


def accept(block, id_type):
    accepted = ids.accept(block, id_type)
    return accepted.ids, {str(why): n for why, n in accepted.refused.items()}


def factor(**fields) -> SecondFactor:
    defaults: dict[str, Any] = {
        "header": "x-syncd",
        "user": None,
        "keys": Keys(current=b"a-second-factor"),
    }
    return SecondFactor(**(defaults | fields))


def door(**fields) -> Door:
    defaults: dict[str, Any] = {
        "connection": "engage-main",
        "path": "/in/engage-main",
        "signature": Keys(current=SECRET),
        "second_factor": None,
        "amplitude_id": (),
        "max_body": 1 << 20,
        "entered_without_value": frozenset(),
        "accept": accept,
        "clock": Noon(),
        "directory": Lists(),
        "readers": {"lapsed_trials": 2},
    }
    return EngageDoor(EngageDoorSettings(**(defaults | fields)))


def both_factors(**fields) -> Door:
    return door(second_factor=factor(), **fields)


def signed(content: bytes, secret: bytes = SECRET) -> str:
    return hmac.new(secret, content, hashlib.sha1).hexdigest()


def head(path="", method="POST", **headers) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(method=method, path=path, headers=named)


def knock(at: Door, body: bytes, signature: str | None = None, **headers):
    """What a server does: admit the head, then read the body."""
    presented = {"x_signature": signed(body) if signature is None else signature}
    request = head(**(presented | headers))
    at.admit(request)
    return at.read(request, body)


def event(**fields):
    """An identify that says that u-90 entered lapsed_trials."""
    defaults = {
        "type": "identify",
        "userId": "u-90",
        "messageId": "personas_2pQx",
        "timestamp": "2026-03-02T10:11:12.131Z",
        "traits": {"lapsed_trials": True, "email": "kim@acme.test"},
        "context": {"personas": personas()},
        "integrations": {"All": False, "Webhooks (Actions)": True},
    }
    return defaults | fields


def personas(**fields):
    defaults = {
        "computation_class": "audience",
        "computation_id": "aud_7Fh",
        "computation_key": "lapsed_trials",
        "namespace": "spa_1Ab",
        "space_id": "spa_1Ab",
    }
    return defaults | fields


def without(mapping, *names):
    return {name: value for name, value in mapping.items() if name not in names}


def sent(at: Door, content) -> Delivery:
    delivery = knock(at, json.dumps(content).encode(), x_syncd=FACTOR)
    assert isinstance(delivery, Delivery)
    return delivery


def told(delivery: Delivery) -> list[Told]:
    return [each for message in delivery.messages for each in message.told]


def refusal(at: Door, body: bytes, **headers) -> Refused:
    with pytest.raises(Refused) as caught:
        knock(at, body, **headers)
    return caught.value


# ---- signatures ------------------------------------------------------------------

SINGLE = b'{"type":"identify","userId":"u-1","traits":{"vip":true}}'
OTHER = b'{"type":"identify","userId":"u-2","traits":{"vip":false}}'
PAIR = b"[" + SINGLE + b"," + OTHER + b"]"
UMLAUT = '{"type":"identify","userId":"ü-1","traits":{"vip":true,"score":1.5}}'.encode()

VECTORS = [
    (SINGLE, "fdf0b2d433b498bb4cc1efade722d4d9899d5645"),
    (PAIR, "fdf0b2d433b498bb4cc1efade722d4d9899d5645"),
    (PAIR, "0ea574ac8508ca15f38fe781bbc7e9ccc804dda4"),
    (UMLAUT, "0d2a75a5dfa755234a249da74cb4088edd0e07a6"),
]
"""Contract section 5."""


@pytest.mark.parametrize(("body", "signature"), VECTORS)
def test_the_vectors_of_the_contract_are_proven(body, signature):
    """They name no audience, so proven ones get as far as that."""
    assert refusal(both_factors(), body, signature=signature, x_syncd=FACTOR).code == (
        "personas.missing"
    )


def test_a_body_written_anew_is_not_what_was_signed():
    wrong = refusal(
        door(), UMLAUT, signature="3b364e96219212b7b9cccffacd19e274bc33c512"
    )

    assert (wrong.status, wrong.code) == (401, "signature.wrong")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "fdf0",
        "fdf0b2d433b498bb4cc1efade722d4d9899d564",
        "fdf0b2d433b498bb4cc1efade722d4d9899d56455",
        "FDF0B2D433B498BB4CC1EFADE722D4D9899D5645",
        "gdf0b2d433b498bb4cc1efade722d4d9899d5645",
        "sha1=fdf0b2d433b498bb4cc1efade722d4d9899d",
        "fdf0b2d433b498bb4cc1efade722d4d9899d564é",
        "\u20ac" * 40,
        "fdf0b2d433b498bb4cc1efade722d4d9899d5645\n",
        "\u0661" * 40,
    ],
)
def test_a_signature_of_another_shape_is_refused_before_the_body(signature):
    with pytest.raises(Refused) as caught:
        door().admit(head(x_signature=signature))

    assert (caught.value.status, caught.value.code) == (401, "signature.malformed")


def test_a_missing_signature_is_refused_before_the_body():
    with pytest.raises(Refused, match="no X-Signature") as caught:
        door().admit(head())

    assert caught.value.status == 401


def test_the_predecessor_of_a_secret_proves_until_its_end_and_is_counted():
    body = json.dumps(event()).encode()
    until = NOW + timedelta(days=1)
    changing = Keys(current=b"new", previous=SECRET, previous_until=until)
    changed = Keys(current=b"new", previous=SECRET, previous_until=NOW)

    delivery = knock(door(signature=changing), body)

    assert delivery.results == {"previous_secret": 1}
    assert len(delivery.messages) == 1
    assert refusal(door(signature=changed), body).code == "signature.wrong"
    assert knock(door(signature=changing), body, signed(body, b"new")).results == {}


def test_the_newer_header_is_never_read_as_covering_less_than_the_body():
    batch = json.dumps([event(), event(userId="u-91")]).encode()
    first = json.dumps(event()).encode()
    at = both_factors()

    whole = knock(at, batch, x_segment_signature=signed(batch), x_syncd=FACTOR)
    wrong = refusal(at, batch, x_segment_signature=signed(first), x_syncd=FACTOR)

    assert len(whole.messages) == 2
    assert wrong.code == "signature.wrong"


def test_a_wrapped_batch_is_proven_by_its_first_bare_event():
    bare = json.dumps(event()).encode()
    batch = b'[{"json": %b}, {"json":{"type":"page"}}]' % bare
    at = both_factors()

    delivery = knock(at, batch, signed(bare), x_syncd=FACTOR)

    assert [each.ids for each in told(delivery)] == [(b"u-90",)]
    assert delivery.results == {"ignored": 1}


# ---- batches and the second factor -----------------------------------------------


def test_a_forged_tail_is_refused_without_a_second_factor():
    first = json.dumps(event()).encode()
    forged = b"[%b,%b]" % (first, json.dumps(event(userId="victim-1")).encode())

    refused = refusal(door(), forged, signature=signed(first))

    assert (refused.status, refused.code) == (403, "batch.unproven")
    assert "second_factor" in refused.hint


def test_with_a_second_factor_the_tail_is_taken_and_the_answer_says_what_was_signed():
    first = json.dumps(event()).encode()
    batch = b"[%b,%b]" % (first, json.dumps(event(userId="u-91")).encode())
    at = both_factors()

    by_first = knock(at, batch, signed(first), x_syncd=FACTOR)
    by_all = knock(at, batch, x_syncd=FACTOR)

    assert [each.ids for each in told(by_first)] == [(b"u-90",), (b"u-91",)]
    assert reply(by_first).body["signed"] == "first_event"
    assert reply(by_all).body["signed"] == "all"


def test_a_batch_whose_signature_is_of_a_later_event_is_refused():
    second = json.dumps(event(userId="u-91")).encode()
    batch = b"[%b,%b]" % (json.dumps(event()).encode(), second)

    refused = refusal(both_factors(), batch, signature=signed(second), x_syncd=FACTOR)

    assert refused.code == "signature.wrong"


def reply(delivery: Delivery, **fields) -> Reply:
    stored = {"messages": len(delivery.messages), "duplicates": 0, "people": 0}
    return delivery.reply(Stored(**(stored | fields)))


@pytest.mark.parametrize("presented", [None, "", "a-second-facto", "é", "\u20ac"])
def test_a_missing_or_wrong_second_factor_is_refused_before_the_body(presented):
    headers = {} if presented is None else {"x_syncd": presented}

    with pytest.raises(Refused) as caught:
        both_factors().admit(head(x_signature="0" * 40, **headers))

    assert (caught.value.status, caught.value.code) == (401, "second_factor")


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def test_basic_as_second_factor_needs_the_user_and_the_password():
    at = door(second_factor=factor(header="authorization", user="syncd"))
    body = json.dumps([event()]).encode()

    assert knock(at, body, authorization=basic("syncd", FACTOR)).messages
    for wrong in (basic("other", FACTOR), basic("syncd", "no"), f"Bearer {FACTOR}"):
        assert refusal(at, body, authorization=wrong).code == "second_factor"


def test_where_no_signature_is_configured_the_second_factor_proves_alone():
    at = door(signature=None, second_factor=factor())
    body = json.dumps([event()]).encode()

    delivery = at.read(head(x_syncd=FACTOR), body)

    assert isinstance(delivery, Delivery)
    assert reply(delivery).body["signed"] == "nothing"
    with pytest.raises(Refused, match="second factor"):
        at.read(head(), body)


def test_a_door_without_any_secret_cannot_be_built():
    with pytest.raises(ValueError, match="needs a signature"):
        door(signature=None)


def test_only_post_put_and_patch_at_the_doors_own_path_are_admitted():
    at = door()

    for method in ("POST", "PUT", "PATCH"):
        at.admit(head(method=method, x_signature="0" * 40))
    for request, status in (
        (head(method="GET", x_signature="0" * 40), 405),
        (head(path="/other", x_signature="0" * 40), 404),
    ):
        with pytest.raises(Refused) as caught:
            at.admit(request)
        assert caught.value.status == status


# ---- the shapes of contract 4.2 --------------------------------------------------


def test_an_identify_of_an_exit_says_that_the_person_is_out():
    body = event(traits={"lapsed_trials": False, "email": "kim@acme.test"})

    delivery = sent(door(), body)

    feed = Feed(connection="engage-main", key="lapsed_trials", id_type=IdType.USER_ID)
    [message] = delivery.messages
    assert (message.connection, message.id) == ("engage-main", "personas_2pQx")
    assert message.told == (
        Told(feed=feed, ids=(b"u-90",), inside=False, at=AT, tie="personas_2pQx"),
    )
    assert delivery.results == {}


def track(**fields):
    defaults = {
        "type": "track",
        "event": "Audience Exited",
        "properties": {
            "audience_key": "something_else",
            "lapsed_trials": True,
            "plan": "pro",
        },
    }
    return without(event(), "traits") | defaults | fields


def test_a_track_says_what_its_property_says_whatever_the_event_is_called():
    [said] = told(sent(door(), track()))

    assert (said.inside, said.ids, said.feed.key) == (True, (b"u-90",), "lapsed_trials")


def test_the_name_of_an_audience_is_kept_where_an_event_tells_it():
    named = track(properties={"lapsed_trials": True, "audience_name": "Lapsed Trials"})

    [said] = told(sent(door(), named))

    assert said.name == "Lapsed Trials"


def journey_v1(**fields):
    return {
        "type": "track",
        "event": "Audience Entered",
        "properties": {"j_o_welcome__x9": "true"},
        "context": {
            "personas": personas(
                computation_key="j_o_welcome__x9", computation_id="aud_9"
            )
        },
    } | fields


def test_a_journey_of_the_old_kind_is_read_by_its_text_value():
    [said] = told(sent(door(), journey_v1(userId="u-81")))

    assert (said.inside, said.feed.key, said.at) == (True, "j_o_welcome__x9", None)


def journey_v2(**fields):
    key = "welcome__nudge_1_a1"
    return {
        "type": "track",
        "event": "Nudge 1",
        "userId": "u-81",
        "properties": {
            "journey_context": {"signed_up": {"plan": "pro"}},
            "journey_metadata": {"journey_id": "jver_1", "epoch_id": "ep_1"},
        },
        "context": {
            "personas": personas(
                computation_class="journey_step",
                computation_key=key,
                computation_id=key,
            )
        },
    } | fields


def test_a_journey_step_without_a_value_enters_only_where_that_was_configured():
    usual = sent(door(), journey_v2())
    configured = sent(
        door(entered_without_value=frozenset(["welcome__nudge_1_a1"])), journey_v2()
    )

    assert (told(usual), usual.results) == ([], {"unknown_value": 1})
    assert [each.inside for each in told(configured)] == [True]


def test_a_real_value_wins_over_the_configured_meaning_of_none():
    at = door(entered_without_value=frozenset(["lapsed_trials"]))

    assert [each.inside for each in told(sent(at, event(traits={})))] == [True]
    out = event(traits={"lapsed_trials": False})
    assert [each.inside for each in told(sent(at, out))] == [False]


@pytest.mark.parametrize("odd", ["no", "", 0, 1, [], {"in": False}], ids=repr)
def test_an_odd_value_is_unknown_though_none_would_enter(odd):
    at = door(entered_without_value=frozenset(["lapsed_trials"]))

    delivery = sent(at, event(traits={"lapsed_trials": odd}))

    assert (told(delivery), delivery.results) == ([], {"unknown_value": 1})


LEFT_OUT = {
    "anonymous": without(event(anonymousId="a-5d1"), "userId"),
    "unnamed": journey_v1(),
    "unknown_value": event(traits={"lapsed_trials": 1}),
    "test": event(context={"personas": personas(event_emitter_id="event_tester_4f")}),
    "too_old": event(timestamp="2026-02-23T11:59:59Z"),
    "ignored": {
        "type": "track",
        "event": "Trait Computed",
        "userId": "u-81",
        "properties": {"trait_key": "score", "score": True},
        "context": {
            "personas": personas(computation_class="trait", computation_key="score")
        },
    },
    "forbidden_word": event(userId="null"),
    "too_long": event(userId="u" * 1025),
    "control_character": event(userId="u\n90"),
}


@pytest.mark.parametrize(
    "body",
    [
        event(timestamp="2026-03-02T13:00:01Z"),
        {"type": "delete", "userId": "u-90", "timestamp": "2031-01-01T00:00:00Z"},
    ],
    ids=["event", "deletion"],
)
def test_what_is_said_to_be_of_the_future_is_taken_as_of_its_arrival(body):
    """The clock that is wrong may be ours: left out, the event would be lost."""
    delivery = sent(door(), body)

    (message,) = delivery.messages
    assert [each.at for each in message.told] == [None] * len(message.told)
    assert message.deleted_at is None
    assert delivery.results == {"from_the_future": 1}


@pytest.mark.parametrize("result", LEFT_OUT)
def test_what_is_no_membership_is_answered_counted_and_not_applied(result):
    delivery = sent(door(), LEFT_OUT[result])

    assert delivery.messages == []
    assert delivery.results == {result: 1}
    assert reply(delivery).status == 200
    assert reply(delivery).body == {
        "accepted": 0,
        "duplicates": 0,
        "ignored": {result: 1},
        "signed": "all",
    }


@pytest.mark.parametrize("kind", ["group", "page", "screen", "alias"])
def test_calls_that_cannot_be_of_an_audience_are_ignored(kind):
    assert sent(door(), {"type": kind, "userId": "u-1"}).results == {"ignored": 1}


@pytest.mark.parametrize("class_", ["computed_trait", "Audience", "recommendation"])
def test_other_computations_are_ignored(class_):
    other = event(context={"personas": personas(computation_class=class_)})

    assert sent(door(), other).results == {"ignored": 1}


@pytest.mark.parametrize(
    ("value", "inside"),
    [(True, True), (False, False), ("TRUE", True), ("faLse", False)],
)
def test_booleans_and_their_texts_are_memberships(value, inside):
    said = told(sent(door(), event(traits={"lapsed_trials": value})))

    assert [each.inside for each in said] == [inside]


@pytest.mark.parametrize(
    "traits",
    [
        {"lapsed_trials": None},
        {"lapsed_trials": 0},
        {"lapsed_trials": "yes"},
        {"lapsed_trials": " true"},
        {"lapsed_trials": ""},
        {"lapsed_trials": [True]},
        {"Lapsed_Trials": True},
        {},
        None,
    ],
)
def test_anything_else_neither_adds_nor_removes(traits):
    delivery = sent(door(), event(traits=traits))

    assert (delivery.messages, delivery.results) == ([], {"unknown_value": 1})


def test_a_value_in_the_other_types_place_is_unknown():
    identify = event(traits={}, properties={"lapsed_trials": True})
    tracked = track(properties={}, traits={"lapsed_trials": True})

    assert sent(door(), identify).results == {"unknown_value": 1}
    assert sent(door(), tracked).results == {"unknown_value": 1}


def test_a_key_with_dots_is_a_flat_key():
    dotted = {"personas": personas(computation_key="a.b")}

    flat = sent(door(), event(context=dotted, traits={"a.b": True}))
    deep = sent(door(), event(context=dotted, traits={"a": {"b": True}}))

    assert len(told(flat)) == 1
    assert deep.results == {"unknown_value": 1}


def test_a_deleted_person_is_to_be_forgotten_whatever_the_audience():
    deleted = {"type": "delete", "userId": "u-90", "timestamp": "2026-03-02T10:11:12Z"}

    [message] = sent(door(), deleted).messages

    assert message.deleted == ((b"u-90", IdType.USER_ID),)
    assert message.deleted_at == datetime(2026, 3, 2, 10, 11, 12, tzinfo=UTC)
    assert (message.told, message.id) == ((), "")


def test_a_replayed_deletion_is_left_out():
    replayed = {"type": "delete", "userId": "u-90", "timestamp": "2025-03-02T10:11:12Z"}

    assert sent(door(), replayed).results == {"too_old": 1}


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"timestamp": "2026-03-02T11:11:12.131+01:00"}, AT),
        ({"timestamp": None, "originalTimestamp": "2026-03-02T10:11:12.131Z"}, AT),
        ({"timestamp": "", "receivedAt": "2026-03-02T10:11:12.131Z"}, AT),
        ({"timestamp": None}, None),
        ({"timestamp": "2026-02-23T12:00:00Z"}, NOW - timedelta(days=7)),
        ({"timestamp": "2026-03-02T13:00:00Z"}, NOW + timedelta(hours=1)),
    ],
)
def test_the_time_of_an_event_is_its_own_where_it_has_one(fields, at):
    [said] = told(sent(door(), event(**fields)))

    assert said.at == at


# ---- the Amplitude id ------------------------------------------------------------


def by_amplitude_id(**fields) -> Door:
    return door(amplitude_id=("context", "traits", "amplitude_id"), **fields)


def with_amplitude_id(value, **fields):
    context = {"personas": personas(), "traits": {"amplitude_id": value}}
    return event(context=context, **fields)


@pytest.mark.parametrize("value", ["12345678901", 12345678901], ids=["text", "number"])
def test_a_mapped_amplitude_id_is_told_beside_the_user_id(value):
    said = told(sent(by_amplitude_id(), with_amplitude_id(value)))

    assert [(each.feed.id_type, each.ids) for each in said] == [
        (IdType.USER_ID, (b"u-90",)),
        (IdType.AMPLITUDE_ID, (b"12345678901",)),
    ]


def test_a_person_without_a_user_id_is_told_by_the_amplitude_id():
    anonymous = without(with_amplitude_id("12345678901", anonymousId="a-1"), "userId")

    delivery = sent(by_amplitude_id(), anonymous)

    assert [each.feed.id_type for each in told(delivery)] == [IdType.AMPLITUDE_ID]
    assert delivery.results == {}


@pytest.mark.parametrize("value", ["abc", -5, 1.5, True, [1], "99999999999999999999"])
def test_a_mapped_value_that_is_no_amplitude_id_is_counted_beside_the_user_id(value):
    delivery = sent(by_amplitude_id(), with_amplitude_id(value))

    assert [each.ids for each in told(delivery)] == [(b"u-90",)]
    assert delivery.results == {"not_amplitude_id": 1}


def test_an_absent_amplitude_id_is_nothing_to_count():
    for context in ({"personas": personas()}, {"personas": personas(), "traits": 1}):
        assert sent(by_amplitude_id(), event(context=context)).results == {}


# ---- bodies that cannot be read --------------------------------------------------


def raw(content) -> bytes:
    return json.dumps(content).encode()


def of_personas(**fields) -> bytes:
    return raw(event(context={"personas": personas(**fields)}))


MALFORMED = [
    (b"", "json.syntax"),
    (b"{", "json.syntax"),
    (b"type=identify&userId=u-1", "json.syntax"),
    (raw(event()) + b"x", "json.syntax"),
    (raw(event())[:-1], "json.syntax"),
    (b"\xef\xbb\xbf" + raw(event()), "json.bom"),
    (raw(event()).replace(b"u-90", b"u-\xff"), "json.not_utf8"),
    (raw(event()).replace(b"u-90", b"\\ud800"), "json.surrogate"),
    (b'{"userId":"u-1",' + raw(event())[1:], "json.duplicate_key"),
    (raw(event()).replace(b"true", b"NaN"), "json.number"),
    (raw(event()).replace(b"true", b"9" * 30), "json.number"),
    (b"[" * 100_000, "json.too_deep"),
    (b'{"a":' * 40 + b"1" + b"}" * 40, "json.too_deep"),
    (b"null", "event.malformed"),
    (b"1", "event.malformed"),
    (b'"identify"', "event.malformed"),
    (b'{"json":1}', "event.malformed"),
    (b"{}", "type.missing"),
    (raw(event(type=None)), "type.missing"),
    (raw(event(type="")), "type.missing"),
    (raw(event(type=1)), "event.malformed"),
    (raw(event(type="Identify")), "type.unknown"),
    (raw(event(type="audience")), "type.unknown"),
    (raw(without(event(), "context")), "personas.missing"),
    (raw(event(context=None)), "personas.missing"),
    (raw(event(context={})), "personas.missing"),
    (raw(event(context={"personas": None})), "personas.missing"),
    (raw(event(context=[])), "event.malformed"),
    (raw(event(context={"personas": "audience"})), "personas.malformed"),
    (raw(event(context={"personas": {}})), "personas.incomplete"),
    (of_personas(computation_class=None), "personas.incomplete"),
    (of_personas(computation_class=""), "personas.incomplete"),
    (of_personas(computation_class=["audience"]), "event.malformed"),
    (of_personas(computation_key=None), "personas.incomplete"),
    (of_personas(computation_key=""), "personas.incomplete"),
    (of_personas(computation_key=7), "event.malformed"),
    (of_personas(computation_key="a\x00b"), "event.malformed"),
    (of_personas(computation_key="k" * 256), "event.malformed"),
    (of_personas(event_emitter_id={}), "event.malformed"),
    (raw(event(userId=90)), "event.malformed"),
    (raw(event(userId=["u-90"])), "event.malformed"),
    (raw(without(event(anonymousId=1), "userId")), "event.malformed"),
    (raw(event(traits=[])), "event.malformed"),
    (raw(event(traits="lapsed_trials")), "event.malformed"),
    (raw(track(properties=1)), "event.malformed"),
    (raw(event(messageId=1)), "event.malformed"),
    (raw(event(messageId="m\x00")), "event.malformed"),
    (raw(event(messageId="m" * 256)), "event.malformed"),
    (raw(event(timestamp="yesterday")), "time.malformed"),
    (raw(event(timestamp="2026-03-02T10:11:12")), "time.malformed"),
    (raw(event(timestamp="0001-01-01T00:00:00+14:00")), "time.malformed"),
    (raw(event(timestamp=1772446272)), "event.malformed"),
    (raw({"type": "delete", "userId": 5}), "event.malformed"),
    (raw({"type": "delete", "userId": "u-1", "timestamp": "x"}), "time.malformed"),
]


@pytest.mark.parametrize(("body", "code"), MALFORMED)
def test_a_malformed_body_is_a_400_with_a_reason(body, code):
    refused = refusal(door(), body)

    assert (refused.status, refused.code) == (400, code)
    assert "u-90" not in str(refused) + refused.hint


def test_a_body_without_personas_is_told_what_to_map():
    refused = refusal(door(), raw({"type": "identify", "email": "kim@acme.test"}))

    assert "whole event" in refused.hint
    assert "computation_key" in refused.hint


def test_good_events_of_a_batch_are_taken_beside_malformed_ones():
    batch = [event(userId=1), event(), {}, event(type="page")]

    delivery = sent(both_factors(), batch)

    assert [each.ids for each in told(delivery)] == [(b"u-90",)]
    assert delivery.results == {"malformed": 2, "ignored": 1}
    assert "event 0: " in reply(delivery).body["malformed"]


def test_a_batch_of_nothing_but_malformed_events_is_refused_with_the_first_reason():
    at = both_factors()

    refused = refusal(at, raw([1, {}]), x_syncd=FACTOR)
    empty = refusal(at, b"[]", x_syncd=FACTOR)

    assert (refused.status, refused.code) == (400, "event.malformed")
    assert str(refused).startswith("event 0: ")
    assert (empty.status, empty.code) == (400, "batch.empty")


def test_the_answer_counts_what_was_stored_and_what_was_known():
    delivery = sent(both_factors(), [event(), event(userId="u-91"), event(userId="")])

    answer = reply(delivery, messages=1, duplicates=1)

    assert answer.status == 200
    assert answer.body["accepted"] == 1
    assert answer.body["duplicates"] == 1
    assert answer.body["ignored"] == {"unnamed": 1}


# ---- the calls that announce an audience -----------------------------------------

CREATE = b'{"audienceName":"Lapsed Trials","extras":1}'


def announce(at: Door, path: str, body: bytes, **headers) -> Reply:
    request = head(path=path, **headers)
    at.admit(request)
    answer = at.read(request, body)
    assert isinstance(answer, Reply)
    return answer


def test_an_announced_audience_gets_an_id_that_stays_and_can_be_asked_for():
    at = both_factors()
    root = f"/audiences/{FACTOR}"

    answers = [announce(at, root, CREATE) for _time in range(2)]
    found = announce(at, f"/audiences/get/{FACTOR}", raw(answers[0].body))

    assert [each.body for each in (*answers, found)] == [
        {"externalId": "lapsed_trials"}
    ] * 3


def test_an_announced_audience_names_its_feed_and_is_logged_with_its_readers():
    lists = Lists()

    with capture_logs() as lines:
        announce(both_factors(directory=lists), f"/audiences/{FACTOR}", CREATE)

    feed = Feed(connection="engage-main", key="lapsed_trials", id_type=IdType.USER_ID)
    assert list(lists.names.values()) == [(feed, "Lapsed Trials")]
    assert [(line["event"], line["readers"]) for line in lines] == [("inbox.listed", 2)]


def renamed(**fields):
    """Of an audience that was announced as Lapsed Trials, whose key is another one."""
    named = {"computation_key": "old_key", "external_audience_id": "lapsed_trials"}
    return event(
        traits={"old_key": True, "lapsed_trials": False},
        context={"personas": personas(**(named | fields))},
    )


def test_an_event_of_a_key_nobody_reads_is_of_the_announced_audience_somebody_reads():
    (said,) = told(sent(door(), renamed()))

    assert said.feed.key == "lapsed_trials"
    assert said.inside, "the boolean stands under the key of the event"


@pytest.mark.parametrize(
    ("readers", "announced"),
    [
        ({"lapsed_trials": 1, "old_key": 1}, "lapsed_trials"),
        ({}, "lapsed_trials"),
        ({"lapsed_trials": 1}, "another"),
        ({"lapsed_trials": 1}, 7),
        ({"lapsed_trials": 1}, ["lapsed_trials"]),
        ({"lapsed_trials": 1}, None),
    ],
)
def test_an_event_is_of_its_own_key_unless_only_the_announced_one_is_read(
    readers, announced
):
    at = door(readers=readers)

    (said,) = told(sent(at, renamed(external_audience_id=announced)))

    assert said.feed.key == "old_key"


def test_an_audience_is_announced_by_the_second_factors_header_too():
    basic_door = door(second_factor=factor(header="authorization", user="syncd"))

    by_header = announce(both_factors(), "/audiences", CREATE, x_syncd=FACTOR)
    by_basic = announce(
        basic_door, "/audiences", CREATE, authorization=basic("syncd", FACTOR)
    )

    assert by_header.status == by_basic.status == 200


def test_without_a_second_factor_only_a_signature_announces():
    at = door()

    assert announce(at, "/audiences", CREATE, x_signature=signed(CREATE)).status == 200
    with pytest.raises(Refused, match="not of this body"):
        announce(at, "/audiences", CREATE, x_signature=signed(b"{}"))
    with pytest.raises(Refused, match="40 hex digits"):
        at.admit(head(path="/audiences", x_segment_signature="0"))
    with pytest.raises(Refused) as caught:
        announce(at, "/audiences", CREATE)
    assert (caught.value.status, caught.value.code) == (401, "hook.unproven")


@pytest.mark.parametrize(
    "path",
    ["/audiences", "/audiences/", "/audiences/get", "/audiences/wrong", "/audiences/€"],
)
def test_an_unproven_announcement_is_refused_before_its_body(path):
    with pytest.raises(Refused) as caught:
        both_factors().admit(head(path=path, x_signature=signed(CREATE)))

    assert (caught.value.status, caught.value.code) == (401, "hook.unproven")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("", b"{", 400, "json.syntax"),
        ("", b"[]", 400, "hook.malformed"),
        ("", b"{}", 400, "hook.malformed"),
        ("", b'{"audienceName":""}', 400, "hook.malformed"),
        ("", b'{"audienceName":7}', 400, "hook.malformed"),
        ("", b'{"audienceName":"!!"}', 400, "hook.name"),
        ("", b'{"audienceName":"a\\u0000"}', 400, "hook.name"),
        ("", b'{"audienceName":"%b"}' % (b"a" * 256), 400, "hook.name"),
        ("get/", b"{}", 400, "hook.malformed"),
        ("get/", b'{"externalId":"nobody"}', 404, "list.unknown"),
    ],
)
def test_a_malformed_announcement_is_refused_with_a_reason(path, body, status, code):
    with pytest.raises(Refused) as caught:
        announce(both_factors(), f"/audiences/{path}{FACTOR}", body)

    assert (caught.value.status, caught.value.code) == (status, code)


def test_only_announcements_ask_the_store():
    at = door()

    assert at.asks_store(head(path="/audiences/get"))
    assert at.asks_store(head(path="/audiences"))
    assert not at.asks_store(head())
    assert not at.asks_store(head(path="/audiencesx"))


def test_an_announcement_comes_by_post():
    with pytest.raises(Refused) as caught:
        both_factors().admit(head(path="/audiences", method="GET", x_syncd=FACTOR))

    assert caught.value.status == 405
