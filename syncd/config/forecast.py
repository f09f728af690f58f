"""What the schedules may spend: the worst month of downloads of each Amplitude project.

Pure. Worst case means a month of 31 days in which every due time downloads; at run
time the free list call saves most of them. Only asking for a cohort is counted
(contract/amplitude.md 3), so syncs that write to Amplitude cost nothing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from syncd.config.settings import Budget, FromCohort, Settings
from syncd.config.settings_connections import AmplitudeConnection, QuotaSettings
from syncd.config.wire_values import MONTH
from syncd.schedule import (
    Cron,
    Every,
    Manual,
    Once,
    Schedule,
    describe,
    duration_text,
    next_after,
)

_SAMPLE_FROM = datetime(2027, 1, 1, tzinfo=UTC)
_SAMPLE_TO = datetime(2029, 1, 1, tzinfo=UTC)
"""Two years of months, one of them leap."""

ROUND_INTERVALS = (
    *(timedelta(minutes=minutes) for minutes in (5, 10, 15, 20, 30, 45, 60, 90)),
    *(timedelta(hours=hours) for hours in (2, 3, 4, 4.5, 5, 6, 7, 8, 9, 10, 12, 15)),
    *(timedelta(hours=hours) for hours in (18, 21, 24, 36)),
    *(timedelta(days=days) for days in (2, 3, 4, 5, 7, 10, 14)),
)
"""What is proposed as `every …`, shortest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relists:
    """How often a sync that is fed by pushes downloads a list all the same."""

    every: timedelta | None
    """None is never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One enabled sync that reads a cohort."""

    sync: str
    project: str
    schedule: Schedule
    budget: Budget | None
    relists: Relists | None = None
    """Of a sync that is fed by pushes; None: every due time may download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncForecast:
    """The worst month of one sync."""

    name: str
    downloads: int
    schedule: str
    """In words, with the budget where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectForecast:
    """The worst month of one project, which its connections share."""

    project: str
    connections: tuple[str, ...]
    limit: int
    reserve: int
    syncs: tuple[SyncForecast, ...]
    """In the order in which they are written."""

    @property
    def total(self) -> int:
        """Downloads of all its syncs together."""
        return sum(sync.downloads for sync in self.syncs)

    @property
    def spendable(self) -> int:
        """What the schedules may spend: the limit without the reserve."""
        return self.limit - self.reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A sync that does not fit beside those that do."""

    index: int
    """Of its demand."""
    downloads: int
    left: int
    """What the syncs that fit leave."""
    interval: timedelta | None
    """The fastest round one that fits; None where none does."""
    budget: Budget | None
    """The finest one that fits."""


def project_key(connection: AmplitudeConnection) -> str:
    """`eu:187520`: what shares one quota, whatever the connections are called."""
    return f"{connection.region}:{connection.app_id}"


def forecast(settings: Settings) -> tuple[ProjectForecast, ...]:
    """One for each project from which an enabled sync reads, in file order."""
    demands = list(_demands(settings))
    return tuple(
        ProjectForecast(
            project=project,
            connections=tuple(connection.name for connection in owners),
            limit=owners[0].quota.downloads_per_month,
            reserve=owners[0].quota.reserve,
            syncs=tuple(_of(one) for one in demands if one.project == project),
        )
        for project in dict.fromkeys(demand.project for demand in demands)
        if (owners := _owners(settings, project))
    )


def excesses(demands: Sequence[Demand], quota: QuotaSettings) -> list[Excess]:
    """The syncs of one project that do not fit, in file order.

    Those that do not fit get equal shares of what is left, so that whoever follows
    every proposal has a month that fits.
    """
    spendable = quota.downloads_per_month - quota.reserve
    used, over = 0, []
    for index, demand in enumerate(demands):
        needed = downloads_of(demand)
        if used + needed > spendable:
            over.append((index, needed))
        else:
            used += needed
    left = spendable - used
    share = left // max(1, len(over))
    return [
        Excess(
            index=index,
            downloads=needed,
            left=left,
            interval=fastest_interval(share),
            budget=finest_budget(share),
        )
        for index, needed in over
    ]


def downloads_of(demand: Demand) -> int:
    """Its due times in the worst month, or what else allows less: budget, relists."""
    limits = [due_times(demand.schedule)]
    if demand.budget is not None:
        limits.append(allowed(demand.budget))
    if demand.relists is not None:
        limits.append(_relists_in_a_month(demand.relists))
    return min(limits)


def _relists_in_a_month(relists: Relists) -> int:
    return 0 if relists.every is None else -(-MONTH // relists.every)


def due_times(schedule: Schedule) -> int:
    """Most due times in one month; 1 for `once`, 0 for `manual`."""
    match schedule:
        case Every(period, _):
            return -(-MONTH // period)
        case Cron(expression, _):
            return _due_times_of(expression)
        case Once():
            return 1
        case Manual():
            return 0


def allowed(budget: Budget) -> int:
    """Most downloads a budget lets through in one month."""
    return budget.downloads * -(-MONTH // budget.per)


def fastest_interval(downloads: int) -> timedelta | None:
    """The shortest round interval with at most this many due times in a month."""
    fitting = (one for one in ROUND_INTERVALS if due_times(Every(one)) <= downloads)
    return next(fitting, None)


def finest_budget(downloads: int) -> Budget | None:
    """The budget with the shortest span that allows at most this many a month."""
    for per in (timedelta(days=1), timedelta(weeks=1), MONTH):
        count = downloads // -(-MONTH // per)
        if count:
            return Budget(downloads=count, per=per)
    return None


def budget_text(budget: Budget) -> str:
    """`4/day`, as it is written."""
    spans = {timedelta(days=1): "day", timedelta(weeks=1): "week", MONTH: "month"}
    return f"{budget.downloads}/{spans[budget.per]}"


def _demands(settings: Settings) -> Iterable[Demand]:
    for sync in settings.syncs:
        connection = settings.connections.get(sync.source.connection)
        if not isinstance(sync.source, FromCohort) or not sync.enabled:
            continue
        if isinstance(connection, AmplitudeConnection):
            events = sync.source.events
            yield Demand(
                sync=sync.name,
                project=project_key(connection),
                schedule=sync.schedule,
                budget=sync.budget,
                relists=Relists(every=events.relist_every) if events else None,
            )


def _owners(settings: Settings, project: str) -> list[AmplitudeConnection]:
    return [
        connection
        for connection in settings.connections.values()
        if isinstance(connection, AmplitudeConnection)
        and project_key(connection) == project
    ]


def _of(demand: Demand) -> SyncForecast:
    words = describe(demand.schedule)
    if demand.relists is not None:
        every = demand.relists.every
        words += ", by pushes, "
        words += f"a list every {duration_text(every)}" if every else "never a list"
    if demand.budget is not None:
        words += f", at most {budget_text(demand.budget)}"
    return SyncForecast(
        name=demand.sync, downloads=downloads_of(demand), schedule=words
    )


@lru_cache(maxsize=1024)
def _due_times_of(expression: str) -> int:
    """In UTC: a change of clocks moves due times and leaves their number alone.

    A pattern has the same times on each of its days, so days and times are counted
    apart; a pattern of every five minutes would take seconds otherwise.
    """
    minute, hour, *days = expression.split()
    one_day = _dues(f"{minute} {hour} * * *", _SAMPLE_FROM + timedelta(days=1))
    return sum(1 for _ in one_day) * _most_days(" ".join(days))


@lru_cache(maxsize=1024)
def _most_days(fields: str) -> int:
    """Days of the fullest month that the three day fields of a pattern name."""
    months = Counter(
        (day.year, day.month) for day in _dues(f"0 0 {fields}", _SAMPLE_TO)
    )
    return max(months.values(), default=0)


def _dues(expression: str, until: datetime) -> Iterable[datetime]:
    """The due times from the start of the sample, included, to `until`."""
    schedule = Cron(expression, "UTC")
    due = next_after(schedule, _SAMPLE_FROM - timedelta(seconds=1))
    while due is not None and due < until:
        yield due
        due = next_after(schedule, due)
