"""A store that already holds a crowd, copied fresh for each run, and what it costs.

The acknowledged set is put there by the store's own `compaction.adopt`: what a first
sync and its compaction leave behind, without the hours that sending would take.
"""

import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from syncd.sources.files import FileList, FilesSource
from syncd.store import bindings, compaction
from syncd.store.buckets import buckets_for
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.sync.spill import PARTITIONS, Partition
from tests.benchmarks.servers import cpu_of

SIZES = """SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relname IN ('chunk', 'batch', 'batch_ids')"""


class Store(Protocol):
    """Where an installation's state is."""

    url: str

    def keep(self) -> None:
        """The state as it is now is the baseline."""

    def fresh(self) -> None:
        """The state is the baseline again."""

    def empty(self) -> None:
        """The state is nothing at all."""

    def cpu(self) -> float:
        """Seconds that servers of it used so far."""

    def size(self) -> int:
        """Bytes on disk of what is stored, without pages to be used again."""


class SqliteStore:
    """A file; its server is the process that uses it."""

    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"
        self._kept = path.with_suffix(".kept")

    def keep(self) -> None:
        """See `Store`. Nobody has the file open, so it is whole without its log."""
        self.path.replace(self._kept)

    def fresh(self) -> None:
        """See `Store`."""
        self.empty()
        shutil.copyfile(self._kept, self.path)

    def empty(self) -> None:
        """See `Store`."""
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()

    def cpu(self) -> float:
        """See `Store`."""
        return 0.0

    def size(self) -> int:
        """See `Store`."""
        with closing(Database(self.url)) as database, database.read() as connection:
            pages, free, page = (
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * page


class PostgresStore:
    """A database of a server; copied by the server itself."""

    def __init__(self, server_url: str, name: str) -> None:
        self._server, self._name = server_url, name
        self.url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))

    def keep(self) -> None:
        """See `Store`."""
        self._drop(self._kept)
        self._do("ALTER DATABASE {} RENAME TO {}", self._name, self._kept)

    def fresh(self) -> None:
        """See `Store`."""
        self._drop(self._name)
        self._do("CREATE DATABASE {} TEMPLATE {}", self._name, self._kept)
        self._do("CHECKPOINT")

    def empty(self) -> None:
        """See `Store`."""
        self._drop(self._name)
        self._do("CREATE DATABASE {} TEMPLATE template0", self._name)

    def gone(self) -> None:
        """Leave nothing behind."""
        self._drop(self._name)
        self._drop(self._kept)

    def cpu(self) -> float:
        """Of the server, its backends, and those that have ended."""
        pid = int(self._ask("SHOW data_directory", "postmaster.pid"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        alive = 0.0
        for child in map(int, children):
            # A vacuum that ends right now is among those that have ended.
            with suppress(FileNotFoundError, ProcessLookupError):
                alive += cpu_of(child)
        return alive + cpu_of(pid, ended=True)

    def size(self) -> int:
        """See `Store`."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(SIZES).fetchone()
        assert row is not None
        return int(row[0])

    @property
    def _kept(self) -> str:
        return f"{self._name}_kept"

    def _drop(self, name: str) -> None:
        self._do("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)

    def _do(self, statement: Any, *names: str) -> None:
        query = sql.SQL(statement).format(*map(sql.Identifier, names))
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(query)

    def _ask(self, query: Any, file: str) -> str:
        """The first line of a file in the server's folder."""
        with psycopg.connect(self._server) as connection:
            row = connection.execute(query).fetchone()
        assert row is not None
        return (Path(row[0]) / file).read_text().split("\n")[0]


def adopt(
    store: Store, sync: str, files: FileList, spool: Path, codec: Codec = "text"
) -> None:
    """Make everybody of a list acknowledged members, as if it had been read and sent.

    The sync ran once before. The list counts as the one its last plan was made from,
    with its mark where the sync reads these very files.
    """
    listing = FilesSource(files).listing()
    with closing(Database(store.url, codec=codec)) as database:
        with database.read() as connection:
            owner = bindings.current(connection, sync)
        assert owner is not None
        # The connection's name stands before it.
        reads = owner.source_fingerprint.endswith(f"\n{files.fingerprint()}")
        with closing(Partition(spool, PARTITIONS)) as people:
            for block in listing.blocks():
                people.add(block)
            digest = people.seal()
            n_buckets = buckets_for(digest.count)
            buckets = enumerate(people.buckets(n_buckets))
            with database.begin() as connection:
                compaction.adopt(connection, owner.id, n_buckets, buckets)
                bindings.plan_went_out(
                    connection,
                    owner.id,
                    digest,
                    owner.source_fingerprint,
                    listing.mark() if reads else None,
                )
