"""How one run looks to people: what happened, in its order; then what to type."""

from collections.abc import Mapping
from typing import Any

from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.cli.output import WIDTH, Column
from syncd.cli.pauses import show_pause
from syncd.cli.runs import STYLES
from syncd.report.one_run import OneRun
from syncd.report.run_phrases import (
    decision_sentences,
    failure_sentences,
    figures,
    headline,
    next_step,
    origin,
    plan_sentences,
    reasons,
    steps,
    sums,
    undecided,
)
from syncd.report.words import number, span


def show(frame: Frame, page: OneRun) -> None:
    """Print the page."""
    out, run = frame.out, page.run
    out.line(f"{run.sync}  run {run.id}", style="bold")
    style = STYLES[run.outcome] if run.outcome else "blue"
    out.line(headline(page), style=style)
    out.line(origin(page))
    if page.pause is not None:
        show_pause(frame, page.pause, page.now, page.zone)
    for each in reasons(run):
        sentence(out, each, indent=2, hanging=2)
    if run.plan_hash is not None:
        _show_plan(frame, page)
    _show_steps(frame, page)
    _show_members(frame, run.summary)
    _show_failures(frame, page)
    _show_last_lines(frame, page)


# --- a held plan ----------------------------------------------------------------------


def _show_plan(frame: Frame, page: OneRun) -> None:
    out = frame.out
    out.line()
    parts = [f"{word} {number(count)}" for word, count in figures(page.run.summary)]
    out.line("  " + "   ".join(parts))
    for each in plan_sentences(page):
        sentence(out, each, indent=2, hanging=2)
    out.line()
    if page.waits:
        _show_choices(frame, page)
    else:
        for each in decision_sentences(page):
            sentence(out, each, indent=2, hanging=2)


def _show_choices(frame: Frame, page: OneRun) -> None:
    choices = page.choices()
    width = max(len(command) for _, command, _ in choices)
    for when, command, effect in choices:
        line = f"  {when:<15}{command:<{width}}   {effect}"
        if len(line) > WIDTH:  # a command stays whole, to be copied
            frame.out.line(f"  {when:<15}{command}")
            line = f"  {'':<15}  {effect}"
        frame.out.line(line)
    waits = f"{'Not sure:':<15}{undecided(page)}"
    sentence(frame.out, waits, indent=2, hanging=15)


# --- what it did ----------------------------------------------------------------------


def _show_steps(frame: Frame, page: OneRun) -> None:
    rows = [[each.name, span(each.took), each.did] for each in steps(page)]
    if not rows:
        return
    columns = [Column(title="step"), Column(title="took", right=True), Column(title="")]
    frame.out.line()
    frame.out.table(columns, rows, header=False, indent=2)


def _show_members(frame: Frame, numbers: Mapping[str, Any]) -> None:
    out, rows = frame.out, list(sums(numbers))
    if not rows:
        return
    out.line()
    columns = [Column(title="what"), Column(title="n", right=True), Column(title="")]
    out.table(columns, rows, header=False, indent=2)


def _show_failures(frame: Frame, page: OneRun) -> None:
    if not page.failures:
        return
    out = frame.out
    out.line()
    out.line("  requests that failed, with the vendor's words:")
    for each in failure_sentences(page):
        sentence(out, each, indent=4, hanging=2)


def _show_last_lines(frame: Frame, page: OneRun) -> None:
    told = next_step(page)
    if told:
        frame.out.line()
        sentence(frame.out, f"Next: {told}", hanging=2)
