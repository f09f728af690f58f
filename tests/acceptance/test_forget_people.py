"""Three people are forgotten: the real daemon, the real commands, lists and webhooks, a
destination that was away. Afterwards nothing of them is to be found anywhere."""

import json
import subprocess
from pathlib import Path

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Ended, Installation, Running
from tests.knocking import ENGAGE, as_bytes, identify, knocking, people, signed
from tests.simulated import PATIENCE, Simulator

GONE = people(3, 10)
LATE = GONE[2]
"""Who is not in the list at first."""
FACTOR = {"X-Syncd-Key": "demo-second-factor"}


@pytest.fixture
def everywhere(installation: Installation, simulator: Simulator) -> Installation:
    """Hundred people in a cohort by webhooks, in one by lists, and in a trait."""
    installation.inbox()
    installation.sync("pushed")["from"]["via"] = "inbox"
    installation.config["syncs"][-1]["from"] |= {"relist_every": "never"}
    installation.config["defaults"]["delivery"] |= {"batch_size": 40, "retries": 1}
    installation.sync("listed")["from"]["via"] = "snapshot"
    installation.config["syncs"][-1]["from"] |= {"via": "snapshot"}
    installation.audience(sorted({*people(100)} - {LATE}), "listed")
    installation.audience([], "pushed")
    installation.cohort_sync("trait", "c1")
    simulator.post("/_sim/config", {"job_seconds": 0})
    simulator.users(people(200))
    simulator.cohort("c1", members=people(100))
    simulator.audience("pushed", members=people(100))
    return installation


