"""`syncd show`: one run in detail, and what a person may decide about it."""

import click

from syncd.cli import run_page
from syncd.cli.configured import load
from syncd.cli.frame import Frame, verb
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.report.one_run import UnknownRun, find_run, one_run, one_run_document
from syncd.store.database import Connection
from syncd.store.runs import Run


@verb("show", reads=True)
@click.argument("which", metavar="RUN|SYNC")
def show(frame: Frame, which: str) -> None:
    """Show one run: its steps, its numbers, its failures, and a held plan's choices.

    RUN is an id or its ending (the 8 characters that other commands print). A sync's
    name means its newest run that is not a skipped slot.
    """
    settings, flags = load(frame).settings, frame.config_flags()
    with opened(settings) as database, database.read() as connection:
        clock = on_its_clock(frame, connection).clock
        run = _found(connection, settings, which, flags)
        page = one_run(connection, settings, run, clock, flags=flags)
    if frame.as_json:
        frame.out.json("show", one_run_document(page))
    else:
        run_page.show(frame, page)


def _found(connection: Connection, settings: Settings, which: str, flags: str) -> Run:
    try:
        return find_run(connection, settings, which, flags=flags)
    except UnknownRun as error:
        what = str(error)
        end = " " if what.endswith("…") else ". "
        what = f"{what[0].upper()}{what[1:]}{end}{error.hint}"
        raise click.UsageError(what) from None
