"""Places and paces that several processes of one Postgres share."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from syncd.app.turns import FRESH, LEFT_OVER, SharedPace, SharedPlace, SharedTurns
from syncd.clients.http import TransportError
from syncd.clock import Clock
from syncd.errors import SourceUnavailable
from syncd.store import places
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.places import Place
from tests.builders import PATIENCE

PROJECT = "requests us:187520"
MINUTE = timedelta(minutes=1)
DEADLINE = timedelta(seconds=30)


@pytest.fixture
def shared(postgres_database: str) -> Iterator[Database]:
    """A store on Postgres as one process has it."""
    opened = Database(postgres_database)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(shared: Database) -> Iterator[Database]:
    """The same store as another process has it."""
    opened = Database(shared.url)
    yield opened
    opened.close()


class Standing(Clock):
    """A clock whose monotonic time is told."""

    shown = 0.0

    def monotonic(self) -> float:
        return Standing.shown


def prepared(database: Database, count: int = 2) -> None:
    with database.begin() as connection:
        places.prepare(connection, PROJECT, count)


def take(
    database: Database, lasts: timedelta = MINUTE, *, waited: bool = True
) -> Place | None:
    with database.begin() as connection:
        return places.take(connection, PROJECT, lasts, waited=waited)


def taken(database: Database, lasts: timedelta = MINUTE) -> Place:
    place = take(database, lasts)
    assert place is not None
    return place


def give_back(database: Database, place: Place) -> None:
    with database.begin() as connection:
        places.give_back(connection, place)


def keep(database: Database, place: Place) -> bool:
    with database.begin() as connection:
        return places.keep(connection, place, MINUTE)


def let_time_pass(database: Database, by: timedelta) -> None:
    """As if all that was taken had been taken that much earlier."""
    with database.begin() as connection:
        connection.execute(
            text("UPDATE place SET since = since - :by, until = until - :by"),
            {"by": by},
        )


def patient(database: Database) -> None:
    """Whoever waits does so for a minute, however slow this machine is."""
    with database.begin() as connection:
        connection.execute(
            text("UPDATE place SET until = since + :by WHERE number = :line"),
            {"by": MINUTE, "line": places.LINE},
        )


# ---- places -------------------------------------------------------------------------


def test_no_more_places_are_taken_than_there_are(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared)

    got = [take(each) for each in (shared, elsewhere, shared, elsewhere)]

    assert [place is not None for place in got] == [True, True, False, False]


def test_a_place_given_back_is_anybodys(shared: Database, elsewhere: Database) -> None:
    prepared(shared, 1)
    first = taken(shared)

    give_back(shared, first)

    assert take(elsewhere) is not None


def test_a_place_of_a_dead_process_comes_back_when_its_time_is_over(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    taken(shared, MINUTE)
    let_time_pass(shared, MINUTE - timedelta(seconds=5))
    early = take(elsewhere)

    let_time_pass(shared, timedelta(seconds=5))

    assert early is None
    assert take(elsewhere) is not None


def test_who_comes_back_late_neither_keeps_nor_gives_back_anothers_place(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    late = taken(shared)
    let_time_pass(shared, MINUTE)
    taken(elsewhere)

    kept = keep(shared, late)
    give_back(shared, late)

    assert not kept
    assert take(shared) is None


def test_a_place_that_is_kept_lasts_on(shared: Database, elsewhere: Database) -> None:
    prepared(shared, 1)
    place = taken(shared)
    let_time_pass(shared, MINUTE - timedelta(seconds=5))

    kept = keep(shared, place)
    let_time_pass(shared, timedelta(seconds=30))

    assert kept
    assert take(elsewhere) is None


def test_who_has_not_waited_gets_nothing_before_those_who_do(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    place = taken(shared)
    refused = take(elsewhere, waited=False)
    patient(elsewhere)
    give_back(shared, place)

    barging = take(shared, waited=False)
    waiting = take(elsewhere, waited=True)

    assert refused is None
    assert barging is None
    assert waiting is not None


def test_a_line_in_which_nobody_waits_any_more_holds_nobody_up(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    place = taken(shared)
    assert take(elsewhere, waited=False) is None
    give_back(shared, place)

    let_time_pass(shared, places.IN_LINE)

    assert take(shared, waited=False) is not None


def test_a_clock_that_was_set_back_lets_go_of_every_place(shared: Database) -> None:
    prepared(shared, 1)
    taken(shared)

    let_time_pass(shared, -timedelta(days=365))

    assert take(shared) is not None


def test_nobody_waits_for_a_process_that_stands_still_over_a_row(
    shared: Database,
) -> None:
    prepared(shared)
    settings = text(
        "SELECT current_setting('idle_in_transaction_session_timeout'),"
        " current_setting('synchronous_commit')"
    )

    with shared.begin() as connection:
        before = connection.execute(settings).one()
        places.take(connection, PROJECT, MINUTE, waited=False)
        within = connection.execute(settings).one()
    with shared.begin() as connection:
        after = connection.execute(settings).one()

    assert tuple(within) == ("5s", "off")
    assert before[0] == after[0] == "90s"  # as of every transaction that writes


def test_projects_have_places_of_their_own(shared: Database) -> None:
    prepared(shared, 1)
    taken(shared)

    with shared.begin() as connection:
        places.prepare(connection, "requests eu:1", 1)
        other = places.take(connection, "requests eu:1", MINUTE, waited=False)

    assert other is not None


def test_two_processes_with_eight_threads_never_have_more_than_five(
    shared: Database, elsewhere: Database
) -> None:
    most, now, got = 0, 0, Counter[str]()
    lock, over = threading.Lock(), time.monotonic() + 2.0

    def work(name: str, turns: SharedTurns) -> None:
        nonlocal most, now
        while time.monotonic() < over:
            with turns.taken(DEADLINE):
                with lock:
                    now += 1
                    most = max(most, now)
                    got[name] += 1
                threading.Event().wait(0.02)
                with lock:
                    now -= 1

    both = {"here": shared, "elsewhere": elsewhere}
    threads = [
        threading.Thread(target=work, args=(name, SharedTurns(each, Clock(), PROJECT)))
        for name, each in both.items()
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert most == 5
    assert sum(got.values()) > 40
    # Nobody starves: neither has less than half of what the other one has.
    assert min(got["here"], got["elsewhere"]) * 2 > max(got.values())


# ---- turns of threads ---------------------------------------------------------------


def test_a_batch_keeps_its_place_for_all_its_requests(shared: Database) -> None:
    turns = SharedTurns(shared, Clock(), PROJECT, count=1)
    turn = SharedPlace(turns=turns, deadline=DEADLINE)

    granted = turn.ask(1000, waited=False).granted
    for _ in range(2):
        with turns.taken(DEADLINE):
            assert take(shared) is None
    turn.leave()

    assert granted
    assert take(shared) is not None


def test_a_refused_batch_is_told_to_ask_again_soon(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    taken(elsewhere)
    turn = SharedPlace(
        turns=SharedTurns(shared, Clock(), PROJECT, count=1), deadline=DEADLINE
    )

    wait = turn.ask(1000, waited=False)

    assert not wait.granted
    assert 0 < wait.seconds < 0.1


def test_a_place_is_taken_for_longer_than_a_request_lasts(shared: Database) -> None:
    turns = SharedTurns(shared, Clock(), PROJECT, count=1)
    assert turns.ask(DEADLINE, waited=False)

    # It may begin this late, and then lasts that long.
    let_time_pass(shared, timedelta(seconds=FRESH) + DEADLINE)

    assert take(shared) is None


def test_a_request_never_begins_with_a_place_that_is_anothers(
    shared: Database, elsewhere: Database
) -> None:
    Standing.shown = 0.0
    turns = SharedTurns(shared, Standing(), PROJECT, count=1)
    assert turns.ask(DEADLINE, waited=False)
    let_time_pass(shared, DEADLINE + LEFT_OVER)
    taken(elsewhere)
    Standing.shown = 2 * FRESH

    with pytest.raises(TransportError) as refused, turns.taken(DEADLINE):
        raise AssertionError("it began")

    assert not refused.value.sent


def test_places_that_the_database_lost_are_made_anew(shared: Database) -> None:
    turns = SharedTurns(shared, Clock(), PROJECT, count=1)
    assert turns.ask(DEADLINE, waited=False)
    turns.leave()
    with shared.begin() as connection:  # as a standby that lacks the last commits
        connection.execute(text("DELETE FROM place"))

    assert turns.ask(DEADLINE, waited=True)
    assert take(shared) is None


def test_a_place_comes_back_though_its_request_failed(shared: Database) -> None:
    turns = SharedTurns(shared, Clock(), PROJECT, count=1)

    with pytest.raises(ValueError, match="no answer"), turns.taken(DEADLINE):
        raise ValueError("no answer")

    assert take(shared) is not None


def test_who_waits_for_a_place_waits_no_more_once_the_process_is_to_stop(
    shared: Database, elsewhere: Database
) -> None:
    prepared(shared, 1)
    taken(elsewhere)
    stop = threading.Event()
    turns = SharedTurns(shared, Clock(), PROJECT, count=1, stop=stop)
    stop.set()

    with pytest.raises(SourceUnavailable) as refused, turns.taken(DEADLINE):
        raise AssertionError("it began")

    assert refused.value.code == "source.interrupted"


# ---- a pace -------------------------------------------------------------------------


def pace(database: Database, clock: Clock | None = None) -> SharedPace:
    return SharedPace(
        database=database, clock=clock or Clock(), scope="ids engage", ids_per_second=10
    )


def test_batches_of_two_processes_follow_one_another(
    shared: Database, elsewhere: Database
) -> None:
    waits = [
        pace(each).ask(100, waited=False).seconds
        for each in (shared, elsewhere, shared, elsewhere)
    ]

    assert waits == pytest.approx([0, 10, 20, 30], abs=1)


def test_a_pace_that_was_not_used_is_not_made_up_for(
    shared: Database, elsewhere: Database
) -> None:
    pace(shared).ask(100, waited=False)
    let_time_pass(shared, timedelta(hours=1))

    waits = [pace(each).ask(100, waited=False).seconds for each in (shared, elsewhere)]

    assert waits == pytest.approx([0, 10], abs=1)


def test_a_pace_is_real_where_the_clock_is_fast(shared: Database) -> None:
    fast = Clock(speed=100)

    waits = [pace(shared, fast).ask(1000, waited=False).seconds for _ in range(2)]

    assert waits == pytest.approx([0, 1], abs=0.2)


def test_a_clock_that_was_set_back_keeps_nobody_waiting(shared: Database) -> None:
    pace(shared).ask(100, waited=False)

    let_time_pass(shared, -timedelta(days=365))

    assert pace(shared).ask(100, waited=False).seconds < 1
