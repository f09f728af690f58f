"""`verify`: reads a cohort of ours back and compares it with what is acknowledged.

The sync is held at rest meanwhile (its lease), so nothing of ours moves anybody. The
download goes through the same gate and admission as any other, the reserve untouched.
Only Amplitude can be read back: Segment and partners have no call for it.
"""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

from syncd import events
from syncd.app.engine import Engine, UnknownSync
from syncd.app.reading import amplitude_of, projects_of
from syncd.app.store import spool_folder
from syncd.app.vendors import Vendors
from syncd.clients.quota import Rules
from syncd.config.forecast import project_key
from syncd.config.settings import Settings, SyncSettings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.errors import SourceUnavailable, SyncdError
from syncd.events import Level, emit
from syncd.model import Outcome
from syncd.sources import Listing, Postponed, Question, Unchanged
from syncd.sources.amplitude_download.settings import DownloadSettings
from syncd.sources.amplitude_download.source import AmplitudeDownloadSource
from syncd.store import acknowledged, bindings, runs, verifications
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.verifications import Verification
from syncd.sync import run_id
from syncd.sync.differences import DRIFT_LIMIT, Differences
from syncd.sync.draft import Interrupted, Reading, take_snapshot
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
class _Compared:
    """What one reading found."""

    differences: Differences
    as_of: datetime
    """When the file was asked for: it holds the members of that moment."""


