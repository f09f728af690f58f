"""Engage as the simulator plays it: what it sends, byte for byte, and when again."""

import hmac
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from syncd.simulator import warehouse
from syncd.simulator.signing import signature, stringify
from tests.simulated import PATIENCE, Simulator, simulating

SECRET = "s3cr3t-key"
KEY = "lapsed_trials"
DELAYS = (1, 2, 4, 8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def running() -> Iterator[Simulator]:
    with simulating("--latency", "0", "--origin", "2026-03-02T10:11:12Z") as simulator:
        yield simulator


@pytest.fixture
def sim(running: Simulator) -> Simulator:
    """As it was when it started, with a clock that stands still."""
    running.post("/_sim/reset", {})
    running.post("/_sim/clock", {"freeze": True, "set": "2026-03-02T10:11:12.131Z"})
    return running


def engage(sim: Simulator, receiver: Any, **settings: Any) -> None:
    """A sender `e` of the audience, which has a member `u-1` unless there is one."""
    if not sim.get("/_sim/engage/audiences")["audiences"]:
        sim.audience(KEY, id="aud_7Fh", members=["u-1"])
    given = {"url": f"{receiver.url}/hook", "audience": KEY, "secret": SECRET}
    sim.engage_sender("e", **given | settings)


def pushing(sim: Simulator, sender: str) -> threading.Thread:
    """A push that is waited for elsewhere."""
    thread = threading.Thread(target=sim.push, args=(sender,))
    thread.start()
    return thread


# ---- signatures ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (
            {"text": '{"type":"identify","userId":"u-1","traits":{"vip":true}}'},
            "fdf0b2d433b498bb4cc1efade722d4d9899d5645",
        ),
        (
            {
                "body": [
                    {"type": "identify", "userId": "u-1", "traits": {"vip": True}},
                    {"type": "identify", "userId": "u-2", "traits": {"vip": False}},
                ],
                "sign": "first",
            },
            "fdf0b2d433b498bb4cc1efade722d4d9899d5645",
        ),
        (
            {
                "body": [
                    {"type": "identify", "userId": "u-1", "traits": {"vip": True}},
                    {"type": "identify", "userId": "u-2", "traits": {"vip": False}},
                ]
            },
            "0ea574ac8508ca15f38fe781bbc7e9ccc804dda4",
        ),
        (
            {
                "body": {
                    "type": "identify",
                    "userId": "ü-1",
                    "traits": {"vip": True, "score": 1.5},
                }
            },
            "0d2a75a5dfa755234a249da74cb4088edd0e07a6",
        ),
    ],
)
def test_signatures_are_those_of_the_contract(sim, receiver, raw, wanted):
    engage(sim, receiver)

    result = sim.post("/_sim/senders/e/raw", raw)

    assert result["outcome"] == "success"
    assert receiver.got[0].headers["x-signature"] == wanted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (-20.25, "-20.25"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.25e22, "1.25e+22"),
        (0.000001, "0.000001"),
        (1e-7, "1e-7"),
        (5e-324, "5e-324"),
        (2**53 + 1, "9007199254740992"),
        (True, "true"),
        ("é\u2028\n\x01", '"é\u2028\\n\\u0001"'),
        ('"\ud800', '"\\"\\ud800"'),
        ({"a": [1.0, None]}, '{"a":[1,null]}'),
    ],
)
def test_values_are_written_as_javascript_writes_them(value, text):
    assert stringify(value) == text.encode()


def test_what_json_cannot_hold_is_refused():
    for value in (float("nan"), float("inf"), {1}):
        with pytest.raises(ValueError, match="JSON"):
            stringify(value)


# ---- Engage: what an event is ----------------------------------------------------


