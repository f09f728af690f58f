"""The keys of `windows:`, and what their texts mean."""

import re
from datetime import date, time
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from syncd.config.schedule_text import DAYS, days_in
from syncd.config.shape import Shape
from syncd.config.values import Zone, refuse

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)|24:00")


_FIRST, _LAST = date(1970, 1, 1), date(2999, 12, 31)
"""A year further, and there are dates left for the days around these."""


def _dates(value: Any) -> Any:
    """`2026-06-29..2026-07-01`, or one day alone."""
    first, _, last = (value if isinstance(value, str) else "").partition("..")
    try:
        opens = date.fromisoformat(first)
        closes = date.fromisoformat(last or first)
    except ValueError:
        hint = "write it like 2026-06-29..2026-07-01, or 2026-06-29"
        refuse("window.dates", "these are no dates", hint=hint)
    if opens < _FIRST or closes > _LAST:
        hint = f"between {_FIRST} and {_LAST}"
        refuse("window.dates", "nobody means these years", hint=hint)
    if closes < opens:
        hint = f"'{closes}..{opens}'"
        refuse("window.reversed", "this ends before it begins", hint=hint)
    return opens, closes


def _days(value: Any) -> Any:
    found = days_in(value.lower()) if isinstance(value, str) else None
    if found is None:
        hint = "write it like mon..fri, sat,sun, weekdays or daily"
        refuse("window.days", "these are no days of the week", hint=hint)
    return tuple(sorted(DAYS.index(day) for day in found))


def clock_time(text: str) -> time | None:
    """`01:30`; `24:00` is the midnight at the end of a day. None for other texts."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    hour, minute = (int(part) for part in text.split(":"))
    return time(hour % 24, minute)


def _time(value: Any) -> Any:
    found = clock_time(value) if isinstance(value, str) else None
    if found is None:
        hint = "write it like '01:30', 24 hours"
        refuse("window.time", "this is not a time of day", hint=hint)
    return found


Dates = Annotated[
    tuple[date, date], BeforeValidator(_dates, json_schema_input_type=str)
]
Days = Annotated[tuple[int, ...], BeforeValidator(_days, json_schema_input_type=str)]
ClockTime = Annotated[time, BeforeValidator(_time, json_schema_input_type=str)]


class WindowShape(Shape):
    """One piece of a window; without times it covers its days whole."""

    dates: Dates | None = None
    days: Days | None = None
    from_: ClockTime | None = Field(default=None, alias="from")
    to: ClockTime | None = None
    timezone: Zone | None = None
