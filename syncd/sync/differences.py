"""What the destination holds against what it has acknowledged, person by person. Pure.

An id is judged only where something is certain about it: one of an open or dead batch
may be there or not, and is merely counted. A missing person may have been taken out by
others or lost. Who put a ghost there is told apart as far as it can be proven; nobody
is called ours by a guess, since ours are what a repair removes.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

DRIFT_LIMIT = 0.01
"""Share of people who differ above which somebody should look (alert SyncdDrift)."""
BY_CHANCE = 0.001
"""How likely at most one of all ghosts may fit a trace by chance, for the traces to
prove anything: one wrong removal in a thousand repairs."""
_FINGERPRINTS = 2**32


class Cause(StrEnum):
    """How a person differs."""

    MISSING = "missing"
    """Acknowledged and not there."""
    OURS = "ghost_ours"
    """There, not acknowledged, and proven to have been put there by syncd alone."""
    RETURNED = "ghost_returned"
    """There although syncd removed them and the destination said yes: a request that
    landed late, or somebody else since."""
    OTHERS = "ghost_others"
    """There, and syncd cannot prove to have put them there."""


@dataclass(slots=True, kw_only=True)
class Differences:
    """The sum over all buckets; ids by cause."""

    acknowledged: int = 0
    """Members as the destination said yes to them, the uncertain ones left out."""
    there: int = 0
    """Distinct ids that the destination holds."""
    in_flight: int = 0
    """Uncertain ids: sent or about to be, without a proven answer."""
    unmatched: int = 0
    """Wanted, but unknown to the destination, and indeed not there."""
    missing: list[bytes] = field(default_factory=list)
    """Acknowledged and not there."""
    ghosts: list[bytes] = field(default_factory=list)
    """There and not acknowledged: written by others, or left over."""

    @property
    def drift(self) -> float:
        """Share of people who differ, of all who are on either side; 0 to 1."""
        return self._share(len(self.missing) + len(self.ghosts))

    def drift_without(self, repaired: int) -> float:
        """What is left of the drift once so many differences are repaired."""
        left = len(self.missing) + len(self.ghosts) - repaired
        return self._share(max(left, 0))

    def add(
        self,
        *,
        acknowledged: Set[bytes],
        uncertain: Set[bytes],
        unaccepted: Set[bytes],
        there: Collection[bytes],
    ) -> None:
        """Compare one bucket; `there` may name an id twice."""
        held, certain = set(there), acknowledged - uncertain
        self.acknowledged += len(certain)
        self.there += len(held)
        self.in_flight += len(uncertain)
        self.unmatched += len(unaccepted - held - uncertain)
        self.missing += certain - held
        self.ghosts += held - acknowledged - uncertain

    def _share(self, differing: int) -> float:
        return differing / max(self.acknowledged + len(self.ghosts), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """Every difference by its cause."""

    missing: frozenset[bytes]
    ours: frozenset[bytes]
    returned: frozenset[bytes]
    others: frozenset[bytes]

    @property
    def repairable(self) -> int:
        """How many a repair may move: it never touches what it cannot prove."""
        return len(self.missing) + len(self.ours)

    @property
    def strangers(self) -> int:
        """How many it leaves where they are."""
        return len(self.returned) + len(self.others)

    def named(self) -> Iterator[tuple[Cause, bytes]]:
        """Each with its cause, sorted, so that two of them can be compared."""
        for cause, ids in (
            (Cause.MISSING, self.missing),
            (Cause.OURS, self.ours),
            (Cause.RETURNED, self.returned),
            (Cause.OTHERS, self.others),
        ):
            yield from ((cause, one) for one in sorted(ids))


def causes(
    found: Differences,
    *,
    added: Set[bytes],
    traced: Set[bytes],
    removed: Set[bytes],
    compared: int,
) -> Causes:
    """Tell the ghosts apart by what is on record about them.

    `added` is proven by whole ids; `traced` by 32 bits of each, among `compared` of
    them: that proves something only where hardly any of the ghosts could fit by chance.
    """
    ghosts = frozenset(found.ghosts)
    proven = ghosts & added
    if proves(ghosts=len(ghosts), compared=compared):
        proven |= ghosts & traced
    returned = (ghosts & removed) - proven
    return Causes(
        missing=frozenset(found.missing),
        ours=proven,
        returned=returned,
        others=ghosts - proven - returned,
    )


def proves(*, ghosts: int, compared: int) -> bool:
    """Whether a trace that fits one of so many ghosts is no mere chance."""
    return ghosts * compared <= BY_CHANCE * _FINGERPRINTS


def evidence(as_of: datetime, moment: Iterable[int], told: Causes) -> str:
    """What a repair is bound to: this file, this state of the store, these people.

    SHA-256 in hex; another one means that something moved since it was shown.
    """
    seen = hashlib.sha256(f"{as_of.isoformat()} {list(moment)}".encode())
    for cause, member_id in told.named():
        seen.update(f"\n{cause}:{len(member_id)}:".encode() + member_id)
    return seen.hexdigest()
