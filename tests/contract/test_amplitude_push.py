"""What Amplitude pushes, in every documented shape, and what is refused of it.

Shapes: vendor page 1 and contract/amplitude.md section 7.
"""

import json
import threading
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.app.directory import Directory
from syncd.clock import Clock
from syncd.model import Feed, IdType, Message, Told
from syncd.sources.amplitude_push import AmplitudeDoor, AmplitudeDoorSettings
from syncd.sources.door import Delivery, Door, Head, Refused, Reply, Stored
from syncd.sources.presented import Keys
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.writer import Writer
from syncd.sync import ids
from tests.builders import NOW, ManualClock, new_database

COHORT = "7khm89cz"
NAME = f"[Amplitude] Cohort A: {COHORT}"
FEED = Feed(connection="amp", key=COHORT, id_type=IdType.USER_ID)
COMPUTED = datetime(2023, 8, 16, 17, 26, 3, tzinfo=UTC)
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
WEBHOOK = {
    "cohort_name": "My Test Cohort",
    "cohort_id": COHORT,
    "in_cohort": True,
    "computed_time": "1692206763",
    "message_id": "9baaa88f-9d46-4ee5-a946-be0c6aea0046::enter::0",
    "users": [
        {"user_id": "user_one@example.com"},
        {"user_id": "user_two@example.com", "user_properties": {"country": "US"}},
    ],
}


# ---- a door, and what is told to it -------------------------------------------------


class Lists:
    """A directory in memory, as durable as the test; may wait for others to come."""

    def __init__(self, together: int = 1) -> None:
        self.ids: dict[Feed, str] = {}
        self.names: dict[Feed, str] = {}
        self.asked = 0
        self._lock = threading.Lock()
        self._gate = threading.Barrier(together, timeout=30)

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        self._gate.wait()
        with self._lock:
            self.names[feed] = name
            return self.ids.setdefault(feed, list_id)

    def find(self, connection: str, list_id: str) -> Feed | None:
        self.asked += 1
        found = {id_: feed for feed, id_ in self.ids.items()}.get(list_id)
        return found if found and found.connection == connection else None


def accept(block: list[bytes], id_type: IdType) -> tuple[list[bytes], Mapping]:
    accepted = ids.accept(block, id_type)
    return accepted.ids, accepted.refused


def settings(**changes: Any) -> AmplitudeDoorSettings:
    plain = AmplitudeDoorSettings(
        connection="amp",
        path="/in/amp",
        api_key=Keys(current=b"the-key"),
        webhook_header="x-syncd-secret",
        webhook_secret=Keys(current=b"the-secret"),
        max_body=1024,
        accept=accept,
        clock=ManualClock(),
        directory=Lists(),
        readers={COHORT: 2},
    )
    return replace(plain, **changes)


def door(**changes: Any) -> AmplitudeDoor:
    return AmplitudeDoor(settings(**changes))


def basic_header(user: str, password: str = "") -> dict[str, str]:
    token = b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {token}"}


def head(path: str, **changes: Any) -> Head:
    secret = {"x-syncd-secret": "the-secret"}
    headers = secret if path == "/webhook" else basic_header("the-key")
    return replace(Head(method="POST", path=path, headers=headers), **changes)


