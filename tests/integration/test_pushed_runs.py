"""Runs of a sync that is fed by events: words, guards, failures, a change of identity.

What a whole list adds is tested beside (`test_pushed_lists`).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app.engine import Engine
from syncd.config.feeds import feed_of
from syncd.config.settings import GuardSettings, ToCohort
from syncd.errors import SyncdError
from syncd.model import IdType, Operation, Outcome, Trigger
from syncd.report.backlog import folded
from syncd.store import bindings, inbox
from syncd.sync.beginning import WaitsForPerson
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    LOST_ANSWER,
    NOW,
    REFUSED,
    Mortal,
    PushedFeed,
    Trouble,
    World,
    believed,
    cohort_of,
    held_run,
    people,
    rows,
    settings_of,
)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
STRICT = GuardSettings(max_exit=0.2, max_enter=2.0, ignore_below=0, on_trip="hold")


def advance(world: World, by: timedelta = SECOND) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def run(engine: Engine, world: World, name: str = "vip") -> Report:
    advance(world)
    report = engine.run(name, Trigger.MANUAL)
    assert report is not None
    return report


def approve(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.approve(decision(world))
    assert report is not None
    return report


def decision(world: World) -> Decision:
    held = held_run(world.database)
    assert held is not None
    return Decision(run_id=held.id, actor="ann", via="cli", reason="looked at it")


def named(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


def fed(world: World, *numbers: int, **changes: object) -> PushedFeed:
    """A sync fed by events, whose first run brought these people."""
    feed = world.fed(**changes)  # type: ignore[arg-type]
    world.vendor.known |= people(*range(100))
    feed.say(enter=people(*numbers))
    with world.engine() as engine:
        assert run(engine, world).outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*numbers)
    world.vendor.requests.clear()
    return feed


def mark_position(world: World, name: str = "vip") -> int:
    """Up to which position the sync's last plan has read its feed."""
    settings = settings_of(*world.syncs.values())
    feed = feed_of(world.syncs[name])
    assert feed is not None
    with world.database.read() as connection:
        return folded(connection, settings)[feed]


def highest(world: World) -> int:
    with world.database.read() as connection:
        return inbox.position(connection)


# ---- words become changes -----------------------------------------------------------


def test_words_become_changes_of_exactly_the_people_they_name(either: World) -> None:
    feed = fed(either, *range(7))

    feed.say(enter=people(20, 21), leave=people(0))
    with either.engine() as engine:
        report = run(engine, either)

    assert report.outcome is Outcome.SUCCESS
    assert sorted(either.vendor.sent(Operation.ADD)) == sorted(people(20, 21))
    assert either.vendor.sent(Operation.REMOVE) == list(people(0))
    assert either.vendor.cohort.members == people(*range(1, 7), 20, 21)
    assert (report.numbers["events_in"], report.numbers["events_out"]) == (2, 1)
    assert report.numbers["members_after"] == 8


@pytest.mark.parametrize(("last_in", "members"), [(True, {1, 2, 9}), (False, {1, 2})])
def test_a_person_said_to_be_in_and_out_ends_as_the_newest_word_says(
    world: World, last_in: bool, members: set[int]
) -> None:
    feed = fed(world, 1, 2)
    newer, older = NOW + 2 * SECOND, NOW + SECOND

    feed.say(enter=people(9), at=newer if last_in else older)
    feed.say(leave=people(9), at=older if last_in else newer)
    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(*members)


def test_words_without_a_time_count_in_their_order_of_arrival(world: World) -> None:
    feed = fed(world, 1)

    feed.say(enter=people(2))
    feed.say(leave=people(2))
    feed.say(leave=people(3))
    feed.say(enter=people(3))
    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 3)


def test_words_that_change_nothing_send_nothing_and_are_not_read_again(
    world: World,
) -> None:
    feed = fed(world, 1, 2)

    feed.say(enter=people(1), leave=people(50))
    before = mark_position(world)
    with world.engine() as engine:
        report = run(engine, world)
        again = run(engine, world)

    assert report.outcome is again.outcome is Outcome.NO_CHANGE
    assert world.vendor.requests == []
    assert before < mark_position(world) == highest(world)
    assert "events_in" in report.numbers
    assert "events_in" not in again.numbers


