"""`syncd show`: one run in detail, and what a person may decide about it."""

from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

import click

from syncd.cli import run_page
from syncd.cli.arrivals import fed_by
from syncd.cli.configured import load
from syncd.cli.frame import Frame, verb
from syncd.cli.run_page import Page
from syncd.cli.runs import run_document, zone_of
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.errors import SyncdError
from syncd.report.standing import RAN, is_alive, progress, waits
from syncd.store import installation, ledger, pauses, runs
from syncd.store.database import Connection
from syncd.store.runs import Run

_LOOK_BACK = 200
"""Runs of the sync in which related ones are looked for."""

_SHARES = 7
"""How many exit shares are shown, to tell the usual from this one."""


@verb("show", reads=True)
@click.argument("which", metavar="RUN|SYNC")
def show(frame: Frame, which: str) -> None:
    """Show one run: its steps, its numbers, its failures, and a held plan's choices.

    RUN is an id or its ending (the 8 characters that other commands print). A sync's
    name means its newest run that is not a skipped slot.
    """
    settings = load(frame).settings
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        run = _find(frame, connection, settings, which)
        page = _page(frame, connection, settings, run)
    if frame.as_json:
        frame.out.json("show", _document(page))
    else:
        run_page.show(frame, page)


def _find(frame: Frame, connection: Connection, settings: Settings, which: str) -> Run:
    names = [sync.name for sync in settings.syncs]
    newest = _newest(connection, which)
    if newest is not None:
        return newest
    if which in names:
        raise SyncdError(
            f"{which} has not run yet",
            code="run.none",
            hint=f"syncd run {which}{frame.config_flags()}",
        )
    found = runs.find(connection, which.lower())
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(
            f"More than one run ends with '{which}': "
            f"{', '.join(run.id for run in found)}, … Type more of it."
        )
    near = get_close_matches(which, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "syncd runs lists them."
    raise click.UsageError(f"No run and no sync '{which}'. {hint}")


def _newest(connection: Connection, sync: str) -> Run | None:
    """The newest run of a sync that began, ended or not."""
    found = runs.latest(connection, sync_name=sync, outcomes=RAN)
    found += runs.unfinished(connection, sync)
    return max(found, key=lambda run: (run.started_at, run.id), default=None)


def _page(frame: Frame, connection: Connection, settings: Settings, run: Run) -> Page:
    now = frame.clock.now()
    recent = runs.latest(connection, sync_name=run.sync, limit=_LOOK_BACK)
    teams = (sync.team for sync in settings.syncs if sync.name == run.sync)
    alive = is_alive(connection, run, frame.clock.wall())
    return Page(
        run=run,
        now=now,
        zone=zone_of(settings, run.sync),
        team=next(teams, ""),
        flags=frame.config_flags(),
        alive=alive,
        share=progress(connection, run) if alive else None,
        waits=waits(run, now) is not None,
        actions=installation.actions(connection, run.summary.get("approves", run.id)),
        failures=ledger.failures(connection, run.id),
        exit_shares=_exit_shares(run, recent),
        sent_by=next((r for r in recent if r.summary.get("approves") == run.id), None),
        fed_by=_fed_by(settings, run),
        pause=pauses.in_force(connection, run.sync, now),
    )


def _fed_by(settings: Settings, run: Run) -> str:
    """Where the sync's events come from, as configured today."""
    for sync in settings.syncs:
        door = fed_by(sync)
        if sync.name == run.sync and door is not None:
            return f"{door} {sync.source.connection}"
    return ""


def _exit_shares(run: Run, recent: list[Run]) -> list[float]:
    """Of the newest plans up to this one, oldest first; an approval is no new plan."""
    shares = [
        float(each.summary["exit_ratio"])
        for each in recent
        if (each.started_at, each.id) <= (run.started_at, run.id)
        and "exit_ratio" in each.summary
        and "approves" not in each.summary
    ]
    return shares[:_SHARES][::-1]


def _document(page: Page) -> dict[str, Any]:
    return {
        "now": page.now,
        "run": run_document(page.run, page.now, alive=page.alive),
        "share": page.share,
        "fed_by": page.fed_by or None,
        "paused": asdict(page.pause) if page.pause is not None else None,
        "plan": page.plan,
        "choices": [command for _, command, _ in page.choices()] if page.waits else [],
        "decisions": [
            {
                "at": each.at,
                "verb": each.verb,
                "actor": each.actor,
                "via": each.via,
                "reason": each.reason,
            }
            for each in page.actions
        ],
        "sent_by": page.sent_by.id if page.sent_by else None,
        "failures": [
            {"error_type": kind, "message": words, "count": count}
            for kind, words, count in page.failures
        ],
        "exit_shares": page.exit_shares,
    }
