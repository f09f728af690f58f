"""A repair as a run: what it sends, what it leaves, and when it sends nothing."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.cli import person
from syncd.cli.person_moments import moments
from syncd.config.settings import GuardSettings
from syncd.errors import SyncdError
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.sources import Postponed, Unchanged
from syncd.store import authorship, bindings, compaction, forgotten
from syncd.sync import mending
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.differences import Causes
from syncd.sync.mending import Errand
from syncd.sync.run import run as story_of
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    Mortal,
    World,
    believed,
    held_run,
    people,
    rows,
)

EVERYBODY = people(*range(10))


def vip(world: World, **changes: Any) -> None:
    """Ten people are wanted; forty exist."""
    world.sync(members=EVERYBODY, **changes)
    world.vendor.known = people(*range(40))


def run(engine: Engine, world: World) -> Report:
    world.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.SCHEDULE)
    assert report is not None
    return report


def tamper(
    world: World, *, out: Iterable[bytes] = (), put_in: Iterable[bytes] = ()
) -> None:
    """Somebody edits the cohort by hand; requests are counted from here on."""
    world.vendor.cohort.members.difference_update(out)
    world.vendor.cohort.members.update(put_in)
    world.vendor.requests.clear()


def errand(
    world: World, *, missing: Iterable[bytes] = (), ours: Iterable[bytes] = ()
) -> Errand:
    """As a verification would have found it."""
    with world.database.read() as connection:
        binding = bindings.current(connection, "vip")
        assert binding is not None
        return Errand(
            binding=binding,
            moment=authorship.newest_moment(connection, binding),
            as_of=world.clock.now(),
            causes=Causes(
                missing=frozenset(missing),
                ours=frozenset(ours),
                returned=frozenset(),
                others=frozenset(),
            ),
            actor="ann",
            via="cli",
            reason="somebody edited it",
        )


def repair(engine: Engine, world: World, found: Errand) -> Report:
    world.clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
    with engine.alone("vip") as (parts, spec):
        report = story_of(parts, spec, Trigger.REPAIR, story=mending.story(found))
    assert report is not None
    return report


def sent(world: World) -> tuple[set[bytes], set[bytes]]:
    adds = set(world.vendor.sent(Operation.ADD))
    return adds, set(world.vendor.sent(Operation.REMOVE))


def test_what_was_found_is_sent_and_the_next_run_has_nothing_to_do(
    world: World, lines: list[EventDict]
) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1, 2), put_in=people(20, 30))

        report = repair(
            engine, world, errand(world, missing=people(1, 2), ours=people(20))
        )
        moved = sent(world)
        after = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert moved == (people(1, 2), people(20))
    assert world.vendor.cohort.members == EVERYBODY | people(30)
    assert (after.outcome, sent(world)) == (Outcome.NO_CHANGE, moved)
    assert believed(world.database).acknowledged == EVERYBODY
    (line,) = [each for each in lines if each["event"] == "operator.repaired"]
    assert (line["actor"], line["add"], line["remove"]) == ("ann", 2, 1)
    trail = rows(world.database, "SELECT verb, actor, run_id FROM action")
    assert trail == [("repair", "ann", report.run_id)]
    assert report.numbers["repairs"]["ghosts_ours"] == 1


def test_what_the_source_says_today_decides_and_other_changes_wait(
    world: World,
) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1, 2), put_in=people(20, 21))
        world.sources["vip"].members = (EVERYBODY - people(1)) | people(20, 25)

        repair(engine, world, errand(world, missing=people(1, 2), ours=people(20, 21)))
        moved = sent(world)
        run(engine, world)

    assert moved == (people(2), people(21)), "1 left, 20 is wanted again"
    assert world.vendor.cohort.members == (EVERYBODY - people(1)) | people(20, 25)


@pytest.mark.parametrize("moved", ["run", "answer"])
def test_nothing_is_sent_on_evidence_from_before_something_moved(
    world: World, moved: str
) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        old = errand(world, missing=people(1))
        world.sources["vip"].members = EVERYBODY | people(20)
        if moved == "answer":
            world.vendor.always = FAILED_BEFORE
        run(engine, world)
        world.vendor.always = None
        world.vendor.requests.clear()
        report = repair(engine, world, old)

    assert world.vendor.requests == []
    wanted = Outcome.SKIPPED if moved == "run" else Outcome.PARTIAL
    assert (report.outcome, report.reason) == (wanted, "repair.stale")
    assert report.hint == "syncd verify vip --repair"


def test_the_same_evidence_repairs_once(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1))
        found = errand(world, missing=people(1))
        repair(engine, world, found)
        world.vendor.requests.clear()
        again = repair(engine, world, found)

    assert (again.outcome, again.reason) == (Outcome.SKIPPED, "repair.stale")
    assert world.vendor.requests == []


def test_open_batches_are_asserted_again_as_the_source_says(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = EVERYBODY | people(20, 21)
        world.vendor.always = FAILED_BEFORE
        assert run(engine, world).outcome is Outcome.PARTIAL
        world.vendor.always = None
        tamper(world, out=people(1), put_in=people(21))
        world.sources["vip"].members = EVERYBODY | people(20)

        repair(engine, world, errand(world, missing=people(1)))
        moved = sent(world)
        world.sources["vip"].members = EVERYBODY | people(20, 21)
        run(engine, world)

    assert moved == (people(1, 20), people(21)), "21 was left by a request of ours"
    assert world.vendor.cohort.members == EVERYBODY | people(20, 21)


def test_a_repair_above_the_limits_is_held_and_approved_as_any_plan(
    world: World,
) -> None:
    strict = GuardSettings(max_exit=0.2, max_enter=10.0, ignore_below=0, on_trip="hold")
    vip(world, guard=strict)
    ghosts = people(*range(20, 30))
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1), put_in=ghosts)
        found = errand(world, missing=people(1), ours=ghosts)
        held = repair(engine, world, found)
        waiting = held_run(world.database)
        with pytest.raises(WaitsForPerson):
            repair(engine, world, found)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.max_exit")
    assert waiting is not None
    assert (waiting.trigger, waiting.id) == (Trigger.REPAIR, held.run_id)
    assert world.vendor.requests == []


def test_a_source_that_has_nothing_new_lets_the_last_plan_say_who_is_wanted(
    world: World,
) -> None:
    source = world.asked(EVERYBODY)
    world.vendor.known = people(*range(40))
    with world.engine() as engine:
        run(engine, world)
        reads = source.reads
        tamper(world, out=people(1), put_in=people(20))
        source.answer = Unchanged()
        report = repair(
            engine, world, errand(world, missing=people(1), ours=people(20))
        )

    assert (report.outcome, source.reads) == (Outcome.SUCCESS, reads)
    assert world.vendor.cohort.members == EVERYBODY


def test_without_the_newest_word_of_the_source_nothing_is_sent(
    world: World, lines: list[EventDict]
) -> None:
    source = world.asked(EVERYBODY)
    world.vendor.known = people(*range(40))
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1))
        source.answer = Postponed(reason="quota", message="the month is used up")
        report = repair(engine, world, errand(world, missing=people(1)))

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "quota")
    assert world.vendor.requests == []
    assert [each["reason"] for each in lines if each["event"] == "run.skipped"]


def test_words_that_were_pushed_since_the_last_plan_count(world: World) -> None:
    feed = world.fed()
    world.vendor.known = people(*range(40))
    feed.say(enter=EVERYBODY)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1, 2), put_in=people(20, 21))
        feed.say(leave=people(1), enter=people(20))
        repair(engine, world, errand(world, missing=people(1, 2), ours=people(20, 21)))
        moved = sent(world)
        run(engine, world)

    assert moved == (people(2), people(21))
    assert world.vendor.cohort.members == (EVERYBODY - people(1)) | people(20)


def test_the_unmatched_are_left_as_they_are(world: World) -> None:
    world.sync(members=EVERYBODY | people(50))
    world.vendor.known = people(*range(40))
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1))
        world.clock.advance(timedelta(days=1))  # type: ignore[attr-defined]
        repair(engine, world, errand(world, missing=people(1)))

    assert sent(world) == (people(1), set()), "50 is due, and left to the next run"
    assert believed(world.database).unaccepted == people(50)


def test_a_cut_off_repair_goes_on_as_any_plan(world: World) -> None:
    vip(world)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1))
        world.vendor.always = FAILED_BEFORE
        cut = repair(engine, world, errand(world, missing=people(1)))
        world.vendor.always = None
        after = run(engine, world)

    assert cut.outcome is Outcome.PARTIAL
    assert after.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == EVERYBODY


@pytest.mark.parametrize("before_commit", [False, True])
def test_wherever_a_repair_is_cut_off_it_comes_to_its_end(
    world: World, before_commit: bool
) -> None:
    """Dead at each of its write transactions in turn; the next start goes on."""
    vip(world)
    with world.engine() as engine:
        run(engine, world)
    cut_off = 0
    for moment in range(1, 13):
        tamper(world, out=people(1, 2, 3, 4), put_in=people(20, 30))
        found = errand(world, missing=people(1, 2, 3, 4), ours=people(20))
        dying = Mortal(world.database)
        engine = world.engine(dying)
        engine.start()
        dying.die_at(moment, before_commit=before_commit)
        with suppress(SyncdError):
            repair(engine, world, found)
        cut_off += dying.dead
        engine.close()
        world.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
        with world.engine() as engine:
            for name in engine.close_abandoned():
                engine.resume(name)
            left = EVERYBODY - world.vendor.cohort.members
            if left or people(20) & world.vendor.cohort.members:
                assert left == people(1, 2, 3, 4), "all of its plan, or nothing"
                again = errand(world, missing=left, ours=people(20))
                assert repair(engine, world, again).outcome is Outcome.SUCCESS
        assert world.vendor.cohort.members == EVERYBODY | people(30)
        assert not believed(world.database).uncertain
        assert believed(world.database).acknowledged == EVERYBODY
    assert cut_off > 4


def test_who_asked_to_be_forgotten_is_not_put_back(world: World) -> None:
    vip(world)
    (gone,) = people(1)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=people(1, 2))
        with world.database.begin() as connection:
            now = world.clock.now()
            forgotten.add(connection, [(gone, IdType.USER_ID)], now)
        report = repair(engine, world, errand(world, missing=people(1, 2)))

    assert sent(world) == (people(2), set())
    assert report.outcome is Outcome.SUCCESS
    assert not believed(world.database).uncertain


def time_line(world: World, who: bytes) -> list[str]:
    """What `why` tells of a person."""
    (sync,) = world.blueprint().settings.syncs
    with world.database.read() as connection:
        found = person.read(
            connection, world.blueprint().settings, sync, who, world.clock.now()
        )
    return [each.text for each in moments(found, lambda t: f"{t:%H:%M}")]


@pytest.mark.parametrize("kept", ["payload", "trace"])
def test_a_time_line_names_the_repair_even_when_it_was_held_first(
    world: World, kept: str
) -> None:
    strict = GuardSettings(max_exit=0.0, max_enter=10.0, ignore_below=0, on_trip="hold")
    vip(world, guard=strict)
    (one,) = people(1)
    with world.engine() as engine:
        run(engine, world)
        tamper(world, out=[one], put_in=people(20))
        found = errand(world, missing=[one], ours=people(20))
        world.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
        held = repair(engine, world, found)
        world.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
        engine.approve(
            Decision(run_id=held.run_id, actor="joe", via="cli", reason="looked at it")
        )
        if kept == "trace":
            compaction.compact(world.database, found.binding.id)

    told = [text for text in time_line(world, one) if text.endswith(", a repair")]
    assert [text.partition(":")[0] for text in told][-1] == "acknowledged"
    assert len(told) == (2 if kept == "payload" else 1)
