"""T1-T9: Segment's Tracking API as the simulator plays it, over a real socket."""

import gzip
import json
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.simulated import simulating

KEY = "demo-write-key"
TRAIT = "[Amplitude] Power Users (9xk2)"
NOW = "2026-03-02T10:00:00+00:00"
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


def event(user: str | None = "u-81", value: Any = True, **fields: Any) -> dict:
    """An identify as the contract's T3 has it; a field given as None is left out."""
    body = {
        "type": "identify",
        "userId": user,
        "messageId": f"m-{user}-{value}",
        "timestamp": NOW,
        "traits": {TRAIT: value},
        "context": CONTEXT,
    } | fields
    return {name: value for name, value in body.items() if value is not None}


@dataclass
class Segment:
    """The segment origin and the control origin of a running simulator."""

    api: httpx.Client
    control: httpx.Client

    def send(self, *events: Any, **fields: Any) -> httpx.Response:
        """A batch; `auth` and top-level fields may be given."""
        auth = fields.pop("auth", (KEY, ""))
        body = {"sentAt": NOW, "batch": list(events)} | fields
        return self.api.post("/v1/batch", json=body, auth=auth)

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str = "", **query: str) -> Any:
        """A control read below `/_sim/segment` that must work."""
        answer = self.control.get(f"/_sim/segment{path}", params=query)
        return answer.raise_for_status().json()

    def config(self, **switches: Any) -> None:
        """Set switches."""
        self.post("/_sim/config", switches)

    def advance(self, seconds: float) -> str:
        """Let time pass; returns the new time."""
        return str(self.post("/_sim/clock", {"advance": seconds})["now"])

    def holders(self, value: str = "true", trait: str = TRAIT) -> set[str]:
        """Users whose value of a trait it is."""
        return set(self.get("/members", trait=trait, value=value)["ids"])

    def trait(self, user: str = "u-81", **query: str) -> Any:
        """What is held of one user's trait; None if nothing."""
        return self.get("/user", user_id=user, **query)["traits"].get(TRAIT)

    def reasons(self) -> list[str]:
        """Why events were dropped, in order."""
        return [one["outcome"] for one in self.get("/dropped")["dropped"]]

    def log(self) -> list[dict[str, Any]]:
        """The request log."""
        answer = self.control.get("/_sim/log?ids=1").raise_for_status()
        return list(answer.json()["entries"])


@pytest.fixture(scope="module")
def segment_process() -> Iterator[Segment]:
    with simulating("--latency", "0") as running:
        origin = running.origins["segment"]
        with httpx.Client(base_url=origin, timeout=10) as api:
            yield Segment(api, running.control)


@pytest.fixture
def segment(segment_process: Segment) -> Segment:
    """As it was when it started, at ten o'clock, and time stands still."""
    segment_process.post("/_sim/reset", {})
    segment_process.post("/_sim/clock", {"set": NOW, "freeze": True})
    return segment_process


def at(text: str, seconds: float) -> str:
    """So many seconds later."""
    return (datetime.fromisoformat(text) + timedelta(seconds=seconds)).isoformat()


# ---- T1, T2: region and credentials ----------------------------------------------


def test_t1_a_source_of_the_other_region_gets_200_and_nothing_happens(segment):
    source = {"id": "eu", "write_key": "wk-eu", "region": "eu", "space": "demo"}
    segment.post("/_sim/segment/sources", source)

    response = segment.send(event(), auth=("wk-eu", ""))

    assert (response.status_code, response.json()) == (200, {"success": True})
    assert segment.holders() == set()
    assert segment.reasons() == ["wrong_region"]


def test_t1_the_wrong_region_may_be_refused_by_switch(segment):
    source = {"id": "eu", "write_key": "wk-eu", "region": "eu"}
    segment.post("/_sim/segment/sources", source)
    segment.config(segment_wrong_region_status=421)

    response = segment.send(event(), auth=("wk-eu", ""))

    assert response.status_code == 421
    assert segment.get()["dropped"] == {}


def test_t2_the_write_key_is_the_user_or_stands_in_the_body(segment):
    header = segment.send(event("in-header"))
    body = segment.send(event("in-body"), writeKey=KEY, auth=None)

    assert [header.status_code, body.status_code] == [200, 200]
    assert segment.holders() == {"in-header", "in-body"}


