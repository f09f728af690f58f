"""What a run would do: the same reading, diff and guard, and nothing stored or sent.

Computed from the source and our own acknowledged set, so it spends no request to the
destination; the store may be in use by a daemon, or not exist yet (then everybody
would enter). A cohort's file must have been paid for before (`Engine.fetch`): reading
it is free.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile

from syncd.app.build import identity_of_sync, limits_of
from syncd.app.feeding import pushed_source
from syncd.app.reading import source_of, whole_list_of
from syncd.app.vendors import Vendors
from syncd.app.writing import batch_size_of
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clock import Clock
from syncd.config.settings import (
    Events,
    FromAudience,
    FromCohort,
    Settings,
    SyncSettings,
)
from syncd.errors import SourceError
from syncd.model import IdType, Moved, SnapshotDigest
from syncd.sources import (
    Answer,
    Listing,
    Postponed,
    Pushed,
    Question,
    Source,
    Unchanged,
)
from syncd.sources.amplitude_download import row_count
from syncd.sources.amplitude_download.members import Members
from syncd.store import acknowledged, bindings, runs
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.fetches import Fetch
from syncd.sync.draft import Draft, draft, spread_of
from syncd.sync.guard import Trip, judge
from syncd.sync.identity import Aspect, Change, Side, compare
from syncd.sync.ids import Reason
from syncd.sync.plan import Plan
from syncd.sync.sides import changed_sides
from syncd.sync.snapshot import Reading, Snapshot, take_pushed, take_snapshot
from syncd.sync.steps import identity_of
from syncd.sync.window import moved_lately


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One sync's plan, as it would be decided now."""

    plan: Plan
    trips: tuple[Trip, ...]
    refused: dict[str, int]
    """Ids that hygiene keeps out, by reason."""
    waits: runs.Run | None
    """The held run that must be decided on before anything is sent."""
    sides: tuple[Side, ...] = ()
    """What a changed identity does to its targets."""
    exits_24h: int = 0
    """Who leaves with this plan, or left in the 24 hours before it, unapproved."""
    exit_share_24h: float = 0.0
    note: str = ""
    """Why nothing was read, where nothing was."""


@dataclass(frozen=True, slots=True)
class Look:
    """Where a preview looks."""

    settings: Settings
    database: Database
    folder: Path
    """For temporary files as large as an audience."""
    vendors: Vendors
    clock: Clock


@dataclass(frozen=True, slots=True)
class PaidFile:
    """The file of a cohort that was paid for."""

    fetch: Fetch
    size: int | None
    """Of the cohort, as listed now."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The last plan's binding, and how the configuration differs from it."""

    binding: Binding | None
    change: Change | None


def preview(look: Look, sync: SyncSettings, file: PaidFile | None = None) -> Preview:
    """Plan one sync. Raises `SourceError` when the source cannot be believed.

    `file` is that of a sync that reads a cohort.
    """
    source = source_of(look.settings, sync, look.vendors, look.clock)
    binding, waits = _stored(look.database, sync.name)
    change = _change(look, sync, source, binding)
    answer = _answer(look, sync, source, file, _Known(binding, change))
    if isinstance(answer, Unchanged | Postponed):
        note = answer.message if isinstance(answer, Postponed) else "nothing new"
        return nothing_new(look, sync, note)
    compared = None if _moved(change) else binding
    with look.database.read() as connection:
        spread = spread_of(connection, compared)
    how = Reading(
        id_type=sync.match,
        folder=look.folder,
        n_buckets=spread,
        stop=threading.Event(),
    )
    with closing(_read(answer, look.database, how)) as snapshot:
        made = draft(
            look.database,
            snapshot,
            binding=compared,
            leaving=binding if _emptied(change) else None,
            below=None if snapshot.anew else binding,
            id_type=sync.match,
            batch_size=batch_size_of(look.settings, sync),
            folder=look.folder,
            now=look.clock.now(),
        )
    made.close()
    lately = moved_lately(look.database, sync.name, look.clock.now())
    return Preview(
        plan=made.plan,
        trips=_trips(sync, made, change, lately),
        sides=changed_sides(
            look.database,
            binding,
            change,
            identity_of_sync(look.settings, sync, source),
            made.plan,
            look.clock.now(),
        ),
        exits_24h=made.plan.exits_over(lately),
        exit_share_24h=made.plan.exit_share_over(lately),
        refused=_refused(snapshot, made),
        waits=waits,
    )


def _refused(snapshot: Snapshot, made: Draft) -> dict[str, int]:
    if not made.forgotten:
        return snapshot.refused
    return snapshot.refused | {Reason.FORGOTTEN.value: made.forgotten}


