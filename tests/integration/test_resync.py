"""Beginning anew with a target: what is there is adopted, or everybody is pushed.

On SQLite and on Postgres. The destination is the fake of the builders; its cohort is
read back by a list that the test hands in, as a download would be.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app import commands, resyncing
from syncd.app.engine import Engine, UnknownSync
from syncd.config.settings import GuardSettings
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.sources import Listing, Postponed
from syncd.sources.feed_mark import adopted
from syncd.store import bindings, compaction, forgotten, leases, pauses
from syncd.store.bindings import Role
from syncd.store.database import Database
from syncd.store.pauses import Pause, Paused
from syncd.sync import adopting, resync
from syncd.sync.adopting import Belief
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.resync import Wish
from syncd.sync.spec import Report
from syncd.sync.steps import Run
from tests.builders import (
    NOW,
    REFUSED,
    AskedSource,
    ManualClock,
    Mortal,
    World,
    believed,
    held_run,
    people,
    rows,
)

STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
WISH = Wish(actor="ann", via="cli", reason="the store was restored")
MINUTE = timedelta(minutes=1)
EVERYBODY = people(*range(40))


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A store of each kind in which time stands still."""
    return World(database=database, spool=tmp_path)


def advance(world: World) -> None:
    world.clock.advance(MINUTE)  # type: ignore[attr-defined]


