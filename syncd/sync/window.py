"""Who moved in the last 24 hours: what many small runs add up to.

The guard of one run sees that run only; a list that shrinks a little every five minutes
would pass it for ever. Exits that a person approved are their decision and no longer
the guard's business, and an approval of a plan that this very guard held is one of
everything it counted: the window begins anew with it.
"""

from datetime import datetime, timedelta

from syncd.model import Moved
from syncd.store import turnover
from syncd.store.database import Database
from syncd.sync.guard import Guard

WINDOW = timedelta(hours=24)


def moved_lately(database: Database, sync: str, now: datetime) -> Moved:
    """What answers proved in the last 24 hours, without what a person approved."""
    since = now - WINDOW
    with database.read() as connection:
        approved = turnover.approved(connection, sync, Guard.MAX_EXIT_24H, since)
        # What a clock wrote that was ahead, by years perhaps, is not lately for ever.
        return turnover.moved(connection, sync, approved or since, until=now + WINDOW)
