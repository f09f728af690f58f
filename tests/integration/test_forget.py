"""Who asked to be forgotten leaves every target, is not taken in again by any way, and
nothing of them is left in the store, on SQLite and on Postgres."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select
from structlog.types import EventDict

from syncd.app import forgetting
from syncd.app.engine import Engine
from syncd.app.forgetting import LettingGo, NotForgettable
from syncd.config.settings import GuardSettings
from syncd.model import BatchState, IdType, Operation, Outcome, Trigger
from syncd.store import (
    bindings,
    compaction,
    forgotten,
    inbox,
    installation,
    traces,
    unsettled,
)
from syncd.store.database import Database
from syncd.store.tables import action, metadata, run, trace
from syncd.sync import letting_go
from syncd.sync.decide import Decision
from syncd.sync.outbox import Choice
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    NOW,
    World,
    believed,
    held_run,
    people,
)

SECOND = timedelta(seconds=1)
EVERY_BATCH = Choice(batches=(), actor="ann", via="cli", reason="it answers again")
STRICT = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, spool=tmp_path)


def advance(world: World, by: timedelta = SECOND) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def at_once(_: str, action: Callable[[], object]) -> None:
    """What the scheduler does in a thread of its own."""
    action()


def go(engine: Engine, world: World, name: str = "vip") -> Report:
    advance(world)
    report = engine.run(name, Trigger.MANUAL)
    assert report is not None
    return report


def forget(
    engine: Engine, world: World, ids: Iterable[bytes], match: IdType = IdType.USER_ID
) -> dict[str, Any]:
    advance(world)
    body = {
        "ids": "\n".join(each.decode() for each in ids),
        "match": match.value,
        "actor": "ann",
        "via": "cli",
    }
    return forgetting.forget(engine, body)


def states(answer: dict[str, Any]) -> dict[str, str]:
    return {each["sync"]: each["state"] for each in answer["syncs"]}


def mentions(connection: Connection, member_id: bytes) -> set[str]:
    """The tables in which an id is to be read, or a trace of it."""
    found = set()
    for table in metadata.sorted_tables:
        for row in connection.execute(select(table)):
            if member_id.decode() in " ".join(map(str, row)):
                found.add(table.name)
    wanted = traces.fingerprint(member_id)
    hashes = connection.execute(select(trace.c.hashes)).scalars()
    if any(traces.holds(each, wanted) for each in hashes):
        found.add("trace")
    return found


def left_of(world: World, ids: Iterable[bytes]) -> set[str]:
    with world.database.read() as connection:
        return set().union(*(mentions(connection, each) for each in ids))


# ---- they leave --------------------------------------------------------------


def test_who_is_forgotten_leaves_every_target_and_every_table(world: World) -> None:
    world.sync("vip", members=people(*range(10)))
    world.sync("new", members=people(3, 4, 5))
    world.vendor.known = people(*range(9))
    gone = people(3, 9)
    with world.engine() as engine:
        go(engine, world)
        go(engine, world, "new")
        world.sources["vip"].members = world.sources["new"].members = people(3)
        answer = forget(engine, world, gone)

    vip, new = world.vendor.cohorts.values()
    assert states(answer) == {"new": "removed", "vip": "removed"}
    assert [each["removed"] for each in answer["syncs"]] == [1, 1]
    assert vip.members == people(0, 1, 2, 4, 5, 6, 7, 8)
    assert new.members == people(4, 5)
    assert left_of(world, gone) == set()
    assert answer["rewritten"]


def test_no_list_brings_them_back_and_the_next_run_has_nothing_to_do(
    world: World,
) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
        forget(engine, world, people(3))
        world.vendor.requests.clear()
        reports = [go(engine, world) for _ in range(3)]

    assert [each.outcome for each in reports] == [Outcome.NO_CHANGE] * 3
    assert reports[0].numbers["refused"] == {"forgotten": 1}
    assert world.vendor.requests == []
    assert left_of(world, people(3)) == set()


def test_who_was_never_a_member_is_not_added_by_a_later_list(world: World) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        go(engine, world)
        answer = forget(engine, world, people(3))
        world.sources["vip"].members = people(1, 2, 3)
        report = go(engine, world)

    assert states(answer) == {"vip": "clean"}
    assert report.numbers["refused"] == {"forgotten": 1}
    assert world.vendor.cohort.members == people(1, 2)
    assert people(3).isdisjoint(world.vendor.ever_sent)


def test_a_first_sync_leaves_them_out(world: World) -> None:
    world.sync(members=people(1, 2, 3))
    world.vendor.known = people(1, 2, 3)
    with world.engine() as engine:
        forget(engine, world, people(3))
        report = go(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2)
    assert people(3).isdisjoint(world.vendor.ever_sent)


def test_the_other_kind_of_id_is_somebody_elses(world: World) -> None:
    world.sync(members={b"1234567", b"7654321"})
    world.vendor.known = {b"1234567", b"7654321"}
    with world.engine() as engine:
        go(engine, world)
        answer = forget(engine, world, {b"1234567"}, IdType.AMPLITUDE_ID)
        go(engine, world)

    assert states(answer) == {"vip": "clean"}
    assert world.vendor.cohort.members == {b"1234567", b"7654321"}


def test_the_source_is_not_asked_to_let_somebody_go(world: World) -> None:
    source = world.asked(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
        before = len(source.questions), source.reads
        forget(engine, world, people(3))

    assert (len(source.questions), source.reads) == before
    assert world.vendor.cohort.members == people(0, 1, 2, 4, 5, 6, 7, 8, 9)


def test_the_last_member_may_be_forgotten_without_an_approval(world: World) -> None:
    world.sync(members=people(1))
    world.vendor.known = people(1)
    with world.engine() as engine:
        go(engine, world)
        answer = forget(engine, world, people(1))

    assert states(answer) == {"vip": "removed"}
    assert world.vendor.cohort.members == set()


# ---- what is on its way ------------------------------------------------------


def test_an_open_batch_that_adds_them_is_never_sent_after_that(world: World) -> None:
    world.sync(members=people(*range(6)))
    world.vendor.known = people(*range(6))
    world.vendor.always = FAILED_BEFORE
    with world.engine() as engine:
        assert go(engine, world).outcome is Outcome.PARTIAL
        world.vendor.always = None
        world.vendor.ever_sent.clear()
        answer = forget(engine, world, people(3))

    assert states(answer) == {"vip": "removed"}
    assert people(3).isdisjoint(world.vendor.sent(Operation.ADD))
    assert world.vendor.cohort.members == people(0, 1, 2, 4, 5)
    assert left_of(world, people(3)) == set()


def test_batches_that_are_sent_again_as_they_stand_leave_them_out(
    world: World,
) -> None:
    world.sync(members=people(*range(6)))
    world.vendor.known = people(*range(6))
    world.vendor.always = FAILED_BEFORE
    with world.engine() as engine:
        go(engine, world)
        with world.database.begin() as connection:
            forgotten.add(connection, [(next(iter(people(3))), IdType.USER_ID)], NOW)
        world.vendor.always = None
        world.vendor.ever_sent.clear()
        advance(world)
        report = engine.retry_batches("vip", EVERY_BATCH)
        assert report is not None
        assert report.outcome is Outcome.PARTIAL
        assert people(3).isdisjoint(world.vendor.ever_sent)
        assert believed(world.database).uncertain == people(3)
        assert engine.let_go("vip") is not None

    assert world.vendor.cohort.members == people(0, 1, 2, 4, 5)
    assert believed(world.database).uncertain == frozenset()
    assert left_of(world, people(3)) == set()


def test_an_answer_that_was_lost_is_made_good_by_a_removal(world: World) -> None:
    world.sync(members=people(*range(3)))
    world.vendor.known = people(*range(3))
    with world.engine() as engine:
        go(engine, world)
        world.sources["vip"].members = people(0, 1, 2, 3)
        world.vendor.known |= people(3)
        world.vendor.always = LOST_ANSWER
        assert go(engine, world).outcome is Outcome.PARTIAL
        assert people(3) <= world.vendor.cohort.members
        world.vendor.always = None
        forget(engine, world, people(3))

    assert world.vendor.cohort.members == people(0, 1, 2)
    assert left_of(world, people(3)) == set()


def test_where_nothing_can_be_delivered_it_waits_and_is_gone_on_with(
    world: World,
) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
        world.vendor.always = FAILED_BEFORE
        answer = forget(engine, world, people(3))
        with world.database.read() as connection:
            (waits,) = forgetting.waiting(connection, ["vip"], world.clock.now())
        world.vendor.always = None
        looking = LettingGo(engine, at_once)
        looking.look()

    assert states(answer) == {"vip": "failed"}
    assert not answer["rewritten"]
    assert (waits.people, waits.reachable) == (1, True)
    assert people(3).isdisjoint(world.vendor.cohort.members)
    assert left_of(world, people(3)) == set()


def test_the_daemon_does_not_try_in_vain_all_the_time(world: World) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
        world.vendor.always = FAILED_BEFORE
        looking = LettingGo(engine, at_once)
        with world.database.begin() as connection:
            forgotten.add(connection, [(next(iter(people(3))), IdType.USER_ID)], NOW)
        tried = []
        for minutes in (0, 1, 13, 2):
            advance(world, timedelta(minutes=minutes))
            looking.look()
            tried.append(runs_of(world, Trigger.FORGET))

    assert tried == [1, 1, 1, 2]


def test_nobody_is_let_go_in_the_thread_that_looks_for_whom(world: World) -> None:
    """That thread has the heartbeat's work too, and a run may take hours."""
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    later: dict[str, Callable[[], object]] = {}
    with world.engine() as engine:
        go(engine, world)
        with world.database.begin() as connection:
            forgotten.add(connection, [(next(iter(people(3))), IdType.USER_ID)], NOW)
        LettingGo(engine, later.__setitem__).look()
        ran, asked = runs_of(world, Trigger.FORGET), list(later)
        later["let-go:vip"]()

    assert (ran, asked) == (0, ["let-go:vip"])
    assert runs_of(world, Trigger.FORGET) == 1


