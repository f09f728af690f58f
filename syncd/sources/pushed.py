"""A sync that is fed by events: what was pushed to us, and a whole list now and then.

The store keeps the newest word about each person of a feed. Since the last plan only
some are new; they stand above whom the plans so far wanted. A whole list comes first
where the sender does not begin with everybody, and again every `relist_every`, to find
what was never pushed. It says nothing about people of whom something newer was, and
whatever it knew of is not said again by a word that comes late.

Words that were answered may be lost with their store (`store.failovers`). A list is due
then as soon as one can be sure of all that was said before; sizes say nothing, since
what we count is what may be wrong.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

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
from syncd.sources.feed_mark import Mark
from syncd.sources.feed_watch import Sized, size_now, watch
from syncd.store import failovers, inbox
from syncd.store.database import Database
from syncd.store.inbox import FeedRow

AGREEMENTS = 4
"""So often in a row equal sizes stand for a due list; then it is read all the same: an
entry and an exit that were both lost leave the size as it is."""


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
class _Asked:
    """One question, and what the store knows of the feed while it is answered."""

    question: Question
    row: FeedRow | None
    position: int
    """The highest there is; words above it may be read as well, and are read again."""
    size: int | None
    now: datetime
    unheard: datetime | None
    """Words of before this moment may be lost; None: none are."""


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
        now = self._clock.now()
        with question.database.read() as connection:
            row = inbox.find(connection, self._settings.feed)
            position = inbox.position(connection)
            unheard = failovers.unheard(connection, question.sync)
        size = size_now(self._sized)
        if row is not None and size is not None and not question.look_only:
            watch(question.database, question.sync, row, size, now)
        asked = _Asked(
            question=question,
            row=row,
            position=position,
            size=size,
            now=now,
            unheard=unheard,
        )
        mark = self._mark(question)
        return self._first(asked) if mark is None else self._next(asked, mark)

    def _mark(self, question: Question) -> Mark | None:
        """What words may stand on; None where nobody of this feed was wanted so far."""
        mark = Mark.parse(question.below, self._settings.feed)
        if mark is None or question.mark is not None:
            return mark
        # Another target, another list, a baseline that lost members: whom the plans
        # wanted is known all the same, but a list had better be read, though it be the
        # one that was read before.
        of_a_list_alone = mark == Mark(list_mark=mark.list_mark)
        return (
            None if of_a_list_alone else replace(mark, listed_at=None, list_mark=None)
        )

    # ---- the first plan, and those after it -----------------------------------------

    def _first(self, asked: _Asked) -> Answer:
        """Nothing is known of what was wanted: everybody must be named."""
        row = asked.row
        pruned = row is not None and row.pruned_to > 0
        lost = pruned or asked.unheard is not None
        mark = Mark(position=asked.position, listed_at=asked.now)
        if self._whole is not None and (lost or not self._settings.begins_whole):
            answer = self._whole.ask(replace(asked.question, mark=None))
            if isinstance(answer, Unchanged | Postponed | Pushed):
                return answer
            return self._above(asked, answer, mark)
        if row is None or row.last_at is None:
            return _nothing_yet(self._settings.feed)
        if pruned:
            _say_incomplete(asked)
        return replace(self._alone(asked, mark, after=0), anew=True)

    def _next(self, asked: _Asked, mark: Mark) -> Answer:
        """What is new stands above whom the plans so far wanted, or above a list."""
        idle = not self._is_list_due(asked, mark) and not _has_news(asked, mark)
        nothing_new = Unchanged(since=asked.row.last_at if asked.row else None)
        if _is_incomplete(asked, mark):
            # What is missing was never read: equal sizes prove nothing.
            mark = replace(mark, listed_at=None, beyond=None)
            if self._whole is None:
                _say_incomplete(asked)
            idle = False
        elif self._is_list_owed(asked, mark):
            mark = replace(mark, listed_at=None, beyond=None)
        elif idle:
            return nothing_new
        # Words said twice change nothing: where it all begins anew, all are read again.
        after = mark.position if asked.question.mark is not None else 0
        if not self._is_list_due(asked, mark):
            reached = replace(mark, position=asked.position)
            return self._alone(asked, reached, after=after)
        said = self._with_list(asked, mark, after)
        # A list that is owed for hours is asked for by each run: nothing is compared
        # for that alone.
        return nothing_new if idle and said.whole is None else said

    def _with_list(self, asked: _Asked, mark: Mark, after: int) -> Pushed:
        """A list is due: above it, or without it where it may not be had."""
        alone = partial(self._alone, asked, after=after)
        reached = replace(mark, position=asked.position)
        listed = replace(reached, listed_at=asked.now)
        if mark.agreed < AGREEMENTS and self._sizes_agree(asked, mark):
            return alone(replace(listed, agreed=mark.agreed + 1))
        listed = replace(listed, agreed=0)
        match self._ask_for_list(asked.question, mark):
            case None:
                return alone(reached)
            case Unchanged(since=since):
                return alone(replace(listed, sure_until=self._sure(mark, since)))
            case listing:
                above = self._above(asked, listing, listed)
                return replace(above, instead=alone(reached))

    def _is_list_due(self, asked: _Asked, mark: Mark) -> bool:
        if self._whole is None:
            return False
        if mark.listed_at is None:
            return True
        every = self._settings.relist_every
        return every is not None and mark.listed_at + every <= asked.now

    def _is_list_owed(self, asked: _Asked, mark: Mark) -> bool:
        """Whether words may be lost that a list of this moment would be sure of."""
        if self._whole is None or asked.unheard is None or mark.knows_of(asked.unheard):
            return False
        return asked.unheard + self._settings.snapshot_lag <= asked.now

    def _sizes_agree(self, asked: _Asked, mark: Mark) -> bool:
        """Whether a list that costs something would bring nothing new."""
        if not self._settings.list_costs or asked.size is None or mark.beyond is None:
            return False
        return asked.size == asked.question.wanted() + mark.beyond

    def _ask_for_list(
        self, question: Question, mark: Mark
    ) -> Listing | Unchanged | None:
        """The list; None where it may not be had now: events go on without it."""
        if self._whole is None:
            return None
        try:
            answer = self._whole.ask(
                replace(question, mark=mark.list_mark, again=False)
            )
        except (SourceError, DeliveryError) as error:
            if error.code == INTERRUPTED:
                raise
            if not question.look_only:
                say_list_failed(question.sync, error)
            return None
        return None if isinstance(answer, Postponed | Pushed) else answer

    def _sure(self, mark: Mark, since: datetime | None) -> datetime | None:
        """Up to when the list that is as it was knew of everything.

        Where no plan of ours noted that (it was a sync of lists alone), the list's own
        time tells: it has not changed since.
        """
        if mark.sure_until is not None or since is None:
            return mark.sure_until
        return since - self._settings.snapshot_lag

    # ---- answers --------------------------------------------------------------------

    def _alone(self, asked: _Asked, mark: Mark, *, after: int) -> Pushed:
        """Words above whom the plans so far wanted."""
        row, text = asked.row, partial(mark.text, self._settings.feed)
        if row is None:
            return Pushed(words=_no_words, mark=text)
        _say_folded(asked, row, after)
        sure = mark.sure_until
        if sure is not None:
            # A list is of the past: where it is not, our clock was set back since.
            sure = min(sure, asked.now - self._settings.snapshot_lag)
        words = partial(_words, row.id, after=after, newer_than=sure)
        return Pushed(words=words, mark=text)

    def _above(self, asked: _Asked, listing: Listing, mark: Mark) -> Pushed:
        """Words above a list: those newer than it is sure of."""
        row, sure = asked.row, listing.as_of() or asked.now
        mark = replace(mark, sure_until=sure - self._settings.snapshot_lag)
        words = _no_words
        if row is not None:
            words = partial(_words, row.id, after=0, newer_than=mark.sure_until)
        return Pushed(
            words=words, mark=partial(self._after, listing, mark), whole=listing
        )

    def _after(self, listing: Listing, mark: Mark) -> str:
        """The mark of a plan above a list that was read."""
        beyond = sum(listing.left_out().values())
        mark = replace(mark, list_mark=listing.mark(), beyond=beyond)
        return mark.text(self._settings.feed)


INTERRUPTED = "source.interrupted"
"""Code of the error of a source that was told to stop."""


def say_list_failed(sync: str, error: SourceError | DeliveryError) -> None:
    """A list that only corrects what was pushed could not be read."""
    emit(events.INBOX_LIST_FAILED, sync=sync, error=str(error), code=error.code)


def _nothing_yet(feed: Feed) -> Postponed:
    return Postponed(
        reason="not_ready",
        message=f"nothing was pushed about {feed.key} so far: connect its sender",
    )


# ---- words --------------------------------------------------------------------------


def _no_words(database: Database) -> Iterator[Words]:
    return iter(())


def _words(
    feed_id: int, database: Database, *, after: int, newer_than: datetime | None
) -> Iterator[Words]:
    with database.read() as connection:
        yield from inbox.words(connection, feed_id, after=after, newer_than=newer_than)


def _has_news(asked: _Asked, mark: Mark) -> bool:
    if asked.question.again or asked.question.mark is None:
        return True
    return _new_people(asked, mark.position) > 0


def _new_people(asked: _Asked, after: int) -> int:
    if asked.row is None:
        return 0
    with asked.question.database.read() as connection:
        return inbox.backlog(connection, asked.row.id, after=after).people


def _is_incomplete(asked: _Asked, mark: Mark) -> bool:
    """Whether words were dropped that no plan of this sync has read."""
    return asked.row is not None and asked.row.pruned_to > mark.position


def _say_incomplete(asked: _Asked) -> None:
    question, row = asked.question, asked.row
    if row is None or question.look_only:
        return
    with question.database.read() as connection:
        oldest = inbox.backlog(connection, row.id, after=0).oldest
    emit(events.INBOX_INCOMPLETE, sync=question.sync, since=oldest or asked.now)


def _say_folded(asked: _Asked, row: FeedRow, after: int) -> None:
    question = asked.question
    if question.look_only:
        return
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
