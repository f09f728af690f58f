"""Which of several words about a person is the newest. Pure.

Newest is by (event time, deleted, tie): of equal times a deletion wins over any word,
then the greater tie, then the later arrival. A word without a time of its own is newer
than all that arrived before it. The store compares with what it holds in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Word:
    """What is said of a person."""

    rank: tuple[datetime, bool, str]
    """(event time, deleted, tie): the greater one is newer."""
    inside: bool
    always: bool
    """It is the newest whatever the store holds, by order of arrival."""


Said = dict[bytes, Word]
"""The newest word about each person of one feed."""


def word(
    at: datetime | None,
    now: datetime,
    *,
    inside: bool,
    tie: str = "",
    deleted: bool = False,
) -> Word:
    """A word that arrives now; without a time of its own that is its time."""
    return Word((at or now, deleted, tie), inside, always=at is None)


def lay(said: Said, ids: Sequence[bytes], new: Word) -> None:
    """Lay a word about these people over what was said before it arrived."""
    if new.always:
        said.update(dict.fromkeys(ids, new))
        return
    for member_id in ids:
        old = said.get(member_id)
        if old is None:
            said[member_id] = new
        elif new.rank >= old.rank:
            # Newer than one that is newer than the store's, whatever that holds.
            said[member_id] = replace(new, always=True) if old.always else new
