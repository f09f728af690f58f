"""Feeds that nobody reads do not stay for ever, on SQLite and on Postgres."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from syncd.app.unread import drop_unread
from syncd.model import Feed, IdType, Message, Told, Trigger
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.tables import inbox as words
from tests.builders import NOW, World, people, settings_of

MONTH = timedelta(days=31)
Prepare = Callable[[World], None]


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, spool=tmp_path)


def unread(key: str = "old") -> Feed:
    return Feed(connection="engage", key=key, id_type=IdType.USER_ID)


def say(world: World, feed: Feed) -> None:
    told = Told(feed=feed, ids=tuple(sorted(people(1, 2))), inside=True, at=None)
    message = Message(connection=feed.connection, id="", told=(told,))
    with world.database.begin() as connection:
        inbox.take(connection, [message], world.clock.now())


def after(world: World, by: timedelta) -> list[str]:
    """The keys of the feeds that are left once the daily prune was due."""
    world.clock.advance(by)  # type: ignore[attr-defined]
    settings = settings_of(*world.syncs.values())
    with world.database.begin() as connection:
        drop_unread(connection, settings, world.clock.now())
        return [row.feed.key for row in inbox.feeds(connection)]


def test_a_feed_that_no_sync_reads_goes_with_its_words_after_30_silent_days(
    world: World,
) -> None:
    say(world, unread())

    assert after(world, timedelta(days=29)) == ["old"]
    assert after(world, timedelta(days=2)) == []
    with world.database.read() as connection:
        count = connection.execute(select(func.count()).select_from(words))
        assert count.scalar_one() == 0


def test_one_in_which_somebody_still_speaks_stays(world: World) -> None:
    say(world, unread())
    assert after(world, timedelta(days=20)) == ["old"]
    say(world, unread())

    assert after(world, timedelta(days=20)) == ["old"]


@pytest.mark.parametrize("enabled", [True, False])
def test_one_that_a_configured_sync_reads_stays_however_silent(
    world: World, enabled: bool
) -> None:
    world.fed("vip", enabled=enabled)

    assert after(world, MONTH) == ["vip"]


def test_one_that_a_plan_was_made_of_stays_though_the_sync_is_gone(
    world: World,
) -> None:
    """It may come back, and must find out that it lacks words."""
    feed = world.fed("vip")
    world.vendor.known = people(1)
    feed.say(enter=people(1), at=NOW)
    with world.engine() as engine:
        engine.run("vip", Trigger.MANUAL)
    world.syncs.clear()

    assert after(world, MONTH) == ["vip"]


def test_a_sender_that_comes_back_makes_its_feed_anew(world: World) -> None:
    say(world, unread())
    assert after(world, MONTH) == []

    say(world, unread())

    assert after(world, timedelta(0)) == ["old"]
