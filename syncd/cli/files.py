"""The verbs around the configuration's files: `init` and `schedule`."""

from datetime import datetime
from importlib.resources import files as package_files
from pathlib import Path

import click

from syncd.cli.configured import chosen, load
from syncd.cli.frame import DEFAULT_FILES, Frame, verb
from syncd.config.settings import Settings, SyncSettings
from syncd.errors import SyncdError
from syncd.report.clock_changes import notes
from syncd.report.due import next_times, shift, without_times
from syncd.report.schedules import COMING, FARTHEST, schedules_document
from syncd.report.words import dated, span, utc_clock
from syncd.schedule import describe, explain
from syncd.windows import closed_until, window_at


@verb("init")
@click.argument("folder", metavar="[DIR]", default="config")
@click.option("--force", is_flag=True, help="Replace a syncd.yaml that is there.")
def init(frame: Frame, folder: str, force: bool) -> None:
    """Write a commented starter syncd.yaml into DIR (default: config)."""
    path = Path(folder) / "syncd.yaml"
    text = package_files("syncd.cli").joinpath("starter.yaml").read_text("utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise SyncdError(
            f"{path} is already there and was left as it is",
            code="init.exists",
            hint=f"syncd init {folder} --force, to replace it",
        ) from None
    except OSError as error:
        what = f"cannot write {path}: {error.strerror}"
        raise SyncdError(what, code="init.unwritable") from None
    frame.out.message(f"wrote {path}")
    where = "" if path == Path(DEFAULT_FILES[0]) else f" {path}"
    frame.out.message(f"Next: edit it, then syncd check{where}")


@verb("schedule", reads=True)
@click.argument("names", metavar="[SYNC]...", nargs=-1)
@click.option(
    "--next",
    "count",
    type=click.IntRange(1, FARTHEST),
    default=COMING,
    show_default=True,
    help="How many coming times to show.",
)
def schedule(frame: Frame, names: tuple[str, ...], count: int) -> None:
    """Show when syncs run: normal form, coming times, and changes of clocks."""
    settings = load(frame).settings
    now = frame.clock.now()
    syncs = chosen(settings, names)
    if frame.as_json:
        document = schedules_document(settings, syncs, now, count)
        frame.out.json("schedule", document)
        return
    for number, one in enumerate(syncs):
        if number:
            frame.out.line()
        _show_schedule(frame, settings, one, now, count)


def _show_schedule(
    frame: Frame, settings: Settings, sync: SyncSettings, now: datetime, count: int
) -> None:
    jitter, times = shift(settings, sync), next_times(settings, sync, now, count)
    added = f"   jitter +{span(jitter)}" if jitter and times else ""
    out = frame.out
    out.line(f"{sync.name}   {describe(sync.schedule)}{added}", style="bold")
    if times:
        out.line(f"  {explain(sync.schedule)}")
    if instead := without_times(sync):
        out.line(f"  {instead}")
        return
    for t in times:
        utc = "" if sync.timezone == "UTC" else f"   {utc_clock(t, sync.timezone)}"
        out.line(f"  {dated(t, sync.timezone)}{utc}{_put_off(sync, t)}")
    for name in dict.fromkeys(window.name for window in sync.blackout):
        out.line(f"  blackout: {name}")
    for note in notes(sync.schedule, now):
        out.line(f"  note: {note}")


def _put_off(sync: SyncSettings, t: datetime) -> str:
    """What becomes of a due time inside a blackout, in words."""
    window, begins = window_at(sync.blackout, t), closed_until(sync.blackout, t)
    if window is None or begins is None:
        return ""
    return f"   skipped: {window.name}; runs {dated(begins, sync.timezone)}"
