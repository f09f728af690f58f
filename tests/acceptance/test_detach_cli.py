"""`syncd detach` as people type it: as it is, emptied, killed, and left behind."""

import os
import pty
import sqlite3
import subprocess
from contextlib import closing

import pytest

from tests.simulated import PATIENCE, PROJECT

REASON = ("--reason", "the campaign is over", "--yes")


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def vip(installation, simulator):
    """300 people in a cohort that syncd wrote."""
    installation.config["defaults"]["delivery"]["batch_size"] = 50
    installation.sync()
    simulator.users(people(400))
    installation.audience(people(300))
    assert installation.run().run["outcome"] == "success"
    return installation


def rows(installation, table: str) -> int:
    uri = f"file:{installation.database}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_target_is_left_as_it_is_and_named_with_its_size(vip, simulator):
    ended = vip.syncd("detach", "vip", *REASON)

    assert ended.code == 0, ended.err
    assert "let go of amplitude Cohort vip" in ended.out
    assert "300 people stay" in ended.out
    assert "syncd resume vip" in ended.out
    assert simulator.members() == set(people(300))
    assert rows(vip, "binding") == 0
    status = vip.syncd("status")
    assert "paused" in status.out
    assert "detached: the campaign is over" in status.out
    assert vip.syncd("run", "vip").code == 75


def test_nothing_is_dropped_or_removed_before_somebody_agrees(vip, simulator):
    plain = vip.syncd("detach", "vip", "--reason", "x", "--no-input")
    empty = vip.syncd("detach", "vip", "--empty", "--reason", "x", "--no-input")

    assert (plain.code, empty.code) == (75, 75)
    assert "300 people would be removed" in empty.err
    assert "error[detach.unconfirmed]: This would remove 300 people" in empty.err
    assert "syncd detach vip --empty" in empty.err
    assert rows(vip, "binding") == 1
    assert simulator.members() == set(people(300))


def test_a_daemon_empties_the_target_and_never_fills_it_again(vip, simulator):
    vip.config["syncs"][0]["schedule"] = "every 5m"
    daemon = vip.start("serve")
    assert daemon.reached("daemon.started")

    ended = vip.syncd("detach", "vip", "--empty", *REASON, "--json")

    assert ended.code == 0, ended.err
    assert ended.document["schema"] == "syncd.detach/1"
    assert ended.document["run"]["exited"] == 300
    (left,) = ended.document["targets"]
    assert left["name"] == "Cohort vip"
    assert ended.document["paused"]
    assert simulator.members() == set()
    (told,) = daemon.events("operator.detached")
    assert (told["emptied"], told["targets"]) == (
        True,
        ["amplitude Cohort vip"],
    )
    assert daemon.stop() == 0


def test_a_sync_that_left_the_file_is_cleaned_up(vip, simulator):
    vip.config["syncs"].clear()
    vip.sync("other")

    refused = vip.syncd("detach", "vip", "--empty", *REASON)
    ended = vip.syncd("detach", "vip", *REASON)
    unknown = vip.syncd("detach", "vip", *REASON)

    assert refused.code == 1
    assert "error[detach.not_configured]" in refused.err
    assert ended.code == 0, ended.err
    assert "300 people stay" in ended.out
    assert unknown.code == 1
    assert "error[sync.unknown]" in unknown.err
    assert rows(vip, "binding") == 0


def test_a_target_is_kept_while_a_request_may_put_people_back_and_until_when_is_said(
    vip, simulator
):
    simulator.fault("membership", "status", calls=[1], status=503)
    vip.audience(people(301))
    assert vip.run().run["outcome"] == "success"

    ended = vip.syncd("detach", "vip", "--empty", *REASON)

    assert ended.code == 75, "it is to be given again"
    assert "may put people back until" in ended.out.replace("\n", " ")
    assert simulator.members() == set()
    assert rows(vip, "binding") == 1


@pytest.mark.parametrize("after", ["changes.committed", "batch.sent"])
def test_an_emptying_killed_in_the_middle_is_finished_by_the_same_command(
    vip, simulator, after
):
    simulator.post("/_sim/latency", {"membership": 0.1})
    killed = vip.start("detach", "vip", "--empty", "-vv", *REASON)
    assert killed.reached(after)
    assert killed.kill()
    simulator.post("/_sim/latency", {"all": 0.0})
    since = simulator.last()

    daemon = vip.start("serve")
    assert daemon.reached("run.abandoned", trigger="detach")
    ended = vip.syncd("detach", "vip", "--empty", *REASON)

    assert ended.code == 0, ended.err
    assert simulator.sent("ADD", since) == []
    assert simulator.members() == set()
    assert rows(vip, "binding") == rows(vip, "batch") == 0
    assert daemon.stop() == 0


@pytest.mark.parametrize(("typed", "code"), [("vip", 0), ("yes", 75)])
def test_at_a_terminal_the_name_of_the_sync_must_be_typed(vip, simulator, typed, code):
    ours, theirs = pty.openpty()
    try:
        command = vip.command("detach", "vip", "--empty", "--reason", "x")
        running = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=vip.folder,
            env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
        )
        os.write(ours, f"{typed}\n".encode())
        running.communicate(timeout=PATIENCE)
    finally:
        os.close(theirs)
        os.close(ours)

    assert running.returncode == code
    assert simulator.members() == (set() if code == 0 else set(people(300)))


def test_on_postgres_both_are_carried_out_beside_a_daemon_under_the_syncs_lease(
    installation, simulator, postgres_database
):
    installation.config["store"] = {"url": postgres_database}
    installation.sync()
    simulator.users(people(400))
    installation.audience(people(300))
    assert installation.run().run["outcome"] == "success"
    simulator.change(simulator.cohort_id(), add=people(7, start=390))
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")

    replaced = installation.syncd("resync", "vip", "--push", "--replace", *REASON)
    members = simulator.members()
    detached = installation.syncd("detach", "vip", "--empty", *REASON, "--json")

    assert replaced.code == 0, replaced.err
    assert "up to 7 people whom others put there would leave" in replaced.err
    assert members == set(people(300))
    assert detached.code == 0, detached.err
    assert simulator.members() == set()
    assert installation.syncd("run", "vip").code == 75, "it is paused"
    assert daemon.stop() == 0
