"""The steps of a run. Each takes the run, does one thing, and says what it found."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

from syncd import events
from syncd.clock import Clock
from syncd.errors import DeliveryError, SourceError
from syncd.events import emit
from syncd.model import BatchState, Settlement, Trigger
from syncd.sources import Answer, Listing, Pushed, Question
from syncd.sources.pushed import INTERRUPTED, say_list_failed
from syncd.store import acknowledged, bindings, forgotten, leases, unaccepted, unsettled
from syncd.store.bindings import Binding
from syncd.store.database import Connection, Database
from syncd.store.leases import Lease
from syncd.store.writer import Writer
from syncd.sync.draft import Draft, draft, is_intact, spread_of, wanted_so_far
from syncd.sync.identity import Aspect, Change, Identity, compare
from syncd.sync.ids import Reason
from syncd.sync.readers import Readers
from syncd.sync.replacing import Replacing
from syncd.sync.snapshot import Reading, Snapshot, take_pushed, take_snapshot
from syncd.sync.spec import Report, Spec


class Settle(Protocol):
    """`delivery.Pool.settle`, as a run sees it."""

    def __call__(
        self, *, lease: Lease, run_id: str, not_before: datetime, until: datetime
    ) -> Settlement: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs work with; built by `app` for each run."""

    database: Database
    writer: Writer
    settle: Settle
    clock: Clock
    spool: Path
    """Folder for temporary files as large as an audience."""
    holder: str
    """This process, in leases."""
    lease_ttl: timedelta
    """How long they last without being renewed."""
    lossless: bool
    """The database loses no commit when it fails over."""
    stop: threading.Event
    """Set when the process was asked to stop."""
    readers: Readers
    """Places to read and diff, over all runs of the process."""
    quiet_until: dict[str, datetime]
    """Per sync: when the last request of a dead process is surely over."""

    def mind_late_requests(self, spec: Spec) -> None:
        """One of the process that had the lease before may still be on the wire."""
        self.quiet_until[spec.name] = self._longest(spec)

    def quiet_at(self, spec: Spec) -> datetime:
        """When the last request of a dead process is surely over; now, if it is.

        A moment that is further away than a request may take is one of a clock that was
        set back since: the sync waits for as long as a request takes from now on.
        """
        now, until = self.clock.now(), self.quiet_until
        if until.get(spec.name, now) > self._longest(spec):
            self.mind_late_requests(spec)
        return max(now, until.get(spec.name, now))

    def _longest(self, spec: Spec) -> datetime:
        return self.clock.now() + spec.request_deadline * self.clock.speed


