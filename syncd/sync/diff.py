"""What has to change at the destination, bucket by bucket. Pure.

An id is *in* (acknowledged), *out*, or *uncertain* (in an open or dead batch). The
uncertain ones are asserted again as the snapshot says, whatever the acknowledged set
says: only so is a lost answer ever healed.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketChanges:
    """The changes of one bucket, and the counts the guard judges by."""

    bucket: int
    adds: list[bytes]
    removes: list[bytes]
    vanished: list[bytes]
    """Unaccepted ids that the snapshot no longer lists: nothing to offer again."""
    members: int
    """Distinct ids of the snapshot."""
    acknowledged: int
    union: int
    """Acknowledged or uncertain ids: whom the destination may hold because of us."""
    reasserted: int
    """Changes that exist only because the id was uncertain."""


def changes(
    *,
    bucket: int,
    snapshot: Sequence[bytes],
    acknowledged: set[bytes],
    uncertain: AbstractSet[bytes],
    waiting: AbstractSet[bytes],
    unaccepted: AbstractSet[bytes],
) -> BucketChanges:
    """Compare one bucket of the snapshot with what is known of the destination.

    entered = snapshot - acknowledged - waiting, exited = acknowledged - snapshot, and
    every uncertain id becomes an ADD or a REMOVE as the snapshot says. `waiting` is a
    part of `unaccepted`.
    """
    if not uncertain and not unaccepted:
        return _plain(bucket, snapshot, acknowledged)
    wanted = set(snapshot)
    adds = (wanted - acknowledged - (waiting - uncertain)) | (wanted & uncertain)
    removes = (acknowledged | uncertain) - wanted
    return BucketChanges(
        bucket=bucket,
        adds=list(adds),
        removes=list(removes),
        vanished=list(unaccepted - wanted),
        members=len(wanted),
        acknowledged=len(acknowledged),
        union=len(acknowledged | uncertain),
        reasserted=len(adds & (acknowledged | waiting)) + len(removes - acknowledged),
    )


def everybody_again(
    *,
    bucket: int,
    snapshot: Sequence[bytes],
    acknowledged: set[bytes],
    uncertain: AbstractSet[bytes],
    waiting: AbstractSet[bytes],
    unaccepted: AbstractSet[bytes],
) -> BucketChanges:
    """As `changes`, but nothing known counts for enough to leave anybody out.

    Everybody listed is added once more. Whoever is acknowledged or uncertain and not
    listed is removed, or a former member would stay for ever.
    """
    wanted = set(snapshot)
    union = acknowledged | uncertain
    return BucketChanges(
        bucket=bucket,
        adds=list(wanted),
        removes=list(union - wanted),
        vanished=list(unaccepted - wanted),
        members=len(wanted),
        acknowledged=len(acknowledged),
        union=len(union),
        reasserted=len(wanted & (union | waiting))
        + len(uncertain - acknowledged - wanted),
    )


def _plain(
    bucket: int, snapshot: Sequence[bytes], acknowledged: set[bytes]
) -> BucketChanges:
    """The usual case, in the fewest steps a member: nothing uncertain, none waits."""
    entered = {member for member in snapshot if member not in acknowledged}
    exited = acknowledged.difference(snapshot) if acknowledged else set()
    return BucketChanges(
        bucket=bucket,
        adds=list(entered),
        removes=list(exited),
        vanished=[],
        members=len(acknowledged) - len(exited) + len(entered),
        acknowledged=len(acknowledged),
        union=len(acknowledged),
        reasserted=0,
    )
