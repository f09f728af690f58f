"""The configured store for commands that only read, beside a running daemon or not.

It is never created, migrated or written here. (Reading a SQLite store that nobody has
open lets the library put its empty `-wal` and `-shm` beside it; the next daemon takes
them away.)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from syncd.cli.frame import Frame
from syncd.clock import Clock
from syncd.config.settings import Settings
from syncd.errors import StoreUnavailable
from syncd.store import installation, shared_clock
from syncd.store.database import Connection, Database
from syncd.store.location import is_sqlite, sqlite_path
from syncd.store.migrate import require_current


class NoStore(StoreUnavailable):
    """Nothing has run with this configuration yet."""

    code = "store.missing"


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """The store of the configuration; only `read()` of it may be used.

    Raises `NoStore` before the first run, `StoreUnavailable` when it does not answer,
    `StoreRefused` for another schema than this program's, `SecretUnavailable`.
    """
    url = settings.store.read_url()
    if is_sqlite(url) and not sqlite_path(url).is_file():
        raise NoStore(
            f"there is no store at {sqlite_path(url)} yet: nothing has run",
            hint="syncd run once, or syncd serve for good; both make it",
        )
    database = _database(url)
    try:
        require_current(database)
        yield database
    finally:
        database.close()


def on_its_clock(frame: Frame, connection: Connection) -> Frame:
    """The same call on the clock of the daemon that works on this store.

    `serve --speed` has one of its own, and on Postgres all live by the database's.
    """
    fast = installation.fast_clock(connection)
    if fast is not None:
        frame = replace(frame, clock=Clock(speed=fast[0], origin=fast[1]))
    shared_clock.follow_by(connection, frame.clock)
    return frame


def _database(url: str) -> Database:
    try:
        return Database(url, readers=1)
    except ModuleNotFoundError as error:
        raise StoreUnavailable(
            f"the store's driver {error.name} is not installed",
            hint="python -m pip install 'syncd[postgres]'",
        ) from None
