"""Who shares a store, as `status` and the page tell it: real rows, no process."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from syncd.clock import Clock
from syncd.report.replicas import (
    Replica,
    replica_document,
    replicas,
    standing_words,
    work_words,
)
from syncd.store import leases, runs
from syncd.store.database import Database
from syncd.store.holders import process_of, shown
from syncd.store.installation import Daemon, Role
from tests.builders import new_database

NOW = Clock().wall()
ELSEWHERE = "pod-3:529add9e:4026531836/21280/8360054"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path)
    yield database
    database.close()


def process(
    holder: str,
    *,
    host: str = "vm",
    silent: timedelta = timedelta(0),
    up: timedelta = timedelta(hours=2),
    role: Role = Role.DAEMON,
) -> Daemon:
    return Daemon(
        holder=holder,
        host=host,
        pid=7,
        version="1",
        started_at=NOW - up,
        heartbeat_at=NOW - silent,
        role=role,
    )


def seen(store: Database, *known: Daemon, wall: datetime = NOW) -> list[Replica]:
    with store.read() as connection:
        return replicas(connection, known, wall)


def leased(store: Database, holder: str, *syncs: str) -> None:
    with store.begin() as connection:
        for name in syncs:
            runs.know_sync(connection, name, NOW)
            leases.acquire(connection, name, holder, NOW)


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        (timedelta(seconds=24), "up 2 h"),
        (timedelta(seconds=34), "last sign of life 34 s ago"),
        (timedelta(seconds=60), "silent, last sign of life 1 m ago"),
    ],
)
def test_a_replica_that_missed_its_heartbeats_is_not_said_to_be_up(
    store: Database, silent: timedelta, words: str
) -> None:
    (daemon,) = seen(store, process("one", silent=silent))
    (worker,) = seen(store, process("one", silent=silent, role=Role.WORKER))

    assert standing_words(daemon, NOW) == words
    assert standing_words(worker, NOW) == f"worker, {words}"


def test_a_silent_replica_is_told_until_another_took_its_place_or_for_a_day(
    store: Database,
) -> None:
    minutes, day = timedelta(minutes=5), timedelta(days=1)
    silent = process("old", silent=minutes)
    newer = process("new", up=timedelta(minutes=4))
    worker = process("worker", up=timedelta(minutes=4), role=Role.WORKER)
    elsewhere = process("there", host="other", up=timedelta(minutes=4))
    older = process("older", up=timedelta(days=3))

    def told(*known: Daemon) -> list[str]:
        return [one.daemon.holder for one in seen(store, *known) if one.daemon]

    assert told(silent) == ["old"]
    assert told(silent, newer) == ["new"]
    assert set(told(silent, worker, elsewhere, older)) == {
        "old",
        "worker",
        "there",
        "older",
    }
    assert told(process("old", silent=day, up=2 * day)) == []


def test_a_command_beside_daemons_has_a_row_as_long_as_its_lease(
    store: Database,
) -> None:
    leased(store, "one", "churn")
    leased(store, ELSEWHERE, "aud-0", "aud-1")

    command, daemon = seen(store, process("one"))
    (left,) = seen(store, process("one"), wall=NOW + leases.TTL)

    assert (daemon.syncs, left.syncs) == (("churn",), ())
    assert (command.host, command.pid, command.daemon) == ("pod-3", 21280, None)
    assert standing_words(command, NOW) == "a command"
    assert work_words(command) == "aud-0, aud-1"
    said = replica_document(command)
    assert (said["role"], said["alive"]) == ("command", True)
    assert said["version"] is said["heartbeat_at"] is None


def test_eight_syncs_are_named_and_of_more_it_is_told_how_many(
    store: Database,
) -> None:
    leased(store, "one", *(f"aud-{n}" for n in range(8)))
    leased(store, "two", *(f"vip-{n}" for n in range(9)))

    one, two = seen(store, process("one"), process("two", host="vm2"))

    assert work_words(one).split(", ") == [f"aud-{n}" for n in range(8)]
    assert work_words(two) == "9 syncs"


def test_a_process_of_this_machine_that_is_gone_works_on_nothing(
    store: Database,
) -> None:
    here, _, _ = leases.holder_name().rpartition("/")
    leased(store, f"{here}/0", "aud-0")

    assert seen(store) == []


def test_a_holder_is_named_as_a_person_would_look_for_it() -> None:
    assert shown(ELSEWHERE) == "process 21280 on pod-3"
    assert (shown("somebody"), process_of("somebody")) == ("somebody", None)
