"""That a backup was made, noted in the store and told in the log."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from syncd import events
from syncd.app.engine import Engine
from syncd.app.store import locked
from syncd.events import emit
from syncd.store import installation
from syncd.store.database import Connection, Database


def note(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"file", "bytes", "error", "actor", "via"}` -> `{}`: how a backup ended."""
    if body["error"]:
        emit(events.STORE_BACKUP_FAILED, file=body["file"], error=body["error"])
        return {}
    with engine.database.begin() as connection:
        _note(connection, body, engine.clock.wall())
    return {}


def note_alone(url: str, body: Mapping[str, Any], now: datetime) -> None:
    """The same where no daemon works on the SQLite store, whatever its schema is.

    Raises `StoreInUse` while another process works on it.
    """
    with locked(url):
        database = Database(url, readers=1)
        try:
            with database.begin() as connection:
                _note(connection, body, now)
        finally:
            database.close()


def _note(connection: Connection, body: Mapping[str, Any], now: datetime) -> None:
    installation.note_backup(connection, now)
    emit(
        events.STORE_BACKUP_FINISHED,
        file=body["file"],
        bytes=int(body["bytes"]),
        actor=body["actor"],
        via=body["via"],
    )
