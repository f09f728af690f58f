"""When a sync is due, as a pure value. The only importer of cronsim.

Two families that never mix:

- `Every` counts *elapsed* time from the Unix epoch, so neither a restart nor a change
  of clocks in some zone shifts it;
- `Cron` names *wall-clock* times of one zone (daily and weekday forms are built as it).

The rule for the two changes of clocks a year: a local time that is skipped runs at
the first instant after the gap, and a repeated one runs once, the first time. So a
daily run is neither lost nor doubled. A cron that runs in every hour (`*/15 * * * *`)
means real time: it runs in both passes of a repeated hour, and nothing is made up
after a gap, since the next hour's runs follow at once.

`Once` is due immediately if the sync never succeeded, and never again after that;
`Manual` is due only when a person says so. Neither has due *times*: the functions
below answer None for both, and the scheduler, which knows the runs, decides.

All instants are aware datetimes in UTC. Nothing here reads a clock.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_LONGEST_FOLD = timedelta(hours=3)
"""No zone repeats more than this since 2020 (Antarctica/Troll repeats two hours)."""
_A_LEAP_YEAR = datetime(2024, 1, 1)  # noqa: DTZ001 - wall-clock time without a zone
"""Where patterns are sampled from."""


@dataclass(frozen=True, slots=True)
class Every:
    """Each `period` of elapsed time since the epoch, shifted by `offset`."""

    period: timedelta
    offset: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Cron:
    """Five cron fields, read in the IANA zone `zone`."""

    expression: str
    zone: str


@dataclass(frozen=True, slots=True)
class Once:
    """One time: due at once while the sync never succeeded."""


@dataclass(frozen=True, slots=True)
class Manual:
    """Only by `syncd run`."""


Schedule = Every | Cron | Once | Manual


def next_after(schedule: Schedule, t: datetime) -> datetime | None:
    """The first due time strictly after `t`, UTC; None for `Once` and `Manual`."""
    match schedule:
        case Every(period, offset):
            passed = (t - EPOCH - offset) // period
            return EPOCH + offset + (passed + 1) * period
        case Cron(expression, zone):
            return _next_cron(expression, ZoneInfo(zone), t)
        case Once() | Manual():
            return None


def latest_at_or_before(schedule: Schedule, t: datetime) -> datetime | None:
    """The newest due time not after `t`, UTC; None for `Once` and `Manual`.

    Walks backwards from `t`, so it costs the same after an hour as after years.
    """
    match schedule:
        case Every(period, offset):
            return EPOCH + offset + (t - EPOCH - offset) // period * period
        case Cron(expression, zone):
            return _latest_cron(expression, ZoneInfo(zone), t)
        case Once() | Manual():
            return None


def shortest_period(schedule: Schedule) -> timedelta | None:
    """The smallest distance of two due times, changes of clocks aside.

    None for `Once` and `Manual`, which have no distance.
    """
    match schedule:
        case Every(period, _):
            return period
        case Cron(expression, _):
            return _shortest_distance(expression)
        case Once() | Manual():
            return None


def runs_every_hour(schedule: Cron) -> bool:
    """Whether it means real time (`*/15 * * * *`) rather than times of a day."""
    return _runs_every_hour(schedule.expression)


def describe(schedule: Schedule) -> str:
    """The normal form, as a person may type it: `daily at 03:00 Europe/Berlin`."""
    match schedule:
        case Every(period, offset):
            return f"every {duration_text(period)}{_shift_text(period, offset)}"
        case Cron(expression, zone):
            return f"{_clock_form(expression) or 'cron ' + expression} {zone}"
        case Once():
            return "once"
        case Manual():
            return "manual"


def explain(schedule: Schedule) -> str:
    """One sentence for somebody who does not read cron."""
    match schedule:
        case Every(period, offset):
            text = f"{duration_text(period)}{_shift_text(period, offset)}"
            return f"Every {text} of elapsed time, in any zone"
        case Cron(expression, zone):
            words = CronSim(expression, _A_LEAP_YEAR).explain()
            return f"{words}, {zone}{_either_day_note(expression)}"
        case Once():
            return "One time, as soon as possible, until it succeeded"
        case Manual():
            return "Only when somebody runs it"


def offset(instance: str, sync: str, jitter: timedelta) -> timedelta:
    """Whole seconds in [0, jitter) to add to each due time of this sync.

    From a hash of the names: the same after every restart, so runs keep their rhythm.
    """
    span = int(jitter.total_seconds())
    if span < 1:
        return timedelta(0)
    digest = hashlib.sha256(f"{instance}\0{sync}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % span)


def validate_cron(expression: str, zone: str) -> None:
    """Raise `ValueError`, in words for the person who wrote it, unless it is usable."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"'{zone}' is no IANA time zone; write it like Europe/Berlin or UTC"
        ) from None
    fields = expression.split()
    if len(fields) != 5:
        raise ValueError(
            f"cron needs five fields (minute hour day month weekday), got {len(fields)}"
        )
    try:
        first = next(CronSim(expression, _A_LEAP_YEAR), None)
    except CronSimError as error:
        what = str(error).removeprefix("Bad ")
        raise ValueError(f"bad {what} in cron '{expression}'") from None
    if first is None:
        raise ValueError(f"cron '{expression}' never comes")