def test_an_entry_is_an_identify_with_everything_the_contract_names(sim, receiver):
    engage(
        sim,
        receiver,
        traits={"plan": "pro"},
        external_audience_id="k3v9x1q",
        audience_settings={"id_type": "BY_USER_ID"},
        headers={"X-Door": "second-factor"},
    )

    result = sim.push("e")

    (got,) = receiver.got
    message_id = got.json["messageId"]
    assert result["outcome"] == "success"
    assert (got.method, got.path) == ("POST", "/hook")
    assert got.headers["user-agent"] == "Segment.io/1.0"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-door"] == "second-factor"
    assert got.headers["x-signature"] == signature(SECRET, got.body)
    assert message_id.startswith("personas_")
    assert got.json == {
        "type": "identify",
        "userId": "u-1",
        "messageId": message_id,
        "timestamp": "2026-03-02T10:11:12.131Z",
        "receivedAt": "2026-03-02T10:11:12.999Z",
        "traits": {KEY: True, "plan": "pro", "email": "u-1@mail.example"},
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_id": "aud_7Fh",
                "computation_key": KEY,
                "namespace": "spa_demo",
                "space_id": "spa_demo",
                "external_audience_id": "k3v9x1q",
                "audience_settings": {"id_type": "BY_USER_ID"},
            },
            "__segment_internal": {"creator": "sync-worker"},
        },
        "integrations": {"All": False, "Webhooks (Actions)": True},
    }


def test_a_track_has_the_membership_in_properties_and_the_mail_in_context(
    sim, receiver
):
    engage(sim, receiver, type="track", traits={"plan": "pro"})
    sim.push("e")
    sim.move(KEY, leave=["u-1"])

    sim.push("e")

    entered, exited = (one.json for one in receiver.got)
    assert (entered["event"], exited["event"]) == (
        "Audience Entered",
        "Audience Exited",
    )
    assert entered["properties"] == {"audience_key": KEY, KEY: True, "plan": "pro"}
    assert exited["properties"] == {"audience_key": KEY, KEY: False, "plan": "pro"}
    assert entered["context"]["traits"] == {"email": "u-1@mail.example"}
    assert "traits" not in entered


def test_bodies_have_no_spaces_and_nothing_escaped(sim, receiver):
    engage(sim, receiver, traits={"city": "Zürich"})

    sim.push("e")

    assert '"city":"Zürich"'.encode() in receiver.got[0].body
    assert receiver.got[0].body == stringify(receiver.got[0].json)


def test_anonymous_members_are_told_only_if_wanted_and_have_no_user_id(sim, receiver):
    sim.audience(KEY, members={"user_ids": ["u-1"], "anonymous": 1})
    engage(sim, receiver)
    sim.push("e")
    plain = [event.get("userId") for event in receiver.events()]
    receiver.got.clear()

    engage(sim, receiver, include_anonymous=True)
    sim.push("e")

    told = receiver.events()
    anonymous = [event for event in told if "anonymousId" in event]
    assert plain == ["u-1"]
    assert len(told) == 3  # u-1, the anonymous id beside it, the anonymous member
    assert all("userId" not in event for event in anonymous)
    assert "anonymous-000000" in {event["anonymousId"] for event in anonymous}
    assert all("email" not in event["traits"] for event in anonymous)


