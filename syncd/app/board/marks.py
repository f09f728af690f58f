"""States, outcomes and directions as the pages show them: glyph, word, tone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from syncd.config.settings import (
    Destination,
    FromAudience,
    FromCohort,
    Settings,
    Source,
    SyncSettings,
    ToCohort,
    ToList,
    ToTrait,
)
from syncd.config.settings_connections import AmplitudeConnection, EngageConnection
from syncd.model import Outcome
from syncd.report.phrases import about, activity_words
from syncd.report.runs import change_words, duration, outcome_words
from syncd.report.standing import Standing
from syncd.report.states import GLYPHS, State
from syncd.report.words import moment, number, relative, span
from syncd.store.runs import Run
from syncd.web.pages.views import Cell, Freshness, History, Mark, RunLine

TONES = {
    State.HELD: "held",
    State.FAILING: "bad",
    State.STALE: "bad",
    State.LATE: "late",
    State.PENDING: "idle",
    State.PAUSED: "idle",
    State.ON_TIME: "fine",
    State.OFF: "idle",
}
_OUTCOMES = {
    Outcome.SUCCESS: ("●", "fine"),
    Outcome.NO_CHANGE: ("○", "fine"),
    Outcome.PARTIAL: ("◐", "late"),
    Outcome.HELD: ("◆", "held"),
    Outcome.FAILED: ("✖", "bad"),
    Outcome.SKIPPED: ("↷", "idle"),
    Outcome.INTERRUPTED: ("◔", "late"),
    Outcome.ABANDONED: ("✕", "bad"),
}
_RUNNING = ("▸", "busy")


def state_mark(state: State) -> Mark:
    """`● on time`."""
    return Mark(glyph=GLYPHS[state], word=state.value, tone=TONES[state])


def outcome_mark(outcome: Outcome | None, word: str = "") -> Mark:
    """`◐ partial`; without an outcome it runs, or was cut off."""
    glyph, tone = _OUTCOMES[outcome] if outcome else _RUNNING
    said = outcome.replace("_", " ") if outcome else "running"
    return Mark(glyph=glyph, word=word or said, tone=tone)


def beside(one: Standing) -> str:
    """What stands beside a state: how long it is overdue, and how far a run is."""
    words = [f"overdue {about(one.overdue)}"] if one.overdue is not None else []
    if one.activity is not None:
        words.append(activity_words(one.activity))
    return " ".join(words)


def why(one: Standing) -> str:
    """What stopped a sync, in a sentence; empty for one that is well."""
    if one.held is not None:
        trips = one.held.summary.get("trips", ())
        return "; ".join(each["reason"] for each in trips) or (one.held.reason or "")
    if one.pause is not None:
        return f"paused by {one.pause.actor}: {one.pause.reason}"
    for each in one.connections:
        if each.stopped_at is not None:
            return f"{each.name} is stopped: {each.stopped_reason}"
    if one.unreconciled is not None:
        return "the database failed over and may have lost commits: reconcile it first"
    if one.unheard is not None:
        return "the database failed over and may have lost what was pushed"
    newest = one.newest
    if newest is None or newest.outcome not in _WRONG:
        return ""
    return newest.summary.get("message") or newest.reason or ""


_WRONG = (Outcome.FAILED, Outcome.ABANDONED, Outcome.PARTIAL, Outcome.HELD)


def ago(t: datetime, now: datetime) -> str:
    """`25 m ago`, `3 h 12 m ago`: whole minutes, once it is more than one."""
    age = now - t
    if age > timedelta(minutes=1):
        age = timedelta(minutes=age // timedelta(minutes=1))
    return relative(now - age, now)


def freshness(one: Standing, now: datetime) -> Freshness:
    """How old what was delivered is, beside what was promised."""
    promised, last = one.sync.fresh_within, one.last_success_at
    if promised is None:
        return Freshness(share=None, words="nothing promised", tone="idle")
    if last is None:
        return Freshness(
            share=None, words=f"never yet, of {span(promised)}", tone="idle"
        )
    share = max((now - last) / promised, 0.0)
    tone = "bad" if share >= 1 else "late" if one.state is State.LATE else "fine"
    percent = f"{share * 100:.0f} %" if share < 10 else "over 1,000 %"
    return Freshness(share=share, words=f"{percent} of {span(promised)}", tone=tone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the pictures show of one run."""

    moved: tuple[int, int]
    """Who entered, who exited."""
    counted: int | None
    """Members after it; None where it did not count."""
    cell: Cell


