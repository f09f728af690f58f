"""What is wrong now, as the store knows it, in the words in which people are told.

Few rows are read, and no member. Counts, names of the configuration and codes: nothing
here ever holds an id, or words of a vendor that might quote one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from syncd.app.observing.known import Known, Lately, ends, is_quiet, overdue_by, read
from syncd.app.observing.one_sync import of_sync
from syncd.app.observing.shared import low_quotas, stopped
from syncd.clock import Clock
from syncd.config.settings import Settings, SyncSettings
from syncd.notify import Kind, Seen
from syncd.store.database import Connection

__all__ = ["Lately", "Sights", "look", "not_fresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sights:
    """Everything that is wrong at one moment."""

    seen: tuple[Seen, ...]
    masked: Mapping[str, frozenset[Kind]]
    """Name of what is seen -> kinds that are seen as well and say it better."""
    unsure: frozenset[str]
    """Names about which nothing is said now: of what is paused or in a blackout."""


def look(
    connection: Connection, settings: Settings, clock: Clock, lately: Lately
) -> Sights:
    """What is wrong with the syncs that run, their connections and their quotas."""
    known = read(connection, settings, clock)
    running = [sync for sync in settings.syncs if sync.enabled]
    quiet = {sync.name for sync in running if is_quiet(known, sync)}
    lately.note(quiet, known.now)
    seen = [*stopped(known, running), *low_quotas(connection, known)]
    masked: dict[str, frozenset[Kind]] = {}
    unsure = {f"{kind}/{name}" for kind in Kind for name in quiet}
    unsure |= {each.name for each in seen if quiet.issuperset(each.concerns)}
    for sync in running:
        if sync.name not in quiet:
            found = list(of_sync(connection, known, sync))
            seen += found
            masked |= _masked(known, sync, found)
            if known.is_on_its_way(sync) or lately.was_quiet(sync, known.now):
                unsure.add(f"{Kind.STALE}/{sync.name}")
    return Sights(
        seen=tuple(each for each in seen if each.name not in unsure),
        masked=masked,
        unsure=frozenset(unsure),
    )


def not_fresh(
    connection: Connection, settings: Settings, clock: Clock, lately: Lately
) -> list[str]:
    """The syncs that are stale, but for those that a person or a window stops."""
    known = read(connection, settings, clock)
    running = [sync for sync in settings.syncs if sync.enabled]
    quiet = [sync.name for sync in running if is_quiet(known, sync)]
    lately.note(quiet, known.now)
    return [
        sync.name
        for sync in running
        if not lately.was_quiet(sync, known.now)
        and overdue_by(connection, known, sync) is not None
    ]


def _masked(
    known: Known, sync: SyncSettings, found: Collection[Seen]
) -> dict[str, frozenset[Kind]]:
    """One state at a time: held before failing before stale, as everywhere."""
    kinds = {each.kind for each in found}
    if ends(sync) & set(known.stopped):
        kinds.add(Kind.CONNECTION_STOPPED)
    better = {
        Kind.FAILING: {Kind.HELD, Kind.CONNECTION_STOPPED},
        Kind.STALE: {Kind.HELD, Kind.CONNECTION_STOPPED, Kind.FAILING},
    }
    return {
        each.name: frozenset(kinds & better[each.kind])
        for each in found
        if each.kind in better
    }
