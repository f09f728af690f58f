"""The laws of due times, over every zone and every change of clocks 2020 to 2040.

The oracles walk real minutes and look at the wall clock; they share no arithmetic with
the product. Nothing here freezes time: freezegun loses the fold of a repeated hour.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.schedule import (
    Cron,
    Every,
    Schedule,
    latest_at_or_before,
    next_after,
    offset,
    shortest_period,
)

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)
unhurried = settings(deadline=None)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@lru_cache(maxsize=1)
def zones_and_changes() -> dict[str, tuple[datetime, ...]]:
    """One zone for each distinct history since 2020, with its changes of offset."""
    distinct: dict[tuple[object, ...], tuple[str, tuple[datetime, ...]]] = {}
    for name in sorted(available_timezones() - {"localtime"}):
        zone = ZoneInfo(name)
        changes = tuple(changes_of(zone))
        history = (FIRST.astimezone(zone).utcoffset(), changes, *offsets(zone, changes))
        distinct.setdefault(history, (name, changes))
    return dict(distinct.values())


def offsets(zone: ZoneInfo, changes: tuple[datetime, ...]) -> Iterator[object]:
    return (change.astimezone(zone).utcoffset() for change in changes)


def changes_of(zone: ZoneInfo) -> Iterator[datetime]:
    step, at = timedelta(days=7), FIRST
    while at < LAST:
        before = at.astimezone(zone).utcoffset()
        if (at + step).astimezone(zone).utcoffset() != before:
            low, high = at, at + step
            while high - low > MINUTE:
                middle = low + (high - low) // (2 * MINUTE) * MINUTE
                same = middle.astimezone(zone).utcoffset() == before
                low, high = (middle, high) if same else (low, middle)
            yield high
        at += step


def wall(t: datetime, zone: ZoneInfo) -> datetime:
    return t.astimezone(zone).replace(tzinfo=None, fold=0)


def first_reached(day: date, clock: time, zone: ZoneInfo, around: datetime) -> datetime:
    """The first real minute at which the wall clock shows this time or a later one."""
    goal = datetime.combine(day, clock)
    t = around - 2 * DAY
    while wall(t, zone) < goal - DAY / 4:  # coarse, then minute by minute
        t += DAY / 8
    while wall(t, zone) < goal:
        t += MINUTE
    return t


def dues(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    found = []
    t = next_after(schedule, start)
    while t is not None and t <= end:
        found.append(t)
        t = next_after(schedule, t)
    return found


ZONES = sorted(zones_and_changes())
changing = [name for name in ZONES if zones_and_changes()[name]]
a_zone = st.sampled_from(ZONES)
a_clock = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
an_instant = st.integers(0, int((LAST - FIRST).total_seconds())).map(
    lambda seconds: FIRST + timedelta(seconds=seconds)
)


@st.composite
def zone_and_change(draw: st.DrawFn) -> tuple[ZoneInfo, datetime]:
    name = draw(st.sampled_from(changing))
    return ZoneInfo(name), draw(st.sampled_from(zones_and_changes()[name]))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    minute = draw(
        st.sampled_from(["0", "30", "59", "*/15", "5,35", "0-10/5", "*/7", "*"])
    )
    hour = draw(st.sampled_from(["*", "0", "1", "2", "23", "1-3", "*/6", "0,2", "*/1"]))
    day = draw(st.sampled_from(["*", "*", "1", "*/2", "L", "28-31"]))
    weekday = draw(st.sampled_from(["*", "*", "0", "sun", "1-5", "MON#2", "7"]))
    return f"{minute} {hour} {day} * {weekday}"


def test_no_daily_run_is_lost_or_doubled_at_any_change_of_any_zone() -> None:
    for name in changing:
        zone = ZoneInfo(name)
        for change in zones_and_changes()[name]:
            # The last minute before the change and the first after it, as walls show.
            edges = {wall(change - MINUTE, zone).time(), wall(change, zone).time()}
            inside = (wall(change, zone) - timedelta(minutes=15)).time()
            for clock in {*edges, inside, time(0, 0)}:
                daily = Cron(f"{clock.minute} {clock.hour} * * *", name)

                runs = dues(daily, change - 2 * DAY, change + 2 * DAY)

                gaps = [two - one for one, two in pairwise(runs)]
                assert all(DAY * 0.87 <= gap <= DAY * 1.13 for gap in gaps), (
                    name,
                    daily,
                )
                assert 3 <= len(runs) <= 5


@unhurried
@given(zone_and_change(), a_clock)
def test_a_daily_run_comes_when_the_wall_clock_first_reaches_its_time(
    where: tuple[ZoneInfo, datetime], clock: time
) -> None:
    zone, change = where
    daily = Cron(f"{clock.minute} {clock.hour} * * *", zone.key)
    day = wall(change, zone).date()
    expected = first_reached(day, clock, zone, change)

    assert next_after(daily, expected - MINUTE) == expected
    assert latest_at_or_before(daily, expected) == expected


@unhurried
@given(zone_and_change())
def test_every_real_quarter_runs_through_a_change(
    where: tuple[ZoneInfo, datetime],
) -> None:
    zone, change = where
    start, end = change - DAY / 4, change + DAY / 4
    quarters = Cron("*/15 * * * *", zone.key)

    runs = dues(quarters, start, end)

    real = [start + n * MINUTE for n in range(1, 12 * 60 + 1)]
    assert runs == [t for t in real if wall(t, zone).minute % 15 == 0]


@unhurried
@given(a_zone, expressions(), an_instant)
def test_next_after_strictly_rises(name: str, expression: str, t: datetime) -> None:
    schedule = Cron(expression, name)

    one = next_after(schedule, t)

    assert one is not None
    assert t < one
    two = next_after(schedule, one)
    assert two is not None
    assert one < two


@unhurried
@given(zone_and_change(), expressions(), st.integers(-300, 300))
def test_the_newest_due_time_agrees_with_the_next_one(
    where: tuple[ZoneInfo, datetime], expression: str, minutes: int
) -> None:
    zone, change = where
    t = change + minutes * MINUTE
    schedule = Cron(expression, zone.key)

    latest = latest_at_or_before(schedule, t)

    assert latest is not None
    assert latest <= t
    following = next_after(schedule, latest)
    assert following == next_after(schedule, t)
    assert following is not None
    assert latest_at_or_before(schedule, following - MINUTE / 60) == latest
    assert latest_at_or_before(schedule, following) == following


@unhurried
@given(zone_and_change(), expressions(), st.integers(-300, 300), st.integers(0, 300))
def test_it_does_not_matter_from_where_one_looks_ahead(
    where: tuple[ZoneInfo, datetime], expression: str, minutes: int, later: int
) -> None:
    zone, change = where
    t = change + minutes * MINUTE
    schedule = Cron(expression, zone.key)
    due = next_after(schedule, t)
    assert due is not None

    seen_later = next_after(schedule, min(t + later * MINUTE, due - MINUTE / 60))

    assert seen_later == due


@unhurried
@given(
    st.integers(1, 10_000),
    st.integers(0, 10_000),
    an_instant,
    st.integers(0, 1_000_000),
)
def test_elapsed_time_is_anchored_at_the_epoch_whenever_one_asks(
    period: int, shift: int, t: datetime, seconds: int
) -> None:
    schedule = Every(period * MINUTE, shift % period * MINUTE)
    due = next_after(schedule, t)
    assert due is not None

    since_epoch = due - datetime(1970, 1, 1, tzinfo=UTC) - schedule.offset
    restarted_at = min(t + timedelta(seconds=seconds), due - timedelta(microseconds=1))

    assert since_epoch % schedule.period == timedelta(0)
    assert t < due <= t + schedule.period
    assert next_after(schedule, restarted_at) == due
    assert latest_at_or_before(schedule, due) == due
    assert latest_at_or_before(schedule, t) == due - schedule.period


@unhurried
@given(expressions(), an_instant)
def test_no_two_due_times_are_closer_than_the_shortest_period(
    expression: str, t: datetime
) -> None:
    schedule = Cron(expression, "UTC")
    one = next_after(schedule, t)
    assert one is not None
    two = next_after(schedule, one)
    assert two is not None

    shortest = shortest_period(schedule)

    assert shortest is not None
    assert two - one >= shortest


@unhurried
@given(st.text(), st.text(), st.timedeltas(timedelta(0), timedelta(days=2)))
def test_jitter_is_the_same_every_time_and_below_its_limit(
    instance: str, sync: str, jitter: timedelta
) -> None:
    shift = offset(instance, sync, jitter)

    assert shift == offset(instance, sync, jitter)
    assert timedelta(0) <= shift < max(jitter, timedelta(seconds=1))
