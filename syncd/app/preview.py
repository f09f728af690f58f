"""What a run would do: the same reading, diff and guard, and nothing stored or sent.

Computed from the source and our own acknowledged set, so it spends no request at all;
the store may be in use by a daemon, or not exist yet (then everybody would enter).
"""

import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from syncd.app.build import identity_of_sync, limits_of
from syncd.app.reading import source_of
from syncd.app.vendors import Vendors
from syncd.clock import Clock
from syncd.config.settings import Settings, SyncSettings
from syncd.sources import Postponed, Question, Unchanged
from syncd.store import bindings, runs
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.sync.draft import draft, spread_of, take_snapshot
from syncd.sync.guard import Trip, judge
from syncd.sync.identity import Aspect, Change, compare
from syncd.sync.plan import Plan
from syncd.sync.steps import identity_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One sync's plan, as it would be decided now."""

    plan: Plan
    trips: tuple[Trip, ...]
    refused: dict[str, int]
    """Ids that hygiene keeps out, by reason."""
    waits: runs.Run | None
    """The held run that must be decided on before anything is sent."""


def preview(
    settings: Settings,
    sync: SyncSettings,
    database: Database,
    folder: Path,
    clock: Clock,
) -> Preview:
    """Plan one sync. Raises `SourceError` when the source cannot be believed."""
    source = source_of(settings, sync, Vendors(settings, clock), clock)
    binding, waits = _stored(database, sync.name)
    change = None
    if binding is not None:
        now = identity_of_sync(settings, sync, source)
        change = compare(identity_of(binding), now, external_id=binding.external_id)
    compared = None if _moved(change) else binding
    with database.read() as connection:
        spread = spread_of(connection, compared)
    listing = source.ask(_question(sync, database, clock))
    if isinstance(listing, Unchanged | Postponed):
        raise TypeError("not yet")
    snapshot = take_snapshot(listing, sync.match, folder, spread, threading.Event())
    with closing(snapshot.partition):
        made = draft(
            database,
            snapshot,
            binding=compared,
            leaving=binding if _emptied(change) else None,
            batch_size=sync.delivery.batch_size,
            folder=folder,
            now=clock.now(),
        )
    made.close()
    trips = judge(
        made.plan,
        limits_of(sync),
        baseline_intact=made.baseline_intact,
        change=change,
    )
    return Preview(plan=made.plan, trips=trips, refused=snapshot.refused, waits=waits)


def _question(sync: SyncSettings, database: Database, clock: Clock) -> Question:
    now = clock.now()
    return Question(
        sync=sync.name,
        run_id="",
        database=database,
        mark=None,
        by_person=True,
        stop=threading.Event(),
        until=now + sync.max_runtime,
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
