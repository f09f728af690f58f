"""Space of a SQLite file goes back to the disk once its rows are gone."""

from pathlib import Path

from sqlalchemy import delete, insert

from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate
from syncd.store.tables import meta


def test_pages_that_were_freed_are_returned(tmp_path: Path) -> None:
    file = tmp_path / "syncd.db"
    create_file(file)
    database = Database(f"sqlite:///{file}")
    migrate(database)
    with database.begin() as connection:
        rows = [{"key": str(n), "value": "x" * 1000} for n in range(9000)]
        connection.execute(insert(meta), rows)
    with database.begin() as connection:
        connection.execute(delete(meta))
    pages_before = _pages(database)

    database.give_space_back()

    assert _pages(database) < pages_before / 10
    database.close()


def _pages(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
