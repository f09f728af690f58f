"""A run that is closed as abandoned: nobody works on it any more, whoever lives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from syncd.app import detaching
from syncd.app.engine import Engine
from syncd.config.settings import GuardSettings
from syncd.errors import LeaseLost, StoreUnavailable
from syncd.model import Outcome, Trigger
from syncd.store import failovers, leases, runs
from syncd.store.database import Connection, Database
from syncd.store.leases import TTL, Lease, renew_every
from syncd.sync import finish
from syncd.sync.outbox import Choice
from syncd.sync.run import run
from syncd.sync.spec import Report
from syncd.sync.steps import Run
from tests.builders import FAILED_BEFORE, NOW, ManualClock, Mortal, World, people, rows

SECOND = timedelta(seconds=1)
HALF_A_MINUTE = timedelta(seconds=30)
ELSEWHERE = "elsewhere/1/1"
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    made = World(database=database, spool=tmp_path, request_deadline=timedelta(0))
    made.sync(members=people(*range(10)), guard=STRICT)
    made.vendor.known = people(*range(20))
    return made


def ran(engine: Engine, world: World) -> Report:
    world.clock.advance(SECOND)  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def once(world: World, action: Callable[[], object]) -> None:
    """Have it done while the source is read the next time."""

    def act() -> None:
        world.sources["vip"].while_reading = lambda: None
        action()

    world.sources["vip"].while_reading = act


def unfinished(world: World) -> runs.Run:
    with world.database.read() as connection:
        (found,) = runs.unfinished(connection)
    return found


def close(world: World, found: runs.Run, holder: str = ELSEWHERE) -> None:
    finish.close_abandoned(
        world.database,
        found,
        clock=world.clock,
        holder=holder,
        late_landings=timedelta(hours=1),
    )


def outcomes(world: World) -> list[str]:
    found = rows(world.database, "SELECT outcome FROM run ORDER BY started_at, id")
    return [row[0] for row in found]


@pytest.mark.parametrize("now_there", [people(*range(2)), people(*range(12))])
def test_whoever_lives_on_after_its_run_was_closed_sends_and_holds_nothing_any_more(
    world: World, now_there: set[bytes]
) -> None:
    """The database was away for longer than a lease, and another replica looks first:
    the run of one that lives is closed, and nobody has its lease yet."""
    with world.engine() as engine, world.engine() as other:
        other.holder = ELSEWHERE
        ran(engine, world)
        world.vendor.requests.clear()
        world.sources["vip"].members = set(now_there)

        def look_elsewhere() -> None:
            world.clock.advance(TTL + SECOND)  # type: ignore[attr-defined]
            assert other.close_abandoned() == ["vip"]

        once(world, look_elsewhere)
        put_out = ran(engine, world)
        requests, closed = list(world.vendor.requests), outcomes(world)
        next_one = ran(other, world)

    assert (put_out.outcome, put_out.reason) == (Outcome.FAILED, "lease.lost")
    assert requests == []
    assert closed == ["success", "abandoned"]
    held = len(now_there) < 10
    assert next_one.outcome is (Outcome.HELD if held else Outcome.SUCCESS)


def test_a_run_whose_lease_was_renewed_since_somebody_looked_goes_on(
    world: World,
) -> None:
    with world.engine() as engine:
        once(world, lambda: close(world, unfinished(world)))

        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert outcomes(world) == ["success"]


def test_a_run_that_was_closed_meanwhile_leaves_no_doubts(world: World) -> None:
    """Its batches may be those of the next one by now."""
    seen: list[runs.Run] = []
    with world.engine() as engine:
        once(world, lambda: seen.append(unfinished(world)))
        world.vendor.script.extend([FAILED_BEFORE] * 20)
        partial = ran(engine, world)
        before = rows(world.database, "SELECT count(*) FROM doubt")

        close(world, seen[0])

    assert partial.outcome is Outcome.PARTIAL
    assert rows(world.database, "SELECT count(*) FROM doubt") == before
    assert outcomes(world) == ["partial"]


def test_whoever_lost_the_lease_settles_nothing_as_it_closes_its_run(
    world: World,
) -> None:
    with world.database.begin() as connection:
        noticed = {"key": "unreconciled:vip", "at": NOW.isoformat()}
        mark = text("INSERT INTO meta (key, value) VALUES (:key, :at)")
        connection.execute(mark, noticed)

    def reconcile(run: Run) -> None:
        run.reconciles = True
        run.report.outcome = Outcome.NO_CHANGE
        with world.database.begin() as connection:
            later = NOW + timedelta(days=1)
            leases.acquire(connection, "vip", ELSEWHERE, later)

    with world.engine() as engine, engine.alone("vip") as (parts, spec):
        report = run(parts, spec, Trigger.MANUAL, story=reconcile)

    assert report is not None
    assert (report.outcome, report.reason) == (Outcome.FAILED, "lease.lost")
    assert outcomes(world) == ["failed"]
    with world.database.read() as connection:
        assert failovers.since(connection, "vip") == NOW


def test_after_a_while_without_the_store_nobody_takes_the_others_for_dead_at_once(
    world: World,
) -> None:
    """It was away for them as well, and they renew as soon as they can."""
    store, later = Mortal(world.database), MovedClock()
    world.clock = later
    with world.engine() as engine, world.engine(store) as other:
        other.holder = ELSEWHERE

        def come_back() -> None:
            later.advance(TTL + SECOND)
            store.dead = True
            with pytest.raises(StoreUnavailable):
                other.close_abandoned()
            store.dead = False
            assert other.close_abandoned() == []
            later.let_pass(renew_every(TTL).total_seconds() - 1)
            assert other.close_abandoned() == []

        once(world, come_back)
        report = ran(engine, world)

        def come_back_late() -> None:
            later.advance(TTL + SECOND)
            later.let_pass(1)
            assert other.close_abandoned() == ["vip"]

        once(world, come_back_late)
        put_out = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert put_out.reason == "lease.lost"


class MovedClock(ManualClock):
    """Its monotonic hand is moved by hand as well."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_passed", [0.0])

    def let_pass(self, seconds: float) -> None:
        self.__dict__["_passed"][0] += seconds

    def monotonic(self) -> float:
        passed: list[float] = self.__dict__["_passed"]
        return passed[0]


