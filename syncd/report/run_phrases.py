"""One run in words: what happened, in its order; what was decided; what to type."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from syncd.model import Outcome, Trigger
from syncd.report.one_run import OneRun
from syncd.report.runs import duration, outcome_words
from syncd.report.words import (
    moment,
    number,
    plural,
    relative,
    span,
    unchanged_words,
)
from syncd.store.runs import Run

_FINE = (None, Outcome.SUCCESS, Outcome.NO_CHANGE, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One phase of a run."""

    name: str
    took: timedelta
    did: str
    """What it came to; empty where the run's row does not say."""


def headline(page: OneRun) -> str:
    """How it ended, why, and how long it took; or how far it is."""
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


def origin(page: OneRun) -> str:
    """When it began, and what made it begin."""
    run = page.run
    due = f", due {page.at(run.slot)}" if run.slot is not None else ""
    trigger = run.trigger.replace("_", " ")
    approves = run.summary.get("approves", "")
    plan = f" of run {approves[-8:]}" if run.trigger is Trigger.APPROVE else ""
    started = moment(run.started_at, page.now, page.zone, seconds=True)
    asked = next((each for each in page.actions if each.verb == "repair"), None)
    who = f" for {asked.actor} ({asked.via}): {asked.reason}" if asked else ""
    return f"started {started} by {trigger}{plan}{due}{who}"


def reasons(run: Run) -> list[str]:
    """Each guard that tripped, else what went wrong; empty for a run that went well."""
    trips = [
        f"{trip['guard']}: {trip['reason']}" for trip in run.summary.get("trips", ())
    ]
    message = run.summary.get("message")
    return trips or ([message] if message else [])


def next_step(page: OneRun) -> str:
    """What to type now; empty for a run that needs nothing, or a decision."""
    hint = page.run.summary.get("hint")
    if page.waits or (not hint and page.run.outcome in _FINE):
        return ""
    return hint or f"syncd runs {page.run.sync}{page.flags}"


# --- a held plan ----------------------------------------------------------------------


def figures(numbers: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(word, count) of a plan: before, would enter, would exit, after."""
    named = (
        ("before", "members_before"),
        ("would enter", "to_enter"),
        ("would exit", "to_exit"),
        ("after", "members"),
    )
    return [(word, numbers[key]) for word, key in named if key in numbers]


def plan_sentences(page: OneRun) -> Iterator[str]:
    """The sides of a change of identity; exits of a day; the usual exit shares."""
    numbers = page.run.summary
    for each in numbers.get("sides", ()):
        yield each["sentence"]
    day, now = numbers.get("exits_24h", 0), numbers.get("to_exit", 0)
    if day > now:
        share = numbers["exit_ratio_24h"] * 100
        yield f"with the 24 hours before: {number(day)} exits, {share:.1f} %"
    if page.exit_shares:
        shares = "  ".join(f"{share * 100:.1f} %" for share in page.exit_shares)
        count = len(page.exit_shares)
        last = f"last {count} exit shares" if count > 1 else "exit share"
        yield f"{last}: {shares}"


def undecided(page: OneRun) -> str:
    """Whom to ask while a plan waits, and until when it does."""
    expires = page.run.hold_expires_at
    until = f" until {page.at(expires)}, then it is dropped" if expires else ""
    ask = f"ask {page.team}; " if page.team else ""
    return f"{ask}nothing is sent while it waits{until}"


def decision_sentences(page: OneRun) -> Iterator[str]:
    """Who decided what about a plan, and what became of it."""
    for each in page.actions:
        words = {"approve": "approved", "reject": "rejected"}.get(each.verb, each.verb)
        who = f"{words} by {each.actor} ({each.via}) {page.at(each.at)}"
        yield f"{who}: {each.reason}"
    if page.plan == "expired":
        yield "expired: nobody decided in time, the plan was dropped"
    if page.sent_by is not None:
        how = outcome_words(page.sent_by, alive=False)
        yield f"sent by run {page.sent_by.short_id} ({how})"


# --- what it did ----------------------------------------------------------------------


def steps(page: OneRun) -> list[Step]:
    """Its phases in their order, as far as they are measured."""
    numbers = page.run.summary
    did = dict(_did(numbers, page.fed_by))
    return [
        Step(name=name, took=timedelta(milliseconds=ms), did=did.get(name, ""))
        for name, ms in numbers.get("phase_ms", {}).items()
    ]


def _did(numbers: Mapping[str, Any], fed_by: str) -> Iterator[tuple[str, str]]:
    """What each step of the run came to, as far as the row says."""
    if "repairs" in numbers:
        yield "find", _found_to_differ(numbers["repairs"])
    if "unchanged_since" in numbers:
        yield "ask", f"source {unchanged_words(numbers['unchanged_since'])}"
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


def _found_to_differ(counts: Mapping[str, int]) -> str:
    """`read back before: 7 missing, 3 left by syncd, 5 of others (left alone)`."""
    others = counts["ghosts_others"] + counts["ghosts_returned"]
    left = f", {number(others)} of others (left alone)" if others else ""
    return (
        f"read back before: {number(counts['missing'])} missing, "
        f"{number(counts['ghosts_ours'])} left by syncd{left}"
    )


def _delivered(numbers: Mapping[str, Any]) -> Iterator[str]:
    yield f"{number(numbers.get('entered', 0))} entered"
    yield f"{number(numbers.get('exited', 0))} exited"
    for key in ("unmatched", "rejected"):
        if numbers.get(key):
            yield f"{number(numbers[key])} {key}"
    retries = numbers.get("retries", 0)
    again = "1 retry" if retries == 1 else f"{number(retries)} retries"
    yield plural(numbers["requests"], "request") + (f" ({again})" if retries else "")


def sums(numbers: Mapping[str, Any]) -> Iterator[list[str]]:
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


def failure_sentences(page: OneRun) -> Iterator[str]:
    """`12x rate_limited: the vendor's words`, most frequent first."""
    for kind, words, count in page.failures:
        yield f"{number(count)}x {kind}" + (f": {words}" if words else "")