def test_there_is_one_event_per_identifier_and_exits_tell_of_all(sim, receiver):
    sim.post(
        "/_sim/engage/profiles", [{"profile": "ann", "user_ids": ["ann-1", "ann-2"]}]
    )
    sim.audience(KEY, members=["ann"])
    engage(sim, receiver, id_sync="first")
    sim.push("e")
    sim.move(KEY, leave=["ann"])

    sim.push("e")

    told = sorted((one["userId"], one["traits"][KEY]) for one in receiver.events())
    assert told == [("ann-1", False), ("ann-1", True), ("ann-2", False)]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("delete", {"type": "delete", "userId": "u-9"}),
        ("trait", {"type": "track", "event": "Trait Computed"}),
        ("group", {"type": "group", "groupId": "acme"}),
        ("journey_v1", {"properties": {f"j_o_{KEY}__x9": "true"}, "userId": "u-9"}),
        ("journey_v2", {"event": "Nudge 1", "userId": "u-9"}),
        ("test", {"traits": {KEY: True, "email": "u-9@mail.example"}}),
        ("unmapped", {"user": "u-9", "member": True}),
    ],
)
def test_other_events_have_the_shapes_of_the_contract(sim, receiver, kind, wanted):
    engage(sim, receiver)

    sim.post("/_sim/senders/e/events", {"kind": kind, "user_ids": ["u-9"]})

    (event,) = receiver.events()
    personas = event.get("context", {}).get("personas", {})
    classes = {"trait": "trait", "journey_v2": "journey_step"}
    assert event.items() >= wanted.items()
    assert event["timestamp"] == "2026-03-02T10:11:12.131Z"
    assert ("context" in event) is (kind not in ("delete", "unmapped"))
    if personas:
        assert personas["computation_class"] == classes.get(kind, "audience")
    assert personas.get("event_emitter_id") == (
        "event_tester_1" if kind == "test" else None
    )
    if kind == "journey_v2":
        assert not any(type(one) is bool for one in event["properties"].values())


# ---- Engage: flavours ------------------------------------------------------------


def hex_of(body: bytes) -> str:
    """The signature by another way than the simulator's."""
    return hmac.digest(SECRET.encode(), body, "sha1").hex()


@pytest.mark.parametrize("signing", ["today", "whole", "segment_header"])
def test_a_batch_is_signed_over_its_first_element_or_whole(sim, receiver, signing):
    sim.audience(KEY, members=["u-1", "u-2", "u-3"])
    engage(sim, receiver, flavour="actions_batch", batch_size=2, signing=signing)

    result = sim.push("e")

    assert (result["requests"], result["sent"], result["accepted"]) == (2, 3, 3)
    assert sorted(len(one.json) for one in receiver.got) == [1, 2]
    for got in receiver.got:
        signed = stringify(got.json[0]) if signing == "today" else got.body
        new = signing == "segment_header"
        header = "x-segment-signature" if new else "x-signature"
        assert got.body.startswith(b"[" + stringify(got.json[0]))
        assert got.headers[header] == hex_of(signed)
        assert ("x-signature" in got.headers) is not new
        assert got.headers["user-agent"] == "Segment (Actions)"


def test_an_extensible_webhook_wraps_events_and_signs_the_unwrapped_first(
    sim, receiver
):
    engage(sim, receiver, flavour="extensible")

    sim.push("e")

    (got,) = receiver.got
    assert [list(one) for one in got.json] == [["json"]]
    assert got.headers["x-signature"] == hex_of(stringify(got.json[0]["json"]))


def test_extras_come_into_the_body_after_it_was_signed(sim, receiver):
    engage(sim, receiver, flavour="actions_single", extras={"team": "growth"})

    sim.push("e")

    (got,) = receiver.got
    without = {name: value for name, value in got.json.items() if name != "team"}
    assert got.json["team"] == "growth"
    assert got.headers["x-signature"] == hex_of(stringify(without))


@pytest.mark.parametrize("settings", [{"secret": ""}, {"signing": "none"}])
def test_without_a_secret_there_is_no_signature(sim, receiver, settings):
    engage(sim, receiver, flavour="actions_batch", method="PUT", **settings)

    sim.push("e")

    assert "x-signature" not in receiver.got[0].headers
    assert receiver.got[0].method == "PUT"


def test_a_hook_binds_the_audience_to_what_the_receiver_answers(sim, receiver):
    engage(sim, receiver)
    receiver.answer = lambda _: b'{"externalId":"k3v9x1q"}'
    url = f"{receiver.url}/audiences"

    made = sim.post("/_sim/senders/e/hook", {"hook": "create", "url": url})
    found = sim.post("/_sim/senders/e/hook", {"hook": "get", "url": url, "sign": True})
    sim.push("e")

    assert made["external_id"] == found["external_id"] == "k3v9x1q"
    create, get, event = receiver.got
    assert (create.path, create.json) == (
        "/audiences",
        {"audienceName": "Lapsed Trials"},
    )
    assert get.json == {"externalId": "k3v9x1q"}
    assert "x-signature" not in create.headers
    assert get.headers["x-signature"] == hex_of(get.body)
    assert event.json["context"]["personas"]["external_audience_id"] == "k3v9x1q"


