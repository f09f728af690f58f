"""`syncd check`: is my file right? Files only: no network, no store, no secret."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import click

from syncd.cli.configured import load
from syncd.cli.doors import doors_document, listening
from syncd.cli.exit_codes import ExitCode
from syncd.cli.failure import report, style_of
from syncd.cli.forecast import forecast_document, show_forecast
from syncd.cli.frame import Frame, verb
from syncd.cli.lines import sentence
from syncd.cli.output import Column
from syncd.config import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    InvalidConfig,
    ListApiConnection,
    Loaded,
    PropertyApiConnection,
    Settings,
    SyncSettings,
)
from syncd.config.forecast import forecast
from syncd.config.report import Format as Form
from syncd.config.report import render, summary
from syncd.errors import ConfigError
from syncd.report.clock_changes import notes
from syncd.report.due import next_start, next_times, without_times
from syncd.report.words import moment, plural
from syncd.schedule import describe


@verb("check", reads=True)
@click.argument("files", metavar="[FILES]...", nargs=-1)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["full", "concise", "github", "json"]),
    default="full",
    show_default=True,
    help="How findings look.",
)
@click.option("--strict", is_flag=True, help="A warning fails too.")
def check(
    frame: Frame, files: tuple[str, ...], format_: Form, strict: bool
) -> ExitCode:
    """Validate config files, and show what they mean.

    FILES are files or folders, or - for stdin. Without any, the configuration is
    found as everywhere. No network, no secret and no store is touched.
    """
    form: Form = "json" if frame.as_json else format_
    try:
        loaded = load(frame, [Path(name) for name in files] or None)
    except ConfigError as error:
        _show_invalid(frame, form, error)
        return ExitCode.CONFIG
    if form == "json":
        frame.out.json("check", _document(loaded, frame.clock.now()))
    elif form == "github":
        _show(frame, render(loaded.warnings, loaded.sources, form))
    else:
        _show_valid(frame, form, loaded)
        _show_last_line(frame, files, loaded)
    return ExitCode.CONFIG if strict and loaded.warnings else ExitCode.OK


def _show_invalid(frame: Frame, form: Form, error: ConfigError) -> None:
    """All findings on stdout: they are what `check` was asked for."""
    sources = error.sources if isinstance(error, InvalidConfig) else {}
    if form == "json":
        problems = [asdict(problem) for problem in error.problems]
        frame.out.json("check", {"ok": False, "problems": problems})
        if frame.as_json:
            report(error, frame)
    else:
        _show(frame, render(error.problems, sources, form))


def _counted(settings: Settings) -> str:
    """`4 syncs, 2 connections, 2 channels`; what there is none of is left out."""
    syncs = settings.syncs
    windows = {window.name for sync in syncs for window in sync.blackout}
    channels = settings.notifications.channels
    counted = [
        plural(len(syncs), "sync"),
        plural(len(settings.connections), "connection"),
        plural(len(windows), "blackout window") if windows else "",
        plural(len(channels), "channel") if channels else "",
    ]
    return ", ".join(filter(None, counted))


def _show_valid(frame: Frame, form: Literal["full", "concise"], loaded: Loaded) -> None:
    out, now = frame.out, frame.clock.now()
    for file in loaded.files:
        out.line(f"{file:<30} ok")
    if loaded.warnings:
        findings = render(loaded.warnings, loaded.sources, form)
        out.line()
        _show(frame, findings.removesuffix(summary(loaded.warnings)).rstrip())
    syncs = loaded.settings.syncs
    out.line()
    out.line(_counted(loaded.settings))
    if syncs:
        columns = [Column(title=title) for title in ("sync", "way", "when", "next")]
        rows = [_row(loaded.settings, sync, now) for sync in syncs]
        out.table(columns, rows, header=False, indent=2)
    for sync in syncs:
        for note in notes(sync.schedule, now) if sync.enabled else []:
            out.line(f"note: {sync.name}: {note}")
    for line in listening(loaded.settings):
        sentence(out, line, hanging=2)
    show_forecast(out, forecast(loaded.settings))


def _show_last_line(frame: Frame, files: tuple[str, ...], loaded: Loaded) -> None:
    named = "".join(f" -c {quote(file)}" for file in files)
    places = named or frame.config_flags()
    following = "" if "-" in files else f"  Next: syncd plan{places}"
    frame.out.line()
    counted = plural(len(loaded.warnings), "warning")
    frame.out.line(f"0 errors, {counted}.{following}")


def _row(settings: Settings, sync: SyncSettings, now: datetime) -> list[str]:
    source = settings.connections[sync.source.connection]
    target = settings.connections[sync.target.connection]
    way = f"{vendor(source)} → {vendor(target)}"
    following = without_times(sync)
    if not following:
        start = next_start(settings, sync, now)
        following = f"next {moment(start, now, sync.timezone)}" if start else "never"
    return [sync.name, way, describe(sync.schedule), following]


def vendor(connection: Connection) -> str:
    """Whose side of a sync it is, as people say it."""
    match connection:
        case EngageConnection():
            return "Twilio"
        case AmplitudeConnection():
            return "Amplitude"
        case ListApiConnection() | PropertyApiConnection():
            return connection.name


def _show(frame: Frame, findings: str) -> None:
    for line in findings.splitlines():
        frame.out.line(line, style=style_of(line))


def _document(loaded: Loaded, now: datetime) -> dict[str, Any]:
    settings = loaded.settings
    return {
        "ok": True,
        "problems": [asdict(problem) for problem in loaded.warnings],
        "files": list(loaded.files),
        "config_hash": loaded.config_hash,
        "connections": sorted(settings.connections),
        "syncs": [
            {
                "name": sync.name,
                "enabled": sync.enabled,
                "from": sync.source.connection,
                "to": sync.target.connection,
                "schedule": describe(sync.schedule),
                "next": next_times(settings, sync, now, 1 if sync.enabled else 0),
            }
            for sync in settings.syncs
        ],
        "listens": doors_document(settings),
        "quota": forecast_document(forecast(settings)),
    }