def ran(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def push(engine: Engine, world: World) -> Report:
    advance(world)
    with engine.alone("vip") as (parts, spec):
        report = resync.push(parts, spec, WISH)
    assert report is not None
    return report


def holding(members: Iterable[bytes]) -> Callable[[Run, str], Listing | Postponed]:
    """The destination as a download would show it."""
    return lambda _run, _cohort_id: AskedSource(members)


def adopt(engine: Engine, world: World, belief: Belief) -> Report:
    advance(world)
    with engine.alone("vip") as (parts, spec):
        report = adopting.adopt(parts, spec, WISH, belief)
    assert report is not None
    return report


def read_back(world: World) -> Belief:
    """A belief in who is really in the only cohort."""
    return Belief(reads=holding(world.vendor.cohort.members))


def lose_a_chunk(world: World) -> None:
    """A part of what is stored about the destination is gone."""
    with world.engine() as engine, engine.at_rest("vip") as (parts, _):
        with parts.database.read() as connection:
            binding = bindings.current(connection, "vip")
        assert binding is not None
        compaction.compact(parts.database, binding.id)
    with world.database.begin() as connection:
        connection.execute(text("DELETE FROM chunk"))


def paused(world: World) -> None:
    with world.database.begin() as connection:
        pauses.put(
            connection,
            Pause(
                sync="vip",
                since=NOW,
                until=None,
                actor="ann",
                via="cli",
                reason="a restored store",
            ),
        )


def filled(world: World, *numbers: int) -> None:
    """These people are members, and acknowledged."""
    world.sync(members=people(*numbers), guard=STRICT)
    world.vendor.known |= EVERYBODY
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.SUCCESS
    world.vendor.requests.clear()


# ---- push ---------------------------------------------------------------------------


def test_a_push_sends_everybody_again_and_mends_who_was_lost(world: World) -> None:
    filled(world, *range(10))
    world.vendor.cohort.members -= people(3, 4)

    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.NO_CHANGE
        report = push(engine, world)
        after = ran(engine, world)

    assert (report.trigger, report.outcome) == (Trigger.RESYNC, Outcome.SUCCESS)
    assert set(world.vendor.sent(Operation.ADD)) == people(*range(10))
    assert world.vendor.cohort.members == people(*range(10))
    assert believed(world.database).acknowledged == people(*range(10))
    assert after.outcome is Outcome.NO_CHANGE


@pytest.mark.parametrize("free", [True, False])
def test_a_push_reads_a_source_that_has_not_changed(world: World, free: bool) -> None:
    source = world.asked(people(*range(10)), guard=STRICT)
    source.free = free
    world.vendor.known |= EVERYBODY
    with world.engine() as engine:
        ran(engine, world)
        world.vendor.cohort.members -= people(3)
        report = push(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert source.questions[-1].by_person
    assert world.vendor.cohort.members == people(*range(10))


def test_a_push_makes_no_ghost_of_a_former_member(world: World) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(*range(1, 10))

    with world.engine() as engine:
        report = push(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.sent(Operation.REMOVE) == [*people(0)]
    assert world.vendor.cohort.members == people(*range(1, 10))


def test_a_push_under_which_too_many_would_leave_is_held_and_may_be_approved(
    world: World,
) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(1, 2)

    with world.engine() as engine:
        report = push(engine, world)
        assert (report.outcome, report.reason) == (Outcome.HELD, "guard.max_exit")
        assert world.vendor.requests == []
        approved = engine.approve(
            Decision(run_id=report.run_id, actor="ann", via="cli", reason="it is meant")
        )

    assert approved is not None
    assert approved.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2)
    assert set(world.vendor.sent(Operation.ADD)) == people(1, 2)


def test_a_push_needs_no_second_word_for_a_baseline_that_was_lost(
    world: World,
) -> None:
    filled(world, *range(10))
    lose_a_chunk(world)
    with world.engine() as engine:
        assert ran(engine, world).reason == "guard.baseline"
        commands.reject(engine, {"run": held(world), **by_ann()})
        report = push(engine, world)
        after = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert believed(world.database).acknowledged == people(*range(10))
    assert after.outcome is Outcome.NO_CHANGE


def by_ann() -> dict[str, str]:
    return {"actor": "ann", "via": "cli", "reason": "begin anew"}


def held(world: World) -> str:
    found = held_run(world.database)
    assert found is not None
    return found.id


def test_a_push_is_refused_while_a_plan_waits_for_a_person(world: World) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(1)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.HELD

        with pytest.raises(WaitsForPerson) as refusal:
            push(engine, world)

    assert "syncd show" in refusal.value.hint
    assert world.vendor.requests == []


def test_a_push_is_refused_while_the_sync_is_paused(world: World) -> None:
    filled(world, *range(10))
    paused(world)

    with world.engine() as engine, pytest.raises(Paused):
        push(engine, world)

    assert world.vendor.requests == []


def test_a_push_that_died_in_the_middle_is_gone_on_with_and_loses_nobody(
    world: World,
) -> None:
    filled(world, *range(12))
    world.sources["vip"].members = people(*range(1, 12))
    world.vendor.cohort.members -= people(5, 9)
    store = Mortal(world.database)
    seen: list[object] = []

    def die(request: object) -> None:
        seen.append(request)
        if len(seen) == 4:  # the second request, once it had its effect
            store.die()

    world.vendor.watch = die
    with world.engine(store) as engine:
        push(engine, world)
    world.vendor.watch = lambda _: None

    with world.engine() as engine:
        advance(world)
        assert engine.close_abandoned() == ["vip"]
        resumed = engine.resume("vip")

    assert resumed is not None
    assert (resumed.trigger, resumed.outcome) == (Trigger.RESUME, Outcome.SUCCESS)
    assert world.vendor.cohort.members == people(*range(1, 12))
    assert believed(world.database).acknowledged == people(*range(1, 12))


def test_who_pushed_and_why_is_in_the_audit_trail_and_in_the_log(
    world: World, lines: list[EventDict]
) -> None:
    filled(world, *range(10))

    with world.engine() as engine:
        report = push(engine, world)

    actions = "SELECT verb, actor, reason, run_id FROM action"
    assert rows(world.database, actions) == [
        ("resync push", "ann", "the store was restored", report.run_id)
    ]
    (said,) = [each for each in lines if each["event"] == "operator.resynced"]
    assert (said["actor"], said["via"], said["how"]) == ("ann", "cli", "resync push")


# ---- adopt --------------------------------------------------------------------------


def test_adopting_takes_who_is_there_and_sends_nothing(world: World) -> None:
    filled(world, *range(10))
    world.vendor.cohort.members |= people(20, 21)
    world.vendor.cohort.members -= people(3)

    with world.engine() as engine:
        report = adopt(engine, world, read_back(world))

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "resync.adopted")
    assert report.numbers["adopted"] == {
        "from": "destination",
        "members": 11,
        "before": 10,
        "new": 2,
        "gone": 1,
    }
    assert world.vendor.requests == []
    assert believed(world.database).acknowledged == world.vendor.cohort.members


def test_the_run_after_an_adoption_sends_what_differs(world: World) -> None:
    filled(world, *range(10))
    world.vendor.cohort.members |= people(20)
    world.vendor.cohort.members -= people(3)

    with world.engine() as engine:
        adopt(engine, world, read_back(world))
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.sent(Operation.ADD) == [*people(3)]
    assert world.vendor.sent(Operation.REMOVE) == [*people(20)]
    assert world.vendor.cohort.members == people(*range(10))


def test_a_lost_store_adopts_the_cohort_that_is_there(world: World) -> None:
    filled(world, *range(10))
    with world.database.begin() as connection:
        (binding,) = bindings.of_sync(connection, "vip")
        bindings.drop(connection, binding.id)
    world.sources["vip"].members = people(*range(11))

    with world.engine() as engine:
        adopt(engine, world, read_back(world))
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.sent(Operation.ADD) == [*people(10)]
    assert len(world.vendor.cohorts) == 1


def test_a_lost_baseline_is_whole_again_once_it_is_adopted(world: World) -> None:
    filled(world, *range(10))
    lose_a_chunk(world)

    with world.engine() as engine:
        assert ran(engine, world).reason == "guard.baseline"
        commands.reject(engine, {"run": held(world), **by_ann()})
        adopt(engine, world, read_back(world))
        after = ran(engine, world)

    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.requests == []


def test_a_target_that_cannot_be_read_is_believed_to_hold_the_source(
    world: World,
) -> None:
    filled(world, *range(10))
    world.sources["vip"].members = people(*range(4, 14))

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=None))
        after = ran(engine, world)

    assert report.numbers["adopted"]["from"] == "source"
    assert believed(world.database).acknowledged == people(*range(4, 14))
    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.requests == []


