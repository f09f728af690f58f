"""Every documented shape of a push is taken over HTTP; malformed ones leave no trace.

The real daemon, one for the whole file. Shapes are those of contract/segment.md 4.2 and
5, contract/amplitude.md 7.2 to 7.4 and vendor page 1; times are of today, since what is
older than a week is taken for a replay.
"""

import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.installed import Installation
from tests.knocking import (
    AMPLITUDE,
    ENGAGE,
    FACTOR,
    JSON,
    PERSON,
    PUSH_KEY,
    Answer,
    Headers,
    Knocking,
    ago,
    as_bytes,
    assert_nothing_leaked,
    hooked,
    identify,
    keyed,
    knocking,
    people,
    personas,
    signature,
    signed,
    tables,
    tally,
    words,
)
from tests.simulated import PATIENCE, Simulator

ME, YOU, THEY = people(3)
STRANGE = 'person-"ü\\u0000'


@dataclass(frozen=True)
class Served:
    """A daemon with a door of every kind."""

    installation: Installation
    at: Knocking

    def tables(self) -> dict[str, list[Any]]:
        """All that a request could change."""
        return tables(self.installation.database)

    def news(self, before: dict[Any, str]) -> dict[Any, str]:
        """Words that were not there before, as (connection, key, id): word."""
        now = words(self.installation.database)
        return {
            (connection, key, person): word
            for (connection, key, id_type, person), word in now.items()
            if before.get((connection, key, id_type, person)) != word
        }

    def words(self) -> dict[Any, str]:
        """The newest word about each person of each feed."""
        return words(self.installation.database)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, simulator_for_all: Simulator
) -> Iterator[Served]:
    """One daemon for all; its log is looked through at the end."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("served")
        installation = Installation(folder, simulator_for_all, stack)
        installation.inbox()
        installation.push()
        connections = installation.config["connections"]
        del connections["engage"]["snapshot"]
        header = {"header": "X-Syncd-Key", "file": "second_factor"}
        secret = {"secret_file": "webhook_secret"}
        for name, inbox in {
            "signed": secret,
            "extras": {"second_factor": header},
            "basic": secret
            | {"second_factor": {"basic_user": "segment", "file": "second_factor"}},
            "mapped": secret
            | {"second_factor": header, "amplitude_id": "context.traits.amplitude_id"},
        }.items():
            connections[name] = {"type": "engage", "inbox": inbox}
        installation.sync("vip")
        installation.sync(
            "journey",
            **{
                "from": {
                    "connection": "engage",
                    "audience": "welcome__step_1",
                    "without_value": "enter",
                }
            },
        )
        installation.cohort_sync(
            "adopters", "7khm_89cz", from_={"via": "push", "relist_every": "never"}
        )
        daemon = installation.start("serve")
        with knocking(daemon) as at:
            yield Served(installation, at)
        assert daemon.stop() == 0
        assert_nothing_leaked(daemon.text, also=["acme.test", STRANGE])


# ---- what Engage sends ---------------------------------------------------------------


def track(user_id: str, value: Any, **fields: Any) -> dict[str, Any]:
    """An "Audience Entered" as contract 4.2 has it."""
    defaults: dict[str, Any] = {
        "type": "track",
        "event": "Audience Entered",
        "userId": user_id,
        "messageId": f"personas_track_{user_id}_{value}",
        "timestamp": ago(30),
        "properties": {"audience_key": "vip", "vip": value, "plan": "pro"},
        "context": {
            "personas": personas(),
            "traits": {"email": f"{user_id}@acme.test"},
        },
    }
    return defaults | fields


def journey(value: Any = None, **fields: Any) -> dict[str, Any]:
    """A step of a journey; the documents show none of a boolean."""
    key = "welcome__step_1"
    properties: dict[str, Any] = {"journey_metadata": {"journey_id": "jver_1"}}
    return (
        track(
            ME,
            None,
            event="Nudge 1",
            messageId=f"personas_journey_{value}",
            properties=properties if value is None else properties | {key: value},
            context={"personas": personas(key, computation_class="journey_step")},
        )
        | fields
    )


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


def whole_header(body: bytes) -> Headers:
    """The signature since 2026, which always covers the body."""
    return JSON | {"X-Segment-Signature": signature(body), "X-Syncd-Key": FACTOR}


def first_only(body: bytes) -> Headers:
    """A batch as signed until then: its first element alone."""
    first = as_bytes(identify(YOU, True, key="first", timestamp="2000-01-01T00:00:00Z"))
    assert body.startswith(b"[" + first)
    return signed(first) | JSON


def basic_factor(body: bytes) -> Headers:
    credentials = b64encode(f"segment:{FACTOR}".encode()).decode()
    return JSON | {
        "X-Signature": signature(body),
        "Authorization": f"Basic {credentials}",
    }


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A request that is taken."""

    event: Any
    door: str = "engage"
    method: str = "POST"
    headers: Callable[[bytes], Headers] = signed
    says: dict[Any, str] = field(default_factory=dict)
    """(key, person): word, of the door's connection."""
    ignored: dict[str, int] = field(default_factory=dict)


