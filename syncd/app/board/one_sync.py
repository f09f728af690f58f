"""A sync's page: what it keeps equal, how it stands, what a person may decide."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from syncd import help as runbook
from syncd.app.board.marks import (
    ago,
    beside,
    ends,
    freshness,
    history,
    outcome_mark,
    past,
    run_line,
    state_mark,
    why,
)
from syncd.app.board.one_run import plan_of, stages, steps_of
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.model import Outcome
from syncd.report.due import next_times
from syncd.report.one_run import OneRun, one_run
from syncd.report.phrases import next_words, pause_sentences
from syncd.report.runs import newest_runs
from syncd.report.standing import Standing
from syncd.report.states import NEEDS_A_PERSON
from syncd.report.words import moment, number
from syncd.schedule import describe
from syncd.store import history as ended_runs
from syncd.store import runs
from syncd.store.database import Connection
from syncd.store.latest_runs import RAN
from syncd.web.pages.svg import RUNS
from syncd.web.pages.views import Count, Fact, RunLine, SyncPage, Top

SHOWN = 30
"""Runs in the table."""
NEXT = 3
"""Due times that are named."""


def sync_page(
    connection: Connection,
    settings: Settings,
    one: Standing,
    clock: Clock,
    top: Top,
    wanted: Outcome | None,
) -> SyncPage:
    """The page; its runs are those that ended as `wanted`."""
    now, sync = clock.now(), one.sync
    recent = _recent(connection, one)
    ended = ended_runs.outcomes(connection, sync.name)
    last = one_run(connection, settings, recent[0], clock, flags="") if recent else None
    held = (
        one_run(connection, settings, one.held, clock, flags="") if one.held else None
    )
    numbers = last.run.summary if last else {}
    return SyncPage(
        top=top,
        name=sync.name,
        mark=state_mark(one.state),
        also=beside(one),
        ends=ends(sync, one.external_id),
        description=sync.description,
        why=why(one) if one.state in NEEDS_A_PERSON else "",
        facts=(*_facts(settings, one, now), *_put_off(connection, one, now)),
        freshness=freshness(one, now),
        pause=_pause(one, now),
        plan=plan_of(held) if held else None,
        stages=stages(numbers),
        last=_last(last, now) if last else None,
        steps=steps_of(last) if last else (),
        history=history(
            [past(each, now, sync.timezone) for each in recent], one.members
        ),
        counts=tuple(_counts(ended, sync.name, wanted)),
        began=sum(ended[each] for each in ended if each is not Outcome.SKIPPED),
        runs=tuple(_lines(connection, one, clock, wanted)),
        chosen=wanted.value if wanted else "",
        command=_command(one),
    )


def _recent(connection: Connection, one: Standing) -> list[runs.Run]:
    """Runs that began, newest first; the one in progress too."""
    found = runs.latest(connection, sync_name=one.sync.name, outcomes=RAN, limit=RUNS)
    if one.activity is not None:
        found = [one.activity.run, *found][:RUNS]
    return found


def _last(page: OneRun, now: datetime) -> RunLine:
    return run_line(page.run, now, page.zone, alive=page.alive)


def _facts(settings: Settings, one: Standing, now: datetime) -> Iterator[Fact]:
    sync = one.sync
    if sync.team:
        yield Fact(name="owner", words=sync.team)
    yield Fact(name="schedule", words=describe(sync.schedule))
    times = next_times(settings, sync, now, NEXT)
    following = ", ".join(moment(each, now, sync.timezone) for each in times[1:])
    after = f", then {following}" if following and one.next_at else ""
    yield Fact(name="next run", words=next_words(one, now) + after)
    last = one.last_success_at
    yield Fact(name="last success", words=ago(last, now) if last else "never")
    if one.members is not None:
        yield Fact(name="members", words=number(one.members))
    yield Fact(name="matched by", words=sync.match.value)
    for kind, (batches, ids) in (("waiting", one.waiting), ("dead", one.dead)):
        if batches:
            words = f"{number(batches)} ({number(ids)} ids)"
            yield Fact(name=f"batches {kind}", words=words)
    for each in one.unaccepted:
        yield Fact(name=each.kind, words=f"{number(each.ids)}: {each.reason}")


def _put_off(connection: Connection, one: Standing, now: datetime) -> Iterator[Fact]:
    """Why the last due run did not happen, where none began since."""
    skipped = (Outcome.SKIPPED,)
    for run in runs.latest(connection, sync_name=one.sync.name, outcomes=skipped):
        newest = one.newest
        if newest is not None and newest.started_at > run.started_at:
            return
        due, reason = moment(run.started_at, now, one.sync.timezone), run.reason
        words = (reason or "").replace("_", " ")
        yield Fact(name="last one skipped", words=f"{due}: {words}", href=_help(reason))


def _help(reason: str | None) -> str:
    code = f"skipped.{(reason or '').partition(':')[0]}"
    return f"/help/{code}" if runbook.find(code) else ""


def _pause(one: Standing, now: datetime) -> str:
    if one.pause is None:
        return ""
    who, way_out = pause_sentences(one.pause, now, one.sync.timezone, "")
    return f"{who}. To {way_out}"


def _counts(
    found: Mapping[Outcome, int], name: str, wanted: Outcome | None
) -> Iterator[Count]:
    for outcome in Outcome:
        if found.get(outcome) or outcome is wanted:
            yield Count(
                mark=outcome_mark(outcome),
                count=found.get(outcome, 0),
                href=f"/syncs/{name}?outcome={outcome.value}",
                chosen=outcome is wanted,
            )


def _lines(
    connection: Connection, one: Standing, clock: Clock, wanted: Outcome | None
) -> Iterator[RunLine]:
    """Those that ended as wanted; else all that began, the one in progress first."""
    now, zone = clock.now(), one.sync.timezone
    if one.activity is not None and wanted is None:
        yield run_line(one.activity.run, now, zone, alive=one.activity.alive)
    outcomes = [wanted] if wanted else RAN
    name = one.sync.name
    seen = newest_runs(connection, clock, [name], outcomes=outcomes, limit=SHOWN)
    for run in seen.found:
        yield run_line(run, now, zone, alive=False)


def _command(one: Standing) -> str:
    if one.newest is None:
        return f"syncd run {one.sync.name}"
    if one.state in NEEDS_A_PERSON:
        return f"syncd show {(one.held or one.newest).short_id}"
    return f"syncd runs {one.sync.name}"
