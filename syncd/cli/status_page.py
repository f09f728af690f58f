"""How `status` looks to people: one sentence first, the worst sync on top."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from syncd import __version__
from syncd.cli.arrivals import show_arrivals
from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.cli.output import Column
from syncd.cli.pauses import show_pause
from syncd.report.overview import Overview, next_command, summary
from syncd.report.phrases import (
    connection_sentences,
    daemon_words,
    failover_sentences,
    last_change,
    next_words,
    quota_sentence,
    state_words,
    worker_sentences,
)
from syncd.report.replicas import standing_words, work_words
from syncd.report.standing import Standing
from syncd.report.states import GLYPHS, State
from syncd.report.words import dated, number, relative, span

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

_REPLICAS = (
    Column(title="REPLICA"),
    Column(title="PROCESS", right=True),
    Column(title="VERSION", drop=1),
    Column(title="STANDING"),
    Column(title="WORKS ON"),
)


def show(frame: Frame, seen: Overview) -> None:
    """Print the page."""
    out = frame.out
    instance = f"{seen.settings.instance} · syncd {__version__} · {daemon_words(seen)}"
    out.line(f"{instance} · {dated(seen.now, seen.zone)}")
    out.line(summary([one.state for one in seen.standings]), style="bold")
    if seen.standings:
        out.line()
        out.table(_COLUMNS, [_row(one, seen.now) for one in seen.standings])
    _show_replicas(frame, seen)
    _show(frame, worker_sentences(seen))
    for one in seen.standings:
        _show_pause(frame, seen, one)
        _show(frame, failover_sentences(one, seen.now, frame.config_flags()))
    for state in seen.connections:
        _show(frame, connection_sentences(seen, state))
    for each in seen.arrivals:
        show_arrivals(frame, each, seen.now)
    for quota in seen.quotas:
        out.line()
        out.line(quota_sentence(quota, seen.now, seen.zone))
    out.line()
    out.line(f"Next: {next_command(seen)}{frame.config_flags()}")


def _show_replicas(frame: Frame, seen: Overview) -> None:
    """Who runs what, where several share the store."""
    if len(seen.replicas) < 2:
        return
    frame.out.line()
    frame.out.table(
        _REPLICAS,
        [
            [
                each.host,
                str(each.pid),
                each.daemon.version if each.daemon is not None else "-",
                standing_words(each, seen.wall),
                work_words(each),
            ]
            for each in seen.replicas
        ],
    )


# --- the table ------------------------------------------------------------------------


def _row(one: Standing, now: datetime) -> list[str | Text]:
    from rich.text import Text

    style = STYLES[one.state]
    fresh = one.sync.fresh_within
    return [
        Text(GLYPHS[one.state], style=style),
        one.sync.name,
        Text(state_words(one), style=style),
        relative(one.last_success_at, now) if one.last_success_at else "never",
        span(fresh) if fresh is not None else "-",
        next_words(one, now),
        "" if one.members is None else number(one.members),
        last_change(one),
    ]


def _show_pause(frame: Frame, seen: Overview, one: Standing) -> None:
    if one.pause is None:
        return
    frame.out.line()
    show_pause(frame, one.pause, seen.now, one.sync.timezone)


def _show(frame: Frame, sentences: Sequence[str]) -> None:
    """One after the other, as something of its own; nothing where there is none."""
    if sentences:
        frame.out.line()
    for n, each in enumerate(sentences):
        sentence(frame.out, each, indent=2 * (n > 0), hanging=2)
