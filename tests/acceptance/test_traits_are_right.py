"""Whatever Segment or a partner does, everybody's trait is right, and said only once.

The real command against the simulator's Segment and its partner: transitions and their
`messageId`, sizes, pace, refusals, and the bodies of vendor page 1 field by field.
"""

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import pytest

SPEED = 20
RATE = 500
"""Events per second that a connection is sent by default."""
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
"""Of every body on vendor page 1."""


def people(count: int, first: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(first, first + count)]


@pytest.fixture
def town(installation, simulator):
    """An installation whose vendors answer at once; no sync, no cohort."""
    simulator.post("/_sim/config", {"job_seconds": 0})
    return installation


def connected(town, name: str, to: dict[str, Any], **connection: Any) -> None:
    """A sync of the cohort `c1` to a connection that gives up after a second."""
    town.cohort_sync(name, "c1", to=to)
    reached = town.config["connections"][to["connection"]]
    reached |= {"request_deadline": "1s"} | connection


def change(simulator, cohort: str = "c1", **more: Any) -> None:
    """People enter and leave, seconds after the last download.

    `lastComputed` has whole seconds: two computations in one look like one.
    """
    simulator.post("/_sim/clock", {"advance": 2})
    simulator.change(cohort, **more)


def ran(town, *syncs: str):
    """A run, none of whose output names a person."""
    ended = town.run(*syncs)
    assert "person-" not in ended.out + ended.err
    return ended


# ---- transitions and their messageId -------------------------------------------------


def said_of(simulator, user_id: str) -> list[dict[str, Any]]:
    """Every event about a person, in order of arrival."""
    answer = simulator.control.get("/_sim/segment/events", params={"user_id": user_id})
    events: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
    return events


def transitions(simulator, user_id: str) -> list[tuple[str, bool, list[str]]]:
    """messageId, value, and what became of each sending, in order of arrival."""
    found: dict[str, tuple[str, bool, list[str]]] = {}
    for event in said_of(simulator, user_id):
        (value,) = event["traits"].values()
        entry = found.setdefault(event["message_id"], (event["message_id"], value, []))
        assert entry[1] is value, "one messageId says one thing"
        entry[2].append(event["outcome"])
    return list(found.values())


def test_each_transition_has_one_message_id_however_often_it_is_sent(town, simulator):
    connected(town, "churn", {"connection": "segment", "trait": "churn"})
    simulator.cohort("c1", members=people(100))
    simulator.fault("segment_batch", "status", status=429, calls=[1])
    simulator.fault("segment_batch", "status", status=500, apply=True, calls=[2])
    simulator.fault("segment_batch", "hang_after", seconds=3, calls=[3])
    entered = ran(town)
    change(simulator, remove=people(10))
    simulator.no_faults()
    simulator.fault("segment_batch", "status", status=500, calls=list(range(1, 10)))
    given_up = ran(town)
    left = ran(town)
    change(simulator, add=people(10))
    back = ran(town)

    assert [each.run["outcome"] for each in (entered, given_up, left, back)] == [
        "success",
        "partial",
        "success",
        "success",
    ]
    assert entered.run["retries"] == 3
    moved = transitions(simulator, "person-000003")
    assert [(value, outcomes) for _, value, outcomes in moved] == [
        (True, ["not_applied", "accepted", "duplicate", "duplicate"]),
        (False, ["not_applied"] * 9 + ["accepted"]),
        (True, ["accepted"]),
    ]
    assert all(len(message_id) < 100 for message_id, _, _ in moved)
    (stayed,) = transitions(simulator, "person-000050")
    assert stayed[1] is True
    assert simulator.with_trait("churn") == set(people(100))
    assert simulator.with_trait("churn", value=False) == set()
    assert simulator.get("/_sim/segment/dropped")["total"] == 0


def test_whoever_returns_while_the_exit_is_in_doubt_is_told_to_be_in(town, simulator):
    connected(town, "churn", {"connection": "segment", "trait": "churn"})
    simulator.cohort("c1", members=people(100))
    assert ran(town).code == 0
    change(simulator, remove=people(10))
    nine = list(range(1, 10))
    simulator.fault("segment_batch", "status", status=503, apply=True, calls=nine)
    in_doubt = ran(town)
    assert simulator.with_trait("churn", value=False) == set(people(10))
    change(simulator, add=people(5))

    ended = ran(town)

    assert (in_doubt.code, ended.code) == (4, 0)
    assert simulator.with_trait("churn") == set(people(5) + people(90, first=10))
    assert simulator.with_trait("churn", value=False) == set(people(5, first=5))
    told = [value for _, value, _ in transitions(simulator, "person-000002")]
    assert told == [True, False, True]


# ---- sizes and pace ------------------------------------------------------------------


def segment_of(simulator) -> dict[str, Any]:
    counters: dict[str, Any] = simulator.get("/_sim/segment")
    return counters


