"""Waits that a clock wrote which was ahead, put right.

A wait is stored as the instant at which it is over. When the machine's clock was ahead
by an hour or by ten years and is put right, that instant is far away, and a batch, a
key, a person or a whole connection would wait for it. No wait is longer than the span
that it was made of: one that ends later than that from now is over.
"""

from datetime import datetime, timedelta

from sqlalchemy import Column, Connection, Table, update

from syncd.store import doubts
from syncd.store.connections import PROBE_EVERY
from syncd.store.tables import batch, connection, run, unaccepted
from syncd.store.unaccepted import LONGEST_WAIT

_DAY = timedelta(days=1)
_LONGEST: tuple[tuple[Table, Column[datetime], timedelta], ...] = (
    (batch, batch.c.retry_at, _DAY),
    (connection, connection.c.throttled_until, _DAY),
    (connection, connection.c.probe_at, PROBE_EVERY),
    (unaccepted, unaccepted.c.next_at, LONGEST_WAIT),
)
"""(table, instant, what it is away at most). A back-off and a pause that a vendor asks
for are minutes; a day leaves room for every configuration."""
HELD = _DAY
"""A plan waits no longer for a person."""


def put_right(writing: Connection, now: datetime) -> int:
    """End every wait that is longer than it can be; returns how many there were.

    A plan that waits for a person has its whole time again, and so has a request that
    may land.
    """
    count = doubts.put_right(writing, now)
    for table, instant, longest in _LONGEST:
        endless = update(table).where(instant > now + longest)
        count += writing.execute(endless.values({instant: now})).rowcount
    held = update(run).where(run.c.hold_expires_at > now + HELD)
    count += writing.execute(held.values(hold_expires_at=now + HELD)).rowcount
    return count
