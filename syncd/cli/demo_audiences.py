"""The demo's two audiences: kept by the fake Engage, whose warehouse follows.

One is read as a whole list from the warehouse, every hour. Of the other one only the
first list is read: Engage tells who enters and who leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from syncd.cli.demo_vendors import FakeVendors

_STRANGERS = (7, 2)
"""People of each audience whom Amplitude has never seen."""


@dataclass(slots=True, kw_only=True)
class Audience:
    """One audience, and who may be moved in and out of it."""

    key: str
    """As Engage and its warehouse call it."""
    sync: str
    """As the configuration calls its sync."""
    by_webhook: bool
    """Whether Engage tells of its changes; else its whole list is read."""
    members: list[str]
    strangers: list[str]
    """Members whom Amplitude does not know. They are never moved out."""
    newcomers: list[str]
    """Not members yet; Amplitude knows them."""
    gone: list[str] = field(default_factory=list)
    """Whom `shrink` took out."""

    def create(self, vendors: FakeVendors, warehouse: Path) -> None:
        """Make it at Engage and in this warehouse file, which follows it from now."""
        vendors.make_audience(self.key, self.members, warehouse)

    def move(self, vendors: FakeVendors) -> tuple[int, int]:
        """Let a few people enter and a few leave; returns how many of each."""
        enter = self.newcomers[: max(len(self.members) * 6 // 1000, 5)]
        leave = self.members[-max(len(self.members) * 4 // 1000, 3) :]
        del self.newcomers[: len(enter)]
        del self.members[-len(leave) :]
        # Newcomers go to the front, so that the next move takes others out.
        front = len(self.strangers)
        self.members[front:front] = enter
        vendors.change_audience(self.key, enter=enter, leave=leave)
        return len(enter), len(leave)

    def shrink(self, vendors: FakeVendors, share: float) -> int:
        """Take this share of the members out; returns how many."""
        self.gone = self.members[-round(len(self.members) * share) :]
        del self.members[-len(self.gone) :]
        vendors.change_audience(self.key, leave=self.gone)
        return len(self.gone)

    def repair(self, vendors: FakeVendors) -> int:
        """Put back whom `shrink` took out; returns how many."""
        back, self.gone = self.gone, []
        self.members += back
        vendors.change_audience(self.key, enter=back)
        return len(back)


def audiences_among(everybody: Iterator[str], count: int) -> list[Audience]:
    """Both audiences: `count` of these people in the first, a tenth in the second."""
    listed = _audience("power_users", count, _STRANGERS[0], everybody)
    told = _audience("trial_expiring_7d", count // 10, _STRANGERS[1], everybody)
    told.by_webhook = True
    return [listed, told]


def _audience(
    key: str, size: int, strangers: int, everybody: Iterator[str]
) -> Audience:
    members = list(islice(everybody, size))
    return Audience(
        key=key,
        sync=key.removesuffix("_7d").replace("_", "-"),
        by_webhook=False,
        members=members,
        strangers=members[:strangers],
        newcomers=list(islice(everybody, max(size // 20, 10))),
    )