def test_a_paused_sync_may_adopt_since_nothing_is_sent(world: World) -> None:
    filled(world, *range(10))
    paused(world)

    with world.engine() as engine:
        report = adopt(engine, world, read_back(world))

    assert report.reason == "resync.adopted"


def test_an_adoption_forgets_batches_without_an_answer_and_who_was_not_taken(
    world: World,
) -> None:
    filled(world, *range(10))
    world.vendor.locked_out = True
    world.sources["vip"].members |= people(30, 77)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.FAILED
    world.vendor.locked_out = False

    with world.engine() as engine:
        advance(world)
        world.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
        adopt(engine, world, read_back(world))
        assert believed(world.database).uncertain == frozenset()
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(10), 30)


def test_another_match_is_adopted_without_emptying_the_cohort(world: World) -> None:
    filled(world, *range(10))
    numbers = {str(each).encode() for each in range(100, 110)}
    world.sync(match=IdType.AMPLITUDE_ID, guard=STRICT)
    world.sources["vip"].members = numbers

    with world.engine() as engine:
        adopt(engine, world, Belief(reads=holding(numbers)))
        after = ran(engine, world)

    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.requests == []
    with world.database.read() as connection:
        roles = [each.role for each in bindings.of_sync(connection, "vip")]
    assert roles == [Role.RETIRED, Role.CURRENT]


def test_batches_under_the_old_match_do_not_outlive_an_adoption(world: World) -> None:
    filled(world, *range(10))
    world.sources["vip"].members |= people(30)
    world.vendor.script.append(REFUSED)
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.PARTIAL
    numbers = {str(each).encode() for each in range(100, 110)}
    world.sync(match=IdType.AMPLITUDE_ID, guard=STRICT)

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=holding(numbers)))

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "resync.adopted")
    waiting = "SELECT count(*) FROM batch WHERE state IN ('open', 'dead')"
    assert rows(world.database, waiting) == [(0,)]


def test_a_changed_source_is_adopted_and_not_held_any_more(world: World) -> None:
    filled(world, *range(10))
    world.sources["vip"].named = "another query"

    with world.engine() as engine:
        adopt(engine, world, read_back(world))
        after = ran(engine, world)

    assert after.outcome is Outcome.NO_CHANGE


def test_nothing_is_adopted_where_there_is_no_target(world: World) -> None:
    world.sync(members=people(1))

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=holding(())))

    assert (report.outcome, report.reason) == (Outcome.FAILED, "resync.no_target")
    assert believed(world.database).acknowledged == frozenset()


def test_credentials_that_the_target_refuses_stop_the_target_and_not_the_source(
    world: World,
) -> None:
    filled(world, *range(10))
    world.vendor.locked_out = True

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=holding(())))

    assert report.outcome is Outcome.FAILED
    stopped = "SELECT name FROM connection WHERE stopped_at IS NOT NULL"
    assert rows(world.database, stopped) == [("amplitude",)]
    assert believed(world.database).acknowledged == people(*range(10))


def test_an_adoption_that_may_not_download_changes_nothing(world: World) -> None:
    filled(world, *range(10))
    no = Postponed(reason="quota", message="the month is used up")

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=lambda *_: no))

    assert (report.outcome, report.reason) == (Outcome.FAILED, "resync.no_list")
    assert "the month is used up" in report.message
    assert believed(world.database).acknowledged == people(*range(10))


def test_an_adoption_that_died_left_everything_as_it_was(world: World) -> None:
    filled(world, *range(10))
    store = Mortal(world.database)

    with world.engine(store) as engine:
        # Looked for an expired plan, begun; dead before the adoption is durable.
        store.die_at(3, before_commit=True)
        adopt(engine, world, Belief(reads=holding(people(1))))

    assert believed(world.database).acknowledged == people(*range(10))


class WaitedFor(ManualClock):
    """Time passes for whoever waits."""

    def wait(self, event: threading.Event, delay: timedelta) -> bool:
        self.advance(delay)
        return event.is_set()


