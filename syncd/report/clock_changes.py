"""What the next changes of clocks do to a wall-clock schedule, in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from syncd.schedule import Cron, Schedule, next_after, runs_every_hour

AHEAD = timedelta(days=366)
"""How far notes look: a year has both changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of clocks: at `at` the wall goes from `before` to `after`."""

    at: datetime
    before: datetime
    after: datetime


def notes(schedule: Schedule, now: datetime) -> list[str]:
    """One sentence for each change in the next year that moves or doubles a run."""
    if not isinstance(schedule, Cron) or runs_every_hour(schedule):
        return []
    zone = ZoneInfo(schedule.zone)
    said = (_note(schedule, change) for change in _changes(zone, now, now + AHEAD))
    return [note for note in said if note]


def _note(schedule: Cron, change: Change) -> str:
    skipped = change.before < change.after
    low, high = sorted((change.before, change.after))
    clocks = list(_local_times(schedule, low, high))
    if not clocks:
        return ""
    day = f"{low:%a} {low.day} {low:%b} {low.year}"
    times = ", ".join(f"{clock:%H:%M}" for clock in clocks[:3])
    if len(clocks) > 3:
        times += f" and {len(clocks) - 3} more"
    many = len(clocks) > 1
    if skipped:
        verb = "do not exist" if many else "does not exist"
        return f"{times} {verb} on {day}: runs once, at {high:%H:%M}"
    return f"{times} {'come' if many else 'comes'} twice on {day}: runs the first time"


def _local_times(schedule: Cron, low: datetime, high: datetime) -> Iterator[datetime]:
    """The local times of the pattern in [low, high), read as if they were UTC."""
    unchanging = Cron(schedule.expression, "UTC")
    t = next_after(unchanging, low - timedelta(seconds=1))
    while t is not None and t < high:
        yield t
        t = next_after(unchanging, t)


def _changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Change]:
    at = start
    while at < end:
        following = at + timedelta(days=1)
        if _offset(at, zone) != _offset(following, zone):
            yield _between(at, following, zone)
        at = following


def _between(low: datetime, high: datetime, zone: ZoneInfo) -> Change:
    old = _offset(low, zone)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if _offset(middle, zone) == old else (low, middle)
    at = high.replace(microsecond=0)
    return Change(at=at, before=at + old, after=at + _offset(at, zone))


def _offset(t: datetime, zone: ZoneInfo) -> timedelta:
    return t.astimezone(zone).utcoffset() or timedelta(0)
