"""The scan of all output.

It is part of every installation (`tests/installed.py`): what any of its processes
printed, and the files they wrote, are searched at the end of every test.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.canaries import Output, leaks, secrets_in, spellings
from tests.installed import Installation


@pytest.fixture
def vip(installation: Installation) -> Installation:
    """A cohort fed by a file."""
    installation.sync("vip")
    installation.audience(["canary-1@bird.example"])
    return installation


def test_a_key_in_the_wrong_place_of_the_configuration_is_not_repeated(
    vip: Installation,
) -> None:
    vip.secret("misplaced", wrong := "misplaced-key-0123456789")
    vip.config["connections"]["amplitude"]["api_key"] = wrong
    vip.config["connections"]["amplitude"]["owner"] = {"key": wrong}
    vip.config["syncs"][0]["schedule"] = wrong
    vip.config["store"]["url"] = f"postgresql://syncd:{wrong}@127.0.0.1:1/syncd"

    ended = [vip.syncd(verb) for verb in ("check", "run", "doctor", "status")]

    assert all(each.code != 0 for each in ended)
    assert wrong not in "".join(each.out + each.err for each in ended)


# ---- the scan itself -----------------------------------------------------------------

SECRET = "s3cret/+ \u00e9-value"
"""With a letter that every spelling writes differently."""


@pytest.mark.parametrize("form", sorted(spellings(SECRET)))
def test_the_scan_finds_a_secret_however_it_is_spelled(form: str) -> None:
    text = f'first line\n{{"event":"batch.sent","error":"xx{form}yy"}}\nlast'

    (where, *_) = secrets_in(text, {"api_key": [SECRET]})

    assert where.startswith("line 2 (batch.sent): the secret api_key, ")
    assert SECRET not in where


def store(folder: Path, *ids: str) -> Path:
    """As much of a store as the scan reads."""
    path = folder / "syncd.db"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE inbox (member_id TEXT)")
        made.executemany("INSERT INTO inbox VALUES (?)", [(each,) for each in ids])
        made.commit()
    return path


@pytest.mark.parametrize(
    ("verb", "text", "expected"),
    [
        ("run", "sent person-000777 away", ["out, line 1: a member id"]),
        ("run", "a\nb ada7@x.example", ["out, line 2: a member id"]),
        ("run", "person-12 is a cohort's name", []),
        ("run", "run 01f3a7 of vip-2, 777 ids", []),
        ("members", "person-000777", []),
    ],
)
def test_the_scan_knows_people_by_the_shape_of_their_ids(
    tmp_path: Path, verb: str, text: str, expected: list[str]
) -> None:
    database = store(tmp_path, "person-000001", "ada1@x.example", "777")
    said = Output(name="out", verb=verb, text=text)
    config = '{"cohort": "person-12"}'

    assert leaks(tmp_path, database, [said], no_secrets(), config) == expected


def test_the_scan_reads_the_files_that_the_product_wrote(tmp_path: Path) -> None:
    database = store(tmp_path, "person-000001")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "run.tmp").write_text("x\nthe key is demo-key-1234")
    (tmp_path / "syncd.json").write_text("demo-key-1234")

    places = leaks(tmp_path, database, [], {"api_key": ["demo-key-1234"]}, "")

    assert places == ["spool/run.tmp, line 2: the secret api_key, plain"]


def no_secrets() -> Mapping[str, list[str]]:
    return {}
