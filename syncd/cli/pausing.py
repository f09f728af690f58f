"""`syncd pause` and `syncd resume`: stop syncs for a while, and go on."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click

from syncd.cli.configured import chosen, load
from syncd.cli.engine import asking, me
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.config.settings import Settings, SyncSettings
from syncd.config.values import parse_duration
from syncd.report.words import moment

USUAL = "24h"
"""A pause that nobody gave an end is over after this."""

_SYNCS = click.argument("names", nargs=-1, required=True, metavar="SYNC...")


class Duration(click.ParamType[str]):
    """`4h`, `1d12h`."""

    name = "duration"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        try:
            span = parse_duration(value)
        except ValueError:
            self.fail(f"'{value}' is no duration; write it like 4h or 2d.", param, ctx)
        if not span:
            self.fail("A pause of no length would mean nothing.", param, ctx)
        return value


class Instant(click.ParamType[datetime]):
    """An ISO 8601 date and time, with an offset or without one."""

    name = "instant"

    def convert(
        self,
        value: str | datetime,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            hint = "write it like 2026-06-29T18:00 or 2026-06-29T18:00Z"
            self.fail(f"'{value}' is no date and time; {hint}.", param, ctx)


@verb("pause", reads=True)
@_SYNCS
@click.option("--reason", required=True, help="Why; shown wherever the sync is.")
@click.option(
    "--for",
    "span",
    type=Duration(),
    metavar="DURATION",
    help=f"How long, like 4h or 2d.  [default: {USUAL}]",
)
@click.option(
    "--until",
    type=Instant(),
    metavar="INSTANT",
    help="Until when, like 2026-06-29T18:00; without an offset in the sync's zone.",
)
@click.option("--indefinitely", is_flag=True, help="Until somebody resumes it.")
def pause(
    frame: Frame,
    names: tuple[str, ...],
    reason: str,
    span: str | None,
    until: datetime | None,
    indefinitely: bool,
) -> ExitCode | None:
    """Stop syncs for a while; they go on by themselves when that is over.

    A run in progress finishes its plan. From then on nothing is read or sent, held
    plans can only be rejected, and due times are put off: one run makes up for them
    afterwards. Events from outside go on being stored.
    """
    if sum((span is not None, until is not None, indefinitely)) > 1:
        raise click.UsageError("Give one of --for, --until and --indefinitely.")
    if not reason.strip():
        raise click.UsageError("Give a reason: it is what others see.")
    if span is None and until is None and not indefinitely:
        span = USUAL
    loaded = load(frame)
    syncs = _enabled(loaded.settings, names)
    said = []
    with asking(frame, loaded) as ask:
        for sync in syncs:
            end = {"span": span, "until": _instant(until, sync)}
            body = {"sync": sync.name, "reason": reason, **end, **me()}
            answer = dict(ask("pause", body))
            said.append(answer)
            if not frame.as_json:
                _show_paused(frame.out, sync, answer)
    if frame.as_json:
        frame.out.json("pause", {"pauses": said})
    return None


@verb("resume", reads=True)
@_SYNCS
def resume(frame: Frame, names: tuple[str, ...]) -> ExitCode | None:
    """End the pause of syncs; one run makes up for the due times it put off."""
    loaded = load(frame)
    ended = []
    with asking(frame, loaded) as ask:
        for sync in chosen(loaded.settings, names):
            answer = ask("resume", {"sync": sync.name, **me()})
            ended.append({"sync": sync.name, "pause": answer["pause"]})
            if not frame.as_json:
                _show_resumed(frame.out, sync, answer["pause"])
    if frame.as_json:
        frame.out.json("resume", {"resumed": ended})
    return None


def _enabled(settings: Settings, names: Sequence[str]) -> list[SyncSettings]:
    found = chosen(settings, names)
    enabled = [sync for sync in found if sync.enabled]
    if not enabled:
        off = ", ".join(sync.name for sync in found)
        raise click.UsageError(f"Nothing to pause: {off} is off (enabled: false).")
    return enabled


def _instant(until: datetime | None, sync: SyncSettings) -> str | None:
    if until is None:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=ZoneInfo(sync.timezone))
    return until.isoformat()


def _show_paused(out: Output, sync: SyncSettings, answer: Mapping[str, Any]) -> None:
    made, now = answer["pause"], _moment(answer["now"])
    until = "until it is resumed"
    if made["until"] is not None:
        until = f"until {moment(_moment(made['until']), now, sync.timezone)}"
    undo = f"Undo: syncd resume {sync.name}"
    out.line(f"{sync.name} paused by {made['actor']} {until}.  {undo}")
    if answer["before"] is not None:
        before = answer["before"]
        out.line(f"  instead of the pause by {before['actor']}: {before['reason']}")
    if answer["running"]:
        out.line("  a run is in progress: it finishes its plan, then the pause holds")


def _show_resumed(
    out: Output, sync: SyncSettings, ended: Mapping[str, Any] | None
) -> None:
    if ended is None:
        out.line(f"{sync.name} was not paused.")
        return
    out.line(
        f"{sync.name} resumed; it was paused by {ended['actor']}: {ended['reason']}"
    )
    out.line("  one run makes up for due times that were put off")


def _moment(value: str | datetime) -> datetime:
    """From the daemon as JSON, from this process as it is."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
