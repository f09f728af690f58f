"""A store of the oldest schema, brought to the newest, cut at every statement."""

import threading
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, Table, func, select, text

from syncd.store import migrate
from syncd.store.database import Database
from syncd.store.file import create_file
from tests.reliability.killing.beside import certain, rows
from tests.reliability.killing.cutting import Play, Story
from tests.reliability.killing.stories import KNOWN, synced

OLDEST = "0001"

ALEMBIC = threading.Lock()
"""It keeps its context in a module: one migration at a time in a process."""

Rows = dict[str, list[dict[str, Any]]]


class Migrate(Story):
    """The first run of a new program on an old store. It has nothing to send."""

    name = "migration"

    def arrange(self, play: Play) -> None:
        """A run in a store of today; its rows are then put into an old one."""
        synced(play, KNOWN[:25])
        age_schema(play.url)

    def counts(self, point: str) -> bool:
        """What comes after the migration belongs to other stories."""
        return point.startswith("migrate ") or "_bring_up_to_date" in point

    def judge(self, play: Play) -> None:
        """The schema is the old or the new one, and knows everybody."""
        found = rows(play.url, "SELECT version_num FROM alembic_version")
        assert found in ([(OLDEST,)], [(migrate.head(),)])
        assert certain(play.url) == play.wanted
        super().judge(play)

    def finish(self, play: Play) -> None:
        """The next run migrates, and sends nothing."""
        assert play.run().run["outcome"] == "no_change"
        self.require_right(play)
        found = rows(play.url, "SELECT version_num FROM alembic_version")
        assert found == [(migrate.head(),)]
        assert play.simulator.log("membership", play.since) == []


def age_schema(url: str) -> None:
    """Put what an empty or a filled store holds into one of the oldest schema."""
    database = Database(url)
    try:
        with database.begin() as connection:
            kept = _taken(connection)
    finally:
        database.close()
    _emptied(url)
    database = Database(url)
    try:
        with ALEMBIC, database.begin() as connection:
            config = Config()
            config.set_main_option("script_location", "syncd:store/migrations")
            config.set_main_option("path_separator", "os")
            config.attributes["connection"] = connection
            command.upgrade(config, OLDEST)
            _filled(connection, kept)
    finally:
        database.close()


def _tables(connection: Connection) -> list[Table]:
    found = MetaData()
    found.reflect(connection)
    return [each for each in found.sorted_tables if each.name != "alembic_version"]


def _taken(connection: Connection) -> Rows:
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in _tables(connection)
    }


def _emptied(url: str) -> None:
    """No table at all."""
    database = Database(url)
    if database.dialect == "sqlite":
        for ending in ("", "-wal", "-shm"):
            path = database.path.with_name(database.path.name + ending)
            path.unlink(missing_ok=True)
        create_file(database.path)
    else:
        with database.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    database.close()


def _filled(connection: Connection, kept: Rows) -> None:
    """The columns that there were in the oldest schema."""
    for table in _tables(connection):
        columns = {column.name for column in table.columns}
        found = [
            {name: value for name, value in row.items() if name in columns}
            for row in kept.get(table.name, [])
        ]
        if found:
            connection.execute(table.insert(), found)
        if "id" in columns and connection.dialect.name == "postgresql":
            _count_on(connection, table)


def _count_on(connection: Connection, table: Table) -> None:
    """A sequence knows nothing of ids that were given."""
    name = connection.execute(
        text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": table.name}
    ).scalar()
    highest = connection.execute(select(func.max(table.c.id))).scalar()
    if name and highest:
        connection.execute(select(func.setval(name, highest)))
