"""`syncd user` and `syncd why`: where a person stands, and how they got there."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import click

from syncd.cli import person
from syncd.cli.configured import chosen, load
from syncd.cli.frame import Frame, verb
from syncd.cli.lines import sentence
from syncd.cli.output import Column
from syncd.cli.person import Known
from syncd.cli.person_id import hash_of, id_argument, read_id
from syncd.cli.person_moments import Moment, moments
from syncd.cli.person_state import State, answer, since, state_of
from syncd.cli.store import on_its_clock, opened
from syncd.model import BatchState
from syncd.report.phrases import failover_sentences
from syncd.report.standing import standing
from syncd.report.words import moment

STYLES = {
    State.IN: "green",
    State.OUT: "dim",
    State.UNCERTAIN: "yellow",
    State.UNMATCHED: "yellow",
    State.REJECTED: "red",
    State.HELD: "magenta",
    State.NEVER_SEEN: "dim",
    State.FORGOTTEN: "dim",
}

_COLUMNS = (
    Column(title="SYNC"),
    Column(title="TO", drop=4),
    Column(title="STATE"),
    Column(title="SINCE"),
    Column(title="LAST BATCH", right=True, drop=2),
    Column(title="RUN", drop=1),
    Column(title="NEXT OFFER", drop=3),
)
_NOT_KEPT = (
    "Whole lists are compared, not kept: only what came of them is on record; "
    "batches for 90 days."
)


@verb("user", reads=True)
@id_argument
def user(frame: Frame, stdin: str, fd: int | None) -> None:
    """Show where a person stands in every sync; their id is read from stdin.

    The person is named by the hash that stands in the log.
    """
    member_id, settings = read_id(frame, fd), load(frame).settings
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        now, called = frame.clock.now(), hash_of(connection, member_id)
        found = [
            person.read(connection, settings, sync, member_id, now)
            for sync in settings.syncs
        ]
    if frame.as_json:
        documents = [_standing(each) for each in found]
        frame.out.json("user", {"now": now, "person": called, "syncs": documents})
        return
    frame.out.line(f"person {called or '(no hash yet)'}", style="bold")
    if not found:
        frame.out.line("There is no sync in the configuration.")
        return
    frame.out.table(_COLUMNS, [_row(each) for each in found])
    frame.out.line()
    most = next((each for each in found if state_of(each) in _TO_EXPLAIN), found[0])
    frame.out.line(f"Next: syncd why - {most.sync.name}{frame.config_flags()}")


_TO_EXPLAIN = (State.HELD, State.UNCERTAIN, State.REJECTED, State.UNMATCHED)


@verb("why", reads=True)
@id_argument
@click.argument("name", metavar="SYNC")
def why(frame: Frame, stdin: str, fd: int | None, name: str) -> None:
    """Tell why a person is, or is not, in a sync's destination: one time line.

    Their id is read from stdin, the first sentence is the answer as of now.
    """
    member_id, settings = read_id(frame, fd), load(frame).settings
    syncs = chosen(settings, [name])
    if len(syncs) != 1:
        raise click.UsageError(f"'{name}' means {len(syncs)} syncs; name one.")
    with opened(settings) as database, database.read() as connection:
        frame = on_its_clock(frame, connection)
        called = hash_of(connection, member_id)
        found = person.read(
            connection, settings, syncs[0], member_id, frame.clock.now()
        )
        stands = standing(connection, settings, syncs[0], frame.clock)
    doubts = failover_sentences(stands, found.now, frame.config_flags())
    if frame.as_json:
        frame.out.json("why", _story(frame, found, called) | {"doubts": doubts})
    else:
        _tell(frame, found, called, doubts)


def _tell(
    frame: Frame, found: Known, called: str | None, doubts: Sequence[str]
) -> None:
    out, say, state = frame.out, _say(found), state_of(found)
    told = answer(found, say)
    out.line(f"{found.sync.name}  person {called or '(no hash yet)'}", style="bold")
    out.line(told.text, style=STYLES[state])
    line = moments(found, say)
    if line:
        out.line()
        rows = [[say(each.at), each.text] for each in line]
        out.table((Column(title="WHEN"), Column(title="WHAT")), rows, header=False)
    if not found.told_by and found.refusal is None:
        out.line()
        sentence(out, _NOT_KEPT)
    if doubts:
        out.line()
    for each in doubts:
        sentence(out, each)
    if told.hints:
        out.line()
    for hint in told.hints:
        out.line(f"Next: {hint}{frame.config_flags()}")


def _say(found: Known) -> Callable[[datetime], str]:
    return partial(moment, now=found.now, zone=found.sync.timezone)


def _row(found: Known) -> list[Any]:
    from rich.text import Text

    state, say = state_of(found), _say(found)
    last, got_there = found.newest(*BatchState), since(found)
    next_at = found.offered.next_at if found.offered is not None else None
    probably = "" if last is None or last.certain else "~"
    return [
        found.sync.name,
        found.vendor,
        Text(state.value, style=STYLES[state]),
        say(got_there) if got_there is not None else "",
        f"{probably}{last.batch_id}" if last is not None else "",
        last.run_id[-8:] if last is not None else "",
        say(next_at) if next_at is not None else "",
    ]


# --- JSON -----------------------------------------------------------------------------


def _standing(found: Known) -> dict[str, Any]:
    last, offered, word = found.newest(*BatchState), found.offered, found.word
    return {
        "sync": found.sync.name,
        "match": found.sync.match,
        "state": state_of(found),
        "since": since(found),
        "answer": answer(found, _say(found)).text,
        "refused": found.refusal,
        "forgotten_at": found.forgotten_at,
        "last_batch": last.batch_id if last is not None else None,
        "last_operation": last.operation if last is not None else None,
        "last_run": last.run_id if last is not None else None,
        "certain": last is None or last.certain,
        "offers": offered.offers if offered is not None else 0,
        "next_offer_at": offered.next_at if offered is not None else None,
        "word": None
        if word is None
        else {
            "inside": word.inside,
            "deleted": word.deleted,
            "at": word.at,
            "received_at": word.received_at,
            "planned": not found.unplanned,
        },
    }


def _story(frame: Frame, found: Known, called: str | None) -> dict[str, Any]:
    say = _say(found)
    hints = answer(found, say).hints
    return {
        "now": found.now,
        "person": called,
        **_standing(found),
        "moments": [_moment(each) for each in moments(found, say)],
        "next": [f"{hint}{frame.config_flags()}" for hint in hints],
    }


def _moment(each: Moment) -> dict[str, Any]:
    return {
        "at": each.at,
        "kind": each.kind,
        "text": each.text,
        "run": each.run_id,
        "batch": each.batch_id,
        "certain": not each.probably,
    }