def with_stdin(
    installation: Installation, verb: str, *args: str, stdin: list[str]
) -> Ended:
    ended = subprocess.run(
        installation.command(verb, *args),
        input="\n".join(stdin),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        cwd=installation.folder,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def push(simulator: Simulator, daemon: Running) -> None:
    simulator.engage_sender(
        "w",
        url=daemon.url() + ENGAGE,
        audience="pushed",
        secret="s3cr3t-key",
        headers=FACTOR,
        flavour="actions_batch",
        signing="whole",
    )
    assert simulator.push("w")["outcome"] == "success"


def files_naming(installation: Installation, ids: list[str]) -> list[str]:
    """Files of the installation, but for the sources', in which an id is to be read."""
    found = []
    for path in installation.folder.rglob("*"):
        if path.is_file() and "audiences" not in path.parts:
            content = path.read_bytes()
            found += [path.name for each in ids if each.encode() in content]
    return found


def cohorts(simulator: Simulator) -> dict[str, set[str]]:
    return {
        each["name"]: simulator.members(each["id"])
        for each in simulator.cohorts()
        if each["id"] != "c1"
    }


def test_three_people_leave_two_cohorts_a_trait_and_every_file(
    everywhere: Installation, simulator: Simulator
) -> None:
    daemon = everywhere.start("serve")
    push(simulator, daemon)
    assert everywhere.run().code == ExitCode.OK
    # One of them enters while the destination is away: the outbox holds an ADD.
    everywhere.audience(people(110), "listed")
    # A 429 was not carried out: after a 503 it would be waited for a late landing.
    simulator.fault("membership", "status", status=429)
    assert everywhere.run("listed").run["outcome"] == "partial"
    assert files_naming(everywhere, GONE) != []
    simulator.no_faults()
    since = simulator.last()

    done = with_stdin(everywhere, "forget", "-", "--json", stdin=GONE)

    assert done.code == ExitCode.OK, done.out + done.err
    assert {each["state"] for each in done.document["syncs"]} == {"removed"}
    for members in cohorts(simulator).values():
        assert members.isdisjoint(GONE)
        assert len(members) >= 97
    assert simulator.with_trait("trait").isdisjoint(GONE)
    assert set(GONE).isdisjoint(simulator.sent("ADD", since))
    assert files_naming(everywhere, GONE) == []

    come_back(everywhere, simulator, daemon)

    assert "person-" not in daemon.text
    assert daemon.stop() == 0
    assert files_naming(everywhere, GONE) == []


def come_back(
    installation: Installation, simulator: Simulator, daemon: Running
) -> None:
    """Everybody names them again: it changes nothing, and `why` says so."""
    with knocking(daemon) as at:
        body = as_bytes(identify(GONE[0], key="pushed", messageId="m-again"))
        answer = at.ask(ENGAGE, body, signed(body))
    assert answer.status == 200
    assert "forgotten" in answer.text
    installation.audience(people(120), "listed")
    simulator.change("c1", members=people(100))
    assert installation.run().code == ExitCode.OK
    for members in cohorts(simulator).values():
        assert members.isdisjoint(GONE)
    assert simulator.with_trait("trait").isdisjoint(GONE)

    why = with_stdin(installation, "why", "-", "listed", "--json", stdin=GONE[:1])
    assert why.document["state"] == "forgotten"
    assert "no list and no event" in why.document["answer"]
    status = installation.syncd("forget", "--status", "--json")
    assert status.document["remembered"] == len(GONE)
    assert status.document["waiting"] == []
    assert files_naming(installation, GONE) == []


def test_what_has_to_wait_is_said_and_the_next_command_goes_on(
    everywhere: Installation, simulator: Simulator
) -> None:
    """Without a daemon: the command does it by itself."""
    everywhere.config["syncs"] = [
        each for each in everywhere.config["syncs"] if each["name"] == "listed"
    ]
    assert everywhere.run().code == ExitCode.OK
    simulator.fault("membership", "status", status=503)

    first = with_stdin(everywhere, "forget", "-", stdin=GONE)
    status = everywhere.syncd("forget", "--status")
    still = with_stdin(everywhere, "why", "-", "listed", stdin=GONE[:1])
    simulator.no_faults()
    again = with_stdin(everywhere, "forget", "-", stdin=GONE)

    assert first.code == ExitCode.PARTIAL
    assert "syncd forget --status" in first.out
    assert "Not covered:" in first.out
    assert status.code == ExitCode.PARTIAL
    assert "listed: 2 ids to be removed" in status.out
    assert "to be forgotten since" in still.out
    assert again.code == ExitCode.OK, again.out + again.err
    assert "2 removed" in again.out
    assert files_naming(everywhere, GONE) == []
    assert not any(each in first.out + again.out + status.out for each in GONE)


def test_a_sync_that_is_off_is_named_and_nothing_is_claimed(
    everywhere: Installation, simulator: Simulator
) -> None:
    (listed,) = [
        each for each in everywhere.config["syncs"] if each["name"] == "listed"
    ]
    everywhere.config["syncs"] = [listed]
    assert everywhere.run().code == ExitCode.OK
    listed["enabled"] = False

    ended = with_stdin(everywhere, "forget", "-", stdin=GONE)

    assert ended.code == ExitCode.PARTIAL
    assert "2 ids at a target of listed that no enabled sync writes to" in ended.out
    assert "keeps their ids until the sync is on again" in ended.out
    assert "holds nothing of them" not in ended.out
    (members,) = cohorts(simulator).values()
    assert set(GONE) & members


@pytest.mark.parametrize(
    ("args", "stdin", "problem"),
    [
        (["ann@acme.test"], "", "history"),
        ([], "", "--status"),
        (["-", "--status"], "x", "--status"),
        (["-"], "", "No id"),
        (["-"], "\n".join(map(str, range(1_001))), "At most 1,000"),
    ],
)
def test_wrong_usage_forgets_nobody(
    installation: Installation, args: list[str], stdin: str, problem: str
) -> None:
    installation.sync("listed")

    ended = with_stdin(installation, "forget", *args, stdin=stdin.split("\n"))

    assert ended.code == ExitCode.USAGE
    assert problem in ended.err
    assert "ann@" not in ended.err
    assert not Path(installation.database).exists()
    assert json.dumps(installation.config)
