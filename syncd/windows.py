"""Blackout windows: when no run may begin, as pure values.

A window is wall-clock time of one zone: it opens at `start` on each of its days and
closes at the next `end` on the wall, on the following day where that is not later
than `start`. Without times it covers its days whole.

The two changes of clocks a year: a time that is skipped counts as the first instant
after the gap (so a window that lies within the gap does not exist that day), and
where a time is repeated the window opens the first time and closes the second time.
So a window is one piece, and never shorter than what the wall says.

Windows that touch or overlap are one blackout. All instants are aware datetimes in
UTC. Nothing here reads a clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from syncd.schedule import gap_end

_DAY = timedelta(days=1)
_EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
_A_MONDAY = date(2026, 1, 5)
LONGEST = timedelta(days=366)
"""A blackout that lasts longer counts as one without an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One piece of a named window."""

    name: str
    zone: str
    first: date | None = None
    """The first day on which it opens; None: it always did."""
    last: date | None = None
    """The last day on which it opens; None: it always will."""
    days: tuple[int, ...] = _EVERY_DAY
    """Weekdays on which it opens, Monday is 0."""
    start: time = time(0)
    end: time = time(0)

    def opens_on(self, day: date) -> bool:
        """Whether this local day is one of its days."""
        if self.first is not None and day < self.first:
            return False
        if self.last is not None and day > self.last:
            return False
        return day.weekday() in self.days


@dataclass(frozen=True, slots=True)
class _Piece:
    opens: datetime
    closes: datetime


def window_at(windows: Sequence[Window], t: datetime) -> Window | None:
    """The window that `t` lies in, of several the one that closes last."""
    found = [
        (piece.closes, window)
        for window in windows
        if (piece := _piece_at(window, t)) is not None
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def closed_until(windows: Sequence[Window], t: datetime) -> datetime | None:
    """The end of the blackout that `t` lies in; None outside of all windows.

    Of a blackout without an end, an instant more than `LONGEST` away.
    """
    end = t
    while end - t <= LONGEST:
        inside = [_piece_at(window, end) for window in windows]
        closes = [piece.closes for piece in inside if piece is not None]
        if not closes:
            break
        end = max(closes)
    return end if end > t else None


def next_end(windows: Sequence[Window], t: datetime) -> datetime | None:
    """The first instant after `t` at which a blackout ends; None if none is to come."""
    end = closed_until(windows, t)
    if end is not None:
        return end
    openings = [piece.opens for window in windows for piece in _pieces_after(window, t)]
    return closed_until(windows, min(openings)) if openings else None


def longest(windows: Sequence[Window]) -> timedelta:
    """How long the longest blackout of these windows lasts."""
    spans = [
        end - opens
        for window in windows
        for opens in _samples(window)
        if (end := closed_until(windows, opens)) is not None
    ]
    return max(spans, default=timedelta(0))


# --- pieces of a window ---------------------------------------------------------------


def _piece_at(window: Window, t: datetime) -> _Piece | None:
    """The piece of a window in which `t` lies."""
    today = t.astimezone(ZoneInfo(window.zone)).date()
    # At most a day long on the wall, it opened today or yesterday. A change of clocks
    # at midnight may lengthen what opened the day before that.
    for back in range(3):
        piece = _piece(window, today - back * _DAY)
        if piece is not None and piece.opens <= t < piece.closes:
            return piece
    return None


def _pieces_after(window: Window, t: datetime) -> Iterator[_Piece]:
    """The first piece that opens after `t`, if there is one."""
    day = t.astimezone(ZoneInfo(window.zone)).date() - _DAY
    if window.first is not None:
        day = max(day, window.first)
    # Each weekday comes within a week, and no change of clocks takes two of them.
    for ahead in range(17):
        piece = _piece(window, day + ahead * _DAY)
        if piece is not None and piece.opens > t:
            yield piece
            return


def _samples(window: Window) -> Iterator[datetime]:
    """Openings among which there is one of the longest blackout."""
    edges = {_A_MONDAY, window.first or _A_MONDAY, window.last or _A_MONDAY}
    days = {edge + number * _DAY for edge in edges for number in range(-8, 8)}
    for day in days:
        piece = _piece(window, day)
        if piece is not None:
            yield piece.opens


def _piece(window: Window, day: date) -> _Piece | None:
    """The piece that opens on a local day; None where there is none."""
    if not window.opens_on(day):
        return None
    zone = ZoneInfo(window.zone)
    last_day = day if window.end > window.start else day + _DAY
    opens = _instant(datetime.combine(day, window.start), zone, fold=0)
    closes = _instant(datetime.combine(last_day, window.end), zone, fold=1)
    return _Piece(opens, closes) if opens < closes else None


def _instant(local: datetime, zone: ZoneInfo, *, fold: int) -> datetime:
    """The instant of a local time; of one that is skipped, the end of the gap."""
    first, second = (
        local.replace(tzinfo=zone, fold=each).astimezone(UTC) for each in (0, 1)
    )
    if second < first:  # only so where the local time does not exist
        return gap_end(second, first, zone)
    return second if fold else first
