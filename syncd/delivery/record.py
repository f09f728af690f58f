"""Making the outcome of one request durable: T3 of a run.

Each function is one write of the group-committing writer, under the sync's lease: a
process that was taken over changes nothing, however late its answer comes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import Batch, Found, Operation, Receipt
from syncd.store import bindings, doubts, leases, ledger, outbox, unaccepted
from syncd.store.bindings import Binding
from syncd.store.database import Connection
from syncd.store.leases import Lease
from syncd.store.outbox import Waiting
from syncd.store.unaccepted import Kind
from syncd.store.writer import Writer

TO_BE_FORGOTTEN = "they asked to be forgotten; the next plan removes them"

T = TypeVar("T")
UNKNOWN = "unknown to the destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request that was made."""

    batch: Batch
    binding: Binding
    lease: Lease
    at: datetime
    duration_ms: float
    late_landings: timedelta = timedelta(0)
    """How long it may still take effect, if its outcome stays unknown."""

    def line(self, result: str, status: int | None) -> ledger.Line:
        """The ledger line of this request, without what it proved."""
        return ledger.Line(
            run_id=self.batch.run_id,
            sync=self.binding.sync,
            batch_id=self.batch.id,
            operation=self.batch.operation,
            n=len(self.batch.ids),
            number=self.batch.attempts + 1,
            at=self.at,
            duration_ms=self.duration_ms,
            result=result,
            status=status,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorder:
    """Writes outcomes. Shared by all workers; holds no state of its own."""

    writer: Writer
    clock: Clock

    def created(self, sent: Sent, found: Found, status: int, now: datetime) -> Waiting:
        """The target exists; nobody is acknowledged, the batch goes again."""

        def commit(connection: Connection) -> None:
            bindings.bind(connection, sent.binding.id, found)
            ledger.write(connection, sent.line("created", status))

        self._write(sent, commit)
        return _waiting(sent.batch, now)

    def replaced(self, sent: Sent, receipt: Receipt) -> None:
        """The upload took place; its ids stay uncertain by the batches behind it."""

        def commit(connection: Connection) -> None:
            outbox.done(connection, sent.batch)
            line = replace(
                sent.line("replaced", receipt.status), request_id=receipt.request_id
            )
            ledger.write(connection, line)

        self._write(sent, commit)

    def acknowledged(self, sent: Sent, receipt: Receipt, now: datetime) -> None:
        """Every id of the batch leaves *uncertain*, each with what was proven of it."""
        batch = sent.batch
        not_applied: Sequence[bytes] = ()
        # A skipped REMOVE is out already: nothing to offer again.
        if batch.operation is Operation.ADD:
            not_applied = (*receipt.unmatched, *receipt.rejected)
        applied = _without(batch.ids, not_applied)

        def commit(connection: Connection) -> None:
            outbox.acknowledge(
                connection, batch, applied=applied, not_applied=not_applied, now=now
            )
            if batch.operation is Operation.ADD:
                self._offered(connection, sent.binding, applied, receipt, now)
            line = sent.line("accepted", receipt.status)
            ledger.write(connection, _proven(line, receipt, len(applied)))

        self._write(sent, commit)
        _count(sent, receipt, len(applied))

    def put_back(
        self,
        sent: Sent,
        error: DeliveryError,
        *,
        result: str,
        retry_at: datetime | None,
        now: datetime,
        counted: bool = True,
        also: Callable[[Connection], None] = lambda _: None,
    ) -> Waiting:
        """Nothing is proven: the batch stays open; `also` shares the transaction."""

        def commit(connection: Connection) -> None:
            outbox.retry(
                connection,
                sent.batch,
                retry_at=retry_at,
                counted=counted,
                error_type=error.error_type,
                error=str(error),
            )
            _doubt(connection, sent, error, now)
            ledger.write(connection, _failed(sent, error, result))
            also(connection)

        self._write(sent, commit)
        if result == "retried":
            _count_retry(sent, error, retry_at, now)
        return _waiting(sent.batch, retry_at)

    def split(self, sent: Sent, error: DeliveryError, now: datetime) -> list[Waiting]:
        """Two halves take the batch's place."""

        def commit(connection: Connection) -> list[Waiting]:
            ledger.write(connection, _failed(sent, error, "split"))
            return outbox.split(connection, sent.batch, now)

        return self._write(sent, commit)

    def set_aside(
        self, lease: Lease, batch: Batch, ids: Sequence[bytes], now: datetime
    ) -> Waiting | None:
        """These are to be forgotten: they stay uncertain and are not sent. Returns what
        is left of the batch."""

        def fenced(connection: Connection) -> Waiting | None:
            leases.check(connection, lease, self.clock.wall())
            return outbox.set_aside(connection, batch, ids, TO_BE_FORGOTTEN, now)

        return self.writer.write(fenced)

    def dead_lettered(self, sent: Sent, error: DeliveryError, now: datetime) -> None:
        """A terminal answer: the payload is kept, its ids stay uncertain."""

        def commit(connection: Connection) -> None:
            outbox.dead_letter(
                connection, sent.batch, error_type=error.error_type, error=str(error)
            )
            _doubt(connection, sent, error, now)
            ledger.write(connection, _failed(sent, error, "dead"))

        self._write(sent, commit)

    def rejected(
        self, sent: Sent, error: DeliveryError, reason: str, now: datetime
    ) -> None:
        """The ids are refused for good: out, and offered again after a long wait."""
        batch = sent.batch

        def commit(connection: Connection) -> None:
            outbox.acknowledge(
                connection, batch, applied=(), not_applied=batch.ids, now=now
            )
            reasons = dict.fromkeys(batch.ids, reason)
            self._note(connection, sent.binding, Kind.REJECTED, reasons, now)
            line = replace(_failed(sent, error, "rejected"), rejected=len(batch.ids))
            ledger.write(connection, line)

        self._write(sent, commit)
        _count_ids(sent, "rejected", len(batch.ids), error.error_type)

    def _offered(
        self,
        connection: Connection,
        binding: Binding,
        applied: Sequence[bytes],
        receipt: Receipt,
        now: datetime,
    ) -> None:
        if applied and unaccepted.any_of(connection, binding.id):
            unaccepted.forget(connection, binding.id, applied)
        unmatched = dict.fromkeys(receipt.unmatched, UNKNOWN)
        self._note(connection, binding, Kind.UNMATCHED, unmatched, now)
        self._note(connection, binding, Kind.REJECTED, receipt.rejected, now)

    def _note(
        self,
        connection: Connection,
        binding: Binding,
        kind: Kind,
        reasons: Mapping[bytes, str],
        now: datetime,
    ) -> None:
        unaccepted.note(connection, binding.id, binding.n_buckets, kind, reasons, now)

    def _write(self, sent: Sent, commit: Callable[[Connection], T]) -> T:
        def fenced(connection: Connection) -> T:
            leases.check(connection, sent.lease, self.clock.wall())
            return commit(connection)

        return self.writer.write(fenced)


def _doubt(
    connection: Connection, sent: Sent, error: DeliveryError, now: datetime
) -> None:
    """It may land yet, long after its batch was settled by another request."""
    if error.may_take_effect:
        doubts.of_batch(connection, sent.batch.id, now, sent.late_landings)


def _waiting(batch: Batch, retry_at: datetime | None) -> Waiting:
    return Waiting(
        id=batch.id, binding_id=batch.binding_id, n=len(batch.ids), retry_at=retry_at
    )


def _without(ids: Sequence[bytes], gone: Sequence[bytes]) -> Sequence[bytes]:
    if not gone:
        return ids
    left_out = frozenset(gone)
    return [member_id for member_id in ids if member_id not in left_out]


def _proven(line: ledger.Line, receipt: Receipt, applied: int) -> ledger.Line:
    return replace(
        line,
        accepted=applied,
        unmatched=len(receipt.unmatched),
        rejected=len(receipt.rejected),
        request_id=receipt.request_id,
    )


def _failed(sent: Sent, error: DeliveryError, result: str) -> ledger.Line:
    return replace(
        sent.line(result, error.status),
        error_type=error.error_type,
        message=error.vendor_message or str(error),
    )


# ---- metrics ----------------------------------------------------------------------

_CHANGES = {Operation.ADD: "entered", Operation.REMOVE: "exited"}


def _count(sent: Sent, receipt: Receipt, applied: int) -> None:
    """What an answer proved. A skipped exit is applied: whoever is unknown is out."""
    _count_ids(sent, "accepted", applied)
    if sent.batch.operation is Operation.ADD:
        _count_ids(sent, "unmatched", len(receipt.unmatched), "unknown_user")
        # Not the words of the answer: those may be others for every person.
        _count_ids(sent, "rejected", len(receipt.rejected), "invalid_id")


def _count_ids(sent: Sent, result: str, count: int, reason: str = "") -> None:
    sync, change = sent.binding.sync, _CHANGES[sent.batch.operation]
    metrics.MEMBERS_SENT.labels(sync, change, result).inc(count)
    if reason and count:
        metrics.MEMBERS_REJECTED.labels(sync, reason).inc(count)


def _count_retry(
    sent: Sent, error: DeliveryError, retry_at: datetime | None, now: datetime
) -> None:
    api = sent.binding.connection
    metrics.API_RETRIES.labels(api, error.error_type).inc()
    if error.fault is Fault.THROTTLED and retry_at is not None:
        told = max(0.0, (retry_at - now).total_seconds())
        metrics.API_THROTTLED.labels(api).inc(told)