def test_3100_events_of_300_bytes_are_four_requests_and_none_is_dropped(
    town, simulator
):
    connected(
        town,
        "churn",
        {"connection": "segment", "trait": "churn-risk-of-this-quarter"},
        max_events_per_second=10_000,
    )
    simulator.cohort("c1", generate={"prefix": "person-at-home-", "count": 3_100})

    ended = ran(town)

    assert ended.code == 0
    counters = segment_of(simulator)
    assert counters["requests"] == counters["by_status"]["200"] == 4
    assert 290 <= counters["largest_event_bytes"] <= 330
    assert counters["largest_batch"]["events"] <= 2_500
    assert counters["largest_batch"]["bytes"] < 500_000
    assert counters["accepted"] == 3_100
    assert simulator.get("/_sim/segment/dropped")["total"] == 0
    assert len(simulator.with_trait("churn-risk-of-this-quarter")) == 3_100


def test_events_too_long_for_one_body_are_halved_before_a_byte_is_sent(town, simulator):
    connected(town, "churn", {"connection": "segment", "trait": "churn"})
    members = [f"person-{'x' * 500}-{number}" for number in range(1_000)]
    simulator.cohort("c1", members=members)

    ended = ran(town)

    assert ended.code == 0
    (split,) = ended.events("batch.split")
    assert (split["size"], split["reason"]) == (1_000, "too_large")
    counters = segment_of(simulator)
    assert counters["by_status"] == {"200": 2}
    assert counters["largest_batch"]["bytes"] < 500_000
    assert simulator.with_trait("churn") == set(members)


def test_the_pace_holds_over_all_workers_and_syncs(new_simulator, new_installation):
    fast = ("--speed", str(SPEED), "--origin", datetime.now(UTC).isoformat())
    simulator = new_simulator(*fast, "--latency", "0")
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation = new_installation(simulator)
    for name in ("first", "second"):
        simulator.cohort(name, generate={"prefix": f"person-{name}-", "count": 8_000})
        installation.cohort_sync(name, name, schedule="once")

    daemon = installation.start("serve", *fast)
    for name in ("first", "second"):
        assert daemon.reached("run.finished", sync=name, outcome="success")
    assert daemon.stop() == 0

    batches = simulator.log("segment_batch")
    assert sum(each["id_count"] for each in batches) == 16_000
    require_paced(batches)
    assert len(simulator.with_trait("first") | simulator.with_trait("second")) == 16_000


def require_paced(batches: list[dict[str, Any]]) -> None:
    """No batch came before the events ahead of it had their time.

    Arrival trails departure by real milliseconds; those of the first one shorten the
    rest, on this clock by `SPEED` times as much.
    """
    times = [datetime.fromisoformat(each["at"]) for each in batches]
    ahead = [0, *accumulate(each["id_count"] for each in batches)]
    late = 0.2 * SPEED
    for at, events in zip(times, ahead, strict=False):
        assert (at - times[0]).total_seconds() >= events / RATE - late


# ---- credentials ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "secret"),
    [
        ("segment", "write_key"),
        ("partner-lists", "partner_key"),
    ],
)
def test_a_wrong_key_stops_the_connection_until_it_is_corrected(
    town, simulator, connection, secret
):
    connected(town, "churn", {"connection": connection})
    simulator.cohort("c1", members=people(100))
    right = (town.folder / "secrets" / secret).read_text(encoding="utf-8")
    town.secret(secret, "wrong-key-0815")

    refused = ran(town)
    town.secret(secret, right)
    again = ran(town)

    assert (refused.code, refused.run["outcome"]) == (1, "failed")
    (stopped,) = refused.events("connection.stopped")
    assert stopped["connection"] == connection
    assert stopped["http.response.status_code"] == 401
    assert stopped["next"].startswith("syncd status")
    assert (again.code, again.run["entered"], again.run["waiting"]) == (0, 100, 0)
    assert len(again.events("connection.resumed")) == 1
    assert simulator.downloads()["counted"] == 1
    for ended in (refused, again):
        assert "wrong-key-0815" not in ended.out + ended.err
        assert right not in ended.out + ended.err


# ---- partners ------------------------------------------------------------------------

NAME = "[Amplitude] Power Users: c1"
"""As vendor page 1 spells a list and a property."""
SINGLY = "[Amplitude] One: by (one): c2"


@pytest.fixture
def partners(town, simulator):
    """One sync to a list and one to a property, of a cohort that the test makes."""
    connected(town, "lists", {"connection": "partner-lists"})
    connected(town, "properties", {"connection": "partner-properties"})
    return town


def on_the_list(simulator) -> set[str]:
    (made,) = simulator.get("/_sim/partner/lists")["lists"]
    return set(simulator.get(f"/_sim/partner/lists/{made['id']}/members")["ids"])


def with_property(simulator, *, value: bool = True) -> set[str]:
    answer = simulator.control.get(
        "/_sim/partner/members", params={"trait": NAME, "value": str(value).lower()}
    )
    return set(answer.raise_for_status().json()["ids"])


def outcomes(ended) -> list[str]:
    return [each["outcome"] for each in ended.document["runs"]]


