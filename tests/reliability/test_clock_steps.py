"""The machine's clock is set: by an hour, a day, ten years, to the year 2200, and back.

At most one run makes up for what passed, no sync sleeps longer than the step itself
(and not at all after a clock that was years ahead), the scheduler neither hangs nor
fills the memory, and every due time ends as a row or is made up for by a later one
(A9, I-21). In one process: the real scheduler on a frozen clock, the real slots, engine
and store on a clock that the test sets.
"""

import random
import threading
import time as stopwatch
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path

import pytest
from freezegun import freeze_time
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.app.slots import Slots
from syncd.clients.quota import (
    Admitted,
    Budget,
    Reading,
    Rules,
    Spend,
    Wish,
    decide,
    month_before,
    next_month,
    used,
)
from syncd.clock import Clock
from syncd.config.settings import GuardSettings
from syncd.model import Outcome, Trigger
from syncd.schedule import Cron, Every, Schedule, next_after
from syncd.scheduler import Ticker, Timing
from syncd.store import connections, pauses, runs
from syncd.store.pauses import Pause
from syncd.sync.decide import Decision
from syncd.sync.window import moved_lately
from tests.builders import NOW, PATIENCE, ManualClock, World, new_database, people, rows

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
YEARS = 3652 * DAY
TO_2200 = datetime(2200, 1, 1, tzinfo=UTC) - NOW
STEPS = [HOUR, -HOUR, DAY, -DAY, YEARS, -YEARS, TO_2200]
NAMES = ["+1 h", "-1 h", "+1 d", "-1 d", "+10 y", "-10 y", "2200"]
HOURLY = Every(HOUR)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=10, on_trip="hold")
SEED = 6


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One store; time stands still until the test moves it."""
    database = new_database(tmp_path)
    yield World(database=database, spool=tmp_path)
    database.close()


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[EventDict]]:
    with capture_logs([merge_contextvars]) as captured:
        yield captured


def advance(world: World, by: timedelta) -> None:
    assert isinstance(world.clock, ManualClock)
    world.clock.advance(by)


def at_once(_: str, action: Callable[[], object]) -> None:
    action()


# ---- the scheduler -------------------------------------------------------------------


class Announced:
    """What the scheduler called, for a test that waits for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._news = threading.Condition()

    def note(self, name: str) -> None:
        with self._news:
            self.names.append(name)
            self._news.notify_all()

    def wait_for(self, name: str, times: int = 1) -> None:
        with self._news:
            assert self._news.wait_for(
                lambda: self.names.count(name) >= times, PATIENCE
            )


@contextmanager
def ticking(said: Announced, *schedules: Schedule) -> Iterator[Ticker]:
    """Syncs of these schedules, and a heartbeat each minute."""
    ticker = Ticker(Clock(), due=said.note, overlapped=said.note)
    ticker.start(
        Timing(sync=f"sync-{n}", schedule=each, shift=timedelta(minutes=n))
        for n, each in enumerate(schedules)
    )
    ticker.every(HOUR, "beat", lambda: said.note("beat"))
    try:
        yield ticker
    finally:
        ticker.stop(wait=True)


nudges = count()


def look(ticker: Ticker) -> None:
    """Let it look at its frozen clock, and wait until it has."""
    for _ in range(2):
        done = threading.Event()
        ticker.soon(f"nudge-{next(nudges)}", done.set)
        assert done.wait(PATIENCE)


KINDS = (
    HOURLY,
    Cron("*/15 * * * *", "Europe/Berlin"),
    Cron("30 2 * * *", "Europe/Berlin"),
    Cron("0 0 29 2 *", "UTC"),
)


