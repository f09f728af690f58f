"""What operators type while two replicas work on the same Postgres.

There is no control socket then: the command does the work itself, as one more process
beside the daemons, from any machine that has the configuration.
"""

import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from syncd.cli.exit_codes import ExitCode
from syncd.store.database import Database
from tests.builders import rows
from tests.installed import Ended, Installation, Running
from tests.knocking import identify, knocking, people
from tests.simulated import PATIENCE, Simulator, simulating

LEASE = 4
"""Seconds."""
MEMBERS = people(80)
KNOWN = people(400)
LASTING = {"slow": 1, "killed": 4, "ended": 4}
"""Syncs whose runs take as long as a test wants them to: their ids in a batch."""
SLOW, DEADLINE = 1.5, 3
"""Seconds for a request then, at most two minutes for a run; and the deadline."""
PUSHED = ("pushed", "pushed-too")
"""Syncs of people who are pushed to the replicas, a second after that."""


@dataclass
class House:
    """One installation on Postgres, and two daemons that work for it."""

    installation: Installation
    simulator: Simulator
    store: Database
    replicas: list[Running]

    def cohort(self, sync: str) -> str:
        """The id of a sync's cohort."""
        (made,) = (
            one for one in self.simulator.cohorts() if one["name"].endswith(f" {sync}")
        )
        return str(made["id"])

    def members(self, sync: str) -> set[str]:
        """Who is in it, in truth."""
        return self.simulator.members(self.cohort(sync))

    def said(self, event: str, **values: Any) -> list[dict[str, Any]]:
        """By either daemon."""
        return [each for one in self.replicas for each in one.events(event, **values)]

    def with_stdin(self, verb: str, *args: str, stdin: str) -> Ended:
        """A command that reads ids."""
        done = subprocess.run(
            self.installation.command(verb, *args),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self.installation.folder,
        )
        return self.installation.overheard(verb, done)


