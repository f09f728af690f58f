"""Whether a person is in, and why not: one word and one sentence. Pure.

What settles it, first to last: an id that hygiene refuses; a plan that waits for a
person; a batch without a proven answer; an offer that was not taken; the acknowledged
set. A list's people are not kept: that a list named somebody follows from a run that
ended well, since then all that it listed was settled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from syncd.cli.person import Known
from syncd.model import BatchState, Operation
from syncd.report.words import plural
from syncd.store.forgotten import KEEP as REMEMBERED
from syncd.store.traces import KEEP, Naming
from syncd.store.unaccepted import Kind
from syncd.sync.ids import Reason

Say = Callable[[datetime], str]
"""An instant as people read it."""


class State(StrEnum):
    """Where a person stands in one sync."""

    IN = "in"
    OUT = "out"
    UNCERTAIN = "uncertain"
    """In a batch that was planned or sent, without a proven answer."""
    UNMATCHED = "unmatched"
    REJECTED = "rejected"
    """By the destination, or by our hygiene: then never sent."""
    HELD = "held"
    """In a plan that waits for a person."""
    NEVER_SEEN = "never seen"
    FORGOTTEN = "forgotten"
    """They asked for it, and are not in: no list and no event brings them back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The current answer in one sentence, and the commands that go on from it."""

    text: str
    hints: tuple[str, ...] = ()


_REFUSALS = {
    Reason.EMPTY: "is empty",
    Reason.NOT_UTF8: "is no UTF-8 text",
    Reason.TOO_LONG: "is too long",
    Reason.CONTROL_CHARACTER: "holds a control character",
    Reason.WHITESPACE_EDGE: "has white space before or after it",
    Reason.FORBIDDEN_WORD: "is a word that stands for nobody",
    Reason.NOT_AMPLITUDE_ID: "is no Amplitude id, and this sync matches by those",
}


def state_of(known: Known) -> State:
    """Where this person stands."""
    if known.refusal is not None:
        other_kind = known.refusal is Reason.NOT_AMPLITUDE_ID
        return State.NEVER_SEEN if other_kind else State.REJECTED
    if known.held is not None and known.newest(BatchState.HELD) is not None:
        return State.HELD
    if known.newest(BatchState.OPEN, BatchState.DEAD) is not None:
        return State.UNCERTAIN
    if known.offered is not None and not known.member:
        unmatched = known.offered.kind is Kind.UNMATCHED
        return State.UNMATCHED if unmatched else State.REJECTED
    if known.member:
        return State.IN
    if known.forgotten_at is not None:
        return State.FORGOTTEN
    return State.OUT if known.namings or known.word else State.NEVER_SEEN


def since(known: Known) -> datetime | None:
    """When the person got there; None where nobody kept it."""
    match state_of(known):
        case State.FORGOTTEN:
            return known.forgotten_at
        case State.IN | State.OUT:
            last = known.settled()
            return last.acknowledged_at if last is not None else None
        case State.UNCERTAIN:
            last = known.newest(BatchState.OPEN, BatchState.DEAD)
            return last.planned_at if last is not None else None
        case State.UNMATCHED | State.REJECTED:
            return known.offered.first_at if known.offered is not None else None
        case State.HELD:
            return known.held.started_at if known.held is not None else None
        case State.NEVER_SEEN:
            return None


def answer(known: Known, say: Say) -> Answer:
    """The sentence, as of now."""
    if known.refusal is not None:
        return Answer(
            text=f"Not in: an id like this is never sent: it "
            f"{_REFUSALS[known.refusal]} ({known.refusal})."
        )
    if known.forgotten_at is not None:
        return _forgotten(known, known.forgotten_at, say)
    match state_of(known):
        case State.HELD:
            return _held(known, say)
        case State.UNCERTAIN:
            return _uncertain(known, say)
        case State.UNMATCHED | State.REJECTED:
            return _not_taken(known, say)
        case State.IN:
            return _with_doubt(_inside(known, say), known, say)
        case State.OUT | State.NEVER_SEEN | State.FORGOTTEN:
            return _with_doubt(_outside(known, say), known, say)


def _with_doubt(settled: Answer, known: Known, say: Say) -> Answer:
    """Whether a request that nobody knows the outcome of may move them yet."""
    found = known.doubted
    if found is None:
        return settled
    asked, undone = ("remove", "added") if known.member else ("add", "removed")
    late = f"A request of {say(found.at)} to {asked} them had no known outcome and"
    if found.until > known.now:
        text = f"{late} may take effect until {say(found.until)}: they are"
    else:
        text = f"{late} may have taken effect since: they are"
    again = f"{text} {undone} once more by the next run after that."
    return replace(settled, text=f"{settled.text} {again}")


def _forgotten(known: Known, at: datetime, say: Say) -> Answer:
    """Said before all else: whatever is still known of them is about to be erased."""
    asked = f"to be forgotten since {say(at)}"
    match state_of(known):
        case State.FORGOTTEN:
            until = say(at + REMEMBERED)
            return Answer(
                text=f"Not in: {asked}; until {until} no list and no event brings them "
                "back.",
                hints=("syncd forget --status",),
            )
        case State.HELD if known.held is not None:
            waits = f"held run {known.held.short_id} has to be decided first"
            hint = f"syncd show {known.held.short_id}"
        case State.UNMATCHED | State.REJECTED:
            waits, hint = "what is known of them is erased", "syncd forget --status"
        case _:
            waits = f"their exit waits{_next_run(known, say)}"
            hint = "syncd forget --status"
    where = "Still in" if known.member else "Not in, or not for certain"
    return Answer(text=f"{where}: {asked}; {waits}.", hints=(hint,))


def _held(known: Known, say: Say) -> Answer:
    held, naming = known.held, known.newest(BatchState.HELD)
    if held is None or naming is None or held.hold_expires_at is None:
        raise TypeError("a held person is in a held plan")
    what = "add" if naming.operation is Operation.ADD else "remove"
    where = "In" if known.member else "Not in"
    return Answer(
        text=f"{where} for now: the held plan of run {held.short_id} would {what} this "
        f"person; it waits for a decision until {say(held.hold_expires_at)}.",
        hints=(f"syncd show {held.short_id}",),
    )


def _uncertain(known: Known, say: Say) -> Answer:
    naming = known.newest(BatchState.OPEN, BatchState.DEAD)
    if naming is None:
        raise TypeError("an uncertain person is in an open batch")
    told = f"batch {naming.batch_id} of run {naming.run_id[-8:]} ({naming.operation})"
    error = f": {naming.error}" if naming.error else ""
    hints = (f"syncd show {naming.run_id[-8:]}",)
    if naming.state is BatchState.DEAD:
        text = f"{told} was refused for good{error}. The next plan names them again"
        return Answer(text=f"Uncertain: {text}{_next_run(known, say)}.", hints=hints)
    if not naming.attempts and not error:
        sent = "was planned and not answered yet"
    else:
        sent = f"has no proven answer after {plural(naming.attempts, 'request')}{error}"
    again = f"; next try {say(naming.retry_at)}" if naming.retry_at else ""
    if naming.retry_at is None:
        again = (
            f"; its retries are used up, the next run goes on{_next_run(known, say)}"
        )
    return Answer(text=f"Uncertain: {told} {sent}{again}.", hints=hints)


def _not_taken(known: Known, say: Say) -> Answer:
    offered = known.offered
    if offered is None:
        raise TypeError("whoever was not taken was offered")
    if offered.kind is Kind.UNMATCHED:
        why = f"{known.vendor} does not know this {known.sync.match}"
    else:
        why = f"{known.vendor} refuses this {known.sync.match}: {offered.reason}"
    due = f"next {say(offered.next_at)}" if offered.next_at > known.now else "due now"
    count = plural(offered.offers, "time")
    return Answer(
        text=f"Not in: {why} (offered {count}, {due}).",
        hints=(f"syncd members {known.sync.name} --{offered.kind}",),
    )


def _inside(known: Known, say: Say) -> Answer:
    last = known.settled()
    text = f"In the {known.noun}: {_entered(known, last, say)}."
    if known.word is not None and not known.word.inside and known.unplanned:
        text += f" They left at {say(known.word.at)}: the next run removes them"
        return Answer(text=f"{text}{_next_run(known, say)}.", hints=_run_it(known))
    return Answer(text=text)


def _entered(known: Known, last: Naming | None, say: Say) -> str:
    if last is not None and last.acknowledged_at is not None:
        probably = "" if last.certain else "probably "
        return (
            f"acknowledged {say(last.acknowledged_at)}, {probably}in batch "
            f"{last.batch_id} of run {last.run_id[-8:]}"
        )
    if known.began_at is not None and known.now - known.began_at < KEEP:
        return f"in the first sync of {say(known.began_at)}"
    return f"for more than {KEEP.days} days, from when no traces of batches are kept"


def _outside(known: Known, say: Say) -> Answer:
    word, last = known.word, known.settled()
    if word is not None and word.inside and known.unplanned:
        text = f"Not in yet: entered {say(word.at)}, told {say(word.received_at)}"
        return Answer(
            text=f"{text}; the next run adds them{_next_run(known, say)}.",
            hints=_run_it(known),
        )
    left = ""
    if word is not None and not word.inside:
        gone = "to be forgotten" if word.deleted else "out"
        left = f"{known.told_by} said at {say(word.at)} that they are {gone}"
    if last is not None:
        left = f"{_removed(last, say)}{f'; {left}' if left else ''}"
    if left:
        return Answer(text=f"Not in: {left}.")
    return Answer(text=_unlisted(known, say), hints=_see(known))


def _removed(last: Naming, say: Say) -> str:
    at = say(last.acknowledged_at) if last.acknowledged_at is not None else "?"
    probably = "" if last.certain else "probably "
    if last.not_taken:
        return f"offered {at} and not taken, {probably}in run {last.run_id[-8:]}"
    where = f"batch {last.batch_id} of run {last.run_id[-8:]}"
    return f"removed {at}, {probably}in {where}"


def _unlisted(known: Known, say: Say) -> str:
    if known.listed is None:
        return f"Not in: no run of {known.sync.name} has ended well yet."
    source = "source" if not known.told_by else f"words of {known.told_by}"
    return (
        f"Not in: the {source}, as of run {known.listed.short_id} "
        f"({say(known.listed.started_at)}), did not name them."
    )


def _see(known: Known) -> tuple[str, ...]:
    newest = known.not_well[-1] if known.not_well else known.listed
    return (f"syncd show {newest.short_id}",) if newest is not None else _run_it(known)


def _run_it(known: Known) -> tuple[str, ...]:
    return (f"syncd run {known.sync.name}",)


def _next_run(known: Known, say: Say) -> str:
    if known.held is not None:
        return f", once held run {known.held.short_id} is decided"
    if not known.sync.enabled:
        return ", once the sync is enabled"
    if known.pause is not None:
        return f", once the pause of {known.pause.actor} is over"
    return f" ({say(known.next_at)})" if known.next_at is not None else ""
