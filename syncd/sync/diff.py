"""What has to change at the destination, bucket by bucket. Pure.

An id is *in* (acknowledged), *out*, or *uncertain* (in an open or dead batch). The
uncertain ones are asserted again as the snapshot says, whatever the acknowledged set
says: only so is a lost answer ever healed. So are the *doubtful* ones, for whom a
request that may still land would be the opposite of what is acknowledged.
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
    """Changes that exist only because the id was uncertain or doubtful."""
    undone: int = 0
    """REMOVEs of the doubtful: these people left before, and were counted then."""


def changes(
    *,
    bucket: int,
    snapshot: Sequence[bytes],
    acknowledged: set[bytes],
    uncertain: AbstractSet[bytes],
    waiting: AbstractSet[bytes],
    unaccepted: AbstractSet[bytes],
    doubtful: AbstractSet[bytes] = frozenset(),
) -> BucketChanges:
    """Compare one bucket of the snapshot with what is known of the destination.

    entered = snapshot - acknowledged - waiting, exited = acknowledged - snapshot, and
    every uncertain or doubtful id becomes an ADD or a REMOVE as the snapshot says.
    `waiting` is a part of `unaccepted`.
    """
    if not uncertain and not unaccepted and not doubtful:
        return _plain(bucket, snapshot, acknowledged)
    wanted, union = set(snapshot), acknowledged | uncertain
    again = uncertain | doubtful
    adds = (wanted - acknowledged - (waiting - again)) | (wanted & again)
    removes = (union | doubtful) - wanted
    return BucketChanges(
        bucket=bucket,
        adds=list(adds),
        removes=list(removes),
        vanished=list(unaccepted - wanted),
        members=len(wanted),
        acknowledged=len(acknowledged),
        union=len(union),
        reasserted=len(adds & (acknowledged | waiting)) + len(removes - acknowledged),
        undone=len(removes - union),
    )


def everybody_again(
    *,
    bucket: int,
    snapshot: Sequence[bytes],
    acknowledged: set[bytes],
    uncertain: AbstractSet[bytes],
    waiting: AbstractSet[bytes],
    unaccepted: AbstractSet[bytes],
    doubtful: AbstractSet[bytes] = frozenset(),
) -> BucketChanges:
    """As `changes`, but nothing known counts for enough to leave anybody out.

    Everybody listed is added once more. Whoever is acknowledged, uncertain or doubtful
    and not listed is removed, or a former member would stay for ever.
    """
    wanted = set(snapshot)
    union = acknowledged | uncertain
    removes = (union | doubtful) - wanted
    return BucketChanges(
        bucket=bucket,
        adds=list(wanted),
        removes=list(removes),
        vanished=list(unaccepted - wanted),
        members=len(wanted),
        acknowledged=len(acknowledged),
        union=len(union),
        reasserted=len(wanted & (union | waiting)) + len(removes - acknowledged),
        undone=len(removes - union),
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
