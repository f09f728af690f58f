"""`verify --repair`: exactly the differences that can be proven are moved, no others.

The cohort was written by a sync of another name before, and some people left in
between: they are ours, and nobody acknowledges them. Others edit the cohort by hand.
Which people, and how many, a seed decides.
"""

import random
import re
import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from syncd.web.control_address import socket_path
from syncd.web.sockets import reachable_path
from tests.installed import Ended, Installation
from tests.simulated import PATIENCE, Simulator

CROWD = [f"person-{number:04}" for number in range(300)]
STRANGERS = [f"person-{number:04}" for number in range(900, 940)]


@dataclass(frozen=True)
class Injected:
    """How the cohort came to differ, by cause."""

    wanted: set[str]
    missing: set[str]
    ours: set[str]
    others: set[str]


def prepared(installation: Installation, simulator: Simulator) -> None:
    simulator.post("/_sim/config", {"job_seconds": 0})
    project = installation.config["connections"]["amplitude"]
    project["storage_origin"] = simulator.origins["storage"]
    simulator.users([*CROWD, *STRANGERS])


def differing(
    installation: Installation,
    simulator: Simulator,
    seed: int,
    kinds: Collection[str] = ("missing", "ours", "others"),
) -> Injected:
    """The sync is renamed while people leave; then others add and remove people."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, guards nothing
    count = {kind: chance.randint(1, 15) for kind in kinds}
    ours = set(chance.sample(CROWD, count.get("ours", 0)))
    wanted = set(CROWD) - ours
    missing = set(chance.sample(sorted(wanted), count.get("missing", 0)))
    others = set(chance.sample(STRANGERS, count.get("others", 0)))
    installation.sync("vip-before", to={"cohort": "Cohort vip"})
    installation.audience(CROWD, "vip-before")
    assert installation.run().run["outcome"] == "success"
    installation.config["syncs"].clear()
    installation.sync("vip")
    installation.audience(sorted(wanted))
    assert installation.run().run["outcome"] == "success"
    assert simulator.members() == set(CROWD)
    tamper(simulator, missing, others)
    return Injected(wanted=wanted, missing=missing, ours=ours, others=others)


def in_a_blackout(installation: Installation) -> None:
    """No run begins by itself now; a person's does."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    window = {"from": f"{now - hour:%H:%M}", "to": f"{now + hour:%H:%M}"}
    installation.config["windows"] = {"etl": [window]}
    installation.config["syncs"][0]["blackout"] = ["etl"]


def tamper(simulator: Simulator, missing: set[str], others: set[str]) -> None:
    simulator.change(simulator.cohort_id(), remove=sorted(missing), add=sorted(others))


def repair(installation: Installation, *flags: str) -> Ended:
    return installation.syncd("verify", "vip", "--repair", "--yes", *flags)


def assert_repaired(
    ended: Ended, injected: Injected, simulator: Simulator, since: int
) -> None:
    """The document, the cohort and the requests tell the same."""
    (found,) = ended.document["syncs"]
    assert found["missing"] == len(injected.missing)
    assert found["ghosts_ours"] == len(injected.ours)
    assert found["ghosts_others"] == len(injected.others)
    assert found["ghosts_returned"] == 0
    run = found["repair"]["run"]
    assert (run["outcome"], run["retries"]) == ("success", 0)
    assert found["repair"]["added"] == len(injected.missing)
    assert found["repair"]["removed"] == len(injected.ours)
    assert sorted(simulator.sent("ADD", since)) == sorted(injected.missing)
    assert sorted(simulator.sent("REMOVE", since)) == sorted(injected.ours)
    assert simulator.members() == injected.wanted | injected.others


def test_exactly_the_provable_differences_are_moved_and_a_second_repair_sends_nothing(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 1)
    since = simulator.last()

    ended = repair(installation, "--json")
    again = repair(installation, "--json")

    assert_repaired(ended, injected, simulator, since)
    (found,) = again.document["syncs"]
    assert (found["missing"], found["ghosts_ours"]) == (0, 0)
    assert (found["ghosts_others"], found["repair"]) == (len(injected.others), None)


@pytest.mark.parametrize("kind", ["ours", "others"])
def test_one_kind_of_difference_alone_is_repaired_or_left_alone(
    installation: Installation, simulator: Simulator, kind: str
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 2, {kind})
    since = simulator.last()

    ended = repair(installation, "--json")

    if kind != "others":
        assert_repaired(ended, injected, simulator, since)
    else:
        assert ended.document["syncs"][0]["ghosts_others"] == len(injected.others)
        assert simulator.sent("ADD", since) + simulator.sent("REMOVE", since) == []
    assert simulator.members() == injected.wanted | injected.others


def test_a_daemon_repairs_and_its_trail_names_who_when_and_why(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 3)
    in_a_blackout(installation)
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")
    since = simulator.last()

    ended = repair(installation, "--json", "--reason", "somebody edited it")

    assert_repaired(ended, injected, simulator, since)
    run = ended.document["syncs"][0]["repair"]["run"]
    run_id = run["id"]
    assert run["notice"].startswith("inside the window 'etl'")
    assert daemon.reached("operator.repaired", run=run_id, reason="somebody edited it")
    (line,) = daemon.events("run.finished", run_id=run_id)
    assert (line["trigger"], line["outcome"]) == ("repair", "success")
    with closing(sqlite3.connect(installation.database)) as store:
        trail = store.execute("SELECT verb, via, reason, run_id FROM action").fetchall()
    assert trail == [("repair", "cli", "somebody edited it", run_id)]
    shown = installation.syncd("show", run_id, "--json").document
    assert shown["run"]["trigger"] == "repair"
    assert shown["decisions"][0]["reason"] == "somebody edited it"
    page = installation.syncd("show", run_id).out
    assert "(cli): somebody edited it" in page
    assert f"{len(injected.missing)} missing, {len(injected.ours)} left by" in page
    scrape = simulator.control.get(f"{daemon.url('admin')}/metrics").text
    (drift,) = re.findall(r'syncd_verify_drift_ratio{sync="vip"} (\S+)', scrape)
    others = len(injected.others)
    assert float(drift) == pytest.approx(others / (len(CROWD) + others))
    assert daemon.stop() == 0