def test_a_clock_set_to_the_year_2200_costs_no_time_and_no_memory() -> None:
    said = Announced()
    began = stopwatch.perf_counter()
    with freeze_time(NOW) as frozen, ticking(said, *KINDS) as ticker:
        look(ticker)
        tracemalloc.start()
        frozen.move_to(NOW + TO_2200)
        look(ticker)  # before anybody could notice the step
        for number in range(len(KINDS)):
            said.wait_for(f"sync-{number}")
        said.wait_for("beat")
        look(ticker)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert sorted(said.names) == ["beat", *(f"sync-{n}" for n in range(len(KINDS)))]
    assert stopwatch.perf_counter() - began < 10
    assert most < 2**22


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_after_any_step_the_house_is_kept_within_its_period(step: timedelta) -> None:
    said = Announced()
    with freeze_time(NOW) as frozen, ticking(said, HOURLY) as ticker:
        frozen.move_to(NOW + step)
        ticker.rebuild()
        look(ticker)
        before = said.names.count("beat")
        frozen.move_to(NOW + step + HOUR)
        look(ticker)
        said.wait_for("beat", before + 1)
        said.wait_for("sync-0")

    assert before <= 1


def test_a_machine_that_sleeps_and_wakes_again_and_again_is_announced_once_each() -> (
    None
):
    said = Announced()
    with freeze_time(NOW) as frozen, ticking(said, HOURLY) as ticker:
        for night in range(1, 6):
            frozen.move_to(NOW + night * 9 * HOUR + MINUTE)
            look(ticker)
            said.wait_for("sync-0", night)
            said.wait_for("beat", night)

    assert said.names.count("sync-0") == 5
    assert said.names.count("beat") == 5


# ---- slots ---------------------------------------------------------------------------


def began(world: World) -> list[datetime | None]:
    """The slot of every run."""
    with world.database.read() as connection:
        found = runs.latest(connection, limit=10_000)
    return [each.slot for each in found if each.outcome is not Outcome.SKIPPED]


def serve(world: World, slots: Slots, span: timedelta) -> list[datetime]:
    """What the daemon does in this time, at each half hour; when runs began."""
    known, found = len(began(world)), list[datetime]()
    for _ in range(span // (HOUR / 2)):
        advance(world, HOUR / 2)
        slots.due("vip")
        slots.catch_up()
        if (now := len(began(world))) > known:
            assert now == known + 1
            known, found = now, [*found, world.clock.now()]
    return found


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_a_step_costs_one_catch_up_at_most_and_no_sleep_longer_than_itself(
    world: World, step: timedelta
) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = Slots(engine, world.clock, at_once)
        serve(world, slots, 3 * HOUR)
        before = began(world)
        advance(world, step)
        stepped_at = world.clock.now()
        slots.catch_up()  # `serve` notices it, and its ticker was rebuilt
        slots.due("vip")
        slots.catch_up()
        at_first = len(began(world)) - len(before)
        served = serve(world, slots, 6 * HOUR)

    assert len(before) == 3
    assert at_first == (step != -HOUR)  # that hour was run
    quiet = HOUR if step == -HOUR else timedelta(0)
    assert served[0] - stepped_at <= quiet + HOUR
    assert {two - one for one, two in pairwise(served)} == {HOUR}
    assert len(set(began(world))) == len(began(world))


def test_a_sync_that_was_first_seen_by_a_clock_ahead_runs_when_it_is_put_right(
    world: World,
) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    advance(world, YEARS)
    with world.engine():
        pass
    advance(world, -YEARS)
    with world.engine() as engine:
        served = serve(world, Slots(engine, world.clock, at_once), 3 * HOUR)

    assert served[0] == NOW + HOUR / 2  # the newest due time is made up for
    assert served[1:] == [NOW + hour * HOUR for hour in (1, 2, 3)]


def test_back_and_forth_no_due_time_is_run_twice_and_all_come_to_rest(
    world: World,
) -> None:
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = Slots(engine, world.clock, at_once)
        for _ in range(30):
            advance(world, dice.choice([HOUR, -HOUR, DAY, -DAY, YEARS, -YEARS, MINUTE]))
            slots.catch_up()
            slots.due("vip")
        advance(world, 100 * DAY)
        slots.catch_up()
        after = serve(world, slots, 3 * HOUR)

    assert len(set(began(world))) == len(began(world))
    assert len(after) == 3


# ---- what a clock that was ahead wrote -----------------------------------------------


def test_no_key_no_pause_of_a_vendor_and_nobody_unknown_waits_for_years(
    world: World,
) -> None:
    world.sync(members=people(1, 2), schedule=HOURLY)
    world.vendor.known = people(1)
    advance(world, YEARS)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)  # person 2 is unknown
        with world.database.begin() as connection:
            now = world.clock.now()
            connections.stop(connection, "amplitude", "wrong key", now)
            connections.throttle(connection, "amplitude", now + 15 * MINUTE)
    advance(world, -YEARS)
    world.vendor.known = people(1, 2)

    with world.engine() as engine:
        served = serve(world, Slots(engine, world.clock, at_once), 2 * HOUR)

    assert served
    assert world.vendor.cohorts["c1"].members == people(1, 2)


