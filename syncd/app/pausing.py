"""Pausing syncs: a person's word, and how it ends.

A run in progress finishes its plan: what was decided before the pause goes out. From
then on nothing of the sync begins, an approval included; events from outside go on
being stored, and a held plan may still be rejected. Once the pause is over, one run
makes up for the due times it put off. No lease is taken, but its row is locked: a run
that begins meanwhile either sees the pause's row, or had begun before it and is told.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from syncd import events
from syncd.app.engine import Engine, UnknownSync
from syncd.config.values import parse_duration
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.store import installation, leases, pauses, runs
from syncd.store.database import Connection, Database
from syncd.store.installation import Action
from syncd.store.pauses import Pause

Again = Callable[[str], None]
"""Called with a sync whose pause is over: what it put off may run."""


class NotPausable(SyncdError):
    """A pause that would mean nothing."""

    code = "pause.invalid"


def pause(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via", "reason", "span", "until"}` -> `{"pause", …}`.

    `span` is a duration (`4h`), `until` an ISO 8601 instant with its offset; with
    neither it lasts until somebody resumes the sync. `running` says whether a run is
    in progress, which goes on to its end; `before` is the pause that this one replaces.
    """
    name, now = body["sync"], engine.clock.now()
    if name not in engine.blueprint.specs:
        raise UnknownSync(name)
    if not body["reason"].strip():
        raise NotPausable("a pause needs a reason")
    made = Pause(
        sync=name,
        since=now,
        until=pause_end(body, now),
        actor=body["actor"],
        via=body["via"],
        reason=body["reason"].strip(),
    )
    with engine.database.begin() as connection:
        running = _is_running(connection, engine, name)
        before = pauses.put(connection, made)
        installation.record(connection, _action("pause", body, now, made.reason))
    emit(events.OPERATOR_PAUSED, **_said(body, made))
    if before is not None and not before.holds(now):
        before = None
    return {
        "pause": asdict(made),
        "before": asdict(before) if before is not None else None,
        "running": running,
        "now": now,
    }


def _is_running(connection: Connection, engine: Engine, name: str) -> bool:
    """Whether a run is in progress; none begins any more until the pause is there.

    One that is seen at first is not waited for: it may be writing a large plan.
    """
    if runs.unfinished(connection, name):
        return True
    leases.hold_still(connection, name, engine.clock.wall())
    return bool(runs.unfinished(connection, name))


def resume(
    engine: Engine, body: Mapping[str, Any], again: Again | None = None
) -> dict[str, Any]:
    """`{"sync", "actor", "via"}` -> `{"pause": …}`: the pause that was ended, or null.

    Also for a sync that is no longer configured: its pause would wait for its return.
    """
    name, now = body["sync"], engine.clock.now()
    with engine.database.begin() as connection:
        ended = pauses.remove(connection, name)
        if ended is None or not ended.holds(now):
            return {"pause": None}
        installation.record(connection, _action("resume", body, now, ended.reason))
    emit(events.OPERATOR_RESUMED, **_said(body, ended))
    if again is not None:
        again(name)
    return {"pause": asdict(ended)}


def end_pauses(database: Database, now: datetime) -> list[str]:
    """Take away the pauses whose time is over, and say so; returns their syncs."""
    with database.read() as connection:
        if not pauses.any_ended(connection, now):
            return []
    with database.begin() as connection:
        ended = pauses.take_ended(connection, now)
    for each in ended:
        emit(
            events.PAUSE_EXPIRED,
            sync=each.sync,
            actor=each.actor,
            via=each.via,
            reason=each.reason,
            since=each.since,
            until=each.until,
        )
    return [each.sync for each in ended]


def pause_end(body: Mapping[str, Any], now: datetime) -> datetime | None:
    """When a pause ends; None: when somebody resumes. Raises `NotPausable`."""
    if body["span"] is not None and body["until"] is not None:
        raise NotPausable("a pause has a length or an end, not both")
    try:
        if body["span"] is not None:
            end = now + parse_duration(body["span"])
        elif body["until"] is not None:
            end = datetime.fromisoformat(body["until"])
        else:
            return None
        if end.tzinfo is None:
            raise NotPausable("the end of a pause needs its offset: 2026-06-29T18:00Z")
        end = end.astimezone(UTC)
    except (ValueError, OverflowError):  # the last hours of the year 9999
        raise NotPausable("this is neither a duration nor an instant") from None
    if end <= now:
        raise NotPausable("the pause would be over before it began")
    return end


def _action(verb: str, body: Mapping[str, Any], now: datetime, reason: str) -> Action:
    return Action(
        at=now,
        actor=body["actor"],
        via=body["via"],
        verb=verb,
        sync=body["sync"],
        run_id=None,
        reason=reason,
        plan_hash=None,
    )


def _said(body: Mapping[str, Any], found: Pause) -> dict[str, Any]:
    return {
        "sync": found.sync,
        "actor": body["actor"],
        "via": body["via"],
        "reason": found.reason,
        "until": found.until,
    }
