"""Conditions as both stores keep them: what was told is told once, by one replica."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from syncd.model import Condition
from syncd.store import conditions
from syncd.store.database import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def held(channel: str = "ops", sync: str = "vip", **changes: object) -> Condition:
    made = Condition(
        channel=channel,
        kind="held",
        subject=sync,
        sync=sync,
        cause="guard.max_exit",
        text=f"{sync} is held",
        opened_at=NOW,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def put(database: Database, *rows: Condition) -> None:
    with database.begin() as connection:
        conditions.put(connection, rows)


def unclosed(database: Database) -> list[Condition]:
    with database.read() as connection:
        return conditions.unclosed(connection)


def note(database: Database, row: Condition, at: datetime = LATER) -> bool:
    with database.begin() as connection:
        return conditions.note_told(connection, row, at)


def test_a_condition_is_kept_as_it_is_for_each_channel(database: Database) -> None:
    quota = Condition(
        channel="pager",
        kind="quota",
        subject="eu:187520",
        sync=None,
        cause="",
        text="…",
        opened_at=LATER,
    )

    put(database, held(), held("pager"), quota)

    assert unclosed(database) == [held(), held("pager"), quota]
    assert quota.key == "pager/quota/eu:187520"


def test_of_two_replicas_that_told_the_same_one_notes_it(database: Database) -> None:
    put(database, held())

    first, second = note(database, held()), note(database, held())

    assert (first, second) == (True, False)
    assert unclosed(database)[0].told_at == LATER
    assert note(database, held(told_at=LATER), LATER + timedelta(hours=12))


def test_what_was_told_of_a_former_condition_is_not_noted_for_a_new_one(
    database: Database,
) -> None:
    before = held()
    put(database, held(opened_at=LATER))

    assert not note(database, before)
    assert unclosed(database)[0].told_at is None


@pytest.mark.parametrize(
    ("told_at", "is_there"),
    [(NOW, True), (LATER, False), (LATER + timedelta(hours=1), False)],
)
def test_a_row_is_closed_once_its_end_was_told(
    database: Database, told_at: datetime, *, is_there: bool
) -> None:
    put(database, held(told_at=told_at, resolved_at=LATER))

    assert bool(unclosed(database)) is is_there


def test_what_comes_back_takes_the_place_of_what_was(database: Database) -> None:
    put(database, held(told_at=LATER, resolved_at=LATER))

    put(database, held(opened_at=LATER, text="again"))

    (only,) = unclosed(database)
    assert (only.opened_at, only.told_at, only.resolved_at) == (LATER, None, None)
    assert only.text == "again"


def test_rows_that_nobody_is_to_hear_of_are_taken_away(database: Database) -> None:
    put(database, held(), held("pager"))

    with database.begin() as connection:
        conditions.drop(connection, ["ops/held/vip", "ops/held/unknown"])

    assert [row.channel for row in unclosed(database)] == ["pager"]


def test_only_what_is_long_over_is_pruned(database: Database) -> None:
    over = NOW - timedelta(days=31)
    put(
        database,
        held("old", resolved_at=over, told_at=over),
        held("new", resolved_at=NOW, told_at=NOW),
        held("open", opened_at=over),
    )

    with database.begin() as connection:
        assert conditions.prune(connection, NOW) == 1
        assert conditions.prune(connection, NOW) == 0
    assert [row.channel for row in unclosed(database)] == ["open"]
