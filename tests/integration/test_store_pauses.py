"""Pauses as rows, on each kind of store."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.store import pauses
from syncd.store.database import Database
from syncd.store.pauses import Pause, Paused

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def pause(sync: str = "vip", **changes: Any) -> Pause:
    values: dict[str, Any] = {
        "since": NOW,
        "until": NOW + 4 * HOUR,
        "actor": "joe",
        "via": "cli",
        "reason": "CRM migration",
    }
    return Pause(sync=sync, **(values | changes))


def put(database: Database, *made: Pause) -> None:
    with database.begin() as connection:
        for each in made:
            pauses.put(connection, each)


def test_a_pause_comes_back_as_it_was_until_its_end(database: Database) -> None:
    put(database, pause())

    with database.read() as connection:
        last_moment = NOW + 4 * HOUR - timedelta(microseconds=1)
        assert pauses.in_force(connection, "vip", last_moment) == pause()
        assert pauses.in_force(connection, "vip", NOW + 4 * HOUR) is None
        assert pauses.in_force(connection, "other", NOW) is None
        with pytest.raises(Paused):
            pauses.require_none(connection, "vip", NOW)
        pauses.require_none(connection, "vip", NOW + 4 * HOUR)


def test_a_later_pause_takes_the_place_of_an_earlier_one(database: Database) -> None:
    second = pause(actor="ana", until=None)
    put(database, pause())

    with database.begin() as connection:
        before = pauses.put(connection, second)

    with database.read() as connection:
        found = pauses.all_in_force(connection, NOW + 1000 * HOUR)
    assert before == pause()
    assert found == {"vip": second}


def test_each_pause_that_is_over_goes_to_one_caller(database: Database) -> None:
    over, lasts, forever = pause("a"), pause("b", until=NOW + 9 * HOUR), pause("c")
    put(database, over, lasts, pause("c", until=None))
    at = NOW + 4 * HOUR

    with database.read() as connection:
        early = pauses.any_ended(connection, NOW), pauses.any_ended(connection, at)
    with database.begin() as connection:
        ended = pauses.take_ended(connection, at)
        again = pauses.take_ended(connection, at)
        left = pauses.all_in_force(connection, NOW)

    assert early == (False, True)
    assert (ended, again) == ([over], [])
    assert left.keys() == {lasts.sync, forever.sync}


def test_removing_returns_what_was_there(database: Database) -> None:
    put(database, pause())

    with database.begin() as connection:
        assert pauses.remove(connection, "vip") == pause()
        assert pauses.remove(connection, "vip") is None
