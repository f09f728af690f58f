"""A store on a fast clock tells its readers which clock that is."""

from datetime import UTC, datetime

from syncd.cli.frame import Frame
from syncd.cli.store import on_its_clock
from syncd.clock import Clock
from syncd.store import installation
from syncd.store.database import Database

ORIGIN = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def frame() -> Frame:
    return Frame(read_environ=dict)


def seen_by(database: Database) -> Clock:
    with database.read() as connection:
        return on_its_clock(frame(), connection).clock


def test_a_store_in_real_time_is_read_in_real_time(database: Database) -> None:
    assert seen_by(database) == Clock()


def test_a_fast_store_is_read_on_the_clock_of_its_newest_daemon(
    database: Database,
) -> None:
    for speed in (60.0, 1800.0):
        with database.begin() as connection:
            installation.keep_fast_clock(connection, speed, ORIGIN)

    assert seen_by(database) == Clock(speed=1800.0, origin=ORIGIN)
