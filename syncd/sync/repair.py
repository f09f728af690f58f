"""What a repair sends, bucket by bucket. Pure.

Nothing but what a verification found, and what was uncertain anyway: whoever the source
lists and the destination lost is added again, whoever syncd itself left behind and the
source does not list is removed. People put there by others are not even looked at.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet

from syncd.sync.diff import BucketChanges


def mended(
    *,
    bucket: int,
    wanted: Collection[bytes],
    acknowledged: AbstractSet[bytes],
    uncertain: AbstractSet[bytes],
    missing: AbstractSet[bytes],
    ours: AbstractSet[bytes],
    doubtful: AbstractSet[bytes] = frozenset(),
) -> BucketChanges:
    """The changes of one bucket; `missing` and `ours` are the verified ids in it.

    A plan takes the place of every open and dead batch, so it asserts their ids again
    as the source says, and the doubtful ones, as any plan does. `ours` count as people
    whom the destination holds because of us: the guard judges removals by their share.
    """
    listed, again = set(wanted), uncertain | doubtful
    lost = (missing & acknowledged) - again
    left = ours - acknowledged - again
    adds = (lost | again) & listed
    removes = (left | again) - listed
    union = acknowledged | uncertain | left
    return BucketChanges(
        bucket=bucket,
        adds=list(adds),
        removes=list(removes),
        vanished=[],
        members=len(listed),
        acknowledged=len(acknowledged),
        union=len(union),
        reasserted=len(again),
        undone=len(removes - union),
    )