def test_without_news_the_stored_members_are_not_even_read(world: World) -> None:
    fed(world, 1, 2)

    with world.engine() as engine:
        report = run(engine, world)

    assert report.outcome is Outcome.NO_CHANGE
    assert {"collect", "diff"} & report.phase_ms.keys() == set()


def test_a_sync_waits_for_the_first_word_and_is_skipped_until_then(
    world: World,
) -> None:
    feed = world.fed()
    world.vendor.known = people(1)
    with world.engine() as engine:
        waiting = run(engine, world)
        feed.say(enter=people(1))
        report = run(engine, world)

    assert (waiting.outcome, waiting.reason) == (Outcome.SKIPPED, "not_ready")
    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1)


def test_what_was_folded_is_said_in_numbers(
    world: World, lines: list[EventDict]
) -> None:
    feed = fed(world, 1, 2)
    lines.clear()

    feed.say(enter=people(3, 4), leave=people(1), at=NOW)
    with world.engine() as engine:
        run(engine, world)
        run(engine, world)

    (line,) = named(lines, "inbox.folded")
    assert (line["events"], line["entered"], line["exited"]) == (3, 2, 1)
    assert line["oldest_event"] == line["newest_event"] == NOW


# ---- what did not get through -------------------------------------------------------

FAILURES = [
    pytest.param(FAILED_BEFORE, Outcome.PARTIAL, id="never-arrived"),
    pytest.param(LOST_ANSWER, Outcome.PARTIAL, id="answer-lost"),
    pytest.param(REFUSED, Outcome.PARTIAL, id="dead"),
]


@pytest.mark.parametrize(("trouble", "outcome"), FAILURES)
@pytest.mark.parametrize("restart", [False, True])
def test_a_batch_that_failed_is_asserted_again_though_its_words_were_folded(
    world: World, trouble: Trouble, outcome: Outcome, restart: bool
) -> None:
    feed = fed(world, 1, 2, 3)
    engine = world.engine()
    engine.start()

    feed.say(enter=people(8), leave=people(1))
    world.vendor.always = trouble
    failed = run(engine, world)
    world.vendor.always = None
    folded_to = mark_position(world)
    if restart:
        engine.close()
        engine = world.engine()
        engine.start()
    healed = run(engine, world)
    engine.close()

    assert failed.outcome is outcome
    assert folded_to == highest(world)
    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(2, 3, 8)
    assert believed(world.database).uncertain == frozenset()


@pytest.mark.parametrize(("trouble", "outcome"), FAILURES)
def test_a_newer_and_opposite_word_overrules_a_batch_that_failed(
    world: World, trouble: Trouble, outcome: Outcome
) -> None:
    feed = fed(world, 1, 2, 3)
    with world.engine() as engine:
        feed.say(enter=people(8), leave=people(1))
        world.vendor.always = trouble
        assert run(engine, world).outcome is outcome
        world.vendor.always = None

        feed.say(enter=people(1), leave=people(8))
        healed = run(engine, world)

    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3)


@pytest.mark.parametrize(("trouble", "outcome"), FAILURES)
def test_words_about_others_leave_a_failed_batch_as_it_was_meant(
    world: World, trouble: Trouble, outcome: Outcome
) -> None:
    feed = fed(world, 1, 2, 3)
    with world.engine() as engine:
        feed.say(enter=people(8), leave=people(1))
        world.vendor.always = trouble
        assert run(engine, world).outcome is outcome
        world.vendor.always = None

        feed.say(enter=people(9))
        healed = run(engine, world)

    assert healed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(2, 3, 8, 9)


def test_unknown_people_are_offered_again_when_due_though_nobody_says_so(
    world: World,
) -> None:
    feed = fed(world, 1)
    with world.engine() as engine:
        feed.say(enter=people(200))
        unknown = run(engine, world)
        world.vendor.known |= people(200)
        early = run(engine, world)
        advance(world, HOUR)
        late = run(engine, world)

    assert unknown.numbers["unmatched"] == 1
    assert early.outcome is Outcome.NO_CHANGE
    assert late.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 200)