def _read(answer: Listing | Pushed, database: Database, how: Reading) -> Snapshot:
    """As a run reads: a list that only corrects what was pushed may fail."""
    if not isinstance(answer, Pushed):
        return take_snapshot(answer, how)
    try:
        return take_pushed(answer, database, how)
    except SourceError:
        if answer.instead is None:
            raise
        return take_pushed(answer.instead, database, how)


def nothing_new(look: Look, sync: SyncSettings, why: str) -> Preview:
    """The plan of a sync whose source is as it was: nobody moves."""
    binding, waits = _stored(look.database, sync.name)
    count = 0
    if binding is not None:
        with look.database.read() as connection:
            count = acknowledged.count(connection, binding, look.clock.now())
    plan = Plan(
        members=count,
        acknowledged=count,
        union=count,
        entered=0,
        exited=0,
        reasserted=0,
        batches=0,
        hash="",
        digest=SnapshotDigest(count=count, total=0),
    )
    return Preview(plan=plan, trips=(), refused={}, waits=waits, note=why)


def _answer(
    look: Look,
    sync: SyncSettings,
    source: Source,
    file: PaidFile | None,
    known: _Known,
) -> Answer:
    """What the source says."""
    if sync.source.events is not None:
        return _pushed(look, sync, sync.source.events, known)
    if isinstance(sync.source, FromCohort):
        if file is None:
            raise TypeError("a cohort is planned from its file")
        client = look.vendors.downloads(sync.source.connection)
        return _File(client, file, sync.match, look.folder)
    return source.ask(_question(look, sync))


def _pushed(look: Look, sync: SyncSettings, events: Events, known: _Known) -> Answer:
    """What was pushed; above a whole list where that costs nothing."""
    whole = None
    if isinstance(sync.source, FromAudience):
        whole = whole_list_of(look.settings, sync, look.vendors, look.clock)
    source = pushed_source(look.settings, sync, events, look.vendors, look.clock, whole)
    below = known.binding.source_mark if known.binding is not None else None
    mark = below if known.change is None else None
    question = replace(_question(look, sync), mark=mark, below=below, again=True)
    return source.ask(question)


class _File:
    """A downloaded cohort as a `Listing` that leaves nothing in the store.

    What a run would not believe is not believed here either.
    """

    def __init__(
        self, client: AmplitudeDownloads, paid: PaidFile, match: IdType, folder: Path
    ) -> None:
        self._client = client
        self._paid = paid
        self._match = match
        self._folder = folder
        self._anonymous = 0

    def blocks(self) -> Iterator[list[bytes]]:
        fetch = self._paid.fetch
        with TemporaryFile(dir=self._folder) as file:
            self._client.file(fetch.request_id or "", file)
            file.seek(0)
            members = Members(file, self._match)
            yield from members.blocks()
        reason = row_count.doubt(fetch, members.rows, size_now=self._paid.size)
        if reason is not None:
            raise reason
        self._anonymous = members.anonymous

    def left_out(self) -> Mapping[str, int]:
        return {"anonymous": self._anonymous} if self._anonymous else {}

    def mark(self) -> str | None:
        return None

    def as_of(self) -> datetime:
        return self._paid.fetch.asked_at


def _question(look: Look, sync: SyncSettings) -> Question:
    return Question(
        sync=sync.name,
        run_id="",
        database=look.database,
        mark=None,
        by_person=True,
        look_only=True,
        stop=threading.Event(),
        until=look.clock.now() + sync.max_runtime,
    )


def _change(
    look: Look, sync: SyncSettings, source: Source, binding: Binding | None
) -> Change | None:
    if binding is None:
        return None
    now = identity_of_sync(look.settings, sync, source)
    return compare(identity_of(binding), now, external_id=binding.external_id)


def _trips(
    sync: SyncSettings, made: Draft, change: Change | None, lately: Moved
) -> tuple[Trip, ...]:
    return judge(
        made.plan,
        limits_of(sync),
        baseline_intact=made.baseline_intact,
        change=change,
        lately=lately,
    )


def _stored(database: Database, name: str) -> tuple[Binding | None, runs.Run | None]:
    with database.read() as connection:
        return (
            bindings.current(connection, name),
            runs.waiting_for_a_person(connection, name),
        )


def _moved(change: Change | None) -> bool:
    return change is not None and change.aspect is not Aspect.SOURCE


def _emptied(change: Change | None) -> bool:
    return change is not None and change.aspect is Aspect.ID_TYPE
