"""A run, from its source to its canonical line: every way it can end."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.clock import Clock
from syncd.config.settings import GuardSettings, ToCohort
from syncd.errors import SourceUnavailable, SourceUntrusted
from syncd.model import Operation, Outcome, Trigger
from syncd.store import leases, runs
from syncd.store.database import Database
from syncd.sync import finish
from syncd.sync.beginning import Busy
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    GONE,
    NOW,
    REFUSED,
    UNAUTHORIZED,
    Cohort,
    Mortal,
    Trouble,
    World,
    believed,
    canonical,
    held_run,
    people,
    rows,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
FAILING = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="fail")


def run(engine: Engine, world: World, name: str = "vip") -> Report:
    """One manual run, a second after whatever was before."""
    world.clock.advance(SECOND)  # type: ignore[attr-defined]
    report = engine.run(name, Trigger.MANUAL)
    assert report is not None
    return report


@contextmanager
def synced(world: World, *numbers: int, **changes: Any) -> Iterator[Engine]:
    """An engine whose sync had its first run with these people."""
    source = world.sync(members=people(*numbers), **changes)
    world.vendor.known |= source.members
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS
        world.vendor.requests.clear()
        yield engine


def named(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


def outcomes(world: World) -> list[str | None]:
    found = rows(world.database, "SELECT outcome FROM run ORDER BY started_at, id")
    return [row[0] for row in found]


# ---- what goes well -----------------------------------------------------------------


def test_a_first_run_creates_the_cohort_and_sends_everybody(world: World) -> None:
    world.sync(members=people(*range(7)))
    world.vendor.known = people(*range(7))

    with world.engine() as engine:
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(7))
    creation, first, *_ = world.vendor.requests
    assert creation.cohort is None
    assert first.ids == creation.ids, "creating proves nobody: the batch goes again"
    assert believed(world.database).acknowledged == people(*range(7))
    assert {
        name: report.numbers[name]
        for name in ("entered", "exited", "members_after", "batches", "requests")
    } == {
        "entered": 7,
        "exited": 0,
        "members_after": 7,
        "batches": 3,
        "requests": 4,
    }


def test_a_later_run_sends_only_who_entered_and_who_exited(world: World) -> None:
    with synced(world, *range(7)) as engine:
        world.vendor.known |= people(20)
        world.sources["vip"].members = people(1, 2, 3, 4, 5, 6, 20)
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.sent(Operation.ADD) == list(people(20))
    assert world.vendor.sent(Operation.REMOVE) == list(people(0))


def test_a_second_run_without_changes_sends_nothing(world: World) -> None:
    world.sync(members=people(*range(7)))
    world.vendor.known = people(*range(5))

    with world.engine() as engine:
        run(engine, world)
        before = len(world.vendor.requests)
        report = run(engine, world)

    assert report.outcome is Outcome.NO_CHANGE
    assert len(world.vendor.requests) == before
    assert world.sources["vip"].reads == 2


def test_an_unknown_person_is_offered_again_when_due_and_not_before(
    world: World,
) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1)
    with world.engine() as engine:
        first = run(engine, world)
        world.vendor.known |= people(2)
        early = run(engine, world)
        world.clock.advance(HOUR)  # type: ignore[attr-defined]
        late = run(engine, world)

    assert (first.outcome, first.numbers["unmatched"]) == (Outcome.SUCCESS, 1)
    assert early.outcome is Outcome.NO_CHANGE
    assert (late.outcome, late.numbers["entered"]) == (Outcome.SUCCESS, 1)
    assert world.vendor.cohort.members == people(1, 2)


def test_a_clean_run_says_at_most_five_things(
    world: World, lines: list[EventDict]
) -> None:
    with synced(world, *range(5)) as engine:
        first = [line["event"] for line in lines if line["log_level"] == "info"]
        lines.clear()
        world.sources["vip"].members |= people(7)
        world.vendor.known |= people(7)
        run(engine, world)

    assert len(first) <= 7, "the first run also says what it found and made"
    told = [line["event"] for line in lines if line["log_level"] == "info"]
    assert told == [
        "run.started",
        "snapshot.taken",
        "diff.computed",
        "changes.committed",
        "run.finished",
    ]
    assert not [line for line in lines if line["log_level"] in {"warning", "error"}]


def test_an_existing_cohort_of_that_name_is_adopted_and_its_members_stay(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1))
    world.vendor.known = people(1, 2)
    world.vendor.cohorts["c9"] = Cohort(id="c9", name="Cohort vip", members=people(2))

    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 2)
    (adopted,) = named(lines, "target.adopted")
    assert (adopted["cohort_id"], adopted["found_size"]) == ("c9", 1)


def test_an_empty_audience_creates_nothing_and_is_a_success(world: World) -> None:
    world.sync(members=())

    with world.engine() as engine:
        report = run(engine, world)

    assert report.outcome in (Outcome.SUCCESS, Outcome.NO_CHANGE)
    assert world.vendor.requests == []


def test_refused_and_doubtful_ids_are_counted_by_reason(world: World) -> None:
    world.sync(members={b"person-1", b" person-2", b"null", b"\xff", b"abc"})
    world.vendor.known = {b"person-1", b"abc"}

    with world.engine() as engine:
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == {b"person-1", b"abc"}
    (stored,) = rows(world.database, "SELECT summary FROM run")
    kept = json.loads(stored[0])
    assert set(kept["refused"]) == {"whitespace_edge", "forbidden_word", "not_utf8"}
    assert set(kept["doubts"]) == {"too_short"}


def test_old_acknowledgements_are_compacted_and_say_the_same(
    world: World, lines: list[EventDict]
) -> None:
    with synced(world, *range(7)) as engine:
        world.sources["vip"].members |= people(8)
        world.vendor.known |= people(8)
        world.clock.advance(25 * HOUR)  # type: ignore[attr-defined]
        run(engine, world)
        again = run(engine, world)

    assert {line["ids"] for line in named(lines, "compact.finished")} == {8}
    assert rows(world.database, "SELECT count(*) FROM batch") == [(0,)]
    assert believed(world.database).acknowledged == people(*range(7), 8)
    assert again.outcome is Outcome.NO_CHANGE


# ---- one canonical line, whatever happens -------------------------------------------


def _raises(world: World, error: Exception) -> None:
    def fail() -> None:
        raise error

    world.sources["vip"].while_reading = fail


def _exit_most(world: World) -> None:
    world.sources["vip"].members = people(0)


def _enter_one(world: World) -> None:
    world.sources["vip"].members |= people(30)


def _enter_into(trouble: Trouble) -> Callable[[World], None]:
    """One person enters, and the first request meets this."""

    def arrange(world: World) -> None:
        _enter_one(world)
        world.vendor.script.append(trouble)

    return arrange


def _enter_unanswered(world: World) -> None:
    _enter_one(world)
    world.vendor.always = FAILED_BEFORE


def _archive(world: World) -> None:
    world.vendor.cohort.archived = True


def _source_raises(error: Exception) -> Callable[[World], None]:
    return lambda world: _raises(world, error)


ENDINGS: dict[str, tuple[Callable[[World], None], Outcome, str]] = {
    "success": (_enter_one, Outcome.SUCCESS, ""),
    "no change": (lambda _: None, Outcome.NO_CHANGE, ""),
    "partial": (_enter_unanswered, Outcome.PARTIAL, "http_5xx"),
    "dead letter": (_enter_into(REFUSED), Outcome.PARTIAL, "dead_letters"),
    "guard": (_exit_most, Outcome.HELD, "guard.max_exit"),
    "archived": (_archive, Outcome.HELD, "target.archived"),
    "gone": (_enter_into(GONE), Outcome.HELD, "target.gone"),
    "credentials": (_enter_into(UNAUTHORIZED), Outcome.FAILED, "auth"),
    "source away": (
        _source_raises(SourceUnavailable("no answer")),
        Outcome.FAILED,
        "source.unavailable",
    ),
    "source not believed": (
        _source_raises(SourceUntrusted("half a file")),
        Outcome.FAILED,
        "source.untrusted",
    ),
    "disk full": (
        _source_raises(OSError(errno.ENOSPC, "No space left on device")),
        Outcome.FAILED,
        "spool",
    ),
    "a bug": (_source_raises(ZeroDivisionError()), Outcome.FAILED, "internal"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_run_ends_with_its_row_closed_and_one_canonical_line(
    world: World, lines: list[EventDict], ending: str
) -> None:
    arrange, outcome, reason = ENDINGS[ending]
    with synced(world, *range(7), guard=STRICT) as engine:
        world.vendor.known |= people(30)
        lines.clear()
        arrange(world)

        report = run(engine, world)

    assert (report.outcome, report.reason) == (outcome, reason)
    assert canonical(lines) == {report.run_id: 1}
    (line,) = named(lines, "run.finished")
    assert line["outcome"] == outcome
    assert line["sync"] == "vip"
    assert outcomes(world)[-1] == outcome
    with world.database.read() as connection:
        assert not leases.in_other_hands(connection, "vip", "somebody", NOW + HOUR)


def test_a_source_that_fails_removes_nobody(world: World) -> None:
    with synced(world, *range(7)) as engine:
        world.sources["vip"].members = people(1)
        _raises(world, SourceUntrusted("half a file"))
        run(engine, world)

    assert world.vendor.requests == []
    assert believed(world.database).acknowledged == people(*range(7))


def test_a_guard_that_is_to_fail_stores_no_plan(world: World) -> None:
    with synced(world, *range(7), guard=FAILING) as engine:
        _exit_most(world)
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "guard.max_exit")
    assert held_run(world.database) is None
    assert world.vendor.requests == []


def test_a_named_cohort_that_is_not_listed_holds_the_sync(world: World) -> None:
    named_one = ToCohort(
        connection="amplitude", cohort_id="c404", cohort="VIP", owner=None
    )
    world.sync(members=people(1), target=named_one)

    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.HELD, "target.not_found")
    assert world.vendor.requests == []


# ---- what is left over --------------------------------------------------------------


def test_open_batches_of_an_unchanged_source_are_sent_again_as_they_stand(
    world: World,
) -> None:
    with synced(world, *range(7)) as engine:
        world.vendor.known |= people(30)
        _enter_one(world)
        world.vendor.always = FAILED_BEFORE
        partial = run(engine, world)
        batch = rows(world.database, "SELECT max(id) FROM batch")
        world.vendor.always = None
        healed = run(engine, world)

    assert partial.numbers["waiting"] == 1
    assert healed.outcome is Outcome.SUCCESS
    assert rows(world.database, "SELECT max(id) FROM batch") == batch
    assert world.vendor.cohort.members == people(*range(7), 30)


def test_an_open_entry_whose_person_left_meanwhile_is_asserted_as_an_exit(
    world: World,
) -> None:
    with synced(world, *range(7)) as engine:
        world.vendor.known |= people(30)
        _enter_one(world)
        world.vendor.script.extend([UNAUTHORIZED])
        run(engine, world)
        world.sources["vip"].members = people(*range(7))
        world.clock.advance(HOUR)  # type: ignore[attr-defined]
        world.vendor.requests.clear()
        healed = run(engine, world)

    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.sent(Operation.REMOVE) == list(people(30))
    assert healed.numbers["reasserted"] == 1


def test_a_dead_letter_is_taken_over_by_the_next_run(world: World) -> None:
    with synced(world, *range(7)) as engine:
        world.vendor.known |= people(30)
        _enter_one(world)
        world.vendor.script.append(REFUSED)
        run(engine, world)
        assert believed(world.database).uncertain == people(30)

        healed = run(engine, world)

    assert healed.outcome is Outcome.SUCCESS
    assert healed.numbers["dead"] == 0
    assert world.vendor.cohort.members == people(*range(7), 30)


# ---- stopping and dying -------------------------------------------------------------


def test_a_run_stopped_while_reading_is_redone_at_the_next_start(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1, 2, 3))
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        world.sources["vip"].while_reading = engine.stop
        stopped = run(engine, world)
    world.sources["vip"].while_reading = lambda: None

    with world.engine() as engine:
        cut_off = engine.close_abandoned()
        world.clock.advance(SECOND)  # type: ignore[attr-defined]
        redone = engine.resume("vip")

    assert (stopped.outcome, stopped.reason) == (Outcome.INTERRUPTED, "shutdown")
    assert cut_off == ["vip"]
    assert redone is not None
    assert (redone.trigger, redone.outcome) == (Trigger.CATCH_UP, Outcome.SUCCESS)
    assert canonical(lines) == {stopped.run_id: 1, redone.run_id: 1}
    assert named(lines, "run.interrupted")


def test_a_stop_lets_the_request_in_flight_finish_and_the_rest_is_resumed(
    world: World,
) -> None:
    world.sync(members=people(*range(9)))
    world.vendor.known = people(*range(9))
    with world.engine() as engine:
        world.vendor.watch = lambda _: engine.stop()
        stopped = run(engine, world)
    world.vendor.watch = lambda _: None
    made = len(world.vendor.requests)

    with world.engine() as engine:
        assert engine.close_abandoned() == ["vip"]
        world.clock.advance(SECOND)  # type: ignore[attr-defined]
        resumed = engine.resume("vip")

    assert stopped.outcome is Outcome.INTERRUPTED
    assert made == 1
    assert resumed is not None
    assert (resumed.trigger, resumed.outcome) == (Trigger.RESUME, Outcome.SUCCESS)
    assert world.sources["vip"].reads == 1, "a resumed run reads no source"
    assert world.vendor.cohort.members == people(*range(9))


@pytest.mark.parametrize("moment", range(1, 9))
@pytest.mark.parametrize("before_commit", [False, True])
def test_a_run_whose_process_died_is_told_once_and_healed(
    world: World,
    lines: list[EventDict],
    moment: int,
    before_commit: bool,
) -> None:
    with synced(world, *range(5)):
        lines.clear()
    world.sources["vip"].members = people(2, 3, 4, 5, 6)
    world.vendor.known |= people(5, 6)
    store = Mortal(world.database)
    with world.engine(store) as engine:
        store.die_at(moment, before_commit=before_commit)
        try:
            run(engine, world)
        except Exception as error:  # noqa: BLE001  # only a begin may fail aloud
            assert moment <= 2, error  # noqa: PT017

    with world.engine() as engine:
        world.clock.advance(SECOND)  # type: ignore[attr-defined]
        for name in engine.close_abandoned():
            engine.resume(name)
        run(engine, world)

    assert world.vendor.cohort.members == people(2, 3, 4, 5, 6)
    told = canonical(lines)
    assert set(told.values()) == {1}
    stored = {row[0] for row in rows(world.database, "SELECT id FROM run")}
    assert set(told) < stored, "all but the first run"
    assert None not in outcomes(world)


def test_a_run_in_progress_is_not_taken_for_one_of_a_dead_process(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.engine() as engine:
        cut_off: list[list[str]] = []
        world.sources["vip"].while_reading = lambda: cut_off.append(
            engine.close_abandoned()
        )
        report = run(engine, world)

    assert cut_off == [[]]
    assert report.outcome is Outcome.SUCCESS
    assert outcomes(world) == ["success"]
    assert canonical(lines) == {report.run_id: 1}


def test_a_run_that_could_not_be_closed_is_closed_by_the_next_one(
    world: World, lines: list[EventDict]
) -> None:
    store = Mortal(world.database)
    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.engine(store) as engine:
        world.sources["vip"].while_reading = store.die
        unclosed = run(engine, world)
        store.dead = False
        world.sources["vip"].while_reading = lambda: None
        next_one = run(engine, world)

    assert next_one.outcome is Outcome.SUCCESS
    assert canonical(lines) == {unclosed.run_id: 1, next_one.run_id: 1}
    assert outcomes(world) == ["abandoned", "success"]


def test_a_store_that_fails_in_the_middle_fails_the_run_and_forgets_nothing(
    world: World, lines: list[EventDict]
) -> None:
    store = Mortal(world.database)
    world.sync(members=people(*range(9)))
    world.vendor.known = people(*range(9))
    with world.engine(store) as engine:
        world.vendor.watch = lambda r: store.die() if r.cohort else None
        report = run(engine, world)

    assert report.outcome is Outcome.FAILED
    assert report.error_type == "store"
    assert believed(world.database).uncertain == people(*range(9))
    assert named(lines, "store.unavailable")


# ---- two processes ------------------------------------------------------------------


def _take_over(database: Database) -> None:
    """Another process finds the lease expired."""
    with database.begin() as connection:
        later = NOW + HOUR
        lease = leases.acquire(connection, "vip", "elsewhere/1/1", later)
        assert isinstance(lease, leases.Lease)


def test_a_run_whose_lease_was_lost_writes_nothing_any_more(
    world: World, lines: list[EventDict]
) -> None:
    with synced(world, *range(5)) as engine:
        lines.clear()
        world.sources["vip"].members = people(*range(12))
        world.vendor.known = people(*range(12))
        taken = iter([world.database])
        world.vendor.watch = lambda _: (
            _take_over(d) if (d := next(taken, None)) else None
        )

        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "lease.lost")
    assert report.error_type == "lease_lost"
    assert len(world.vendor.requests) == 1, "and sends nothing any more"
    known = believed(world.database)
    assert known.acknowledged == people(*range(5))
    assert known.uncertain == people(*range(5, 12))
    assert rows(world.database, "SELECT holder, released FROM lease") == [
        ("elsewhere/1/1", 0)
    ]
    assert canonical(lines) == {report.run_id: 1}
    assert named(lines, "lease.lost")


def test_a_run_that_another_process_closed_is_not_told_twice(
    world: World, lines: list[EventDict]
) -> None:
    def close_elsewhere(_: object) -> None:
        world.vendor.watch = lambda _: None
        _take_over(world.database)
        with world.database.read() as connection:
            (found,) = runs.unfinished(connection)
        finish.close_abandoned(
            world.database, found, clock=world.clock, holder="elsewhere/1/1"
        )

    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.engine() as engine:
        world.vendor.watch = close_elsewhere
        report = run(engine, world)

    assert canonical(lines) == {report.run_id: 1}
    assert outcomes(world) == ["abandoned"]


def test_a_sync_is_run_once_at_a_time(world: World) -> None:
    refused: list[Exception] = []

    def once_more() -> None:
        try:
            engine.run("vip", Trigger.MANUAL)
        except Busy as error:
            refused.append(error)

    world.sync(members=people(1))
    with world.engine() as engine:
        world.sources["vip"].while_reading = once_more
        run(engine, world)

    assert len(refused) == 1
    assert len(outcomes(world)) == 1


def test_a_sync_that_another_process_runs_is_refused(world: World) -> None:
    world.sync(members=people(1))
    with world.database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", NOW)

    with (
        world.engine() as engine,
        pytest.raises(Busy, match="by process 1 on elsewhere"),
    ):
        engine.run("vip", Trigger.MANUAL)

    assert outcomes(world) == []


def test_a_slot_is_run_by_whoever_takes_it_first(world: World) -> None:
    world.sync(members=people(1))
    world.vendor.known = people(1)

    with world.engine() as engine:
        first = engine.run("vip", Trigger.SCHEDULE, NOW)
        second = engine.run("vip", Trigger.SCHEDULE, NOW)
        skipped = engine.skip("vip", NOW, "overlap")

    assert first is not None
    assert second is None
    assert not skipped
    assert outcomes(world) == ["success"]
    with world.database.read() as connection:
        assert not leases.in_other_hands(connection, "vip", "somebody", NOW)


def test_after_a_dead_process_nothing_is_sent_until_its_request_is_over(
    world: World,
) -> None:
    world.clock = Clock()
    world.request_deadline = timedelta(seconds=0.3)
    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", world.clock.wall() - HOUR)
    moments: list[datetime] = []
    world.vendor.watch = lambda _: moments.append(world.clock.now())

    with world.engine() as engine:
        report = engine.run("vip", Trigger.MANUAL)

    assert report is not None
    assert report.outcome is Outcome.SUCCESS
    assert moments[0] >= report.started_at + world.request_deadline