OLD = identify(YOU, True, key="first", timestamp="2000-01-01T00:00:00Z")
CLASSIC = {"User-Agent": "Segment.io/1.0"}
ENGAGE_SHAPES = {
    "identify, exit": Shape(
        event=identify(
            ME,
            False,
            key="lapsed_trials",
            receivedAt=ago(0),
            context={
                "personas": personas(
                    "lapsed_trials",
                    external_audience_id="k3v9x1q",
                    audience_settings={"id_type": "BY_USER_ID"},
                )
            },
        ),
        says={("lapsed_trials", ME): "out"},
    ),
    "track, entry": Shape(event=track(ME, True), says={("vip", ME): "in"}),
    "classic webhook": Shape(
        event=identify(YOU),
        headers=lambda body: signed(body) | CLASSIC,
        says={("vip", YOU): "in"},
    ),
    "an event renamed": Shape(
        event=track(THEY, True, event="Audience Exited"), says={("vip", THEY): "in"}
    ),
    "traits beside it": Shape(
        event=identify(ME, key="rich", traits={"rich": True, "plan": "pro", "age": 7}),
        says={("rich", ME): "in"},
    ),
    "a boolean as text": Shape(
        event=track(
            ME,
            "true",
            messageId="personas_text",
            properties={"j_o_welcome__x9": "True"},
            context={"personas": personas("j_o_welcome__x9")},
        ),
        says={("j_o_welcome__x9", ME): "in"},
    ),
    "journey v1, documented": Shape(
        event=without(
            track(
                ME,
                "true",
                properties={"j_o_welcome__x9": "true"},
                context={"personas": personas("j_o_welcome__x9")},
            ),
            "userId",
            "messageId",
            "timestamp",
        ),
        ignored={"unnamed": 1},
    ),
    "journey v2 that says so": Shape(
        event=journey(value=False), says={("welcome__step_1", ME): "out"}
    ),
    "journey v2, documented": Shape(
        event=journey(userId=YOU), says={("welcome__step_1", YOU): "in"}
    ),
    "journey v2 that nobody asked for": Shape(
        event=journey(
            context={"personas": personas("another", computation_class="journey_step")}
        ),
        ignored={"unknown_value": 1},
    ),
    "anonymous": Shape(
        event=without(identify(ME, key="quiet"), "userId") | {"anonymousId": "a-5d1"},
        ignored={"anonymous": 1},
    ),
    "computed trait": Shape(
        event=track(
            ME,
            True,
            event="Trait Computed",
            properties={"trait_key": "spend", "spend": 12.5},
            context={"personas": personas("spend", computation_class="trait")},
        ),
        ignored={"ignored": 1},
    ),
    "group": Shape(
        event={"type": "group", "userId": ME, "groupId": "acme", "traits": {}},
        ignored={"ignored": 1},
    ),
    "test event": Shape(
        event=identify(
            ME,
            key="tried",
            context={"personas": personas("tried", event_emitter_id="event_tester_1")},
        ),
        ignored={"test": 1},
    ),
    "neither in nor out": Shape(
        event=identify(ME, None, key="unknown"), ignored={"unknown_value": 1}
    ),
    "older than a week": Shape(event=OLD, ignored={"too_old": 1}),
    "an id nobody may have": Shape(
        event=identify("null", key="hygiene"), ignored={"forbidden_word": 1}
    ),
    "Actions batch, signed today": Shape(
        event=[OLD, identify(ME, key="batched"), identify(YOU, False, key="batched")],
        headers=first_only,
        says={("batched", ME): "in", ("batched", YOU): "out"},
        ignored={"too_old": 1},
    ),
    "Actions batch, signed whole": Shape(
        event=[identify(ME, key="whole"), track(YOU, False, messageId="w2")],
        says={("whole", ME): "in", ("vip", YOU): "out"},
    ),
    "Actions batch, the new header": Shape(
        event=[identify(ME, key="header"), identify(YOU, key="header")],
        headers=whole_header,
        says={("header", ME): "in", ("header", YOU): "in"},
    ),
    "Extensible Webhook": Shape(
        event=[{"json": OLD}, {"json": identify(ME, key="wrapped")}],
        headers=lambda body: signed(as_bytes(OLD)),
        says={("wrapped", ME): "in"},
        ignored={"too_old": 1},
    ),
    "one that cannot be read, in a batch": Shape(
        event=[identify(ME, key="mixed"), {"type": "identify"}],
        says={("mixed", ME): "in"},
        ignored={"malformed": 1},
    ),
    "PUT": Shape(event=identify(ME, key="put"), method="PUT", says={("put", ME): "in"}),
    "PATCH": Shape(
        event=identify(ME, key="patch"), method="PATCH", says={("patch", ME): "in"}
    ),
    "single, signature only": Shape(
        event=identify(ME),
        door="signed",
        headers=lambda body: JSON | {"X-Signature": signature(body)},
        says={("vip", ME): "in"},
    ),
    "extras merged in after signing": Shape(
        event=identify(ME, note="extra"),
        door="extras",
        headers=lambda body: (
            JSON | {"X-Signature": signature(b"another"), "X-Syncd-Key": FACTOR}
        ),
        says={("vip", ME): "in"},
    ),
    "Basic as second factor": Shape(
        event=[identify(ME), identify(YOU)],
        door="basic",
        headers=basic_factor,
        says={("vip", ME): "in", ("vip", YOU): "in"},
    ),
    "an Amplitude id beside the user id": Shape(
        event=identify(
            ME,
            context={
                "personas": personas(),
                "traits": {"amplitude_id": 356000000001},
            },
        ),
        door="mapped",
        says={("vip", ME): "in", ("vip", "356000000001"): "in"},
    ),
    "a letter beyond ASCII": Shape(
        event=identify("person-ü-1", key="umlaut"),
        says={("umlaut", "person-ü-1"): "in"},
    ),
}


