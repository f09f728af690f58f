"""A run's page, and the held plan that a sync's page shows as well."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from syncd.app.board.marks import outcome_mark
from syncd.report.one_run import OneRun
from syncd.report.run_phrases import (
    decision_sentences,
    figures,
    headline,
    next_step,
    origin,
    steps,
    sums,
)
from syncd.report.runs import outcome_words
from syncd.report.words import moment, number, span
from syncd.store import history
from syncd.store.database import Connection
from syncd.store.history import BatchEnd
from syncd.web.pages.views import (
    BatchLine,
    Choice,
    Fact,
    Failure,
    Figure,
    Link,
    Plan,
    RunPage,
    Stage,
    Step,
    Top,
    Trip,
)

SHOWN = 60
"""Batches of a run that are listed."""


def run_page(connection: Connection, page: OneRun, top: Top) -> RunPage:
    """Everything about one run."""
    run = page.run
    batches = history.batches(connection, run.id)
    words = outcome_words(run, alive=page.alive)
    plan = plan_of(page)
    return RunPage(
        top=top,
        run_id=run.id,
        short_id=run.short_id,
        sync=Link(words=run.sync, href=f"/syncs/{run.sync}"),
        mark=outcome_mark(run.outcome, words),
        headline=headline(page),
        origin=origin(page),
        reasons=() if plan else tuple(_reasons(page)),
        plan=plan,
        decisions=tuple(decision_sentences(page)),
        sent_by=_sent_by(page),
        stages=stages(run.summary),
        steps=steps_of(page),
        sums=tuple(
            Fact(name=name, words=f"{count} {words}".strip())
            for name, count, words in sums(run.summary)
        ),
        failures=tuple(
            Failure(count=number(count), kind=kind, words=words)
            for kind, words, count in page.failures
        ),
        batches=tuple(_batch(page, each) for each in batches[:SHOWN]),
        more_batches=max(len(batches) - SHOWN, 0),
        command=_command(page),
    )


def _command(page: OneRun) -> str:
    return f"syncd show {page.run.short_id}" if page.waits else next_step(page)


def _sent_by(page: OneRun) -> Link | None:
    found = page.sent_by
    return Link(words=found.short_id, href=f"/runs/{found.id}") if found else None


def _reasons(page: OneRun) -> Iterator[Trip]:
    numbers, run = page.run.summary, page.run
    trips = numbers.get("trips", ())
    for each in trips:
        yield Trip(guard=each["guard"], reason=each["reason"])
    message = numbers.get("message") or run.reason
    if not trips and message:
        yield Trip(guard=run.reason or "", reason=message)


def _batch(page: OneRun, each: BatchEnd) -> BatchLine:
    status = f" ({each.status})" if each.status else ""
    return BatchLine(
        batch_id=each.batch_id,
        operation=each.operation.value,
        ids=number(each.n),
        requests=number(each.requests),
        result=each.result.replace("_", " ") + status,
        at=moment(each.at, page.now, page.zone, seconds=True),
        took=span(timedelta(milliseconds=each.duration_ms)),
    )


# --- what other pages show as well ----------------------------------------------------


def steps_of(page: OneRun) -> tuple[Step, ...]:
    """Its phases, with how long each took."""
    return tuple(
        Step(
            name=each.name,
            milliseconds=each.took / timedelta(milliseconds=1),
            took=span(each.took),
            did=each.did,
        )
        for each in steps(page)
    )


def stages(numbers: Mapping[str, Any]) -> tuple[Stage, ...]:
    """From the people of the source to what the destination took."""
    named = (
        ("people", _first(numbers, "members", "snapshot")),
        ("changed", _changed(numbers)),
        ("sent", numbers.get("sent")),
        ("accepted", numbers.get("accepted")),
    )
    found = [Stage(name=name, count=number(n)) for name, n in named if n is not None]
    if not found:
        return ()
    rest = (("unmatched", "late"), ("rejected", "late"), ("waiting", "late"))
    for name, tone in (*rest, ("dead", "bad")):
        count = numbers.get(name, 0)
        if count or name != "unmatched":
            told = tone if count else ""
            found.append(Stage(name=name, count=number(count), tone=told, flows=False))
    return tuple(found)


def _first(numbers: Mapping[str, Any], *keys: str) -> int | None:
    return next((numbers[key] for key in keys if numbers.get(key) is not None), None)


def _changed(numbers: Mapping[str, Any]) -> int | None:
    if "to_enter" not in numbers:
        return None
    return int(numbers["to_enter"]) + int(numbers["to_exit"])


def plan_of(page: OneRun) -> Plan | None:
    """The plan that a run held, decided or not; None for one that held none."""
    run, numbers = page.run, page.run.summary
    if run.plan_hash is None:
        return None
    expires = run.hold_expires_at
    until = f" until {page.at(expires)}, then it is dropped" if expires else ""
    trips = [
        Trip(guard=each["guard"], reason=each["reason"])
        for each in numbers.get("trips", ())
    ]
    return Plan(
        run_id=run.id,
        short_id=run.short_id,
        waits=page.waits,
        since=page.at(run.started_at),
        trips=tuple(trips) or (Trip(guard=run.reason or "held", reason="held"),),
        figures=tuple(_plan_figures(numbers)),
        notes=tuple(_notes(numbers)),
        shares=tuple(page.exit_shares),
        choices=tuple(
            Choice(when=when, command=command, effect=effect)
            for when, command, effect in (page.choices() if page.waits else ())
        ),
        until=until,
        ask=page.team,
        fate="" if page.waits else f"This plan was {page.plan}.",
    )


_FIGURES = {"before": "members now"}


def _plan_figures(numbers: Mapping[str, Any]) -> Iterator[Figure]:
    for word, count in figures(numbers):
        yield Figure(label=_FIGURES.get(word, word), value=number(count))
    if "exit_ratio" in numbers:
        yield Figure(label="exit share", value=f"{numbers['exit_ratio'] * 100:.1f} %")
    for trip in numbers.get("trips", ()):
        limit = trip.get("limit")
        if isinstance(limit, float) and limit:
            name = str(trip["guard"]).rpartition(".")[2].replace("_", " ")
            yield Figure(label=f"limit ({name})", value=f"{limit * 100:.0f} %")


def _notes(numbers: Mapping[str, Any]) -> Iterator[str]:
    for each in numbers.get("sides", ()):
        yield each["sentence"]
    day, now = numbers.get("exits_24h", 0), numbers.get("to_exit", 0)
    if day > now:
        share = numbers["exit_ratio_24h"] * 100
        yield f"With the 24 hours before: {number(day)} exits, {share:.1f} %."
