"""How `status` looks to people: one sentence first, the worst sync on top."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from syncd import __version__
from syncd.cli.arrivals import show_arrivals
from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.cli.output import Column
from syncd.cli.pauses import show_pause
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.report.due import without_times
from syncd.report.overview import Overview, next_command, summary
from syncd.report.runs import change_words
from syncd.report.standing import Activity, Standing
from syncd.report.states import GLYPHS, State
from syncd.report.words import dated, moment, number, relative, span
from syncd.schedule import Manual, Once
from syncd.store.connections import ConnectionState
from syncd.store.quotas import Quota

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    State.HELD: "magenta",
    State.FAILING: "red",
    State.STALE: "red",
    State.LATE: "yellow",
    State.PENDING: "cyan",
    State.PAUSED: "blue",
    State.ON_TIME: "green",
    State.OFF: "dim",
}

_COLUMNS = (
    Column(title=""),
    Column(title="SYNC"),
    Column(title="STATE"),
    Column(title="LAST SUCCESS"),
    Column(title="FRESH WITHIN", drop=4),
    Column(title="NEXT", drop=1),
    Column(title="SIZE", right=True, drop=2),
    Column(title="LAST CHANGE", drop=3),
)


def show(frame: Frame, seen: Overview) -> None:
    """Print the page."""
    out = frame.out
    instance = f"{seen.settings.instance} · syncd {__version__} · {_daemon(seen)}"
    out.line(f"{instance} · {dated(seen.now, seen.zone)}")
    out.line(summary([one.state for one in seen.standings]), style="bold")
    if seen.standings:
        out.line()
        out.table(_COLUMNS, [_row(one, seen.now) for one in seen.standings])
    for one in seen.standings:
        _show_pause(frame, seen, one)
    for state in seen.connections:
        _show_connection(frame, seen, state)
    for each in seen.arrivals:
        show_arrivals(frame, each, seen.now)
    for quota in seen.quotas:
        _show_quota(frame, seen, quota)
    out.line()
    out.line(f"Next: {next_command(seen)}{frame.config_flags()}")


def _daemon(seen: Overview) -> str:
    if seen.alive:
        oldest = min(each.started_at for each in seen.alive)
        count = len(seen.alive)
        who = "daemon" if count == 1 else f"{count} daemons"
        return f"{who} up {span(max(seen.wall - oldest, timedelta(0)))}"
    if seen.daemons:
        last = relative(seen.daemons[0].heartbeat_at, seen.wall)
        return f"no daemon (last sign of life {last})"
    return "no daemon"


# --- the table ------------------------------------------------------------------------


def _row(one: Standing, now: datetime) -> list[str | Text]:
    from rich.text import Text

    style = STYLES[one.state]
    fresh = one.sync.fresh_within
    return [
        Text(GLYPHS[one.state], style=style),
        one.sync.name,
        Text(_state(one), style=style),
        relative(one.last_success_at, now) if one.last_success_at else "never",
        span(fresh) if fresh is not None else "-",
        _next(one, now),
        "" if one.members is None else number(one.members),
        _change(one),
    ]


def _state(one: Standing) -> str:
    text = str(one.state)
    if one.overdue is not None:
        text += f", overdue {about(one.overdue)}"
    if one.activity is not None:
        text += f" {_activity(one.activity)}"
    return text


def about(value: timedelta) -> str:
    """`4 h`: the first unit alone, where a column must stay narrow."""
    return " ".join(span(value).split()[:2])


def _activity(activity: Activity) -> str:
    """Shown beside any state: `▸ 62 %`, `▸ collect`, or that its process died."""
    if not activity.alive:
        return "(cut off)"
    if activity.share is None:
        return f"▸ {activity.run.phase}"
    return f"▸ {activity.share * 100:.0f} %"


def _next(one: Standing, now: datetime) -> str:
    if one.held is not None:
        return "for you"
    if one.pause is not None and one.pause.until is None:
        return "when resumed"
    if one.next_at is not None:
        return moment(one.next_at, now, one.sync.timezone)
    match one.sync.schedule:
        case Manual() if one.sync.enabled:
            return "by hand"
        case Once() if one.sync.enabled:
            return "at once" if one.last_success_at is None else "done"
        case _:
            return without_times(one.sync).partition(" ")[0] or "never"


def _change(one: Standing) -> str:
    if one.held is not None:
        return change_words(one.held)
    return change_words(one.changed) if one.changed is not None else ""


def _show_pause(frame: Frame, seen: Overview, one: Standing) -> None:
    if one.pause is None:
        return
    frame.out.line()
    show_pause(frame, one.pause, seen.now, one.sync.timezone)


# --- connections ----------------------------------------------------------------------


def _show_connection(frame: Frame, seen: Overview, state: ConnectionState) -> None:
    now, zone = seen.now, seen.zone
    if state.stopped_at is not None:
        frame.out.line()
        since = moment(state.stopped_at, now, zone)
        what = f"{state.name} is stopped since {since}: {state.stopped_reason}"
        sentence(frame.out, what, hanging=2)
        sentence(frame.out, _way_out(seen, state), indent=2, hanging=2)
    elif state.throttled_until is not None and state.throttled_until > now:
        frame.out.line()
        until = moment(state.throttled_until, now, zone)
        frame.out.line(f"{state.name} asked for a pause until {until}.")


def _show_quota(frame: Frame, seen: Overview, quota: Quota) -> None:
    """`Amplitude downloads 65 of 500 (eu:187520, asked 12 min ago); resets …`"""
    used = f"{number(quota.used)} of {number(quota.limit)}"
    asked = relative(quota.read_at, seen.now)
    reset = moment(quota.resets_at, seen.now, seen.zone)
    frame.out.line()
    if quota.resets_at <= seen.now:
        frame.out.line(f"Amplitude downloads ({quota.project}): a new month, unused.")
        return
    frame.out.line(
        f"Amplitude downloads {used} ({quota.project}, asked {asked}); resets {reset}."
    )


def _way_out(seen: Overview, state: ConnectionState) -> str:
    keys = "its keys"
    connection = seen.settings.connections.get(state.name)
    match connection:
        case AmplitudeConnection():
            keys = f"{connection.api_key} and {connection.secret_key}"
        case EngageConnection(write_key=key) if key is not None:
            keys = str(key)
        case ListApiConnection() | PropertyApiConnection():
            keys = str(connection.access.api_key)
        case _:
            pass
    again = ""
    if state.probe_at is not None:
        again = f"; tried again {relative(state.probe_at, seen.now)}, by itself"
    return f"Correct {keys}, or its region{again}."