def duration_text(value: timedelta) -> str:
    """`1h30m`, `2d`, `45s`: the way durations are written in the config."""
    left = int(value.total_seconds())
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


# --- wall-clock times to instants ---------------------------------------------------


def _next_cron(expression: str, zone: ZoneInfo, t: datetime) -> datetime | None:
    """Map local times forward from `t` until no later one can come earlier."""
    # In the hours before a repeated hour ends, an earlier local time may come again.
    again = max(timedelta(0), _offset_at(t, zone) - _offset_at(t + _LONGEST_FOLD, zone))
    start = _local(t, zone) - again
    best: datetime | None = None
    for local in CronSim(expression, start):
        if best is not None and _instant(local, zone, fold=0) >= best:
            return best
        later = [due for due in _dues(expression, local, zone) if due > t]
        best = min([*later, best] if best else later, default=None)
    return best


def _latest_cron(expression: str, zone: ZoneInfo, t: datetime) -> datetime | None:
    """Map local times backward from `t` until one lies at or before it."""
    # In the second pass of a repeated hour, all of the first pass lies behind.
    ahead = max(timedelta(0), _offset_at(t - _LONGEST_FOLD, zone) - _offset_at(t, zone))
    start = _local(t, zone) + ahead
    best: datetime | None = None
    for local in CronSim(expression, start + timedelta(seconds=1), reverse=True):
        if best is not None and _instant(local, zone, fold=1) <= best:
            return best
        earlier = [due for due in _dues(expression, local, zone) if due <= t]
        best = max([*earlier, best] if best else earlier, default=None)
    return best


def _dues(expression: str, local: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """The instants at which one local time of the pattern is due: none, one or two."""
    first = _instant(local, zone, fold=0)
    second = _instant(local, zone, fold=1)
    if first == second:
        yield first
    elif first < second:
        yield first
        if _runs_every_hour(expression):
            yield second
    elif not _runs_every_hour(expression):
        yield gap_end(second, first, zone)


def gap_end(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant with the new offset, between two that surround the change."""
    old = _offset_at(before, zone)
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        if _offset_at(middle, zone) == old:
            before = middle
        else:
            after = middle
    return after


def _local(t: datetime, zone: ZoneInfo) -> datetime:
    return t.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(local: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    return local.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _offset_at(t: datetime, zone: ZoneInfo) -> timedelta:
    # The zone arithmetic is done on UTC: an aware datetime in a zone ignores changes.
    offset_now = t.astimezone(zone).utcoffset()
    return offset_now if offset_now is not None else timedelta(0)


# --- patterns -----------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _runs_every_hour(expression: str) -> bool:
    return len(set(CronSim(expression, _A_LEAP_YEAR).hours)) == 24


@lru_cache(maxsize=1024)
def _shortest_distance(expression: str) -> timedelta | None:
    """Sampled over a bit more than a year, or 1,500 times; never fewer than two."""
    enough = _A_LEAP_YEAR + timedelta(days=400)
    shortest: timedelta | None = None
    sample = CronSim(expression, _A_LEAP_YEAR)
    for count, (one, two) in enumerate(pairwise(sample)):
        shortest = min(shortest or two - one, two - one)
        if two > enough or count > 1500:
            break
    return shortest


def _clock_form(expression: str) -> str:
    """`daily at 03:00`, `mon..fri at 06:30` where cron says only that, else nothing."""
    minute, hour, day, month, weekday = expression.split()
    if not (minute.isdecimal() and hour.isdecimal() and day == month == "*"):
        return ""
    clock = f"at {int(hour):02d}:{int(minute):02d}"
    if weekday == "*":
        return f"daily {clock}"
    names = [_weekday_name(part) for part in weekday.replace("-", ",-,").split(",")]
    if "" in names:
        return ""
    return f"{','.join(names).replace(',..,', '..')} {clock}"


def _weekday_name(part: str) -> str:
    days = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
    if part == "-":
        return ".."
    if part.isdecimal():
        return days[int(part)]
    return part.lower() if part.lower() in days else ""


def _shift_text(period: timedelta, offset_: timedelta) -> str:
    if not offset_:
        return ""
    if period % timedelta(hours=1) == timedelta(0) and offset_ < timedelta(hours=1):
        return f" at :{int(offset_.total_seconds()) // 60:02d}"
    return f" + {duration_text(offset_)}"


def _either_day_note(expression: str) -> str:
    """Say the classic trap: with both day fields set, either of them matches."""
    _, _, day, _, weekday = expression.split()
    if day.startswith("*") or weekday.startswith("*"):
        return ""
    return " (either day matches)"