@pytest.mark.parametrize("refused", [False, True])
def test_who_was_not_taken_is_forgotten_once_a_word_says_out(
    world: World, refused: bool
) -> None:
    feed = fed(world, 1)
    if refused:
        world.vendor.invalid = people(200)
    with world.engine() as engine:
        feed.say(enter=people(200))
        run(engine, world)
        assert believed(world.database).unaccepted == people(200)

        feed.say(leave=people(200))
        run(engine, world)
        world.vendor.known |= people(200)
        world.vendor.invalid = set()
        advance(world, 8 * DAY)
        later = run(engine, world)

    assert believed(world.database).unaccepted == frozenset()
    assert later.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(1)


def test_a_refused_exit_is_asserted_again_and_makes_nobody_wanted(
    world: World,
) -> None:
    feed = fed(world, 1, 2, 3)
    with world.engine() as engine:
        world.vendor.invalid = people(1)
        feed.say(enter=people(9), leave=people(1))
        run(engine, world)
        world.vendor.requests.clear()
        world.vendor.invalid = set()
        for _ in range(3):
            advance(world, 8 * DAY)
            feed.say(enter=people(2))
            run(engine, world)

    assert world.vendor.sent(Operation.REMOVE) == list(people(1))
    assert world.vendor.cohort.members == people(2, 3, 9)


# ---- the same guards ----------------------------------------------------------------


def test_too_many_exits_are_held_and_sent_as_shown_what_came_meanwhile_follows(
    world: World,
) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(leave=people(*range(5)))
        held = run(engine, world)
        feed.say(enter=people(0, 30), leave=people(9))
        with pytest.raises(WaitsForPerson):
            run(engine, world)
        approved = approve(engine, world)
        as_shown = set(world.vendor.cohort.members)
        after = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.max_exit")
    assert approved.outcome is Outcome.SUCCESS
    assert as_shown == people(*range(5, 10))
    assert after.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(0, *range(5, 9), 30)


def test_too_many_entries_are_held(world: World) -> None:
    feed = fed(world, 1, 2, guard=STRICT)
    feed.say(enter=people(*range(10, 20)))
    with world.engine() as engine:
        held = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.max_enter")
    assert world.vendor.requests == []


def test_words_that_empty_the_audience_are_held(world: World) -> None:
    feed = fed(world, 1, 2)
    feed.say(leave=people(1, 2))
    with world.engine() as engine:
        held = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.empty_source")
    assert world.vendor.cohort.members == people(1, 2)


def test_a_rejected_plan_is_held_again_with_the_same_words_and_newer_ones(
    world: World,
) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(leave=people(*range(5)))
        run(engine, world)
        feed.say(enter=people(0), leave=people(9))
        engine.reject(decision(world))
        again = run(engine, world)
        approve(engine, world)

    assert again.outcome is Outcome.HELD
    assert again.numbers["to_exit"] == 5
    assert world.vendor.cohort.members == people(0, *range(5, 9))


def test_an_expired_plan_is_made_anew_from_all_words_since(world: World) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(leave=people(*range(5)))
        first = run(engine, world)
        feed.say(leave=people(9))
        advance(world, DAY)
        again = run(engine, world)

    assert first.outcome is again.outcome is Outcome.HELD
    assert first.run_id != again.run_id
    assert again.numbers["to_exit"] == 6


def test_who_was_not_taken_and_left_by_an_approved_plan_does_not_come_back(
    world: World,
) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(enter=people(200))
        run(engine, world)
        assert believed(world.database).unaccepted == people(200)
        feed.say(leave=people(0, 1, 2, 200))
        assert run(engine, world).outcome is Outcome.HELD
        assert approve(engine, world).outcome is Outcome.SUCCESS
        world.vendor.known |= people(200)
        advance(world, 8 * DAY)
        run(engine, world)

    assert world.vendor.cohort.members == people(*range(3, 10))


