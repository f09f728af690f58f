"""The clock of a database that several machines share, between two looks at it."""

from datetime import UTC, datetime, timedelta

from syncd.clock import Clock, Reference, elapsed

HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=1)


def told(clock: Clock, at: datetime, ago: float = 0.0, took: float = 0.0) -> None:
    """The shared clock showed `at` some seconds ago, asked within `took` seconds."""
    now = elapsed() - ago
    clock.reference.follow(at, now - took, now)


def test_a_clock_that_was_told_nothing_is_the_machines() -> None:
    clock = Clock()

    assert abs(clock.wall() - datetime.now(UTC)) < MOMENT
    assert clock.to_virtual(datetime(2026, 11, 23, tzinfo=UTC)) == clock.to_machine(
        datetime(2026, 11, 23, tzinfo=UTC)
    )


def test_the_shared_clock_goes_on_between_two_looks() -> None:
    clock, at = Clock(), datetime(2031, 1, 1, tzinfo=UTC)

    told(clock, at, ago=60)

    assert timedelta(seconds=60) <= clock.now() - at < timedelta(seconds=61)
    assert clock.machine().year != at.year


def test_timers_go_by_the_machines_clock() -> None:
    clock = Clock()
    told(clock, datetime.now(UTC) + HOUR)

    due = datetime(2026, 11, 23, 9, tzinfo=UTC)

    assert abs(clock.to_machine(due) - (due - HOUR)) < MOMENT
    assert abs(clock.to_virtual(clock.to_machine(due)) - due) < MOMENT


def test_a_fast_clock_runs_fast_from_the_shared_one() -> None:
    origin = datetime.now(UTC) + HOUR
    clock = Clock(speed=1_000, origin=origin)

    told(clock, origin, ago=10)

    assert abs(clock.now() - (origin + timedelta(seconds=10_000))) < 100 * MOMENT


def test_what_is_only_the_way_of_the_question_moves_no_clock() -> None:
    reference = Reference()
    at = datetime(2026, 11, 23, tzinfo=UTC)
    reference.follow(at, 100.0, 100.002)

    reference.follow(at + timedelta(seconds=10.04), 110.0, 110.1)
    kept = reference.now()
    reference.follow(at + timedelta(seconds=80), 120.0, 120.002)

    assert reference.now() - kept > timedelta(seconds=50)
