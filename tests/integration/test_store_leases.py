"""Who may work on a sync: one holder, a fence that only grows."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from syncd.errors import LeaseLost
from syncd.store import leases, runs
from syncd.store.database import Database
from syncd.store.leases import (
    TTL,
    Held,
    Lease,
    holder_name,
    is_dead,
    renew_every,
    soon_enough,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
A, B = "elsewhere/1/100", "elsewhere/2/200"
"""Holders on another machine: whether they live cannot be seen from here."""


def acquire(
    database: Database, holder: str = A, now: datetime = NOW, sync: str = "vip"
) -> Lease | Held:
    with database.begin() as connection:
        return leases.acquire(connection, sync, holder, now)


def held(
    database: Database, holder: str = A, now: datetime = NOW, sync: str = "vip"
) -> Lease:
    got = acquire(database, holder, now, sync)
    assert isinstance(got, Lease)
    return got


def check(database: Database, lease: Lease, now: datetime = NOW) -> None:
    with database.begin() as connection:
        leases.check(connection, lease, now)


def write_under(database: Database, lease: Lease, now: datetime) -> None:
    """A state write as the product makes it: the write, and the check with it."""
    with database.begin() as connection:
        runs.know_sync(connection, "written", NOW)
        leases.check(connection, lease, now)


def written(database: Database) -> bool:
    with database.read() as connection:
        return runs.first_seen(connection, "written") is not None


def process_that_ended() -> str:
    """The holder name of a real process on this machine that is gone."""
    code = "from syncd.store.leases import holder_name; print(holder_name())"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_a_free_lease_is_given_with_the_first_fence(database: Database) -> None:
    got = acquire(database)

    assert got == Lease(sync="vip", holder=A, fence=1, taken_over=False)


def test_a_held_lease_is_refused_and_names_its_holder(database: Database) -> None:
    held(database, A)

    got = acquire(database, B, NOW + SECOND)

    assert got == Held(holder=A, expires_at=NOW + TTL)


def test_leases_of_different_syncs_do_not_meet(database: Database) -> None:
    held(database, A, sync="vip")

    assert held(database, B, sync="churn").fence == 1


def test_a_released_lease_is_free_at_once_and_not_taken_over(
    database: Database,
) -> None:
    first = held(database, A)
    with database.begin() as connection:
        leases.release(connection, first)

    second = held(database, B, NOW + SECOND)

    assert second == Lease(sync="vip", holder=B, fence=2, taken_over=False)


def test_an_expired_lease_is_taken_over(database: Database) -> None:
    held(database, A)

    assert isinstance(acquire(database, B, NOW + TTL - SECOND), Held)
    assert acquire(database, B, NOW + TTL) == Lease(
        sync="vip", holder=B, fence=2, taken_over=True
    )


def test_each_check_renews_the_lease(database: Database) -> None:
    lease = held(database, A)
    check(database, lease, NOW + TTL - SECOND)

    got = acquire(database, B, NOW + TTL + SECOND)

    assert got == Held(holder=A, expires_at=NOW + TTL - SECOND + TTL)


def test_a_lease_is_renewed_several_times_before_it_expires() -> None:
    assert renew_every(TTL) * 3 < TTL


def test_a_holder_that_comes_late_keeps_a_lease_nobody_took(
    database: Database,
) -> None:
    lease = held(database, A)

    check(database, lease, NOW + 10 * TTL)

    assert isinstance(acquire(database, B, NOW + 10 * TTL + SECOND), Held)


def test_the_fence_grows_with_every_acquisition(database: Database) -> None:
    fences = []
    for number in range(5):
        lease = held(database, (A, B)[number % 2], NOW + number * TTL)
        fences.append(lease.fence)

    assert fences == [1, 2, 3, 4, 5]


def test_the_same_holder_gets_its_lease_again_and_the_old_one_ends(
    database: Database,
) -> None:
    first = held(database, A)

    second = held(database, A)

    assert second == Lease(sync="vip", holder=A, fence=2, taken_over=False)
    with pytest.raises(LeaseLost):
        check(database, first)
    check(database, second)


def test_a_process_that_was_taken_over_cannot_write_however_late_it_wakes(
    database: Database,
) -> None:
    paused = held(database, A)
    held(database, B, NOW + TTL)

    with pytest.raises(LeaseLost, match="vip") as lost:
        write_under(database, paused, NOW + 2 * TTL)

    assert lost.value.hint == "syncd show vip"
    assert not written(database)


def test_the_holder_writes(database: Database) -> None:
    lease = held(database, A)

    write_under(database, lease, NOW)

    assert written(database)


def test_a_released_lease_is_no_right_to_write(database: Database) -> None:
    lease = held(database, A)
    with database.begin() as connection:
        leases.release(connection, lease)

    with pytest.raises(LeaseLost):
        write_under(database, lease, NOW)

    assert not written(database)


def test_a_lease_that_was_never_given_is_no_right_to_write(
    database: Database,
) -> None:
    made_up = Lease(sync="vip", holder=A, fence=1, taken_over=False)

    with pytest.raises(LeaseLost):
        check(database, made_up)


def test_releasing_late_does_not_end_the_lease_of_the_next_holder(
    database: Database,
) -> None:
    late = held(database, A)
    now_theirs = held(database, B, NOW + TTL)

    with database.begin() as connection:
        leases.release(connection, late)

    check(database, now_theirs, NOW + TTL)


def test_a_dead_holder_on_this_machine_is_taken_over_at_once(
    database: Database,
) -> None:
    held(database, process_that_ended())

    got = acquire(database, B, NOW + SECOND)

    assert got == Lease(sync="vip", holder=B, fence=2, taken_over=True)


def test_a_living_holder_on_this_machine_is_not_dead(database: Database) -> None:
    held(database, holder_name())

    assert not is_dead(holder_name())
    assert isinstance(acquire(database, B, NOW + SECOND), Held)


def test_a_process_that_reuses_a_pid_is_another_one() -> None:
    machine, pid, started = holder_name().split("/")

    assert pid == str(os.getpid())
    assert is_dead(f"{machine}/{pid}/{int(started) - 1}")


def test_a_zombie_works_no_more() -> None:
    code = (
        "from syncd.store.leases import holder_name; print(holder_name(), flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    name = process.stdout.read().decode().strip()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not reaped

    dead = is_dead(name)

    process.stdout.close()
    process.wait()
    assert dead


@pytest.mark.parametrize("holder", [A, "", "elsewhere", "a/b/c", "elsewhere/1/"])
def test_a_holder_that_cannot_be_seen_from_here_is_not_called_dead(
    holder: str,
) -> None:
    assert not is_dead(holder)


def test_replicas_that_race_for_a_new_lease_get_one(database: Database) -> None:
    together = threading.Barrier(6)
    answers: list[Lease | Held] = []

    def race(holder: str) -> None:
        together.wait(timeout=30)
        answers.append(acquire(database, holder))

    threads = [
        threading.Thread(target=race, args=[f"elsewhere/{number}/1"])
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    given = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(answers) == 6
    assert [lease.fence for lease in given] == [1]


def test_replicas_that_race_for_an_expired_lease_get_one(database: Database) -> None:
    held(database, A)
    together = threading.Barrier(6)
    answers: list[Lease | Held] = []

    def race(holder: str) -> None:
        together.wait(timeout=30)
        answers.append(acquire(database, holder, NOW + TTL))

    threads = [
        threading.Thread(target=race, args=[f"elsewhere/{number}/1"])
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    given = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(answers) == 6
    assert [(lease.fence, lease.taken_over) for lease in given] == [(2, True)]


def until_somebody_waits(database: Database) -> None:
    """Until a backend waits for a lock (SQLite's writers queue for one connection)."""
    moment, waiting = threading.Event(), 0
    while database.dialect == "postgresql" and not waiting:
        moment.wait(0.01)
        with database.read() as connection:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            waiting = int(connection.execute(text(query)).scalar_one())


def test_a_replica_that_comes_while_the_first_row_is_written_waits_for_it(
    database: Database,
) -> None:
    answers: list[Lease | Held] = []
    second = threading.Thread(target=lambda: answers.append(acquire(database, B)))

    with database.begin() as connection:
        first = leases.acquire(connection, "vip", A, NOW)
        second.start()
        until_somebody_waits(database)
    second.join(timeout=60)

    assert isinstance(first, Lease)
    assert answers == [Held(holder=A, expires_at=NOW + TTL)]


def test_a_state_write_and_a_takeover_never_both_succeed(database: Database) -> None:
    """The check renews the row, so the one that comes second sees the first."""
    lease = held(database, A)
    answers: list[Lease | Held] = []
    rival = threading.Thread(
        target=lambda: answers.append(acquire(database, B, NOW + TTL))
    )

    with database.begin() as connection:
        leases.check(connection, lease, NOW + TTL)
        rival.start()
        until_somebody_waits(database)
        runs.know_sync(connection, "written", NOW)
    rival.join(timeout=60)

    assert written(database)
    assert answers == [Held(holder=A, expires_at=NOW + 2 * TTL)]


def require(
    database: Database, lease: Lease, now: datetime, request: timedelta
) -> None:
    with database.read() as connection:
        leases.require(connection, lease, now, request)


def test_a_request_begins_only_while_the_lease_outlasts_it(
    database: Database,
) -> None:
    lease, request = held(database, A), timedelta(seconds=30)

    require(database, lease, NOW, request)
    require(database, lease, NOW + TTL - request - soon_enough(TTL) - SECOND, request)
    with pytest.raises(LeaseLost, match="vip"):
        require(database, lease, NOW + TTL - request - soon_enough(TTL), request)


def test_a_request_longer_than_any_lease_may_begin_under_a_fresh_one(
    database: Database,
) -> None:
    lease = held(database, A)

    require(database, lease, NOW + renew_every(TTL), timedelta(hours=1))
    with pytest.raises(LeaseLost):
        require(database, lease, NOW + 2 * renew_every(TTL), timedelta(hours=1))


def test_no_request_begins_under_a_lease_that_was_taken_over_or_released(
    database: Database,
) -> None:
    late = held(database, A)
    theirs = held(database, B, NOW + TTL)

    with pytest.raises(LeaseLost):
        require(database, late, NOW + TTL, SECOND)
    require(database, theirs, NOW + TTL, SECOND)
    with database.begin() as connection:
        leases.release(connection, theirs)
    with pytest.raises(LeaseLost):
        require(database, theirs, NOW + TTL, SECOND)


def test_leases_of_processes_that_are_gone_are_taken_over_at_once(
    database: Database,
) -> None:
    """Taken over, not released: a late request of theirs may still land."""
    held(database, A, sync="vip")
    done = held(database, A, sync="churn")
    with database.begin() as connection:
        leases.release(connection, done)
        leases.expire_all(connection, NOW + SECOND)

    assert held(database, B, NOW + SECOND, sync="vip").taken_over
    assert not held(database, B, NOW + SECOND, sync="churn").taken_over


def in_other_hands(database: Database, holder: str, now: datetime) -> bool:
    with database.read() as connection:
        return leases.in_other_hands(connection, "vip", holder, now)


def test_a_sync_is_in_other_hands_while_another_holders_lease_lasts(
    database: Database,
) -> None:
    never = in_other_hands(database, B, NOW)
    lease = held(database, A)

    assert not never
    assert not in_other_hands(database, A, NOW)
    assert in_other_hands(database, B, NOW)
    assert not in_other_hands(database, B, NOW + TTL)
    with database.begin() as connection:
        leases.release(connection, lease)
    assert not in_other_hands(database, B, NOW)


def test_a_sync_of_a_dead_process_is_in_nobodys_hands(database: Database) -> None:
    held(database, process_that_ended())

    assert not in_other_hands(database, B, NOW)


def test_the_row_says_who_holds_a_sync_in_plain_sql(database: Database) -> None:
    held(database, A)

    with database.read() as connection:
        row = connection.execute(text("SELECT holder, fence, released FROM lease"))
        assert [tuple(found) for found in row] == [(A, 1, False)]
