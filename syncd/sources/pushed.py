"""A sync that is fed by events: what was pushed to us, and a whole list now and then.

The store keeps the newest word about each person of a feed. Since the last plan only
some are new; they stand above whom the plans so far wanted. A whole list comes first
where the sender does not begin with everybody, and again every `relist_every`, to find
what was never pushed. It says nothing about people of whom something newer was.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from syncd import events
from syncd.clock import Clock
from syncd.errors import DeliveryError, SourceError
from syncd.events import emit
from syncd.model import Feed
from syncd.sources import (
    Answer,
    Listing,
    Postponed,
    Pushed,
    Question,
    Source,
    Unchanged,
    Words,
)
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.inbox import FeedRow

QUIET = timedelta(hours=1)
"""So long after a word nothing more may arrive although the size moves."""
SAY_AGAIN = timedelta(days=1)
MOVED_IDS = 10
MOVED_SHARE = 0.01
"""Sizes that differ by less say nothing: they count profiles, we count ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSettings:
    """What one sync reads."""

    feed: Feed
    snapshot_lag: timedelta
    relist_every: timedelta | None
    begins_whole: bool
    """The sender begins with everybody (Amplitude); False: with who moves (Engage)."""
    list_costs: bool
    """A whole list spends a quota, so sizes are compared first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far the last plan had read."""

    position: int = 0
    listed_at: datetime | None = None
    """When a whole list was last read, or was found to be unnecessary."""
    list_mark: str | None = None
    """The mark of that list."""
    beyond: int | None = None
    """People the owner counts whom no id names (anonymous), as of that list."""

    @classmethod
    def parse(cls, text: str | None) -> "Mark | None":
        """The mark as text; that of a list alone counts as nothing read of the feed."""
        if text is None:
            return None
        try:
            raw = json.loads(text)
            listed_at = raw["listed_at"]
            return cls(
                position=raw["position"],
                listed_at=datetime.fromisoformat(listed_at) if listed_at else None,
                list_mark=raw["list_mark"],
                beyond=raw["beyond"],
            )
        except (ValueError, TypeError, KeyError):
            return cls(list_mark=text)

    def text(self) -> str:
        """As a plan keeps it."""
        listed_at = self.listed_at.isoformat() if self.listed_at else None
        return json.dumps(
            {
                "position": self.position,
                "listed_at": listed_at,
                "list_mark": self.list_mark,
                "beyond": self.beyond,
            },
            sort_keys=True,
        )


class Sized(Protocol):
    """Asks the owner for the size of the audience or cohort, for free."""

    def __call__(self) -> int | None: ...


