"""`syncd runs`: what happened, newest first, skipped slots and their reasons too."""

from datetime import datetime, timedelta
from typing import Any

import click

from syncd.cli.configured import chosen, load
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.model import Outcome
from syncd.report.standing import is_alive
from syncd.report.words import moment, number, plural, signed, span
from syncd.store import runs as stored
from syncd.store.database import Connection
from syncd.store.runs import Run

FAILURES = (Outcome.FAILED, Outcome.ABANDONED)

STYLES = {
    Outcome.SUCCESS: "green",
    Outcome.NO_CHANGE: "green",
    Outcome.PARTIAL: "yellow",
    Outcome.HELD: "magenta",
    Outcome.FAILED: "red",
    Outcome.ABANDONED: "red",
    Outcome.SKIPPED: "dim",
    Outcome.INTERRUPTED: "yellow",
}
"""Colours beside the words."""

_COLUMNS = (
    Column(title="RUN"),
    Column(title="SYNC"),
    Column(title="STARTED"),
    Column(title="WHY", drop=3),
    Column(title="OUTCOME"),
    Column(title="TOOK", right=True, drop=2),
    Column(title="MEMBERS", right=True, drop=4),
    Column(title="CHANGE", drop=1),
    Column(title="REASON"),
)


@verb("runs", reads=True)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option("--failed", is_flag=True, help="Only runs that failed or died.")
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice([outcome.value for outcome in Outcome]),
    multiple=True,
    help="Only runs that ended like this; repeatable.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=20,
    show_default=True,
    help="How many at most.",
)
def runs(
    frame: Frame,
    names: tuple[str, ...],
    failed: bool,
    outcomes: tuple[str, ...],
    limit: int,
) -> None:
    """List the newest runs, newest first, with the reason of each that did not work."""
    settings, wall = load(frame).settings, frame.clock.wall()
    wanted = {Outcome(word) for word in outcomes} | set(FAILURES if failed else ())
    syncs = [sync.name for sync in chosen(settings, names)] if names else [None]
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        found = _newest(connection, syncs, tuple(wanted), limit)
        alive = {run.id for run in found if is_alive(connection, run, wall)}
    now = frame.clock.now()
    if frame.as_json:
        documents = [run_document(run, now, alive=run.id in alive) for run in found]
        frame.out.json("runs", {"now": now, "runs": documents})
    elif found:
        rows = [_row(settings, run, now, alive=run.id in alive) for run in found]
        frame.out.table(_COLUMNS, rows)
        frame.out.line()
        frame.out.line(_last_line(frame, found, limit))
    else:
        frame.out.line("No run like that.")


def _newest(
    connection: Connection,
    syncs: list[str] | list[None],
    outcomes: tuple[Outcome, ...],
    limit: int,
) -> list[Run]:
    """Of the named syncs; of all that ever ran where none is named."""
    found = [
        run
        for name in syncs
        for run in stored.latest(
            connection, sync_name=name, outcomes=outcomes, limit=limit
        )
    ]
    found.sort(key=lambda run: (run.started_at, run.id), reverse=True)
    return found[:limit]


def _row(settings: Settings, run: Run, now: datetime, *, alive: bool) -> list[Any]:
    from rich.text import Text

    took = duration(run, now)
    skipped = run.outcome is Outcome.SKIPPED
    members = run.summary.get("members_after")
    style = STYLES[run.outcome] if run.outcome else "blue"
    return [
        run.short_id,
        run.sync,
        moment(run.started_at, now, zone_of(settings, run.sync)),
        run.trigger.replace("_", " "),
        Text(outcome_words(run, alive=alive), style=style),
        "" if skipped else span(took),
        "" if members is None else number(members),
        change_words(run),
        run.reason or "",
    ]


def _last_line(frame: Frame, found: list[Run], limit: int) -> str:
    shown = plural(len(found), "run")
    more = f" (the newest; --limit {2 * limit} for more)" if len(found) == limit else ""
    bad = [run for run in found if run.outcome not in (*stored.OK, Outcome.SKIPPED)]
    which = bad[0] if bad else found[0]
    return f"{shown}{more}.  Next: syncd show {which.short_id}{frame.config_flags()}"


# --- a run in words and as JSON, for every verb that shows one ------------------------


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
