"""R25: the ordered request log, and the counters beside it."""

import hashlib
import time

import orjson


def test_r25_each_request_is_logged_in_order_with_what_it_asked(sim):
    cohort_id = sim.cohort(members=["ann-1"])
    sim.users("bob-1")
    begun = time.monotonic()

    sim.api.get("/api/3/cohorts?includeSyncInfo=true")
    response = sim.change(cohort_id, "ADD", ["bob-1", "zoe-9"])
    created = sim.upload(["ann-1"]).json()["cohortId"]

    first, second, third = sim.log()
    assert [one["seq"] for one in (first, second, third)] == [1, 2, 3]
    assert (first["method"], first["path"]) == ("GET", "/api/3/cohorts")
    assert (first["endpoint"], first["status"]) == ("list", 200)
    assert (second["cohort_id"], second["operation"]) == (cohort_id, "ADD")
    assert (second["id_count"], second["added"], second["skipped"]) == (2, 1, 1)
    sent = response.request.content
    assert second["body_sha256"] == hashlib.sha256(sent).hexdigest()
    assert second["sent"] == [
        {"operation": "ADD", "id_type": "BY_NAME", "ids": ["bob-1", "zoe-9"]}
    ]
    assert (third["operation"], third["cohort_id"]) == ("CREATE", created)
    assert begun <= first["started"] <= first["ended"] <= second["started"]
    assert third["ended"] <= time.monotonic()


def test_r25_the_virtual_time_is_the_clock_s(sim):
    sim.post("/_sim/clock", {"set": "2033-03-03T03:03:03+00:00", "freeze": True})

    sim.api.get("/api/3/cohorts")

    assert sim.log()[0]["at"] == "2033-03-03T03:03:03+00:00"


def test_r25_key_ids_are_logged_and_secrets_never(sim):
    sim.api.get("/api/3/cohorts")
    sim.api.get("/api/3/cohorts", auth=("demo-api-key", "another-secret"))
    sim.api.get("/api/3/cohorts", auth=("swapped-secret", "demo-api-key"))

    text = sim.control.get("/_sim/log?ids=1").text
    projects = sim.control.get("/_sim/projects").text

    assert [one["key"] for one in sim.log()] == ["demo-api-key", "demo-api-key", None]
    for secret in ("demo-secret-key", "another-secret", "swapped-secret"):
        assert secret not in text + projects


def test_r25_ids_are_shown_when_asked_and_kept_by_switch(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    sim.change(cohort_id, "ADD", ["ann-1"])
    sim.post("/_sim/config", {"record_ids": False})
    sim.change(cohort_id, "REMOVE", ["ann-1"])

    kept, not_kept = sim.log()
    plain = sim.get("/_sim/log")["entries"][0]

    assert kept["sent"][0]["ids"] == ["ann-1"]
    assert not_kept["sent"] == []
    assert not_kept["id_count"] == 1
    assert "sent" not in plain


def test_r25_the_log_can_be_read_on_from_a_number_and_filtered(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    for _ in range(2):
        sim.api.get("/api/3/cohorts")
        sim.change(cohort_id, "ADD", ["ann-1"])

    since = sim.get("/_sim/log?since=3")
    lists = sim.get("/_sim/log?endpoint=list")["entries"]
    of_cohort = sim.get(f"/_sim/log?cohort_id={cohort_id}")["entries"]

    assert [one["seq"] for one in since["entries"]] == [4]
    assert since["last"] == 4
    assert [one["seq"] for one in lists] == [1, 3]
    assert [one["seq"] for one in of_cohort] == [2, 4]


def test_r25_forgetting_the_log_keeps_the_numbers_going(sim):
    sim.api.get("/api/3/cohorts")
    sim.api.get("/api/3/cohorts")

    forgotten = sim.control.delete("/_sim/log").json()
    sim.api.get("/api/3/cohorts")

    assert forgotten == {"forgotten": 2}
    assert [one["seq"] for one in sim.log()] == [3]
    assert [one["seq"] for one in sim.get("/_sim/log?since=2")["entries"]] == [3]


def test_r25_several_operations_in_one_request_are_called_mixed(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    entries = [
        {"ids": ["ann-1"], "id_type": "BY_NAME", "operation": operation}
        for operation in ("ADD", "REMOVE")
    ]

    sim.api.post(
        "/api/3/cohorts/membership",
        content=orjson.dumps({"cohort_id": cohort_id, "memberships": entries}),
    )

    assert sim.log()[0]["operation"] == "MIXED"


def test_stats_count_requests_statuses_and_ids(sim):
    cohort_id = sim.cohort()
    sim.users("ann-1")
    sim.post("/_sim/faults", {"kind": "status", "status": 429, "calls": [1]})
    sim.change(cohort_id, "ADD", ["ann-1", "zoe-9"])
    sim.change(cohort_id, "ADD", ["ann-1", "zoe-9"])
    sim.api.get("/api/3/cohorts")
    sim.api.get("/nowhere")

    stats = sim.get("/_sim/stats")

    assert stats["requests"] == 4
    assert stats["by_endpoint"] == {"membership": 2, "list": 1, "unknown": 1}
    assert stats["by_status"] == {"429": 1, "200": 2, "404": 1}
    assert (stats["status_429"], stats["ids_sent"], stats["in_flight"]) == (1, 4, 0)