def test_a_partner_that_fails_in_passing_has_everybody_at_the_end(partners, simulator):
    partners.config["defaults"]["delivery"]["batch_size"] = 50
    simulator.cohort("c1", name="Power Users", members=people(120))
    for endpoint in ("partner_lists", "partner_add", "partner_property"):
        simulator.fault(endpoint, "status", status=429, calls=[1])
        simulator.fault(endpoint, "status", status=500, calls=[2])
        simulator.fault(endpoint, "hang_after", seconds=3, calls=[3])

    ended = ran(partners)

    assert outcomes(ended) == ["success", "success"]
    retried = ended.events("batch.retried")
    assert Counter(each["sync"] for each in retried) == {"lists": 6, "properties": 3}
    assert {each["error.type"] for each in retried} == {
        "rate_limited",
        "http_5xx",
        "timeout",
    }
    assert len(simulator.get("/_sim/partner/lists")["lists"]) == 1
    assert on_the_list(simulator) == with_property(simulator) == set(people(120))


def test_one_unknown_person_among_a_thousand_is_found_and_rejected(partners, simulator):
    known, stranger = people(999), "person-stranger"
    simulator.cohort("c1", name="Power Users", members=[*known, stranger])
    simulator.post("/_sim/partner/people", {"user_ids": known})
    simulator.post("/_sim/config", {"partner_knows_everybody": False})

    ended = ran(partners)
    shown = partners.syncd("show", "lists")

    assert outcomes(ended) == ["success", "success"]
    assert on_the_list(simulator) == with_property(simulator) == set(known)
    for each in ended.document["runs"]:
        assert each["rejected"] == 1
        assert each["not_accepted"] == {"rejected: unknown to the destination": 1}
    rejections = ended.events("member.rejected")
    assert [each["sync"] for each in rejections] == ["lists", "properties"]
    assert [each["count"] for each in rejections] == [1, 1]
    assert {each["vendor_message"] for each in rejections} == {"Invalid User ID"}
    assert all(each["next"].startswith("syncd show") for each in rejections)
    assert len(simulator.log("partner_add")) <= 2 * 10 + 1, "by halving"
    assert "unknown to the destination" in shown.out
    assert "person-" not in shown.out + shown.err


def update(user_id: str, value: bool, name: str = NAME) -> dict[str, Any]:
    """A single update as on vendor page 1."""
    return {
        "type": "identify",
        "traits": {name: value},
        "userId": user_id,
        "context": CONTEXT,
    }


def test_the_bodies_are_those_of_vendor_page_1_field_by_field(partners, simulator):
    simulator.cohort("c1", name="Power Users", members=["ann", "bob"])
    simulator.cohort("c2", name="One: by (one)", members=["ann"])
    connected(partners, "singly", {"connection": "partner-properties"})
    connections = partners.config["connections"]
    connections["singly"] = connections["partner-properties"] | {"mode": "single"}
    singly = partners.config["syncs"][-1]
    singly["from"]["cohort_id"], singly["to"]["connection"] = "c2", "singly"
    assert outcomes(ran(partners)) == ["success"] * 3
    change(simulator, add=["cleo"], remove=["bob"])
    change(simulator, "c2", remove=["ann"], add=["bob"])
    assert outcomes(ran(partners)) == ["success"] * 3

    sent = simulator.get("/_sim/partner/bodies?last=50")["bodies"]
    assert {each["auth"] for each in sent} == {"basic"}
    assert {each["content_type"] for each in sent} == {"application/json"}
    assert {each["method"] for each in sent} == {"POST"}
    (made,) = simulator.get("/_sim/partner/lists")["lists"]
    spoken = sorted((each["path"], canonical(each["body"])) for each in sent)
    add, remove = (f"/lists/{made['id']}/{verb}" for verb in ("add", "remove"))
    expected: list[tuple[str, dict[str, Any]]] = [
        ("/lists", {"name": NAME, "context": CONTEXT}),
        (add, {"userIds": ["ann", "bob"], "context": CONTEXT}),
        (add, {"userIds": ["cleo"], "context": CONTEXT}),
        (remove, {"userIds": ["bob"], "context": CONTEXT}),
        ("/property", {"batch": [update("ann", True), update("bob", True)]}),
        ("/property", {"batch": [update("cleo", True)]}),
        ("/property", {"batch": [update("bob", False)]}),
        ("/property", update("ann", True, SINGLY)),
        ("/property", update("bob", True, SINGLY)),
        ("/property", update("ann", False, SINGLY)),
    ]
    assert spoken == sorted((path, canonical(body)) for path, body in expected)


def canonical(body: str | dict[str, Any]) -> str:
    """JSON with sorted keys, and people in one order: none is promised."""
    read = json.loads(body) if isinstance(body, str) else body
    if "userIds" in read:
        read["userIds"] = sorted(read["userIds"])
    if "batch" in read:
        read["batch"] = sorted(read["batch"], key=lambda each: str(each["userId"]))
    return json.dumps(read, sort_keys=True)
