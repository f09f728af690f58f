"""What the destination holds against what it has acknowledged, person by person. Pure.

An id is judged only where something is certain about it: one of an open or dead batch
may be there or not, and is merely counted. Nothing here says who is right: a missing
person may have been taken out by others, a ghost put in by others.
"""

from collections.abc import Collection, Set
from dataclasses import dataclass, field

DRIFT_LIMIT = 0.01
"""Share of people who differ above which somebody should look (alert SyncdDrift)."""


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
        everybody = self.acknowledged + len(self.ghosts)
        return (len(self.missing) + len(self.ghosts)) / max(everybody, 1)

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