def runs_of(world: World, trigger: Trigger) -> int:
    with world.database.read() as connection:
        found = connection.execute(select(run.c.id).where(run.c.trigger == trigger))
        return len(found.all())


def test_recorded_and_then_killed_is_finished_by_the_next_process(world: World) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(9))
    with world.engine() as engine:
        go(engine, world)
    gone = people(3, 9)
    with world.database.begin() as connection:
        forgotten.add(connection, [(each, IdType.USER_ID) for each in gone], NOW)

    with world.engine() as engine:
        LettingGo(engine, at_once).look()
        forgetting.prune(engine)

    assert people(3).isdisjoint(world.vendor.cohort.members)
    assert left_of(world, gone) == set()


# ---- the guard ---------------------------------------------------------------


def test_more_than_the_limit_is_held_and_an_approval_lets_them_go(
    world: World,
) -> None:
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known = people(*range(10))
    gone = people(1, 2, 3)
    with world.engine() as engine:
        go(engine, world)
        answer = forget(engine, world, gone)
        held = held_run(world.database)
        assert held is not None
        still = world.vendor.cohort.members == people(*range(10))
        LettingGo(engine, at_once).look()
        assert held_run(world.database) == held
        advance(world)
        engine.approve(
            Decision(run_id=held.id, actor="ann", via="cli", reason="they asked")
        )
        LettingGo(engine, at_once).look()

    assert states(answer) == {"vip": "held"}
    assert still
    assert world.vendor.cohort.members == people(0, *range(4, 10))
    assert left_of(world, gone) == set()


