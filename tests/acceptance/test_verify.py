"""`verify`: what the cohort really holds against what it acknowledged, by cause."""

import json

import pytest


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def vip(installation, simulator):
    """300 people in a cohort that syncd wrote; 400 are known to Amplitude."""
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation.sync()
    origin = simulator.origins["storage"]
    installation.config["connections"]["amplitude"]["storage_origin"] = origin
    simulator.users(people(400))
    installation.audience(people(300))
    assert installation.run().run["outcome"] == "success"
    return installation


def downloads(simulator) -> int:
    return int(simulator.downloads()["counted"])


def test_verify_says_what_it_costs_and_spends_nothing_without_a_yes(vip, simulator):
    ended = vip.syncd("verify")

    assert ended.code == 75
    assert "vip: 300 acknowledged, the free list says 300" in ended.err
    assert "would download 1 Amplitude cohort (500 are left this month)" in ended.err
    assert "syncd verify --max-downloads 1" in ended.err
    assert downloads(simulator) == 0


def test_a_cohort_that_is_as_acknowledged_has_no_drift(vip, simulator):
    ended = vip.syncd("verify", "--max-downloads", "1", "--json")

    assert ended.code == 0, ended.err
    (found,) = ended.document["syncs"]
    assert (found["acknowledged"], found["there"]) == (300, 300)
    assert (found["missing"], found["ghosts"], found["drift_ratio"]) == (0, 0, 0)
    assert downloads(simulator) == 1


def test_verify_finds_exactly_the_injected_differences_and_names_each_by_cause(
    vip, simulator
):
    gone, strangers = people(7), people(5, start=320)
    simulator.change(simulator.cohort_id(), remove=gone, add=strangers)

    ended = vip.syncd("verify", "--yes", "--output", str(vip.folder / "ids.jsonl"))

    assert ended.code == 6, ended.err
    lines = (vip.folder / "ids.jsonl").read_text().splitlines()
    named = [json.loads(line) for line in lines]
    assert named == [
        *({"sync": "vip", "cause": "missing", "id": one} for one in gone),
        *({"sync": "vip", "cause": "ghost_others", "id": one} for one in strangers),
    ]
    assert (vip.folder / "ids.jsonl").stat().st_mode & 0o777 == 0o600
    assert "7 ids acknowledged and not there" in ended.out
    assert "5 ids there and not acknowledged" in ended.out
    assert "person-" not in ended.out + ended.err
    assert simulator.members() == {*people(300), *strangers} - set(gone)


def test_a_small_drift_is_told_and_is_no_failure(vip, simulator):
    simulator.change(simulator.cohort_id(), remove=people(2))

    ended = vip.syncd("verify", "--yes", "--json")

    assert ended.code == 0
    (found,) = ended.document["syncs"]
    assert found["missing"] == 2
    assert found["drift_ratio"] == pytest.approx(2 / 300)


def test_people_unknown_to_amplitude_are_unmatched_and_no_drift(vip, simulator):
    vip.audience([*people(300), *people(9, start=900)])
    vip.run()

    ended = vip.syncd("verify", "--yes", "--json")

    (found,) = ended.document["syncs"]
    assert (found["unmatched"], found["missing"], found["ghosts"]) == (9, 0, 0)


def test_people_without_a_proven_answer_are_in_flight_and_not_judged(vip, simulator):
    vip.config["defaults"]["delivery"]["retries"] = 0
    vip.audience([*people(300), *people(30, start=300)])
    simulator.fault("membership", "status", status=503, calls=[1, 2])
    assert vip.run().run["outcome"] == "partial"

    ended = vip.syncd("verify", "--yes", "--json")

    (found,) = ended.document["syncs"]
    assert (found["in_flight"], found["missing"], found["ghosts"]) == (30, 0, 0)


def test_verify_leaves_the_reserve_alone(vip, simulator):
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": 460}).raise_for_status()

    ended = vip.syncd("verify", "--max-downloads", "1")

    assert ended.code == 75
    assert "not verified" in ended.out
    assert downloads(simulator) == 0


def test_a_file_from_before_the_last_run_is_not_compared_with_what_came_after(
    vip, simulator
):
    vip.syncd("verify", "--yes")
    vip.audience(people(280))
    vip.run()

    ended = vip.syncd("verify", "--yes", "--json")

    (found,) = ended.document["syncs"]
    assert (found["acknowledged"], found["there"], found["ghosts"]) == (280, 280, 0)
    assert downloads(simulator) == 2


def test_a_destination_that_cannot_be_read_back_is_named_with_the_reason(
    vip, simulator
):
    simulator.cohort("churn", members=people(10))
    vip.cohort_sync("churn-risk", "churn")
    vip.run("churn-risk")

    named = vip.syncd("verify", "churn-risk")
    everything = vip.syncd("verify", "--max-downloads", "1")

    assert named.code == 1
    assert "Segment has no call that lists who has a trait" in named.out
    assert everything.code == 0
    assert "churn-risk: not verified" in everything.out


def test_a_daemon_verifies_and_its_metrics_say_how_far_off_it_was(vip, simulator):
    simulator.change(simulator.cohort_id(), remove=people(30))
    daemon = vip.start("serve")
    assert daemon.reached("daemon.started")

    ended = vip.syncd("verify", "--yes")

    assert ended.code == 6, ended.err
    assert daemon.reached("verify.finished", level="warning", missing=30)
    assert daemon.reached("operator.verified")
    scrape = simulator.control.get(f"{daemon.url('admin')}/metrics").text
    assert 'syncd_verify_drift_ratio{sync="vip"} 0.1' in scrape
    assert 'syncd_verify_last_timestamp_seconds{sync="vip"} 1.' in scrape
    assert daemon.stop() == 0


def test_a_file_that_is_there_is_not_written_over_and_nothing_is_spent(vip, simulator):
    (vip.folder / "ids.jsonl").write_text("mine")

    ended = vip.syncd("verify", "--yes", "--output", str(vip.folder / "ids.jsonl"))

    assert ended.code == 1
    assert (vip.folder / "ids.jsonl").read_text() == "mine"
    assert downloads(simulator) == 0
