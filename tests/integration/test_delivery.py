"""Delivery: retries as rows, order, width, and what one refusal means for others."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.config.settings import DeliverySettings, ToCohort
from syncd.errors import Fault
from syncd.model import Operation, Outcome, Trigger
from syncd.store import connections, leases
from syncd.store.unaccepted import Kind
from syncd.sync.resync import Wish, push
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    PATIENCE,
    REFUSED,
    UNAUTHORIZED,
    Cohort,
    FakeVendor,
    Request,
    Trouble,
    World,
    believed,
    fast_clock,
    people,
    rows,
    sync_settings,
)

SECOND = timedelta(seconds=1)
USUAL = DeliverySettings(
    batch_size=3, retries=8, first_delay=SECOND, max_delay=128 * SECOND
)
NOMINAL = [1, 2, 4, 8, 16, 32, 64, 128]
"""Seconds before each retry."""


def to(connection: str, name: str) -> ToCohort:
    return ToCohort(
        connection=connection, cohort_id=None, cohort=f"Cohort {name}", owner="o"
    )


def add_sync(world: World, name: str, *, connection: str = "amplitude") -> None:
    """A sync with six people of its own, whom the vendor knows."""
    listed = {f"{name}-person-{n}".encode() for n in range(6)}
    world.sync(name, members=listed, target=to(connection, name))
    world.vendors[connection].known |= listed


def run(engine: Engine, name: str = "vip", trigger: Trigger = Trigger.MANUAL) -> Report:
    report = engine.run(name, trigger)
    assert report is not None
    return report


def advance(world: World, by: timedelta) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


@contextmanager
def together(engine: Engine, *names: str) -> Iterator[dict[str, Report]]:
    """Runs several syncs at once; inside, they are under way; at the end, over."""
    reports: dict[str, Report] = {}

    def one(name: str) -> None:
        reports[name] = run(engine, name)

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    yield reports
    for thread in threads:
        thread.join(PATIENCE)
    assert len(reports) == len(names)


def first_run(world: World, *numbers: int) -> None:
    """The cohort exists and holds these people."""
    world.sync(members=people(*numbers))
    world.vendor.known |= people(*numbers)
    with world.engine() as engine:
        assert run(engine).outcome is Outcome.SUCCESS
    advance(world, SECOND)
    world.vendor.requests.clear()


def batches(world: World) -> list[tuple[object, ...]]:
    return rows(world.database, "SELECT n, state, attempts FROM batch ORDER BY id")


# ---- one after the other ----------------------------------------------------------


def test_the_next_batch_goes_while_the_last_answer_is_made_durable(
    world: World,
) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(*range(2, 11))
    world.vendor.known |= people(*range(2, 11))
    begun, third = threading.Event(), threading.Event()
    came: list[bool] = []
    open_then: list[int] = []

    with world.engine() as engine:

        def hold_the_store(_: object) -> None:
            begun.set()
            came.append(third.wait(PATIENCE))

        def watch(request: Request) -> None:
            seen = len(world.vendor.requests)
            if seen == 2 and not begun.is_set():
                threading.Thread(
                    target=engine.writer.write, args=(hold_the_store,)
                ).start()
                assert begun.wait(PATIENCE)
            elif seen == 2 and request.ids != world.vendor.requests[-1].ids:
                ((waiting,),) = rows(
                    world.database, "SELECT sum(n) FROM batch WHERE state = 'open'"
                )
                open_then.append(waiting)
                third.set()

        world.vendor.watch = watch
        assert run(engine).outcome is Outcome.SUCCESS

    assert came == [True]
    assert open_then == [6]
    assert set(world.vendor.most_in_flight.values()) == {1}


# ---- retries are rows ---------------------------------------------------------------


def test_eight_retries_wait_a_second_to_two_minutes_and_then_give_up(
    world: World,
) -> None:
    world.clock = fast_clock()
    world.sync(members=people(*range(6)), delivery=USUAL)
    world.vendor.known = people(*range(6))
    world.vendor.always = FAILED_BEFORE

    with world.engine() as engine:
        report = run(engine)

    at = [
        datetime.fromisoformat(when)
        for (when,) in rows(world.database, "SELECT at FROM attempt ORDER BY id")
    ]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(at)]
    assert len(waits) == 8
    assert all(wait >= least for wait, least in zip(waits, NOMINAL, strict=True))
    assert (report.outcome, report.reason) == (Outcome.PARTIAL, "http_5xx")
    assert report.numbers["retries"] == 8
    assert batches(world) == [(3, "open", 9), (3, "open", 0)]
    assert rows(world.database, "SELECT retry_at FROM batch ORDER BY id")[0] == (None,)
    results = rows(world.database, "SELECT number, result FROM attempt ORDER BY id")
    assert results == [*((n, "retried") for n in range(1, 9)), (9, "gave_up")]


def test_a_retry_that_works_ends_well(world: World) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(2)
    world.vendor.known |= people(2)
    world.vendor.script.extend([FAILED_BEFORE] * 7 + [LOST_ANSWER])

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert report.numbers["requests"] == 9
    assert world.vendor.cohort.members == people(1, 2)


def test_a_restart_keeps_the_attempts_already_made(world: World) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(2)
    world.vendor.known |= people(2)
    world.vendor.always = FAILED_BEFORE

    def stop_at_third(_: Request) -> None:
        if len(world.vendor.requests) == 3:
            engine.stop()

    world.vendor.watch = stop_at_third
    with world.engine() as engine:
        stopped = run(engine)
    made_before = len(world.vendor.requests)
    stored = batches(world)[-1]
    world.vendor.watch = lambda _: None
    advance(world, SECOND)
    with world.engine() as engine:
        engine.close_abandoned()
        resumed = engine.resume("vip")

    assert stopped.outcome is Outcome.INTERRUPTED
    assert made_before == 3
    assert stored == (1, "open", 3)
    assert resumed is not None
    assert (resumed.trigger, resumed.outcome) == (Trigger.RESUME, Outcome.PARTIAL)
    assert len(world.vendor.requests) == 9, "1 and 8 retries, in two processes"


def test_the_next_due_run_starts_counting_anew(world: World) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(2)
    world.vendor.known |= people(2)
    world.vendor.always = FAILED_BEFORE

    with world.engine() as engine:
        run(engine)
        advance(world, SECOND)
        world.vendor.requests.clear()
        again = run(engine)

    assert again.outcome is Outcome.PARTIAL
    assert len(world.vendor.requests) == 9


def test_a_run_that_lasts_too_long_leaves_its_batches_for_the_next(
    world: World,
) -> None:
    world.clock = fast_clock()
    days = timedelta(days=5)
    world.sync(
        members=people(1),
        delivery=replace(USUAL, first_delay=days, max_delay=days),
        max_runtime=timedelta(days=1),
    )
    world.vendor.known = people(1)
    world.vendor.always = FAILED_BEFORE

    with world.engine() as engine:
        report = run(engine)

    assert (report.outcome, report.reason) == (Outcome.PARTIAL, "max_runtime")
    assert len(world.vendor.requests) == 1
    assert batches(world) == [(1, "open", 1)]


# ---- order and width ----------------------------------------------------------------


def test_batches_of_a_cohort_go_one_after_the_other_in_order(world: World) -> None:
    first_run(world, *range(12))
    world.sources["vip"].members = people(*range(8), *range(20, 30))
    world.vendor.known |= people(*range(20, 30))
    world.vendor.script.extend([FAILED_BEFORE, None, FAILED_BEFORE, FAILED_BEFORE])

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    order = [number for (number,) in rows(world.database, _ATTEMPTED)]
    assert order == sorted(order)
    assert len(order) > len(set(order)), "some were tried again before the next went"
    assert set(world.vendor.most_in_flight.values()) == {1}


_ATTEMPTED = """
SELECT batch_id FROM attempt
WHERE run_id = (SELECT id FROM run ORDER BY started_at DESC LIMIT 1) ORDER BY id
"""


def test_a_head_that_fails_for_good_lets_no_later_batch_pass(world: World) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(*range(10, 19))
    world.vendor.known |= people(*range(10, 19))
    world.vendor.always = FAILED_BEFORE

    with world.engine() as engine:
        report = run(engine)

    assert report.numbers["waiting"] == 3
    assert len({request.ids for request in world.vendor.requests}) == 1


def test_a_sink_that_allows_four_requests_gets_four(world: World) -> None:
    first_run(world, 1)
    world.vendor.max_in_flight = 4
    world.sources["vip"].members |= people(*range(10, 34))
    world.vendor.known |= people(*range(10, 34))
    four = threading.Barrier(4)
    first = threading.local()

    def meet(request: Request) -> None:
        if not getattr(first, "met", False):
            first.met = True
            four.wait(PATIENCE)

    world.vendor.watch = meet
    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.most_in_flight["c1"] == 4
    assert world.vendor.cohort.members == people(1, *range(10, 34))


def test_in_a_wide_lane_a_batch_that_waits_does_not_hold_the_others(
    world: World,
) -> None:
    first_run(world, 1)
    world.vendor.max_in_flight = 4
    world.sources["vip"].members |= people(*range(10, 22))
    world.vendor.known |= people(*range(10, 22))
    world.vendor.script.append(FAILED_BEFORE)

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert report.numbers["retries"] == 1


def test_four_cohorts_are_served_at_once_and_each_by_one_request(
    world: World,
) -> None:
    names = ("a", "b", "c", "d")
    for name in names:
        add_sync(world, name)
    met: set[str] = set()
    all_four = threading.Barrier(4)

    def meet(request: Request) -> None:
        sync = request.ids[0].decode().partition("-")[0]
        if sync not in met:
            met.add(sync)
            all_four.wait(PATIENCE)

    world.vendor.watch = meet
    with world.engine() as engine, together(engine, *names) as reports:
        pass

    assert {report.outcome for report in reports.values()} == {Outcome.SUCCESS}
    assert set(world.vendor.most_in_flight.values()) == {1}


# ---- one credential, several syncs --------------------------------------------------


def test_a_retry_after_makes_every_sync_of_the_connection_wait(
    world: World, lines: list[EventDict]
) -> None:
    world.clock = fast_clock(3_600.0)
    ten_minutes = Trouble(
        fault=Fault.THROTTLED, error_type="rate_limited", status=429, retry_after=600.0
    )
    for name, connection in (("a", "one"), ("b", "one"), ("c", "two")):
        add_sync(world, name, connection=connection)
    one, two = world.vendors["one"], world.vendors["two"]
    one.script.append(ten_minutes)
    told: list[datetime] = []
    later: list[datetime] = []

    def note(_: Request) -> None:
        if told:
            later.append(world.clock.now())

    one.watch = note
    with world.engine() as engine:
        with together(engine, "a") as first:
            while one.script:
                pass
            told.append(world.clock.now())
            with together(engine, "b", "c") as others:
                pass

    (line,) = [line for line in lines if line["event"] == "api.throttled"]
    until = line["until"]
    assert line["wait_ms"] >= 600_000
    assert [moment for moment in later if moment < until] == []
    assert len(later) >= 4
    assert two.requests
    assert {r.outcome for r in (*first.values(), *others.values())} == {Outcome.SUCCESS}
    with world.database.read() as reading:
        assert connections.get(reading, "one").throttled_until == until
        assert connections.get(reading, "two").throttled_until is None


def test_a_restart_keeps_the_wait_that_the_vendor_asked_for(world: World) -> None:
    world.clock = fast_clock(3_600.0)
    add_sync(world, "a")
    until = world.clock.now() + timedelta(minutes=20)
    with world.database.begin() as connection:
        connections.throttle(connection, "amplitude", until)
    moments: list[datetime] = []
    world.vendor.watch = lambda _: moments.append(world.clock.now())

    with world.engine() as engine:
        report = run(engine, "a")

    assert report.outcome is Outcome.SUCCESS
    assert moments[0] >= until


def test_refused_credentials_stop_every_lane_of_the_connection(
    world: World, lines: list[EventDict]
) -> None:
    for name, connection in (("a", "one"), ("b", "one"), ("c", "two")):
        add_sync(world, name, connection=connection)
    one = world.vendors["one"]
    under_way = threading.Barrier(2)
    met: set[str] = set()

    def meet(request: Request) -> None:
        sync = request.ids[0].decode().partition("-")[0]
        if sync not in met:
            met.add(sync)
            under_way.wait(PATIENCE)

    one.watch = meet
    one.always = UNAUTHORIZED
    with world.engine() as engine, together(engine, "a", "b", "c") as reports:
        pass

    assert [reports[name].outcome for name in "abc"] == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.SUCCESS,
    ]
    assert {reports[name].error_type for name in "ab"} == {"auth"}
    assert len(one.requests) == 2, "the requests that were under way, and no more"
    attempts = "SELECT DISTINCT attempts FROM batch WHERE state = 'open'"
    assert rows(world.database, attempts) == [(0,)], "a refused key spends no retry"
    assert [line for line in lines if line["event"] == "connection.stopped"]


def test_a_person_who_corrected_the_key_need_not_wait(world: World) -> None:
    add_sync(world, "a")
    world.vendor.always = UNAUTHORIZED
    with world.engine() as engine:
        run(engine, "a")
        world.vendor.always = None

        corrected = run(engine, "a", Trigger.MANUAL)

    assert corrected.outcome is Outcome.SUCCESS


def test_a_stopped_connection_is_tried_again_after_a_quarter_of_an_hour(
    world: World, lines: list[EventDict]
) -> None:
    add_sync(world, "a")
    world.vendor.always = UNAUTHORIZED
    with world.engine() as engine:
        run(engine, "a")
        world.vendor.always, world.vendor.locked_out = None, True
        asked = world.vendor.probes

        advance(world, timedelta(minutes=14))
        engine.probe_connections()
        early = run(engine, "a", Trigger.SCHEDULE)
        assert world.vendor.probes == asked, "nothing is asked before it is due"

        advance(world, timedelta(minutes=1))
        engine.probe_connections()
        still_refused = run(engine, "a", Trigger.SCHEDULE)

        world.vendor.locked_out = False
        advance(world, timedelta(minutes=15))
        engine.probe_connections()
        resumed = run(engine, "a")

    assert (early.outcome, early.reason) == (Outcome.FAILED, "delivery.auth")
    assert still_refused.outcome is Outcome.FAILED
    assert resumed.outcome is Outcome.SUCCESS
    assert [line["event"] for line in lines if "connection." in line["event"]] == [
        "connection.stopped",
        "connection.stopped",
        "connection.resumed",
    ]


# ---- what one request's answer means ------------------------------------------------


def test_after_ten_batches_of_strangers_the_cohort_is_not_created_this_time(
    world: World,
) -> None:
    world.sync(members=people(*range(36)))

    with world.engine() as engine:
        given_up = run(engine)
        requests = len(world.vendor.requests)
        world.vendor.known = people(*range(36))
        advance(world, timedelta(hours=2))
        healed = run(engine)

    assert (given_up.outcome, given_up.reason) == (
        Outcome.PARTIAL,
        "target.nobody_known",
    )
    assert requests == 10
    assert given_up.numbers["unmatched"] == 30
    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(36))


def test_a_batch_of_strangers_lets_the_next_one_create_the_cohort(
    world: World,
) -> None:
    world.sync(members=people(*range(9)))
    world.vendor.known = people(8)

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(8)
    assert report.numbers["unmatched"] == 8


def test_a_request_that_is_too_large_is_halved_until_it_fits(world: World) -> None:
    first_run(world, 1)
    world.syncs["vip"] = sync_settings(
        delivery=replace(world.syncs["vip"].delivery, batch_size=16)
    )
    world.sources["vip"].members |= people(*range(10, 26))
    world.vendor.known |= people(*range(10, 26))
    world.vendor.largest = 4

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    sizes = [len(request.ids) for request in world.vendor.requests]
    assert sizes == [16, 8, 4, 4, 8, 4, 4]
    assert world.vendor.cohort.members == people(1, *range(10, 26))


def test_whoever_alone_is_too_large_for_a_request_is_not_believed_to_be_out(
    world: World,
) -> None:
    """A 413 for one id is something in between: whoever was in is in still."""
    first_run(world, 1, 2)
    world.vendor.largest = 0
    with world.engine() as engine:
        with engine.alone("vip") as (parts, spec):
            wish = Wish(actor="ann", via="cli", reason="all again")
            refused = push(parts, spec, wish)
        world.vendor.largest = 1_000
        world.sources["vip"].members = people(1)
        left = run(engine)

    assert refused is not None
    assert refused.outcome is not Outcome.SUCCESS
    assert left.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1)


def test_one_bad_id_is_found_by_halving_and_rejected_alone(
    world: World, lines: list[EventDict]
) -> None:
    first_run(world, *range(100, 110))
    world.syncs["vip"] = sync_settings(
        delivery=replace(world.syncs["vip"].delivery, batch_size=64)
    )
    world.sources["vip"].members |= people(*range(10, 74))
    world.vendor.known |= people(*range(10, 74))
    world.vendor.invalid = people(37)

    with world.engine() as engine:
        report = run(engine)
        advance(world, SECOND)
        before = len(world.vendor.requests)
        quiet = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert before <= 2 * 6 + 1
    assert believed(world.database).unaccepted == people(37)
    assert believed(world.database).uncertain == frozenset()
    assert world.vendor.cohort.members == people(
        *range(10, 37), *range(38, 74), *range(100, 110)
    )
    assert (quiet.outcome, len(world.vendor.requests)) == (Outcome.NO_CHANGE, before)
    assert rows(world.database, "SELECT kind FROM unaccepted") == [(Kind.REJECTED,)]
    (line,) = [line for line in lines if line["event"] == "member.rejected"]
    assert b"person-0037" not in repr(line).encode()


def test_a_refused_exit_is_no_proof_that_the_person_is_out(world: World) -> None:
    first_run(world, 1, 2)
    world.sources["vip"].members = people(1)
    world.vendor.invalid = people(2)

    with world.engine() as engine:
        report = run(engine)
        assert (report.outcome, report.numbers["dead"]) == (Outcome.PARTIAL, 1)
        assert believed(world.database).uncertain == people(2)
        world.vendor.invalid = set()
        advance(world, SECOND)
        healed = run(engine)

    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1)


def test_a_dead_letter_blocks_nobody(world: World, lines: list[EventDict]) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(*range(10, 19))
    world.vendor.known |= people(*range(10, 19))
    world.vendor.script.extend([None, REFUSED])

    with world.engine() as engine:
        report = run(engine)

    assert (report.outcome, report.reason) == (Outcome.PARTIAL, "dead_letters")
    assert len(world.vendor.requests) == 3
    assert report.numbers["dead"] == 1
    assert len(believed(world.database).uncertain) == 3, "the payload is kept"
    (line,) = [line for line in lines if line["event"] == "batch.dead_lettered"]
    assert line["log_level"] == "error"


def test_a_refused_creation_ends_the_run(world: World) -> None:
    world.sync(members=people(*range(9)))
    world.vendor.known = people(*range(9))
    world.vendor.script.append(REFUSED)

    with world.engine() as engine:
        report = run(engine)

    assert (report.outcome, report.error_type) == (Outcome.FAILED, "http_4xx")
    assert len(world.vendor.requests) == 1, "every further batch would meet the same"


def test_a_creation_whose_answer_was_lost_is_looked_up_not_repeated(
    world: World,
) -> None:
    world.sync(members=people(*range(6)))
    world.vendor.known = people(*range(6))
    world.vendor.script.append(LOST_ANSWER)

    with world.engine() as engine:
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert len(world.vendor.cohorts) == 1
    assert world.vendor.cohort.members == people(*range(6))


def test_a_bug_in_a_sink_stops_its_lane_and_no_other(
    world: World, lines: list[EventDict]
) -> None:
    add_sync(world, "a", connection="one")
    add_sync(world, "b", connection="two")

    def break_down(_: Request) -> None:
        raise ZeroDivisionError

    world.vendors["one"].watch = break_down
    with world.engine() as engine:
        broken = [run(engine, "a").outcome]
        for _ in range(5):  # more often than there are threads
            advance(world, SECOND)
            broken.append(run(engine, "a").outcome)
        fine = run(engine, "b")

    assert set(broken) == {Outcome.FAILED}
    assert fine.outcome is Outcome.SUCCESS
    assert len([line for line in lines if line["event"] == "daemon.crashed"]) == 6
    assert believed(world.database, "a").uncertain == world.sources["a"].members


# ---- the end ------------------------------------------------------------------------


@contextmanager
def hanging(world: World) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The vendor does not answer: (a request is under way, let it be answered)."""
    arrived, answer = threading.Event(), threading.Event()

    def hang(_: Request) -> None:
        if not arrived.is_set():
            arrived.set()
            answer.wait(PATIENCE)

    world.vendor.watch = hang
    try:
        yield arrived, answer
    finally:
        answer.set()


