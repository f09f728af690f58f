"""`syncd resync` as people type it: after a restored store, beside a daemon, killed."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from tests.knocking import ago, identify, knocking

REASON = ("--reason", "the store was restored", "--yes")


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def vip(installation, simulator):
    """300 people in a cohort that syncd wrote; 600 are known to Amplitude."""
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation.config["defaults"]["delivery"]["batch_size"] = 50
    installation.sync()
    origin = simulator.origins["storage"]
    installation.config["connections"]["amplitude"]["storage_origin"] = origin
    simulator.users(people(600))
    installation.audience(people(300))
    assert installation.run().run["outcome"] == "success"
    return installation


def downloads(simulator) -> int:
    return int(simulator.downloads()["counted"])


def acknowledged(installation) -> set[str]:
    uri = f"file:{installation.database}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return {row[0] for row in connection.execute("SELECT member_id FROM member")}


# ---- adopt --------------------------------------------------------------------------


def test_nothing_is_spent_or_changed_before_somebody_agrees(vip, simulator):
    ended = vip.syncd("resync", "vip", "--adopt", "--reason", "x", "--no-input")

    assert ended.code == 75
    assert "vip: 300 acknowledged in Cohort vip" in ended.err
    assert "error[resync.unconfirmed]" in ended.err
    assert "cost up to 1 download (500 are left this month)" in ended.err
    assert "syncd resync vip --adopt" in ended.err
    assert downloads(simulator) == 0


def test_a_store_from_an_old_backup_knows_whom_it_forgot_once_it_adopted(
    vip, simulator
):
    """20 people entered after the backup, and left while nobody knew of them."""
    backup = vip.folder / "old.db"
    vip.syncd("db", "backup", str(backup))
    vip.audience(people(320))
    vip.run()
    shutil.copy(backup, vip.database)
    for ending in ("-wal", "-shm"):
        vip.database.with_name(vip.database.name + ending).unlink(missing_ok=True)
    vip.audience(people(300))
    assert vip.run().run["outcome"] == "no_change"
    assert simulator.members() == set(people(320)), "20 ghosts nobody knows of"

    adopted = vip.syncd("resync", "vip", "--adopt", *REASON, "--json")
    after = vip.run()

    assert adopted.code == 0, adopted.err
    found = adopted.document["run"]
    assert adopted.document["schema"] == "syncd.resync/1"
    assert (found["outcome"], found["reason"]) == ("skipped", "resync.adopted")
    assert found["adopted"] == {
        "from": "destination",
        "members": 320,
        "before": 300,
        "new": 20,
        "gone": 0,
    }
    assert downloads(simulator) == 1
    assert after.run["exited"] == 20
    assert simulator.members() == set(people(300)) == acknowledged(vip)


def test_a_store_that_was_lost_adopts_a_cohort_and_sends_nothing(vip, simulator):
    for ending in ("", "-wal", "-shm"):
        vip.database.with_name(vip.database.name + ending).unlink(missing_ok=True)
    since = simulator.last()

    ended = vip.syncd("resync", "vip", "--adopt", *REASON)
    after = vip.run()

    assert ended.code == 0, ended.err
    assert (
        "vip: 300 people count as acknowledged, as they are in the cohort" in ended.out
    )
    assert "nothing was sent.  Next: syncd plan vip" in ended.out
    assert "person-" not in ended.out + ended.err
    assert after.run["outcome"] == "no_change"
    assert simulator.sent("ADD", since) == []
    assert len(simulator.cohorts()) == 1


def test_a_trait_is_believed_to_hold_what_its_cohort_lists(vip, simulator):
    simulator.cohort("churn", members=people(40))
    vip.cohort_sync("churn-risk", "churn")
    vip.run("churn-risk")

    ended = vip.syncd("resync", "churn-risk", "--adopt", *REASON)

    assert ended.code == 0, ended.err
    assert "Segment has no call that lists who has a trait" in ended.err
    assert "40 people count as acknowledged, as its source lists them" in ended.out
    assert "what the destination holds was not seen" in ended.out


def test_an_adoption_leaves_the_reserve_of_downloads_alone(vip, simulator):
    project = "/_sim/projects/187520"
    simulator.control.patch(project, json={"downloads_used": 460}).raise_for_status()

    ended = vip.syncd("resync", "vip", "--adopt", *REASON)

    assert ended.code == 1
    assert "resync.no_list" in vip.syncd("runs", "vip").out
    assert downloads(simulator) == 0
    assert acknowledged(vip) == set(people(300))


# ---- push ---------------------------------------------------------------------------


def test_a_daemon_carries_a_push_out_and_says_who_wanted_it(vip, simulator):
    simulator.change(simulator.cohort_id(), remove=people(30))
    daemon = vip.start("serve")
    assert daemon.reached("daemon.started")

    ended = vip.syncd("resync", "vip", "--push", *REASON, "--json")

    assert ended.code == 0, ended.err
    assert (ended.document["how"], ended.document["run"]["entered"]) == ("push", 300)
    assert simulator.members() == set(people(300))
    (told,) = daemon.events("operator.resynced")
    assert (told["how"], told["reason"]) == ("resync push", "the store was restored")
    (begun,) = daemon.events("run.started")
    assert begun["trigger"] == "resync"
    assert daemon.stop() == 0


def test_a_push_that_a_guard_holds_ends_with_3(vip, simulator):
    vip.audience(people(100))

    ended = vip.syncd("resync", "vip", "--push", *REASON)
    again = vip.syncd("resync", "vip", "--push", *REASON)

    assert ended.code == 3
    assert "200 of 300 people would leave" in ended.err
    assert again.code == 3
    assert "error[sync.held]" in again.err
    assert "next: syncd show" in again.err
    assert simulator.members() == set(people(300))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "Give one of --adopt, --push and --heard"),
        (("--adopt", "--replace"), "--replace is for --push"),
        (("--push", "--read-back"), "--read-back is for --replace"),
    ],
)
def test_a_command_that_means_nothing_is_refused(installation, flags, words):
    installation.sync()

    ended = installation.syncd("resync", "vip", *flags, *REASON)

    assert ended.code == 2
    assert words in ended.err


# ---- push --replace -----------------------------------------------------------------


def test_a_replacement_says_how_many_others_would_go_and_puts_them_out(vip, simulator):
    simulator.change(simulator.cohort_id(), add=people(25, start=500))

    asked = vip.syncd("resync", "vip", "--push", "--replace", "--reason", "x")
    ended = vip.syncd("resync", "vip", "--push", "--replace", *REASON, "--json")

    assert asked.code == 75
    assert "up to 25 people whom others put there would leave" in asked.err
    assert ended.code == 0, ended.err
    assert simulator.members() == set(people(300)) == acknowledged(vip)
    uploads = [each["status"] for each in simulator.log("upload")]
    assert uploads == [200, 200], "the creation, and one replacement"


def test_who_would_go_may_be_counted_by_a_download(vip, simulator):
    cohort = simulator.cohort_id()
    simulator.change(cohort, add=people(25, start=500), remove=people(25))

    by_list = vip.syncd("resync", "vip", "--push", "--replace", "--reason", "x")
    counted = vip.syncd(
        "resync", "vip", "--push", "--replace", "--read-back", "--reason", "x"
    )

    assert "up to 0 people whom others put there" in by_list.err
    assert "up to 25 people whom others put there" in counted.err
    assert downloads(simulator) == 1


@pytest.mark.parametrize(
    "after", ["changes.committed", "target.replaced", "batch.sent"]
)
def test_a_replacement_killed_in_the_middle_is_gone_on_with(vip, simulator, after):
    simulator.change(simulator.cohort_id(), add=people(25, start=500))
    vip.audience(people(300, start=10))
    simulator.post("/_sim/latency", {"upload": 0.2, "membership": 0.05})
    flags = ("vip", "--push", "--replace", "-vv", *REASON)
    killed = vip.start("resync", *flags)
    assert killed.reached(after)
    assert killed.kill()
    simulator.post("/_sim/latency", {"all": 0.0})

    daemon = vip.start("serve")
    assert daemon.reached("run.finished", outcome="success")

    assert simulator.members() == set(people(300, start=10)) == acknowledged(vip)
    assert daemon.reached("run.abandoned", trigger="resync")
    assert daemon.stop() == 0


# ---- a sync that lives by events ----------------------------------------------------


def test_what_was_pushed_stands_above_a_cohort_that_was_adopted(
    installation, simulator
):
    """Others took 5 people out and put 5 in; 100 had entered by events."""
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    origin = simulator.origins["storage"]
    installation.config["connections"]["amplitude"]["storage_origin"] = origin
    installation.sync()
    simulator.users(people(200))
    daemon = installation.start("serve")
    with knocking(daemon) as at:
        at.engage([identify(each) for each in people(100)])
        assert installation.run().run["entered"] == 100
        simulator.change(
            simulator.cohort_id(), add=people(5, start=150), remove=people(5)
        )

        adopted = installation.syncd("resync", "vip", "--adopt", *REASON)
        at.engage([identify("person-000050", False, timestamp=ago(0))])
        after = installation.run()

    assert adopted.code == 0, adopted.err
    assert (after.run["entered"], after.run["exited"]) == (5, 1)
    wanted = {*people(100), *people(5, start=150)} - {"person-000050"}
    assert simulator.members() == wanted == acknowledged(installation)
    assert daemon.stop() == 0
