"""The schedule grammar: what a person writes, to a `syncd.schedule` value.

    hourly · every 90m · every 1h at :10         elapsed time, anchored at the epoch
    daily · daily at 03:00 · daily at 03:00 Europe/Berlin
    weekdays at 06:30 · mon,thu at 07:15 · mon..fri at 07:15     wall clock in a zone
    {cron: "25 */6 * * *", timezone: UTC}        five fields
    once · manual

The two families never mix: 'every' counts elapsed time, 'at HH:MM' names a time of
day. Nothing runs more often than every 5 minutes.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from syncd.config.values import parse_duration
from syncd.schedule import (
    Cron,
    Every,
    Manual,
    Once,
    Schedule,
    shortest_period,
    validate_cron,
)

SHORTEST = timedelta(minutes=5)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = frozenset(DAYS)
_HOUR = timedelta(hours=1)

_EVERY = re.compile(r"every (?P<period>\S+)(?: at (?P<at>\S+)(?: (?P<zone>\S+))?)?")
_CLOCK = re.compile(r"(?P<days>\S+)(?: at (?P<at>\S+))?(?: (?P<zone>\S+))?")
_TIME = re.compile(r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)")
_MINUTE = re.compile(r":(?P<minute>[0-5]\d)")
_WHOLE = "'hourly', 'every 90m', 'daily at 03:00', 'mon..fri at 07:15', 'manual'"


@dataclass(frozen=True, slots=True)
class BadSchedule(Exception):
    """A text outside the grammar; `{text}` stands for what was written."""

    code: str
    message: str
    hint: str


def parse(text: str, *, timezone: str) -> Schedule:
    """The schedule a text means, wall-clock forms in `timezone` unless it names one.

    Raises `BadSchedule`. Words may be written in any case.
    """
    words = " ".join(text.split())
    lower = words.lower()
    if lower == "once":
        return Once()
    if lower == "manual":
        return Manual()
    if lower == "hourly" or lower.startswith("hourly at "):
        lower = lower.replace("hourly", "every 1h", 1)
    if found := _EVERY.fullmatch(lower):
        return _every(found)
    if found := _CLOCK.fullmatch(words):
        return _wall_clock(found, timezone)
    raise _unknown()


def cron(expression: str, *, timezone: str) -> Cron:
    """A five-field cron expression in a zone. Raises `BadSchedule`."""
    fields = " ".join(expression.split())
    try:
        validate_cron(fields, timezone)
    except ValueError as error:
        hint = "minute hour day month weekday"
        raise BadSchedule("schedule.cron", str(error), hint) from None
    schedule = Cron(fields, timezone)
    period = shortest_period(schedule)
    if period is not None and period < SHORTEST:
        raise _too_short()
    return schedule


def _every(found: re.Match[str]) -> Schedule:
    period_text = found["period"]
    if found["at"] is not None and not _MINUTE.fullmatch(found["at"]):
        raise _mixed(period_text, found["at"])
    if found["zone"] is not None:
        message = "'every' counts elapsed time and has no time zone"
        raise BadSchedule("schedule.mixed", message, f"'every {period_text}'")
    if period_text.isdecimal():
        hint = f"did you mean 'every {period_text}m'?"
        raise BadSchedule("duration.no_unit", f"{period_text} has no unit", hint)
    try:
        period = parse_duration(period_text)
    except ValueError:
        raise _unknown() from None
    if period < SHORTEST:
        raise _too_short()
    return Every(period, _offset(period, found["at"]))


def _offset(period: timedelta, at: str | None) -> timedelta:
    if at is None:
        return timedelta(0)
    if period % _HOUR:
        message = "'at :MM' goes with whole hours only"
        raise BadSchedule("schedule.offset", message, "'every 1h at :10'")
    return timedelta(minutes=int(at[1:]))


def _wall_clock(found: re.Match[str], timezone: str) -> Schedule:
    days = days_in(found["days"].lower())
    if days is None:
        raise _unknown()
    at = found["at"]
    if at is None and days != _EVERY_DAY:
        message = "these days need a time of day"
        raise BadSchedule("schedule.no_time", message, "'weekdays at 06:30'")
    time = _TIME.fullmatch(at or "00:00")
    if time is None:
        message = "this is not a time of day"
        raise BadSchedule("schedule.time", message, "write it like 03:00, 24 hours")
    zone = found["zone"] or timezone
    if not _is_zone(zone):
        hint = "write it like Europe/Berlin or UTC"
        raise BadSchedule("timezone.unknown", "this is no IANA time zone", hint)
    fields = f"{int(time['minute'])} {int(time['hour'])} * * {_weekday_field(days)}"
    return Cron(fields, zone)


def days_in(text: str) -> frozenset[str] | None:
    """`mon..fri`, `mon,thu`, `daily`, `weekdays`, `weekends`; None for other words."""
    if text == "daily":
        return _EVERY_DAY
    if text == "weekdays":
        return frozenset(DAYS[:5])
    chosen: set[str] = set()
    for part in text.split(","):
        first, _, last = part.partition("..")
        last = last if ".." in part else first
        if first not in DAYS or last not in DAYS:
            return None
        start, end = DAYS.index(first), DAYS.index(last)
        # sat..mon goes round the end of the week.
        span = range(start, end + 1 if end >= start else end + 8)
        chosen.update(DAYS[day % 7] for day in span)
    return frozenset(chosen)


def _weekday_field(days: frozenset[str]) -> str:
    if days == _EVERY_DAY:
        return "*"
    if days == frozenset(DAYS[:5]):
        return "1-5"
    # Cron counts from Sunday = 0.
    return ",".join(sorted(str((DAYS.index(day) + 1) % 7) for day in days))


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _mixed(period: str, at: str) -> BadSchedule:
    daily = f" or 'daily at {at}'" if _TIME.fullmatch(at) else ""
    hint = f"'every {period}', 'every {period} at :00'{daily}"
    message = "'{text}' mixes interval and clock time"
    return BadSchedule("schedule.mixed", message, hint)


def _too_short() -> BadSchedule:
    message = "the shortest interval is 5 minutes"
    return BadSchedule("schedule.too_short", message, "'every 5m'")


def _unknown() -> BadSchedule:
    return BadSchedule("schedule.unknown", "this is not a schedule", f"try {_WHOLE}")
