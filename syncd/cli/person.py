"""What is known about one person in one sync, gathered once; decides nothing."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from syncd.config.feeds import feed_of
from syncd.config.settings import Settings, SyncSettings, ToCohort, ToList
from syncd.config.settings_connections import AmplitudeConnection, EngageConnection
from syncd.model import BatchState, Operation, Outcome
from syncd.report.due import next_times
from syncd.report.standing import waits
from syncd.sources.feed_mark import position_of
from syncd.store import (
    acknowledged,
    bindings,
    connections,
    doubts,
    forgotten,
    inbox,
    pauses,
    person,
    runs,
    traces,
)
from syncd.store.bindings import Binding, Role
from syncd.store.connections import ConnectionState
from syncd.store.database import Connection
from syncd.store.doubts import Doubt
from syncd.store.ledger import Line
from syncd.store.pauses import Pause
from syncd.store.person import Offered, Word
from syncd.store.runs import Run
from syncd.store.traces import Naming
from syncd.sync import ids
from syncd.sync.ids import Reason

MEANWHILE = timedelta(days=7)
"""Runs that did not go well are told of this long at most."""
_RUNS = 500
"""Runs that are looked through for them."""
_SENT_BEFORE = timedelta(days=2)
"""The first request for a batch that only a trace is left of, before its answer."""
_NOT_WELL = (
    Outcome.SKIPPED,
    Outcome.FAILED,
    Outcome.HELD,
    Outcome.PARTIAL,
    Outcome.ABANDONED,
    Outcome.INTERRUPTED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One person in one sync, as the store has it."""

    sync: SyncSettings
    now: datetime
    vendor: str
    """Whose the destination is, in words."""
    noun: str
    """What the destination calls what is written: cohort, list, trait."""
    refusal: Reason | None = None
    """Why hygiene lets no id like this out; then nothing else is looked up."""
    member: bool = False
    """Acknowledged as a member."""
    began_at: datetime | None = None
    """When the sync took up its destination; None before the first plan."""
    namings: list[Naming] = field(default_factory=list)
    """Batches that named the person, in their order."""
    answers: list[Line] = field(default_factory=list)
    """Requests for these batches, oldest first."""
    repairs: frozenset[int] = frozenset()
    """Those of these batches that repaired the target."""
    offered: Offered | None = None
    word: Word | None = None
    told_by: str = ""
    """The door that words come through; empty where whole lists do alone."""
    unplanned: bool = False
    """The word arrived after the last plan was made."""
    held: Run | None = None
    """The run whose plan waits for a person."""
    listed: Run | None = None
    """The newest run that ended well: all that was listed then was settled."""
    next_at: datetime | None = None
    not_well: list[Run] = field(default_factory=list)
    """Runs that did not go well since the person was last heard of, oldest first."""
    stopped: list[ConnectionState] = field(default_factory=list)
    """Connections whose credentials are refused."""
    pause: Pause | None = None
    """A person paused the sync, and it is not over."""
    doubted: Doubt | None = None
    """A request without an answer that may move them the wrong way yet."""
    forgotten_at: datetime | None = None
    """When they were to be forgotten; None: never, or more than 30 days ago."""

    def newest(self, *states: BatchState) -> Naming | None:
        """The newest batch in one of these states that named the person."""
        found = [each for each in self.namings if each.state in states]
        return found[-1] if found else None

    def settled(self) -> Naming | None:
        """The newest batch that put the person where they are.

        A trace that says otherwise errs: where they are is known for certain.
        """
        wanted = Operation.ADD if self.member else Operation.REMOVE
        found = [
            each
            for each in self.namings
            if each.state is BatchState.ACKNOWLEDGED and each.operation is wanted
        ]
        return found[-1] if found else None