@pytest.mark.parametrize(
    "auth", [("wk-unknown", ""), (KEY, "a-password"), ("", KEY), None]
)
def test_t2_an_unknown_write_key_is_refused(segment, auth):
    response = segment.send(event(), auth=auth)

    assert response.status_code == 401
    assert response.json() == {"code": "unauthorized", "message": "Invalid write key"}
    assert segment.holders() == set()


def test_t2_an_unknown_write_key_may_be_a_200_that_does_nothing(segment):
    segment.config(segment_unknown_key_status=200)

    response = segment.send(event(), auth=("wk-unknown", ""))

    assert (response.status_code, response.json()) == (200, {"success": True})
    assert segment.reasons() == ["unknown_write_key"]
    assert segment.holders() == set()


def test_t2_the_credential_check_knows_the_keys_of_both_regions(segment):
    source = {"id": "eu", "write_key": "wk-eu", "region": "eu"}
    segment.post("/_sim/segment/sources", source)

    statuses = [
        segment.api.get(f"/v1/projects/{key}/settings").status_code
        for key in (KEY, "wk-eu", "wk-unknown")
    ]

    assert statuses == [200, 200, 404]


def test_t2_a_key_that_is_taken_away_is_unknown(segment):
    segment.control.delete("/_sim/segment/sources/demo").raise_for_status()

    assert segment.send(event()).status_code == 401
    assert segment.api.get(f"/v1/projects/{KEY}/settings").status_code == 404


def test_r25_no_write_key_is_logged_or_shown(segment):
    segment.send(event())
    segment.send(event(), writeKey=KEY, auth=None)
    segment.send(event(), auth=("wk-secret-unknown", ""))
    segment.api.get(f"/v1/projects/{KEY}/settings")

    pages = ["/_sim/log?ids=1", "/_sim/segment", "/_sim/segment/sources"]
    text = "".join(segment.control.get(page).text for page in pages)

    assert KEY not in text
    assert "wk-secret-unknown" not in text
    assert [one["key"] for one in segment.log()] == ["demo", "demo", None, "demo"]
    assert segment.log()[3]["path"] == "/v1/projects/{writeKey}/settings"


# ---- T3: bodies ------------------------------------------------------------------


def test_t3_an_identify_sets_the_trait_and_keeps_context_and_integrations(segment):
    response = segment.send(event(integrations={"All": False}))

    (kept,) = segment.get("/events", user_id="u-81")["events"]
    assert (response.status_code, response.json()) == (200, {"success": True})
    assert segment.trait() == {
        "value": True,
        "timestamp": NOW,
        "message_id": "m-u-81-True",
    }
    assert kept["context"] == CONTEXT
    assert kept["integrations"] == {"All": False}
    assert segment.get("/user", user_id="u-81")["integrations"] == {"All": False}


def test_t3_what_stands_at_the_top_is_merged_into_each_event(segment):
    own = {"All": True, "Braze": False}

    segment.send(
        event("u-1", integrations=own),
        event("u-2"),
        context={"library": {"name": "syncd"}},
        integrations={"All": False},
    )

    first = segment.get("/events", user_id="u-1")["events"][0]
    second = segment.get("/events", user_id="u-2")["events"][0]
    assert first["integrations"] == own
    assert second["integrations"] == {"All": False}
    assert first["context"] == {"library": {"name": "syncd"}, **CONTEXT}


def test_t3_a_gzipped_batch_is_read(segment):
    content = gzip.compress(json.dumps({"batch": [event()]}).encode())

    response = segment.api.post(
        "/v1/batch",
        content=content,
        headers={"content-encoding": "gzip"},
        auth=(KEY, ""),
    )

    assert response.status_code == 200
    assert segment.holders() == {"u-81"}


def test_t3_a_single_identify_is_taken_as_well(segment):
    response = segment.api.post("/v1/identify", json=event(), auth=(KEY, ""))

    assert (response.status_code, response.json()) == (200, {"success": True})
    assert segment.holders() == {"u-81"}
    assert segment.log()[0]["endpoint"] == "segment_identify"


def test_other_events_than_identify_set_no_trait(segment):
    segment.send(event(type="track", properties={TRAIT: True}))

    assert segment.get()["accepted"] == 1
    assert segment.trait() is None


def test_sources_of_one_space_share_their_users_and_spaces_do_not(segment):
    for name, space in (("second", "demo"), ("other", "elsewhere")):
        source = {"id": name, "write_key": f"wk-{name}", "space": space}
        segment.post("/_sim/segment/sources", source)

    segment.send(event("u-1"), auth=("wk-second", ""))
    segment.send(event("u-2"), auth=("wk-other", ""))

    assert segment.holders() == {"u-1"}
    assert segment.get("/members", trait=TRAIT, space="elsewhere")["ids"] == ["u-2"]


