"""After a failover, what was pushed and answered may be lost: no run is a success until
a whole list made since stands below it, or a person says that nothing is missing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from syncd.app.engine import Engine
from syncd.errors import SourceUnavailable
from syncd.model import Outcome, Trigger
from syncd.store import failovers
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.sync.resync import NotResyncable, Wish
from syncd.sync.run import from_the_source, run
from syncd.sync.spec import Report
from syncd.sync.steps import Run
from syncd.sync.vouching import HEARD, vouch
from tests.builders import AskedSource, ListSource, PushedFeed, World, people

WISH = Wish(actor="ann", via="cli", reason="its sender sent everybody again")
LAG = timedelta(hours=2)
SECOND = timedelta(seconds=1)
FAILED_OVER = (Outcome.PARTIAL, "store.failed_over")


@pytest.fixture
def world(postgres_database: str, tmp_path: Path) -> Iterator[World]:
    database = Database(postgres_database)
    migrate(database)
    made = World(database=database, spool=tmp_path)
    yield made
    database.close()


def ran(engine: Engine, world: World, *, after: timedelta = SECOND) -> Report:
    world.clock.advance(after)  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def ended(report: Report) -> tuple[Outcome, str]:
    return report.outcome, report.reason


def fed(world: World, whole: ListSource | None = None, **changes: object) -> PushedFeed:
    """A sync that is pushed to, which has 1, 2 and 3."""
    feed = world.fed(whole=whole, snapshot_lag=LAG, **changes)  # type: ignore[arg-type]
    world.vendor.known |= people(*range(10))
    feed.say(enter=people(1, 2, 3), at=world.clock.now())
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.SUCCESS
    return feed


def is_promoted(world: World) -> None:
    """What the store remembers is the timeline of another server."""
    with world.database.begin() as connection:
        connection.execute(
            text("UPDATE meta SET value = '00000000' WHERE key = 'timeline'")
        )


def fail_over(engine: Engine, world: World) -> Report:
    """The database did, and a run notices; what is at the target is known again."""
    is_promoted(world)
    noticed = ran(engine, world)
    with world.database.begin() as connection:
        at = failovers.since(connection, "vip")
        assert at is not None
        failovers.reconciled(connection, "vip", at)
    return noticed


def test_only_a_list_that_is_sure_of_the_time_before_finds_an_event_that_was_lost(
    world: World,
) -> None:
    whole = ListSource(people(1, 2, 3))
    feed = fed(world, whole, relist_every=timedelta(days=1))
    feed.say(leave=people(3), at=world.clock.now())
    with world.engine() as engine:
        ran(engine, world)
        # 3 came back and 4 entered: answered, and lost.
        whole.members |= people(4)
        first = fail_over(engine, world)
        read = whole.reads

        soon = ran(engine, world, after=LAG - timedelta(minutes=1))
        read_soon = whole.reads
        at_last = ran(engine, world, after=timedelta(minutes=2))
        read_at_last = whole.reads
        after = ran(engine, world)

    assert ended(first) == ended(soon) == FAILED_OVER
    assert "and events that were answered: reconcile first" in first.message
    assert "a whole list made after 2026-03-02 14:00 UTC tells" in soon.message
    assert soon.hint == "syncd run vip"
    assert read_soon == read
    assert at_last.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3, 4)
    assert ended(after) == (Outcome.NO_CHANGE, "")
    assert (read_at_last, whole.reads) == (read + 1, read + 1)


def test_a_list_that_cannot_be_read_settles_nothing(world: World) -> None:
    whole = ListSource(people(1, 2, 3))
    fed(world, whole)

    def breaks() -> None:
        raise SourceUnavailable("the warehouse is away")

    with world.engine() as engine:
        fail_over(engine, world)
        whole.while_reading = breaks
        broken = ran(engine, world, after=2 * LAG)
        whole.while_reading = lambda: None
        healed = ran(engine, world)

    assert ended(broken) == FAILED_OVER
    assert healed.outcome is Outcome.NO_CHANGE


class Export(AskedSource):
    """A list that was made at some time, and is read later."""

    written: datetime | None = None

    def as_of(self) -> datetime | None:
        """See `Listing.as_of`."""
        return self.written


def test_a_list_that_was_made_before_settles_nothing_however_late_it_is_read(
    world: World,
) -> None:
    whole = Export(people(1, 2, 3))
    fed(world, whole)
    with world.engine() as engine:
        fail_over(engine, world)
        whole.written, whole.version = world.clock.now(), "of that moment"
        first = ran(engine, world, after=2 * LAG)
        second = ran(engine, world)
        whole.written, whole.version = world.clock.now(), "of now"
        third = ran(engine, world)

    assert ended(first) == ended(second) == FAILED_OVER
    assert "diff" not in second.phase_ms, "an unchanged list is no reason to compare"
    assert ended(third) == (Outcome.NO_CHANGE, "")


def test_sizes_that_agree_and_a_list_of_before_are_no_word_about_lost_events(
    world: World,
) -> None:
    whole = AskedSource(people(1, 2, 3))
    feed = fed(
        world,
        whole,
        relist_every=timedelta(hours=1),
        begins_whole=True,
        list_costs=True,
    )
    with world.engine() as engine:
        assert ran(engine, world, after=LAG).outcome is Outcome.NO_CHANGE
        feed.size = 3
        fail_over(engine, world)
        whole.members, asked = people(1, 2, 4), len(whole.questions)

        unchanged = ran(engine, world, after=LAG)
        whole.version = "2"
        computed_again = ran(engine, world)

    assert ended(unchanged) == FAILED_OVER
    assert len(whole.questions) == asked + 2
    assert computed_again.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 4)


def test_where_no_list_is_read_a_person_says_that_nothing_is_missing(
    world: World,
) -> None:
    feed = fed(world)
    with world.engine() as engine:
        fail_over(engine, world)
        waits = ran(engine, world, after=10 * LAG)
        feed.say(enter=people(1, 2, 3, 4), at=world.clock.now())  # all of them again
        sent = ran(engine, world)
        with engine.alone("vip") as (parts, spec):
            said = vouch(parts, spec, WISH)
            again = vouch(parts, spec, WISH)
        after = ran(engine, world)

    assert ended(waits) == ended(sent) == FAILED_OVER
    assert "have its sender send everybody again, then say so" in waits.message
    assert waits.hint == 'syncd resync vip --heard --reason "..."'
    assert said is not None
    assert ended(said) == (Outcome.SKIPPED, HEARD)
    assert again is not None
    assert ended(again) == (Outcome.FAILED, "resync.not_heard")
    assert ended(after) == (Outcome.NO_CHANGE, "")


def test_a_word_of_a_person_settles_no_failover_that_is_noticed_as_it_is_given(
    world: World,
) -> None:
    fed(world)
    with world.engine() as engine:
        fail_over(engine, world)
        world.clock.advance(SECOND)  # type: ignore[attr-defined]
        is_promoted(world)
        with engine.alone("vip") as (parts, spec):
            said = vouch(parts, spec, WISH)

    assert said is not None
    assert ended(said) == (Outcome.FAILED, "resync.not_heard")
    with world.database.begin() as connection:
        assert failovers.unheard(connection, "vip") is not None


def test_a_run_that_reconciles_the_target_settles_no_events(world: World) -> None:
    fed(world)

    def reconciles(begun: Run) -> None:
        begun.reconciles = True
        from_the_source(begun)

    with world.engine() as engine:
        is_promoted(world)
        ran(engine, world)
        with engine.alone("vip") as (parts, spec):
            report = run(parts, spec, Trigger.RESYNC, story=reconciles)

    assert report is not None
    assert ended(report) == FAILED_OVER
    assert "reconcile" not in report.message
    with world.database.begin() as connection:
        assert failovers.since(connection, "vip") is None
        assert failovers.unheard(connection, "vip") is not None


def test_nobody_vouches_for_a_sync_that_nothing_is_pushed_to(world: World) -> None:
    world.sync(members=people(1))
    world.vendor.known |= people(1)
    with world.engine() as engine:
        ran(engine, world)
        noticed = fail_over(engine, world)
        healed = ran(engine, world)
        with (
            engine.alone("vip") as (parts, spec),
            pytest.raises(NotResyncable, match="nothing is pushed"),
        ):
            vouch(parts, spec, WISH)

    assert ended(noticed) == FAILED_OVER
    assert "events" not in noticed.message
    assert healed.outcome is Outcome.NO_CHANGE


def test_a_first_plan_after_a_failover_is_made_from_a_list_where_there_is_one(
    world: World,
) -> None:
    whole = AskedSource(people(1, 2, 3))
    feed = world.fed(whole=whole, begins_whole=True, list_costs=True, snapshot_lag=LAG)
    world.vendor.known |= people(*range(10))
    with world.engine() as engine:
        ran(engine, world)  # nothing was pushed so far
        feed.say(enter=people(1))  # the others were lost
        fail_over(engine, world)
        first = ran(engine, world)
        sure = ran(engine, world, after=2 * LAG)

    assert ended(first) == FAILED_OVER
    assert world.vendor.cohort.members == people(1, 2, 3)
    assert ended(sure) == FAILED_OVER, "the list was not computed since"
