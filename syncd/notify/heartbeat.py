"""When the dead man's switch outside of syncd is told that all is well. Pure.

Whoever watches it raises the alarm when nothing comes, so a ping that fails is tried
again soon, and one that must not be sent is simply left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

TRIES = 5
"""Of one ping, spread over the time until the next one."""
NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What is remembered from one ping to the next."""

    due_at: datetime | None = None
    """None: at once."""
    tries: int = 0
    """Of the ping that is due, so far."""

    def is_due(self, now: datetime) -> bool:
        """Whether a ping is to be sent, or to be left out, now."""
        return self.due_at is None or now >= self.due_at

    def after(self, now: datetime, every: timedelta, *, arrived: bool) -> "Beat":
        """What follows a ping that arrived, was left out (`arrived`), or failed."""
        if arrived or self.tries + 1 >= TRIES:
            return Beat(due_at=now + every)
        return Beat(due_at=now + every / TRIES, tries=self.tries + 1)


def why_not(*, healthy: bool, stale: Sequence[str] | None) -> str:
    """Why no ping is sent now; empty: it is.

    `stale` names the syncs that are not fresh; None where nobody asks for that.
    """
    if not healthy:
        return "the scheduler or the store does not answer"
    if not stale:
        return ""
    more = f" and {len(stale) - NAMED:,} more" if len(stale) > NAMED else ""
    return f"not fresh: {', '.join(stale[:NAMED])}{more}"
