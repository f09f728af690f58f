"""A person on single batches: sent again at once, or given up; nobody is forgotten."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.types import EventDict

from syncd.app import outbox
from syncd.app.engine import Engine, UnknownSync
from syncd.config.settings import GuardSettings
from syncd.errors import SyncdError
from syncd.model import Operation, Outcome, Trigger
from syncd.store.unsettled import Standing, Unsettled, unsettled
from syncd.sync.beginning import Busy
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    REFUSED,
    UNAUTHORIZED,
    World,
    believed,
    cohort_of,
    people,
    rows,
)

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
WHO = {"actor": "ann", "via": "cli", "reason": "their list was repaired"}


def run(engine: Engine, world: World) -> Report:
    world.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.SCHEDULE)
    assert report is not None
    return report


def synced(engine: Engine, world: World) -> None:
    """Six people are members; three more are listed by the source from now on."""
    assert run(engine, world).outcome is Outcome.SUCCESS
    world.sources["vip"].members = people(*range(9))
    world.vendor.requests.clear()


def vip(world: World, **changes: Any) -> None:
    world.sync(members=people(*range(6)), **changes)
    world.vendor.known = people(*range(40))


def waiting(world: World) -> list[Unsettled]:
    with world.database.read() as connection:
        return unsettled(connection, ["vip"])


def ask(engine: Engine, verb: str, batches: str = "", sync: str = "vip") -> Any:
    command = outbox.retry if verb == "retry" else outbox.drop
    return command(engine, {"sync": sync, "batches": batches, **WHO})


def refused(engine: Engine, verb: str, batches: str = "") -> SyncdError:
    with pytest.raises(SyncdError) as refusal:
        ask(engine, verb, batches)
    return refusal.value


# ---- what is listed -----------------------------------------------------------------


def test_a_batch_that_was_refused_for_good_is_listed_as_dead(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.script.append(REFUSED)
        run(engine, world)

    (batch,) = waiting(world)
    assert (batch.standing, batch.operation, batch.n) == (Standing.DEAD, "add", 3)
    assert (batch.attempts, batch.error_type) == (1, "http_4xx")
    assert batch.since == world.clock.now()


def test_a_batch_whose_retries_are_used_up_waits_for_the_next_run(
    world: World,
) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.always = FAILED_BEFORE
        assert run(engine, world).outcome is Outcome.PARTIAL

    (batch,) = waiting(world)
    assert batch.standing is Standing.USED_UP
    assert batch.attempts == 9


def test_a_settled_batch_is_not_listed(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)

    assert waiting(world) == []


# ---- try again ----------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [REFUSED, UNAUTHORIZED])
def test_what_is_tried_again_goes_out_as_it_stands_and_no_source_is_read(
    world: World, trouble: Any, lines: list[EventDict]
) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.script.append(trouble)
        run(engine, world)
        reads = world.sources["vip"].reads
        world.sources["vip"].members = people(1)
        if trouble is UNAUTHORIZED:
            world.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
            engine.probe_connections()
        answer = ask(engine, "retry")

    assert (answer["run"]["outcome"], answer["run"]["entered"]) == ("success", 3)
    assert world.sources["vip"].reads == reads
    assert world.vendor.cohort.members == people(*range(9))
    assert waiting(world) == []
    trail = "SELECT verb, actor, reason, sync, run_id FROM action"
    assert rows(world.database, trail) == [
        ("retry", "ann", "their list was repaired", "vip", answer["run"]["id"])
    ]
    (line,) = [each for each in lines if each["event"] == "operator.retried"]
    assert (line["count"], line["reason"]) == (1, "their list was repaired")


def test_used_up_retries_begin_anew(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
        world.vendor.always = None
        world.vendor.script.extend([FAILED_BEFORE] * 8)
        answer = ask(engine, "retry")

    assert answer["run"]["outcome"] == "success"
    assert answer["run"]["retries"] == 8


def test_only_the_named_batch_is_sent(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.sources["vip"].members = people(*range(12))
        world.vendor.script.extend([REFUSED, REFUSED])
        run(engine, world)
        first, second = waiting(world)
        world.vendor.requests.clear()
        answer = ask(engine, "retry", str(second.id))

    assert answer["run"]["outcome"] == "partial", "the other one is still dead"
    assert len(world.vendor.requests) == 1
    assert [each.id for each in waiting(world)] == [first.id]


def test_what_is_acknowledged_that_way_needs_no_further_run(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.script.append(REFUSED)
        run(engine, world)
        ask(engine, "retry")
        assert run(engine, world).outcome is Outcome.NO_CHANGE

    assert believed(world.database).acknowledged == people(*range(9))


def test_nothing_is_sent_where_nothing_waits(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        assert refused(engine, "retry").code == "outbox.nothing"
        assert refused(engine, "retry", "1").code == "outbox.unknown"
        assert refused(engine, "retry", "one").code == "outbox.unknown"
        with pytest.raises(UnknownSync):
            ask(engine, "retry", sync="nobody")


def test_batches_of_a_held_plan_are_not_touched(world: World) -> None:
    vip(world, guard=STRICT)
    with world.engine() as engine:
        synced(engine, world)
        world.sources["vip"].members = people(1)
        assert run(engine, world).outcome is Outcome.HELD
        held = waiting(world)
        key = str(held[0].id)
        world.vendor.requests.clear()

        assert refused(engine, "retry", key).code == "outbox.held"
        assert refused(engine, "drop", key).code == "outbox.held"
        assert refused(engine, "retry").code == "outbox.nothing"

    assert {each.standing for each in held} == {Standing.HELD}
    assert waiting(world) == held
    assert world.vendor.requests == []


def test_batches_of_the_time_before_another_configuration_stay_where_they_are(
    world: World,
) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.script.append(REFUSED)
        run(engine, world)
    before = waiting(world)
    target = cohort_of(world.syncs["vip"])
    world.sync(target=type(target)(**{**_fields(target), "cohort": "Another"}))
    with world.engine() as engine:
        refusal = refused(engine, "retry")

    assert refusal.code == "outbox.changed"
    assert "the target changed" in str(refusal)
    assert waiting(world) == before


# ---- give up ------------------------------------------------------------------------


def test_a_dropped_batch_is_dead_and_its_people_are_asserted_anew(
    world: World, lines: list[EventDict]
) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
        (stuck,) = waiting(world)
        answer = ask(engine, "drop", str(stuck.id))
        (dead,) = waiting(world)
        uncertain = believed(world.database).uncertain
        world.vendor.always = None
        world.sources["vip"].members = people(*range(7))
        after = run(engine, world)

    assert answer == {
        "batches": [{"id": stuck.id, "sync": "vip", "operation": "add", "n": 3}]
    }
    assert (dead.id, dead.standing) == (stuck.id, Standing.DEAD)
    assert dead.error == "dropped by ann: their list was repaired"
    assert uncertain == people(6, 7, 8), "whether they were sent is not known"
    assert after.outcome is Outcome.SUCCESS
    assert people(7, 8) <= set(world.vendor.sent(Operation.REMOVE))
    assert world.vendor.cohort.members == people(*range(7))
    trail = "SELECT verb, actor, reason FROM action"
    assert rows(world.database, trail) == [("drop", "ann", "their list was repaired")]
    assert [each["count"] for each in lines if each["event"] == "operator.dropped"] == [
        1
    ]


def test_what_is_dropped_can_be_sent_again(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
        (stuck,) = waiting(world)
        ask(engine, "drop", str(stuck.id))
        world.vendor.always = None

        assert ask(engine, "retry", str(stuck.id))["run"]["outcome"] == "success"

    assert world.vendor.cohort.members == people(*range(9))


def test_a_dead_batch_cannot_be_dropped(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        synced(engine, world)
        world.vendor.script.append(REFUSED)
        run(engine, world)
        (dead,) = waiting(world)

        assert refused(engine, "drop", str(dead.id)).code == "outbox.dead"
        assert refused(engine, "drop").code == "outbox.unknown"

    assert waiting(world) == [dead]


@pytest.mark.parametrize("verb", ["retry", "drop"])
def test_nobody_steers_batches_while_a_run_of_the_sync_is_in_progress(
    world: World, verb: str
) -> None:
    vip(world)
    refusals: list[BaseException] = []
    with world.engine() as engine:
        synced(engine, world)

        def meanwhile(_: object) -> None:
            (batch,) = waiting(world)
            with pytest.raises(Busy) as refusal:
                ask(engine, verb, str(batch.id))
            refusals.append(refusal.value)
            world.vendor.watch = lambda _: None

        world.vendor.watch = meanwhile
        assert run(engine, world).outcome is Outcome.SUCCESS

    assert len(refusals) == 1


def test_another_process_that_works_on_the_sync_is_not_disturbed(
    world: World,
) -> None:
    vip(world)
    with world.engine() as engine, world.engine() as other:
        other.holder = "another:machine"
        synced(engine, world)

        def meanwhile(_: object) -> None:
            world.vendor.watch = lambda _: None
            (batch,) = waiting(world)
            with pytest.raises(Busy):
                ask(other, "drop", str(batch.id))

        world.vendor.watch = meanwhile
        assert run(engine, world).outcome is Outcome.SUCCESS


def _fields(target: Any) -> dict[str, Any]:
    return {name: getattr(target, name) for name in type(target).__slots__}
