"""All syncs at a glance: is anything wrong, with what, since when, and what to do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from syncd import __version__
from syncd.clock import Clock
from syncd.config.feeds import fed_by
from syncd.config.forecast import forecast
from syncd.config.settings import Settings, SyncSettings
from syncd.report.arrivals import Arrivals, arrivals, arrivals_document
from syncd.report.daemons import alive, ticks, unattended
from syncd.report.replicas import Replica, replica_document, replicas
from syncd.report.runs import run_document
from syncd.report.standing import Activity, Standing, standings
from syncd.report.states import NEEDS_A_PERSON, WORST_FIRST, State
from syncd.report.words import plural
from syncd.store import installation, quotas
from syncd.store.connections import ConnectionState
from syncd.store.database import Connection
from syncd.store.installation import Daemon
from syncd.store.quotas import Quota
from syncd.store.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything one `status` says."""

    settings: Settings
    now: datetime
    wall: datetime
    """Heartbeats are real time, whatever the clock."""
    daemons: list[Daemon]
    replicas: list[Replica]
    """Those that somebody may want to look for, with what each works on; and commands
    beside them."""
    standings: list[Standing]
    """Worst first."""
    quotas: list[Quota]
    """Of the projects that syncs download from, as last asked."""
    arrivals: list[Arrivals]
    """Of the connections that push to us."""

    @property
    def alive(self) -> list[Daemon]:
        """The daemons that tick."""
        return [each for each in alive(self.daemons, self.wall) if ticks(each)]

    @property
    def unattended(self) -> bool:
        """Whether what is due waits for workers, and none lives."""
        return unattended(self.settings, self.daemons, self.wall)

    @property
    def connections(self) -> list[ConnectionState]:
        """Of both ends of these syncs, each once."""
        found = {each.name: each for one in self.standings for each in one.connections}
        return list(found.values())

    @property
    def zone(self) -> str:
        """The syncs' zone where they agree on one, else UTC."""
        zones = {one.sync.timezone for one in self.standings}
        return zones.pop() if len(zones) == 1 else "UTC"


def overview(
    connection: Connection,
    settings: Settings,
    syncs: Sequence[SyncSettings],
    clock: Clock,
) -> Overview:
    """How these syncs, and what they are connected with, are doing now."""
    daemons = installation.daemons(connection)
    return Overview(
        settings=settings,
        now=clock.now(),
        wall=clock.wall(),
        daemons=daemons,
        replicas=replicas(connection, daemons, clock.wall()),
        standings=sorted(standings(connection, settings, syncs, clock), key=_badness),
        quotas=_quotas(connection, settings),
        arrivals=arrivals(connection, settings, syncs),
    )


def _quotas(connection: Connection, settings: Settings) -> list[Quota]:
    """What was last known of each project that a sync reads from."""
    known = [quotas.get(connection, each.project) for each in forecast(settings)]
    return [each for each in known if each is not None]


def _badness(one: Standing) -> int:
    return WORST_FIRST.index(one.state)


# --- in words -------------------------------------------------------------------------


def summary(states: Sequence[State]) -> str:
    """`1 of 4 syncs needs you.`, `All 4 syncs are on time.`"""
    count = len(states)
    if not count:
        return "No sync is configured."
    need = sum(state in NEEDS_A_PERSON for state in states)
    if need:
        return (
            f"{need} of {plural(count, 'sync')} {'needs' if need == 1 else 'need'} you."
        )
    if set(states) == {State.ON_TIME}:
        return f"All {count} syncs are on time." if count > 1 else "1 sync, on time."
    by_state = Counter(states)
    parts = [f"{by_state[state]} {state}" for state in State if by_state[state]]
    return f"{plural(count, 'sync')}, none needs you: {', '.join(parts)}."


def next_command(seen: Overview) -> str:
    """What to type now."""
    if not seen.standings:
        return "syncd init"
    worst = seen.standings[0]
    run = worst.held or worst.newest
    if worst.state in (State.HELD, State.FAILING) and run is not None:
        return f"syncd show {run.short_id}"
    if seen.alive and seen.unattended:
        return "syncd worker"
    if worst.state in (State.STALE, State.LATE, State.PENDING):
        if not seen.alive:
            return "syncd serve"
        return f"syncd show {worst.sync.name}" if run else "syncd schedule"
    return "syncd runs"


# --- JSON -----------------------------------------------------------------------------


def overview_document(seen: Overview) -> dict[str, Any]:
    """What `status --json` says."""
    return {
        "instance": seen.settings.instance,
        "version": __version__,
        "now": seen.now,
        "needs_you": sum(one.state in NEEDS_A_PERSON for one in seen.standings),
        "daemons": [replica_document(each) for each in seen.replicas],
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
        "syncs": [sync_document(one, seen.now) for one in seen.standings],
    }


def sync_document(one: Standing, now: datetime) -> dict[str, Any]:
    """One of its `syncs`."""
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
        "unreconciled_since": one.unreconciled,
        "unheard_since": one.unheard,
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
