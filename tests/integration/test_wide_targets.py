"""Targets that take several requests at once: creation, order, pace, mass refusals."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from syncd.app.build import Blueprint
from syncd.app.engine import Engine
from syncd.app.store import OpenStore
from syncd.config.settings import DeliverySettings
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    HASH_KEY,
    FakeVendor,
    Request,
    World,
    believed,
    fast_clock,
    people,
)

WIDE = 4
PACE = 0.1
"""Ids a second of the fast clock."""
LARGE = DeliverySettings(
    batch_size=400, retries=8, first_delay=timedelta(0), max_delay=timedelta(0)
)


def run(engine: Engine) -> Report:
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def wide_world(world: World, *numbers: int, **changes: Any) -> FakeVendor:
    """One sync to a target that takes four requests at once."""
    world.clock = fast_clock(1_000)  # a run may last 260 s of real time
    world.sync(members=people(*numbers), **changes)
    world.vendor.known |= people(*numbers)
    world.vendor.max_in_flight = WIDE
    return world.vendor


def test_a_wide_target_is_created_once_and_then_served_by_several_workers(
    world: World,
) -> None:
    vendor = wide_world(world, *range(60))

    with world.engine() as engine:
        assert run(engine).outcome is Outcome.SUCCESS

    assert [each.cohort for each in vendor.requests].count(None) == 1
    assert vendor.cohort.members == people(*range(60))
    assert vendor.most_in_flight["Cohort vip"] == 1


def test_old_ids_are_removed_before_new_ones_are_added_at_a_wide_target(
    world: World,
) -> None:
    vendor = wide_world(world, *range(30), match=IdType.USER_ID)
    with world.engine() as engine:
        run(engine)
    world.syncs["vip"] = replace(world.syncs["vip"], match=IdType.AMPLITUDE_ID)
    listed = {str(number).encode() for number in range(1000, 1030)}
    world.sources["vip"].members = listed
    vendor.known |= listed
    vendor.requests.clear()

    with world.engine() as engine:
        held = run(engine)
        engine.approve(Decision(run_id=held.run_id, actor="a", via="cli", reason="ok"))

    operations = [each.operation for each in vendor.requests]
    assert operations == sorted(operations, reverse=True), "every REMOVE first"
    assert vendor.cohort.members == listed


def test_a_connection_is_never_sent_more_ids_than_its_pace_allows(world: World) -> None:
    vendor = wide_world(world, *range(90))
    times: list[tuple[datetime, int]] = []
    seen: set[int] = set()

    def note(request: Request) -> None:
        if id(request) not in seen:
            seen.add(id(request))
            times.append((world.clock.now(), len(request.ids)))

    vendor.watch = note
    with Engine(_paced(world, PACE), _store(world), world.clock) as engine:
        assert run(engine).outcome is Outcome.SUCCESS

    first, last = times[0][0], times[-1][0]
    sent = sum(ids for _, ids in times)
    assert sent == 93, "one batch goes twice: it creates the cohort"
    # A thread may be late with one batch and in time with the next one.
    assert sent - 2 * 3 <= (last - first).total_seconds() * PACE


def _paced(world: World, rate: float) -> Blueprint:
    built = world.blueprint()
    routes: Mapping[str, object] = {
        name: replace(route, ids_per_second=rate)
        for name, route in built.routes.items()
    }
    return replace(built, routes=routes)  # type: ignore[arg-type]


def _store(world: World) -> OpenStore:
    return OpenStore(database=world.database, hash_key=HASH_KEY)


def test_a_destination_that_refuses_everybody_is_given_up_before_it_is_flooded(
    world: World,
) -> None:
    vendor = wide_world(world, *range(2000), delivery=LARGE)
    with world.engine() as engine:
        run(engine)
        world.sources["vip"].members |= people(*range(5000, 6000))
        vendor.known |= people(*range(5000, 6000))
        vendor.invalid = people(*range(5000, 6000))
        vendor.refusal = "unknown_user"
        vendor.requests.clear()
        report = run(engine)

    assert (report.outcome, report.reason) == (
        Outcome.FAILED,
        "target.rejects_everybody",
    )
    assert len(vendor.requests) < 400


def test_an_exit_of_somebody_unknown_there_is_an_exit(world: World) -> None:
    vendor = wide_world(world, *range(10))
    with world.engine() as engine:
        run(engine)
        vendor.max_in_flight = 1  # whoever enters does so first
        vendor.known |= people(20)
        world.sources["vip"].members -= people(4)
        world.sources["vip"].members |= people(20)
        vendor.invalid = people(4)
        vendor.refusal = "unknown_user"
        report = run(engine)

    assert report.outcome is Outcome.SUCCESS
    expected = people(*range(10), 20) - people(4)
    assert believed(world.database).acknowledged == expected


def test_a_destination_that_knows_nobody_any_more_proves_no_exit(world: World) -> None:
    vendor = wide_world(world, *range(10))
    with world.engine() as engine:
        run(engine)
        world.sources["vip"].members -= people(4, 5)
        vendor.invalid = people(4, 5)
        vendor.refusal = "unknown_user"
        report = run(engine)

    assert report.outcome is Outcome.PARTIAL
    assert report.reason == "target.rejects_everybody"
    assert believed(world.database).uncertain == people(4, 5)


def test_a_run_of_which_nobody_was_taken_is_no_success(world: World) -> None:
    vendor = wide_world(world, *range(10))
    with world.engine() as engine:
        run(engine)
        vendor.known |= people(20)
        world.sources["vip"].members |= people(20)
        vendor.invalid = people(20)
        report = run(engine)

    assert (report.outcome, report.reason) == (
        Outcome.PARTIAL,
        "target.rejects_everybody",
    )


def test_an_exit_refused_for_another_reason_stays_uncertain(world: World) -> None:
    vendor = wide_world(world, *range(10))
    with world.engine() as engine:
        run(engine)
        world.sources["vip"].members -= people(4)
        vendor.invalid = people(4)
        report = run(engine)

    assert report.outcome is Outcome.PARTIAL
    assert report.numbers["dead"] == 1


def test_one_refused_person_among_many_is_found_and_the_others_go_through(
    world: World,
) -> None:
    vendor = wide_world(world, *range(2000), delivery=LARGE)
    with world.engine() as engine:
        run(engine)
        world.sources["vip"].members |= people(*range(3000, 3300))
        vendor.known |= people(*range(3000, 3300))
        vendor.invalid = people(3123)
        vendor.requests.clear()
        report = run(engine)

    assert report.numbers["rejected"] == 1
    assert vendor.cohort.members == world.sources["vip"].members - people(3123)
    assert believed(world.database).unaccepted == people(3123)
    assert len(vendor.sent(Operation.ADD)) < 300 * 12
