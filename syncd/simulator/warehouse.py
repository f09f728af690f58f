"""A customer's warehouse in one SQLite file, for the demo and the tests.

It holds the same audiences in both shapes of Segment's documents: the materialized
tables of Profiles Sync (`user_traits`, `user_identifiers`) and Engage's `users` table
with one boolean column per audience key. Someone who left has the trait `false`, as in
Segment; someone who never entered has none.

Every function opens the file, does one transaction and closes it. Times come from the
caller, so that the file can live on a fast clock.
"""

import hashlib
import random
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

SCHEMA = """
CREATE TABLE user_traits (
    canonical_segment_id TEXT NOT NULL, name TEXT NOT NULL, value TEXT,
    seq INTEGER NOT NULL, received_at TEXT NOT NULL, uuid_ts TEXT NOT NULL,
    timestamp TEXT NOT NULL, PRIMARY KEY (name, canonical_segment_id)
) WITHOUT ROWID;
CREATE TABLE user_identifiers (
    canonical_segment_id TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL,
    seq INTEGER NOT NULL, received_at TEXT NOT NULL, uuid_ts TEXT NOT NULL,
    timestamp TEXT NOT NULL, PRIMARY KEY (canonical_segment_id, type, value)
) WITHOUT ROWID;
CREATE TABLE users (user_id TEXT PRIMARY KEY, received_at TEXT NOT NULL);
"""
START = datetime(2026, 1, 1, tzinfo=UTC)
"""The time of rows whose time does not matter."""

KEY = re.compile(r"[a-z][a-z0-9_]*")
"""An audience key, as Segment makes it from a name; it becomes a column name."""


def people(count: int, seed: int = 1) -> list[str]:
    """User ids: `count` different ones, the same for the same seed.

    A longer list begins with the shorter one.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable, guards nothing
    made: dict[str, None] = {}
    while len(made) < count:
        made[f"usr_{dice.getrandbits(48):012x}"] = None
    return list(made)


def create(path: Path) -> None:
    """Make an empty warehouse. Raises FileExistsError when the file exists."""
    path.touch(exist_ok=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)


def add_people(path: Path, ids: Iterable[str], *, at: datetime = START) -> None:
    """Add profiles; those that exist stay as they are."""
    with _transaction(path) as connection:
        _add(connection, list(ids), at)


def enter(
    path: Path, audience: str, ids: Iterable[str], *, at: datetime = START
) -> None:
    """Put people into an audience; unknown people become profiles."""
    _move(path, audience, list(ids), member=True, at=at)


def leave(
    path: Path, audience: str, ids: Iterable[str], *, at: datetime = START
) -> None:
    """Take people out of an audience; their trait turns false."""
    _move(path, audience, list(ids), member=False, at=at)


def members(path: Path, audience: str) -> set[str]:
    """Who is in an audience, by the query of Segment's documents."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT DISTINCT i.value FROM user_traits t"
            " JOIN user_identifiers i USING (canonical_segment_id)"
            " WHERE t.name = ? AND t.value = 'true' AND i.type = 'user_id'",
            (audience,),
        )
        return {row[0] for row in rows}


@contextmanager
def _transaction(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.exists():
        raise FileNotFoundError(path)
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        yield connection


def _profile(user_id: str) -> str:
    """The canonical segment id of a person: the same in every warehouse."""
    return f"use_{hashlib.sha256(user_id.encode()).hexdigest()[:27]}"


def _stamps(at: datetime) -> tuple[int, str, str, str]:
    """The last columns of both Profiles Sync tables: seq and three times."""
    text = at.astimezone(UTC).isoformat(sep=" ")
    return int(at.timestamp() * 1_000_000), text, text, text


def _add(connection: sqlite3.Connection, ids: list[str], at: datetime) -> None:
    stamps = _stamps(at)
    connection.executemany(
        "INSERT OR IGNORE INTO user_identifiers VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (_profile(one), kind, value, *stamps)
            for one in ids
            for kind, value in (("user_id", one), ("email", f"{one}@mail.example"))
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO users (user_id, received_at) VALUES (?, ?)",
        ((one, stamps[1]) for one in ids),
    )


def _move(
    path: Path, audience: str, ids: list[str], *, member: bool, at: datetime
) -> None:
    if not KEY.fullmatch(audience):
        raise ValueError(f"{audience!r} is no audience key")
    with _transaction(path) as connection:
        _add(connection, ids, at)
        value, stamps = "true" if member else "false", _stamps(at)
        connection.executemany(
            "INSERT OR REPLACE INTO user_traits VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((_profile(one), audience, value, *stamps) for one in ids),
        )
        columns = connection.execute("SELECT name FROM pragma_table_info('users')")
        if (audience,) not in columns.fetchall():
            connection.execute(f'ALTER TABLE users ADD COLUMN "{audience}" BOOLEAN')
        connection.executemany(
            f'UPDATE users SET "{audience}" = ? WHERE user_id = ?',  # noqa: S608 - KEY
            ((int(member), one) for one in ids),
        )