def test_a_slot_put_off_by_a_clock_ahead_is_made_up_for_once_and_not_each_minute(
    world: World,
) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    with world.engine() as engine:
        slots = Slots(engine, world.clock, at_once)
        advance(world, YEARS)
        with world.database.begin() as connection:
            pause = Pause(
                sync="vip",
                since=world.clock.now(),
                until=world.clock.now() + 2 * HOUR,
                actor="joe",
                via="cli",
                reason="CRM",
            )
            pauses.put(connection, pause)
        slots.catch_up()
        slots.due("vip")
        with world.database.begin() as connection:
            pauses.remove(connection, "vip")
        advance(world, -YEARS)
        for _ in range(5):
            advance(world, MINUTE)
            slots.catch_up()

    (skipped,) = rows(world.database, "SELECT reason FROM run WHERE outcome='skipped'")
    assert skipped == ("paused",)
    assert len(began(world)) == 1


def test_a_run_cut_off_under_a_clock_ahead_is_gone_on_with_once(world: World) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    advance(world, YEARS)
    with world.engine(), world.database.begin() as connection:
        assert runs.begin(
            connection,
            sync_name="vip",
            slot=None,
            trigger=Trigger.SCHEDULE,
            config_hash="",
            run_id="0" * 32,
            now=world.clock.now(),
        )
    advance(world, -YEARS)

    with world.engine() as engine:
        cut_off = engine.close_abandoned()
        engine.resume("vip")
        later = [engine.close_abandoned() for _ in range(3)]

    assert cut_off == ["vip"]
    assert later == [[], [], []]


def exits(world: World, engine: Engine, count: int) -> Outcome | None:
    """So many people leave, and a run notices it."""
    left = sorted(world.sources["vip"].members)
    world.sources["vip"].members = set(left[count:])
    report = engine.run("vip", Trigger.MANUAL)
    return report.outcome if report is not None else None


def test_the_brake_of_a_day_and_a_held_plan_count_the_days_of_the_present(
    world: World,
) -> None:
    everybody = people(*range(200))
    world.sync(members=everybody, guard=STRICT)
    world.vendor.known = everybody
    advance(world, YEARS)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
        assert exits(world, engine, 30) is Outcome.SUCCESS
        assert exits(world, engine, 100) is Outcome.HELD
    advance(world, -YEARS)

    with world.engine() as engine:
        with world.database.read() as connection:
            held = runs.waiting_for_a_person(connection, "vip")
        assert held is not None
        assert held.hold_expires_at == world.clock.now() + DAY
        advance(world, DAY + MINUTE)
        assert moved_lately(world.database, "vip", world.clock.now()).exited == 0
        # The old plan expired; the guard looks at the same exits anew.
        report = engine.run("vip", Trigger.MANUAL)
        assert report is not None
        assert report.outcome is Outcome.HELD
        engine.approve(
            Decision(run_id=report.run_id, actor="joe", via="cli", reason="")
        )

    assert len(world.vendor.cohorts["c1"].members) == 70


