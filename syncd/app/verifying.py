"""`verify`: reads a cohort of ours back and compares it with what is acknowledged.

The sync is held at rest meanwhile (its lease), so nothing of ours moves anybody. Who
put somebody there whom nobody acknowledged is told from what the store has on record.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from syncd import events
from syncd.app.engine import Engine, UnknownSync
from syncd.app.reading_back import Reader, read_back, why_unreadable
from syncd.app.vendors import Vendors
from syncd.clients.amplitude_answers import Cohort
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import SourceUnavailable, SyncdError
from syncd.events import Level, emit
from syncd.model import Outcome
from syncd.sources import Listing, Postponed
from syncd.store import (
    acknowledged,
    authorship,
    bindings,
    failovers,
    leases,
    runs,
    verifications,
)
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.verifications import Verification
from syncd.sync import run_id
from syncd.sync.differences import (
    DRIFT_LIMIT,
    Causes,
    Differences,
    causes,
    evidence,
)
from syncd.sync.snapshot import Interrupted, Reading, take_snapshot
from syncd.sync.steps import Parts

OLDEST_FILE = timedelta(hours=1)
"""A file that was paid for is read again for at most so long: others may write without
the cohort's time moving."""
MOST_IDS = 50_000
"""Ids that one answer names; the counts are of all."""
_LOOK_BACK = 50
"""Runs in which the last one that sent something is looked for."""
_RAN = tuple(outcome for outcome in Outcome if outcome is not Outcome.SKIPPED)


class NotReadable(SyncdError):
    """The destination has no call that says who is there, or nothing of ours yet."""

    code = "verify.unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one reading found."""

    binding: Binding
    differences: Differences
    causes: Causes
    as_of: datetime
    """When the file was asked for: it holds the members of that moment."""
    moment: tuple[int, int]
    """Newest batch and request of the sync when it was compared."""

    @property
    def evidence(self) -> str:
        """What a repair of exactly this is bound to."""
        return evidence(self.as_of, self.moment, self.causes)


