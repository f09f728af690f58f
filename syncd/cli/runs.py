"""`syncd runs`: what happened, newest first, skipped slots and their reasons too."""

from typing import Any

import click

from syncd.cli.configured import chosen, load
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.model import Outcome
from syncd.report.runs import (
    FAILURES,
    LATEST,
    MOST,
    Runs,
    change_words,
    duration,
    newest_runs,
    outcome_words,
    runs_document,
    zone_of,
)
from syncd.report.words import moment, number, plural, span
from syncd.store import runs as stored
from syncd.store.runs import Run

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
    type=click.IntRange(1, MOST),
    default=LATEST,
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
    settings = load(frame).settings
    wanted = {Outcome(word) for word in outcomes} | set(FAILURES if failed else ())
    syncs = [sync.name for sync in chosen(settings, names)] if names else []
    with opened(settings) as database, database.read() as connection:
        clock = on_its_clock(frame, connection).clock
        seen = newest_runs(connection, clock, syncs, outcomes=wanted, limit=limit)
    if frame.as_json:
        frame.out.json("runs", runs_document(seen))
    elif seen.found:
        frame.out.table(_COLUMNS, [_row(settings, run, seen) for run in seen.found])
        frame.out.line()
        frame.out.line(_last_line(frame, seen.found, limit))
    else:
        frame.out.line("No run like that.")


def _row(settings: Settings, run: Run, seen: Runs) -> list[Any]:
    from rich.text import Text

    now, alive = seen.now, run.id in seen.alive
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