def test_after_a_stop_the_request_in_flight_is_finished_and_recorded(
    world: World,
) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(*range(10, 19))
    world.vendor.known |= people(*range(10, 19))

    with hanging(world) as (arrived, answer), world.engine() as engine:
        with together(engine, "vip") as reports:
            assert arrived.wait(PATIENCE)
            engine.stop()
            answer.set()

    report = reports["vip"]
    assert report.outcome is Outcome.INTERRUPTED
    assert (report.numbers["accepted"], report.numbers["waiting"]) == (3, 2)
    assert len(world.vendor.requests) == 1


def test_a_request_left_on_the_wire_keeps_the_lease_for_the_next_start(
    world: World,
) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(2)
    world.vendor.known |= people(2)

    with hanging(world) as (arrived, answer), world.engine() as engine:
        with together(engine, "vip") as reports:
            assert arrived.wait(PATIENCE)
            engine.stop()
            engine.abandon()
        with world.database.begin() as connection:
            later = world.clock.now() + leases.TTL
            taken = leases.acquire(connection, "vip", "elsewhere/1/1", later)
        answer.set()

    assert reports["vip"].outcome is Outcome.INTERRUPTED
    assert believed(world.database).uncertain == people(2)
    assert isinstance(taken, leases.Lease)
    assert taken.taken_over, "so whoever goes on waits for the late request"


def test_an_engine_takes_the_routes_of_a_new_configuration(world: World) -> None:
    first_run(world, 1)
    other = FakeVendor(known=people(1))
    with world.engine() as engine:
        world.vendors["amplitude"] = other
        world.sources["vip"].members = people(1, 2)
        other.known |= people(2)
        other.cohorts["c1"] = Cohort(id="c1", name="Cohort vip")
        engine.replace(world.blueprint())
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    assert other.sent(Operation.ADD) == list(people(2))


def test_nothing_is_sent_between_runs(world: World) -> None:
    first_run(world, 1)
    world.sources["vip"].members |= people(2)
    world.vendor.known |= people(2)
    world.vendor.always = FAILED_BEFORE
    with world.engine() as engine:
        assert run(engine).outcome is Outcome.PARTIAL
    made = len(world.vendor.requests)

    with world.engine() as engine:
        assert engine.close_abandoned() == [], "a partial run came to its end"

    assert len(world.vendor.requests) == made
