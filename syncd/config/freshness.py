"""How old the last success of a sync may be when the files do not say."""

from datetime import UTC, datetime, timedelta

from syncd.config.settings import Budget
from syncd.schedule import Cron, Every, Manual, Once, Schedule, next_after

_START = datetime(2026, 1, 1, tzinfo=UTC)
_SAMPLE = timedelta(days=15)
_FEWEST = 12


def default_fresh_within(
    schedule: Schedule, max_runtime: timedelta, budget: Budget | None = None
) -> timedelta | None:
    """Two periods and one run: a single missed run is not stale yet, two are.

    Where periods differ (`mon..fri at 07:15`) it is the longest two in a row, so that
    a weekend is not stale. A budget makes periods as long as it lets downloads
    through. None for `once` and `manual`, of which nothing is due.
    """
    least = timedelta(0) if budget is None else 2 * (budget.per / budget.downloads)
    match schedule:
        case Every(period, _):
            return max(least, 2 * period) + max_runtime
        case Cron(expression, _):
            # In UTC, so that a change of clocks does not lengthen it by an hour.
            return max(least, _longest_two(Cron(expression, "UTC"))) + max_runtime
        case Once() | Manual():
            return None


def _longest_two(schedule: Cron) -> timedelta:
    """Over two weeks, or over a dozen due times where they are rare."""
    times = [_START]
    while (due := next_after(schedule, times[-1])) is not None:
        times.append(due)
        if due - times[1] >= _SAMPLE and len(times) > _FEWEST:
            break
    due_times = times[1:]
    pairs = zip(due_times, due_times[2:], strict=False)
    return max((later - earlier for earlier, later in pairs), default=timedelta(0))
