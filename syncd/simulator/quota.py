"""What downloads may cost a project: the month's quota and who spends it (R6, R7).

A second spender stands for another tool on the same project. It spends the month's
quota only, not the pace limits, and never more than is left.

Times are epoch seconds of the virtual clock.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

TEN_MINUTES = 600.0
MINUTE = 60.0
LIMITS = ("month", "ten_minutes", "minute", "running", "concurrent", "cohort")
"""What a 429 can be about, in the order of R6."""


def month_of(moment: float) -> str:
    """The calendar month, UTC, as YYYY-MM."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m}"


@dataclass(slots=True, kw_only=True)
class Spender:
    """Somebody else's schedule."""

    every: float
    count: int
    due: float
    """When it spends next."""


@dataclass(slots=True, kw_only=True)
class Quota:
    """The downloads of one project."""

    limit: int = 500
    """Per calendar month."""
    months: Counter[str] = field(default_factory=Counter)
    """Month -> downloads, ours and others'; what `usage` shows."""
    elsewhere: int = 0
    """How many of them the second spender made."""
    spender: Spender | None = None
    _starts: list[float] = field(default_factory=list)

    def used(self, moment: float) -> int:
        """Downloads in the calendar month of a moment."""
        return self.months[month_of(moment)]

    def set_used(self, moment: float, used: int) -> None:
        """Overwrite this month's number."""
        self.months[month_of(moment)] = used

    def count(self, moment: float) -> None:
        """One request more in this month."""
        self.months[month_of(moment)] += 1

    def start(self, moment: float) -> None:
        """A request was accepted: it counts for the pace limits."""
        self._starts = [one for one in self._starts if moment - one < TEN_MINUTES]
        self._starts.append(moment)

    def started_within(self, seconds: float, moment: float) -> int:
        """Requests accepted in the seconds before a moment."""
        return sum(moment - one < seconds for one in self._starts)

    def spend(self, moment: float, count: int) -> int:
        """Let the second spender spend; returns how much the quota gave it."""
        spent = max(0, min(count, self.limit - self.used(moment)))
        self.months[month_of(moment)] += spent
        self.elsewhere += spent
        return spent

    def settle(self, moment: float) -> None:
        """Let the second spender do what fell due until a moment."""
        spender = self.spender
        while spender is not None and spender.due <= moment:
            self.spend(spender.due, spender.count)
            spender.due += spender.every


@dataclass(slots=True, kw_only=True)
class DownloadStats:
    """What tests assert on, for one project."""

    counted: list[float] = field(default_factory=list)
    """When each counted request was accepted."""
    by_cohort: Counter[str] = field(default_factory=Counter)
    """Counted requests per cohort."""
    failed_counted: int = 0
    """Requests that failed and were counted all the same (a switch)."""
    refused: Counter[str] = field(default_factory=Counter)
    """429s by LIMITS."""
    most_running: int = 0
    most_concurrent: int = 0

    def count(self, moment: float, cohort_id: str) -> None:
        """A request was accepted and counted."""
        self.counted.append(moment)
        self.by_cohort[cohort_id] += 1

    def see(self, concurrent: int) -> None:
        """So many requests are in flight."""
        self.most_concurrent = max(self.most_concurrent, concurrent)

    def shown(self) -> dict[str, Any]:
        """As `/_sim/stats` has it."""
        months = Counter(month_of(moment) for moment in self.counted)
        return {
            "counted": len(self.counted),
            "counted_by_cohort": dict(self.by_cohort),
            "counted_by_month": dict(months),
            "failed_counted": self.failed_counted,
            "most_in_a_month": max(months.values(), default=0),
            "most_in_10_minutes": _most_within(TEN_MINUTES, self.counted),
            "most_in_60_seconds": _most_within(MINUTE, self.counted),
            "most_running_jobs": self.most_running,
            "most_concurrent_requests": self.most_concurrent,
            "refused": {name: self.refused[name] for name in LIMITS},
        }


def _most_within(seconds: float, moments: list[float]) -> int:
    """The most moments in any span shorter than `seconds`."""
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def resets_at(moment: float) -> str:
    """The start of the next month; without a zone, as the vendor writes it (R7)."""
    now = datetime.fromtimestamp(math.floor(moment), UTC)
    year, month = divmod(now.year * 12 + now.month, 12)
    return f"{year:04d}-{month + 1:02d}-01T00:00:00"
