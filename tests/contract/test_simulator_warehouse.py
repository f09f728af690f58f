"""The warehouse file of the demo and the tests."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.simulator import warehouse


def made(tmp_path: Path) -> Path:
    path = tmp_path / "warehouse.db"
    warehouse.create(path)
    return path


def select(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_people_are_distinct_and_the_same_for_the_same_seed():
    many, few = warehouse.people(5_000, seed=7), warehouse.people(10, seed=7)

    assert len(set(many)) == 5_000
    assert many[:10] == few
    assert few != warehouse.people(10, seed=8)


def test_both_shapes_hold_the_same_audience(tmp_path):
    path = made(tmp_path)
    ids = warehouse.people(100)
    warehouse.add_people(path, ids)

    warehouse.enter(path, "vip", ids[:60])
    warehouse.leave(path, "vip", ids[:10])

    engage = select(path, "SELECT user_id FROM users WHERE vip")
    assert warehouse.members(path, "vip") == set(ids[10:60])
    assert {row[0] for row in engage} == set(ids[10:60])


def test_who_left_has_a_false_trait_and_who_never_entered_has_none(tmp_path):
    path = made(tmp_path)
    warehouse.add_people(path, ["ann-1", "bob-1"])
    warehouse.enter(path, "vip", ["ann-1"])

    warehouse.leave(path, "vip", ["ann-1"])

    assert select(path, "SELECT value FROM user_traits") == [("false",)]
    engage = select(path, "SELECT user_id, vip FROM users ORDER BY user_id")
    assert engage == [("ann-1", 0), ("bob-1", None)]


def test_audiences_do_not_touch_each_other(tmp_path):
    path = made(tmp_path)
    warehouse.enter(path, "vip", ["ann-1", "bob-1"])
    warehouse.enter(path, "lapsed", ["bob-1"])

    warehouse.leave(path, "vip", ["bob-1"])

    assert warehouse.members(path, "vip") == {"ann-1"}
    assert warehouse.members(path, "lapsed") == {"bob-1"}


def test_a_profile_has_other_identifiers_beside_its_user_id(tmp_path):
    path = made(tmp_path)

    warehouse.add_people(path, ["ann-1"])

    kinds = select(path, "SELECT type FROM user_identifiers ORDER BY type")
    assert kinds == [("email",), ("user_id",)]


def test_rows_carry_the_caller_s_time_and_a_growing_seq(tmp_path):
    path = made(tmp_path)
    warehouse.enter(path, "vip", ["ann-1"], at=datetime(2030, 1, 1, tzinfo=UTC))
    warehouse.enter(path, "vip", ["bob-1"], at=datetime(2030, 1, 2, tzinfo=UTC))

    rows = select(path, "SELECT seq, received_at FROM user_traits ORDER BY seq")

    assert rows[0][0] < rows[1][0]
    assert rows[0][1].startswith("2030-01-01")


def test_wrong_use_is_refused(tmp_path):
    path = made(tmp_path)

    with pytest.raises(FileExistsError):
        warehouse.create(path)
    with pytest.raises(FileNotFoundError):
        warehouse.enter(tmp_path / "none.db", "vip", ["ann-1"])
    with pytest.raises(ValueError, match="audience key"):
        warehouse.enter(path, 'vip"; DROP TABLE users', ["ann-1"])
