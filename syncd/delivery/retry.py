"""What becomes of a batch after a failed request. A decision is a value.

Pure: no clock, no row, no sleep. The worker turns the value into a row (`attempts`,
`retry_at`), so that nobody sleeps through a back-off and a restart keeps the count.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from syncd.errors import DeliveryError, Fault

JITTER = 0.25
"""A delay is its nominal step plus up to this share of it, evenly spread. The step is
the lower bound: 1, 2, 4 ... 128 s are never undercut (255 s over 8 retries, 319 s at
most), so a vendor that recovers within four minutes is always met again."""

_MAX_DOUBLINGS = 30
"""2**30 steps are beyond any `max_delay`; stops the power from growing without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try again (`delivery:` in the config)."""

    retries: int = 8
    """Requests after the first one."""
    first_delay: timedelta = timedelta(seconds=1)
    """Nominal wait before the first retry; doubles with each."""
    max_delay: timedelta = timedelta(seconds=128)
    """The nominal wait never grows beyond this."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Put the batch back; it may be claimed again after `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class ThrottleConnection:
    """Put the batch back, and let the whole credential wait for `delay`."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Retries are used up: the batch stays open and blocks its key until taken over."""


@dataclass(frozen=True, slots=True)
class Halve:
    """Replace the batch by its two halves."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A terminal answer: keep the payload, do not send it again."""

    reason: str
    """The error type, from the closed list of the log catalogue."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Halving ended at one id: that id is refused for good."""

    reason: str
    """The error type, from the closed list of the log catalogue."""


@dataclass(frozen=True, slots=True)
class StopConnection:
    """Nothing of this credential is sent until a free probe succeeds."""


@dataclass(frozen=True, slots=True)
class HoldTarget:
    """The target is gone: keep the baseline, hold the sync, let a person decide."""


Decision = (
    RetryAt
    | ThrottleConnection
    | GiveUp
    | Halve
    | DeadLetter
    | Reject
    | StopConnection
    | HoldTarget
)


def decide(
    policy: RetryPolicy,
    attempts: int,
    error: DeliveryError,
    random: Callable[[], float],
    *,
    size: int,
    divisible: bool = True,
) -> Decision:
    """Decide what becomes of a batch of `size` ids after its request failed.

    `attempts` counts the requests made for the batch, the failed one included (1 after
    the first). `random` returns 0 <= x < 1. Throttling spends retries too: a vendor
    that says "wait" nine times in a row ends the batch's turn in this run. A batch that
    is not `divisible` goes whole or not at all.
    """
    match error.fault:
        case Fault.PASSING | Fault.THROTTLED:
            return _again(policy, attempts, error, random)
        case Fault.TOO_LARGE | Fault.BAD_IDS:
            return _smaller(error, size, divisible=divisible)
        case Fault.REFUSED:
            return DeadLetter(error.error_type)
        case Fault.CREDENTIALS:
            return StopConnection()
        case Fault.TARGET_GONE:
            return HoldTarget()
        case _:
            assert_never(error.fault)


def _smaller(
    error: DeliveryError, size: int, *, divisible: bool
) -> Halve | DeadLetter | Reject:
    if divisible and size > 1:
        return Halve()
    # An answer of 413 for one id is no word about that person: something in between is
    # in the way, and whoever was in before is in still.
    elsewhere = error.fault is Fault.TOO_LARGE and error.status is not None
    if not divisible or elsewhere:
        return DeadLetter(error.error_type)
    return Reject(error.error_type)


def _again(
    policy: RetryPolicy,
    attempts: int,
    error: DeliveryError,
    random: Callable[[], float],
) -> Decision:
    if attempts > policy.retries:
        return GiveUp()
    delay = _delay(policy, attempts, error.retry_after, random())
    if error.fault is Fault.THROTTLED:
        return ThrottleConnection(delay)
    return RetryAt(delay)


def _delay(
    policy: RetryPolicy, attempts: int, retry_after: float | None, chance: float
) -> timedelta:
    """The wait before the next request; a Retry-After is the least it can be."""
    doublings = min(max(attempts - 1, 0), _MAX_DOUBLINGS)
    first = policy.first_delay.total_seconds()
    step = min(first * 2**doublings, policy.max_delay.total_seconds())
    seconds = max(step * (1 + JITTER * chance), retry_after or 0.0)
    return timedelta(seconds=seconds)