@pytest.mark.parametrize("name", ENGAGE_SHAPES)
def test_what_engage_sends_is_taken_and_stored(served: Served, name: str) -> None:
    shape = ENGAGE_SHAPES[name]
    before, body = served.words(), as_bytes(shape.event)

    answer = served.at.ask(
        f"/in/{shape.door}", body, shape.headers(body), method=shape.method
    )

    assert answer.status == 200, answer.text
    assert answer.body["ignored"] == shape.ignored
    assert served.news(before) == {
        (shape.door, key, person): word for (key, person), word in shape.says.items()
    }


def test_a_deleted_person_leaves_every_audience_of_the_connection(
    served: Served,
) -> None:
    gone, stays = people(2, first=100)
    for key in ("first_one", "second_one"):
        served.at.engage([identify(gone, key=key), identify(stays, key=key)])

    deletion = {"type": "delete", "userId": gone, "timestamp": ago(0)}
    answer = served.at.engage(deletion)

    assert answer.status == 200, answer.text
    said = {
        key: word
        for (connection, key, _, person), word in served.words().items()
        if connection == "engage" and person == gone
    }
    assert {"first_one", "second_one", "vip"} <= said.keys()
    assert set(said.values()) == {"deleted"}
    assert all(
        word == "in" for (*_, person), word in served.words().items() if person == stays
    )


def test_the_same_message_again_changes_no_word(served: Served) -> None:
    event = identify(people(1, first=110)[0], key="repeated")
    first = served.at.engage(event)
    before = served.words(), served.tables()["message"]

    again = served.at.engage(event)

    assert (first.body["accepted"], first.body["duplicates"]) == (1, 0)
    assert (again.body["accepted"], again.body["duplicates"]) == (0, 1)
    assert (served.words(), served.tables()["message"]) == before


def test_an_announced_audience_has_an_id_that_is_found_again(served: Served) -> None:
    url = f"{ENGAGE}/audiences"
    created = served.at.ask(f"{url}/{FACTOR}", {"audienceName": "Lapsed Trials"}, JSON)
    again = served.at.ask(
        url, {"audienceName": "Lapsed Trials"}, JSON | {"X-Syncd-Key": FACTOR}
    )
    got = served.at.ask(f"{url}/get/{FACTOR}", created.body, JSON)

    assert created.status == again.status == got.status == 200
    assert created.body == again.body == got.body
    assert list(created.body) == ["externalId"]