def past(run: Run, now: datetime, zone: str) -> Past:
    """A run for the pictures; in the words of this day."""
    numbers = run.summary
    counted = numbers.get("members_after")
    return Past(
        moved=(int(numbers.get("entered", 0)), int(numbers.get("exited", 0))),
        counted=None if counted is None else int(counted),
        cell=_cell(run, now, zone),
    )


def history(recent: Sequence[Past], members: int | None) -> History:
    """The pictures' numbers, of runs newest first and the members there are now."""
    return History(
        sizes=tuple(_sizes(recent, members))[::-1],
        moves=tuple(each.moved for each in recent)[::-1],
        cells=tuple(each.cell for each in recent)[::-1],
    )


def _sizes(recent: Sequence[Past], members: int | None) -> Iterator[int]:
    """Members after each run, newest first: counted by the run, or counted back."""
    size = members
    for each in recent:
        size = size if each.counted is None else each.counted
        if size is None:
            return
        yield size
        entered, exited = each.moved
        size = max(size - entered + exited, 0)


def _cell(run: Run, now: datetime, zone: str) -> Cell:
    words = outcome_words(run, alive=True)
    if run.reason:
        words += f" ({run.reason})"
    change = change_words(run)
    words += f", {moment(run.started_at, now, zone)}" + (
        f", {change}" if change else ""
    )
    return Cell(run_id=run.id, outcome=run.outcome or "running", words=words)


def run_line(run: Run, now: datetime, zone: str, *, alive: bool) -> RunLine:
    """One run in a table."""
    members = run.summary.get("members_after")
    skipped = run.outcome is Outcome.SKIPPED
    return RunLine(
        run_id=run.id,
        short_id=run.short_id,
        started=moment(run.started_at, now, zone),
        trigger=run.trigger.replace("_", " "),
        mark=outcome_mark(run.outcome, outcome_words(run, alive=alive)),
        took="" if skipped else span(duration(run, now)),
        members="" if members is None else number(members),
        change=change_words(run),
        reason=run.reason or "",
    )


# --- ends -----------------------------------------------------------------------------


def direction(settings: Settings, sync: SyncSettings) -> str:
    """`Engage → Amplitude`."""
    return (
        f"{_side(settings, sync.source.connection)} → "
        f"{_side(settings, sync.target.connection)}"
    )


def ends(sync: SyncSettings, external_id: str | None) -> str:
    """What a sync keeps equal, both ends by their names."""
    return f"{_source(sync.source)} → {_target(sync, sync.target, external_id)}"


def _side(settings: Settings, name: str) -> str:
    match settings.connections.get(name):
        case AmplitudeConnection():
            return "Amplitude"
        case EngageConnection():
            return "Engage"
        case _:
            return name


def _source(source: Source) -> str:
    match source:
        case FromAudience():
            return f"audience {source.audience} of {source.connection}"
        case FromCohort():
            return f"cohort {source.cohort_id} of {source.connection}"


def _target(sync: SyncSettings, target: Destination, external_id: str | None) -> str:
    return f"{_called(sync, target, external_id)} of {target.connection}"


def _called(sync: SyncSettings, target: Destination, external_id: str | None) -> str:
    shown = f" ({external_id})" if external_id else ""
    match target:
        case ToCohort():
            return f"cohort {target.cohort or target.cohort_id}{shown}"
        case ToTrait():
            return f"trait {target.trait or external_id or sync.name}"
        case ToList():
            return f"list {target.list or target.list_id or sync.name}{shown}"
