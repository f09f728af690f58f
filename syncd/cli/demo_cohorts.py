"""The demo's two cohorts: computed at Amplitude, wanted elsewhere.

They are defined by behaviour, so only Amplitude decides who is in them; their people
are among those it knows. Some were never identified: they are in the cohort and can be
named to nobody. One is downloaded when it changed, the other one is pushed to us.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from syncd.cli.demo_vendors import FakeVendors

CHURN_RISK = "1a2bc3d"
"""A cohort's id, as Amplitude makes them; the configuration names it."""
FEATURE_ADOPTERS = "77qr0zz"


@dataclass(slots=True, kw_only=True)
class Cohort:
    """One cohort, and who may be moved in and out of it."""

    id: str
    name: str
    """As Amplitude shows it."""
    sync: str
    """As the configuration calls its sync."""
    trait: str | None
    """What Segment calls it; None: it becomes a partner's list."""
    pushed: bool
    """Whether Amplitude pushes it to us; else it is downloaded."""
    members: list[str]
    newcomers: list[str]
    """Not members yet."""
    anonymous: int
    """Members that have no user id."""
    gone: list[str] = field(default_factory=list)
    """Everybody whom `move` took out."""

    def create(self, vendors: FakeVendors) -> None:
        """Make it at Amplitude."""
        vendors.make_cohort(self.id, self.name, self.members, anonymous=self.anonymous)

    def move(self, vendors: FakeVendors) -> tuple[int, int]:
        """Let a few people enter and a few leave; returns how many of each."""
        enter = self.newcomers[: max(len(self.members) * 6 // 1000, 5)]
        leave = self.members[-max(len(self.members) * 4 // 1000, 3) :]
        del self.newcomers[: len(enter)]
        # Newcomers go to the front, so that the next move takes others out.
        self.members = enter + self.members[: -len(leave)]
        self.gone += leave
        vendors.change_cohort(self.id, add=enter, remove=leave)
        return len(enter), len(leave)


def cohorts_among(known: Iterable[str], count: int) -> list[Cohort]:
    """Both cohorts, of `count` // 5 and `count` // 25 of these people.

    `known` has to hold half as many people as `count`.
    """
    people = iter(known)
    churn, adopters = count // 5, count // 25
    return [
        Cohort(
            id=CHURN_RISK,
            name="Churn risk",
            sync="churn-risk",
            trait="churn_risk",
            pushed=False,
            members=list(islice(people, churn)),
            newcomers=list(islice(people, max(churn // 20, 10))),
            anonymous=25,
        ),
        Cohort(
            id=FEATURE_ADOPTERS,
            name="Feature adopters",
            sync="feature-adopters",
            trait=None,
            pushed=True,
            members=list(islice(people, adopters)),
            newcomers=list(islice(people, max(adopters // 20, 10))),
            anonymous=10,
        ),
    ]