def test_a_held_plan_that_would_add_them_is_dropped(world: World) -> None:
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known = people(*range(40))
    with world.engine() as engine:
        go(engine, world)
        world.sources["vip"].members = people(1, 20)
        assert go(engine, world).outcome is Outcome.HELD
        answer = forget(engine, world, people(20))
        assert states(answer) == {"vip": "clean"}
        assert held_run(world.database) is None
        assert left_of(world, people(20)) == set()
        again = go(engine, world)

    assert again.outcome is Outcome.HELD
    assert left_of(world, people(20)) == set()


def test_a_held_plan_that_only_removes_them_goes_on_waiting(world: World) -> None:
    world.sync(members=people(*range(10)), guard=STRICT)
    world.vendor.known = people(*range(40))
    with world.engine() as engine:
        go(engine, world)
        world.sources["vip"].members = people(1, 2, 3)
        assert go(engine, world).outcome is Outcome.HELD
        held = held_run(world.database)
        answer = forget(engine, world, people(9))

    assert states(answer) == {"vip": "held"}
    assert held_run(world.database) == held


# ---- events ------------------------------------------------------------------


def test_a_feeds_words_about_them_are_erased_and_they_leave(world: World) -> None:
    feed = world.fed()
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        feed.say(enter=people(*range(5)), at=NOW)
        go(engine, world)
        feed.say(enter=people(7), at=NOW)
        answer = forget(engine, world, people(3, 7))
        report = go(engine, world)

    assert states(answer) == {"vip": "removed"}
    assert report.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(0, 1, 2, 4)
    assert left_of(world, people(3, 7)) == set()


