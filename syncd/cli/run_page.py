"""How one run looks to people: what happened, in its order; then what to type."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.cli.output import WIDTH, Column
from syncd.cli.pauses import show_pause
from syncd.cli.runs import STYLES
from syncd.model import Outcome, Trigger
from syncd.report.one_run import OneRun
from syncd.report.runs import duration, outcome_words
from syncd.report.words import moment, number, plural, relative, span


def show(frame: Frame, page: OneRun) -> None:
    """Print the page."""
    out, run = frame.out, page.run
    out.line(f"{run.sync}  run {run.id}", style="bold")
    style = STYLES[run.outcome] if run.outcome else "blue"
    out.line(_headline(page), style=style)
    out.line(_origin(page))
    if page.pause is not None:
        show_pause(frame, page.pause, page.now, page.zone)
    for trip in run.summary.get("trips", ()):
        sentence(out, f"{trip['guard']}: {trip['reason']}", indent=2, hanging=2)
    if not run.summary.get("trips") and (message := run.summary.get("message")):
        sentence(out, message, indent=2, hanging=2)
    if run.plan_hash is not None:
        _show_plan(frame, page)
    _show_steps(frame, page)
    _show_members(frame, run.summary)
    _show_failures(frame, page)
    _show_last_lines(frame, page)


def _headline(page: OneRun) -> str:
    run = page.run
    words = outcome_words(run, alive=page.alive)
    took = span(duration(run, page.now))
    if run.outcome is None:
        answered = f", {page.share * 100:.0f} % answered" if page.share else ""
        return (
            f"{words} since {page.at(run.started_at)} ({took}), {run.phase}{answered}"
        )
    if run.outcome is Outcome.HELD and page.waits:
        since = f"{page.at(run.started_at)} ({relative(run.started_at, page.now)})"
        return f"held since {since} by {run.reason}. Nothing was sent."
    reason = f": {run.reason}" if run.reason else ""
    if run.outcome is Outcome.SKIPPED:
        return f"skipped{reason}"
    return f"{words}{reason}, in {took}"


def _origin(page: OneRun) -> str:
    run = page.run
    due = f", due {page.at(run.slot)}" if run.slot is not None else ""
    trigger = run.trigger.replace("_", " ")
    approves = run.summary.get("approves", "")
    plan = f" of run {approves[-8:]}" if run.trigger is Trigger.APPROVE else ""
    started = moment(run.started_at, page.now, page.zone, seconds=True)
    return f"started {started} by {trigger}{plan}{due}"


# --- a held plan ----------------------------------------------------------------------


def _show_plan(frame: Frame, page: OneRun) -> None:
    out, numbers = frame.out, page.run.summary
    figures = (
        ("before", "members_before"),
        ("would enter", "to_enter"),
        ("would exit", "to_exit"),
        ("after", "members"),
    )
    parts = [
        f"{word} {number(numbers[key])}" for word, key in figures if key in numbers
    ]
    out.line()
    out.line("  " + "   ".join(parts))
    for each in numbers.get("sides", ()):
        sentence(out, each["sentence"], indent=2, hanging=2)
    day, now = numbers.get("exits_24h", 0), numbers.get("to_exit", 0)
    if day > now:
        share = numbers["exit_ratio_24h"] * 100
        out.line(f"  with the 24 hours before: {number(day)} exits, {share:.1f} %")
    if page.exit_shares:
        shares = "  ".join(f"{share * 100:.1f} %" for share in page.exit_shares)
        count = len(page.exit_shares)
        last = f"last {count} exit shares" if count > 1 else "exit share"
        out.line(f"  {last}: {shares}")
    out.line()
    if page.waits:
        _show_choices(frame, page)
    else:
        _show_decision(frame, page)


def _show_choices(frame: Frame, page: OneRun) -> None:
    choices = page.choices()
    width = max(len(command) for _, command, _ in choices)
    for when, command, effect in choices:
        line = f"  {when:<15}{command:<{width}}   {effect}"
        if len(line) > WIDTH:  # a command stays whole, to be copied
            frame.out.line(f"  {when:<15}{command}")
            line = f"  {'':<15}  {effect}"
        frame.out.line(line)
    expires = page.run.hold_expires_at
    until = f" until {page.at(expires)}, then it is dropped" if expires else ""
    ask = f"ask {page.team}; " if page.team else ""
    waits = f"{'Not sure:':<15}{ask}nothing is sent while it waits{until}"
    sentence(frame.out, waits, indent=2, hanging=15)


def _show_decision(frame: Frame, page: OneRun) -> None:
    for each in page.actions:
        words = {"approve": "approved", "reject": "rejected"}.get(each.verb, each.verb)
        who = f"{words} by {each.actor} ({each.via}) {page.at(each.at)}"
        sentence(frame.out, f"{who}: {each.reason}", indent=2, hanging=2)
    if page.plan == "expired":
        frame.out.line("  expired: nobody decided in time, the plan was dropped")
    if page.sent_by is not None:
        how = outcome_words(page.sent_by, alive=False)
        frame.out.line(f"  sent by run {page.sent_by.short_id} ({how})")


# --- what it did ----------------------------------------------------------------------


def _show_steps(frame: Frame, page: OneRun) -> None:
    numbers = page.run.summary
    times: Mapping[str, float] = numbers.get("phase_ms", {})
    if not times:
        return
    did = dict(_did(numbers, page.fed_by))
    columns = [Column(title="step"), Column(title="took", right=True), Column(title="")]
    rows = [
        [step, span(timedelta(milliseconds=ms)), did.get(step, "")]
        for step, ms in times.items()
    ]
    frame.out.line()
    frame.out.table(columns, rows, header=False, indent=2)


def _did(numbers: Mapping[str, Any], fed_by: str) -> Iterator[tuple[str, str]]:
    """What each step of the run came to, as far as the row says."""
    if "events_in" in numbers:
        yield "collect", events_words(numbers, fed_by)
    elif "snapshot" in numbers:
        refused = sum(numbers.get("refused", {}).values())
        read = f"{number(numbers['snapshot'])} ids read"
        yield "collect", read + (f", {number(refused)} refused" if refused else "")
    if "to_enter" in numbers:
        enter, leave = number(numbers["to_enter"]), number(numbers["to_exit"])
        again = numbers.get("reasserted", 0)
        repeats = f", {number(again)} of them again" if again else ""
        yield "diff", f"{enter} to enter, {leave} to exit{repeats}"
    if "batches" in numbers:
        yield "commit", plural(numbers["batches"], "batch")
    if "requests" in numbers:
        yield "deliver", ", ".join(_delivered(numbers))


def events_words(numbers: Mapping[str, Any], fed_by: str) -> str:
    """`events 26 people: 20 in, 6 out, from inbox engage-main`."""
    entered, exited = numbers["events_in"], numbers["events_out"]
    people = (
        "1 person" if entered + exited == 1 else f"{number(entered + exited)} people"
    )
    told = f"events {people}: {number(entered)} in, {number(exited)} out"
    return told + (f", from {fed_by}" if fed_by else "")


def _delivered(numbers: Mapping[str, Any]) -> Iterator[str]:
    yield f"{number(numbers.get('entered', 0))} entered"
    yield f"{number(numbers.get('exited', 0))} exited"
    for key in ("unmatched", "rejected"):
        if numbers.get(key):
            yield f"{number(numbers[key])} {key}"
    retries = numbers.get("retries", 0)
    again = "1 retry" if retries == 1 else f"{number(retries)} retries"
    yield plural(numbers["requests"], "request") + (f" ({again})" if retries else "")


def _show_members(frame: Frame, numbers: Mapping[str, Any]) -> None:
    out, rows = frame.out, list(_sums(numbers))
    if not rows:
        return
    out.line()
    columns = [Column(title="what"), Column(title="n", right=True), Column(title="")]
    out.table(columns, rows, header=False, indent=2)


def _sums(numbers: Mapping[str, Any]) -> Iterator[list[str]]:
    """Where the sync stood after the run, and who is not a member, by reason."""
    if numbers.get("members_after") is not None:
        cohort = numbers.get("cohort_id")
        where = f"in cohort {cohort}" if cohort else ""
        yield ["members", number(numbers["members_after"]), where]
    for reason, count in numbers.get("refused", {}).items():
        yield ["refused", number(count), reason.replace("_", " ")]
    for reason, count in numbers.get("not_accepted", {}).items():
        kind, _, words = reason.partition(": ")
        yield [kind, number(count), f"{words} (offered again later)"]
    for key, words in (
        ("waiting", "still to be sent, taken over by the next run"),
        ("dead", "refused for good, planned anew by the next run"),
    ):
        if numbers.get(key):
            count, _, noun = plural(numbers[key], "batch").partition(" ")
            yield [key, count, f"{noun} {words}"]


def _show_failures(frame: Frame, page: OneRun) -> None:
    if not page.failures:
        return
    out = frame.out
    out.line()
    out.line("  requests that failed, with the vendor's words:")
    for kind, words, count in page.failures:
        text = f"{number(count)}x {kind}" + (f": {words}" if words else "")
        sentence(out, text, indent=4, hanging=2)


def _show_last_lines(frame: Frame, page: OneRun) -> None:
    run, flags = page.run, page.flags
    hint = run.summary.get("hint")
    if page.waits or (not hint and run.outcome in (None, *_FINE)):
        return
    frame.out.line()
    if hint:
        sentence(frame.out, f"Next: {hint}", hanging=2)
    else:
        frame.out.line(f"Next: syncd runs {run.sync}{flags}")


_FINE = (Outcome.SUCCESS, Outcome.NO_CHANGE, Outcome.SKIPPED)
