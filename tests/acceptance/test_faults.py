"""Whatever Amplitude does, the cohort is right at the end and the log says why.

Each line of trouble must name the sync or the connection, the cause in the vendor's
words and the next command to type; no output may hold a member id.
"""

from datetime import UTC, datetime

import pytest

SPEED = 3600


def people(count: int, start: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def vip(installation, simulator):
    """100 people in an audience whom Amplitude knows, in two batches; nothing ran."""
    installation.config["defaults"]["delivery"]["batch_size"] = 50
    installation.sync()
    simulator.users(people(200))
    installation.audience(people(100))
    return installation


def ran(installation):
    """A run, none of whose output names a member."""
    ended = installation.run()
    assert "person-" not in ended.out + ended.err
    return ended


def require_explained(line, *words: str) -> None:
    """It says about which sync, why in the vendor's words, and what to type next."""
    assert line["sync"] == "vip"
    assert line["next"].startswith("syncd ")
    for word in words:
        assert word in line["msg"] + line.get("error", "") + line["vendor_message"]


# ---- passing faults ------------------------------------------------------------------


def test_two_429_and_then_200_is_a_success(vip, simulator):
    simulator.fault("membership", "status", status=429, calls=[1, 2])

    ended = ran(vip)

    assert ended.code == 0
    assert ended.run["retries"] == 2
    retried = ended.events("batch.retried")
    assert [line["http.response.status_code"] for line in retried] == [429, 429]
    assert all(line["vendor_message"] and line["reason"] for line in retried)
    assert simulator.members() == set(people(100))


def test_a_retry_after_is_waited_for(vip, simulator):
    simulator.fault("membership", "status", status=429, retry_after=1, calls=[1])

    ended = ran(vip)

    assert ended.code == 0
    (throttled,) = ended.events("api.throttled")
    require_explained(throttled, "amplitude")
    assert throttled["wait_ms"] >= 1000
    refused, again, *_ = simulator.log("membership")
    assert again["started"] - refused["ended"] >= 0.99
    assert again["sent"] == refused["sent"]
    assert simulator.members() == set(people(100))


def test_after_eight_retries_the_next_run_takes_over(vip, simulator):
    simulator.fault("membership", "status", status=500, calls=list(range(1, 10)))
    ended = ran(vip)

    assert ended.code == 4
    assert ended.run["outcome"] == "partial"
    assert ended.run["waiting"] == 2
    assert len(simulator.log("membership")) == 9
    (given_up,) = ended.events("batch.gave_up")
    assert given_up["attempts"] == 9
    require_explained(given_up, "Internal Server Error")
    (finished,) = ended.events("run.finished")
    assert finished["outcome"] == "partial"
    assert finished["next"] == f"syncd show {ended.run['id']}"
    # Somebody of the batch left meanwhile: the new plan replaces it.
    vip.audience(people(100, start=1))
    again = ran(vip)
    assert again.code == 0
    assert simulator.sent("REMOVE") == people(1)
    assert simulator.members() == set(people(100, start=1))


@pytest.mark.parametrize("endpoint", ["upload", "membership"])
def test_a_commit_whose_answer_is_lost_is_asserted_again(vip, simulator, endpoint):
    simulator.fault(endpoint, "hang_after", seconds=3, calls=[1])

    ended = ran(vip)

    assert ended.code == 0
    (retried,) = ended.events("batch.retried")
    assert retried["sync"] == "vip"
    assert retried["error.type"] == "timeout"
    assert len(simulator.cohorts()) == 1
    assert len(simulator.log("upload")) == 1
    assert simulator.members() == set(people(100))


def test_only_a_proper_answer_for_this_cohort_is_an_acknowledgement(vip, simulator):
    kinds = {
        "html_200": {},
        "zero_byte": {},
        "wrong_cohort": {},
        "missing_result": {},
        "truncated": {"length": "sent"},
        "reset": {"when": "mid"},
    }
    for call, (kind, options) in enumerate(kinds.items(), start=1):
        simulator.fault("membership", kind, calls=[call], **options)

    ended = ran(vip)

    assert ended.code == 0
    first, *more = simulator.log("membership")
    assert [each["fault"] for each in (first, *more)] == [*kinds, None, None]
    assert all(each["sent"] == first["sent"] for each in more[: len(kinds)])
    assert len(ended.events("batch.sent")) == 2
    assert ended.run["retries"] == len(kinds)
    changed = ended.events("api.contract_changed")
    assert len(changed) == 5
    assert all(line["next"].startswith("syncd show") for line in changed)
    assert simulator.members() == set(people(100))


def test_a_batch_that_is_too_large_is_halved(vip, simulator):
    simulator.fault("membership", "status", status=413, calls=[1])

    ended = ran(vip)

    assert ended.code == 0
    assert [each["id_count"] for each in simulator.log("membership")] == [
        50,
        25,
        25,
        50,
    ]
    (split,) = ended.events("batch.split")
    assert split["sync"] == "vip"
    assert split["size"] == 50
    assert simulator.members() == set(people(100))


def test_people_amplitude_does_not_know_are_unmatched_and_no_error(vip, simulator):
    strangers = [f"person-stranger-{number}" for number in range(37)]
    vip.audience(people(100) + strangers)

    ended = ran(vip)
    again = ran(vip)

    assert ended.code == 0
    assert ended.run["outcome"] == "success"
    assert ended.run["unmatched"] == 37
    assert ended.run["members_after"] == 100
    assert simulator.members() == set(people(100))
    assert again.run["outcome"] == "no_change"
    shown = vip.syncd("show", "vip")
    assert "37" in shown.out
    assert "person-" not in shown.out


# ---- what waits for a person ---------------------------------------------------------


def test_a_deleted_cohort_is_held_and_not_made_anew(vip, simulator):
    assert ran(vip).code == 0
    gone = simulator.cohort_id()
    simulator.control.delete(f"/_sim/cohorts/{gone}").raise_for_status()
    vip.audience(people(105))

    ended = ran(vip)
    again = ran(vip)

    for each in (ended, again):
        assert each.code == 3
        assert each.run["outcome"] == "held"
        (line,) = each.events("target.held")
        assert line["sync"] == "vip"
        assert "no longer exists" in line["msg"]
        assert line["next"] == f"syncd show {each.run['id']}"
    assert simulator.cohorts() == []
    assert len(simulator.log("upload")) == 1


def test_an_archived_cohort_is_held_until_it_is_restored(vip, simulator):
    assert ran(vip).code == 0
    place = f"/_sim/cohorts/{simulator.cohort_id()}"
    simulator.control.patch(place, json={"archived": True}).raise_for_status()
    vip.audience(people(105))
    since = simulator.last()

    ended = ran(vip)

    assert ended.code == 3
    assert ended.run["reason"] == "target.archived"
    (line,) = ended.events("target.held")
    assert "archived" in line["msg"]
    assert simulator.log("membership", since) == []
    simulator.control.patch(place, json={"archived": False}).raise_for_status()
    assert ran(vip).code == 0
    assert simulator.members() == set(people(105))


def test_a_wrong_key_stops_the_connection_and_nothing_more_is_sent(vip, simulator):
    assert ran(vip).code == 0
    vip.secret("api_key", "wrong-key-0815")
    vip.audience(people(105))
    since = simulator.last()

    ended = ran(vip)

    assert ended.code == 1
    assert ended.run["outcome"] == "failed"
    (stopped,) = ended.events("connection.stopped")
    assert stopped["connection"] == "amplitude"
    assert stopped["http.response.status_code"] == 403
    assert "Invalid API" in stopped["vendor_message"]
    assert stopped["next"].startswith("syncd ")
    (finished,) = ended.events("run.finished")
    assert finished["error.type"] == "auth"
    assert "Invalid API" in finished["error"]
    assert "wrong-key-0815" not in ended.out + ended.err
    assert len(simulator.log("list", since)) == 1
    quiet = simulator.last()
    assert ran(vip).code == 1
    assert len(simulator.log("list", quiet)) == 1, "a person's try is a free call"
    assert simulator.last() == quiet + 1


def test_a_daemon_recovers_when_the_secret_is_corrected(
    new_installation, new_simulator
):
    origin = datetime.now(UTC).isoformat()
    fast = ("--speed", str(SPEED), "--origin", origin)
    simulator = new_simulator(*fast, "--latency", "0")
    simulator.users(people(100))
    vip = new_installation(simulator)
    vip.sync(schedule="every 1h", max_runtime="1d")
    vip.audience(people(100))
    vip.secret("api_key", "wrong-key-0815")

    daemon = vip.start("serve", *fast)
    assert daemon.reached("run.finished", 3, outcome="failed")
    failed = len(daemon.events("run.finished", outcome="failed"))
    asked = len(simulator.log("list"))
    vip.secret("api_key", "demo-api-key")
    assert daemon.reached("run.finished", outcome="success")

    assert daemon.stop() == 0
    assert asked <= failed + 1
    assert len(daemon.events("connection.resumed")) == 1
    assert simulator.members() == set(people(100))
    assert "person-" not in daemon.text
    assert "wrong-key-0815" not in daemon.text