def test_a_lease_that_is_kept_for_nobody_keeps_no_replica_out(world: World) -> None:
    """Whoever took it over found nothing to do, or ended too soon to wait for what a
    dead process may have sent; whoever has it next waits for that."""
    world.request_deadline = HALF_A_MINUTE
    with world.engine() as engine, world.engine() as other:
        other.holder = ELSEWHERE
        with world.database.begin() as connection:
            leases.acquire(connection, "vip", "gone/1/1", NOW - TTL)

        with engine.at_rest("vip"):
            pass
        with other.at_rest("vip") as (parts, lease):
            pass

    assert lease.taken_over
    assert parts.quiet_until["vip"] == world.clock.now() + HALF_A_MINUTE


def test_what_a_process_waits_for_it_still_knows_when_it_takes_a_lease_again(
    world: World,
) -> None:
    """By then it had the lease itself before: nothing of that says why to wait."""
    world.request_deadline = HALF_A_MINUTE
    with world.engine() as engine, world.engine() as other:
        other.holder = ELSEWHERE
        with world.database.begin() as connection:
            leases.acquire(connection, "vip", "gone/1/1", NOW - TTL)

        for _ in range(2):
            with engine.at_rest("vip"):
                pass
        with other.at_rest("vip") as (_, lease):
            pass

    assert lease.taken_over


def test_a_renewal_that_was_under_way_brings_no_ended_lease_back(world: World) -> None:
    with world.database.begin() as connection:
        held = leases.acquire(connection, "vip", "a/1/1", NOW)
        assert isinstance(held, Lease)
        leases.end(connection, held, NOW, quiet=False)

        renewed = leases.renew(connection, held, NOW)
        other = leases.acquire(connection, "vip", ELSEWHERE, NOW)

    assert not renewed
    assert isinstance(other, Lease)
    assert other.taken_over


class Overtaken(Mortal):
    """The store of a process that stands still before one of its writes: until another
    one took its sync over."""

    before: int | None = None
    """Which one from now on."""

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        if self.before is not None:
            self.before -= 1
            if self.before == 0:
                self._take_over()
        with super().begin(brief=brief) as connection:
            yield connection

    def _take_over(self) -> None:
        with self._whole.begin() as connection:
            leases.acquire(connection, "vip", ELSEWHERE, NOW + timedelta(days=1))


DETACHED = {"sync": "vip", "actor": "ann", "via": "cli", "reason": "moved"}


def drop(engine: Engine) -> None:
    engine.drop_batches("vip", Choice(batches=(), actor="ann", via="cli", reason="old"))


def detach(engine: Engine) -> None:
    detaching.detach(engine, DETACHED)


def detach_what_no_file_names(engine: Engine) -> None:
    engine.replace(replace(engine.blueprint, specs={}))
    detaching.detach(engine, DETACHED)


@pytest.mark.parametrize(
    ("act", "writes"), [(drop, 2), (detach, 2), (detach_what_no_file_names, 3)]
)
def test_what_a_person_decides_is_not_written_by_whoever_lost_the_lease(
    world: World, act: Callable[[Engine], None], writes: int
) -> None:
    store = Overtaken(world.database)
    with world.engine(store) as engine:
        world.vendor.script.extend([FAILED_BEFORE] * 20)
        ran(engine, world)
        store.before = writes  # the last is what is done under the lease

        with pytest.raises(LeaseLost):
            act(engine)

    assert rows(world.database, "SELECT DISTINCT state FROM batch") == [("open",)]
    assert rows(world.database, "SELECT verb FROM action") == []
    holders = rows(world.database, "SELECT holder, released FROM lease")
    assert [(holder, bool(released)) for holder, released in holders] == [
        (ELSEWHERE, False)
    ]
