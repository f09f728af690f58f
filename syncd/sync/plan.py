"""A plan in numbers: what the guard judges and a person approves. Pure."""

from dataclasses import dataclass

from syncd.model import Moved, SnapshotDigest
from syncd.sync.diff import BucketChanges


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would send, counted over all buckets."""

    members: int
    """Distinct ids of the snapshot."""
    acknowledged: int
    union: int
    """Acknowledged or uncertain ids before the run: what shares are taken of."""
    entered: int
    """Ids in ADD batches."""
    exited: int
    """Ids in REMOVE batches, re-asserted ones included; but for those who left before
    and are removed again lest a late request put them back."""
    reasserted: int
    batches: int
    hash: str
    """SHA-256 over every batch: what an approval is bound to."""
    digest: SnapshotDigest

    @property
    def exit_share(self) -> float:
        """Exits as a share of whom the destination may hold; 0 when it is nobody."""
        return self.exited / self.union if self.union else 0.0

    def exits_over(self, lately: Moved) -> int:
        """Exits of the plan and those of a span of time before it."""
        return lately.exited + self.exited

    def exit_share_over(self, lately: Moved) -> float:
        """Those exits as a share of whom the destination may have held at its begin.

        Never of fewer than it may hold now: entries are no reason to be stricter.
        """
        before = self.union + max(0, lately.exited - lately.entered)
        return self.exits_over(lately) / before if before else 0.0

    @property
    def enter_share(self) -> float:
        """Entries as a share of whom the destination may hold; 0 when it is nobody."""
        return self.entered / self.union if self.union else 0.0


@dataclass(slots=True)
class Tally:
    """Adds up the counts of buckets as they pass."""

    members: int = 0
    acknowledged: int = 0
    union: int = 0
    entered: int = 0
    exited: int = 0
    reasserted: int = 0

    def count(self, change: BucketChanges) -> None:
        """Add one bucket."""
        self.members += change.members
        self.acknowledged += change.acknowledged
        self.union += change.union
        self.entered += len(change.adds)
        self.exited += len(change.removes) - change.undone
        self.reasserted += change.reasserted

    def plan(self, *, batches: int, plan_hash: str, digest: SnapshotDigest) -> Plan:
        """The finished plan."""
        return Plan(
            members=self.members,
            acknowledged=self.acknowledged,
            union=self.union,
            entered=self.entered,
            exited=self.exited,
            reasserted=self.reasserted,
            batches=batches,
            hash=plan_hash,
            digest=digest,
        )
