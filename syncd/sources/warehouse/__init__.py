"""Members from a SQL warehouse: one query, one consistent read, streamed.

Ready-made queries for the two shapes in which Segment puts an audience there (Profiles
Sync's materialized views, and the `users` table that Engage writes when a warehouse is
a destination), or the operator's own query. Tested on Postgres and SQLite; any other
SQLAlchemy dialect works as far as its driver does, without the snapshot isolation that
those two are asked for: there the count check is what finds a list that moved.

The query is trusted configuration, but its role should be able to SELECT and nothing
else: a read-only session is a seat belt, not a barrier.

`source` tells the story, `queries` holds the SQL, `connection` opens the read and turns
what drivers raise into source errors, `ids` turns what drivers return into raw ids.
"""

from syncd.sources.warehouse.queries import Flavour, WarehouseQuery
from syncd.sources.warehouse.source import WarehouseSource

__all__ = ["Flavour", "WarehouseQuery", "WarehouseSource"]