# ---- the month -----------------------------------------------------------------------


def spend(at: datetime, number: int = 0) -> Spend:
    return Spend(
        id=number,
        sync="vip",
        cohort_id="c",
        at=at,
        answered=True,
        confirmed=True,
        running=True,
    )


@pytest.mark.parametrize("step", STEPS, ids=NAMES)
def test_what_another_clock_spent_stops_nobody_longer_than_its_limit(
    step: timedelta,
) -> None:
    wrong = [spend(NOW + step + n * MINUTE / 10, n) for n in range(4)]
    rules = Rules(reserve=0, budget=Budget(downloads=4, per=DAY), period=HOUR, demand=1)
    wish = Wish(sync="vip", by_person=False, last_at=None, size_moved=True)

    def answer(after: timedelta) -> object:
        now = NOW + after
        reading = Reading(limit=500, used=4, resets_at=next_month(now), estimated=True)
        return decide(wish, rules, reading, wrong, now)

    # By then a budget of a day is over, whichever of the two clocks was right.
    assert isinstance(answer(2 * DAY + 2 * HOUR), Admitted)
    if abs(step) > 3 * DAY:
        assert isinstance(answer(timedelta(0)), Admitted)


@pytest.mark.parametrize("year", [2024, 2027, 2028, 2037, 2038, 2100])
def test_a_month_begins_at_midnight_of_the_first_in_utc_and_counts_its_own(
    year: int,
) -> None:
    first = datetime(year, 1, 1, tzinfo=UTC)
    starts = [first]
    while len(starts) < 14:
        starts.append(next_month(starts[-1]))

    for begins, ends in pairwise(starts):
        last = ends - timedelta(microseconds=1)
        assert (ends.day, ends.hour, ends.minute) == (1, 0, 0)
        assert next_month(last) == ends
        assert month_before(ends) == begins
        reading = Reading(limit=500, used=0, resets_at=ends, estimated=True)
        at = [begins - MINUTE, begins, last]
        assert used(reading, [spend(each, n) for n, each in enumerate(at)]) == 2


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("0 3 29 2 *", "2026-03-01", ["2028-02-29T03:00", "2032-02-29T03:00"]),
        ("0 3 29 2 *", "2096-03-01", ["2104-02-29T03:00"]),
        ("0 0 31 * *", "2027-12-31", ["2028-01-31T00:00", "2028-03-31T00:00"]),
        ("59 23 31 12 *", "2037-12-31", ["2037-12-31T23:59", "2038-12-31T23:59"]),
        ("14 3 19 1 *", "2037-06-01", ["2038-01-19T03:14", "2039-01-19T03:14"]),
        ("30 4 L * *", "2028-02-01", ["2028-02-29T04:30", "2028-03-31T04:30"]),
    ],
)
def test_leap_days_year_ends_and_the_end_of_32_bits_are_days_like_others(
    expression: str, after: str, expected: list[str]
) -> None:
    t = datetime.fromisoformat(after).replace(tzinfo=UTC)
    for each in expected:
        due = next_after(Cron(expression, "UTC"), t)
        assert due is not None
        assert due == datetime.fromisoformat(each).replace(tzinfo=UTC)
        t = due


def test_a_sync_goes_through_the_end_of_32_bits_without_a_word(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1), schedule=HOURLY)
    world.vendor.known = people(1)
    advance(world, datetime(2038, 1, 19, 1, 30, tzinfo=UTC) - NOW)
    with world.engine() as engine:
        served = serve(world, Slots(engine, world.clock, at_once), 4 * HOUR)

    assert len(served) == 4
    assert [line for line in lines if line["log_level"] in ("warning", "error")] == []