# ---- T4: limits ------------------------------------------------------------------


def padded(size: int, user: str = "u-81") -> dict:
    """An event of exactly so many bytes."""
    empty = event(user, padding="")
    room = size - len(json.dumps(empty, separators=(",", ":")))
    return event(user, padding="x" * room)


def test_t4_an_event_over_32_kb_is_a_400(segment):
    within = segment.send(padded(32 * 1024))
    beyond = segment.send(event("u-1"), padded(32 * 1024 + 1, "u-2"))

    assert [within.status_code, beyond.status_code] == [200, 400]
    assert beyond.json()["message"].startswith("event: 32769 bytes")
    assert segment.holders() == {"u-81"}


def sized(size: int) -> bytes:
    """A batch of exactly so many bytes."""
    events = [padded(30_000, f"u-{place}") for place in range(16)]
    empty = json.dumps({"batch": events, "rest": ""}).encode()
    assert len(empty) < size
    rest = "x" * (size - len(empty))
    return json.dumps({"batch": events, "rest": rest}).encode()


@pytest.mark.parametrize(("size", "status"), [(499_999, 200), (500_000, 400)])
def test_t4_a_batch_of_500_kb_is_a_400(segment, size, status):
    response = segment.api.post("/v1/batch", content=sized(size), auth=(KEY, ""))

    assert response.status_code == status
    assert segment.get()["accepted"] == (16 if status == 200 else 0)
    assert segment.get()["largest_batch"] == {"bytes": size, "events": 16}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"batch":{}}', b"\xff"])
def test_t4_what_is_no_batch_in_json_is_a_400(segment, content):
    response = segment.api.post("/v1/batch", content=content, auth=(KEY, ""))

    assert response.status_code == 400
    assert set(response.json()) == {"code", "message"}


def test_t4_events_after_2500_are_dropped_with_a_200(segment):
    events = [
        {"type": "identify", "userId": f"u-{n}", "traits": {"t": True}}
        for n in range(2503)
    ]

    response = segment.send(*events)

    assert response.status_code == 200
    assert segment.reasons() == ["over_2500_events"] * 3
    assert len(segment.holders(trait="t")) == 2500
    assert {one["place"] for one in segment.get("/dropped")["dropped"]} == {
        2500,
        2501,
        2502,
    }


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (event(None), "no_user_or_anonymous_id"),
        (event(""), "no_user_or_anonymous_id"),
        (event(messageId="m" * 100), "message_id_too_long"),
        (event(timestamp="2026-03-02T10:00:00"), "timestamp_without_zone"),
        (event(timestamp="yesterday"), "timestamp_without_zone"),
        (event(timestamp=1772445600), "timestamp_without_zone"),
        (event(traits={f"t{n}": True for n in range(300)}), "too_many_traits"),
        ("no event", "malformed"),
        ({"userId": "u-81", "traits": {TRAIT: True}}, "malformed"),
    ],
)
def test_t4_a_bad_event_is_dropped_with_a_200_beside_good_ones(segment, broken, reason):
    response = segment.send(event("u-1"), broken, event("u-2"))

    (record,) = segment.get("/dropped", reason=reason)["dropped"]
    assert (response.status_code, response.json()) == (200, {"success": True})
    assert (record["place"], record["outcome"]) == (1, reason)
    assert segment.holders() == {"u-1", "u-2"}
    assert segment.get()["dropped"] == {reason: 1}


def test_t4_limits_are_kept_by_what_is_just_within_them(segment):
    segment.send(
        event("u-1", messageId="m" * 99),
        event("u-2", traits={f"t{n}": True for n in range(299)}),
        event(None, anonymousId="a-1", messageId="m-anonymous"),
    )

    assert segment.get()["accepted"] == 3
    assert segment.get()["dropped"] == {}


def test_t4_a_client_above_the_rate_gets_429_and_when_to_come_again(segment):
    segment.config(segment_events_per_second=100)
    batches = [[event(f"u-{n}-{m}") for m in range(60)] for n in range(3)]

    answers = [segment.send(*batch) for batch in batches]
    wait = int(answers[2].headers["retry-after"])
    segment.advance(wait)
    again = segment.send(*batches[2])

    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[2].headers["x-ratelimit-reset"] == str(wait)
    assert wait == 1
    assert again.status_code == 200
    assert segment.get()["accepted"] == 180