def verify(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via", "ids"?}` -> `{"state", …}`: read back and compare.

    `state` is `verified` with counts (and, where `ids` is given, at most `MOST_IDS`
    ids), or `postponed` with a `message`. Spends at most one download.
    """
    name = body["sync"]
    emit(events.OPERATOR_VERIFIED, sync=name, actor=body["actor"], via=body["via"])
    settings = engine.blueprint.settings
    sync = sync_of(settings, name)
    with engine.at_rest(name) as (parts, lease):
        binding = readable_binding(parts.database, settings, sync)
        waiting = _unreconciled(parts, name)
        found = compared(parts, settings, sync, binding)
        if isinstance(found, Postponed):
            return {"state": "postponed", "message": found.message}
        drift = found.differences.drift
        with parts.database.begin() as connection:
            leases.check(connection, lease, parts.clock.wall())
            done = Verification(at=parts.clock.now(), drift=drift)
            verifications.note(connection, name, done)
            if not drift and waiting is not None and found.as_of > waiting:
                failovers.reconciled(connection, name, waiting)
    _tell(name, found)
    return _shown(found, with_ids=bool(body.get("ids")))


def _unreconciled(parts: Parts, name: str) -> datetime | None:
    with parts.database.read() as connection:
        return failovers.since(connection, name)


def readable_binding(
    database: Database, settings: Settings, sync: SyncSettings
) -> Binding:
    """What the sync knows of its cohort. Raises `NotReadable` where there is none."""
    why = why_unreadable(settings, sync)
    if why:
        raise NotReadable(why, hint=f"syncd members {sync.name}")
    with database.read() as connection:
        binding = bindings.current(connection, sync.name)
    if binding is None or binding.external_id is None:
        raise NotReadable(
            "there is no cohort of it yet: nothing was sent",
            hint=f"syncd run {sync.name}",
        )
    return binding


def listed(vendors: Vendors, binding: Binding) -> Cohort:
    """The cohort as the free list has it. Raises `SourceUnavailable` if it is gone."""
    for each in vendors.downloads(binding.connection).cohorts():
        if each.id == binding.external_id:
            return each
    raise SourceUnavailable(
        f"{binding.connection} lists no cohort {binding.external_id} any more",
        code="source.not_found",
        hint=f"syncd show {binding.sync}",
    )


def sync_of(settings: Settings, name: str) -> SyncSettings:
    """The enabled sync of that name. Raises `UnknownSync`."""
    for sync in settings.syncs:
        if sync.name == name and sync.enabled:
            return sync
    raise UnknownSync(name)


def newest_file(parts: Parts, name: str) -> timedelta:
    """How old a file may be: younger than all that we sent, also by runs of which a
    failover left nothing."""
    now = parts.clock.now()
    waiting = _unreconciled(parts, name)
    with parts.database.read() as connection:
        recent = runs.latest(
            connection, sync_name=name, outcomes=_RAN, limit=_LOOK_BACK
        )
    sent = [each for each in recent if each.summary.get("sent")] or recent[-1:]
    if not sent or sent[0].finished_at is None:
        return timedelta(0)
    oldest = max(filter(None, (sent[0].finished_at, waiting)))
    return max(min(now - oldest, OLDEST_FILE), timedelta(0))


def compared(
    parts: Parts, settings: Settings, sync: SyncSettings, binding: Binding
) -> Compared | Postponed:
    """Read the cohort back and compare. The caller has the sync at rest."""
    now = parts.clock.now()
    wanted = Reader(
        connection=binding.connection,
        cohort_id=binding.external_id or "",
        id_type=binding.id_type,
        max_age=newest_file(parts, sync.name),
        run_id=run_id.run_id(now, int.from_bytes(os.urandom(10))),
        until=now + sync.max_runtime,
    )
    with closing(Vendors(settings, parts.clock, parts.database, parts.stop)) as vendors:
        listing = read_back(parts, settings, sync.name, wanted, vendors)
        if isinstance(listing, Postponed):
            return listing
        others = [each.name for each in settings.syncs if each.name != sync.name]
        return compared_with(listing, parts, binding, others)


def compared_with(
    listing: Listing, parts: Parts, binding: Binding, others: list[str]
) -> Compared:
    """Compare who is in the cohort, as it was read, with what is acknowledged.

    `others` are the other syncs of the configuration.
    """
    with parts.readers.of(binding.connection):
        found = _differences(parts, binding, listing)
    as_of = listing.as_of() or parts.clock.now()
    return _told_apart(parts, binding, others, found, as_of)


def _differences(parts: Parts, binding: Binding, listing: Listing) -> Differences:
    how = Reading(
        id_type=binding.id_type,
        folder=parts.spool,
        n_buckets=binding.n_buckets,
        stop=parts.stop,
    )
    try:
        snapshot = take_snapshot(listing, how)
    except Interrupted:
        raise SourceUnavailable(
            "stopped while reading; the file is kept", code="source.interrupted"
        ) from None
    found = Differences()
    with (
        closing(snapshot),
        parts.readers.comparing,
        parts.database.read() as connection,
    ):
        known = acknowledged.read(
            connection, binding.id, binding.n_buckets, parts.clock.now()
        )
        if snapshot.partition is None:
            raise TypeError("a list that was read has a partition")
        lists = snapshot.partition.buckets(binding.n_buckets)
        for bucket, there in zip(known, lists, strict=True):
            found.add(
                acknowledged=bucket.acknowledged,
                # A request may still move them: neither missing nor too many.
                uncertain=bucket.uncertain | bucket.doubtful,
                unaccepted=bucket.unaccepted,
                there=there,
            )
    return found


def _told_apart(
    parts: Parts,
    binding: Binding,
    others: list[str],
    found: Differences,
    as_of: datetime,
) -> Compared:
    with parts.database.read() as connection:
        moment = authorship.newest_moment(connection, binding)
        known = authorship.of_ids(
            connection, binding, found.ghosts, parts.clock.now(), neighbours=others
        )
    told = causes(
        found,
        added=known.added,
        traced=known.traced,
        removed=known.removed,
        compared=known.compared,
    )
    return Compared(
        binding=binding, differences=found, causes=told, as_of=as_of, moment=moment
    )


def _tell(name: str, found: Compared) -> None:
    differences = found.differences
    emit(
        events.VERIFY_FINISHED,
        level=Level.WARNING if differences.drift > DRIFT_LIMIT else None,
        sync=name,
        missing=len(differences.missing),
        extra=len(differences.ghosts),
        ours=len(found.causes.ours),
        unmatched=differences.unmatched,
        uncertain=differences.in_flight,
        drift_ratio=round(differences.drift, 6),
    )


def _shown(found: Compared, *, with_ids: bool) -> dict[str, Any]:
    differences, told = found.differences, found.causes
    answer: dict[str, Any] = {
        "state": "verified",
        "as_of": found.as_of,
        "acknowledged": differences.acknowledged,
        "there": differences.there,
        "missing": len(told.missing),
        "ghosts": len(differences.ghosts),
        "ghosts_ours": len(told.ours),
        "ghosts_returned": len(told.returned),
        "ghosts_others": len(told.others),
        "unmatched": differences.unmatched,
        "in_flight": differences.in_flight,
        "drift_ratio": differences.drift,
        "drift_ratio_repaired": differences.drift_without(told.repairable),
        "evidence": found.evidence,
    }
    if with_ids:
        answer["ids"] = _named(told)
    return answer


def _named(told: Causes) -> list[dict[str, str]]:
    """Each id with its cause; at most `MOST_IDS`, those that can be repaired first."""
    named = islice(told.named(), MOST_IDS)
    return [{"cause": cause, "id": one.decode()} for cause, one in named]
