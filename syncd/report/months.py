"""What each Amplitude project spends on downloads in a month, and its JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncMonth:
    """One sync's share."""

    name: str
    spent: int
    """Downloads it asked for in this month."""
    most: int
    """At worst in a month of 31 days; 0 for a sync that is gone."""
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One project's month."""

    project: str
    connections: tuple[str, ...]
    limit: int
    reserve: int
    used: int
    """By everybody; by us alone when estimated."""
    estimated: bool
    unread: str
    """Why the vendor's count could not be read; empty if it was, or if there is none.
    """
    read_at: datetime | None
    """When it was last counted; None: nobody was asked yet."""
    resets_at: datetime
    forecast: int
    """Used at the reset if every schedule downloads as often as it may."""
    syncs: tuple[SyncMonth, ...]

    @property
    def elsewhere(self) -> int:
        """Spent by other tools with the same project."""
        return max(self.used - sum(each.spent for each in self.syncs), 0)


def months_document(found: Iterable[Month]) -> dict[str, Any]:
    """What `quota --json` says."""
    return {"projects": [_month_document(each) for each in found]}


def _month_document(month: Month) -> dict[str, Any]:
    return {
        "project": month.project,
        "connections": list(month.connections),
        "limit": month.limit,
        "reserve": month.reserve,
        "used": month.used,
        "estimated": month.estimated,
        "unread": month.unread or None,
        "read_at": month.read_at,
        "resets_at": month.resets_at,
        "forecast": month.forecast,
        "elsewhere": None if month.estimated else month.elsewhere,
        "syncs": [
            {"name": each.name, "spent": each.spent, "at_most": each.most}
            for each in month.syncs
        ],
    }