def test_t4_a_client_that_keeps_the_rate_is_never_refused(segment):
    segment.config(segment_events_per_second=100)

    statuses = set()
    for number in range(20):
        batch = [event(f"u-{number}-{n}") for n in range(250)]
        statuses.add(segment.send(*batch).status_code)
        segment.advance(2.5)

    assert statuses == {200}
    assert segment.get()["most_events_in_seconds"] == {"1": 250, "10": 1000, "60": 5000}


@pytest.mark.parametrize(("shape", "start"), [("empty", ""), ("html", "<!DOCTYPE")])
def test_t4_the_success_body_may_be_another_one(segment, shape, start):
    segment.config(segment_success_body=shape)

    response = segment.send(event())

    assert response.status_code == 200
    assert response.text[:9] == start
    assert segment.holders() == {"u-81"}


# ---- T6: dedupe ------------------------------------------------------------------


def test_t6_a_message_id_counts_once_whatever_it_says_the_second_time(segment):
    segment.send(event(messageId="m-1"))

    response = segment.send(event(value=False, messageId="m-1"))

    assert (response.status_code, response.json()) == (200, {"success": True})
    assert segment.trait()["value"] is True
    assert (segment.get()["accepted"], segment.get()["duplicates"]) == (1, 1)


def test_t6_also_within_one_batch_and_over_sources(segment):
    source = {"id": "other", "write_key": "wk-other", "space": "elsewhere"}
    segment.post("/_sim/segment/sources", source)
    segment.send(event("u-1", messageId="m-1"), event("u-2", messageId="m-1"))

    segment.send(event("u-3", messageId="m-1"), auth=("wk-other", ""))

    assert segment.get("/members", trait=TRAIT, space="elsewhere")["ids"] == []
    assert segment.holders() == {"u-1"}
    assert segment.get()["duplicates"] == 2


@pytest.mark.parametrize(
    ("seconds", "forever", "duplicates"),
    [(86_399, False, 1), (86_401, False, 0), (90 * 86_400, True, 1)],
)
def test_t6_a_message_id_is_remembered_for_24_hours_or_for_ever(
    segment, seconds, forever, duplicates
):
    segment.config(segment_dedupe_forever=forever)
    segment.send(event(messageId="m-1"))
    now = segment.advance(seconds)

    segment.send(event("u-2", messageId="m-1", timestamp=now), sentAt=now)

    assert segment.get()["duplicates"] == duplicates


def test_t6_without_a_message_id_a_retry_doubles(segment):
    for _ in range(2):
        segment.send(event(messageId=None))

    assert segment.get()["accepted"] == 2
    first, second = segment.get("/events", user_id="u-81")["events"]
    assert first["message_id"] != second["message_id"]


def test_t6_a_dropped_event_does_not_use_its_message_id_up(segment):
    segment.send(event(messageId="m-1", timestamp="2026-03-02T10:00:00"))

    segment.send(event(messageId="m-1"))

    assert segment.holders() == {"u-81"}


# ---- T7: time --------------------------------------------------------------------


def test_t7_the_newest_timestamp_wins_not_the_last_arrival(segment):
    segment.send(event(value=True, timestamp=at(NOW, -10)))
    segment.send(event(value=False, timestamp=at(NOW, -20)))

    assert segment.trait()["value"] is True
    assert segment.trait()["message_id"] == "m-u-81-True"
    assert segment.holders("false") == set()


def test_t7_of_equally_new_events_the_later_arrival_wins(segment):
    segment.send(event(value=True), event(value=False))

    assert segment.trait()["value"] is False


def test_t7_each_trait_has_its_own_newest_event(segment):
    segment.send(event(traits={"a": True, "b": True}, messageId="m-1"))
    segment.send(event(traits={"a": False}, timestamp=at(NOW, 5), messageId="m-2"))

    traits = segment.get("/user", user_id="u-81")["traits"]

    assert {name: one["value"] for name, one in traits.items()} == {
        "a": False,
        "b": True,
    }


def test_t7_a_client_s_wrong_clock_is_corrected_by_its_sent_at(segment):
    ahead = at(NOW, 3600)

    segment.send(event(timestamp=at(ahead, -30)), sentAt=ahead)

    assert segment.trait()["timestamp"] == at(NOW, -30)