def test_an_event_about_them_is_refused_at_the_door_and_counted(world: World) -> None:
    world.fed()
    with world.engine() as engine:
        forget(engine, world, people(3))
        kept, refused = engine.remembered.accept(sorted(people(2, 3)), IdType.USER_ID)
        of_another_type, _ = engine.remembered.accept([b"3"], IdType.AMPLITUDE_ID)

    assert (set(kept), refused) == (people(2), {"forgotten": 1})
    assert of_another_type == [b"3"]


def test_a_word_that_slipped_in_changes_nothing_and_is_erased(world: World) -> None:
    feed = world.fed()
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        feed.say(enter=people(*range(5)), at=NOW)
        go(engine, world)
        forget(engine, world, people(3))
        feed.say(enter=people(3), at=NOW)
        report = go(engine, world)
        forgetting.prune(engine)

    assert report.numbers["refused"] == {"forgotten": 1}
    assert world.vendor.cohort.members == people(0, 1, 2, 4)
    assert left_of(world, people(3)) == set()


def test_who_is_deleted_in_engage_leaves_syncs_that_no_event_feeds_too(
    world: World,
) -> None:
    feed = world.fed("fed")
    world.sync("listed", members=people(*range(5)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        feed.say(enter=people(*range(5)), at=NOW)
        go(engine, world, "fed")
        go(engine, world, "listed")
        feed.say(forget=people(3), at=NOW)
        LettingGo(engine, at_once).look()
        reports = go(engine, world, "fed"), go(engine, world, "listed")

    assert [each.members for each in world.vendor.cohorts.values()] == [
        people(0, 1, 2, 4)
    ] * 2
    assert {each.outcome for each in reports} == {Outcome.NO_CHANGE}
    assert left_of(world, people(3)) == set()


# ---- the record --------------------------------------------------------------


def test_who_asked_for_what_is_on_record_without_an_id(
    world: World, lines: list[EventDict]
) -> None:
    world.sync(members=people(1, 2))
    world.vendor.known = people(1, 2)
    with world.engine() as engine:
        go(engine, world)
        forget(engine, world, people(1))

    with world.database.read() as connection:
        row = connection.execute(select(action)).one()
    assert (row.actor, row.verb, row.reason) == ("ann", "forget", "1 ids (user_id)")
    (told,) = [each for each in lines if each["event"] == "operator.forgot"]
    assert (told["people"], told["syncs"]) == (1, 1)
    assert not any("person-0001" in str(line) for line in lines)


def test_only_a_keyed_hash_is_kept(world: World) -> None:
    with world.database.begin() as connection:
        forgotten.add(connection, [(b"user-1", IdType.USER_ID)], NOW)
        key = installation.hash_key(connection)
        people_ = forgotten.load(connection, IdType.USER_ID)

    import hmac

    wanted = hmac.digest(key, b"user_id\0user-1", "sha256")
    assert people_.hashes == {wanted}
    assert people_.among([b"user-1", b"user-2"]) == [b"user-1"]


def test_they_are_remembered_for_30_days_and_longer_while_a_sync_holds_them(
    world: World,
) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
        with world.database.begin() as connection:
            forgotten.add(
                connection,
                [(next(iter(people(3))), IdType.USER_ID)],
                world.clock.now(),
            )
        advance(world, timedelta(days=31))
        forgetting.prune(engine)
        kept = remembered(world)
        engine.let_go("vip")
        forgetting.prune(engine)
        again = remembered(world)
        report = go(engine, world)

    assert (kept, again) == (1, 0)
    assert report.outcome is Outcome.SUCCESS
    assert people(3) <= world.vendor.cohort.members


def remembered(world: World) -> int:
    with world.database.read() as connection:
        return forgotten.count(connection)


@pytest.mark.parametrize("text", ["", "\n\n", "null", " padded"])
def test_what_could_never_be_taken_in_is_refused(world: World, text: str) -> None:
    body = {"ids": text, "match": "user_id", "actor": "ann", "via": "cli"}
    with world.engine() as engine, pytest.raises(NotForgettable) as refusal:
        forgetting.forget(engine, body)

    assert refusal.value.code == "forget.invalid"
    assert remembered(world) == 0


def test_a_former_target_is_named_and_erased_from_the_store(world: World) -> None:
    world.sync(members=people(*range(10)))
    world.vendor.known = people(*range(10))
    with world.engine() as engine:
        go(engine, world)
    with world.database.begin() as connection:
        old = bindings.current(connection, "vip")
        assert old is not None
        bindings.set_role(connection, old.id, bindings.Role.RETIRED)
    world.syncs["vip"] = world.syncs["vip"]
    with world.engine() as engine:
        world.vendor.cohort.name = "former"
        go(engine, world)
        advance(world)
        answer = forget(engine, world, people(3))

    assert answer["elsewhere"] == [{"sync": "vip", "people": 1, "kept": False}]
    assert states(answer) == {"vip": "removed"}
    assert left_of(world, people(3)) == set()
    assert letting_go.CannotLetGo.code == "forget.waits"
    with world.database.read() as connection:
        assert inbox.position(connection) == 0
        assert unsettled.count(connection, [old.id], BatchState.OPEN) == (0, 0)


@pytest.mark.parametrize("holds", [False, True])
def test_a_sync_that_is_off_keeps_the_rest_waiting_only_while_it_names_them(
    world: World, holds: bool
) -> None:
    world.sync("off", members=people(1, 2))
    world.sync("vip", members=people(3, 4))
    world.vendor.known = people(*range(10))
    gone = people(1 if holds else 3)
    with world.engine() as engine:
        go(engine, world, "off")
        go(engine, world)
    world.sync("off", enabled=False)
    with world.engine() as engine:
        answer = forget(engine, world, gone)
        still = [tuple(each.values()) for each in answer["elsewhere"]]

    assert answer["rewritten"] is not holds
    assert still == ([("off", 1, True)] if holds else [])

    world.sync("off", enabled=True)
    with world.engine() as engine:
        LettingGo(engine, at_once).look()
        forgetting.prune(engine)
    assert left_of(world, gone) == set()


def test_a_changed_target_is_not_emptied_by_itself(world: World) -> None:
    """Who is at the old one leaves with a person's word on the change."""
    world.sync(members=people(*range(5)))
    world.vendor.known = people(*range(5))
    with world.engine() as engine:
        go(engine, world)
    world.sources["vip"].named = "another query"
    with world.engine() as engine:
        answer = forget(engine, world, people(3))

    (said,) = answer["syncs"]
    assert said["state"] == "waits"
    assert "changed" in said["message"]
    assert world.vendor.cohort.members == people(*range(5))
    assert runs_of(world, Trigger.FORGET) == 0


def test_traces_of_long_ago_go_with_the_last_batch_that_names_them(
    world: World,
) -> None:
    """Also where only a hash of them is on record, as after a `delete` of Engage."""
    world.sync(members=people(*range(5)))
    world.vendor.known = people(*range(9))
    with world.engine() as engine:
        go(engine, world)
        world.sources["vip"].members = people(*range(9))
        go(engine, world)
        with world.database.read() as connection:
            binding = bindings.current(connection, "vip")
        assert binding is not None
        compaction.compact(world.database, binding.id)
        assert left_of(world, people(7)) == {"chunk", "trace"}
        with world.database.begin() as connection:
            forgotten.add(connection, [(next(iter(people(7))), IdType.USER_ID)], NOW)
        advance(world)
        engine.let_go("vip")

    assert left_of(world, people(7)) == set()
    assert left_of(world, people(8)) == {"chunk", "trace"}