def send(to: AmplitudeDoor, path: str, body: Any) -> Delivery | Reply:
    """As the server does it: admit the head, then read the body."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    to.admit(head(path))
    return to.read(head(path), raw)


def delivered(path: str, body: Any, **changes: Any) -> Delivery:
    answer = send(door(**changes), path, body)
    assert isinstance(answer, Delivery)
    return answer


def told(delivery: Delivery) -> dict[tuple[str, bool], list[bytes]]:
    """(cohort id, inside) -> member ids."""
    words = [word for message in delivery.messages for word in message.told]
    assert len({(word.feed, word.inside) for word in words}) == len(words)
    return {(word.feed.key, word.inside): list(word.ids) for word in words}


def create(to: AmplitudeDoor, name: str = NAME) -> str:
    answer = send(to, "/lists", {"name": name, "context": CONTEXT})
    assert isinstance(answer, Reply)
    return str(answer.body["listId"])


def stored(delivery: Delivery, *, duplicate: bool = False) -> Reply:
    people = sum(len(w.ids) for m in delivery.messages for w in m.told)
    messages = len(delivery.messages)
    new, known = (0, messages) if duplicate else (messages, 0)
    return delivery.reply(Stored(messages=new, duplicates=known, people=people))


def status(of: AmplitudeDoor, head: Head) -> int:
    """How a head is answered; 200 stands for being let in."""
    try:
        of.admit(head)
    except Refused as refused:
        return refused.status
    return 200


def identify(traits: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "identify", "traits": traits, "context": CONTEXT, **fields}


def test_it_is_a_door() -> None:
    made: Door = door()

    assert (made.connection, made.path, made.max_body) == ("amp", "/in/amp", 1024)


# ---- lists --------------------------------------------------------------------------


def test_a_new_list_is_answered_flat_and_under_response() -> None:
    directory = Lists()

    with capture_logs() as lines:
        answer = send(door(directory=directory), "/lists", {"name": NAME})

    list_id = directory.ids[FEED]
    flat = {"listId": list_id, "list_id": list_id}
    assert answer == Reply(status=200, body={**flat, "response": flat})
    assert directory.names[FEED] == "Cohort A"
    assert [(line["event"], line["key"], line["readers"]) for line in lines] == [
        ("inbox.listed", COHORT, 2)
    ]


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        f"Cohort A ({COHORT})",
        f"[Amplitude] Cohort A ({COHORT})",
        f"Cohort A:{COHORT}",
        f"amplitude_Cohort A_{COHORT}",
        f"[Amplitude] Renamed: since (then): {COHORT}",
    ],
)
def test_a_cohort_has_one_list_whatever_it_is_called(name: str) -> None:
    to = door()
    first = create(to)

    with capture_logs() as lines:
        again = create(to, name)

    assert again == first
    assert lines == []


def test_two_cohorts_have_two_lists() -> None:
    to = door()

    assert create(to) != create(to, "[Amplitude] Cohort B: 8aaa89cz")


def test_four_creations_at_once_give_one_list_and_one_log_line() -> None:
    to = door(directory=Lists(together=4))

    with ThreadPoolExecutor(4) as pool, capture_logs() as lines:
        given = set(pool.map(lambda _: create(to), range(4)))

    assert len(given) == 1
    assert len(lines) == 1


def test_the_real_store_gives_four_at_once_one_list_that_survives(
    tmp_path: Path,
) -> None:
    database = new_database(tmp_path)
    with closing(database):
        given = {list_at_once(database)}

        given.add(list_at_once(database))

        assert len(given) == 1
        with database.read() as store:
            (row,) = inbox.feeds(store)
        assert (row.feed, row.name, {row.list_id}) == (FEED, "Cohort A", given)


def list_at_once(database: Database) -> str:
    """What a daemon, just started, answers to four creations at once."""
    writer = Writer(database, Clock())
    writer.start()
    try:
        to = door(directory=Directory(database, writer, Clock()))
        with ThreadPoolExecutor(4) as pool:
            (list_id,) = set(pool.map(lambda _: create(to), range(4)))
        added = send(to, f"/lists/{list_id}/add", {"userIds": ["u-1"]})
        assert isinstance(added, Delivery)
        assert told(added) == {(COHORT, True): [b"u-1"]}
        return list_id
    finally:
        writer.stop()


def test_a_list_is_known_after_a_restart() -> None:
    directory = Lists()
    list_id = create(door(directory=directory))

    restarted = door(directory=directory)

    added = send(restarted, f"/lists/{list_id}/add", {"userIds": ["u-1"]})
    assert isinstance(added, Delivery)
    assert told(added) == {(COHORT, True): [b"u-1"]}
    assert create(restarted) == list_id


def test_a_known_list_is_not_asked_for_again() -> None:
    directory = Lists()
    list_id = create(door(directory=directory))
    restarted = door(directory=directory)

    for _ in range(3):
        send(restarted, f"/lists/{list_id}/add", {"userIds": ["u-1"]})

    assert directory.asked == 1


@pytest.mark.parametrize("key", ["userIds", "user_ids"])
@pytest.mark.parametrize(("verb", "inside"), [("add", True), ("remove", False)])
def test_people_are_added_and_removed(key: str, verb: str, inside: bool) -> None:
    to = door()
    path = f"/lists/{create(to)}/{verb}"

    delivery = send(to, path, {key: ["u-1", "u-2"], "context": CONTEXT})

    assert isinstance(delivery, Delivery)
    word = Told(feed=FEED, ids=[b"u-1", b"u-2"], inside=inside)
    assert delivery.messages == (Message(connection="amp", id="", told=(word,)),)
    assert stored(delivery) == Reply(status=200, body={"accepted": 2, "refused": {}})


def test_equal_ids_under_both_keys_are_one_list_of_ids() -> None:
    to = door()
    body = {"userIds": ["u-1"], "user_ids": ["u-1"]}

    delivery = send(to, f"/lists/{create(to)}/add", body)

    assert isinstance(delivery, Delivery)
    assert told(delivery) == {(COHORT, True): [b"u-1"]}


def test_no_ids_are_no_fault() -> None:
    to = door()

    delivery = send(to, f"/lists/{create(to)}/add", {"userIds": []})

    assert isinstance(delivery, Delivery)
    assert delivery.messages == ()
    assert stored(delivery).body == {"accepted": 0, "refused": {}}


def test_ids_that_hygiene_refuses_are_counted() -> None:
    to = door()
    body = {"userIds": ["u-1", "null", "", "", "a\nb"]}

    delivery = send(to, f"/lists/{create(to)}/add", body)

    assert isinstance(delivery, Delivery)
    refused = {"forbidden_word": 1, "empty": 2, "control_character": 1}
    assert told(delivery) == {(COHORT, True): [b"u-1"]}
    assert delivery.results == refused
    assert stored(delivery).body == {"accepted": 1, "refused": refused}


def test_ten_thousand_ids_pass_in_one_request() -> None:
    to = door()
    ids_ = [f"user-{number}@example.com" for number in range(10_000)]

    delivery = send(to, f"/lists/{create(to)}/add", {"userIds": ids_})

    assert isinstance(delivery, Delivery)
    assert stored(delivery).body["accepted"] == 10_000


@pytest.mark.parametrize("verb", ["add", "remove"])
@pytest.mark.parametrize(
    ("list_id", "asked"), [("nobody", 1), ("a\x00b", 0), ("é", 0), ("x" * 101, 0)]
)
def test_an_unknown_list_is_a_404(list_id: str, asked: int, verb: str) -> None:
    directory = Lists()

    with pytest.raises(Refused, match="no such list") as refused:
        send(
            door(directory=directory),
            f"/lists/{list_id}/{verb}",
            {"userIds": ["u-1"]},
        )

    assert (refused.value.status, refused.value.code) == (404, "list.unknown")
    assert directory.asked == asked


def test_a_list_of_another_connection_is_unknown() -> None:
    directory = Lists()
    list_id = create(door(connection="other", directory=directory))

    with pytest.raises(Refused) as refused:
        send(door(directory=directory), f"/lists/{list_id}/add", {"userIds": ["u-1"]})

    assert refused.value.status == 404


# ---- properties ---------------------------------------------------------------------

TRAITS = [
    NAME,
    f"Cohort A ({COHORT})",
    f"[Amplitude] Cohort A ({COHORT})",
    f"Cohort A:{COHORT}",
    f"amplitude_Cohort A_{COHORT}",
]


@pytest.mark.parametrize("path", ["", "/", "/properties", "/lists/any-list/remove"])
@pytest.mark.parametrize("trait", TRAITS)
def test_a_single_update_is_one_word(path: str, trait: str) -> None:
    delivery = delivered(path, identify({trait: True}, userId="u-1"))

    word = Told(feed=FEED, ids=[b"u-1"], inside=True, name="Cohort A")
    assert delivery.messages == (Message(connection="amp", id="", told=(word,)),)
    assert stored(delivery) == Reply(status=200, body={"accepted": 1, "refused": {}})


@pytest.mark.parametrize("path", ["/properties", "/lists/any-list/remove"])
def test_a_batch_is_taken_in_one_message(path: str) -> None:
    batch = [
        identify({NAME: True}, userId="u-1"),
        identify({NAME: False}, userId="u-2"),
        identify({"[Amplitude] Cohort B: 8aaa89cz": True}, userId="u-1"),
    ]

    delivery = delivered(path, {"batch": batch})

    assert len(delivery.messages) == 1
    assert told(delivery) == {
        (COHORT, True): [b"u-1"],
        (COHORT, False): [b"u-2"],
        ("8aaa89cz", True): [b"u-1"],
    }


def test_the_vendors_test_call_is_understood() -> None:
    body = {
        "traits": {"cohort name:123": True},
        "type": "identify",
        "userId": "test.user@email.com",
    }
    to, by_header = door(), head("", headers={"api_key": "the-key", "app_id": "7"})

    to.admit(by_header)
    delivery = to.read(by_header, json.dumps(body).encode())

    assert isinstance(delivery, Delivery)
    assert told(delivery) == {("123", True): [b"test.user@email.com"]}


@pytest.mark.parametrize(
    ("value", "inside"),
    [(True, True), (False, False), ("true", True), ("False", False), (" TRUE ", True)],
    ids=repr,
)
def test_a_value_is_a_boolean_or_its_word(value: Any, inside: bool) -> None:
    delivery = delivered("/properties", identify({NAME: value}, userId="u-1"))

    assert told(delivery) == {(COHORT, inside): [b"u-1"]}


@pytest.mark.parametrize("value", [None, 1, 0, "yes", "", [], {}, 1.0, [True]])
def test_another_value_says_neither_in_nor_out(value: Any) -> None:
    delivery = delivered("/properties", identify({NAME: value}, userId="u-1"))

    assert delivery.messages == ()
    assert delivery.results == {"unknown_value": 1}
    assert stored(delivery).status == 200


def test_several_properties_are_several_cohorts_and_others_are_counted() -> None:
    traits = {NAME: True, "B (8aaa89cz)": False, "plan": "pro", "is_admin": True}

    delivery = delivered("/properties", identify(traits, userId="u-1"))

    assert told(delivery) == {(COHORT, True): [b"u-1"], ("8aaa89cz", False): [b"u-1"]}
    assert delivery.results == {"unknown_trait": 2}


def test_two_spellings_of_a_cohort_that_disagree_say_nothing() -> None:
    traits = {NAME: True, f"Cohort A ({COHORT})": False}

    delivery = delivered("/properties", identify(traits, userId="u-1"))

    assert delivery.messages == ()
    assert delivery.results == {"unknown_value": 1}


def test_the_last_word_about_a_person_in_a_batch_holds() -> None:
    words = [True, False, True]
    batch = [identify({NAME: word}, userId="u-1") for word in words]

    delivery = delivered("/properties", {"batch": batch})

    assert told(delivery) == {(COHORT, True): [b"u-1"]}


def test_one_bad_person_does_not_hold_back_a_batch() -> None:
    batch = [
        identify({NAME: True}),
        identify({NAME: True}, userId="null"),
        identify({NAME: True}, userId="u-1"),
    ]

    delivery = delivered("/properties", {"batch": batch})

    assert told(delivery) == {(COHORT, True): [b"u-1"]}
    assert delivery.results == {"anonymous": 1, "forbidden_word": 1}


def test_an_invalid_user_id_is_a_404_as_the_vendor_has_it() -> None:
    with pytest.raises(Refused) as refused:
        delivered("/properties", identify({NAME: True}, userId="null"))

    assert (refused.value.status, refused.value.code) == (404, "push.user_id")
    assert "null" not in str(refused.value)


# ---- cohort webhooks ----------------------------------------------------------------


def test_the_templates_payload_is_one_message_with_id_and_time() -> None:
    delivery = delivered("/webhook", WEBHOOK)

    word = Told(
        feed=FEED,
        ids=[b"user_one@example.com", b"user_two@example.com"],
        inside=True,
        at=COMPUTED,
        name="My Test Cohort",
    )
    message_id = delivery.messages[0].id
    assert delivery.messages == (
        Message(connection="amp", id=message_id, told=(word,)),
    )
    assert message_id.endswith(str(WEBHOOK["message_id"]))
    assert delivered("/webhook", WEBHOOK).messages[0].id == message_id
    assert stored(delivery).body == {"accepted": 2, "refused": {}}


@pytest.mark.parametrize(
    "other",
    [
        {"cohort_id": "other1"},
        {"in_cohort": False},
        {"computed_time": "1692206764"},
        {"computed_time": None},
    ],
    ids=str,
)
def test_an_id_that_is_used_twice_makes_no_copy_of_another_message(
    other: dict[str, Any],
) -> None:
    (message,) = delivered("/webhook", WEBHOOK).messages
    (another,) = delivered("/webhook", {**WEBHOOK, **other}).messages

    assert message.id != another.id


def test_a_message_that_was_known_is_answered_with_200() -> None:
    answer = stored(delivered("/webhook", WEBHOOK), duplicate=True)

    assert answer.status == 200
    assert answer.body == {"accepted": 0, "duplicates": 2, "refused": {}}


@pytest.mark.parametrize("word", [False, "false", "False"], ids=repr)
def test_leaving_may_be_text(word: Any) -> None:
    delivery = delivered("/webhook", {**WEBHOOK, "in_cohort": word})

    assert list(told(delivery)) == [(COHORT, False)]


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"computed_time": "1692206763"}, COMPUTED),
        ({"computed_time": 1692206763}, COMPUTED),
        ({"computed_time": 1692206763.0}, COMPUTED),
        ({"computed_time": "1692206763.5"}, COMPUTED + timedelta(seconds=0.5)),
        ({"compute_time": "1692206763"}, COMPUTED),
        ({"computed_time": "1692206763", "compute_time": "1692206763"}, COMPUTED),
        ({"computed_time": None, "compute_time": 1692206763}, COMPUTED),
        ({"computed_time": ""}, None),
        ({}, None),
    ],
)
def test_the_time_of_the_computation_orders_messages(
    fields: dict[str, Any], at: datetime | None
) -> None:
    rest = {key: value for key, value in WEBHOOK.items() if key != "computed_time"}

    delivery = delivered("/webhook", {**rest, **fields})

    assert [word.at for word in delivery.messages[0].told] == [at]


@pytest.mark.parametrize("given", [None, "", "absent"])
def test_a_template_may_leave_out_the_message_id(given: str | None) -> None:
    body = {**WEBHOOK, "message_id": given}
    if given == "absent":
        del body["message_id"]

    assert delivered("/webhook", body).messages[0].id == ""


def test_a_template_may_leave_out_the_name() -> None:
    body = {key: value for key, value in WEBHOOK.items() if key != "cohort_name"}

    assert delivered("/webhook", body).messages[0].told[0].name == ""


def test_users_without_a_user_id_are_counted() -> None:
    users = [{"user_id": None}, {"user_id": ""}, {"device": "d"}, {"user_id": "u-1"}]

    delivery = delivered("/webhook", {**WEBHOOK, "users": users})

    assert told(delivery) == {(COHORT, True): [b"u-1"]}
    assert delivery.results == {"anonymous": 3}


def test_an_array_of_people_has_neither_id_nor_time() -> None:
    property_ = f"amplitude_My Test Cohort_{COHORT}"
    people = [
        {"user_id": "u-1", property_: True},
        {"user_id": "u-2", property_: "false", "country": "US"},
        {"user_id": "", property_: True},
    ]

    delivery = delivered("/webhook", people)

    (message,) = delivery.messages
    assert message.id == ""
    assert [word.at for word in message.told] == [None, None]
    assert [word.name for word in message.told] == ["My Test Cohort"] * 2
    assert told(delivery) == {(COHORT, True): [b"u-1"], (COHORT, False): [b"u-2"]}
    assert delivery.results == {"unknown_trait": 1, "anonymous": 1}


def test_the_last_commas_of_a_handmade_template_are_forgiven() -> None:
    body = b"""{"cohort_id": "7khm89cz", "in_cohort": true, "cohort_name": "a,]",
        "users": [{"user_id": "u,}",}, {"user_id": "u-2"} ,
        ],
    }"""

    delivery = delivered("/webhook", body)

    assert told(delivery) == {(COHORT, True): [b"u,}", b"u-2"]}
    assert delivery.messages[0].told[0].name == "a,]"


# ---- what is refused ----------------------------------------------------------------


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in WEBHOOK.items() if name != key}


_ADD = "/lists/L/add"
_REMOVE = "/lists/L/remove"
_ONE = identify({NAME: True}, userId="u-1")

MALFORMED: list[tuple[str, Any]] = [
    # JSON
    ("/lists", b""),
    ("/lists", b"{"),
    ("/lists", b"\xff\xfe"),
    (_ADD, b'{"userIds": ["u-1"]'),
    (_ADD, b'{"userIds": ["u-1",]}'),
    (_ADD, b'{"userIds": ["u-1"], "userIds": ["u-2"]}'),
    (_ADD, b'{"userIds": ["\\ud800"]}'),
    (_ADD, b"[" * 100_000),
    ("/properties", b"{'type': 'identify'}"),
    ("/properties", b'{"type": "identify", "userId": "u-1", "traits": {"a:b": NaN}}'),
    ("/webhook", b'{"cohort_id": "7khm89cz", "in_cohort": true, "users": [,]}'),
    ("/webhook", b'{"cohort_name": "My "Test" Cohort"}'),
    ("/webhook", b'{ [ {"user_id": "u-1", "amplitude_N_7khm89cz": true} ] }'),
    # lists
    ("/lists", []),
    ("/lists", "text"),
    ("/lists", {}),
    ("/lists", {"name": None}),
    ("/lists", {"name": 7}),
    ("/lists", {"name": ""}),
    ("/lists", {"name": "Cohort A"}),
    ("/lists", {"name": "[Amplitude] Cohort A"}),
    ("/lists", {"name": "[Amplitude] Cohort A: "}),
    ("/lists", {"name": "[Amplitude] Cohort A: not an id"}),
    ("/lists", {"name": "[Amplitude] Cohort A ()"}),
    ("/lists", {"name": "x" * 2000 + ": " + COHORT}),
    (_ADD, []),
    (_ADD, {}),
    (_ADD, {"userIds": None}),
    (_ADD, {"userIds": "u-1"}),
    (_ADD, {"userIds": {"u-1": True}}),
    (_ADD, {"userIds": ["u-1", 2]}),
    (_ADD, {"userIds": ["u-1", None]}),
    (_ADD, {"userIds": [["u-1"]]}),
    (_ADD, {"userIds": ["u-1"], "user_ids": ["u-2"]}),
    (_ADD, _ONE),
    (_REMOVE, {"ids": ["u-1"]}),
    # properties
    ("", None),
    ("/properties", [_ONE]),
    ("/properties", {}),
    ("/properties", {"type": "identify", "userId": "u-1"}),
    ("/properties", {**_ONE, "type": "track"}),
    ("/properties", {**_ONE, "type": None}),
    ("/properties", identify({NAME: True})),
    ("/properties", identify({NAME: True}, userId="")),
    ("/properties", identify({NAME: True}, userId=7)),
    ("/properties", identify({NAME: True}, userId="u-1", user_id="u-2")),
    ("/properties", {**_ONE, "traits": [NAME]}),
    ("/properties", {"batch": _ONE}),
    ("/properties", {"batch": [_ONE, "text"]}),
    ("/properties", {"batch": [_ONE, {"userId": "u-1"}]}),
    ("/properties", {"batch": [_ONE], **_ONE}),
    (_REMOVE, {"batch": None}),
    (_REMOVE, {**_ONE, "userIds": ["u-2"]}),
    # cohort webhooks
    ("/webhook", 1),
    ("/webhook", {}),
    ("/webhook", without("in_cohort")),
    ("/webhook", {**WEBHOOK, "in_cohort": "yes"}),
    ("/webhook", {**WEBHOOK, "in_cohort": 1}),
    ("/webhook", without("cohort_id")),
    ("/webhook", {**WEBHOOK, "cohort_id": ""}),
    ("/webhook", {**WEBHOOK, "cohort_id": 7}),
    ("/webhook", {**WEBHOOK, "cohort_id": "${input.cohort_id}"}),
    ("/webhook", without("users")),
    ("/webhook", {**WEBHOOK, "users": {"user_id": "u-1"}}),
    ("/webhook", {**WEBHOOK, "users": ["u-1"]}),
    ("/webhook", {**WEBHOOK, "users": [{"user_id": 7}]}),
    ("/webhook", {**WEBHOOK, "computed_time": "yesterday"}),
    ("/webhook", {**WEBHOOK, "computed_time": "2023-08-16T17:26:03Z"}),
    ("/webhook", {**WEBHOOK, "computed_time": True}),
    ("/webhook", {**WEBHOOK, "computed_time": -1}),
    ("/webhook", {**WEBHOOK, "computed_time": 0}),
    ("/webhook", {**WEBHOOK, "computed_time": 1e99}),
    ("/webhook", {**WEBHOOK, "computed_time": "1692206763000"}),
    ("/webhook", {**WEBHOOK, "computed_time": [1692206763]}),
    ("/webhook", {**WEBHOOK, "compute_time": "1692206764"}),
    ("/webhook", {**WEBHOOK, "message_id": 7}),
    ("/webhook", {**WEBHOOK, "message_id": "x" * 501}),
    ("/webhook", {**WEBHOOK, "message_id": "a\x00b"}),
    ("/webhook", {**WEBHOOK, "message_id": "${input.message_id}"}),
    ("/webhook", ["u-1"]),
    ("/webhook", [{"user_id": 7}]),
]


@pytest.mark.parametrize(("path", "body"), MALFORMED)
def test_what_is_malformed_is_a_400_with_a_reason(path: str, body: Any) -> None:
    directory = Lists()
    directory.ids[FEED] = "L"
    to = door(directory=directory)

    with pytest.raises(Refused) as refused:
        send(to, path, body)

    assert refused.value.status == 400
    assert refused.value.code == "push.malformed" or refused.value.code.startswith(
        "json."
    )
    assert len(str(refused.value)) > 10
    assert "u-1" not in str(refused.value)


def test_a_name_without_a_cohort_is_told_the_spellings() -> None:
    with pytest.raises(Refused) as refused:
        create(door(), "Cohort A")

    assert "[Amplitude] NAME: ID" in refused.value.hint
    assert "amplitude_NAME_ID" in refused.value.hint


def test_a_missing_direction_is_told_what_the_template_needs() -> None:
    with pytest.raises(Refused, match="in_cohort") as refused:
        delivered("/webhook", without("in_cohort"))

    assert "in_cohort" in refused.value.hint


def test_a_time_ahead_of_ours_is_believed_for_a_day() -> None:
    soon, late = (int((NOW + timedelta(hours=h)).timestamp()) for h in (23, 25))

    taken = delivered("/webhook", {**WEBHOOK, "computed_time": soon})

    assert taken.messages[0].told[0].at == NOW + timedelta(hours=23)
    with pytest.raises(Refused, match="tomorrow"):
        delivered("/webhook", {**WEBHOOK, "computed_time": late})


# ---- who may, and where -------------------------------------------------------------

BY_KEY = ["", "/properties", "/lists", "/lists/L/add", "/lists/L/remove"]
PREVIOUS = Keys(
    current=b"the-key", previous=b"the-old-key", previous_until=NOW + timedelta(days=1)
)

LET_IN: list[dict[str, str]] = [
    basic_header("the-key"),
    {"api_key": "the-key"},
    {"api_key": "the-key", "app_id": "anything"},
    basic_header("the-old-key"),
    {"api_key": "the-old-key"},
    {**basic_header("wrong"), "api_key": "the-key"},
    {**basic_header("the-key"), "api_key": "wrong"},
]

KEPT_OUT: list[dict[str, str]] = [
    {},
    basic_header("wrong"),
    basic_header("the-key", "password"),
    basic_header("", "the-key"),
    basic_header(""),
    basic_header("the-kéy"),
    {"api_key": "wrong"},
    {"api_key": ""},
    {"api_key": "the-key "},
    {"api_key": "the-k\xe9y"},
    {"api_key": "\u2603"},
    {"authorization": "Bearer the-key"},
    {"authorization": "Basic the-key"},
    {"authorization": "Basic \xe9\xff"},
    {"authorization": "Basic"},
    {"authorization": "the-key"},
    {"x-syncd-secret": "the-secret"},
]


@pytest.mark.parametrize("path", BY_KEY)
@pytest.mark.parametrize("headers", LET_IN)
def test_the_key_lets_in(path: str, headers: dict[str, str]) -> None:
    to = door(api_key=PREVIOUS)

    assert status(to, head(path, headers=headers)) == 200


@pytest.mark.parametrize("path", BY_KEY)
@pytest.mark.parametrize("headers", KEPT_OUT)
def test_nothing_else_does(path: str, headers: dict[str, str]) -> None:
    to = door(api_key=PREVIOUS)

    with pytest.raises(Refused) as refused:
        to.admit(head(path, headers=headers))

    assert (refused.value.status, refused.value.code) == (401, "push.credentials")
    assert "the-" not in str(refused.value).replace("the api key", "")


def test_a_previous_key_ends_with_its_time() -> None:
    clock = ManualClock()
    to = door(api_key=PREVIOUS, clock=clock)
    to.admit(head("/lists", headers=basic_header("the-old-key")))

    clock.advance(timedelta(days=1))

    with pytest.raises(Refused):
        to.admit(head("/lists", headers=basic_header("the-old-key")))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-syncd-secret": "the-secret"}, 200),
        ({"x-syncd-secret": "wrong"}, 401),
        ({"x-syncd-secret": ""}, 401),
        ({"x-syncd-secret": "the-secr\xe9t"}, 401),
        ({"x-other": "the-secret"}, 401),
        (basic_header("the-key"), 401),
        (basic_header("the-secret"), 401),
        ({"api_key": "the-key"}, 401),
        ({}, 401),
    ],
)
def test_a_webhook_needs_the_secret_in_its_header(
    headers: dict[str, str], expected: int
) -> None:
    assert status(door(), head("/webhook", headers=headers)) == expected


@pytest.mark.parametrize("path", BY_KEY)
def test_without_a_key_there_are_no_lists_and_no_properties(path: str) -> None:
    to = door(api_key=None)

    with pytest.raises(Refused) as refused:
        to.admit(head(path))

    assert refused.value.status == 404
    to.admit(head("/webhook"))


def test_without_a_secret_there_is_no_webhook() -> None:
    to = door(webhook_secret=None)

    with pytest.raises(Refused) as refused:
        to.admit(head("/webhook"))

    assert refused.value.status == 404
    to.admit(head("/lists"))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", [*BY_KEY, "/webhook"])
def test_only_post_is_answered(method: str, path: str) -> None:
    with pytest.raises(Refused) as refused:
        door().admit(head(path, method=method))

    assert refused.value.status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/list",
        "//lists",
        "/Lists",
        "/lists/L",
        "/lists//add",
        "/lists/L/update",
        "/lists/L/add/more",
        "/lists/L/M/add",
        "/webhook/more",
        "/webhooks",
        "/properties/batch",
        "/../lists",
    ],
)
def test_other_paths_lead_nowhere(path: str) -> None:
    with pytest.raises(Refused) as refused:
        door().admit(head(path))

    assert refused.value.status == 404


@pytest.mark.parametrize("path", ["/lists/", "/properties/", "/lists/L/add/"])
def test_a_slash_at_the_end_makes_no_difference(path: str) -> None:
    assert status(door(), head(path)) == 200


@pytest.mark.parametrize(
    ("path", "asks"),
    [
        ("/lists", True),
        ("/lists/L/add", True),
        ("/lists/L/remove", True),
        ("", False),
        ("/properties", False),
        ("/webhook", False),
    ],
)
def test_only_calls_about_lists_may_wait_for_the_store(path: str, asks: bool) -> None:
    assert door().asks_store(head(path)) is asks