def test_t7_without_a_timestamp_the_time_of_arrival_is_stored(segment):
    segment.send(event(timestamp=None), sentAt=None)

    assert segment.trait()["timestamp"] == NOW


def test_a_user_who_leaves_and_comes_back_is_shown_event_by_event(segment):
    for place, value in enumerate((True, False, True)):
        when = at(NOW, place)
        segment.send(event(value=value, messageId=f"m-{place}", timestamp=when))

    events = segment.get("/events", user_id="u-81")["events"]

    assert [(one["message_id"], one["traits"][TRAIT]) for one in events] == [
        ("m-0", True),
        ("m-1", False),
        ("m-2", True),
    ]
    assert {one["outcome"] for one in events} == {"accepted"}
    assert segment.get("/events", user_id="nobody")["events"] == []


# ---- reading ---------------------------------------------------------------------


def test_holders_are_streamed_as_lines_and_compared_person_by_person(segment):
    segment.send(event("u-1"), event("u-2"), event("u-3", False), event("u-4", "true"))

    path = "/_sim/segment/compare"
    result = segment.control.post(
        path, params={"trait": TRAIT}, json={"user_ids": ["u-1", "u-9"]}
    ).json()
    text = segment.control.get(
        "/_sim/segment/members", params={"trait": TRAIT, "format": "text"}
    ).text

    assert sorted(text.split()) == ["u-1", "u-2"]
    assert result == {
        "equal": False,
        "expected": 2,
        "actual": 2,
        "missing": 1,
        "extra": 1,
        "missing_sample": ["u-9"],
        "extra_sample": ["u-2"],
    }
    assert segment.get("/traits")["traits"] == [
        {"name": TRAIT, "true": 2, "false": 1, "other": 1}
    ]


def test_compare_takes_lines_and_the_false_ones(segment):
    segment.send(event("u-1"), event("u-2", False))

    result = segment.control.post(
        "/_sim/segment/compare",
        params={"trait": TRAIT, "value": "false"},
        content="u-2\n",
        headers={"content-type": "text/plain"},
    ).json()

    assert result["equal"] is True


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/members", None, 400),
        ("GET", "/members?trait=t&value=maybe", None, 400),
        ("GET", "/members?trait=t&space=nowhere", None, 404),
        ("GET", "/dropped?reason=boredom", None, 400),
        ("GET", "/user", None, 400),
        ("POST", "/sources", {"id": "new"}, 400),
        ("POST", "/sources", {"id": "new", "write_key": KEY}, 400),
        ("POST", "/sources", {"id": "x", "write_key": "k", "region": "mars"}, 400),
        ("POST", "/sources", {"colour": "red"}, 400),
        ("DELETE", "/sources/none", None, 404),
    ],
)
def test_a_wrong_control_call_says_what_is_wrong(segment, method, path, body, status):
    response = segment.control.request(method, f"/_sim/segment{path}", json=body)

    assert response.status_code == status
    assert response.json()["error"]


def test_r25_each_request_is_logged_with_its_number_of_events(segment):
    segment.send(event("u-1"), event("u-2"), event(None))
    segment.send(event("u-1", False))

    first, second = segment.log()
    assert (first["endpoint"], first["status"]) == ("segment_batch", 200)
    assert (first["id_count"], first["added"], first["skipped"]) == (3, 2, 1)
    assert (first["operation"], second["operation"]) == ("ADD", "REMOVE")
    assert len(first["body_sha256"]) == 64
    assert segment.get()["by_status"] == {"200": 2}
    assert segment.get()["events"] == 4


def test_amplitude_s_counters_do_not_move(segment):
    segment.send(event())

    stats = segment.control.get("/_sim/stats").json()

    assert stats["requests"] == 0


def test_reset_of_segment_alone_forgets_events_sources_and_message_ids(segment):
    segment.post("/_sim/segment/sources", {"id": "x", "write_key": "wk-x"})
    segment.send(event())

    segment.post("/_sim/reset", {"only": ["segment"]})

    assert segment.get()["events"] == 0
    assert segment.get("/sources")["sources"] == [
        {"id": "demo", "region": "us", "space": "demo"}
    ]
    segment.send(event())
    assert segment.get()["duplicates"] == 0


# ---- R24: faults, service time ---------------------------------------------------


def script(segment: Segment, kind: str, **fields: Any) -> None:
    fault = {"endpoint": "segment_batch", "kind": kind} | fields
    segment.post("/_sim/faults", fault)


