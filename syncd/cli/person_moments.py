"""One time line of a person in a sync: every moment that is still on record. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from syncd.cli.person import Known
from syncd.cli.person_state import Say
from syncd.model import BatchState, Operation
from syncd.report.words import plural
from syncd.store.ledger import Line
from syncd.store.runs import Run
from syncd.store.traces import Naming
from syncd.store.unaccepted import Kind

_MEANT = {Operation.ADD: "to be added", Operation.REMOVE: "to be removed"}
_DONE = {Operation.ADD: "added", Operation.REMOVE: "removed"}
_SENT = {
    "created": "made the target; nobody is acknowledged by that, the batch goes again",
    "retried": "no proven answer, to be sent again",
    "gave_up": "no proven answer, retries used up for this run",
    "split": "refused as a whole, cut in half",
    "dead": "refused for good",
    "stopped": "credentials refused",
    "held": "the target must not be written to",
    "rejected": "refused",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to a person."""

    at: datetime
    kind: str
    """began, told, planned, sent, acknowledged, offered, next, held, run, stopped,
    paused or forgotten."""
    text: str
    run_id: str | None = None
    batch_id: int | None = None
    probably: bool = False
    """Only a trace says so."""


def moments(known: Known, say: Say) -> list[Moment]:
    """In the order of time; of one instant in the order of the way of the data."""
    found = [
        *_began(known),
        *_told(known, say),
        *_batches(known),
        *_offered(known),
        *_held(known, say),
        *_not_well(known, say),
        *_stopped(known),
        *_paused(known, say),
        *_forgotten(known),
    ]
    return sorted(found, key=lambda each: each.at)


def _began(known: Known) -> Iterator[Moment]:
    if known.began_at is not None:
        text = "the sync took up its destination: its first plan"
        yield Moment(at=known.began_at, kind="began", text=text)


def _told(known: Known, say: Say) -> Iterator[Moment]:
    word = known.word
    if word is None:
        return
    what = "entered" if word.inside else "exited"
    if word.deleted:
        what = "is to be forgotten"
    later = f", told {say(word.received_at)}" if word.received_at != word.at else ""
    todo = "; in no plan yet" if known.unplanned else ""
    yield Moment(at=word.at, kind="told", text=f"{known.told_by}: {what}{later}{todo}")


def _batches(known: Known) -> Iterator[Moment]:
    for naming in known.namings:
        if naming.state is BatchState.HELD:
            continue
        repairs = naming.batch_id in known.repairs
        for each in _of_batch(known, naming):
            yield replace(each, text=f"{each.text}, a repair") if repairs else each


def _of_batch(known: Known, naming: Naming) -> Iterator[Moment]:
    if naming.planned_at is not None and not naming.not_taken:
        yield _moment(naming, naming.planned_at, "planned", _MEANT)
    for line in known.answers:
        if line.batch_id == naming.batch_id and line.result != "accepted":
            yield _request(line)
    if naming.acknowledged_at is not None:
        yield _acknowledged(known, naming, naming.acknowledged_at)


def _moment(
    naming: Naming, at: datetime, kind: str, words: dict[Operation, str]
) -> Moment:
    return Moment(
        at=at,
        kind=kind,
        text=f"{kind}: {words[naming.operation]}, {_place(naming)}",
        run_id=naming.run_id,
        batch_id=naming.batch_id,
        probably=not naming.certain,
    )


def _acknowledged(known: Known, naming: Naming, at: datetime) -> Moment:
    if not naming.not_taken:
        return _moment(naming, at, "acknowledged", _DONE)
    return Moment(
        at=at,
        kind="acknowledged",
        text=f"{known.vendor} was offered them and did not take them, {_place(naming)}",
        run_id=naming.run_id,
        batch_id=naming.batch_id,
        probably=not naming.certain,
    )


def _place(naming: Naming) -> str:
    probably = "" if naming.certain else "probably "
    return f"{probably}batch {naming.batch_id} of run {naming.run_id[-8:]}"


def _request(line: Line) -> Moment:
    status = f" {line.status}" if line.status is not None else ""
    error = f": {line.message}" if line.message else ""
    said = _SENT.get(line.result, line.result)
    return Moment(
        at=line.at,
        kind="sent",
        text=f"sent, request {line.number} of batch {line.batch_id}:"
        f"{status} {said}{error}",
        run_id=line.run_id,
        batch_id=line.batch_id,
    )


def _offered(known: Known) -> Iterator[Moment]:
    offered = known.offered
    if offered is None:
        return
    unmatched = offered.kind is Kind.UNMATCHED
    why = "does not know them" if unmatched else f"refuses them: {offered.reason}"
    yield Moment(
        at=offered.first_at, kind="offered", text=f"first offer: {known.vendor} {why}"
    )
    if offered.offers > 1:
        times = plural(offered.offers, "offer")
        text = f"last of {times}: {known.vendor} {why}"
        yield Moment(at=offered.last_at, kind="offered", text=text)
    yield Moment(
        at=offered.next_at,
        kind="next",
        text="may be offered again" if offered.next_at > known.now else "due again",
    )


def _held(known: Known, say: Say) -> Iterator[Moment]:
    held, naming = known.held, known.newest(BatchState.HELD)
    if held is None or held.hold_expires_at is None:
        return
    names = _MEANT[naming.operation] if naming else "it does not name them"
    until = say(held.hold_expires_at)
    yield Moment(
        at=held.started_at,
        kind="held",
        text=f"plan of run {held.short_id}, held by {held.reason} until {until}: "
        f"{names}",
        run_id=held.id,
    )


def _not_well(known: Known, say: Say) -> Iterator[Moment]:
    """One moment for runs in a row that ended alike, but for the plan that is held."""
    held = known.held.id if known.held is not None else None
    rest = [run for run in known.not_well if run.id != held]
    for (outcome, reason), group in groupby(
        rest, lambda run: (run.outcome, run.reason)
    ):
        alike: list[Run] = list(group)
        first, last = alike[0], alike[-1]
        why = f": {reason}" if reason else ""
        until = f", the last one {say(last.started_at)}" if len(alike) > 1 else ""
        yield Moment(
            at=first.started_at,
            kind="run",
            text=f"{plural(len(alike), 'run')} {outcome}{why}{until}",
            run_id=last.id,
        )


def _stopped(known: Known) -> Iterator[Moment]:
    for each in known.stopped:
        if each.stopped_at is not None:
            text = f"{each.name} refuses the credentials: nothing is read or sent there"
            yield Moment(at=each.stopped_at, kind="stopped", text=text)


def _paused(known: Known, say: Say) -> Iterator[Moment]:
    pause = known.pause
    if pause is not None:
        until = f"until {say(pause.until)}" if pause.until is not None else "for now"
        text = f"{pause.actor} paused the sync {until}: {pause.reason}"
        yield Moment(at=pause.since, kind="paused", text=text)


def _forgotten(known: Known) -> Iterator[Moment]:
    if known.forgotten_at is not None:
        text = "asked to be forgotten: they leave, and no list brings them back"
        yield Moment(at=known.forgotten_at, kind="forgotten", text=text)
