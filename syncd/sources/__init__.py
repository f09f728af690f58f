"""Where members come from. A source says who is in an audience, all of them, now.

Some lists can be read at any time (`WholeList`: a warehouse, files). Others must be
asked for first, since asking costs and nothing may have changed (`Source`: a cohort's
download, what was pushed to us). The engine knows only the second kind; `Standing`
makes one of the first.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from syncd.store.database import Database


class WholeList(Protocol):
    """A list of member ids that can be read at any time, as of one instant."""

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield every member id, in blocks of any size, in any order.

        Ids are raw: UTF-8 bytes as the source holds them, duplicates allowed, no
        hygiene (that happens once, in `sync/ids`). The list is consistent (one
        snapshot), and it is whole: raise `SourceUnavailable` or `SourceUntrusted`
        rather than end early, since a short list would read as exits. Memory stays
        bounded by one block. May be called again for a new read.
        """
        ...

    def fingerprint(self) -> str:
        """What this source reads, as stable text without secrets.

        Part of the sync's identity: when it changes, the next run is held.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who asks a source for its list, and what they know already."""

    sync: str
    run_id: str
    database: Database
    """Where sources keep what they must not forget (requests, spent quota)."""
    mark: str | None
    """The mark of the list that the last plan was made from; None: no such plan, or it
    says nothing any more."""
    below: str | None = None
    """The mark of the last plan whatever became of it since (another target, another
    source, stored members that were lost): whom that plan wanted can still be told, so
    words about the same people can stand above it. None: there was no plan."""
    again: bool = False
    """The list is wanted even if it is unchanged, as long as that costs nothing."""
    by_person: bool = False
    """A person waits for it: the reserve may be touched, the pace is not kept."""
    wanted: Callable[[], int] = int
    """Counts whom the plans so far wanted as members, those included whom the
    destination did not take; reads them all, so only where it matters."""
    look_only: bool = False
    """Nothing may be written or logged: a person only wants to see."""
    stop: threading.Event
    """Set when the process was asked to stop: give up waiting."""
    until: datetime
    """When the run ends at the latest."""


class Listing(Protocol):
    """A list that may be read now, once."""

    def blocks(self) -> Iterator[list[bytes]]:
        """As `WholeList.blocks`."""
        ...

    def left_out(self) -> Mapping[str, int]:
        """People in the list who cannot be named by an id of the wanted type, by
        reason (`anonymous`). To be asked once the blocks are read."""
        ...

    def mark(self) -> str | None:
        """Which state of the source this was; an equal one needs no second reading.

        To be asked once the blocks are read; None where the source has no such thing.
        """
        ...

    def as_of(self) -> datetime | None:
        """When the list was true, where that was before it was asked for; else None."""
        ...


Words = tuple[list[bytes], list[bytes]]
"""(who entered, who exited): a block of the newest words about people, each of whom is
named once in all blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was pushed to us: the newest word about each person it names.

    It stands over a whole list where there is one, else over whom the plans so far
    wanted at the destination.
    """

    words: Callable[[Database], Iterator[Words]]
    """Reads them, in blocks of any size; called once."""
    mark: Callable[[], str | None]
    """As `Listing.mark`, to be asked once words and list are read."""
    anew: bool = False
    """The words name everybody: whom the plans so far wanted counts for nothing."""
    whole: Listing | None = None
    instead: "Pushed | None" = None
    """What to go on with where the list turns out to be unreadable; None: it is needed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """The source is as it was when the last plan was made: there is nothing to read."""

    since: datetime | None = None
    """When the source says it last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponed:
    """The list is wanted but may not be had now; the next due run asks again."""

    reason: str
    """Of the skipped run. `quota`: the month is used up or scarce; `budget`: the sync's
    own is; `rate`: a limit per minute, ours or the vendor's; `pointless`: the last ones
    brought the same members, or nothing; `not_ready`: there is no list yet."""
    message: str
    """The same in a sentence, with figures."""
    until: datetime | None = None
    """When it may be had; None when nobody can say."""


Answer = Listing | Pushed | Unchanged | Postponed


class Source(Protocol):
    """A list that is asked for before it is read. Thread-safe."""

    def ask(self, question: Question) -> Answer:
        """Ask whether there is anything to read, and prepare it for reading.

        May take minutes (a vendor's job), wait on `question.stop`, and cost quota.
        Raises `SourceUnavailable`, `SourceUntrusted`, or `DeliveryError` when the
        credentials are refused.
        """
        ...

    def fingerprint(self) -> str:
        """As `WholeList.fingerprint`."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """A `WholeList` as a `Source`: always there, asking costs nothing."""

    inner: WholeList

    def ask(self, question: Question) -> Listing:
        """The list itself, whatever was read before."""
        return _Unmarked(self.inner)

    def fingerprint(self) -> str:
        """See `WholeList.fingerprint`."""
        return self.inner.fingerprint()


@dataclass(frozen=True, slots=True)
class _Unmarked:
    inner: WholeList

    def blocks(self) -> Iterator[list[bytes]]:
        return self.inner.blocks()

    def left_out(self) -> Mapping[str, int]:
        return {}

    def mark(self) -> str | None:
        return None

    def as_of(self) -> datetime | None:
        return None