def test_r24_a_failed_attempt_is_seen_in_the_events_but_has_no_effect(segment):
    script(segment, "status", status=503, calls=[1])

    answers = [segment.send(event()) for _ in range(2)]

    events = segment.get("/events", user_id="u-81")["events"]
    assert [one.status_code for one in answers] == [503, 200]
    assert answers[0].json()["message"] == "Service Unavailable"
    assert [one["outcome"] for one in events] == ["not_applied", "accepted"]
    assert len({one["message_id"] for one in events}) == 1
    assert segment.get()["accepted"] == 1


def test_r24_a_429_with_retry_after_and_segment_s_own_words(segment):
    script(segment, "status", status=429, retry_after=7)

    response = segment.send(event())

    assert response.headers["retry-after"] == "7"
    assert response.json()["code"] == "too_many_requests"


@pytest.mark.parametrize(
    ("kind", "holders"), [("hang_before", set()), ("hang_after", {"u-81"})]
)
def test_r24_a_hang_before_or_after_the_effect(segment, kind, holders):
    script(segment, kind)

    with pytest.raises(httpx.ReadTimeout):
        segment.api.post(
            "/v1/batch", json={"batch": [event()]}, auth=(KEY, ""), timeout=0.3
        )

    assert segment.holders() == holders


@pytest.mark.parametrize(
    ("script_of", "holders"),
    [
        ({"kind": "reset"}, set()),
        ({"kind": "reset", "when": "mid", "apply": True}, {"u-81"}),
    ],
)
def test_r24_a_reset_before_or_after_the_effect(segment, script_of, holders):
    script(segment, **script_of)

    with pytest.raises(httpx.TransportError):
        segment.send(event())

    assert segment.holders() == holders


@pytest.mark.parametrize(
    ("kind", "text"),
    [("html_200", "<!DOCTYPE html>"), ("zero_byte", "")],
)
def test_r24_a_200_that_says_nothing_means_nothing(segment, kind, text):
    script(segment, kind)

    response = segment.send(event())

    assert (response.status_code, response.text[:15]) == (200, text)
    assert segment.holders() == set()


def test_r24_the_answer_in_drops(segment):
    script(segment, "drip", chunk=4, interval=0.01)

    assert segment.send(event()).json() == {"success": True}
    assert segment.holders() == {"u-81"}


def test_r24_an_effect_that_lands_after_its_503(segment):
    script(segment, "late_commit", after=None)

    response = segment.send(event())
    before = segment.holders()
    segment.post("/_sim/late", {})

    assert response.status_code == 503
    assert (before, segment.holders()) == (set(), {"u-81"})
    assert segment.log()[0]["effect"] == "late"


def test_r24_a_fault_can_be_aimed_at_exits_or_at_one_trait(segment):
    script(segment, "status", status=500, operation="REMOVE", name=TRAIT)

    statuses = [
        segment.send(event(value=value, traits={trait: value})).status_code
        for value, trait in ((True, TRAIT), (False, TRAIT), (False, "other"))
    ]

    assert statuses == [200, 500, 200]


def test_the_service_time_of_an_endpoint_is_kept(segment):
    segment.post("/_sim/latency", {"segment_batch": 0.2})

    begun = time.monotonic()
    segment.send(event())

    assert time.monotonic() - begun >= 0.2


def in_batches(events: int) -> Iterable[bytes]:
    """Batches of 1,000 events of about 300 bytes."""
    for first in range(0, events, 1000):
        batch = [
            event(f"usr_{number:012x}", messageId=f"syncd-{number:040x}")
            for number in range(first, first + 1000)
        ]
        yield json.dumps({"sentAt": NOW, "batch": batch}).encode()


def test_many_events_from_four_senders_are_all_taken(segment):
    lock, mine = threading.Lock(), threading.local()
    clients: list[httpx.Client] = []

    def send(content: bytes) -> int:
        if not hasattr(mine, "client"):
            mine.client = httpx.Client(base_url=segment.api.base_url, auth=(KEY, ""))
            with lock:
                clients.append(mine.client)
        return int(mine.client.post("/v1/batch", content=content).status_code)

    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(send, in_batches(20_000)))
    for client in clients:
        client.close()

    expected = [f"usr_{number:012x}" for number in range(20_000)]
    result = segment.control.post(
        "/_sim/segment/compare", params={"trait": TRAIT}, json={"user_ids": expected}
    ).json()
    assert statuses == {200}
    assert result["equal"] is True
    assert segment.get()["users"] == 20_000
