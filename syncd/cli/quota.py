"""`syncd quota`: how many downloads are used, by whom, and whether they will do."""

from contextlib import ExitStack, closing
from datetime import datetime

from syncd.app.months import months
from syncd.app.vendors import Vendors
from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.forecast import bar
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column, Output, harmless
from syncd.cli.store import NoStore, on_its_clock, opened
from syncd.config.settings import Settings
from syncd.report.months import Month, months_document
from syncd.report.words import number, plural, relative
from syncd.store.database import Connection

_COLUMNS = (
    Column(title="SYNC"),
    Column(title="THIS MONTH", right=True),
    Column(title="AT MOST A MONTH", right=True, drop=1),
    Column(title="SCHEDULE", drop=2),
)


@verb("quota", reads=True)
def quota(frame: Frame) -> ExitCode | None:
    """Show the downloads of each Amplitude project this month; asking is free."""
    settings = load(frame).settings
    with ExitStack() as stack:
        connection = _store(stack, settings)
        if connection is not None:
            frame = on_its_clock(frame, connection)
        vendors = stack.enter_context(closing(Vendors(settings, frame.clock)))
        now = frame.clock.now()
        found = list(months(settings, connection, vendors, frame.clock))
    if frame.as_json:
        frame.out.json("quota", months_document(found))
    else:
        _print(frame.out, found, now)
    return None


def _store(stack: ExitStack, settings: Settings) -> Connection | None:
    """The store, read; None before the first run, when nothing was spent by us."""
    try:
        database = stack.enter_context(opened(settings))
    except NoStore:
        return None
    return stack.enter_context(database.read())


def _print(out: Output, found: list[Month], now: datetime) -> None:
    if not found:
        out.line("No sync reads a cohort: no download is ever spent.")
    for each in found:
        _project(out, each, now)
    out.line()
    out.line("Next: syncd cohorts --read")


def _project(out: Output, month: Month, now: datetime) -> None:
    out.line(f"{', '.join(month.connections)} ({month.project})", style="bold")
    out.line(
        f"  downloads {number(month.used)} of {number(month.limit)}  "
        f"{bar(month.used, month.limit)}  {number(month.reserve)} reserved"
        f"{_whose_count(month)}"
    )
    reset = f"{month.resets_at:%d %b %H:%M} UTC, {relative(month.resets_at, now)}"
    out.line(f"  forecast {number(month.forecast)} by {reset}", style=_style(month))
    rows = [
        (each.name, number(each.spent), number(each.most), each.schedule)
        for each in month.syncs
    ]
    out.table(_COLUMNS, rows, indent=2)
    if not month.estimated:
        count = plural(month.elsewhere, "download")
        out.line(f"  other tools with this project: {count}")


def _whose_count(month: Month) -> str:
    if not month.estimated:
        return ""
    why = harmless(month.unread) or "the vendor does not tell"
    return f" (estimated, our own count: {why})"


def _style(month: Month) -> str:
    return "bold red" if month.forecast > month.limit - month.reserve else ""