def read(
    connection: Connection,
    settings: Settings,
    sync: SyncSettings,
    member_id: bytes,
    now: datetime,
) -> Known:
    """Everything about this person in this sync; reads one bucket, not the members."""
    vendor, noun = _vendor(settings, sync), _noun(sync)
    refusal = ids.reason(member_id, sync.match)
    if refusal is not None:
        return Known(sync=sync, now=now, vendor=vendor, noun=noun, refusal=refusal)
    current = bindings.current(connection, sync.name)
    namings = _namings(connection, sync.name, member_id)
    word = _word(connection, sync, member_id)
    offered = person.offered(connection, current.id, member_id) if current else None
    held = waits(runs.waiting_for_a_person(connection, sync.name), now)
    well = runs.latest(connection, sync_name=sync.name, outcomes=runs.OK)
    due = next_times(settings, sync, now, 1) if sync.enabled and held is None else []
    return Known(
        sync=sync,
        now=now,
        vendor=vendor,
        noun=noun,
        member=current is not None and _is_member(connection, current, member_id),
        began_at=traces.begun_at(connection, current.id) if current else None,
        namings=namings,
        answers=_answers(connection, namings),
        repairs=person.repairs(
            connection, {each.batch_id: each.run_id for each in namings}
        ),
        offered=offered,
        word=word,
        told_by=sync.source.connection if feed_of(sync) is not None else "",
        unplanned=word is not None and word.position > _planned(sync, current),
        held=held,
        listed=well[0] if well else None,
        next_at=due[0] if due else None,
        not_well=_not_well(connection, sync.name, _heard_of(namings, word, now)),
        stopped=_stopped(connection, sync),
        pause=pauses.in_force(connection, sync.name, now),
        doubted=_doubted(connection, current, member_id),
        forgotten_at=forgotten.since(connection, (member_id, sync.match)),
    )


def _vendor(settings: Settings, sync: SyncSettings) -> str:
    match settings.connections.get(sync.target.connection):
        case AmplitudeConnection():
            return "Amplitude"
        case EngageConnection():
            return "Twilio Engage"
        case _:
            return sync.target.connection


def _noun(sync: SyncSettings) -> str:
    match sync.target:
        case ToCohort():
            return "cohort"
        case ToList():
            return "list"
        case _:
            return "trait"


def _doubted(
    connection: Connection, binding: Binding | None, member_id: bytes
) -> Doubt | None:
    if binding is None or not doubts.any_of(connection, binding.id):
        return None
    return doubts.about(
        connection,
        binding.id,
        binding.n_buckets,
        member_id,
        acknowledged=_is_member(connection, binding, member_id),
    )


def _is_member(connection: Connection, binding: Binding, member_id: bytes) -> bool:
    return acknowledged.contains(connection, binding.id, binding.n_buckets, member_id)


def _namings(connection: Connection, sync: str, member_id: bytes) -> list[Naming]:
    """In every binding that is worked on: an identity change has two of them."""
    found = [
        each
        for binding in bindings.of_sync(connection, sync)
        if binding.role is not Role.RETIRED
        for each in traces.naming(connection, binding.id, member_id)
    ]
    return sorted(found, key=lambda each: each.batch_id)


def _answers(connection: Connection, namings: list[Naming]) -> list[Line]:
    times = [each.planned_at or _before(each) for each in namings]
    known = [each for each in times if each is not None]
    if not known:
        return []
    return person.answers(connection, [each.batch_id for each in namings], min(known))


def _before(naming: Naming) -> datetime | None:
    answered = naming.acknowledged_at
    return answered - _SENT_BEFORE if answered is not None else None


def _word(connection: Connection, sync: SyncSettings, member_id: bytes) -> Word | None:
    feed = feed_of(sync)
    row = inbox.find(connection, feed) if feed is not None else None
    return person.word(connection, row.id, member_id) if row is not None else None


def _planned(sync: SyncSettings, binding: Binding | None) -> int:
    feed = feed_of(sync)
    if binding is None or feed is None:
        return 0
    return position_of(binding.source_mark, feed)


def _heard_of(namings: list[Naming], word: Word | None, now: datetime) -> datetime:
    """When the person last moved; not longer ago than people want to read about."""
    times = [each.acknowledged_at or each.planned_at for each in namings]
    if word is not None:
        times.append(word.received_at)
    return max([now - MEANWHILE, *(each for each in times if each is not None)])


def _not_well(connection: Connection, sync: str, since: datetime) -> list[Run]:
    found = runs.latest(connection, sync_name=sync, outcomes=_NOT_WELL, limit=_RUNS)
    return [run for run in reversed(found) if run.started_at >= since]


def _stopped(connection: Connection, sync: SyncSettings) -> list[ConnectionState]:
    ends = dict.fromkeys((sync.target.connection, sync.source.connection))
    found = [connections.get(connection, name) for name in ends]
    return [each for each in found if each.stopped_at is not None]
