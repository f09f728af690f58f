"""A sync, a pause, a connection, a quota in words: for a cell, or for a line."""

from datetime import datetime, timedelta

from syncd.config.settings import ToCohort
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.model import Fed
from syncd.report.daemons import ticks
from syncd.report.due import without_times
from syncd.report.overview import Overview
from syncd.report.runs import change_words
from syncd.report.standing import Activity, Standing
from syncd.report.words import moment, number, relative, span
from syncd.schedule import Manual, Once
from syncd.store.connections import ConnectionState
from syncd.store.lost_commits import hearing, reconciling
from syncd.store.pauses import Pause
from syncd.store.quotas import Quota


def state_words(one: Standing) -> str:
    """`stale, overdue 4 h`; what runs now is said beside it."""
    text = str(one.state)
    if one.overdue is not None:
        text += f", overdue {about(one.overdue)}"
    if one.activity is not None:
        text += f" {activity_words(one.activity)}"
    return text


def about(value: timedelta) -> str:
    """`4 h`: the first unit alone, where a column must stay narrow."""
    return " ".join(span(value).split()[:2])


def activity_words(activity: Activity) -> str:
    """Shown beside any state: `▸ 62 %`, `▸ collect`, or that its process died."""
    if not activity.alive:
        return "(cut off)"
    if activity.share is None:
        return f"▸ {activity.run.phase}"
    return f"▸ {activity.share * 100:.0f} %"


def next_words(one: Standing, now: datetime) -> str:
    """When it runs next, or what it waits for: `12:00 CEST`, `for you`, `by hand`."""
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


def last_change(one: Standing) -> str:
    """Who moved last, or would: `+412 -133`; empty where nobody ever did."""
    if one.held is not None:
        return change_words(one.held)
    return change_words(one.changed) if one.changed is not None else ""


def daemon_words(seen: Overview) -> str:
    """`daemon up 6 d 2 h`, `no daemon (last sign of life 3 h ago)`."""
    if seen.alive:
        oldest = min(each.started_at for each in seen.alive)
        count = len(seen.alive)
        who = "daemon" if count == 1 else f"{count} daemons"
        return f"{who} up {span(max(seen.wall - oldest, timedelta(0)))}"
    silent = [each for each in seen.daemons if ticks(each)]
    if silent:
        last = relative(silent[0].heartbeat_at, seen.wall)
        return f"no daemon (last sign of life {last})"
    return "no daemon"


def worker_sentences(seen: Overview) -> list[str]:
    """That nobody runs what the daemons queue; nothing where somebody does."""
    if not seen.unattended:
        return []
    return [
        "No worker gives a sign of life: what is due waits in the queue.",
        "Start one: syncd worker",
    ]


def pause_sentences(
    pause: Pause, now: datetime, zone: str, flags: str
) -> tuple[str, str]:
    """Who paused the sync, why, until when; and the way out."""
    until = "until it is resumed"
    if pause.until is not None:
        until = f"until {moment(pause.until, now, zone)}"
    who = f"{pause.sync} is paused by {pause.actor} {until}: {pause.reason}"
    return who, f"resume it: syncd resume {pause.sync}{flags}"


def failover_sentences(one: Standing, now: datetime, flags: str) -> list[str]:
    """Since when what is there, or what was pushed, is not known for sure, and the way
    out of either; empty: both are known."""
    said, name = [], one.sync.name
    if one.unreconciled is not None:
        lost = _failed_over(one, one.unreconciled, now)
        said.append(f"{name} waits to be reconciled: {lost} what was acknowledged last")
        way_out = reconciling(name, readable=isinstance(one.sync.target, ToCohort))
        said.append(f"reconcile it: {way_out}{flags}")
    if one.unheard is not None and one.fed is not None:
        lost = _failed_over(one, one.unheard, now)
        said.append(f"{name} waits for all that was pushed: {lost} events")
        ends = _ends(one, one.unheard, one.fed, now)
        said.append(f"{ends}: {hearing(name, one.fed)}{flags}")
    return said


def _failed_over(one: Standing, noticed: datetime, now: datetime) -> str:
    since = moment(noticed, now, one.sync.timezone)
    return f"the database failed over, noticed {since}, and may have lost"


def _ends(one: Standing, unheard: datetime, fed: Fed, now: datetime) -> str:
    """What ends the waiting for what was pushed."""
    if fed.list_lag is None:
        return "have its sender send everybody again, then say so"
    made = moment(unheard + fed.list_lag, now, one.sync.timezone)
    return f"a whole list made after {made} ends that"


def connection_sentences(seen: Overview, state: ConnectionState) -> list[str]:
    """What keeps a connection from being used, and the way out; empty if nothing."""
    now, zone = seen.now, seen.zone
    if state.stopped_at is not None:
        since = moment(state.stopped_at, now, zone)
        what = f"{state.name} is stopped since {since}: {state.stopped_reason}"
        return [what, _way_out(seen, state)]
    if state.throttled_until is not None and state.throttled_until > now:
        until = moment(state.throttled_until, now, zone)
        return [f"{state.name} asked for a pause until {until}."]
    return []


def quota_sentence(quota: Quota, now: datetime, zone: str) -> str:
    """`Amplitude downloads 65 of 500 (eu:187520, asked 12 min ago); resets …`"""
    if quota.resets_at <= now:
        return f"Amplitude downloads ({quota.project}): a new month, unused."
    used = f"{number(quota.used)} of {number(quota.limit)}"
    asked = relative(quota.read_at, now)
    reset = moment(quota.resets_at, now, zone)
    return (
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