def until(found: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether it came true."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not found():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.05)
    return True


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    """Of this module."""
    name = f"beside_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def house(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two replicas at work; each test has syncs of its own."""
    with ExitStack() as stack:
        simulator = stack.enter_context(simulating("--latency", "0"))
        simulator.post("/_sim/config", {"job_seconds": 0})
        simulator.users(KNOWN)
        folder = tmp_path_factory.mktemp("beside")
        installation = Installation(folder, simulator, stack)
        configure(installation, database)
        store = Database(database, readers=2)
        stack.callback(store.close)
        replicas = [installation.start("serve") for _ in range(2)]
        for each in replicas:
            assert each.reached("daemon.started"), each.text[-4000:]
        yield House(installation, simulator, store, replicas)
        for each in replicas:
            assert each.stop() == 0, each.text[-4000:]
            assert not each.events("daemon.crashed")
        assert simulator.get("/_sim/stats")["overlaps"] == 0


def configure(installation: Installation, database: str) -> None:
    installation.config["store"] = {
        "url": database,
        "lease": f"{LEASE}s",
        "spool_dir": str(installation.folder / "spool"),
    }
    installation.config["connections"]["amplitude"] |= {
        "storage_origin": installation.simulator.origins["storage"],
        "request_deadline": f"{DEADLINE}s",
    }
    installation.inbox()
    for name in ("held", "read", "slow", "killed", "ended"):
        small = {"batch_size": LASTING[name]} if name in LASTING else {}
        source = engage(name, via="snapshot")
        installation.sync(name, delivery=small, **{"from": source})
        installation.audience(MEMBERS, name)
    half_a_day = datetime.now(UTC) + timedelta(hours=12)
    for name in PUSHED:
        source = engage(name, via="inbox", run_after="1s", relist_every="never")
        schedule = f"daily at {half_a_day:%H:%M}"
        installation.sync(name, schedule=schedule, **{"from": source})
        installation.audience([], name)


def engage(audience: str, **how: str) -> dict[str, str]:
    return {"connection": "engage", "audience": audience} | how


@contextmanager
def slowly(simulator: Simulator) -> Iterator[None]:
    """Requests take a while."""
    simulator.post("/_sim/latency", {"membership": SLOW, "upload": SLOW})
    try:
        yield
    finally:
        simulator.post("/_sim/latency", {"membership": 0, "upload": 0})


# ---- one sync, and several who want it -----------------------------------------------


def test_while_a_command_has_a_sync_others_are_refused_and_may_read(
    house: House,
) -> None:
    installation = house.installation
    with slowly(house.simulator):
        first = installation.start("run", "--json", "-vv", "slow")
        assert first.reached("batch.sent", count=2)
        again = installation.run("slow")
        detached = installation.syncd("detach", "slow", "--yes", "--reason", "x")
        verified = installation.syncd("verify", "slow", "--yes")
        status = installation.syncd("status", "--json").document
        why = house.with_stdin("why", "-", "slow", stdin=MEMBERS[0])
        paused = installation.syncd("pause", "slow", "--reason", "INC-7")
        assert not first.ended
    assert first.reached("run.finished", outcome="success"), first.text

    assert (again.code, again.run["reason"]) == (ExitCode.TRY_LATER, "sync.busy")
    assert "slow is being run by" in again.run["message"]
    assert detached.code == ExitCode.TRY_LATER
    assert "error[sync.busy]" in detached.err
    assert verified.code == ExitCode.TRY_LATER
    assert "slow: not verified: slow is being run by" in verified.out
    alive = [each["role"] for each in status["daemons"] if each["alive"]]
    assert alive.count("daemon") == 2
    # What a command works on has a line as well.
    assert ["slow"] in [each["working_on"] for each in status["daemons"]]
    (slow,) = (each for each in status["syncs"] if each["name"] == "slow")
    assert slow["running"] is not None
    assert why.code == 0
    assert "a run is in progress: it finishes its plan" in paused.out
    # Nobody took over what was in good hands.
    assert not house.said("run.started", sync="slow")
    assert house.members("slow") == set(MEMBERS)


def test_of_two_approvals_at_once_one_sends_the_plan(house: House) -> None:
    installation = house.installation
    assert installation.run("held").code == 0
    installation.audience(MEMBERS[:10], "held")
    held = installation.run("held")
    assert held.code == ExitCode.HELD, held.err
    since = house.simulator.last()

    both = [
        installation.start("approve", held.run["id"], "--reason", f"person {number}")
        for number in range(2)
    ]
    codes = sorted(each.process.wait(PATIENCE) for each in both)
    late = installation.syncd("reject", held.run["id"], "--reason", "too late")

    assert codes[0] == 0
    # It came while the first one sent, or after that.
    assert codes[1] in (ExitCode.TRY_LATER, ExitCode.HELD)
    removed = house.simulator.sent("REMOVE", since)
    assert sorted(removed) == sorted(MEMBERS[10:])
    assert house.members("held") == set(MEMBERS[:10])
    assert "error[hold.none]" in late.err
    approved = "SELECT count(*) FROM action WHERE sync = 'held' AND verb = 'approve'"
    assert rows(house.store, approved) == [(1,)]


def test_a_verification_and_its_repair_cost_one_download(house: House) -> None:
    installation = house.installation
    assert installation.run("read").code == 0
    before = house.simulator.downloads()["counted"]
    house.simulator.change(house.cohort("read"), remove=MEMBERS[:5])

    repaired = installation.syncd("verify", "read", "--repair", "--yes", "--json")

    assert repaired.code == 0, repaired.err
    (found,) = repaired.document["syncs"]
    assert (found["missing"], found["repair"]["added"]) == (5, 5)
    assert house.members("read") == set(MEMBERS)
    assert house.simulator.downloads()["counted"] == before + 1


# ---- what a command says, both replicas heed -----------------------------------------


def push(house: House, sync: str, *persons: str) -> None:
    """Each to another replica in turn."""
    for number, person in enumerate(persons):
        with knocking(house.replicas[number % 2]) as at:
            assert at.engage(identify(person, key=sync)).status == 200


def at_rest(house: House, sync: str) -> bool:
    """Whether nobody has it, or had it and died."""
    query = "SELECT released FROM lease WHERE sync = :sync"
    return rows(house.store, query, sync=sync) == [(True,)]


def has(house: House, sync: str, *persons: str) -> Callable[[], bool]:
    """That these are in the cohort of a sync by now, once there is one."""

    def found() -> bool:
        names = [each["name"] for each in house.simulator.cohorts()]
        there = any(name.endswith(f" {sync}") for name in names)
        return there and set(persons) <= house.members(sync)

    return found


def test_a_pause_keeps_every_replica_off_and_its_end_lets_them(house: House) -> None:
    first, then, other = people(2, 100), people(2, 110), people(2, 120)
    push(house, "pushed", *first)
    assert until(has(house, "pushed", *first))

    paused = house.installation.syncd("pause", "pushed", "--reason", "INC-7")
    push(house, "pushed", *then)
    # Another sync's news comes after it, and is read: both look at all of them.
    push(house, "pushed-too", *other)
    assert until(has(house, "pushed-too", *other))
    meanwhile = house.members("pushed")
    resumed = house.installation.syncd("resume", "pushed")

    assert (paused.code, resumed.code) == (0, 0), paused.err + resumed.err
    assert meanwhile == set(first)
    assert until(has(house, "pushed", *first, *then))


def test_whom_a_command_forgets_no_replica_lets_in_again(house: House) -> None:
    (gone, *others) = people(5, 130)
    push(house, "pushed", gone, others[0])
    assert until(has(house, "pushed", gone, others[0]))
    assert until(partial(at_rest, house, "pushed"))

    forgotten = house.with_stdin("forget", "-", "--yes", stdin=gone)
    left = gone not in house.members("pushed")
    # At both doors, before either heard of it: `pushed-too` has never known them.
    push(house, "pushed-too", gone, others[1], others[2], gone)
    assert until(has(house, "pushed-too", others[1], others[2]))

    assert forgotten.code == 0, forgotten.err
    assert left
    assert gone not in house.members("pushed-too")


def test_files_are_read_again_by_each_replica_for_itself(house: House) -> None:
    one, other = house.replicas
    house.installation.sync("new", **{"from": engage("new", via="snapshot")})

    refused = house.installation.syncd("reload")
    one.process.send_signal(signal.SIGHUP)
    assert one.reached("config.loaded", count=2)
    heard = [len(each.events("config.loaded")) for each in (one, other)]
    other.process.send_signal(signal.SIGHUP)
    assert other.reached("config.loaded", count=2)

    assert "error[daemon.no_socket]" in refused.err
    assert "kill -HUP PID" in refused.err
    assert heard == [2, 1]
    assert one.events("config.loaded")[1]["added"] == ["new"]


# ---- a command that does not come to its end -----------------------------------------


def test_a_command_that_does_not_come_to_its_end_is_gone_on_with_by_a_replica(
    house: House,
) -> None:
    """Killed on another machine, or ended by who typed it: to have a sync rest it must
    be paused."""
    with slowly(house.simulator):
        command = house.installation.command("run", "-vv", "--json", "killed")
        killed = house.installation.begin("run", [*elsewhere("laptop"), *command])
        ended = house.installation.start("run", "-vv", "--json", "ended")
        for each in (killed, ended):
            assert each.reached("batch.sent", count=2)
        assert killed.kill()
        code = ended.stop()

    assert code == ExitCode.TERMINATED
    for name in ("killed", "ended"):
        assert until(has(house, name, *MEMBERS))
        assert until(partial(house.said, "run.finished", sync=name))
        (resumed,) = house.said("run.finished", sync=name)
        assert (resumed["trigger"], resumed["outcome"]) == ("resume", "success")
        assert house.members(name) == set(MEMBERS)


def elsewhere(machine: str) -> list[str]:
    """What begins a command on a machine of this name; empty where none can be played.

    Nobody sees there that its process is gone: its lease has to run out.
    """
    named = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'
    for options in (["--uts"], ["--user", "--map-root-user", "--uts"]):
        command = ["unshare", *options, "sh", "-c", named, machine]
        if shutil.which("unshare") is None:
            break
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []
