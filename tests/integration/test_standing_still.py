"""A process that stands still: what it locked is freed, what it was to send stays.

Replicas on one Postgres meet both when one of them is stopped, swaps, or loses its
network in the middle of something.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from syncd.clients.beginning import begun_by, is_too_late
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.errors import StoreUnavailable
from syncd.model import Trigger
from syncd.store import leases, runs
from syncd.store.database import Connection, Database
from syncd.store.leases import Lease
from syncd.store.migrate import migrate
from syncd.sync.run import run
from tests.builders import World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHORT = timedelta(seconds=1)
A, B = "elsewhere/1/100", "elsewhere/2/200"
HOUR = timedelta(hours=1)
SHOWN = "SHOW idle_in_transaction_session_timeout"


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[Database]:
    made = Database(postgres_database)
    migrate(made)
    made.free_after(SHORT)
    yield made
    made.close()


def taken(database: Database, holder: str, now: datetime = NOW) -> Lease:
    with database.begin() as connection:
        got = leases.acquire(connection, "vip", holder, now, SHORT)
    assert isinstance(got, Lease)
    return got


def take(connection: Connection) -> None:
    leases.acquire(connection, "vip", A, NOW, SHORT)


def give_back(connection: Connection) -> None:
    held = Lease(sync="vip", holder=A, fence=1, taken_over=False)
    leases.release(connection, held)


def skip_a_due_time(connection: Connection) -> None:
    runs.skip(
        connection,
        run_id="of-the-other",
        sync_name="vip",
        slot=NOW,
        reason="overlap",
        config_hash="",
        now=NOW,
    )


@pytest.mark.parametrize("act", [take, give_back, skip_a_due_time])
def test_who_stands_still_in_a_transaction_locks_nobody_out_for_longer_than_a_lease(
    postgres: Database, act: Callable[[Connection], None]
) -> None:
    with postgres.begin() as connection:
        runs.know_sync(connection, "vip", NOW)
    taken(postgres, A)
    over = []

    def stand_still() -> None:
        with postgres.begin() as connection:
            act(connection)
            over.append(taken(postgres, B, NOW + HOUR))
            with postgres.begin() as other:
                skip_a_due_time(other)

    with pytest.raises(StoreUnavailable):
        stand_still()

    assert [each.taken_over for each in over] == [True]


@pytest.mark.parametrize("kind", ["begin", "read"])
def test_every_transaction_of_a_daemon_has_its_end_when_nothing_happens(
    postgres: Database, kind: str
) -> None:
    postgres.free_after(HOUR)

    with getattr(postgres, kind)() as connection:
        shown = connection.execute(text(SHOWN)).scalar_one()

    assert shown == "1h"


def test_a_request_that_begins_later_than_it_may_is_not_made() -> None:
    clock = Clock()
    nobody = "http://127.0.0.1:9"

    with (
        HttpClient(nobody, clock=clock) as client,
        begun_by(clock.monotonic() - 0.001),
        pytest.raises(TransportError) as late,
    ):
        client.request("POST", "/")

    assert late.value.kind == "timeout"
    assert not late.value.sent


def test_what_follows_the_look_for_an_earlier_creation_begins_in_time_too() -> None:
    with begun_by(10.0, others=40.0):
        look, creation, late = is_too_late(9.0), is_too_late(39.0), is_too_late(40.1)

    assert (look, creation, late) == (False, False, True)
    assert not is_too_late(50.0)


def test_each_request_of_a_creation_begins_while_its_lease_is_surely_ours(
    postgres: Database, tmp_path: Path
) -> None:
    world = World(database=postgres, spool=tmp_path)
    world.sync("vip", [b"person-1"])
    too_late: list[list[bool]] = []
    after = 4, 34, 36  # a look within 5 s of the claim, one of 30 s before a creation
    vendor = world.vendor
    vendor.known.add(b"person-1")
    vendor.watch = lambda _: too_late.append(
        [is_too_late(world.clock.monotonic() + each) for each in after]
    )

    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)

    assert too_late[0] == [False, False, True]


def test_who_takes_over_and_finds_its_due_time_handled_waits_for_late_requests_too(
    database: Database, tmp_path: Path
) -> None:
    world = World(database=database, spool=tmp_path)
    world.sync("vip", [b"person-1"])
    slot = world.clock.now()

    with world.engine() as engine:
        with database.begin() as connection:
            leases.acquire(connection, "vip", A, slot - HOUR, SHORT)
            runs.begin(
                connection,
                run_id="of-the-other",
                sync_name="vip",
                slot=slot,
                trigger=Trigger.SCHEDULE,
                config_hash="",
                now=slot - HOUR,
            )
        with engine.alone("vip") as (parts, spec):
            made = run(parts, spec, Trigger.SCHEDULE, slot=slot)

    assert made is None
    assert parts.quiet_until["vip"] == slot + spec.request_deadline
