"""The two changes of clocks a year, in every zone, for every kind of schedule.

The oracle walks real minutes and reads the wall clock; it knows cron's five fields by
itself and shares no arithmetic with the product. The rule (A10): a local time that is
skipped runs once, at the first instant after the gap; a repeated one runs once, the
first time; what runs in every hour means real time. Short form: the odd zones and a
sample; `--long`: every change of every zone from 2020 to 2040.
"""

import random
import time as stopwatch
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cache, cached_property
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from syncd.config.schedule_text import cron, parse
from syncd.schedule import Cron, Every, Schedule, latest_at_or_before, next_after
from syncd.windows import Window, closed_until, next_end, window_at

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2041, 1, 1, tzinfo=UTC)
AROUND = 28 * HOUR
"""How far from a change is looked; the longest gap there ever was takes a day."""
DAYS = "mon tue wed thu fri sat sun".split()
ODD = {
    "Australia/Lord_Howe": "half an hour",
    "Africa/Casablanca": "four changes a year, around Ramadan",
    "Antarctica/Troll": "two hours",
    "Asia/Beirut": "at midnight",
    "America/Havana": "at midnight, and the repeated hour is the day's first",
    "Africa/Cairo": "at midnight, again since 2023",
    "America/Nuuk": "on a Saturday",
    "America/Scoresbysund": "the offset moves as well",
    "Asia/Gaza": "around Ramadan",
    "Europe/Dublin": "winter time is the one that saves",
    "Pacific/Norfolk": "a half-hour zone",
}
SKIPPED_DAYS = {
    "Pacific/Apia": datetime(2011, 12, 30, 10, tzinfo=UTC),
    "Pacific/Kiritimati": datetime(1994, 12, 31, 10, tzinfo=UTC),
}
"""A whole local day that never was."""
SAMPLE = 40
SEED = 16