@pytest.mark.parametrize("answer", [b"{}", b"<html>", b'{"externalId":7}', b"[]"])
def test_a_hook_without_an_external_id_fails(sim, receiver, answer):
    engage(sim, receiver)
    receiver.answer = lambda _: answer

    made = sim.post(
        "/_sim/senders/e/hook", {"hook": "create", "url": f"{receiver.url}/a"}
    )

    assert made["outcome"] == "failed"
    assert "externalId" in made["error"]


# ---- Engage: whole first, then changes -------------------------------------------


def test_first_everybody_then_every_change_with_its_own_time(sim, receiver):
    sim.audience(KEY, members=["u-1", "u-2"])
    engage(sim, receiver)
    sim.push("e")
    receiver.got.clear()
    sim.move(KEY, leave=["u-1"], enter=["u-3"])
    sim.move(KEY, enter=["u-1", "u-2"])

    result = sim.push("e")
    nothing = sim.push("e")

    told = {(e["userId"], e["traits"][KEY], e["timestamp"]) for e in receiver.events()}
    left, back = sorted(time for who, _, time in told if who == "u-1")
    assert result["sent"] == 3  # u-2 was in already
    assert nothing["sent"] == 0
    assert {(who, value) for who, value, _ in told} == {
        ("u-1", False),
        ("u-3", True),
        ("u-1", True),
    }
    assert ("u-1", True, back) in told
    assert left < back
    assert len({event["messageId"] for event in receiver.events()}) == 3


def test_without_history_those_who_are_in_are_not_told(sim, receiver):
    engage(sim, receiver, historical=False)
    sim.move(KEY, enter=["u-2"])

    sim.push("e")

    assert [event["userId"] for event in receiver.events()] == ["u-2"]


def test_an_entry_can_be_told_again_without_an_exit(sim, receiver):
    engage(sim, receiver, historical=False)
    sim.move(KEY, again_in=["u-1"], again_out=["stranger"])

    sim.push("e")

    told = {(event["userId"], event["traits"][KEY]) for event in receiver.events()}
    assert told == {("u-1", True), ("stranger", False)}


@pytest.mark.parametrize("same", [True, False])
def test_a_resync_tells_of_everybody_under_new_ids_or_the_same(sim, receiver, same):
    sim.post("/_sim/config", {"engage_resync_repeats_ids": same})
    engage(sim, receiver)

    sim.push("e")
    sim.push("e", full=True)

    first, second = receiver.events()
    assert first["userId"] == second["userId"] == "u-1"
    assert (first["messageId"] == second["messageId"]) is same


def test_a_live_sender_pushes_by_itself(sim, receiver):
    engage(sim, receiver, live=True)
    receiver.until(lambda: len(receiver.got) == 1)

    sim.move(KEY, enter=["u-2"])

    receiver.until(lambda: len(receiver.got) == 2)
    assert receiver.events()[1]["userId"] == "u-2"


def test_duplicates_are_the_same_bytes_and_order_is_lost(sim, receiver):
    sim.audience(KEY, members={"prefix": "user-", "count": 100})
    engage(sim, receiver, duplicates=0.2, shuffle=True, flavour="actions_batch")

    result = sim.push("e")

    events = receiver.events()
    once = {stringify(event) for event in events}
    sent = [event["userId"] for event in events]
    assert result["sent"] == len(events) == 120
    assert len(once) == len({event["messageId"] for event in events}) == 100
    assert sent != sorted(sent)


