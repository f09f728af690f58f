"""The look at a SQLite file finds what SQLite's own, which reads more, would find."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from syncd.store.damage import damage_of
from tests.builders import new_database

ROWS = 40
INDEX = "sqlite_autoindex_chunk_1"
PAGE = 4096
SCHEMA = "SELECT sql FROM sqlite_master WHERE name = 'chunk'"
SET_SCHEMA = "UPDATE sqlite_master SET sql = ? WHERE name = 'chunk'"
ADD = "INSERT INTO chunk VALUES (1, {bucket}, 1, 0, '{ids}', NULL)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with chunks of a page or two each, below a binding."""
    new_database(tmp_path).close()
    path = tmp_path / "syncd.db"
    with closing(sqlite3.connect(path)) as raw:
        columns = len(raw.execute("PRAGMA table_info(binding)").fetchall())
        values = ", ".join("1" * columns)
        raw.execute(f"INSERT INTO binding VALUES ({values})")
        for bucket in range(ROWS):
            raw.execute(ADD.format(bucket=bucket, ids="person " * 1_000))
        raw.commit()
    return path


@contextmanager
def without_index(file: Path) -> Iterator[sqlite3.Connection]:
    """The store as one would write to it that knows of no index of `chunk`."""
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        kept = raw.execute("SELECT * FROM sqlite_master WHERE name = ?", (INDEX,))
        index = kept.fetchone()
        (whole,) = raw.execute(SCHEMA).fetchone()
        bare = re.sub(r"CONSTRAINT pk_chunk PRIMARY KEY \([^)]*\),", "", whole)
        assert bare != whole
        raw.execute(SET_SCHEMA, (bare,))
        raw.execute("DELETE FROM sqlite_master WHERE name = ?", (INDEX,))
    with closing(sqlite3.connect(file)) as raw, raw:
        yield raw
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute(SET_SCHEMA, (whole,))
        raw.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)


def damage(file: Path) -> str:
    with closing(sqlite3.connect(file)) as raw:
        return damage_of(raw)


def test_a_store_of_many_people_is_whole(file: Path) -> None:
    assert damage(file) == ""


@pytest.mark.parametrize(
    "write",
    [
        ADD.format(bucket=ROWS, ids="person"),
        "DELETE FROM chunk WHERE bucket = 3",
        "UPDATE chunk SET bucket = 1003 WHERE bucket = 3",
        "UPDATE chunk SET binding_id = 2 WHERE bucket = 3",
        "UPDATE chunk SET rowid = 1003 WHERE bucket = 3",
        # As many entries as rows, and each entry has its row.
        "UPDATE chunk SET bucket = 4 WHERE bucket = 3",
    ],
)
def test_a_chunk_that_its_index_does_not_lead_to_is_found(
    file: Path, write: str
) -> None:
    with without_index(file) as raw:
        assert raw.execute(write).rowcount == 1

    found = damage(file)

    assert found == f"{INDEX} does not lead to the rows of chunk"
    with closing(sqlite3.connect(file)) as raw:
        (said,) = raw.execute("PRAGMA integrity_check(chunk)").fetchone()
    assert said != "ok", "SQLite's own check, which reads all of it again, agrees"


@pytest.mark.parametrize(
    "write",
    [
        "UPDATE chunk SET binding_id = 2 WHERE bucket = 3",
        "INSERT INTO batch_ids VALUES (7, 0, 'person')",
    ],
)
def test_people_who_belong_to_nothing_are_found(file: Path, write: str) -> None:
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute(write)

    assert damage(file).endswith("belong to nothing")


def test_a_page_that_is_damaged_is_found_though_nothing_but_text_is_in_it(
    file: Path,
) -> None:
    """An overflow page that leads nowhere: the chunk's text ends in the middle."""
    content = bytearray(file.read_bytes())
    page = content.rindex(b"person person") // PAGE * PAGE
    content[page : page + 4] = (2**31 - 1).to_bytes(4)
    file.write_bytes(content)

    found = damage(file)

    assert found
    assert "person" not in found