# ---- what Amplitude sends ------------------------------------------------------------

CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


def new_list(served: Served, name: str) -> Answer:
    """Have a list made, as vendor page 1 prints it."""
    return served.at.amplitude("/lists", {"name": name, "context": CONTEXT})


def test_a_list_is_made_once_and_answered_flat_and_below_response(
    served: Served,
) -> None:
    name = "[Amplitude] Cohort A: made1"
    answers = [new_list(served, name) for _ in range(3)]
    renamed = new_list(served, "[Amplitude] Cohort (new name): made1")

    assert {each.status for each in (*answers, renamed)} == {200}
    (list_id,) = {each.body["listId"] for each in (*answers, renamed)}
    flat = {"listId": list_id, "list_id": list_id}
    assert answers[0].body == flat | {"response": flat}


@pytest.mark.parametrize("ids_key", ["userIds", "user_ids"])
def test_people_are_added_to_a_list_and_removed(served: Served, ids_key: str) -> None:
    cohort = f"list-{ids_key.replace('_', '')}"
    list_id = new_list(served, f"[Amplitude] Cohort A: {cohort}").body["listId"]
    before = served.words()

    def change(verb: str, *ids: str) -> Answer:
        return served.at.amplitude(
            f"/lists/{list_id}/{verb}", {ids_key: list(ids), "context": CONTEXT}
        )

    answers = [
        change("add", ME, YOU),
        change("add", ME, ME),  # members already
        change("remove", YOU),
        change("remove", THEY),  # a stranger
        change("add"),
    ]

    assert [each.status for each in answers] == [200] * 5
    assert served.news(before) == {
        ("amplitude", cohort, ME): "in",
        ("amplitude", cohort, YOU): "out",
        ("amplitude", cohort, THEY): "out",
    }


def test_a_list_that_is_unknown_is_a_404(served: Served) -> None:
    before = served.tables()

    answer = served.at.amplitude("/lists/0a1b2c/add", {"userIds": [ME]})

    assert (answer.status, answer.code) == (404, "list.unknown")
    assert served.tables() == before


def update(trait: str, user_id: str, value: Any = True) -> dict[str, Any]:
    return {
        "type": "identify",
        "traits": {trait: value},
        "userId": user_id,
        "context": CONTEXT,
    }


SPELLINGS = {
    "[Amplitude] Cohort A: spell1": "spell1",
    "[Amplitude] Cohort A (spell2)": "spell2",
    "Cohort A: spell3": "spell3",
    "Cohort A:spell4": "spell4",
    "Cohort (a: b) A (spell5)": "spell5",
    "amplitude_Cohort_A_spell6": "spell6",
    "amplitude_Power_Users_7khm_89cz": "7khm_89cz",
    "[Amplitude] Ratio 1:2 (eu): spell7": "spell7",
}


@pytest.mark.parametrize("trait", SPELLINGS)
@pytest.mark.parametrize("below", ["", "/properties", "/lists/any/remove"])
def test_a_property_names_its_cohort_in_every_spelling(
    served: Served, trait: str, below: str
) -> None:
    key = SPELLINGS[trait]
    entered, left, gone = people(3, first=200 + 10 * len(below) + 400 * len(trait))
    before = served.words()

    single = served.at.amplitude(below, update(trait, entered))
    batch = served.at.amplitude(
        below, {"batch": [update(trait, left, False), update(trait, gone, "False")]}
    )

    assert single.status == batch.status == 200, single.text + batch.text
    assert served.news(before) == {
        ("amplitude", key, entered): "in",
        ("amplitude", key, left): "out",
        ("amplitude", key, gone): "out",
    }


def test_one_batch_may_be_about_several_cohorts_and_people_without_an_id(
    served: Served,
) -> None:
    before = served.words()
    traits = {"Adopters: several1": True, "Churned: several2": False, "plan": "pro"}
    nobody = update("Adopters: several1", "")

    answer = served.at.amplitude(
        "", {"batch": [update("", ME) | {"traits": traits}, nobody]}
    )

    assert answer.status == 200
    assert answer.body["refused"] == {"unknown_trait": 1, "anonymous": 1}
    assert served.news(before) == {
        ("amplitude", "several1", ME): "in",
        ("amplitude", "several2", ME): "out",
    }