def test_a_warehouse_file_follows_the_audience(sim, receiver, tmp_path: Path):
    path = tmp_path / "warehouse.sqlite"
    sim.audience(KEY, members=["u-1", "u-2"], warehouse=str(path))

    sim.move(KEY, leave=["u-1"], enter=["u-3"])

    told = set(sim.get(f"/_sim/engage/audiences/{KEY}/members")["ids"])
    assert warehouse.members(path, KEY) == told == {"u-2", "u-3"}


# ---- retries ---------------------------------------------------------------------


def test_a_request_is_retried_by_the_clock_with_the_same_bytes(sim, receiver):
    engage(sim, receiver)
    receiver.statuses = [503] * 8
    thread = pushing(sim, "e")
    receiver.until(lambda: len(receiver.got) == 1)

    for tries, delay in enumerate(DELAYS, start=1):
        receiver.until(lambda: len(sim.get("/_sim/senders/e/sent")["sent"]) == tries)  # noqa: B023
        sim.post("/_sim/clock", {"advance": delay - 0.5})
        assert len(receiver.got) == tries
        sim.post("/_sim/clock", {"advance": 0.5})
        receiver.until(lambda: len(receiver.got) == tries + 1)  # noqa: B023
    thread.join(PATIENCE)

    last = sim.get("/_sim/senders/e")["last_push"]
    assert last["statuses"] == {"503": 8, "200": 1}
    assert (last["outcome"], last["retried"], last["accepted"]) == ("success", 8, 1)
    assert len({(one.body, one.headers["x-signature"]) for one in receiver.got}) == 1


def test_after_eight_retries_a_request_is_given_up_and_can_be_sent_again(
    running, sim, receiver
):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    engage(sim, receiver)
    receiver.statuses = [500] * 9

    failed = sim.push("e")
    again = sim.push("e", failed=True)

    assert (failed["outcome"], failed["failed"]) == ("failed", 1)
    assert failed["statuses"] == {"500": 9}
    assert failed["refusals"] == [{"status": 500, "text": "{}"}]
    assert (again["outcome"], again["sent"]) == ("success", 1)
    assert len({one.body for one in receiver.got}) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 413, 501])
def test_segment_drops_an_event_at_an_answer_that_is_final(sim, receiver, status):
    engage(sim, receiver)
    receiver.statuses = [status]

    result = sim.push("e")

    assert result["statuses"] == {str(status): 1}
    assert result["outcome"] == "failed"


@pytest.mark.parametrize("status", [408, 423, 429, 500, 503])
def test_segment_asks_again_at_the_others(sim, receiver, status):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    engage(sim, receiver)
    receiver.statuses = [status]

    assert sim.push("e")["statuses"] == {str(status): 1, "200": 1}


def test_a_late_answer_is_a_timeout_and_asked_again(sim, receiver):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    engage(sim, receiver, timeout=0.3)
    receiver.gate.clear()
    thread = pushing(sim, "e")
    receiver.until(lambda: len(receiver.got) == 2)

    receiver.gate.set()
    thread.join(PATIENCE)

    last = sim.get("/_sim/senders/e")["last_push"]
    assert last["statuses"]["timeout"] >= 1
    assert last["outcome"] == "success"


def test_a_receiver_that_is_gone_is_asked_again(sim, receiver):
    sim.post("/_sim/clock", {"freeze": False, "speed": 5000})
    engage(sim, receiver, url="http://127.0.0.1:9/hook", retries=2)

    assert sim.push("e")["statuses"] == {"error": 3}


@pytest.mark.parametrize("honoured", [True, False])
def test_retry_after_is_honoured_if_the_switch_says_so(sim, receiver, honoured):
    sim.post("/_sim/config", {"senders_honour_retry_after": honoured})
    engage(sim, receiver)
    receiver.statuses, receiver.headers = [503], {"retry-after": "30"}
    thread = pushing(sim, "e")
    receiver.until(lambda: len(sim.get("/_sim/senders/e/sent")["sent"]) == 1)

    sim.post("/_sim/clock", {"advance": 2})

    if honoured:
        assert sim.get("/_sim/senders/e")["busy"] is True
        sim.post("/_sim/clock", {"advance": 28})
    thread.join(PATIENCE)
    assert sim.get("/_sim/senders/e")["last_push"]["outcome"] == "success"


