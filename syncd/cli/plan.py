"""`syncd plan`: who would enter and exit, from sources and store; sends nothing.

Reading a changed cohort costs a download. So it is said what that would cost before
anything is spent, and the file is there for the next run.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from syncd.app.preview import Look, Preview
from syncd.app.prices import Prepared, planned, prepared
from syncd.app.store import spool_folder
from syncd.app.vendors import Vendors
from syncd.cli.configured import chosen, load
from syncd.cli.exit_codes import ExitCode, for_error
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Column, Output
from syncd.cli.plan_files import fetch_missing
from syncd.cli.store import on_its_clock
from syncd.config.settings import Loaded, StoreSettings, SyncSettings
from syncd.errors import SyncdError
from syncd.report.words import number, plural
from syncd.store import migrate
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.location import is_sqlite, sqlite_path

COLUMNS = (
    Column(title="SYNC"),
    Column(title="BEFORE", right=True, drop=2),
    Column(title="", drop=2),
    Column(title="AFTER", right=True, drop=1),
    Column(title="ENTER", right=True),
    Column(title="EXIT", right=True),
    Column(title="GUARD"),
)


@verb("plan", reads=True)
@click.argument("syncs", nargs=-1, metavar="[SYNC]...")
@click.option(
    "--detailed-exitcode", is_flag=True, help="End with 5 when changes are pending."
)
@click.option(
    "--max-downloads",
    type=click.IntRange(min=0),
    metavar="N",
    help="Spend up to N cohort downloads without asking.",
)
def plan(
    frame: Frame,
    syncs: tuple[str, ...],
    detailed_exitcode: bool,
    max_downloads: int | None,
) -> ExitCode | None:
    """Show who would enter and exit; send nothing.

    Changed cohorts must be downloaded to know: that is asked for first, and the next
    run uses the same file.
    """
    return show_plans(
        frame, syncs, detailed=detailed_exitcode, max_downloads=max_downloads
    )


def show_plans(
    frame: Frame,
    names: Sequence[str],
    *,
    detailed: bool = False,
    max_downloads: int | None = None,
) -> ExitCode:
    """Plan the named syncs (all, if none is named) and print one line for each."""
    loaded = load(frame)
    wanted = [sync for sync in chosen(loaded.settings, names) if sync.enabled]
    with _looking(frame, loaded) as look:
        failed = fetch_missing(frame, loaded, look, wanted, max_downloads or 0)
    # Anew: what was fetched may have made the store.
    with _looking(frame, loaded) as look:
        files = {**prepared(look, wanted), **failed}
        planned = [(sync, _try(look, sync, files.get(sync.name))) for sync in wanted]
    if frame.as_json:
        frame.out.json("plan", {"syncs": [_document(*each) for each in planned]})
    else:
        _print(frame.out, planned)
    return _exit_code([result for _, result in planned], detailed=detailed)


def _try(
    look: Look, sync: SyncSettings, list_: Prepared | None
) -> Preview | SyncdError:
    """`list_` is None for a sync that downloads no cohort."""
    try:
        return planned(look, sync, list_)
    except SyncdError as error:
        return error


@contextmanager
def _looking(frame: Frame, loaded: Loaded) -> Iterator[Look]:
    """The store for looking, on its clock, and clients to look with."""
    settings = loaded.settings
    with _store(settings.store) as (database, folder):
        with database.read() as connection:
            clock = on_its_clock(frame, connection).clock
        with closing(Vendors(settings, clock)) as vendors:
            yield Look(settings, database, folder, vendors, clock)


@contextmanager
def _store(settings: StoreSettings) -> Iterator[tuple[Database, Path]]:
    """The store, and a folder for big temporary files.

    A store that does not exist yet is looked at as an empty one, made elsewhere.
    """
    url = settings.read_url()
    with TemporaryDirectory(prefix="syncd-plan-") as scratch:
        folder = Path(scratch)
        if is_sqlite(url) and not sqlite_path(url).exists():
            create_file(folder / "empty.db")
            url = f"sqlite:///{folder / 'empty.db'}"
            empty = Database(url)
            migrate.migrate(empty)
            empty.close()
        else:
            folder = spool_folder(url, settings.spool_dir)
        database = Database(url)
        try:
            migrate.require_current(database)
            yield database, folder
        finally:
            database.close()


def _print(
    out: Output, planned: Sequence[tuple[SyncSettings, Preview | SyncdError]]
) -> None:
    rows, previews = [], []
    for sync, result in planned:
        if isinstance(result, Preview):
            rows.append(_row(sync, result))
            previews.append(result)
        else:
            rows.append((sync.name, "", "", "", "", "", f"not planned: {result}"))
    out.table(COLUMNS, rows)
    for sync, result in planned:
        _notes(out, sync, result)
    enter = sum(each.plan.entered for each in previews)
    leave = sum(each.plan.exited for each in previews)
    held = sum(bool(each.trips) for each in previews)
    requests = sum(each.plan.batches for each in previews)
    out.line()
    out.line(
        f"Would send {number(enter)} entries and {number(leave)} exits in "
        f"{plural(requests, 'request')}; {plural(held, 'sync')} would be held. "
        "Nothing was sent."
    )


def _row(sync: SyncSettings, result: Preview) -> tuple[str, ...]:
    plan = result.plan
    verdict = f"ok  {plan.exit_share:.1%} exit"
    if result.exits_24h > plan.exited:
        verdict += f", {result.exit_share_24h:.1%} in 24 h"
    if result.trips:
        verdict = "HELD  " + ", ".join(trip.guard for trip in result.trips)
    return (
        sync.name,
        number(plan.acknowledged),
        "→",
        number(plan.members),
        f"+{number(plan.entered)}",
        f"-{number(plan.exited)}",
        verdict,
    )


def _notes(out: Output, sync: SyncSettings, result: Preview | SyncdError) -> None:
    if isinstance(result, SyncdError):
        if result.hint:
            out.line(f"  {sync.name}: next: {result.hint}")
        return
    if result.note:
        out.line(f"  {sync.name}: {result.note}")
    for trip in result.trips:
        out.line(f"  {sync.name}: {trip.reason}")
    for side in result.sides:
        out.line(f"  {sync.name}: {side.sentence}")
    if result.waits is not None:
        short = result.waits.short_id
        out.line(f"  {sync.name}: waits for a decision: syncd show {short}")
    for reason, count in sorted(result.refused.items()):
        out.line(f"  {sync.name}: {plural(count, 'id')} left out: {reason}")


def _document(sync: SyncSettings, result: Preview | SyncdError) -> dict[str, Any]:
    if isinstance(result, SyncdError):
        return {
            "sync": sync.name,
            "error": {"code": result.code, "message": str(result)},
        }
    plan = result.plan
    return {
        "sync": sync.name,
        "before": plan.acknowledged,
        "after": plan.members,
        "enter": plan.entered,
        "exit": plan.exited,
        "reasserted": plan.reasserted,
        "requests": plan.batches,
        "exit_share": round(plan.exit_share, 4),
        "exits_24h": result.exits_24h,
        "exit_share_24h": round(result.exit_share_24h, 4),
        "hash": plan.hash,
        "refused": result.refused,
        "note": result.note,
        "waits": result.waits.id if result.waits else None,
        "sides": [
            {
                "connection": side.identity.connection,
                "target": side.identity.target,
                "match": side.identity.id_type,
                "members": side.members,
                "enter": side.entered,
                "exit": side.exited,
            }
            for side in result.sides
        ],
        "guards": [
            {"guard": t.guard, "value": t.value, "limit": t.limit, "reason": t.reason}
            for t in result.trips
        ],
    }


def _exit_code(results: Sequence[Preview | SyncdError], *, detailed: bool) -> ExitCode:
    failed = [each for each in results if isinstance(each, SyncdError)]
    if failed:
        return for_error(failed[0])
    previews = [each for each in results if isinstance(each, Preview)]
    if any(each.trips for each in previews):
        return ExitCode.HELD
    pending = any(each.plan.batches for each in previews)
    return ExitCode.CHANGES_PENDING if detailed and pending else ExitCode.OK