def test_who_was_not_taken_stays_wanted_when_the_plan_without_them_is_rejected(
    world: World,
) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(enter=people(200))
        run(engine, world)
        feed.say(leave=people(0, 1, 2, 200))
        run(engine, world)
        engine.reject(decision(world))
        feed.say(enter=people(0, 1, 2, 200))
        world.vendor.known |= people(200)
        advance(world, 2 * HOUR)
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(10), 200)


# ---- a changed identity -------------------------------------------------------------


def moved_to(world: World, name: str = "Another") -> ToCohort:
    return replace(cohort_of(world.syncs["vip"]), cohort=name)


def test_another_target_gets_everybody_who_was_wanted_so_far(either: World) -> None:
    feed = fed(either, *range(7))
    with either.engine() as engine:
        feed.say(enter=people(200), leave=people(0))
        run(engine, either)  # 200 is unknown there
        feed.say(enter=people(20), leave=people(1))
        either.vendor.always = FAILED_BEFORE
        run(engine, either)  # nobody knows of 20 and 1
        either.vendor.always = None
        feed.say(enter=people(21), leave=people(2))
    forget_words(either)
    either.fed(target=moved_to(either))

    with either.engine() as engine:
        held = run(engine, either)
        feed.say(enter=people(22))
        approved = approve(engine, either)
        either.vendor.known |= people(200)
        advance(either, HOUR)
        after = run(engine, either)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.identity")
    assert approved.outcome is after.outcome is Outcome.SUCCESS
    _, new = either.vendor.cohorts.values()
    assert new.members == people(3, 4, 5, 6, 20, 21, 22, 200)


def forget_words(world: World) -> None:
    """Drop what is old and was folded, as the daemon does every day."""
    prune(world, after=8 * DAY)


def prune(world: World, *, after: timedelta = timedelta(0)) -> None:
    advance(world, after)
    with world.database.begin() as connection:
        reached = folded(connection, settings_of(*world.syncs.values()))
        inbox.prune(connection, world.clock.now(), reached)


def words_left(world: World) -> set[str]:
    return {row[0] for row in rows(world.database, "SELECT member_id FROM inbox")}


def names(*numbers: int) -> set[str]:
    return {each.decode() for each in people(*numbers)}


def test_a_rejected_change_of_the_target_loses_nobody(world: World) -> None:
    feed = fed(world, 1, 2)
    before = world.syncs["vip"]
    world.fed(target=moved_to(world))
    with world.engine() as engine:
        run(engine, world)
        engine.reject(decision(world))
    feed.say(enter=people(3))
    world.fed(target=before.target)
    with world.engine() as engine:
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3)


def test_another_audience_for_another_target_takes_nobody_of_the_old_one_along(
    world: World,
) -> None:
    fed(world, 1, 2)
    other = world.fed(audience="other", target=moved_to(world))
    other.say(enter=people(5))

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)

    assert held.reason == "guard.identity"
    _, new = world.vendor.cohorts.values()
    assert new.members == people(5)


def test_another_audience_is_held_and_what_it_said_before_counts(world: World) -> None:
    fed(world, 1, 2)
    other = world.fed(audience="other")
    other.say(enter=people(2, 5))

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)

    assert held.reason == "guard.identity"
    assert world.vendor.cohort.members == people(2, 5)


def test_another_audience_of_which_nothing_is_known_changes_nothing(
    world: World,
) -> None:
    fed(world, 1, 2)
    world.fed(audience="other")

    with world.engine() as engine:
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.SKIPPED, "not_ready")
    assert world.vendor.cohort.members == people(1, 2)


def test_another_kind_of_id_empties_the_cohort_and_fills_it_from_its_own_feed(
    world: World,
) -> None:
    fed(world, 1, 2, 3)
    world.vendor.known |= {b"7001", b"7002"}
    numbers = world.fed(match=IdType.AMPLITUDE_ID, target=world.syncs["vip"].target)
    numbers.say(enter={b"7001", b"7002"})

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)
        after = run(engine, world)

    assert held.reason == "guard.identity"
    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == {b"7001", b"7002"}


def compacted(world: World) -> None:
    """A day passes, so that the members lie in chunks."""
    with world.engine() as engine:
        advance(world, 25 * HOUR)
        world.feeds["vip"].say(enter=people(90))
        assert run(engine, world).outcome is Outcome.SUCCESS
    with world.database.read() as connection:
        binding = bindings.current(connection, "vip")
        assert binding is not None
        assert binding.members


