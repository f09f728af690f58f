"""How old the last success of a sync may be when the files do not say."""

from datetime import UTC, datetime, timedelta

from syncd.config.settings import Budget
from syncd.schedule import Cron, Every, Manual, Once, Schedule, next_after

_START = datetime(2026, 1, 1, tzinfo=UTC)
_SAMPLE = timedelta(days=15)
_FEWEST = 12


def default_fresh_within(
    schedule: Schedule,
    max_runtime: timedelta,
    budget: Budget | None = None,
    max_staleness: timedelta | None = None,
) -> timedelta | None:
    """Two periods and one run: a single missed run is not stale yet, two are.

    Where periods differ (`mon..fri at 07:15`) it is the longest two in a row, so that
    a weekend is not stale. A budget makes periods as long as it lets downloads
    through. A list that may be kept for `max_staleness` is read at the due time after
    that, so a sync that only does as it is told is not stale before. None for `once`
    and `manual`, of which nothing is due.
    """
    longest = _longest_spans(schedule)
    if longest is None:
        return None
    period, two_periods = longest
    least = timedelta(0) if budget is None else 2 * (budget.per / budget.downloads)
    kept = timedelta(0) if max_staleness is None else max_staleness + period
    return max(least, two_periods, kept) + max_runtime


def _longest_spans(schedule: Schedule) -> tuple[timedelta, timedelta] | None:
    """The longest period, and the longest two in a row."""
    match schedule:
        case Every(period, _):
            return period, 2 * period
        case Cron(expression, _):
            # In UTC, so that a change of clocks does not lengthen it by an hour.
            times = _due_times(Cron(expression, "UTC"))
            return _longest(times, 1), _longest(times, 2)
        case Once() | Manual():
            return None


def _due_times(schedule: Cron) -> list[datetime]:
    """Over two weeks, or a dozen where they are rare."""
    times = [_START]
    while (due := next_after(schedule, times[-1])) is not None:
        times.append(due)
        if due - times[1] >= _SAMPLE and len(times) > _FEWEST:
            break
    return times[1:]


def _longest(times: list[datetime], periods: int) -> timedelta:
    pairs = zip(times, times[periods:], strict=False)
    return max((later - earlier for earlier, later in pairs), default=timedelta(0))