@dataclass(frozen=True)
class Change:
    """One change of clocks of one zone, and the real minutes around it."""

    zone: str
    at: datetime

    def __str__(self) -> str:
        return f"{self.zone} {self.at:%Y-%m-%dT%H:%MZ}"

    @cached_property
    def minutes(self) -> list[tuple[datetime, datetime]]:
        """(real, wall) of each minute."""
        start, zone = self.at - AROUND, ZoneInfo(self.zone)
        real = (start + n * MINUTE for n in range(2 * AROUND // MINUTE + 1))
        return [(t, t.astimezone(zone).replace(tzinfo=None, fold=0)) for t in real]

    @cached_property
    def shown(self) -> dict[datetime, list[datetime]]:
        """Wall time -> the real minutes that show it, in order."""
        found: dict[datetime, list[datetime]] = {}
        for real, wall in self.minutes:
            found.setdefault(wall, []).append(real)
        return found

    def reached(self, wall: datetime) -> datetime:
        """The first real minute that shows this time, or else the end of the gap."""
        if wall in self.shown:
            return self.shown[wall][0]
        return next(
            after[0]
            for before, after in zip(self.minutes, self.minutes[1:], strict=False)
            if before[1] < wall < after[1]
        )

    def left(self, wall: datetime) -> datetime:
        """The last real minute that shows this time, or else the end of the gap."""
        return self.shown[wall][-1] if wall in self.shown else self.reached(wall)

    @cached_property
    def known(self) -> frozenset[datetime]:
        """The same, to look into."""
        return frozenset(self.walls)

    @cached_property
    def walls(self) -> list[datetime]:
        """Every wall minute of these days, those that never were as well."""
        first, last = self.minutes[0][1], self.minutes[-1][1]
        return [first + n * MINUTE for n in range((last - first) // MINUTE + 1)]


# ---- cron, as its manual has it ------------------------------------------------------


@cache
def values(field: str, first: int, last: int) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start, end = (first, last) if low == "*" else (int(low), int(high or low))
        found |= set(range(start, end + 1, int(step or 1)))
    return frozenset(found)


def matches(expression: str, wall: datetime) -> bool:
    """Whether these five fields name this minute; not both day fields at once."""
    minute, hour, day, month, weekday = expression.split()
    return (
        wall.minute in values(minute, 0, 59)
        and wall.hour in values(hour, 0, 23)
        and wall.day in values(day, 1, 31)
        and wall.month in values(month, 1, 12)
        and wall.isoweekday() % 7 in {each % 7 for each in values(weekday, 0, 7)}
    )


def wanted(schedule: Schedule, change: Change) -> list[datetime]:
    """The due times by the rule, from the walk."""
    start, end = change.minutes[0][0], change.minutes[-1][0]
    if isinstance(schedule, Every):
        since = (t - datetime(1970, 1, 1, tzinfo=UTC) for t, _ in change.minutes)
        moments = zip(change.minutes, since, strict=True)
        return [
            t
            for (t, _), age in moments
            if age % schedule.period == schedule.offset and start < t
        ]
    assert isinstance(schedule, Cron)
    if len(values(schedule.expression.split()[1], 0, 23)) == 24:
        found = {t for t, wall in change.minutes if matches(schedule.expression, wall)}
    else:
        named = [w for w in change.walls if matches(schedule.expression, w)]
        found = {change.reached(wall) for wall in named}
    return sorted(t for t in found if start < t <= end)


# ---- which changes -------------------------------------------------------------------


def changes_of(name: str) -> Iterator[datetime]:
    """The first minute of each new offset, 2020 to 2040."""
    zone, step, at = ZoneInfo(name), 7 * DAY, FIRST
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


def all_changes() -> list[Change]:
    """Of one zone for each history since 2020: the others are other names for it."""
    known: dict[tuple[object, ...], str] = {}
    moments: dict[str, tuple[datetime, ...]] = {}
    for name in sorted(available_timezones() - {"localtime"}):
        zone, moments[name] = ZoneInfo(name), tuple(changes_of(name))
        kinds = (at.astimezone(zone).utcoffset() for at in (FIRST, *moments[name]))
        known.setdefault((moments[name], *kinds), name)
    return [Change(name, at) for name in known.values() for at in moments[name]]


def chosen(*, long: bool) -> list[Change]:
    """Every change, or those of the odd zones in some years and a sample."""
    skipped = [Change(name, at) for name, at in SKIPPED_DAYS.items()]
    if long:
        return skipped + all_changes()
    names = sorted(available_timezones() - {"localtime"})
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    odd: list[Change] = []
    for name in ODD:
        found = [Change(name, at) for at in changes_of(name)]
        odd += dice.sample(found, min(4, len(found)))
    drawn: list[Change] = []
    while len(drawn) < SAMPLE:
        name = dice.choice(names)
        if moments := list(changes_of(name)):
            drawn.append(Change(name, dice.choice(moments)))
    return skipped + odd + drawn


@pytest.fixture(scope="module")
def changes(pytestconfig: pytest.Config) -> list[Change]:
    return chosen(long=bool(pytestconfig.getoption("--long")))


def told(began: float, changes: list[Change], what: str) -> None:
    """For `pytest -s`."""
    zones = len({each.zone for each in changes})
    took = stopwatch.monotonic() - began
    print(f"\n{what}: {len(changes):,} changes of {zones} zones in {took:.0f} s")


# ---- due times -----------------------------------------------------------------------


def clocks(change: Change) -> list[time]:
    """Times of day that a change may hit: its edges, its inside, and midnight."""
    index = bisect_right(change.minutes, change.at, key=lambda each: each[0]) - 1
    before, after = change.minutes[index - 1][1], change.minutes[index][1]
    inside = min(before, after) + abs(after - before) / 2
    near = (before, after, inside.replace(second=0), before + MINUTE, after - MINUTE)
    return sorted({each.time() for each in near} | {time(0)})


def schedules(change: Change) -> Iterator[Schedule]:
    """Every kind, as a person writes it, where the change may hit it."""
    zone = change.zone
    wall = change.at.astimezone(ZoneInfo(zone))
    day = DAYS[wall.weekday()]
    for clock in clocks(change):
        yield parse(f"daily at {clock:%H:%M} {zone}", timezone="UTC")
    yield parse(
        f"{day},{DAYS[wall.weekday() - 3]} at {clocks(change)[-1]:%H:%M}", timezone=zone
    )
    hour, fields = wall.hour, f"{wall.day} {wall.month} *"
    some = f"{min(hour, 21)}-{min(hour, 21) + 2}"
    for expression in (
        "*/15 * * * *",
        "7-59/30 * * * *",
        "5 */2 * * *",
        f"*/20 {some} * * *",
        f"10,50 {(hour - 1) % 24},{hour} * * *",
        f"30 {hour} {fields}",
        f"0 0 {fields}",
    ):
        yield cron(expression, timezone=zone)
    for text in ("hourly", "every 45m", "every 1h at :10", "every 36h"):
        yield parse(text, timezone=zone)


def dues(schedule: Schedule, change: Change) -> list[datetime]:
    """What the product says, one after the other."""
    found, end = [], change.minutes[-1][0]
    t = next_after(schedule, change.minutes[0][0])
    while t is not None and t <= end:
        found.append(t)
        t = next_after(schedule, t)
    return found


def test_a_skipped_time_runs_once_after_the_gap_and_a_repeated_one_once(
    changes: list[Change],
) -> None:
    began = stopwatch.monotonic()
    for change in map(replace, changes):  # a copy forgets its walk at once
        for schedule in schedules(change):
            expected = wanted(schedule, change)

            assert dues(schedule, change) == expected, (str(change), schedule)
            for t in sorted({*expected, change.at, change.at + 31 * MINUTE}):
                earlier = [each for each in expected if each <= t]
                if earlier:
                    newest = latest_at_or_before(schedule, t)
                    assert newest == earlier[-1], (str(change), schedule, t)
    told(began, changes, "due times")


# ---- blackouts -----------------------------------------------------------------------


def blackouts(change: Change) -> Iterator[tuple[Window, ...]]:
    """Windows that a change opens, closes, shortens, doubles or swallows."""
    today = change.at.astimezone(ZoneInfo(change.zone)).date()
    edges = clocks(change)

    def window(start: time, end: time, **more: Any) -> Window:
        return Window(name="w", zone=change.zone, start=start, end=end, **more)

    for start in edges:
        end, later = (
            (datetime.combine(today, start) + n * MINUTE).time() for n in (95, 200)
        )
        yield (window(start, end),)
        yield (window(end, start, first=today, last=today),)
        yield (window(start, end), window(end, later))
    yield (window(time(0), time(0), first=today, last=today),)
    yield (window(time(22), edges[1], days=(today.weekday(),)),)


def pieces(
    windows: tuple[Window, ...], change: Change
) -> list[tuple[datetime, datetime]]:
    """When they are closed by the rule, from the walk.

    A piece opens when its time is first reached and closes when it is last left.
    """
    found = []
    for window in windows:
        for day in sorted({wall.date() for wall in change.walls}):
            end_day = day if window.end > window.start else day + DAY
            opens = datetime.combine(day, window.start)
            closes = datetime.combine(end_day, window.end)
            if window.opens_on(day) and opens in change.known:
                end = change.left(closes) if closes in change.known else LAST
                found.append((change.reached(opens), end))
    return found


def end_of(closed: list[tuple[datetime, datetime]], t: datetime) -> datetime | None:
    """When what `t` lies in is over, pieces that touch being one."""
    end = t
    while ends := [closes for opens, closes in closed if opens <= end < closes]:
        end = max(ends)
    return end if end > t else None


def test_a_blackout_is_one_piece_from_first_reached_to_last_left(
    changes: list[Change],
) -> None:
    began = stopwatch.monotonic()
    for change in map(replace, changes):
        # Nearer to the edge of the walk a piece may have opened before it.
        near = [change.at + n * MINUTE for n in (-120, -61, -30, -1, 0, 1, 29, 60, 125)]
        for windows in blackouts(change):
            closed = pieces(windows, change)
            for t in near:
                expected, where = end_of(closed, t), (str(change), windows, t)
                end = closed_until(windows, t)
                if expected == LAST:  # beyond the walk
                    assert end is not None, where
                    assert end > change.minutes[-1][0], where
                    continue
                assert end == expected, where
                assert (window_at(windows, t) is None) == (expected is None), where
                if expected is not None:
                    assert next_end(windows, t) == expected, where
    told(began, changes, "blackouts")