def test_a_lost_baseline_is_held_and_removes_nobody(world: World) -> None:
    feed = fed(world, *range(6))
    compacted(world)
    with world.database.begin() as connection:
        assert connection.execute(text("DELETE FROM chunk")).rowcount

    with world.engine() as engine:
        feed.say(enter=people(8))
        held = run(engine, world)
        approve(engine, world)
        after = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.baseline")
    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.sent(Operation.REMOVE) == []
    assert believed(world.database).acknowledged == people(*range(6), 8, 90)


def test_another_target_is_not_filled_in_silence_from_members_that_were_lost(
    world: World,
) -> None:
    fed(world, *range(6))
    compacted(world)
    with world.database.begin() as connection:
        assert connection.execute(text("DELETE FROM chunk")).rowcount
    world.fed(target=moved_to(world))

    with world.engine() as engine:
        held = run(engine, world)

    guards = {trip["guard"] for trip in held.numbers["trips"]}
    assert guards == {"guard.baseline", "guard.identity"}


# ---- deaths -------------------------------------------------------------------------


@pytest.mark.parametrize("transaction", range(1, 9))
@pytest.mark.parametrize("before_commit", [False, True])
def test_a_death_at_any_transaction_loses_no_word(
    world: World, transaction: int, before_commit: bool
) -> None:
    feed = fed(world, *range(7))
    feed.say(enter=people(*range(20, 24)), leave=people(0, 1))
    store = Mortal(world.database)
    engine = world.engine(store)
    engine.start()
    store.die_at(transaction, before_commit=before_commit)

    with suppress(SyncdError):
        run(engine, world)
    engine.close()
    feed.say(enter=people(1), leave=people(20))
    with world.engine() as engine:
        for name in engine.close_abandoned():
            engine.resume(name)
        advance(world, timedelta(minutes=1))
        last = run(engine, world)

    assert last.outcome in (Outcome.SUCCESS, Outcome.NO_CHANGE)
    assert world.vendor.cohort.members == people(*range(1, 7), 21, 22, 23)


def test_a_death_after_the_plan_was_stored_is_resumed_without_reading(
    world: World,
) -> None:
    feed = fed(world, 1)
    feed.say(enter=people(2))
    store = Mortal(world.database)
    with world.engine(store) as engine:
        world.vendor.watch = lambda _: store.die()
        with suppress(SyncdError):
            run(engine, world)
    world.vendor.watch = lambda _: None
    world.vendor.requests.clear()

    with world.engine() as engine:
        assert engine.close_abandoned() == ["vip"]
        advance(world, timedelta(minutes=1))
        resumed = engine.resume("vip")

    assert resumed is not None
    assert (resumed.trigger, resumed.outcome) == (Trigger.RESUME, Outcome.SUCCESS)
    assert world.vendor.sent(Operation.ADD) == list(people(2))


# ---- two syncs, one feed; what is dropped -------------------------------------------


def two_syncs(world: World) -> tuple[PushedFeed, Callable[[str], set[bytes]]]:
    """Two syncs on one feed, each with a cohort of its own."""
    feed = world.fed("vip", audience="shared")
    other = replace(cohort_of(world.syncs["vip"]), cohort="Cohort two")
    world.fed("two", audience="shared", target=other)
    world.vendor.known |= people(*range(100))

    def members(name: str) -> set[bytes]:
        named = {each.name: each.members for each in world.vendor.cohorts.values()}
        return named.get(name, set())

    return feed, members


def test_two_syncs_read_one_feed_each_at_its_own_pace(world: World) -> None:
    feed, members = two_syncs(world)
    feed.say(enter=people(1, 2, 3))
    with world.engine() as engine:
        run(engine, world, "vip")
        feed.say(enter=people(4), leave=people(1))
        run(engine, world, "two")
        feed.say(leave=people(2))
        run(engine, world, "vip")
        run(engine, world, "two")

    assert members("Cohort vip") == members("Cohort two") == people(3, 4)