@dataclass(slots=True, kw_only=True)
class Run:
    """A run in progress."""

    parts: Parts
    spec: Spec
    lease: Lease
    report: Report
    binding: Binding | None = None
    """The binding it works on; None before the first plan."""
    target_name: str = ""
    """What the target is called, or gets called."""
    change: Change | None = None
    """How the sync's identity differs from the binding's."""
    sent_before: int = 0
    """Batches that went out before the source was asked, on trial."""
    anew: bool = False
    """Everybody is sent again and the source read again, whatever is known of it."""
    replacing: Replacing | None = None
    """One upload comes first, in the place of all who are members."""
    in_flight: bool = False
    """True when a request was left on the wire: the lease is kept then, so that the
    next start waits until that request is surely over."""
    former: Binding | None = None
    """The same cohort by the ids of before, which a late request may have moved."""
    unreconciled: datetime | None = None
    """When the failover was noticed since which the sync waited as the run began."""
    reconciles: bool = False
    """Its success is that what is there is known again."""
    unrecorded: bool = False
    """True when nothing could be written down of a request that was made."""

    def is_quiet(self) -> bool:
        """Whether no request of this sync, ours or a dead process's, may still land."""
        return not self.in_flight and self.quiet_at() <= self.parts.clock.now()

    def quiet_at(self) -> datetime:
        """When the last request of a dead process is surely over; now, if it is."""
        return self.parts.quiet_at(self.spec)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Name and time a part of the run, also one that fails."""
        self.report.phase = name
        clock = self.parts.clock
        started = clock.monotonic()
        try:
            yield
        finally:
            took = clock.monotonic() - started
            self.report.phase_ms[name] = round(took * 1000, 1)


def load_binding(run: Run) -> None:
    """Read the binding and how the configuration differs from it."""
    with run.parts.database.read() as connection:
        run.binding = bindings.current(connection, run.spec.name)
    if run.binding is not None:
        run.change = compare(
            identity_of(run.binding),
            run.spec.identity,
            external_id=run.binding.external_id,
        )


def identity_of(binding: Binding) -> Identity:
    """The identity a binding was made for."""
    return Identity(
        connection=binding.connection,
        target=binding.target,
        id_type=binding.id_type,
        source=binding.source_fingerprint,
    )


def compared_binding(run: Run) -> Binding | None:
    """The binding whose acknowledged set the snapshot is compared with."""
    moved = run.change is not None and run.change.aspect is not Aspect.SOURCE
    return None if moved else run.binding


def leaving_binding(run: Run) -> Binding | None:
    """The binding to be emptied first: when the id type changed, or since then."""
    emptied = run.change is not None and run.change.aspect is Aspect.ID_TYPE
    return run.binding if emptied else run.former


def ask(run: Run) -> Answer:
    """Ask the source whether there is anything to read; it may take minutes."""
    spec, parts = run.spec, run.parts
    mark, below, again = _what_is_known(run)
    if run.anew:
        mark, again = None, True
    return spec.source.ask(
        Question(
            sync=spec.name,
            run_id=run.report.run_id,
            database=parts.database,
            mark=mark,
            below=below,
            again=again,
            by_person=run.report.trigger in (Trigger.MANUAL, Trigger.RESYNC),
            wanted=partial(_count_wanted, run),
            stop=parts.stop,
            until=run.report.started_at + spec.max_runtime,
        )
    )


def _count_wanted(run: Run) -> int:
    binding = run.binding
    if binding is None:
        return 0
    with run.parts.database.read() as connection:
        now, buckets = run.parts.clock.now(), binding.n_buckets
        known = acknowledged.read(connection, binding.id, buckets, now)
        return sum(len(wanted_so_far(bucket)) for bucket in known)


def _what_is_known(run: Run) -> tuple[str | None, str | None, bool]:
    """The mark of the last plan as it still counts, the mark itself, and whether a
    comparison is wanted all the same.

    No mark when there is no such plan. It does not count any more for another
    identity, or a baseline that lost members.
    """
    binding = run.binding
    if binding is None or binding.digest is None:
        return None, None, False
    mark = binding.source_mark
    with run.parts.database.read() as connection:
        if run.change is not None or not is_intact(connection, binding):
            return None, mark, False
        return mark, mark, not _is_settled(run, connection, binding)


def _is_settled(run: Run, connection: Connection, binding: Binding) -> bool:
    """Whether an equal list leaves nothing to do: nobody dead, nobody to offer, nobody
    to let go."""
    owned = [each.id for each in bindings.of_sync(connection, run.spec.name)]
    return (
        unsettled.count(connection, owned, BatchState.DEAD)[0] == 0
        and unaccepted.due(connection, binding.id, run.parts.clock.now()) == 0
        and not forgotten.is_due(connection, binding.id)
    )


def collect(run: Run, answer: Listing | Pushed) -> Snapshot:
    """Read the list, or what was pushed, into a partitioned snapshot."""
    snapshot = _read(run.spec.name, answer, run.parts.database, how_to_read(run))
    run.report.numbers |= {"refused": snapshot.refused, "doubts": snapshot.doubts}
    if snapshot.news is not None:
        run.report.numbers |= {
            "events_in": snapshot.news.entries,
            "events_out": snapshot.news.exits,
        }
    if snapshot.partition is None:
        return snapshot
    run.report.numbers["snapshot"] = snapshot.digest.count
    emit(
        events.SNAPSHOT_TAKEN,
        side="source",
        members=snapshot.digest.count,
        refused=sum(snapshot.refused.values()),
    )
    return snapshot


def how_to_read(run: Run) -> Reading:
    """A list is spread as what it is compared with lies."""
    with run.parts.database.read() as connection:
        spread = spread_of(connection, compared_binding(run))
    return Reading(
        id_type=run.spec.identity.id_type,
        folder=run.parts.spool,
        n_buckets=spread,
        stop=run.parts.stop,
    )


def _read(
    name: str, answer: Listing | Pushed, database: Database, how: Reading
) -> Snapshot:
    """A list that only corrects what was pushed does not stop it when it fails."""
    if not isinstance(answer, Pushed):
        return take_snapshot(answer, how)
    if answer.instead is None:
        return take_pushed(answer, database, how)
    try:
        return take_pushed(answer, database, how)
    except (SourceError, DeliveryError) as error:
        if error.code == INTERRUPTED:
            raise
        say_list_failed(name, error)
        return take_pushed(answer.instead, database, how)


def compare_with_store(run: Run, snapshot: Snapshot) -> Draft:
    """The draft of what would have to be sent."""
    made = draft(
        run.parts.database,
        snapshot,
        binding=compared_binding(run),
        leaving=leaving_binding(run),
        below=None if snapshot.anew else run.binding,
        everybody=run.anew or run.former is not None,
        id_type=run.spec.identity.id_type,
        batch_size=run.spec.batch_size,
        folder=run.parts.spool,
        now=run.parts.clock.now(),
    )
    if run.replacing is not None:
        run.replacing.lay_before(made, run.parts.spool)
    if made.forgotten:
        refused = run.report.numbers.get("refused", {})
        left_out = {Reason.FORGOTTEN.value: made.forgotten}
        run.report.numbers["refused"] = refused | left_out
    if made.doubtful:
        run.report.numbers["doubtful"] = made.doubtful
    return made


def unchanged(run: Run, snapshot: Snapshot) -> bool:
    """Whether the last plan that went out already says all there is to say.

    Then nothing is compared: open batches are sent again as they stand.
    """
    binding = run.binding
    if run.anew or run.former is not None or snapshot.news is not None:
        return False
    if binding is None or run.change is not None:
        return False
    if binding.digest != snapshot.digest:
        return False
    with run.parts.database.read() as connection:
        return _is_settled(run, connection, binding) and is_intact(connection, binding)


def remember_mark(run: Run, snapshot: Snapshot) -> None:
    """The source moved on and lists the same people: note that, or it is asked for
    again every time."""
    binding = run.binding
    if binding is None or snapshot.mark == binding.source_mark:
        return
    with run.parts.database.begin() as connection:
        leases.check(connection, run.lease, run.parts.clock.wall())
        bindings.set_mark(connection, binding.id, snapshot.mark)
