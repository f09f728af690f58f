"""Reading: what a source says, once, spread over buckets on disk.

A list is read whole; what was pushed stands above the list below it, where there is
one. No transaction is open, and nothing is kept but temporary files.
"""

import threading
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from syncd.model import IdType, SnapshotDigest
from syncd.sources import Listing, Pushed
from syncd.store.database import Database
from syncd.sync import ids, news
from syncd.sync.news import News
from syncd.sync.spill import PARTITIONS, Partition


class Interrupted(Exception):
    """The process was asked to stop while reading."""


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """What the source said, over buckets: a list, words about people, or both."""

    partition: Partition | None
    """The whole list; None: the words stand above whom the plans so far wanted."""
    anew: bool = False
    """Nobody was wanted so far: the words name everybody."""
    news: News | None = None
    digest: SnapshotDigest
    """Of the list alone."""
    refused: dict[str, int]
    """Ids that hygiene kept out, by reason."""
    doubts: dict[str, int]
    """Ids that went in though they look odd, by reason."""
    mark: str | None = None
    """Which state of the source this is, where it has such a thing."""

    @property
    def has_words(self) -> bool:
        """Whether anything was said about anybody."""
        return self.news is not None and self.news.entries + self.news.exits > 0

    def drop_news(self) -> None:
        """There is nothing in it."""
        if self.news is not None:
            self.news.close()
            self.news = None

    def close(self) -> None:
        """Give the disk space back."""
        for part in (self.partition, self.news):
            if part is not None:
                part.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a source is read."""

    id_type: IdType
    folder: Path
    """For temporary files as large as an audience."""
    n_buckets: int | None
    """Of what is stored about the destination; None when that is nothing yet."""
    stop: threading.Event

    def partition(self) -> Partition:
        """An empty one."""
        wanted = min(self.n_buckets or PARTITIONS, 4 * PARTITIONS)
        return Partition(self.folder, wanted)

    def go_on(self) -> None:
        """Raise `Interrupted` when the process was asked to stop."""
        if self.stop.is_set():
            raise Interrupted


def take_snapshot(listing: Listing, how: Reading) -> Snapshot:
    """Read the whole list once."""
    partition = how.partition()
    refused: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    with ExitStack() as on_error:
        on_error.enter_context(closing(partition))
        for block in listing.blocks():
            how.go_on()
            accepted = ids.accept(block, how.id_type)
            partition.add(accepted.ids)
            refused.update(accepted.refused)
            doubts.update(accepted.warnings)
        digest = partition.seal()
        refused.update(listing.left_out())
        mark = listing.mark()
        on_error.pop_all()
    return Snapshot(
        partition=partition,
        digest=digest,
        refused=_by_word(refused),
        doubts=_by_word(doubts),
        mark=mark,
    )


def take_pushed(pushed: Pushed, database: Database, how: Reading) -> Snapshot:
    """Read the words once, and the list below them where there is one."""
    with ExitStack() as on_error:
        if pushed.whole is not None:
            snapshot = take_snapshot(pushed.whole, how)
        else:
            nobody = SnapshotDigest(count=0, total=0)
            snapshot = Snapshot(partition=None, digest=nobody, refused={}, doubts={})
        on_error.enter_context(closing(snapshot))
        snapshot.anew = pushed.anew
        snapshot.news = news.collect(
            pushed, database, partition=how.partition, go_on=how.go_on
        )
        snapshot.mark = pushed.mark()
        on_error.pop_all()
    if snapshot.partition is not None and not snapshot.has_words:
        snapshot.drop_news()  # a list like any other, which may turn out unchanged
    return snapshot


def _by_word(counts: Counter[str]) -> dict[str, int]:
    # Plain words: the run's row keeps them as JSON, which takes no enum for a key.
    return {str(reason): count for reason, count in counts.items()}