def test_the_test_call_of_vendor_page_1_is_taken(served: Served) -> None:
    before = served.words()
    body = b"""
{
  "traits": {
    "cohort name:123": true
  },
  "type": "identify",
  "userId": "person-test.user@email.com"
}
"""
    headers = JSON | {"api_key": PUSH_KEY, "app_id": "TEST_APP_ID"}

    answer = served.at.ask(AMPLITUDE, body, headers)

    assert answer.status == 200, answer.text
    assert served.news(before) == {
        ("amplitude", "123", "person-test.user@email.com"): "in"
    }


def template(cohort: str, **fields: Any) -> dict[str, Any]:
    """The payload that a customer starts with (contract 7.4)."""
    defaults: dict[str, Any] = {
        "cohort_name": "My Test Cohort",
        "cohort_id": cohort,
        "in_cohort": True,
        "computed_time": str(int(time.time()) - 60),
        "message_id": f"9baaa88f::{cohort}::enter::0",
        "users": [
            {"user_id": ME},
            {"user_id": YOU, "user_properties": {"country": "US"}},
        ],
    }
    return defaults | fields


BOTH_IN = {ME: "in", YOU: "in"}
BOTH_OUT = {ME: "out", YOU: "out"}
PER_USER = (
    b'[{"user_id":"person-000000","amplitude_Cohort_A_hook9":true},\n'
    b' {"user_id":"person-000001","amplitude_Cohort_A_hook9":false},\n]'
)
TRAILING = (
    b'{"cohort_id":"hook8","in_cohort":true,\n'
    b' "users":[{"user_id":"person-000000",},{"user_id":"person-000001"},],\n}'
)
WEBHOOKS: dict[str, tuple[str, Any, dict[str, str]]] = {
    "the template": ("hook1", template("hook1"), BOTH_IN),
    "leaving": ("hook2", template("hook2", in_cohort=False), BOTH_OUT),
    "in_cohort as text": ("hook3", template("hook3", in_cohort="true"), BOTH_IN),
    "in_cohort as Python": ("hook4", template("hook4", in_cohort="False"), BOTH_OUT),
    "an older name of the time": (
        "hook5",
        without(template("hook5"), "computed_time")
        | {"compute_time": str(int(time.time()))},
        BOTH_IN,
    ),
    "a time that is a number": (
        "hook6",
        template("hook6", computed_time=int(time.time())),
        BOTH_IN,
    ),
    "the least that says something": (
        "hook7",
        without(template("hook7"), "computed_time", "message_id", "cohort_name"),
        BOTH_IN,
    ),
    "commas at the end": ("hook8", TRAILING, BOTH_IN),
    "an array of people": ("hook9", PER_USER, {ME: "in", YOU: "out"}),
    "somebody without an id": (
        "hook10",
        template("hook10", users=[{"user_id": None}, {"user_id": ME}]),
        {ME: "in"},
    ),
    "nobody": ("hook11", template("hook11", users=[]), {}),
}


@pytest.mark.parametrize("name", WEBHOOKS)
def test_a_cohort_webhook_is_taken_in_all_its_forms(served: Served, name: str) -> None:
    key, content, said = WEBHOOKS[name]
    before, began = served.words(), time.monotonic()

    answer = served.at.webhook(content)

    assert answer.status == 200, answer.text
    assert time.monotonic() - began < 1
    assert served.news(before) == {
        ("amplitude", key, person): word for person, word in said.items()
    }


# ---- what is malformed ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """A request that is refused, for a reason that helps its sender."""

    status: int
    code: str
    content: Any = b""
    path: str = ENGAGE
    method: str = "POST"
    headers: Callable[[bytes], Headers] = signed


def engaged(code: str, content: Any, status: int = 400) -> Malformed:
    return Malformed(status=status, code=code, content=content)


def pushed(
    code: str, content: Any, below: str = "/properties", status: int = 400
) -> Malformed:
    return Malformed(
        status=status,
        code=code,
        content=content,
        path=AMPLITUDE + below,
        headers=lambda _: keyed(),
    )


def webhooked(code: str, content: Any) -> Malformed:
    return Malformed(
        status=400,
        code=code,
        content=content,
        path=f"{AMPLITUDE}/webhook",
        headers=lambda _: hooked(),
    )