def test_postgres_is_repaired_under_the_lease_with_and_without_a_daemon(
    installation: Installation, simulator: Simulator, postgres_database: str
) -> None:
    installation.config["store"] = {"url": postgres_database}
    prepared(installation, simulator)
    injected = differing(installation, simulator, 4)
    since = simulator.last()

    alone = repair(installation, "--json")
    assert_repaired(alone, injected, simulator, since)

    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")
    tamper(simulator, {*CROWD[:9]} - injected.ours, set())
    since = simulator.last()
    beside = repair(installation, "--json")

    assert beside.document["syncs"][0]["repair"]["run"]["outcome"] == "success"
    assert set(simulator.sent("ADD", since)) == {*CROWD[:9]} - injected.ours
    assert simulator.sent("REMOVE", since) == []
    assert daemon.stop() == 0


def test_nobody_is_moved_without_a_yes_nor_while_the_sync_is_paused(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 5)
    since = simulator.last()

    ended = installation.syncd("verify", "--max-downloads", "1", "--repair")
    spent = simulator.downloads()["counted"]
    installation.syncd("pause", "vip", "--reason", "a test")
    paused = repair(installation)
    usage = installation.syncd("verify", "vip", "--reason", "none")

    assert (ended.code, paused.code, usage.code) == (75, 75, 2)
    assert "is paused by" in paused.out
    assert simulator.downloads()["counted"] == spent
    add, remove = len(injected.missing), len(injected.ours)
    assert f"vip: would add {add} again, remove {remove} left by syncd" in ended.err
    assert "next: syncd verify vip --repair --yes -c " in ended.err
    assert simulator.sent("ADD", since) + simulator.sent("REMOVE", since) == []


def test_evidence_is_good_for_one_repair_of_exactly_what_was_shown(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 9)
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")
    path = reachable_path(socket_path(installation.database))
    transport = httpx.HTTPTransport(uds=path)
    with httpx.Client(transport=transport, base_url="http://syncd") as control:

        def ask(verb: str, **more: str) -> dict[str, Any]:
            who = {"sync": "vip", "actor": "ann", "via": "socket"}
            answer = control.post(f"/v1/{verb}", json=who | more, timeout=PATIENCE)
            return dict(answer.json())

        shown = ask("verify")["evidence"]
        downloads = simulator.downloads()["counted"]
        other = sorted(injected.wanted - injected.missing)[0]
        simulator.change(simulator.cohort_id(), remove=[other])
        since = simulator.last()
        moved = ask("repair", evidence=shown)
        assert moved["error"]["code"] == "repair.stale"
        assert simulator.downloads()["counted"] == downloads
        assert simulator.sent("ADD", since) == []

        shown = ask("verify")["evidence"]
        first, second = (ask("repair", evidence=shown) for _ in range(2))

    assert first["run"]["outcome"] == "success"
    assert second["error"]["code"] == "repair.stale"
    assert sorted(simulator.sent("ADD", since)) == sorted({*injected.missing, other})
    assert sorted(simulator.sent("REMOVE", since)) == sorted(injected.ours)
    assert daemon.stop() == 0


def test_a_repair_above_the_limits_is_held_and_sent_once_approved(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 6)
    installation.config["syncs"][0]["guard"] = {"max_exit": "0%", "ignore_below": 0}
    since = simulator.last()

    held = repair(installation, "--json")
    untouched = simulator.sent("ADD", since)
    run_id = held.document["syncs"][0]["repair"]["run"]["id"]
    refused = repair(installation)
    approved = installation.syncd("approve", run_id, "--reason", "meant", "--json")

    assert (held.code, untouched) == (3, [])
    assert refused.code == 3
    assert "is held by run" in refused.out
    assert approved.run["outcome"] == "success", approved.err
    assert simulator.members() == injected.wanted | injected.others


def test_a_killed_repair_leaves_an_open_plan_that_the_next_start_sends(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    injected = differing(installation, simulator, 7)
    project = installation.config["connections"]["amplitude"]
    project["request_deadline"] = "20s"
    simulator.fault("membership", "hang_before", seconds=60, calls=[1])

    killed = installation.start("verify", "vip", "--repair", "--yes", "-vv")
    assert killed.reached("changes.committed")
    assert killed.kill()
    simulator.no_faults()
    project["request_deadline"] = "1s"
    daemon = installation.start("serve")

    assert daemon.reached("run.finished", trigger="resume", outcome="success")
    assert daemon.stop() == 0
    assert simulator.members() == injected.wanted | injected.others


def test_a_destination_that_nobody_can_read_is_refused_with_the_next_command(
    installation: Installation, simulator: Simulator
) -> None:
    prepared(installation, simulator)
    simulator.cohort("churn", members=CROWD[:3])
    installation.cohort_sync("churn-risk", "churn")
    installation.run()

    ended = installation.syncd("verify", "churn-risk", "--repair", "--yes")

    assert ended.code == 1
    assert "Segment has no call that lists who has a trait" in ended.out
    assert "next: syncd members churn-risk" in ended.out
