"""Where a store may be copied to: an empty place, or one that holds nothing any more.

Nothing to lose has half a copy of ours, a schema without a row, and the store that the
source itself was copied from: that one was retired then, and knows less.
"""

from sqlalchemy import Connection, Table, inspect, select, text

from syncd.errors import StoreRefused
from syncd.store import gate
from syncd.store.migrate import REVISIONS, standing
from syncd.store.tables import inbox_position, metadata

_JOBS = "procrastinate_jobs"


def clear(target: Connection, copy_of_source: str | None) -> None:
    """Have nothing of ours there. Raises `StoreRefused` where somebody would miss it.

    `copy_of_source` is the copy that the source was made by.
    """
    _require_text_of_all(target)
    tables = set(inspect(target).get_table_names())
    if _JOBS in tables:
        raise StoreRefused(
            "tables of the job engine are there, whose jobs are of another time",
            code="copy.taken",
            hint="copy into an empty database",
        )
    ours = [each for each in metadata.sorted_tables if each.name in tables]
    if gate.VERSION.name not in tables and not ours:
        return
    revision = standing(target)
    if not _is_given_up(target, revision, copy_of_source, ours):
        raise StoreRefused(
            "there is a store already, or tables of another program",
            code="copy.taken",
            hint="copy into an empty database, or a file that is not there yet",
        )
    target.execute(text("DROP VIEW IF EXISTS member"))
    metadata.drop_all(target)
    target.execute(text("DROP TABLE alembic_version"))


def _is_given_up(
    target: Connection,
    revision: str | None,
    copy_of_source: str | None,
    ours: list[Table],
) -> bool:
    if gate.is_unfinished(revision):
        return True
    if revision == gate.MOVED:
        moved = gate.move(target)
        return moved is not None and moved.copy == copy_of_source
    return revision in REVISIONS and not any(_has_rows(target, each) for each in ours)


def _has_rows(target: Connection, table: Table) -> bool:
    if table is inbox_position:
        return False  # its only row comes with the schema
    return target.execute(select(1).select_from(table).limit(1)).first() is not None


def _require_text_of_all(target: Connection) -> None:
    """An id may be in any script; a database of another encoding refuses some."""
    if target.dialect.name == "sqlite":
        return
    encoding = target.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        raise StoreRefused(
            f"the database has the encoding {encoding}, and ids are UTF-8",
            code="copy.encoding",
            hint="createdb --encoding=UTF8 --template=template0 NAME",
        )
