"""A plan that looks wrong is held: nothing is sent until a person decides on it."""

import sqlite3
from contextlib import closing

import pytest


def people(count: int, start: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def filled(installation, simulator):
    """A sync whose cohort holds 200 people, as its source says."""
    installation.config["defaults"]["delivery"]["batch_size"] = 50
    installation.sync()
    simulator.users(people(400))
    installation.audience(people(200))
    assert installation.run().code == 0
    return installation


@pytest.fixture
def held(filled):
    """The same after the source shrank by 60 %; the run that is held."""
    filled.audience(people(80))
    ended = filled.run()
    assert ended.code == 3
    return ended.run


def decide(installation, verb: str, run: str):
    more = ["--json"] if verb == "approve" else []
    return installation.syncd(verb, *more, run, "--reason", "a test")


def writes(simulator, since: int):
    return simulator.log("membership", since) + simulator.log("upload", since)


# ---- the source is empty, or shrank --------------------------------------------------


@pytest.mark.parametrize(
    ("left", "guard"), [(0, "guard.empty_source"), (80, "guard.max_exit")]
)
def test_a_source_that_shrank_is_held_and_approved_as_it_was_shown(
    filled, simulator, left, guard
):
    since = simulator.last()
    filled.audience(people(left))
    ended = filled.run()

    assert ended.code == 3
    assert ended.run["outcome"] == "held"
    assert ended.run["reason"] == guard
    assert writes(simulator, since) == []
    (tripped,) = ended.events("guard.tripped")
    assert tripped["guard"] == guard
    assert tripped["next"] == f"syncd show {ended.run['id']}"
    approved = decide(filled, "approve", ended.run["id"])
    assert approved.code == 0
    assert simulator.sent("ADD", since) == []
    assert sorted(simulator.sent("REMOVE", since)) == people(200 - left, start=left)
    assert simulator.members() == set(people(left))


def test_what_changed_meanwhile_follows_the_approved_plan(filled, held, simulator):
    since = simulator.last()
    filled.audience(people(200))  # the source is whole again

    approved = decide(filled, "approve", held["id"])

    assert approved.code == 0
    assert approved.run["exited"] == 120
    operations = [each["operation"] for each in simulator.log("membership", since)]
    assert operations == ["REMOVE"] * 3 + ["ADD"] * 3
    gone = people(120, start=80)
    assert sorted(simulator.sent("REMOVE", since)) == gone
    assert sorted(simulator.sent("ADD", since)) == gone
    assert simulator.members() == set(people(200))


def test_a_rejected_plan_keeps_the_baseline_and_is_held_again(filled, held, simulator):
    since = simulator.last()

    rejected = decide(filled, "reject", held["id"])
    again = filled.run()

    assert rejected.code == 0
    assert again.code == 3
    assert again.run["reason"] == "guard.max_exit"
    assert again.run["members_before"] == 200
    assert again.run["to_exit"] == held["to_exit"] == 120
    assert writes(simulator, since) == []


def test_a_held_sync_sends_nothing_until_somebody_decided(filled, held, simulator):
    since = simulator.last()
    filled.audience(people(200))

    ended = filled.run()

    assert ended.code == 3
    assert ended.run["reason"] == "sync.held"
    assert ended.run["hint"] == f"syncd show {held['id'][-8:]}"
    assert writes(simulator, since) == []


def test_on_trip_fail_ends_the_run_and_keeps_no_plan(filled, simulator):
    filled.config["defaults"]["guard"] = {"on_trip": "fail"}
    since = simulator.last()
    filled.audience([])
    failed = filled.run()

    assert failed.code == 1
    assert failed.run["outcome"] == "failed"
    assert failed.run["reason"] == "guard.empty_source"
    assert writes(simulator, since) == []
    assert decide(filled, "approve", failed.run["id"]).code == 3
    filled.audience(people(200))
    assert filled.run().run["outcome"] == "no_change"


# ---- approvals that must be refused --------------------------------------------------


def test_a_plan_is_approved_once(filled, held, simulator):
    assert decide(filled, "approve", held["id"]).code == 0
    since = simulator.last()

    again = decide(filled, "approve", held["id"])

    assert again.code == 3
    assert '"hold.none"' in again.err
    assert writes(simulator, since) == []


def test_a_plan_is_not_approved_after_it_expired(filled, held, simulator):
    with closing(sqlite3.connect(filled.database)) as store, store:
        store.execute(
            "UPDATE run SET hold_expires_at = '2026-01-01 00:00:00.000000' "
            "WHERE hold_expires_at IS NOT NULL"
        )
    since = simulator.last()

    refused = decide(filled, "approve", held["id"])
    again = filled.run()

    assert refused.code == 3
    assert '"hold.expired"' in refused.err
    assert again.run["reason"] == "guard.max_exit"
    assert again.run["id"] != held["id"]
    assert writes(simulator, since) == []


def test_a_plan_is_not_approved_after_the_configuration_changed(
    filled, held, simulator
):
    filled.config["syncs"][0]["to"]["cohort"] = "Another cohort"
    since = simulator.last()

    refused = decide(filled, "approve", held["id"])

    assert refused.code == 3
    assert '"hold.changed"' in refused.err
    assert writes(simulator, since) == []


# ---- a changed identity --------------------------------------------------------------


def test_another_cohort_gets_a_first_sync_and_the_old_one_is_left(filled, simulator):
    old = simulator.cohort_id()
    filled.config["syncs"][0]["to"]["cohort"] = "Another cohort"
    since = simulator.last()
    ended = filled.run()

    assert ended.code == 3
    assert ended.run["reason"] == "guard.identity"
    assert "Cohort vip" in ended.run["message"]
    assert writes(simulator, since) == []
    approved = decide(filled, "approve", ended.run["id"])
    assert approved.code == 0
    assert {each["name"] for each in simulator.cohorts()} == {
        "Cohort vip",
        "Another cohort",
    }
    new = approved.run["cohort_id"]
    assert simulator.members(new) == simulator.members(old) == set(people(200))
    assert {each["cohort_id"] for each in simulator.log("membership", since)} == {new}
    assert filled.run().run["outcome"] == "no_change"


def test_another_id_type_empties_the_cohort_of_the_old_ids_first(filled, simulator):
    users = simulator.post("/_sim/users/lookup", {"user_ids": people(200)})
    numbers = sorted(users["amplitude_ids"].values())
    source = filled.folder / "audiences" / "vip.csv"
    source.write_text("\n".join(["amplitude_id", *numbers, ""]), encoding="utf-8")
    filled.config["syncs"][0]["match"] = "amplitude_id"
    since = simulator.last()
    ended = filled.run()

    assert ended.code == 3
    assert ended.run["reason"] == "guard.identity"
    assert writes(simulator, since) == []
    assert decide(filled, "approve", ended.run["id"]).code == 0
    parts = [
        part for each in simulator.log("membership", since) for part in each["sent"]
    ]
    order = [(part["operation"], part["id_type"]) for part in parts]
    assert order == [("REMOVE", "BY_NAME")] * 4 + [("ADD", "BY_ID")] * 4
    assert sorted(simulator.sent("REMOVE", since)) == people(200)
    assert sorted(simulator.sent("ADD", since)) == numbers
    assert simulator.members() == set(people(200))
    assert filled.run().run["outcome"] == "no_change"


def test_another_source_is_held_and_only_the_difference_is_sent(filled, simulator):
    filled.audience([*people(190), *people(15, start=300)], name="other")
    filled.config["syncs"][0]["from"]["audience"] = "other"
    since = simulator.last()
    ended = filled.run()

    assert ended.code == 3
    assert ended.run["reason"] == "guard.identity"
    assert writes(simulator, since) == []
    assert decide(filled, "approve", ended.run["id"]).code == 0
    assert sorted(simulator.sent("ADD", since)) == people(15, start=300)
    assert sorted(simulator.sent("REMOVE", since)) == people(10, start=190)
    assert simulator.members() == {*people(190), *people(15, start=300)}


# ---- a lost baseline -----------------------------------------------------------------


@pytest.mark.parametrize("count", [200, 201], ids=["unchanged", "changed"])
def test_a_baseline_that_lost_a_chunk_is_held(filled, simulator, count):
    with closing(sqlite3.connect(filled.database)) as store, store:
        store.execute("UPDATE batch SET acknowledged_at = '2026-01-01 00:00:00.000000'")
    filled.audience(people(200, start=1))
    assert filled.run().code == 0  # compacts, since the log is older than a day
    with closing(sqlite3.connect(filled.database)) as store, store:
        assert store.execute("DELETE FROM chunk WHERE n > 0").rowcount > 0
    since = simulator.last()
    filled.audience(people(count, start=1))
    ended = filled.run()

    assert ended.code == 3
    assert ended.run["reason"] == "guard.baseline"
    assert len(ended.events("baseline.missing")) == 1
    assert writes(simulator, since) == []
    # Approved, the ids that nothing was known of any more are asserted again.
    assert decide(filled, "approve", ended.run["id"]).code == 0
    assert sorted(simulator.sent("ADD", since)) == people(count, start=1)
    assert simulator.members() == set(people(count, start=1))
    assert filled.run().run["outcome"] == "no_change"