class PushedSource:
    """A `Source` over one feed, and over the whole list where there is one."""

    def __init__(
        self,
        settings: FeedSettings,
        clock: Clock,
        *,
        whole: Source | None = None,
        sized: Sized | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._whole = whole
        self._sized = sized

    def fingerprint(self) -> str:
        """That of the whole list, so that one may change over from one to the other."""
        if self._whole is not None:
            return self._whole.fingerprint()
        feed = self._settings.feed
        return json.dumps(
            {"source": "feed", "key": feed.key, "id_type": feed.id_type}, sort_keys=True
        )

    def ask(self, question: Question) -> Answer:
        """See `Source.ask`. Asks for a whole list first where one is due."""
        now, mark = self._clock.now(), Mark.parse(question.mark)
        with question.database.read() as connection:
            row = inbox.find(connection, self._settings.feed)
            position = inbox.position(connection)
        size = self._size()
        if row is not None and size is not None and not question.look_only:
            self._watch(question, row, size, now)
        if mark is None:
            return self._first(question, row, position, now)
        return self._next(question, row, position, mark, size, now)

    # ---- the first plan, and those after it -----------------------------------------

    def _first(
        self, question: Question, row: FeedRow | None, position: int, now: datetime
    ) -> Answer:
        """Nothing is known of what was wanted: everybody must be named."""
        lost = row is not None and row.pruned_to > 0
        mark = Mark(position=position, listed_at=now)
        if self._whole is not None and (lost or not self._settings.begins_whole):
            answer = self._whole.ask(replace(question, mark=None))
            if isinstance(answer, Unchanged | Postponed | Pushed):
                return answer
            return self._above(answer, row, mark, now)
        if row is None or row.last_at is None:
            return _nothing_yet(self._settings.feed)
        if lost and not question.look_only:
            emit(events.INBOX_INCOMPLETE, sync=question.sync, since=row.first_at)
        return self._alone(question, row, mark, after=0)

    def _next(
        self,
        question: Question,
        row: FeedRow | None,
        position: int,
        mark: Mark,
        size: int | None,
        now: datetime,
    ) -> Answer:
        reached = replace(mark, position=position)
        if self._is_list_due(mark, now):
            if self._sizes_agree(question, mark, size):
                reached = replace(reached, listed_at=now)
                return self._alone(question, row, reached, after=mark.position)
            answer = self._ask_for_list(question, mark)
            if isinstance(answer, Unchanged):
                reached = replace(reached, listed_at=now)
            elif answer is not None:
                above = self._above(answer, row, replace(reached, listed_at=now), now)
                alone = self._alone(question, row, reached, after=mark.position)
                return replace(above, instead=alone)
        if not question.again and not self._has_news(question, row, mark):
            return Unchanged(since=row.last_at if row is not None else None)
        return self._alone(question, row, reached, after=mark.position)

    def _is_list_due(self, mark: Mark, now: datetime) -> bool:
        every = self._settings.relist_every
        if self._whole is None or every is None:
            return False
        return mark.listed_at is None or mark.listed_at + every <= now

    def _sizes_agree(self, question: Question, mark: Mark, size: int | None) -> bool:
        """Whether a list that costs something would bring nothing new."""
        if not self._settings.list_costs or size is None or mark.beyond is None:
            return False
        return size == question.count() + mark.beyond

    def _ask_for_list(
        self, question: Question, mark: Mark
    ) -> Listing | Unchanged | None:
        """The list; None where it may not be had now: events go on without it."""
        if self._whole is None:
            return None
        asked = replace(question, mark=mark.list_mark, again=False)
        try:
            answer = self._whole.ask(asked)
        except (SourceError, DeliveryError) as error:
            name = question.sync
            emit(events.INBOX_LIST_FAILED, sync=name, error=str(error), code=error.code)
            return None
        return None if isinstance(answer, Postponed | Pushed) else answer

    def _has_news(self, question: Question, row: FeedRow | None, mark: Mark) -> bool:
        if row is None:
            return False
        with question.database.read() as connection:
            new = inbox.backlog(connection, row.id, after=mark.position)
        return new.people > 0

    # ---- answers --------------------------------------------------------------------

    def _alone(
        self, question: Question, row: FeedRow | None, mark: Mark, *, after: int
    ) -> Pushed:
        """Words above whom the plans so far wanted."""
        if row is None:
            return Pushed(words=_no_words, mark=mark.text)
        if not question.look_only:
            _say_folded(question, row, after)
        return Pushed(words=partial(_words, row.id, after=after), mark=mark.text)

    def _above(
        self, listing: Listing, row: FeedRow | None, mark: Mark, now: datetime
    ) -> Pushed:
        """Words above a list: those newer than it is sure of."""
        read_at = listing.as_of() or now
        newer_than = read_at - self._settings.snapshot_lag
        return Pushed(
            words=_no_words
            if row is None
            else partial(_words, row.id, newer_than=newer_than),
            mark=partial(_after_list, mark, listing),
            whole=listing,
        )

    # ---- is anything lost? ----------------------------------------------------------

    def _size(self) -> int | None:
        """The owner's size; None where nobody gives one now (it is only a hint)."""
        try:
            return self._sized() if self._sized is not None else None
        except (DeliveryError, SourceError):
            return None

    def _watch(
        self, question: Question, row: FeedRow, size: int, now: datetime
    ) -> None:
        """Say so when the size moves and nothing arrives; at most once a day."""
        before, seen_at = row.reported, row.reported_at
        arrived = row.last_at is not None and (seen_at is None or row.last_at > seen_at)
        if before is None or seen_at is None or arrived:
            with question.database.begin() as connection:
                inbox.note_size(connection, row.id, size, now)
            return
        moved = abs(size - before) >= max(MOVED_IDS, before * MOVED_SHARE)
        said = row.silent_at is not None and now - row.silent_at < SAY_AGAIN
        if not moved or said or now - seen_at < QUIET:
            return
        with question.database.begin() as connection:
            inbox.note_silence(connection, row.id, now)
        emit(
            events.INBOX_SILENT,
            sync=question.sync,
            last_event_at=row.last_at,
            reported=size,
            before=before,
        )


def position_of(mark: str | None) -> int:
    """Up to which position a plan with this mark has read its feed."""
    parsed = Mark.parse(mark)
    return parsed.position if parsed is not None else 0


def list_mark_of(mark: str | None) -> str | None:
    """The mark of the whole list that a plan with this mark last read."""
    parsed = Mark.parse(mark)
    return parsed.list_mark if parsed is not None else None


def _nothing_yet(feed: Feed) -> Postponed:
    return Postponed(
        reason="not_ready",
        message=f"nothing was pushed about {feed.key} so far: connect its sender",
    )


def _no_words(database: Database) -> Iterator[Words]:
    return iter(())


def _words(
    feed_id: int,
    database: Database,
    *,
    after: int = 0,
    newer_than: datetime | None = None,
) -> Iterator[Words]:
    with database.read() as connection:
        yield from inbox.words(connection, feed_id, after=after, newer_than=newer_than)


def _after_list(mark: Mark, listing: Listing) -> str:
    return replace(
        mark, list_mark=listing.mark(), beyond=sum(listing.left_out().values())
    ).text()


def _say_folded(question: Question, row: FeedRow, after: int) -> None:
    with question.database.read() as connection:
        new = inbox.backlog(connection, row.id, after=after)
    if new.people:
        emit(
            events.INBOX_FOLDED,
            sync=question.sync,
            events=new.people,
            entered=new.entered,
            exited=new.exited,
            oldest_event=new.oldest,
            newest_event=new.newest,
        )
