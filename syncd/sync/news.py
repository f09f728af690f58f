"""The newest words about people, spread over buckets beside whom was wanted before."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from syncd.sources import Pushed
from syncd.store.acknowledged import Bucket
from syncd.store.database import Database
from syncd.sync import fold
from syncd.sync.spill import Partition


@dataclass(slots=True, kw_only=True)
class News:
    """Nobody is named twice."""

    entered: Partition
    exited: Partition
    entries: int = 0
    exits: int = 0

    def close(self) -> None:
        """Give the disk space back."""
        self.entered.close()
        self.exited.close()


def collect(
    pushed: Pushed,
    database: Database,
    *,
    partition: Callable[[], Partition],
    go_on: Callable[[], None],
) -> News:
    """Read every word once; `go_on` raises where the process was asked to stop."""
    news = News(entered=partition(), exited=partition())
    with ExitStack() as on_error:
        on_error.enter_context(closing(news))
        for entered, exited in pushed.words(database):
            go_on()
            news.entered.add(entered)
            news.exited.add(exited)
        news.entries = news.entered.seal().count
        news.exits = news.exited.seal().count
        on_error.pop_all()
    return news


def overlaid(
    pairs: Iterator[tuple[Bucket, list[bytes]]], news: News, n_buckets: int
) -> Iterator[tuple[Bucket, list[bytes]]]:
    """Each bucket with whom is wanted in it, once the words stand above that."""
    entered, exited = news.entered.buckets(n_buckets), news.exited.buckets(n_buckets)
    for (bucket, below), came, left in zip(pairs, entered, exited, strict=True):
        yield bucket, fold.overlay(below, came, left)