def test_a_stopped_sender_gives_up_what_waits(sim, receiver):
    engage(sim, receiver)
    receiver.statuses = [503]
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(sim.push("e")))
    thread.start()
    receiver.until(lambda: len(receiver.got) == 1)

    sim.post("/_sim/senders/e/stop", {})
    thread.join(PATIENCE)

    assert (results[0]["outcome"], results[0]["failed"]) == ("failed", 1)
    assert sim.get("/_sim/senders")["senders"] == []


def test_no_more_than_four_requests_are_in_flight(sim, receiver):
    sim.audience(KEY, members={"prefix": "user-", "count": 10})
    engage(sim, receiver)
    receiver.gate.clear()
    thread = pushing(sim, "e")
    receiver.until(lambda: receiver.busy == 4)

    receiver.gate.set()
    thread.join(PATIENCE)

    assert receiver.most == 4
    last = sim.get("/_sim/senders/e")["last_push"]
    assert (last["max_in_flight"], last["accepted"]) == (4, 10)


# ---- the control calls -----------------------------------------------------------


def test_secrets_are_never_shown(sim, receiver):
    engage(sim, receiver, headers={"X-Door": "second-factor"})
    sim.amplitude_sender("a", url=receiver.url, cohort="9", api_key="demo-key")
    sim.push("e")

    shown = sim.control.get("/_sim/senders").text
    shown += sim.control.get("/_sim/senders/e/sent").text
    shown += sim.control.get("/_sim/log").text

    assert SECRET not in shown
    assert "second-factor" not in shown
    assert "demo-key" not in shown


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("", {"kind": "engage", "url": "http://h"}, "id"),
        ("", {"id": "x", "kind": "fax", "url": "http://h"}, "kind"),
        ("", {"id": "x", "kind": "engage"}, "url"),
        ("", {"id": "x", "kind": "engage", "url": "http://h", "colour": 1}, "colour"),
        ("", {"id": "x", "kind": "engage", "url": "http://h", "type": "page"}, "type"),
        ("", {"id": "x", "kind": "engage", "url": "http://h", "secret": 7}, "secret"),
        ("", {"id": "x", "kind": "engage", "url": "http://h", "retries": 99}, "retr"),
        (
            "",
            {"id": "x", "kind": "amplitude", "url": "http://h", "every": "1"},
            "every",
        ),
        ("/e/push", {"full": 1}, "full"),
        ("/e/events", {"kind": "page", "user_ids": []}, "kind"),
        ("/e/raw", {}, "body"),
        ("/e/raw", {"base64": "!"}, ""),
        ("/e/raw", {"body": {}, "sign": "twice"}, "sign"),
        ("/e/raw", {"body": {}, "sign": "first"}, "array"),
        ("/e/hook", {"hook": "drop", "url": "http://h"}, "hook"),
    ],
)
def test_a_wrong_call_is_a_400_that_says_why(sim, receiver, path, body, said):
    engage(sim, receiver)

    answer = sim.control.post(f"/_sim/senders{path}", json=body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert receiver.got == []


def test_a_push_without_its_audience_or_sender_says_so(sim, receiver):
    engage(sim, receiver)
    sim.amplitude_sender("a", url=receiver.url, cohort="gone")
    sim.control.delete(f"/_sim/engage/audiences/{KEY}").raise_for_status()

    answers: list[httpx.Response] = [
        sim.control.post(f"/_sim/senders/{one}/push", json={})
        for one in ("e", "a", "x")
    ]

    assert [one.status_code for one in answers] == [400, 400, 404]
    assert "lapsed_trials" in answers[0].json()["error"]
    assert "gone" in answers[1].json()["error"]
