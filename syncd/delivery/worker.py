"""One batch: send it, let the outcome be recorded, say what comes next.

How to go on after a failure is decided by `retry.decide`; nothing here sleeps, and a
failure is told to the lane as a value, never as an exception.
"""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, assert_never

from syncd import events
from syncd.clients.beginning import begun_by
from syncd.clock import Clock
from syncd.delivery.claiming import Claimed, Throttled, claim, target_of
from syncd.delivery.lane import Lane
from syncd.delivery.record import Recorder, Sent
from syncd.delivery.retry import (
    DeadLetter,
    GiveUp,
    Halve,
    HoldTarget,
    Reject,
    RetryAt,
    StopConnection,
    ThrottleConnection,
    decide,
)
from syncd.delivery.step import Step, ended, stopped
from syncd.errors import (
    DeliveryError,
    Fault,
    LeaseLost,
    StoreError,
    TargetUnusable,
)
from syncd.events import Level, emit
from syncd.log import person_hash
from syncd.model import Batch, Operation, Receipt, Settled
from syncd.store import connections, leases
from syncd.store.bindings import Role
from syncd.store.database import Database
from syncd.store.outbox import Waiting

_WHY_REJECTED = {
    "invalid_id": "refused by the destination as invalid",
    "unknown_user": "unknown to the destination",
    "too_large": "too large for a request of its own",
}
SAMPLES = 3
"""Hashed ids named in a log line about rejected ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Carries out steps of lanes. Shared by all threads; holds no state."""

    database: Database
    recorder: Recorder
    clock: Clock
    hash_key: bytes
    chance: Callable[[], float] = field(default=random.random)

    def step(
        self, lane: Lane, waiting: Waiting, taken: Callable[[], None] = lambda: None
    ) -> Step:
        """Send one batch and record what is proven; expected errors become a value.

        `taken` is called where the destination took the batch, before that is durable.
        """
        try:
            return self._send(lane, waiting, taken)
        except LeaseLost as error:
            emit(events.LEASE_LOST, holder=lane.lease.holder, fence=lane.lease.fence)
            return ended(Settled.LOST, error)
        except StoreError as error:
            emit(events.STORE_UNAVAILABLE, operation="deliver", error=str(error))
            return ended(Settled.LOST, error)

    def _send(self, lane: Lane, waiting: Waiting, taken: Callable[[], None]) -> Step:
        asked = self.clock.monotonic()
        claimed = claim(self.database, self.clock, lane, waiting)
        if isinstance(claimed, Throttled):
            return Step(put_back=[waiting], throttled_until=claimed.until)
        if claimed.gone:
            return self._set_aside(lane, claimed.batch, claimed.gone)
        if self.clock.monotonic() > asked + _soon_enough(lane):
            # This process stood still: another one may have the sync by now.
            return Step(put_back=[waiting])
        return self._request(lane, claimed, asked, taken)

    def _request(
        self, lane: Lane, claimed: Claimed, asked: float, taken: Callable[[], None]
    ) -> Step:
        at, started = self.clock.now(), self.clock.monotonic()
        sent = partial(self._sent, lane, claimed, at, started)
        try:
            with self._in_time(lane, asked):
                target = target_of(claimed.binding)
                receipt = lane.route.sink.deliver(claimed.batch, target)
        except DeliveryError as error:
            return self._failed(lane, sent(), error)
        except TargetUnusable as error:
            return self._unusable(sent(), error)
        done = sent()
        if receipt.created is None and not receipt.replaced:
            taken()
        return self._proven(done, receipt)

    def _sent(self, lane: Lane, claimed: Claimed, at: datetime, started: float) -> Sent:
        """The request as it was made; it is over now."""
        return Sent(
            batch=claimed.batch,
            binding=claimed.binding,
            lease=lane.lease,
            at=at,
            duration_ms=round((self.clock.monotonic() - started) * 1000, 1),
            late_landings=lane.route.late_landings,
        )

    def _in_time(self, lane: Lane, asked: float) -> AbstractContextManager[None]:
        """Only where there may be others: one process alone waits for its turns.

        Whoever takes over waits for one request: each that begins in here does so while
        the lease is surely ours.
        """
        if self.database.dialect == "sqlite":
            return nullcontext()
        ours = leases.trusted(lane.lease.ttl, lane.route.request_deadline)
        return begun_by(asked + _soon_enough(lane), others=asked + ours.total_seconds())

    def _set_aside(self, lane: Lane, batch: Batch, gone: Sequence[bytes]) -> Step:
        left = self.recorder.set_aside(lane.lease, batch, gone, self.clock.now())
        emit(events.FORGOTTEN_SET_ASIDE, batch=batch.id, count=len(gone))
        return Step(put_back=[left] if left is not None else [])

    def _proven(self, sent: Sent, receipt: Receipt) -> Step:
        now = self.clock.now()
        if receipt.created is not None:
            again = self.recorder.created(sent, receipt.created, receipt.status, now)
            emit(
                events.TARGET_CREATED,
                cohort_id=receipt.created.external_id,
                name=receipt.created.name,
            )
            return Step(put_back=[again], bound=True)
        if receipt.replaced:
            return self._replaced(sent, receipt)
        self.recorder.acknowledged(sent, receipt, now)
        emit(
            events.BATCH_SENT,
            **_about(sent.batch),
            accepted=len(receipt.accepted),
            unmatched=len(receipt.unmatched),
            rejected=len(receipt.rejected),
            duration_ms=sent.duration_ms,
            http_status=receipt.status,
            api_request_id=receipt.request_id or None,
        )
        return Step(
            empty_creation=receipt.created_empty_handed, accepted=len(receipt.accepted)
        )

    def _replaced(self, sent: Sent, receipt: Receipt) -> Step:
        """The batch is done with; those that follow it prove who is in."""
        self.recorder.replaced(sent, receipt)
        emit(
            events.TARGET_REPLACED,
            cohort_id=sent.binding.external_id,
            size=len(sent.batch.ids),
            http_status=receipt.status,
            api_request_id=receipt.request_id or None,
        )
        return Step()

    def _failed(self, lane: Lane, sent: Sent, error: DeliveryError) -> Step:
        _say_if_contract_changed(lane, error)
        decision = decide(
            lane.route.policy,
            sent.batch.attempts + 1,
            error,
            self.chance,
            size=len(sent.batch.ids),
            # Half of a replacement would put the other half out.
            divisible=sent.batch.operation is not Operation.REPLACE,
        )
        match decision:
            case RetryAt() | ThrottleConnection() | GiveUp():
                return self._try_later(lane, sent, error, decision)
            case Halve():
                return self._halve(sent, error)
            case DeadLetter():
                return self._dead_letter(sent, error)
            case Reject(reason):
                return self._reject(lane, sent, error, reason)
            case StopConnection():
                return self._stop_connection(lane, sent, error)
            case HoldTarget():
                return self._unusable(sent, _gone(error))
            case _:
                assert_never(decision)

    def _try_later(
        self,
        lane: Lane,
        sent: Sent,
        error: DeliveryError,
        decision: RetryAt | ThrottleConnection | GiveUp,
    ) -> Step:
        match decision:
            case RetryAt(delay):
                return self._retry(sent, error, delay)
            case ThrottleConnection(delay):
                return self._throttle(lane, sent, error, delay)
            case GiveUp():
                return self._give_up(sent, error)

    def _retry(self, sent: Sent, error: DeliveryError, delay: timedelta) -> Step:
        now = self.clock.now()
        again = self.recorder.put_back(
            sent, error, result="retried", retry_at=now + delay, now=now
        )
        emit(
            events.BATCH_RETRIED,
            # The third failure in a row is no longer a hiccup.
            level=Level.WARNING if sent.batch.attempts >= 2 else None,
            delay_ms=_ms(delay),
            reason=error.error_type,
            **_about(sent.batch),
            **_words(error),
        )
        return Step(put_back=[again])

    def _throttle(
        self, lane: Lane, sent: Sent, error: DeliveryError, delay: timedelta
    ) -> Step:
        now, name = self.clock.now(), lane.route.connection
        until = now + delay
        again = self.recorder.put_back(
            sent,
            error,
            result="retried",
            retry_at=until,
            now=now,
            also=partial(connections.throttle, name=name, until=until),
        )
        emit(
            events.API_THROTTLED,
            connection=name,
            wait_ms=_ms(delay),
            until=until,
            **_words(error),
        )
        return Step(put_back=[again], throttled_until=until)

    def _give_up(self, sent: Sent, error: DeliveryError) -> Step:
        again = self.recorder.put_back(
            sent, error, result="gave_up", retry_at=None, now=self.clock.now()
        )
        emit(
            events.BATCH_GAVE_UP,
            attempts=sent.batch.attempts + 1,
            **_about(sent.batch),
            **_words(error),
        )
        return Step(put_back=[again], ended=stopped(Settled.WAITING, error))

    def _halve(self, sent: Sent, error: DeliveryError) -> Step:
        halves = self.recorder.split(sent, error, self.clock.now())
        emit(
            events.BATCH_SPLIT,
            reason=error.error_type,
            **_about(sent.batch),
            **_words(error),
        )
        return Step(put_back=halves)

    def _dead_letter(self, sent: Sent, error: DeliveryError) -> Step:
        self.recorder.dead_lettered(sent, error, self.clock.now())
        emit(
            events.BATCH_DEAD_LETTERED,
            attempts=sent.batch.attempts + 1,
            error=str(error),
            **_about(sent.batch),
            **_words(error),
        )
        if sent.binding.external_id is None or error.error_type == "forbidden":
            # Not about these ids: every further batch would meet the same.
            return Step(ended=stopped(Settled.REFUSED, error))
        if sent.binding.role is Role.RETIRING:
            # An old id removed after its person's new one was added would undo that.
            return Step(ended=stopped(Settled.REFUSED, error))
        return Step()

    def _reject(
        self, lane: Lane, sent: Sent, error: DeliveryError, reason: str
    ) -> Step:
        if sent.batch.operation is Operation.REMOVE:
            return self._refused_exit(lane, sent, error)
        # Not the vendor's words: those may be others for every person.
        text = _WHY_REJECTED.get(reason, reason)
        self.recorder.rejected(sent, error, text, self.clock.now())
        ids = sent.batch.ids
        emit(
            events.MEMBER_REJECTED,
            reason=text,
            vendor_message=error.vendor_message or None,
            count=len(ids),
            samples=[person_hash(self.hash_key, each) for each in ids[:SAMPLES]],
        )
        return Step(rejected=len(ids))

    def _refused_exit(self, lane: Lane, sent: Sent, error: DeliveryError) -> Step:
        """Whoever is unknown there is out already; any other refusal proves nothing.

        Believed only of a destination that took somebody in this run: one that knows
        nobody has lost the list, or is not there.
        """
        if error.error_type != "unknown_user" or not lane.accepted:
            step = self._dead_letter(sent, error)
            return replace(step, rejected=len(sent.batch.ids))
        unknown = Receipt(unmatched=sent.batch.ids, status=error.status or 404)
        return replace(self._proven(sent, unknown), rejected=len(sent.batch.ids))

    def _stop_connection(self, lane: Lane, sent: Sent, error: DeliveryError) -> Step:
        now, name = self.clock.now(), lane.route.connection
        again = self.recorder.put_back(
            sent,
            error,
            result="stopped",
            retry_at=now,
            now=now,
            counted=False,
            also=partial(connections.stop, name=name, reason=str(error), now=now),
        )
        emit(
            events.CONNECTION_STOPPED,
            connection=name,
            reason=str(error),
            probe_at=now + connections.PROBE_EVERY,
            **_words(error),
        )
        return Step(put_back=[again], ended=stopped(Settled.CREDENTIALS, error))

    def _unusable(self, sent: Sent, reason: TargetUnusable) -> Step:
        now = self.clock.now()
        error = DeliveryError(
            str(reason), fault=Fault.TARGET_GONE, error_type="not_found"
        )
        again = self.recorder.put_back(
            sent, error, result="held", retry_at=now, now=now, counted=False
        )
        return Step(put_back=[again], ended=stopped(Settled.TARGET, reason))


def _say_if_contract_changed(lane: Lane, error: DeliveryError) -> None:
    if error.error_type == "bad_response":
        emit(
            events.API_CONTRACT_CHANGED,
            connection=lane.route.connection,
            error=str(error),
            **_words(error),
        )


def _gone(error: DeliveryError) -> TargetUnusable:
    words = error.vendor_message or str(error)
    return TargetUnusable(f"the cohort no longer exists ({words})", code="target.gone")


def _about(batch: Batch) -> dict[str, Any]:
    return {"batch": batch.id, "operation": batch.operation, "size": len(batch.ids)}


def _words(error: DeliveryError) -> dict[str, Any]:
    return {
        "error_type": error.error_type,
        "http_status": error.status,
        "vendor_message": error.vendor_message or None,
    }


def _ms(delay: timedelta) -> int:
    return round(delay.total_seconds() * 1000)


def _soon_enough(lane: Lane) -> float:
    """Seconds after the lease was looked at within which a request begins."""
    return leases.soon_enough(lane.lease.ttl).total_seconds()
