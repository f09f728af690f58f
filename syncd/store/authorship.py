"""Who put somebody into a target: what the store can prove about ids that are there.

Asked about ids which the current binding neither acknowledges nor holds uncertain. An
earlier binding of the same target (a sync that was renamed, or came back to a cohort)
proves by whole ids whom it had put in and never took out. A trace knows 32 bits of an
id; how far that proves anything is the asker's to judge. Once a sync began anew with
its target, what it or an earlier one had before proves nothing. First plans leave no
trace of who entered, and traces go after 90 days: whoever is not found here may still
be ours.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, select

from syncd.model import BatchState, Operation, Trigger
from syncd.store import acknowledged
from syncd.store.bindings import Binding, Role, of_target
from syncd.store.buckets import decode
from syncd.store.tables import attempt, batch, batch_ids, run, trace
from syncd.store.traces import fingerprint

_WIDTH = 4
_PROVEN = (Operation.ADD, Operation.REMOVE)
"""Whose answers say who is there and who is not."""
_TOGETHER = 50
"""Batches whose ids are in memory at a time."""


@dataclass(slots=True, kw_only=True)
class Authorship:
    """What is on record about some ids; each is in one of the sets at most."""

    added: set[bytes] = field(default_factory=set)
    """An earlier binding of this target holds them acknowledged: proven by whole ids"""
    traced: set[bytes] = field(default_factory=set)
    """The newest trace that fits says they were added."""
    removed: set[bytes] = field(default_factory=set)
    """The newest on record is a removal of ours that the destination acknowledged."""
    compared: int = 0
    """Fingerprints of additions each id was compared with, by which one may fit by
    chance."""


@dataclass(frozen=True, slots=True)
class _Word:
    """The newest batch that named an id."""

    operation: Operation
    sent: bool
    """False for what an ADD left over, whom the destination did not take."""


def of_ids(
    connection: Connection,
    binding: Binding,
    ids: Collection[bytes],
    now: datetime,
    *,
    neighbours: Collection[str] = (),
) -> Authorship:
    """What the bindings of this target tell about ids, the newest binding first.

    `neighbours` are the other syncs of the configuration: whom one of them still works
    on is theirs.
    """
    found = Authorship()
    open_ids = set(ids)
    for each in _bindings(connection, binding, neighbours):
        if not open_ids:
            break
        anew = _begun_anew(connection, {each.sync, binding.sync})
        if each.id != binding.id and anew is None:
            found.added |= _held(connection, each, open_ids, now)
            open_ids -= found.added
        words, compared = _newest_words(connection, each.id, open_ids, anew)
        found.compared += compared
        _sort(found, words)
        open_ids -= words.keys()
    return found


def newest_moment(connection: Connection, binding: Binding) -> tuple[int, int]:
    """(newest batch, newest request) of the sync: what was so then is so while these
    stay the same; every word of the destination moves the second."""
    newest_batch = connection.execute(
        select(func.max(batch.c.id)).where(batch.c.binding_id == binding.id)
    ).scalar_one()
    newest_request = connection.execute(
        select(func.max(attempt.c.id)).where(attempt.c.sync == binding.sync)
    ).scalar_one()
    return int(newest_batch or 0), int(newest_request or 0)


def _bindings(
    connection: Connection, binding: Binding, neighbours: Collection[str]
) -> Iterator[Binding]:
    """This one, then the earlier ones of its target that nobody works on any more."""
    yield binding
    for each in reversed(of_target(connection, binding)):
        in_use = each.sync in neighbours and each.role is Role.CURRENT
        if each.id < binding.id and not in_use:
            yield each


def _begun_anew(connection: Connection, syncs: Collection[str]) -> datetime | None:
    """When one of these last began anew with its target: what was there then became its
    own, whoever had put it there, and what had been added before may have gone."""
    begun: datetime | None = connection.execute(
        select(func.max(run.c.started_at)).where(
            run.c.sync.in_(sorted(syncs)), run.c.trigger == Trigger.RESYNC
        )
    ).scalar_one()
    return begun


def _held(
    connection: Connection, earlier: Binding, ids: set[bytes], now: datetime
) -> set[bytes]:
    buckets = acknowledged.read(connection, earlier.id, earlier.n_buckets, now)
    held: set[bytes] = set()
    for bucket in buckets:
        held |= bucket.acknowledged & ids
    return held


def _sort(found: Authorship, words: dict[bytes, _Word]) -> None:
    for member_id, word in words.items():
        if word.operation is Operation.ADD:
            found.traced.add(member_id)
        elif word.sent:
            found.removed.add(member_id)


def _newest_words(
    connection: Connection,
    binding_id: int,
    ids: Collection[bytes],
    since: datetime | None,
) -> tuple[dict[bytes, _Word], int]:
    words: dict[bytes, _Word] = {}
    compared = 0
    by_print: dict[int, list[bytes]] = {}
    for member_id in ids:
        by_print.setdefault(fingerprint(member_id), []).append(member_id)
    for word, prints in _traces(connection, binding_id, since):
        compared += len(prints) if word.operation is Operation.ADD else 0
        for one in by_print.keys() & set(prints):
            words |= dict.fromkeys(by_print[one], word)
    # The log is younger than what was compacted, as it is where members are read.
    for word, named in _payloads(connection, binding_id, since):
        words |= dict.fromkeys((one for one in named if one in ids), word)
    return words, compared


def _traces(
    connection: Connection, binding_id: int, since: datetime | None
) -> Iterator[tuple[_Word, Sequence[int]]]:
    query = (
        select(trace)
        .where(trace.c.binding_id == binding_id, trace.c.operation.in_(_PROVEN))
        .order_by(trace.c.at, trace.c.batch_id)
    )
    if since is not None:
        query = query.where(trace.c.at >= since)
    for row in connection.execute(query.execution_options(yield_per=_TOGETHER)):
        prints = struct.unpack(f"<{len(row.hashes) // _WIDTH}I", row.hashes)
        yield _Word(Operation(row.operation), row.attempts > 0), prints


def _payloads(
    connection: Connection, binding_id: int, since: datetime | None
) -> Iterator[tuple[_Word, list[bytes]]]:
    query = (
        select(batch.c.operation, batch.c.attempts, batch_ids.c.ids)
        .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
        .where(
            batch.c.binding_id == binding_id,
            batch.c.state == BatchState.ACKNOWLEDGED,
            batch.c.operation.in_(_PROVEN),
        )
        .order_by(batch.c.id)
    )
    if since is not None:
        query = query.where(batch.c.acknowledged_at >= since)
    for row in connection.execute(query.execution_options(yield_per=_TOGETHER)):
        yield _Word(Operation(row.operation), row.attempts > 0), decode(row.ids)
