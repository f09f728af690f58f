"""`syncd status`: is anything wrong, with what, since when, and what to do now."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from syncd import __version__
from syncd.cli import status_page
from syncd.cli.arrivals import arrivals, arrivals_document, fed_by
from syncd.cli.configured import chosen, load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.runs import run_document
from syncd.cli.status_page import Overview
from syncd.cli.store import on_its_clock, opened
from syncd.config.forecast import forecast
from syncd.config.settings import Settings, SyncSettings
from syncd.report.standing import Activity, Standing, standing
from syncd.report.states import NEEDS_A_PERSON, WORST_FIRST, State
from syncd.store import installation, quotas
from syncd.store.database import Connection
from syncd.store.quotas import Quota
from syncd.store.runs import Run

_CONDITIONS = (
    State.HELD,
    State.FAILING,
    State.STALE,
    State.LATE,
    State.PENDING,
    State.PAUSED,
)


class States(click.ParamType[tuple[State, ...]]):
    """States, separated by commas."""

    name = "states"

    def convert(
        self,
        value: str | tuple[State, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[State, ...]:
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        for word in words:
            if word not in _CONDITIONS:
                known = ", ".join(_CONDITIONS)
                self.fail(f"'{word}' is none of {known}.", param, ctx)
        return tuple(State(word) for word in words)


@verb("status", reads=True)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option(
    "--fail-on",
    type=States(),
    default=(),
    metavar="STATES",
    help="Exit 6 when a sync is in one of these states: stale,failing,held.",
)
def status(
    frame: Frame, names: tuple[str, ...], fail_on: tuple[State, ...]
) -> ExitCode:
    """Show the state, freshness and next run of each sync; worst first."""
    settings = load(frame).settings
    syncs = chosen(settings, names)
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        seen = _overview(frame, connection, settings, syncs)
    if frame.as_json:
        frame.out.json("status", _document(seen))
    else:
        status_page.show(frame, seen)
    met = any(_meets(one, fail_on) for one in seen.standings)
    return ExitCode.CONDITION_MET if met else ExitCode.OK


def _overview(
    frame: Frame,
    connection: Connection,
    settings: Settings,
    syncs: Sequence[SyncSettings],
) -> Overview:
    standings = [standing(connection, settings, one, frame.clock) for one in syncs]
    return Overview(
        settings=settings,
        now=frame.clock.now(),
        wall=frame.clock.wall(),
        daemons=installation.daemons(connection),
        standings=sorted(standings, key=_badness),
        quotas=_quotas(connection, settings),
        arrivals=arrivals(connection, settings, syncs),
    )


def _quotas(connection: Connection, settings: Settings) -> list[Quota]:
    """What was last known of each project that a sync reads from."""
    known = [quotas.get(connection, each.project) for each in forecast(settings)]
    return [each for each in known if each is not None]


def _badness(one: Standing) -> int:
    return WORST_FIRST.index(one.state)


def _meets(one: Standing, wanted: Sequence[State]) -> bool:
    """A held or failing sync may be stale too: whoever watches that is told."""
    return one.state in wanted or (State.STALE in wanted and one.overdue is not None)


# --- JSON -----------------------------------------------------------------------------


def _document(seen: Overview) -> dict[str, Any]:
    return {
        "instance": seen.settings.instance,
        "version": __version__,
        "now": seen.now,
        "needs_you": sum(one.state in NEEDS_A_PERSON for one in seen.standings),
        "daemons": [
            {
                "host": each.host,
                "pid": each.pid,
                "version": each.version,
                "started_at": each.started_at,
                "heartbeat_at": each.heartbeat_at,
                "alive": each in seen.alive,
            }
            for each in seen.daemons
        ],
        "connections": [
            {
                "name": each.name,
                "stopped_at": each.stopped_at,
                "stopped_reason": each.stopped_reason,
                "probe_at": each.probe_at,
                "throttled_until": each.throttled_until,
            }
            for each in seen.connections
        ],
        "quotas": [
            {
                "project": each.project,
                "used": each.used,
                "limit": each.limit,
                "estimated": each.estimated,
                "read_at": each.read_at,
                "resets_at": each.resets_at,
            }
            for each in seen.quotas
        ],
        "inboxes": [arrivals_document(each) for each in seen.arrivals],
        "syncs": [_sync_document(one, seen.now) for one in seen.standings],
    }


def _sync_document(one: Standing, now: datetime) -> dict[str, Any]:
    return {
        "name": one.sync.name,
        "owner": one.sync.team or None,
        "fed_by": fed_by(one.sync),
        "state": one.state,
        "overdue_seconds": one.overdue,
        "last_success_at": one.last_success_at,
        "fresh_within_seconds": one.sync.fresh_within,
        "next_at": one.next_at,
        "failures_in_a_row": one.failures_in_a_row,
        "cohort_id": one.external_id,
        "members": one.members,
        "last_change": _change(one),
        "waiting": _counted(one.waiting),
        "dead": _counted(one.dead),
        "not_accepted": [
            {"kind": each.kind, "reason": each.reason, "ids": each.ids}
            for each in one.unaccepted
        ],
        "held": _run(one.held, now),
        "paused": asdict(one.pause) if one.pause is not None else None,
        "running": _running(one.activity, now),
        "last_run": _run(one.newest, now),
    }


def _change(one: Standing) -> dict[str, Any] | None:
    if one.changed is None:
        return None
    numbers = one.changed.summary
    return {
        "run_id": one.changed.id,
        "at": one.changed.finished_at,
        "entered": numbers.get("entered", 0),
        "exited": numbers.get("exited", 0),
    }


def _counted(batches_and_ids: tuple[int, int]) -> dict[str, int]:
    return dict(zip(("batches", "ids"), batches_and_ids, strict=True))


def _run(found: Run | None, now: datetime) -> dict[str, Any] | None:
    return run_document(found, now, alive=False) if found is not None else None


def _running(activity: Activity | None, now: datetime) -> dict[str, Any] | None:
    if activity is None:
        return None
    return {
        **run_document(activity.run, now, alive=activity.alive),
        "share": activity.share,
    }
