"""The state of a sync: one word, with one meaning everywhere. Pure.

The words, their glyphs and their order are those of the operations page, section 5.
Fresh means *delivered*: the destination accepted everything that was decided.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from syncd.schedule import Schedule, next_after
from syncd.windows import Window, closed_until

FAILING_AFTER = 3
"""Failures in a row; one alone is often passing, and is retried."""

PUNCTUAL = timedelta(minutes=1)
"""A due run that has not begun for longer than this is late."""


class State(StrEnum):
    """How a sync is doing; worst first."""

    HELD = "held"
    """A run stopped before the first byte and waits for a person."""
    FAILING = "failing"
    """Three failures in a row, credentials rejected once, or to be reconciled."""
    STALE = "stale"
    """The last success is older than `fresh_within`."""
    LATE = "late"
    """A due run did not succeed yet, still within `fresh_within`."""
    PENDING = "pending"
    """Never succeeded yet, still within its first `fresh_within`."""
    PAUSED = "paused"
    """A person paused it; nobody acts until that is over."""
    ON_TIME = "on time"
    """None of the others."""
    OFF = "off"
    """`enabled: false`."""


GLYPHS = {
    State.HELD: "◆",
    State.FAILING: "✖",
    State.STALE: "▲",
    State.LATE: "◔",
    State.PENDING: "…",
    State.PAUSED: "‖",
    State.ON_TIME: "●",
    State.OFF: "○",
}
"""Beside the word, never instead of it."""

WORST_FIRST = tuple(State)

NEEDS_A_PERSON = (State.HELD, State.FAILING, State.STALE)
"""The others are nobody's business yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What the configuration promises about a sync."""

    enabled: bool
    schedule: Schedule
    jitter: timedelta
    """The sync's share of it: added to each due time."""
    fresh_within: timedelta | None
    """None: nothing is due by itself, so it is never stale."""
    blackout: tuple[Window, ...] = ()
    """What is due in one of these is due at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the store knows about a sync."""

    first_seen_at: datetime | None = None
    """When a daemon or a run first had it; None when none ever had."""
    last_success_at: datetime | None = None
    failures_in_a_row: int = 0
    held: bool = False
    """A plan waits for a decision, or the target must not be written to."""
    connection_stopped: bool = False
    """The destination refused the credentials."""
    unreconciled: bool = False
    """The database failed over, and what is there was not compared since, or what was
    pushed before may be lost."""
    running: bool = False
    paused: bool = False
    """A person paused it, and that is not over."""


def state_of(promise: Promise, seen: Seen, now: datetime) -> State:
    """The first state that fits, in the order of the operations page."""
    if not promise.enabled:
        return State.OFF
    if seen.paused:
        return State.PAUSED
    if seen.held:
        return State.HELD
    if seen.connection_stopped or seen.unreconciled:
        return State.FAILING
    if seen.failures_in_a_row >= FAILING_AFTER:
        return State.FAILING
    if overdue(promise, seen, now) is not None:
        return State.STALE
    if not seen.running and _missed(promise, seen, now):
        return State.LATE
    return State.PENDING if seen.last_success_at is None else State.ON_TIME


def overdue(promise: Promise, seen: Seen, now: datetime) -> timedelta | None:
    """How long it has been stale, whatever its state; None while it is fresh.

    A sync that never succeeded is measured from when it was first seen.
    """
    since = seen.last_success_at or seen.first_seen_at
    if not promise.enabled or promise.fresh_within is None or since is None:
        return None
    beyond = now - since - promise.fresh_within
    return beyond if beyond > timedelta(0) else None


def _missed(promise: Promise, seen: Seen, now: datetime) -> bool:
    """Whether the first due time after the last success has passed."""
    since = seen.last_success_at or seen.first_seen_at
    due = next_after(promise.schedule, since) if since is not None else None
    if due is None:
        return False
    begin = due + promise.jitter
    begin = closed_until(promise.blackout, begin) or begin
    return begin + PUNCTUAL <= now
