"""Runs in words and as JSON, for every reader that shows one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.model import Outcome
from syncd.report.standing import is_alive
from syncd.report.words import signed
from syncd.store import runs as stored
from syncd.store.database import Connection
from syncd.store.runs import Run

LATEST, MOST = 20, 10_000
"""How many runs are told: where nobody says it, and at most."""

FAILURES = (Outcome.FAILED, Outcome.ABANDONED)
"""How runs end that did not work, or died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The newest runs, newest first."""

    now: datetime
    found: list[Run]
    alive: frozenset[str]
    """The ids of those that some process works on."""


def newest_runs(
    connection: Connection,
    clock: Clock,
    names: Sequence[str],
    *,
    outcomes: Collection[Outcome] = (),
    limit: int,
) -> Runs:
    """At most `limit` of the named syncs; of all that ever ran where none is named.

    Without `outcomes` however they ended.
    """
    found = [
        run
        for name in names or (None,)
        for run in stored.latest(
            connection, sync_name=name, outcomes=tuple(outcomes), limit=limit
        )
    ]
    found.sort(key=lambda run: (run.started_at, run.id), reverse=True)
    wall, chosen = clock.wall(), found[:limit]
    alive = frozenset(run.id for run in chosen if is_alive(connection, run, wall))
    return Runs(now=clock.now(), found=chosen, alive=alive)


# --- in words -------------------------------------------------------------------------


def outcome_words(run: Run, *, alive: bool) -> str:
    """`success`, `no change`, `running`; `cut off` where its process died."""
    if run.outcome is None:
        return "running" if alive else "cut off"
    return run.outcome.replace("_", " ")


def change_words(run: Run) -> str:
    """`+412 -133`; with `unsent` for a plan that was held; empty for no change."""
    numbers = run.summary
    if run.outcome is Outcome.HELD and run.plan_hash is not None:
        enter, exit_ = numbers.get("to_enter", 0), numbers.get("to_exit", 0)
        return f"{signed(enter)} {signed(-exit_)} unsent"
    entered, exited = numbers.get("entered", 0), numbers.get("exited", 0)
    return f"{signed(entered)} {signed(-exited)}" if entered or exited else ""


def duration(run: Run, now: datetime) -> timedelta:
    """How long the run took, or has taken so far."""
    return max((run.finished_at or now) - run.started_at, timedelta(0))


def zone_of(settings: Settings, sync_name: str) -> str:
    """The zone in which a sync's times are shown; UTC for one no longer configured."""
    zones = (one.timezone for one in settings.syncs if one.name == sync_name)
    return next(zones, "UTC")


# --- JSON -----------------------------------------------------------------------------


def runs_document(seen: Runs) -> dict[str, Any]:
    """What `runs --json` says."""
    documents = [
        run_document(run, seen.now, alive=run.id in seen.alive) for run in seen.found
    ]
    return {"now": seen.now, "runs": documents}


def run_document(run: Run, now: datetime, *, alive: bool) -> dict[str, Any]:
    """One run, with every number its row keeps."""
    return {
        "id": run.id,
        "short_id": run.short_id,
        "sync": run.sync,
        "trigger": run.trigger,
        "due_at": run.slot,
        "outcome": run.outcome,
        "reason": run.reason,
        "phase": run.phase,
        "alive": alive,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "duration_ms": round(duration(run, now).total_seconds() * 1000),
        "hold_expires_at": run.hold_expires_at,
        "plan_hash": run.plan_hash,
        "config_hash": run.config_hash,
        "numbers": dict(run.summary),
    }
