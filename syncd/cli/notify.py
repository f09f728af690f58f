"""`syncd notify`: what people are told of now, and whether a channel takes messages."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click

from syncd.app.posting import NotTaken, Request, request_of, send
from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, common_flags, verb
from syncd.cli.output import Column, Output
from syncd.cli.store import on_its_clock, opened
from syncd.config.settings import Settings
from syncd.config.settings_notifications import ChannelSettings, SlackSettings
from syncd.errors import SyncdError
from syncd.model import Condition
from syncd.notify.sample import sample
from syncd.report.words import relative
from syncd.store import conditions

COLUMNS = (
    Column(title="CHANNEL"),
    Column(title="WHAT"),
    Column(title="SINCE", drop=1),
    Column(title="TOLD", drop=2),
    Column(title="SAID"),
)
_SAID = 56
"""Characters of a headline in a table; `--json` has all of it."""


class NoChannel(SyncdError):
    """The configuration has nobody to tell."""

    code = "notify.none"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """One channel after its test message."""

    name: str
    type: str
    request: Request | None
    """What went out; None where nothing could."""
    status: int | None
    refusal: NotTaken | None


@click.group("notify", invoke_without_command=True)
@common_flags
@click.pass_context
def notify(ctx: click.Context) -> ExitCode | None:
    """What people are told of now; try a channel with `notify test`."""
    if ctx.invoked_subcommand is not None:
        return None
    answer: ExitCode | None = ctx.invoke(list_)
    return answer


@verb("list", reads=True)
def list_(frame: Frame) -> None:
    """List what is wrong now, as the daemon tells each channel."""
    settings = load(frame).settings
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        rows = conditions.unclosed(connection)
    now = frame.clock.now()
    if frame.as_json:
        frame.out.json("notify", {"conditions": [_row_document(row) for row in rows]})
    elif rows:
        table = [
            [
                row.channel,
                row.kind if row.resolved_at is None else f"{row.kind}, over",
                relative(row.opened_at, now),
                relative(row.told_at, now) if row.told_at else "not yet",
                row.text if len(row.text) <= _SAID else f"{row.text[: _SAID - 1]}…",
            ]
            for row in rows
        ]
        frame.out.table(COLUMNS, table)
    elif settings.notifications.channels:
        frame.out.line("Nothing is wrong that a channel would be told of.")
    else:
        frame.out.line("Nobody is told: notifications.channels names no channel.")


@verb("test", reads=True)
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
def test(frame: Frame, names: tuple[str, ...]) -> ExitCode:
    """Send a marked test message through each channel, or through those named.

    Shows the exact bytes of a signed webhook. The heartbeat is left alone: a ping would
    tell whoever watches it that all is well.
    """
    settings = load(frame).settings
    tried = [_try(frame, settings, each) for each in _chosen(settings, names)]
    if frame.as_json:
        frame.out.json("notify", {"channels": [_document(each) for each in tried]})
    else:
        for each in tried:
            _print(frame.out, each)
    return _exit_code(tried)


def _chosen(settings: Settings, names: Sequence[str]) -> list[ChannelSettings]:
    """Raises `NoChannel`, and `click.UsageError` for a name that is none."""
    channels = settings.notifications.channels
    if not channels:
        raise NoChannel(
            "notifications.channels names no channel", hint="syncd explain notify.none"
        )
    for name in names:
        if name not in channels:
            near = get_close_matches(name, channels, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No channel '{name}' in the configuration.{hint}")
    return [each for name, each in channels.items() if not names or name in names]


def _try(frame: Frame, settings: Settings, channel: ChannelSettings) -> _Tried:
    message = sample(
        f"msg_test_{os.urandom(12).hex()}",
        channel=channel.name,
        instance=settings.instance,
        page=settings.web.page.base_url or "",
        now=frame.clock.now(),
    )
    request: Request | None = None
    status, refusal = None, None
    try:
        request = request_of(channel, message, frame.clock)
        status = send(channel.outward, request, frame.clock).status
    except NotTaken as error:
        refusal = error
    return _Tried(
        name=channel.name,
        type="slack" if isinstance(channel, SlackSettings) else "webhook",
        request=request,
        status=status,
        refusal=refusal,
    )


def _print(out: Output, tried: _Tried) -> None:
    if tried.refusal is None:
        out.line(f"{tried.name}  ok: it took the message ({tried.status})")
    else:
        out.line(f"{tried.name}  failed: {tried.refusal}", style="red")
        next_ = tried.refusal.hint or "correct the channel"
        out.line(f"  next: {next_}, then: syncd notify test {tried.name}")
    if tried.request is not None and (tried.type == "webhook" or out.verbosity > 0):
        for header, value in tried.request.headers.items():
            out.line(f"  {header}: {value}")
        out.line()
        out.line(f"  {_text(tried.request)}")


def _text(request: Request) -> str:
    return (request.body or b"").decode()


def _document(tried: _Tried) -> dict[str, Any]:
    request: Mapping[str, Any] | None = None
    if tried.request is not None:
        request = {"headers": tried.request.headers, "body": _text(tried.request)}
    return {
        "name": tried.name,
        "type": tried.type,
        "taken": tried.refusal is None,
        "status": tried.status,
        "reason": str(tried.refusal) if tried.refusal is not None else None,
        "hint": (tried.refusal.hint or None) if tried.refusal is not None else None,
        "request": request,
    }


def _row_document(row: Condition) -> dict[str, Any]:
    return {
        "channel": row.channel,
        "kind": row.kind,
        "subject": row.subject,
        "sync": row.sync,
        "cause": row.cause,
        "headline": row.text,
        "opened_at": row.opened_at,
        "told_at": row.told_at,
        "resolved_at": row.resolved_at,
    }


def _exit_code(tried: Sequence[_Tried]) -> ExitCode:
    kinds = {each.refusal.error_type for each in tried if each.refusal is not None}
    if "config" in kinds:
        return ExitCode.CONFIG
    if "http_4xx" in kinds:
        return ExitCode.FAILED
    return ExitCode.UNAVAILABLE if kinds else ExitCode.OK


notify.add_command(list_)
notify.add_command(test)
