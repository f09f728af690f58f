"""R23: one writing request per cohort, and the counters that watch it."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import orjson

from syncd.simulator.state import Simulator


def together(*calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def add(sim, cohort_id, user):
    return lambda: sim.change(cohort_id, "ADD", [user])


def test_r23_a_second_request_on_the_same_cohort_is_a_429_without_effect(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1", "bob-1")
    sim.post("/_sim/latency", {"membership": 0.3})

    answers = together(add(sim, cohort_id, "ann-1"), add(sim, cohort_id, "bob-1"))

    assert sorted(one.status_code for one in answers) == [200, 429]
    refused = next(one for one in answers if one.status_code == 429)
    assert refused.json()["error"]["message"] == "Unspecified Error"
    details = refused.json()["error"]["metadata"]["details"]
    assert details.startswith("Too Many Requests")
    assert "retry-after" not in refused.headers
    assert len(sim.members(cohort_id)) == 1
    stats = sim.get("/_sim/stats")
    assert (stats["status_429"], stats["overlaps"]) == (1, 1)
    assert stats["cohorts"][cohort_id]["max_in_flight"] == 2


def test_r23_upload_and_membership_exclude_each_other(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")
    sim.post("/_sim/latency", {"membership": 0.3, "upload": 0.3})

    answers = together(
        add(sim, cohort_id, "bob-1"),
        lambda: sim.upload(["bob-1"], existing_cohort_id=cohort_id),
    )

    assert sorted(one.status_code for one in answers) == [200, 429]


def test_r23_other_cohorts_are_not_affected(sim):
    cohorts = [sim.cohort(f"c{number}") for number in range(4)]
    sim.users("ann-1")
    sim.post("/_sim/latency", {"membership": 0.3})

    answers = together(*(add(sim, cohort_id, "ann-1") for cohort_id in cohorts))

    assert [one.status_code for one in answers] == [200] * 4
    stats = sim.get("/_sim/stats")
    assert stats["max_in_flight"] == stats["max_writes_in_flight"] == 4
    assert (stats["overlaps"], stats["status_429"]) == (0, 0)


def test_r23_one_after_the_other_is_fine(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")

    answers = [add(sim, cohort_id, "ann-1")() for _ in range(20)]

    assert {one.status_code for one in answers} == {200}
    stats = sim.get("/_sim/stats")["cohorts"][cohort_id]
    assert stats == {"requests": 20, "max_in_flight": 1, "overlaps": 0}


def test_r23_the_429_carries_retry_after_by_switch(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    sim.post("/_sim/latency", {"all": 0.3})
    sim.post("/_sim/config", {"retry_after": 7})

    answers = together(add(sim, cohort_id, "ann-1"), add(sim, cohort_id, "ann-1"))

    refused = next(one for one in answers if one.status_code == 429)
    assert refused.headers["retry-after"] == "7"


def test_r23_a_client_that_hung_up_still_holds_the_cohort_but_is_no_overlap(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1", "bob-1")
    sim.post("/_sim/latency", {"membership": 0.6})
    body = {
        "cohort_id": cohort_id,
        "memberships": [{"ids": ["ann-1"], "id_type": "BY_NAME", "operation": "ADD"}],
    }
    try:
        sim.api.post("/api/3/cohorts/membership", json=body, timeout=0.1)
        timed_out = False
    except httpx.ReadTimeout:
        timed_out = True

    second = sim.change(cohort_id, "ADD", ["bob-1"])
    while sim.log()[0]["ended"] is None:
        continue

    assert timed_out
    assert second.status_code == 429
    assert sim.get("/_sim/stats")["overlaps"] == 0
    assert sim.members(cohort_id) == {"ann-1"}, "the effect lands after the client left"


def test_r23_the_credentials_are_judged_before_the_cohort_is_taken(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    sim.post("/_sim/latency", {"membership": 0.3})
    body = {"cohort_id": cohort_id, "memberships": []}

    answers = together(
        add(sim, cohort_id, "ann-1"),
        lambda: sim.api.post("/api/3/cohorts/membership", json=body, auth=("x", "y")),
    )

    assert [one.status_code for one in answers] == [200, 403]


def test_service_time_is_200_ms_for_writes_unless_told_otherwise():
    times = Simulator().service_times

    slow = {name for name, seconds in times.items() if seconds == 0.2}
    assert slow >= {"upload", "membership", "segment_batch", "partner_add"}
    assert (times["list"], times["usage"], times["segment_settings"]) == (0, 0, 0)


def test_service_time_counts_from_the_arrival_of_a_request_not_from_its_end(sim):
    first, other = sim.cohort("first"), sim.cohort("other")
    sim.users("ann-1")
    sim.post("/_sim/latency", {"membership": 1.0})
    change = {"ids": ["ann-1"], "id_type": "BY_NAME", "operation": "ADD"}
    body = orjson.dumps({"cohort_id": first, "memberships": [change]})
    rest_left = []

    def in_two_parts() -> Iterator[bytes]:
        yield body[:10]
        sim.change(other, "ADD", ["ann-1"])  # takes as long as the service time
        rest_left.append(time.monotonic())
        yield body[10:]

    answer = sim.api.post("/api/3/cohorts/membership", content=in_two_parts())

    assert answer.status_code == 200
    assert time.monotonic() - rest_left[0] < 1.0