def verify(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via", "ids"?}` -> `{"state", …}`: read back and compare.

    `state` is `verified` with counts (and, where `ids` is given, at most `MOST_IDS`
    ids), or `postponed` with a `message`. Spends at most one download.
    """
    name = body["sync"]
    emit(events.OPERATOR_VERIFIED, sync=name, actor=body["actor"], via=body["via"])
    settings = engine.blueprint.settings
    sync = _sync(settings, name)
    with engine.at_rest(name) as parts:
        binding = readable_binding(parts.database, settings, sync)
        found = _compared(parts, settings, sync, binding)
        if isinstance(found, Postponed):
            return {"state": "postponed", "message": found.message}
        drift = found.differences.drift
        with parts.database.begin() as connection:
            done = Verification(at=parts.clock.now(), drift=drift)
            verifications.note(connection, name, done)
    _tell(name, found.differences)
    return _shown(found, with_ids=bool(body.get("ids")))


def why_unreadable(settings: Settings, sync: SyncSettings) -> str:
    """Why nobody can say who is at the sync's destination; empty where one can."""
    connection = settings.connections[sync.target.connection]
    match connection:
        case AmplitudeConnection():
            return ""
        case EngageConnection():
            return "Segment has no call that lists who has a trait"
        case ListApiConnection() | PropertyApiConnection():
            return "a partner's API has no call that lists who is there"
        case _:
            assert_never(connection)


def readable_binding(
    database: Database, settings: Settings, sync: SyncSettings
) -> Binding:
    """What the sync knows of its cohort. Raises `NotReadable` where there is none."""
    why = why_unreadable(settings, sync)
    if why:
        raise NotReadable(why)
    with database.read() as connection:
        binding = bindings.current(connection, sync.name)
    if binding is None or binding.external_id is None:
        raise NotReadable(
            "there is no cohort of it yet: nothing was sent",
            hint=f"syncd run {sync.name}",
        )
    return binding


def _sync(settings: Settings, name: str) -> SyncSettings:
    for sync in settings.syncs:
        if sync.name == name and sync.enabled:
            return sync
    raise UnknownSync(name)


def _compared(
    parts: Parts, settings: Settings, sync: SyncSettings, binding: Binding
) -> _Compared | Postponed:
    with closing(Vendors(settings, parts.clock)) as vendors:
        listing = _asked(parts, settings, sync, binding, vendors)
        if isinstance(listing, Postponed):
            return listing
        how = Reading(
            id_type=binding.id_type,
            folder=parts.spool,
            n_buckets=binding.n_buckets,
            stop=parts.stop,
        )
        with parts.readers:
            differences = _differences(parts, binding, listing, how)
        as_of = listing.as_of() or parts.clock.now()
        return _Compared(differences=differences, as_of=as_of)


def _asked(
    parts: Parts,
    settings: Settings,
    sync: SyncSettings,
    binding: Binding,
    vendors: Vendors,
) -> Listing | Postponed:
    store, now = settings.store, parts.clock.now()
    source = AmplitudeDownloadSource(
        _download(settings, sync, binding, _newest_file(parts, sync.name, now)),
        vendors.downloads(binding.connection),
        parts.clock,
        spool_folder(store.read_url(), store.spool_dir),
    )
    answer = source.ask(
        Question(
            sync=sync.name,
            run_id=run_id.run_id(now, int.from_bytes(os.urandom(10))),
            database=parts.database,
            mark=None,
            again=True,
            stop=parts.stop,
            until=now + sync.max_runtime,
        )
    )
    if isinstance(answer, Unchanged):
        raise TypeError("a list that is wanted without a mark is never unchanged")
    return answer


def _download(
    settings: Settings, sync: SyncSettings, binding: Binding, max_age: timedelta
) -> DownloadSettings:
    """The cohort that we write: read on purpose, though it is a copy."""
    connection = amplitude_of(settings, binding.connection)
    return DownloadSettings(
        project=project_key(connection),
        cohort_id=binding.external_id or "",
        id_type=binding.id_type,
        max_staleness=max_age,
        linked=True,
        limit=connection.quota.downloads_per_month,
        rules=Rules(
            reserve=connection.quota.reserve, budget=None, period=None, demand=0.0
        ),
        deadline=connection.download_deadline,
        to_segment=False,
        project_of=projects_of(settings),
    )


def _newest_file(parts: Parts, name: str, now: datetime) -> timedelta:
    """How old a file may be: younger than all that we sent."""
    with parts.database.read() as connection:
        recent = runs.latest(
            connection, sync_name=name, outcomes=_RAN, limit=_LOOK_BACK
        )
    sent = [each for each in recent if each.summary.get("sent")] or recent[-1:]
    if not sent or sent[0].finished_at is None:
        return timedelta(0)
    return max(min(now - sent[0].finished_at, OLDEST_FILE), timedelta(0))


def _differences(
    parts: Parts, binding: Binding, listing: Listing, how: Reading
) -> Differences:
    try:
        snapshot = take_snapshot(listing, how)
    except Interrupted:
        raise SourceUnavailable(
            "stopped while reading; the file is kept", code="source.interrupted"
        ) from None
    found = Differences()
    with closing(snapshot), parts.database.read() as connection:
        known = acknowledged.read(
            connection, binding.id, binding.n_buckets, parts.clock.now()
        )
        if snapshot.partition is None:
            raise TypeError("a list that was read has a partition")
        lists = snapshot.partition.buckets(binding.n_buckets)
        for bucket, there in zip(known, lists, strict=True):
            found.add(
                acknowledged=bucket.acknowledged,
                uncertain=bucket.uncertain,
                unaccepted=bucket.unaccepted,
                there=there,
            )
    return found


def _tell(name: str, found: Differences) -> None:
    emit(
        events.VERIFY_FINISHED,
        level=Level.WARNING if found.drift > DRIFT_LIMIT else None,
        sync=name,
        missing=len(found.missing),
        extra=len(found.ghosts),
        unmatched=found.unmatched,
        uncertain=found.in_flight,
        drift_ratio=round(found.drift, 6),
    )


def _shown(found: _Compared, *, with_ids: bool) -> dict[str, Any]:
    differences = found.differences
    answer: dict[str, Any] = {
        "state": "verified",
        "as_of": found.as_of,
        "acknowledged": differences.acknowledged,
        "there": differences.there,
        "missing": len(differences.missing),
        "ghosts": len(differences.ghosts),
        "unmatched": differences.unmatched,
        "in_flight": differences.in_flight,
        "drift_ratio": differences.drift,
    }
    if with_ids:
        answer["ids"] = _named(differences)
    return answer


def _named(found: Differences) -> list[dict[str, str]]:
    """Each id with its cause, sorted, so that two answers can be compared."""
    ids = [("missing", one) for one in sorted(found.missing)]
    ids += [("ghost", one) for one in sorted(found.ghosts)]
    return [{"cause": cause, "id": one.decode()} for cause, one in ids[:MOST_IDS]]
