"""The ids under which senders know their lists, kept in the store."""

from functools import partial

from syncd.clock import Clock
from syncd.model import Feed
from syncd.store import inbox
from syncd.store.database import Connection, Database
from syncd.store.writer import Writer


class Directory:
    """What the doors ask about lists. Thread-safe; waits for the store."""

    def __init__(self, database: Database, writer: Writer, clock: Clock) -> None:
        self._database = database
        self._writer = writer
        self._clock = clock

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        """The list id of a feed, made `list_id` if it has none. Raises `StoreError`."""
        give = partial(self._name, feed=feed, name=name, list_id=list_id)
        return self._writer.write(give)

    def find(self, connection: str, list_id: str) -> Feed | None:
        """The feed that a sender knows by this id. Raises `StoreError`."""
        with self._database.read() as store:
            row = inbox.by_list_id(store, connection, list_id)
        return row.feed if row is not None else None

    def _name(self, store: Connection, feed: Feed, name: str, list_id: str) -> str:
        row = inbox.name_list(store, feed, name, list_id, self._clock.now())
        return row.list_id or list_id