def unproven(code: str, headers: Callable[[bytes], Headers], **more: Any) -> Malformed:
    defaults = {"status": 401, "content": identify(ME, key="refused")}
    return Malformed(code=code, headers=headers, **(defaults | more))  # type: ignore[arg-type]


def refused(**fields: Any) -> dict[str, Any]:
    return identify(ME, key="refused") | fields


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


EVENT = as_bytes(identify(ME, key="refused"))
MALFORMED = {
    # who it is
    "no signature": unproven(
        "signature.missing", lambda _: JSON | {"X-Syncd-Key": FACTOR}
    ),
    "a signature of another body": unproven(
        "signature.wrong", lambda _: signed(b"another")
    ),
    "a signature by another secret": unproven(
        "signature.wrong", lambda body: signed(body, "wrong-secret")
    ),
    "a signature in capitals": unproven(
        "signature.malformed",
        lambda body: signed(body) | {"X-Signature": signature(body).upper()},
    ),
    "a signature beyond ASCII": unproven(
        "signature.malformed", lambda body: signed(body) | {"X-Signature": "é" * 40}
    ),
    "no second factor": unproven(
        "second_factor", lambda body: JSON | {"X-Signature": signature(body)}
    ),
    "another second factor": unproven(
        "second_factor", lambda body: signed(body) | {"X-Syncd-Key": "person-guess"}
    ),
    "a factor beyond ASCII": unproven(
        "second_factor", lambda body: signed(body) | {"X-Syncd-Key": "é"}
    ),
    "no api key": unproven("push.credentials", lambda _: JSON, path=AMPLITUDE),
    "a wrong api key": unproven(
        "push.credentials", lambda _: keyed("person-key"), path=AMPLITUDE
    ),
    "the api key with a password": unproven(
        "push.credentials",
        lambda _: (
            JSON
            | {"Authorization": "Basic " + b64encode(f"{PUSH_KEY}:x".encode()).decode()}
        ),
        path=AMPLITUDE,
    ),
    "credentials that are no base64": unproven(
        "push.credentials",
        lambda _: JSON | {"Authorization": "Basic ü"},
        path=AMPLITUDE,
    ),
    "the api key at the webhook": unproven(
        "push.credentials", lambda _: keyed(), path=f"{AMPLITUDE}/webhook"
    ),
    "a hook that nothing proves": unproven(
        "hook.unproven",
        lambda _: JSON,
        path=f"{ENGAGE}/audiences",
        content={"audienceName": "Refused"},
    ),
    "a batch that nothing but its first signs": Malformed(
        status=403, code="batch.unproven", content=[refused()], path="/in/signed"
    ),
    # where it is, and how
    "no door": Malformed(status=404, code="path", path="/in/nowhere"),
    "the root": Malformed(status=404, code="path", path="/"),
    "below the inbox": Malformed(status=404, code="path", path=f"{ENGAGE}/person-1"),
    "beside the push": pushed("path", {}, below="/other", status=404),
    "a list's other verb": pushed("path", {}, below="/lists/1/replace", status=404),
    "a door's name cut": Malformed(status=404, code="path", path="/in/engag"),
    "GET": Malformed(status=405, code="method", method="GET"),
    "DELETE": Malformed(status=405, code="method", method="DELETE"),
    "OPTIONS": Malformed(status=405, code="method", method="OPTIONS"),
    "PUT at a list": Malformed(
        status=405, code="method", method="PUT", path=f"{AMPLITUDE}/lists"
    ),
    "compressed": Malformed(
        status=415,
        code="encoding",
        content=EVENT,
        headers=lambda body: signed(body) | {"Content-Encoding": "gzip"},
    ),
    "too long": Malformed(status=413, code="too_long", content=b" " * (9 << 20)),
    # JSON
    "empty": engaged("json.syntax", b""),
    "no JSON": engaged("json.syntax", b"person-000001"),
    "a form": engaged("json.syntax", b"userId=person-000001"),
    "cut off": engaged("json.syntax", EVENT[:-1]),
    "two values": engaged("json.syntax", EVENT * 2),
    "a trailing comma": engaged("json.syntax", EVENT[:-1] + b",}"),
    "no UTF-8": engaged("json.not_utf8", EVENT.replace(b"acme", b"\xff\xfe")),
    "a byte order mark": engaged("json.bom", b"\xef\xbb\xbf" + EVENT),
    "one name twice": engaged(
        "json.duplicate_key", EVENT[:-1] + b',"userId":"person-000002"}'
    ),
    "NaN": engaged("json.number", EVENT[:-1] + b',"score":NaN}'),
    "Infinity": engaged("json.number", EVENT[:-1] + b',"score":-Infinity}'),
    "a number without end": engaged(
        "json.number", EVENT[:-1] + b',"score":' + b"9" * 5000 + b"}"
    ),
    "too deep": engaged("json.too_deep", deep(100_000)),
    "too many values": engaged("json.too_many", b"[" + b"1," * 500_001 + b"1]"),
    "half a surrogate pair": engaged(
        "json.surrogate", EVENT.replace(b"acme", b"\\ud83d")
    ),
    # events
    "null": engaged("event.malformed", None),
    "a text": engaged("event.malformed", ME),
    "a number": engaged("event.malformed", 7),
    "an empty batch": engaged("batch.empty", []),
    "a batch of nothing readable": engaged("event.malformed", [ME, 1, None]),
    "no type": engaged("type.missing", without(refused(), "type")),
    "another type": engaged("type.unknown", refused(type="person-type")),
    "a type that is no text": engaged("event.malformed", refused(type=["identify"])),
    "no personas": engaged("personas.missing", refused(context={})),
    "no context": engaged("personas.missing", without(refused(), "context")),
    "personas that are none": engaged(
        "personas.malformed", refused(context={"personas": [ME]})
    ),
    "no class": engaged(
        "personas.incomplete", refused(context={"personas": {"computation_key": "k"}})
    ),
    "no key": engaged(
        "personas.incomplete",
        refused(context={"personas": {"computation_class": "audience"}}),
    ),
    "a key with a line in it": engaged(
        "event.malformed", refused(context={"personas": personas("a\nb")})
    ),
    "a key without end": engaged(
        "event.malformed", refused(context={"personas": personas("k" * 300)})
    ),
    "traits that are none": engaged("event.malformed", refused(traits=[ME])),
    "an id that is a number": engaged("event.malformed", refused(userId=12)),
    "a time without a zone": engaged(
        "time.malformed", refused(timestamp="2026-03-02T10:11:12")
    ),
    "a time that is none": engaged("time.malformed", refused(timestamp="yesterday")),
    "a message id with NUL": engaged("event.malformed", refused(messageId="a\0b")),
    "a deletion with a broken time": engaged(
        "time.malformed", {"type": "delete", "userId": ME, "timestamp": "now"}
    ),
    # hooks
    "a hook without a name": Malformed(
        status=400, code="hook.malformed", content={}, path=f"{ENGAGE}/audiences"
    ),
    "a hook with an empty name": Malformed(
        status=400,
        code="hook.name",
        content={"audienceName": "?!"},
        path=f"{ENGAGE}/audiences",
    ),
    "an audience nobody announced": Malformed(
        status=404,
        code="list.unknown",
        content={"externalId": ME},
        path=f"{ENGAGE}/audiences/get",
    ),
    # lists
    "a list without a name": pushed("push.malformed", {}, below="/lists"),
    "a list's name that is none": pushed("push.malformed", {"name": 7}, below="/lists"),
    "a list of no cohort": pushed(
        "push.malformed", {"name": "Cohort A"}, below="/lists"
    ),
    "a list that is an array": pushed("push.malformed", [], below="/lists"),
    "an unknown list": pushed(
        "list.unknown", {"userIds": [ME]}, below="/lists/abc/add", status=404
    ),
    "no ids": pushed("push.malformed", {}, below="/lists/abc/add"),
    "ids that are a text": pushed(
        "push.malformed", {"userIds": ME}, below="/lists/abc/add"
    ),
    "an id that is null": pushed(
        "push.malformed", {"userIds": [ME, None]}, below="/lists/abc/remove"
    ),
    "two spellings that disagree": pushed(
        "push.malformed",
        {"userIds": [ME], "user_ids": [YOU]},
        below="/lists/abc/add",
    ),
    # properties
    "an update without traits": pushed("push.malformed", {"userId": ME}),
    "traits that are an array": pushed("push.malformed", {"userId": ME, "traits": []}),
    "an update of nobody": pushed("push.malformed", {"traits": {"A: b1": True}}),
    "an update of a number": pushed(
        "push.malformed", update("A: b1", ME) | {"userId": 7}
    ),
    "another type of update": pushed(
        "push.malformed", update("A: b1", ME) | {"type": "track"}
    ),
    "an id that Amplitude refuses": pushed(
        "push.user_id", update("A: b1", "null"), status=404
    ),
    "a batch that is an object": pushed("push.malformed", {"batch": {}}),
    "a batch of texts": pushed("push.malformed", {"batch": [ME]}),
    "batch and traits": pushed("push.malformed", update("A: b1", ME) | {"batch": []}),
    "a list and an update": pushed(
        "push.malformed", update("A: b1", ME) | {"userIds": [ME]}
    ),
    "a comma too many": pushed("json.syntax", b'{"batch":[],}'),
    # webhooks
    "a webhook without a cohort": webhooked(
        "push.malformed", without(template("b1"), "cohort_id")
    ),
    "a cohort that is no id": webhooked("push.malformed", template("a b/c")),
    "a direction that is none": webhooked(
        "push.malformed", template("b1", in_cohort="maybe")
    ),
    "no direction": webhooked("push.malformed", without(template("b1"), "in_cohort")),
    "no users": webhooked("push.malformed", without(template("b1"), "users")),
    "users that are texts": webhooked("push.malformed", template("b1", users=[ME])),
    "a user that is a number": webhooked(
        "push.malformed", template("b1", users=[{"user_id": 7}])
    ),
    "milliseconds": webhooked(
        "push.malformed", template("b1", computed_time="1692206763000")
    ),
    "a time with commas": webhooked(
        "push.malformed", template("b1", computed_time="1,692,206,763")
    ),
    "a template that was not filled in": webhooked(
        "push.malformed", template("b1", message_id="${message_id}")
    ),
    "a webhook that is a text": webhooked("push.malformed", ME),
    "a quote in a hand-made template": webhooked(
        "json.syntax", b'{"cohort_name":"The "best"","users":[]}'
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_with_a_reason_and_leaves_no_trace(
    served: Served, name: str
) -> None:
    request = MALFORMED[name]
    before, body = served.tables(), as_bytes(request.content)

    answer = served.at.ask(request.path, body, request.headers(body), request.method)

    assert (answer.status, answer.code) == (request.status, request.code)
    assert len(answer.body["error"]["message"]) > 10
    assert answer.body.keys() == {"error"}
    assert_nothing_leaked(answer.text, repr(answer.headers), also=["acme.test"])
    assert served.tables() == before


def test_there_are_enough_malformed_requests() -> None:
    assert len(MALFORMED) >= 40
    assert {each.status for each in MALFORMED.values()} == {
        *(400, 401, 403, 404, 405, 413, 415)
    }


def test_a_body_without_personas_is_told_what_to_map(served: Served) -> None:
    body = {"userId": ME, "event": "Audience Entered", "type": "track"}

    answer = served.at.engage(body)

    assert (answer.status, answer.code) == (400, "personas.missing")
    hint = answer.body["error"]["hint"]
    for needed in ("$.", "userId", "messageId", "context.personas", "computation_key"):
        assert needed in hint


POST = b"POST /in/engage HTTP/1.1\r\nHost: a\r\n"
BROKEN = {
    "no HTTP at all": (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03person-\r\n\r\n",
        400,
    ),
    "a head without end": (b"GET /in/engage HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
    "two lengths": (
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        400,
    ),
    "a length and chunks": (
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a length below nothing": (
        POST + b"Content-Length: -1\r\n\r\n",
        400,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_request_is_refused_and_leaves_no_trace(
    served: Served, name: str
) -> None:
    raw, status = BROKEN[name]
    before = served.tables()

    with socket.create_connection(_address(served), PATIENCE) as client:
        client.sendall(raw)
        answer = client.recv(65_536)

    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b'"code"' in text
    assert PERSON.encode() not in answer
    assert served.tables() == before


def _address(served: Served) -> tuple[str, int]:
    host, _, port = served.at.where.partition(":")
    return host, int(port)


def test_what_was_left_out_is_counted_by_its_reason(served: Served) -> None:
    before = tally(served.installation.database, "engage")
    anonymous = without(identify(ME, key="quiet"), "userId") | {"anonymousId": "a-1"}

    served.at.engage([anonymous, anonymous, identify(ME, None, key="quiet")])

    after = tally(served.installation.database, "engage")
    grown = {name: n - before.get(name, 0) for name, n in after.items()}
    assert {name: n for name, n in grown.items() if n} == {
        "anonymous": 2,
        "unknown_value": 1,
    }
