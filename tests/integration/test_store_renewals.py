"""Leases are renewed in time, whatever the store is busy with."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text

from syncd.clock import Clock
from syncd.store import feeds, leases, stuck
from syncd.store.database import Database
from syncd.store.leases import TTL, Lease, renew_every
from syncd.store.migrate import migrate
from syncd.store.renewing import Renewals
from syncd.store.tables import lease
from syncd.store.writer import Writer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = renew_every(TTL)
HERE = "elsewhere/1/1"
BRIEF = timedelta(milliseconds=60)
"""A lease that is renewed every 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedClock(Clock):
    """A clock that is moved by hand."""

    steps: list[timedelta] = field(default_factory=list)

    def step(self, delay: timedelta) -> None:
        self.steps.append(delay)

    def wall(self) -> datetime:
        return NOW + sum(self.steps, timedelta())


def lease_of(database: Database, sync: str = "vip", ttl: timedelta = TTL) -> Lease:
    with database.begin() as connection:
        given = leases.acquire(connection, sync, HERE, NOW, ttl)
    assert isinstance(given, Lease)
    return given


def left(database: Database, sync: str = "vip") -> timedelta:
    """How long after `NOW` the lease is over."""
    query = select(lease.c.expires_at).where(lease.c.sync == sync)
    with database.read() as connection:
        found: datetime = connection.execute(query).scalar_one()
    return found - NOW


def stopped_among_rows(url: str) -> psycopg.Connection[Any]:
    """It has locked every lease, and asked for no answer yet."""
    stopped = Database(url)
    raw = psycopg.connect(**stopped.driver_arguments())
    stopped.close()
    raw.execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 1")
    raw.pgconn.enter_pipeline_mode()
    raw.pgconn.send_query_params(b"UPDATE lease SET fence = fence", None)
    raw.pgconn.send_flush_request()
    raw.pgconn.flush()
    return raw


def test_who_is_stopped_among_many_rows_locks_nobody_out_for_ever(
    postgres_database: str,
) -> None:
    """Postgres does not end it."""
    store = Database(postgres_database)
    migrate(store)
    held = lease_of(store)
    raw = stopped_among_rows(postgres_database)
    ended = 0
    while not ended:
        with store.begin() as connection:
            ended = stuck.end(connection, timedelta(milliseconds=100))

    renewed = False
    while not renewed:  # it ends when it comes to look at its signals
        with store.begin() as connection:
            renewed = leases.renew(connection, held, NOW)
    raw.close()
    store.close()

    assert ended == 1


def test_who_only_reads_may_take_its_time(postgres_database: str) -> None:
    store = Database(postgres_database)
    migrate(store)

    with store.read() as reading:
        reading.execute(select(lease.c.sync)).all()
        with store.begin() as connection:
            ended = stuck.end(connection, timedelta(0))
    store.close()

    assert ended == 0


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def renewals(database: Database, clock: SteppedClock) -> Renewals:
    return Renewals(database, clock, TTL)


def test_leases_that_are_kept_are_renewed_and_no_others(
    database: Database, clock: SteppedClock, renewals: Renewals
) -> None:
    kept, let_go = lease_of(database), lease_of(database, "churn")
    lease_of(database, "another")
    for each in (kept, let_go):
        renewals.keep(each)
    renewals.let_go(let_go)

    clock.step(SOON)

    assert renewals.renew()
    assert left(database) == SOON + TTL
    assert [left(database, each) for each in ("churn", "another")] == [TTL, TTL]


def test_a_lease_somebody_took_over_stays_theirs_and_the_others_are_renewed(
    database: Database, clock: SteppedClock, renewals: Renewals
) -> None:
    lost, kept = lease_of(database), lease_of(database, "churn")
    for each in (lost, kept):
        renewals.keep(each)
    with database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/2/2", NOW + TTL)

    clock.step(SOON)

    assert not renewals.renew()
    assert (left(database), left(database, "churn")) == (2 * TTL, SOON + TTL)


def test_a_store_that_is_away_is_asked_again(
    postgres_database: str, clock: SteppedClock
) -> None:
    database = Database(postgres_database)
    migrate(database)
    renewals = Renewals(database, clock, TTL)
    renewals.keep(lease_of(database))
    clock.step(SOON)
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE lease RENAME TO away"))

    failed = renewals.renew()
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO lease"))
    again = renewals.renew()

    assert (failed, again) == (False, True)
    assert left(database) == SOON + TTL
    database.close()


def test_a_large_plan_of_one_sync_is_in_no_other_lease_s_way(
    postgres_database: str, clock: SteppedClock
) -> None:
    """It has its lease's row for as long as it is written, and renewed it itself."""
    database = Database(postgres_database)
    migrate(database)
    large, small = lease_of(database, "large"), lease_of(database, "small")
    renewals = Renewals(database, clock, TTL)
    for each in (large, small):
        renewals.keep(each)

    with database.begin() as plan:
        leases.check(plan, large, NOW)
        clock.step(SOON)
        meanwhile = renewals.renew()
    afterwards = left(database, "large"), left(database, "small")

    assert not meanwhile, "it is tried again soon"
    assert afterwards == (TTL, SOON + TTL)
    assert renewals.renew()
    assert left(database, "large") == SOON + TTL
    database.close()


def test_leases_are_renewed_while_all_writes_wait_for_another_replica(
    postgres_database: str,
) -> None:
    """Which was stopped as it stored what was pushed to it, say."""
    database, other = Database(postgres_database), Database(postgres_database)
    migrate(database)
    clock, moment = SteppedClock(), threading.Event()
    writer = Writer(database, clock, BRIEF)
    writer.start()
    writer.keep(lease_of(database, ttl=BRIEF))
    waiting = threading.Thread(target=lambda: writer.write(feeds.lock))

    with other.begin() as stopped:
        feeds.lock(stopped)
        waiting.start()
        while not _waits(database):
            moment.wait(0.005)
        clock.step(SOON)
        for _ in range(2_000):
            if left(database) == SOON + BRIEF:
                break
            moment.wait(0.005)
        renewed, is_waiting = left(database), waiting.is_alive()

    waiting.join(60)
    stopped_well = writer.stop(60)
    for each in (database, other):
        each.close()
    assert (renewed, is_waiting) == (SOON + BRIEF, True)
    assert stopped_well


def _waits(database: Database) -> bool:
    """Whether another session of this database waits for a lock."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with database.read() as connection:
        return bool(connection.execute(query).scalar_one())
