"""Numbers, spans and moments the way the product says them to people."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def number(value: int) -> str:
    """`48,489`."""
    return f"{value:,}"


def signed(value: int) -> str:
    """`+412`, `-9,870`, `0`."""
    return f"{value:+,}" if value else "0"


def plural(count: int, noun: str) -> str:
    """`1 sync`, `1,000 syncs`; `batch` and the like take `es`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "ch", "x")) else "s"
    return f"{number(count)} {noun}{ending}"


def span(value: timedelta) -> str:
    """`84 ms`, `1.6 s`, `1 m 05 s`, `4 h 45 m`, `6 d 2 h`: two units at most."""
    seconds = value.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} m" + (f" {whole % 60:02d} s" if whole % 60 else "")
    if whole < 86400:
        return f"{whole // 3600} h" + _rest(whole % 3600 // 60, "m")
    return f"{whole // 86400} d" + _rest(whole % 86400 // 3600, "h")


def relative(t: datetime, now: datetime) -> str:
    """`12 s ago`, `1 h 37 m ago`, `in 31 m`, `now`; whole seconds."""
    away = timedelta(seconds=round(abs((t - now).total_seconds())))
    if not away:
        return "now"
    return f"in {span(away)}" if t > now else f"{span(away)} ago"


def moment(t: datetime, now: datetime, zone: str, *, seconds: bool = False) -> str:
    """Local time, as short as it stays clear: `12:12 CEST`, `Wed 03:01 CEST`.

    Beyond six days the date is added: `Wed 29 Jul 03:01 CEST`, then the year.
    """
    local, today = t.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone))
    clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    days = abs((local.date() - today.date()).days)
    if days == 0:
        day = ""
    elif days <= 6:
        day = f"{local:%a} "
    else:
        day = f"{local:%a} {local.day} {local:%b} "
        day += f"{local.year} " if local.year != today.year else ""
    return f"{day}{clock} {zone_name(local)}"


def dated(t: datetime, zone: str) -> str:
    """Local time to the second with its date: `Wed 13 May 03:01:05 CEST`."""
    local = t.astimezone(ZoneInfo(zone))
    return f"{local:%a} {local.day:>2} {local:%b %H:%M:%S} {zone_name(local)}"


def unchanged_words(since: str) -> str:
    """`unchanged since 2026-07-29 03:01 UTC, not read again`, of a run's
    `unchanged_since`: an instant, or nothing where the source does not say when."""
    when = "the last plan"
    if since:
        when = f"{datetime.fromisoformat(since).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"unchanged since {when}, not read again"


def zone_name(local: datetime) -> str:
    """`CEST`; zones without letters show their offset: `+0530`."""
    return local.tzname() or "UTC"


def utc_clock(t: datetime, zone: str) -> str:
    """`01:01:05Z`; with the weekday where it is another day in `zone`."""
    utc = t.astimezone(UTC)
    same_day = utc.date() == t.astimezone(ZoneInfo(zone)).date()
    return f"{utc:%H:%M:%SZ}" if same_day else f"{utc:%a %H:%M:%SZ}"


def _rest(count: int, unit: str) -> str:
    return f" {count} {unit}" if count else ""
