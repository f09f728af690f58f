"""When a connection takes its next request: what it was told to wait, and what its
pace leaves free. Pure state; the pool guards every call with its lock.

A wait is kept with its length. One that is further away than it can be is over: the
clock was set back since.
"""

from datetime import datetime, timedelta

from syncd.delivery.lane import Route


class Pacing:
    """The waits of all connections of one process."""

    def __init__(self) -> None:
        self._throttled: dict[str, tuple[datetime, timedelta]] = {}
        """Until when a connection takes nothing, and how long that was when it was
        said."""
        self._paced: dict[str, tuple[datetime, timedelta]] = {}
        """When a connection's last batch has had its time, and how much that was."""

    def free_at(self, connection: str, now: datetime) -> datetime:
        """When the connection takes the next request; `now`, if it does."""
        waits = self._throttled.get(connection), self._paced.get(connection)
        return max([now, *(_end_of(each, now) for each in waits if each)])

    def sent(
        self,
        route: Route,
        ids: int,
        now: datetime,
        behind: timedelta = timedelta(0),
    ) -> None:
        """A batch goes, `behind` others: the next one waits for those, and as long as
        this one's ids may take."""
        if route.ids_per_second is None:
            return
        taken = behind + timedelta(seconds=ids / route.ids_per_second)
        self._paced[route.connection] = now + taken, taken

    def throttle(self, connection: str, until: datetime, now: datetime) -> None:
        """The longest wait counts of those that were said."""
        before = self._throttled.get(connection)
        if before is None or _end_of(before, now) < until:
            self._throttled[connection] = until, until - now


def _end_of(wait: tuple[datetime, timedelta], now: datetime) -> datetime:
    until, length = wait
    return until if until - now <= length else now
