"""Whether one more cohort may be downloaded now. Pure: rows, a reading and the time.

Amplitude allows few downloads (contract/amplitude.md section 3): 500 a month, which is
less than one hourly cohort, 60 in 10 minutes, 4 started in a minute, 4 at a time. Other
tools may spend the same budget, so the usage endpoint is read before every decision
and our own requests that it may not know yet are added to it.

Must never say yes where some interleaving of processes could break a limit: whoever
asks holds the project's row until the answer is durable. In doubt a request was
counted, and it reached the vendor as late as it can have.
"""

import calendar
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

WINDOWS = ((timedelta(minutes=1), 4), (timedelta(minutes=10), 60))
"""(length, requests started in it at most)."""
RUNNING_AT_ONCE = 4
RUNNING_FOR = timedelta(hours=1)
"""A job older than this is taken for ended, whoever forgot it."""
SKEW = timedelta(seconds=2)
"""Added to a window: our replicas' clocks and the vendor's differ a little."""
LOOK_AGAIN = timedelta(seconds=5)
"""How long to wait where nobody can say when a place comes free."""
LOW_SHARE = 0.8
"""Share of the month's limit from which on it is called low."""
HISTORY = timedelta(days=32)
"""How far back requests matter: more than the longest month."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One request for a download, as far as limits are concerned."""

    id: int
    sync: str
    cohort_id: str
    at: datetime
    """When it was answered, so no earlier than it reached the vendor; for one without
    an answer, when it gave up waiting or the present."""
    answered: bool
    """False: perhaps still on its way, so perhaps not counted yet."""
    confirmed: bool
    """It was accepted: the vendor counted it for certain."""
    running: bool
    """Its job may still run at the vendor."""
    refused: bool = False
    """It was answered, with a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the month's quota is known to be."""

    limit: int
    used: int
    """By everybody who spends it; without meaning when estimated."""
    resets_at: datetime
    estimated: bool
    """Nobody could be asked: only our own requests are known."""
    included: frozenset[int] = frozenset()
    """Requests of ours that had been answered before `used` was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `downloads` of one sync in any `per`."""

    downloads: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a sync may spend, and what all syncs of its project want to."""

    reserve: int
    """Downloads a month that no schedule may touch."""
    budget: Budget | None
    period: timedelta | None
    """The schedule's shortest gap between two runs; None: it has none."""
    demand: float
    """Downloads a day that the schedules of the project ask for, together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One download that somebody wants."""

    sync: str
    by_person: bool
    """Asked for by hand: neither reserve, budget nor pace holds it back."""
    last_at: datetime | None
    """When this cohort was last downloaded; None: never."""
    size_moved: bool
    """Whether its listed size is another one than after that download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """It may be asked for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A rate limit is reached: decide again then."""

    until: datetime
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """Not in this run."""

    reason: str
    """`quota` or `budget`."""
    message: str
    until: datetime | None


def decide(
    wish: Wish, rules: Rules, reading: Reading, spends: Sequence[Spend], now: datetime
) -> Admitted | Later | Denied:
    """Whether the wish may be granted: month, budget, pace, then the rate limits.

    `spends` are all requests of the project in the last `HISTORY`.
    """
    return (
        _over_month(wish, rules, reading, spends)
        or _over_budget(wish, rules, spends, now)
        or _over_pace(wish, rules, reading, spends, now)
        or _over_rate(spends, now)
        or Admitted()
    )


# ---- the month ----------------------------------------------------------------------


def counted(reading: Reading, spends: Sequence[Spend]) -> list[Spend]:
    """Our requests of this month that were counted, or may have been.

    Not those that were answered with a refusal (contract R7). Should a vendor count
    them after all, its own reading says so.
    """
    begun = month_before(reading.resets_at)
    return [
        each
        for each in spends
        if not each.refused
        and (begun <= each.at < reading.resets_at + SKEW or not each.answered)
    ]


def used(reading: Reading, spends: Sequence[Spend]) -> int:
    """Downloads of this month that are spent, or may be for all we know."""
    ours = counted(reading, spends)
    if reading.estimated:
        return len(ours)
    unknown = sum(each.id not in reading.included for each in ours)
    return max(reading.used + unknown, sum(each.confirmed for each in ours))


def forecast(reading: Reading, spent: int, demand: float, now: datetime) -> int:
    """What will be used at the month's end if every schedule downloads as it may."""
    return spent + math.ceil(demand * _days_left(reading, now))


def is_low(reading: Reading, spent: int, demand: float, now: datetime) -> bool:
    """Whether a person should look: much is used, or more is wanted than there is."""
    return (
        spent >= LOW_SHARE * reading.limit
        or forecast(reading, spent, demand, now) > reading.limit
    )


