"""What each page says, in words and numbers that are ready to be laid out.

Times are words in the sync's zone, numbers that only people read are words as well;
what a picture is drawn of stays a number. No member id is in any of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How something is: a glyph and a word, never a colour alone."""

    glyph: str
    word: str
    tone: str
    """fine, late, bad, held, busy or idle: the colour that goes with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Words that lead somewhere on this page."""

    words: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Top:
    """What stands on every page."""

    instance: str
    version: str
    now: str
    """When the page was made, with the zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One big number."""

    label: str
    value: str
    note: str = ""
    tone: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many syncs are in a state, or runs ended in one way; a link to those."""

    mark: Mark
    count: int
    href: str
    chosen: bool = False
    """The page shows these alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and what is known of it."""

    name: str
    words: str
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run in a strip of runs."""

    run_id: str
    outcome: str
    """As the model names it; `running` without an end."""
    words: str
    """How it ended, why, and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """The age of what was delivered, beside what was promised."""

    share: float | None
    """Age ÷ `fresh_within`; 1 and more is stale. None: nothing was promised."""
    words: str
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The last runs of a sync that did something, oldest first."""

    sizes: tuple[int, ...] = ()
    """Members after each run that knew them."""
    moves: tuple[tuple[int, int], ...] = ()
    """(entered, exited) of each run."""
    cells: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sync in the list."""

    name: str
    owner: str
    direction: str
    """`Engage → Amplitude`."""
    mark: Mark
    also: str
    """Beside the state: `overdue 4 h`, `▸ 62 %`."""
    why: str
    """What stopped it; empty for a sync that is well."""
    freshness: Freshness
    last: str
    """When it last succeeded."""
    next: str
    """When it runs next, with the zone, or for whom it waits."""
    size: str
    history: History


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """What needs a person most, or that nothing does."""

    sentence: str
    """`1 of 4 syncs needs you.`"""
    mark: Mark
    worst: str
    """Which sync, and how it is: `churn-risk is held: 9,870 people would leave.`"""
    reason: str
    command: str
    """What to type now."""
    look: Link | None
    """The page where a decision is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """The downloads of one Amplitude project this month."""

    project: str
    used: int
    limit: int
    reserve: int
    forecast: int
    """At the reset, if every schedule downloads as often as it may."""
    elapsed: float
    """Share of the month that is over, 0 to 1."""
    spent: tuple[tuple[float, int], ...]
    """(share of the month, used by then), rising; the last one is now."""
    words: str
    """When it was asked, when it resets, whether it is an estimate."""

    @property
    def even_pace(self) -> int:
        """What would be used by now if every day used the same."""
        return round((self.limit - self.reserve) * self.elapsed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why things failed, one kind."""

    whose: str
    """theirs, ours, yours or people."""
    what: str
    count: str
    """`6 runs, all recovered`, `41 people`."""
    code: str
    """Of its help page; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """`/`: is anything wrong, with what, and what to do."""

    top: Top
    needed: Needed
    counts: tuple[Count, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    chosen: str
    """The state that the list is filtered by; empty for all."""
    months: tuple[Month, ...]
    causes: tuple[Cause, ...]
    notices: tuple[str, ...]
    """Stopped or throttled connections, in sentences."""
    foot: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a person may decide, as it is typed."""

    when: str
    command: str
    effect: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """A guard that holds a plan."""

    guard: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A held plan."""

    run_id: str
    short_id: str
    waits: bool
    """A person may still decide."""
    since: str
    trips: tuple[Trip, ...]
    figures: tuple[Figure, ...]
    """Members now, would enter, would exit, share, limit, after."""
    notes: tuple[str, ...]
    """What else to know: a changed identity, the 24 hours before."""
    shares: tuple[float, ...]
    """Exit shares of the last plans, oldest first, this one last."""
    choices: tuple[Choice, ...]
    until: str
    """`until Wed 03:01 CEST, then it is dropped`."""
    ask: str
    """Who knows: the owner; empty when nobody is named."""
    fate: str
    """What became of it; empty while it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase of a run."""

    name: str
    milliseconds: float
    took: str
    did: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One station between the source and the destination."""

    name: str
    count: str
    tone: str = ""
    flows: bool = True
    """People come here from the station before; False: they were left over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run in a table."""

    run_id: str
    short_id: str
    started: str
    trigger: str
    mark: Mark
    took: str
    members: str
    change: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPage:
    """`/syncs/<name>`: one sync, its last run, what a person may decide."""

    top: Top
    name: str
    mark: Mark
    also: str
    ends: str
    """What it keeps equal."""
    description: str
    why: str
    facts: tuple[Fact, ...]
    freshness: Freshness
    pause: str
    """Who paused it, why, until when; empty while nobody did."""
    plan: Plan | None
    stages: tuple[Stage, ...]
    last: RunLine | None
    steps: tuple[Step, ...]
    history: History
    counts: tuple[Count, ...]
    """Ways in which runs ended, as filters."""
    began: int
    """Runs of these that began; the others are slots that were skipped."""
    runs: tuple[RunLine, ...]
    chosen: str
    """The outcome that the runs are filtered by; empty for all that began."""
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Requests that failed in the same way."""

    count: str
    kind: str
    words: str
    """The vendor's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """One batch and what became of it; never whom it names."""

    batch_id: int
    operation: str
    ids: str
    requests: str
    result: str
    at: str
    took: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """`/runs/<id>`: what one run did, in its order."""

    top: Top
    run_id: str
    short_id: str
    sync: Link
    mark: Mark
    headline: str
    origin: str
    reasons: tuple[Trip, ...]
    """Why it was held, failed or skipped; the guard or code of each."""
    plan: Plan | None
    decisions: tuple[str, ...]
    """Who decided what, when, through which door, and why."""
    sent_by: Link | None
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    sums: tuple[Fact, ...]
    failures: tuple[Failure, ...]
    batches: tuple[BatchLine, ...]
    more_batches: int
    """Batches that are not shown."""
    command: str


class NotThere(Exception):
    """Nothing has this name; `near` are the names that look most like it."""

    def __init__(self, what: str, near: Sequence[Link] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.near = tuple(near)


class Board(Protocol):
    """Fills the pages from the store. May take its time; called on a thread."""

    def overview(self, state: str) -> ListPage:
        """Every sync, or those in one state. Raises `NotThere` for no state."""

    def sync(self, name: str, outcome: str) -> SyncPage:
        """One sync, its runs those that ended in one way. Raises `NotThere`."""

    def run(self, run_id: str) -> RunPage:
        """One run by its id or the ending of it. Raises `NotThere`."""

    def top(self) -> Top:
        """What stands on every page; asks no store."""
