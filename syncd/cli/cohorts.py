"""`syncd cohorts`: Amplitude's cohorts, who reads them, what a download would mean."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any

import click

from syncd.app.cohorts import CohortView, views
from syncd.app.vendors import Vendors
from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column, Output, harmless
from syncd.cli.store import NoStore, on_its_clock, opened
from syncd.clients.amplitude_answers import Cohort
from syncd.config.settings import Settings
from syncd.config.settings_connections import AmplitudeConnection
from syncd.report.words import number, plural, relative
from syncd.store.database import Database

_COLUMNS = (
    Column(title="COHORT"),
    Column(title="NAME", drop=2),
    Column(title="SIZE", right=True, drop=3),
    Column(title="COMPUTED", drop=4),
    Column(title="READ BY", drop=1),
    Column(title="A DOWNLOAD NOW"),
)


@verb("cohorts", reads=True)
@click.argument("connections", nargs=-1, metavar="[CONNECTION]...")
@click.option("--read", "only_read", is_flag=True, help="Only those that syncs read.")
def cohorts(
    frame: Frame, connections: tuple[str, ...], only_read: bool
) -> ExitCode | None:
    """List Amplitude's cohorts and what downloading each would mean; costs nothing."""
    settings = load(frame).settings
    found: list[CohortView] = []
    with ExitStack() as stack:
        database = _store(stack, settings)
        if database is not None:
            with database.read() as connection:
                frame = on_its_clock(frame, connection)
        vendors = stack.enter_context(closing(Vendors(settings, frame.clock)))
        now = frame.clock.now()
        for project in _chosen(settings, connections):
            listed = vendors.downloads(project.name).cohorts()
            found += _seen(database, settings, project, listed, now)
    shown = [view for view in found if view.sync is not None or not only_read]
    if frame.as_json:
        frame.out.json("cohorts", {"cohorts": [_document(view) for view in shown]})
    else:
        _print(frame.out, shown, now)
    return None


def _chosen(settings: Settings, names: Sequence[str]) -> list[AmplitudeConnection]:
    projects = {
        connection.name: connection
        for connection in settings.connections.values()
        if isinstance(connection, AmplitudeConnection)
    }
    for name in names:
        if name not in projects:
            raise click.UsageError(
                f"No amplitude connection '{name}'; there is: {', '.join(projects)}."
            )
    return [projects[name] for name in names or projects]


def _store(stack: ExitStack, settings: Settings) -> Database | None:
    """The store; None before the first run, when nothing is remembered yet."""
    try:
        return stack.enter_context(opened(settings))
    except NoStore:
        return None


def _seen(
    database: Database | None,
    settings: Settings,
    project: AmplitudeConnection,
    listed: Sequence[Cohort],
    now: datetime,
) -> list[CohortView]:
    if database is None:
        return views(None, settings, project, listed, now)
    with database.read() as connection:
        return views(connection, settings, project, listed, now)


def _print(out: Output, shown: Sequence[CohortView], now: datetime) -> None:
    out.table(_COLUMNS, [_row(view, now) for view in shown])
    for line in _native(shown):
        out.line(line)
    out.line()
    read = len({view.sync for view in shown} - {None})
    out.line(f"{plural(len(shown), 'row')}, {plural(read, 'sync')}.  Next: syncd quota")


def _native(shown: Sequence[CohortView]) -> list[str]:
    """What Amplitude itself does with these cohorts."""
    cohorts = {view.cohort.id: view.cohort for view in shown}
    return [
        harmless(
            f"  {cohort.id}: Amplitude itself syncs this cohort to"
            f" {native.target or 'a target without a name'} {native.frequency}".rstrip()
        )
        for cohort in cohorts.values()
        for native in cohort.native_syncs
    ]


def _row(view: CohortView, now: datetime) -> tuple[str, ...]:
    cohort = view.cohort
    computed = cohort.last_computed
    return (
        cohort.id,
        harmless(cohort.name),
        number(cohort.size) if cohort.size is not None else "?",
        relative(computed, now) if computed is not None else "never",
        view.sync or "",
        view.words,
    )


def _document(view: CohortView) -> dict[str, Any]:
    cohort = view.cohort
    return {
        "connection": view.connection,
        "cohort_id": cohort.id,
        "name": cohort.name,
        "type": cohort.type,
        "archived": cohort.archived,
        "size": cohort.size,
        "last_computed": cohort.last_computed,
        "sync": view.sync,
        "state": view.state,
        "download": view.words,
        "native_syncs": [
            {"target": each.target, "frequency": each.frequency}
            for each in cohort.native_syncs
        ],
    }