def is_exhausted(reading: Reading, spent: int, reserve: int) -> bool:
    """Whether schedules may not download any more until the reset."""
    return spent >= reading.limit - reserve


def next_month(now: datetime) -> datetime:
    """The coming first of a month, 00:00 UTC: when the quota is reset (section 3)."""
    at = now.astimezone(UTC)
    return datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)


def month_before(reset: datetime) -> datetime:
    """When the month that ends at `reset` began."""
    year, month = (
        (reset.year, reset.month - 1) if reset.month > 1 else (reset.year - 1, 12)
    )
    day = min(reset.day, calendar.monthrange(year, month)[1])
    return reset.replace(year=year, month=month, day=day)


def _days_left(reading: Reading, now: datetime) -> float:
    return max((reading.resets_at - now) / timedelta(days=1), 0.0)


def _over_month(
    wish: Wish, rules: Rules, reading: Reading, spends: Sequence[Spend]
) -> Denied | None:
    kept = 0 if wish.by_person else rules.reserve
    spent = used(reading, spends)
    if spent < reading.limit - kept:
        return None
    figures = f"{spent} of {reading.limit} downloads of this month are used"
    if reading.estimated:
        figures += " (estimated)"
    if kept:
        figures += f", {kept} are kept in reserve"
    return Denied(
        reason="quota",
        message=f"{figures}; the count is reset on {_shown(reading.resets_at)}",
        until=reading.resets_at,
    )


# ---- one sync's budget, and its pace when the month is scarce -----------------------


def _over_budget(
    wish: Wish, rules: Rules, spends: Sequence[Spend], now: datetime
) -> Denied | None:
    budget = rules.budget
    if budget is None or wish.by_person:
        return None
    times = sorted(
        each.at
        for each in spends
        if each.sync == wish.sync and not each.refused and _near(each, budget.per, now)
    )
    if len(times) < budget.downloads:
        return None
    until = times[-budget.downloads] + budget.per
    return Denied(
        reason="budget",
        message=f"{len(times)} downloads in {_span(budget.per)}, as many as the"
        f" sync's budget allows; the next one from {_shown(until)}",
        until=until,
    )


def _over_pace(
    wish: Wish,
    rules: Rules,
    reading: Reading,
    spends: Sequence[Spend],
    now: datetime,
) -> Denied | None:
    """Where the schedules want more than is left, all are slowed down alike.

    The first download of a cohort is not, and a cohort whose size did not move waits
    twice as long: its download brings less (beyond.md 3.1).
    """
    if wish.by_person or wish.last_at is None:
        return None
    left = reading.limit - rules.reserve - used(reading, spends)
    factor = rules.demand * _days_left(reading, now) / left
    pace = _pace(rules)
    if pace is None or factor <= 1:
        return None
    gap = pace * factor * (1 if wish.size_moved else 2)
    until = min(wish.last_at + gap, reading.resets_at)
    if now >= until:
        return None
    return Denied(
        reason="quota",
        message=f"{left} downloads are left for schedules that want"
        f" {rules.demand:.1f} a day until {_shown(reading.resets_at)}: this one is"
        f" spread to {_shown(until)}",
        until=until,
    )


def _pace(rules: Rules) -> timedelta | None:
    """The gap at which the sync downloads when nothing is scarce."""
    if rules.period is None or rules.budget is None:
        return rules.period
    return max(rules.period, rules.budget.per / rules.budget.downloads)


# ---- the rate limits ----------------------------------------------------------------


def _over_rate(spends: Sequence[Spend], now: datetime) -> Later | None:
    running = sum(each.running and _near(each, RUNNING_FOR, now) for each in spends)
    if running >= RUNNING_AT_ONCE:
        return Later(
            until=now + LOOK_AGAIN,
            message=f"{running} downloads of the project are running",
        )
    for length, most in WINDOWS:
        times = sorted(each.at for each in spends if _near(each, length + SKEW, now))
        if len(times) >= most:
            return Later(
                until=times[-most] + length + SKEW,
                message=f"{len(times)} downloads were started in {_span(length)}",
            )
    return None


def _near(spend: Spend, span: timedelta, now: datetime) -> bool:
    """Whether it lies within the span; also after now, by a clock that is ahead.

    Not further after it: that clock was put right since, and it may have been years.
    """
    return abs(now - spend.at) < span


def _span(length: timedelta) -> str:
    minutes = length / timedelta(minutes=1)
    for size, word in ((1440, "d"), (60, "h")):
        if minutes >= size and minutes % size == 0:
            return f"{minutes / size:g} {word}"
    return f"{minutes:g} min"


def _shown(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