def test_no_word_is_dropped_that_a_sync_has_not_folded(world: World) -> None:
    feed, members = two_syncs(world)
    feed.say(enter=people(1, 2, 3))
    with world.engine() as engine:
        run(engine, world, "vip")
    world.syncs["two"] = replace(world.syncs["two"], enabled=False)
    prune(world, after=30 * DAY)
    kept = words_left(world)
    world.syncs["two"] = replace(world.syncs["two"], enabled=True)
    with world.engine() as engine:
        run(engine, world, "two")
    prune(world)

    assert kept == names(1, 2, 3)
    assert members("Cohort two") == people(1, 2, 3)
    assert words_left(world) == set()


def test_no_word_is_dropped_while_a_plan_of_it_is_held(world: World) -> None:
    feed = fed(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        feed.say(leave=people(*range(5)))
        assert run(engine, world).outcome is Outcome.HELD
        prune(world, after=8 * DAY)
        kept = words_left(world)
        run(engine, world)
        approve(engine, world)
        prune(world)

    assert kept == names(*range(5))
    assert words_left(world) == set()
    assert world.vendor.cohort.members == people(*range(5, 10))


def test_a_mark_of_another_feed_drops_no_word_of_this_one(world: World) -> None:
    feed = fed(world, 1, 2)
    other = world.fed(audience="other")
    other.say(enter=people(5))
    feed.say(enter=people(3))
    world.fed(audience="vip")
    with world.engine() as engine:
        run(engine, world)  # a mark beyond every word of the other feed
    world.fed(audience="other")

    prune(world, after=30 * DAY)

    assert names(5) <= words_left(world)


def test_a_sync_that_begins_to_read_a_feed_others_have_read_says_what_it_lacks(
    world: World, lines: list[EventDict]
) -> None:
    feed, members = two_syncs(world)
    second, feeds = world.syncs.pop("two"), world.feeds.pop("two")
    feed.say(enter=people(1, 2))
    with world.engine() as engine:
        run(engine, world, "vip")
    prune(world, after=8 * DAY)
    feed.say(enter=people(3), at=world.clock.now())
    world.syncs["two"], world.feeds["two"] = second, feeds

    with world.engine() as engine:
        run(engine, world, "two")
        run(engine, world, "two")

    (line,) = named(lines, "inbox.incomplete")
    assert line["sync"] == "two"
    assert members("Cohort two") == people(3)


def test_a_sync_that_was_taken_out_for_long_says_what_it_lacks(
    world: World, lines: list[EventDict]
) -> None:
    feed = fed(world, 1, 2)
    away = world.syncs.pop("vip")
    feed.say(enter=people(3), leave=people(1))
    with world.database.begin() as connection:
        advance(world, 8 * DAY)
        inbox.prune(connection, world.clock.now(), {})
    world.syncs["vip"] = away

    with world.engine() as engine:
        run(engine, world)
        feed.say(enter=people(4))
        run(engine, world)

    assert len(named(lines, "inbox.incomplete")) == 1
    assert world.vendor.cohort.members == people(1, 2, 4)


# ---- is anything lost? --------------------------------------------------------------


def test_a_size_that_moves_while_nothing_arrives_is_told_of_once_a_day(
    world: World, lines: list[EventDict]
) -> None:
    feed = fed(world, *range(20))
    feed.size = 20
    with world.engine() as engine:
        for size in (20, 20, 45, 60, 60):
            advance(world, HOUR)
            feed.size = size
            run(engine, world)
        told = named(lines, "inbox.silent")
        advance(world, DAY)
        run(engine, world)

    assert [(line["before"], line["reported"]) for line in told] == [(20, 45)]
    assert len(named(lines, "inbox.silent")) == 2


def test_a_size_that_follows_what_was_pushed_is_no_silence(
    world: World, lines: list[EventDict]
) -> None:
    feed = fed(world, *range(20))
    feed.size = 20
    with world.engine() as engine:
        feed.say(enter=people(*range(30, 60)))
        run(engine, world)
        for size in (50, 52, 49):
            advance(world, HOUR)
            feed.size = size
            run(engine, world)

    assert named(lines, "inbox.silent") == []