def test_a_list_is_read_once_the_last_request_of_a_dead_process_has_landed(
    world: World,
) -> None:
    world.clock = WaitedFor()
    filled(world, *range(10))
    with world.database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", world.clock.wall())
    world.clock.advance(5 * MINUTE)
    begun, read_at = world.clock.now() + MINUTE, []

    def reads(_run: Run, _cohort_id: str) -> Listing | Postponed:
        read_at.append(world.clock.now())
        return AskedSource(world.vendor.cohort.members)

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=reads))

    assert report.reason == "resync.adopted"
    assert read_at == [begun + world.request_deadline]


def test_who_is_to_be_forgotten_and_is_there_is_removed_by_the_next_run(
    world: World,
) -> None:
    filled(world, *range(10))
    with world.database.begin() as connection:
        forgotten.add(connection, [(b"person-0003", IdType.USER_ID)], NOW)

    with world.engine() as engine:
        adopt(engine, world, read_back(world))
        assert b"person-0003" in believed(world.database).acknowledged
        ran(engine, world)

    assert world.vendor.cohort.members == people(*range(10)) - people(3)


def test_who_was_forgotten_and_is_put_back_by_others_is_removed_after_an_adoption(
    world: World,
) -> None:
    filled(world, *range(10))
    with world.database.begin() as connection:
        forgotten.add(connection, [(b"person-0003", IdType.USER_ID)], NOW)
    with world.engine() as engine:
        advance(world)
        engine.let_go("vip")
        assert b"person-0003" not in world.vendor.cohort.members
        world.vendor.cohort.members |= people(3)

        adopt(engine, world, read_back(world))
        ran(engine, world)

    assert b"person-0003" not in world.vendor.cohort.members


def test_a_belief_in_the_source_waits_for_those_who_are_to_be_forgotten(
    world: World,
) -> None:
    filled(world, *range(10))
    with world.database.begin() as connection:
        forgotten.add(connection, [(b"person-0003", IdType.USER_ID)], NOW)

    with world.engine() as engine:
        report = adopt(engine, world, Belief(reads=None))

    assert report.reason == "resync.forgetting"
    assert believed(world.database).acknowledged == people(*range(10))


def test_words_stand_above_a_cohort_that_was_adopted_where_there_is_no_list(
    world: World,
) -> None:
    feed = world.fed(begins_whole=True, guard=STRICT)
    world.vendor.known |= EVERYBODY
    feed.say(enter=people(*range(10)))
    with world.engine() as engine:
        ran(engine, world)
        world.vendor.cohort.members -= people(3)
        world.vendor.cohort.members |= people(20)
        feed.say(leave=people(9))
        belief = replace(read_back(world), mark=adopted(feed.feed, world.clock.now()))
        adopt(engine, world, belief)
        report = ran(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(9), 20)


def test_a_push_after_an_adoption_stands_on_whom_it_adopted(world: World) -> None:
    feed = world.fed(begins_whole=True, guard=replace(STRICT, ignore_below=50))
    world.vendor.known |= EVERYBODY
    feed.say(enter=people(*range(10)))
    with world.engine() as engine:
        ran(engine, world)
        # Of 20 and 21 words were pushed so long ago that none is kept.
        world.vendor.cohort.members |= people(20, 21)
        feed.say(leave=people(9))
        mark = adopted(feed.feed, world.clock.now())
        adopt(engine, world, replace(read_back(world), mark=mark))
        report = push(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert set(world.vendor.sent(Operation.REMOVE)) == people(9)
    assert world.vendor.cohort.members == people(*range(9), 20, 21)


# ---- the command --------------------------------------------------------------------


def test_the_command_pushes_and_answers_with_the_run(world: World) -> None:
    filled(world, *range(10))

    with world.engine() as engine:
        answer = resyncing.resync(engine, {"sync": "vip", "how": "push", **by_ann()})

    assert (answer["run"]["outcome"], answer["run"]["entered"]) == ("success", 10)


@pytest.mark.parametrize(
    "changes", [{"how": "pull"}, {"reason": "  "}], ids=["unknown", "no reason"]
)
def test_a_command_that_means_nothing_is_refused(
    world: World, changes: dict[str, str]
) -> None:
    filled(world, *range(10))

    body = {"sync": "vip", "how": "push", **by_ann()} | changes
    with world.engine() as engine, pytest.raises(resync.NotResyncable) as refusal:
        resyncing.resync(engine, body)

    assert refusal.value.code == "resync.invalid"


def test_a_sync_that_is_not_configured_cannot_begin_anew(world: World) -> None:
    filled(world, *range(10))

    with world.engine() as engine, pytest.raises(UnknownSync):
        resyncing.resync(engine, {"sync": "vap", "how": "push", **by_ann()})
