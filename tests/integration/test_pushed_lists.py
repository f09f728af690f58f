"""Runs of a sync that is fed by events above a whole list, read first and now and then.

Who wins between the two, what a list that fails stops (nothing), what it finds, and
changing over from a list to events and back.
"""

from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.types import EventDict

from syncd.app.build import blueprint
from syncd.app.engine import Engine
from syncd.config import load
from syncd.config.settings import GuardSettings
from syncd.errors import DeliveryError, Fault, SourceError, SourceUnavailable
from syncd.model import Operation, Outcome, Trigger
from syncd.report.backlog import folded
from syncd.sources import Postponed, Unchanged
from syncd.store import connections, inbox
from syncd.sync.decide import Decision
from syncd.sync.spec import Report
from tests.builders import (
    FAILED_BEFORE,
    NOW,
    AskedSource,
    ListSource,
    ManualClock,
    PushedFeed,
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
NO_QUOTA = Postponed(reason="quota", message="no downloads left")
REVOKED = DeliveryError(
    "Invalid API Key", fault=Fault.CREDENTIALS, error_type="auth", status=403
)


def advance(world: World, by: timedelta = SECOND) -> None:
    world.clock.advance(by)  # type: ignore[attr-defined]


def run(engine: Engine, world: World) -> Report:
    advance(world)
    report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def approve(engine: Engine, world: World) -> Report:
    advance(world)
    held = held_run(world.database)
    assert held is not None
    report = engine.approve(
        Decision(run_id=held.id, actor="ann", via="cli", reason="looked at it")
    )
    assert report is not None
    return report


def named(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


def audience(world: World, *numbers: int, **changes: object) -> PushedFeed:
    """An Engage audience: events above a list of these people, read once a day."""
    world.sources["vip"] = ListSource(people(*numbers))
    options = {"whole": world.sources["vip"], "relist_every": DAY} | changes
    feed = world.fed(**options)  # type: ignore[arg-type]
    world.vendor.known |= people(*range(100))
    return feed


def cohort(world: World, *numbers: int, **changes: object) -> PushedFeed:
    """An Amplitude cohort: pushes begin with everybody, a list is a download."""
    world.sources["vip"] = AskedSource(people(*numbers))
    options: dict[str, object] = {
        "whole": world.sources["vip"],
        "relist_every": DAY,
        "begins_whole": True,
        "list_costs": True,
    }
    feed = world.fed(**(options | changes))  # type: ignore[arg-type]
    world.vendor.known |= people(*range(100))
    return feed


def download(world: World) -> AskedSource:
    source = world.sources["vip"]
    assert isinstance(source, AskedSource)
    return source


def failing(error: Exception) -> object:
    """Fails in the middle of a list."""

    def fail() -> None:
        raise error

    return fail


# ---- the first list -----------------------------------------------------------------


def test_it_begins_with_the_list_and_with_what_is_newer(world: World) -> None:
    feed = audience(world, 1, 2, 3)
    feed.say(enter=people(4), leave=people(1), at=NOW - HOUR)
    feed.say(enter=people(5), leave=people(2), at=NOW - 3 * HOUR)

    with world.engine() as engine:
        report = run(engine, world)
        again = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert again.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(2, 3, 4)
    assert world.sources["vip"].reads == 1


def test_it_does_not_begin_without_its_list(world: World) -> None:
    feed = audience(world, 1, 2, 3)
    feed.say(enter=people(4))
    unreadable = SourceUnavailable("the warehouse is away")
    world.sources["vip"].while_reading = failing(unreadable)  # type: ignore[assignment]

    with world.engine() as engine:
        failed = run(engine, world)
        world.sources["vip"].while_reading = lambda: None
        report = run(engine, world)

    assert failed.outcome is Outcome.FAILED
    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3, 4)


def test_a_sender_that_begins_with_everybody_needs_no_list_first(world: World) -> None:
    feed = cohort(world, 1, 2, 3)
    feed.say(enter=people(1, 2))

    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 2)
    assert download(world).questions == []


def test_a_list_comes_first_where_words_were_dropped_before(world: World) -> None:
    feed = cohort(world, 1, 2, 3)
    feed.say(enter=people(1, 2))
    advance(world, 8 * DAY)
    with world.database.begin() as connection:
        inbox.prune(connection, world.clock.now(), {})
    feed.say(enter=people(9))

    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 2, 3, 9)


# ---- a list now and then ------------------------------------------------------------


def test_a_due_list_finds_who_was_never_pushed_and_who_is_gone(world: World) -> None:
    audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = people(2, 3, 4)
        early = run(engine, world)
        advance(world, DAY)
        report = run(engine, world)
        after = run(engine, world)

    assert early.outcome is after.outcome is Outcome.NO_CHANGE
    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(2, 3, 4)
    assert world.sources["vip"].reads == 2


def test_a_due_list_wins_over_what_is_older_and_loses_to_what_is_newer(
    world: World,
) -> None:
    feed = audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
        feed.say(enter=people(4), leave=people(1), at=world.clock.now())
        run(engine, world)
        assert world.vendor.cohort.members == people(2, 3, 4)
        advance(world, DAY)
        feed.say(enter=people(5), leave=people(2), at=world.clock.now() - HOUR)
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 3, 5)


def test_a_word_that_comes_late_says_nothing_a_list_knew_better(world: World) -> None:
    feed = audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
        feed.say(enter=people(9), leave=people(1), at=NOW - 3 * HOUR)
        feed.say(enter=people(8), leave=people(2), at=NOW - HOUR)
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 3, 8)


def test_what_a_list_wants_removed_is_guarded_and_words_wait_for_the_decision(
    world: World,
) -> None:
    feed = audience(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = people(1)
        advance(world, DAY)
        held = run(engine, world)
        feed.say(enter=people(30))
        approve(engine, world)
        as_shown = set(world.vendor.cohort.members)
        run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.max_exit")
    assert as_shown == people(1)
    assert world.vendor.cohort.members == people(1, 30)


def test_a_list_that_was_rejected_is_read_again_by_the_next_run(world: World) -> None:
    audience(world, *range(10), guard=STRICT)
    with world.engine() as engine:
        run(engine, world)
        world.sources["vip"].members = people(1)
        advance(world, DAY)
        run(engine, world)
        held = held_run(world.database)
        assert held is not None
        engine.reject(Decision(run_id=held.id, actor="a", via="cli", reason="wrong"))
        world.sources["vip"].members = people(*range(11))
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(11))


def test_who_was_not_taken_and_is_in_no_list_any_more_leaves_with_an_approved_plan(
    world: World,
) -> None:
    audience(world, *range(10), 200, guard=STRICT)
    with world.engine() as engine:
        run(engine, world)
        assert believed(world.database).unaccepted == people(200)
        world.sources["vip"].members = people(1)
        advance(world, DAY)
        assert run(engine, world).outcome is Outcome.HELD
        approve(engine, world)
        world.vendor.known |= people(200)
        advance(world, 2 * HOUR)
        run(engine, world)

    assert world.vendor.cohort.members == people(1)


def test_somebody_deleted_stays_out_although_lists_still_name_them(
    world: World,
) -> None:
    feed = audience(world, *range(10))
    with world.engine() as engine:
        run(engine, world)
        feed.say(forget=people(3), at=world.clock.now())
        for _ in range(9):
            advance(world, DAY)
            run(engine, world)
            with world.database.begin() as connection:
                reached = folded(connection, settings_of(*world.syncs.values()))
                inbox.prune(connection, world.clock.now(), reached)

    assert world.vendor.cohort.members == people(*range(10)) - people(3)
    assert people(3) & set(world.vendor.sent(Operation.ADD)[10:]) == set()


@pytest.mark.parametrize("every", [None, DAY])
def test_without_an_interval_only_the_first_list_is_read(
    world: World, every: timedelta | None
) -> None:
    audience(world, 1, relist_every=every)
    with world.engine() as engine:
        for _ in range(3):
            advance(world, DAY)
            run(engine, world)

    assert world.sources["vip"].reads == (1 if every is None else 3)


# ---- a list that fails --------------------------------------------------------------


@pytest.mark.parametrize("when", ["asked", "read"])
@pytest.mark.parametrize("error", [SourceUnavailable("away"), REVOKED])
def test_a_failing_list_does_not_stop_the_words_and_is_tried_again(
    world: World, lines: list[EventDict], when: str, error: SourceError | DeliveryError
) -> None:
    feed = cohort(world, 1, 2, begins_whole=False, list_costs=False)
    source = download(world)
    with world.engine() as engine:
        run(engine, world)
        advance(world, DAY)
        source.members, source.version = people(1, 2, 7), "2"
        if when == "asked":
            source.refuses = error  # type: ignore[assignment]
        else:
            source.while_reading = failing(error)  # type: ignore[assignment]
        feed.say(enter=people(3))
        without = run(engine, world)
        members = set(world.vendor.cohort.members)
        source.refuses, source.while_reading = None, lambda: None
        report = run(engine, world)

    assert without.outcome is report.outcome is Outcome.SUCCESS
    assert members == people(1, 2, 3)
    assert world.vendor.cohort.members == people(1, 2, 3, 7)
    (line,) = named(lines, "inbox.list_failed")
    assert line["sync"] == "vip"
    with world.database.read() as connection:
        assert connections.get(connection, "engage").stopped_at is None


@pytest.mark.parametrize("when", ["asked", "read"])
def test_a_list_that_was_told_to_stop_interrupts_the_run(
    world: World, lines: list[EventDict], when: str
) -> None:
    feed = cohort(world, 1, 2, begins_whole=False)
    source = download(world)
    stopped = SourceUnavailable("asked to stop", code="source.interrupted")
    with world.engine() as engine:
        run(engine, world)
        advance(world, DAY)
        source.version = "2"
        feed.say(enter=people(3))
        if when == "asked":
            source.refuses = stopped  # type: ignore[assignment]
        else:
            source.while_reading = failing(stopped)  # type: ignore[assignment]
        report = run(engine, world)

    assert (report.outcome, report.reason) == (Outcome.INTERRUPTED, "shutdown")
    assert named(lines, "inbox.list_failed") == []


def test_pushes_need_no_credentials_of_ours_at_the_sender(tmp_path: Path) -> None:
    for name in ("w", "a", "b", "p"):
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "syncd.yaml").write_text(
        "version: 1\nconnections:\n"
        f"  engage:\n    type: engage\n    write_key_file: {tmp_path}/w\n"
        "  amplitude:\n    type: amplitude\n    region: eu\n    app_id: 1\n"
        f"    api_key_file: {tmp_path}/a\n    secret_key_file: {tmp_path}/b\n"
        "    owner: o@acme.example\n"
        f"    push: {{api_key_file: {tmp_path}/p}}\n"
        "syncs:\n"
        + "".join(
            f"  - name: {via}\n    from: {{connection: amplitude, cohort_id: c{via}, "
            f"via: {via}}}\n    to: {{connection: engage}}\n    schedule: daily\n"
            for via in ("push", "download")
        )
    )
    settings = load([tmp_path / "syncd.yaml"], {}).settings

    with closing(blueprint(settings, "sha256:0", ManualClock())) as made:
        probes = {name: set(spec.probes) for name, spec in made.specs.items()}

    assert probes["download"] == probes["push"] | {"amplitude"}
    assert "amplitude" not in probes["push"]


def test_a_list_that_may_not_be_had_now_is_asked_for_again(world: World) -> None:
    feed = cohort(world, 1, 2, 3)
    feed.say(enter=people(1))
    with world.engine() as engine:
        run(engine, world)
        advance(world, DAY)
        download(world).answer = NO_QUOTA
        feed.say(enter=people(4))
        without = run(engine, world)
        quiet = run(engine, world)
        download(world).answer = None
        report = run(engine, world)

    assert without.outcome is report.outcome is Outcome.SUCCESS
    assert quiet.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(1, 2, 3, 4)


# ---- a list that is not needed ------------------------------------------------------


def test_no_list_is_asked_for_while_the_sizes_agree(world: World) -> None:
    feed = cohort(world, 1, 2)
    download(world).anonymous = 3
    with world.engine() as engine:
        feed.say(enter=people(1, 2))
        run(engine, world)
        advance(world, DAY)
        run(engine, world)
        asked = len(download(world).questions)
        feed.say(enter=people(5))
        feed.size = 6  # three of them are anonymous
        run(engine, world)
        advance(world, DAY)
        agreed = run(engine, world)
        soon = run(engine, world)
        advance(world, DAY)
        feed.size = 7
        run(engine, world)

    assert asked == 1
    assert agreed.outcome is soon.outcome is Outcome.NO_CHANGE
    assert len(download(world).questions) == 2


def test_people_the_destination_did_not_take_count_when_sizes_are_compared(
    world: World,
) -> None:
    feed = cohort(world, 1, 2, 3)
    world.vendor.known = people(1, 2)
    with world.engine() as engine:
        feed.say(enter=people(1, 2, 3))
        run(engine, world)
        advance(world, DAY)
        listed = run(engine, world)
        feed.size = 3
        advance(world, DAY)
        run(engine, world)

    assert listed.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2)
    assert len(download(world).questions) == 1


def test_a_list_is_read_after_four_agreements_since_losses_may_weigh_each_other_out(
    world: World,
) -> None:
    feed = cohort(world, 1, 2)
    with world.engine() as engine:
        feed.say(enter=people(1, 2))
        run(engine, world)
        advance(world, DAY)
        run(engine, world)
        # One entry and one exit that nobody was told of.
        download(world).members, download(world).version = people(2, 3), "2"
        feed.size = 2
        asked: list[int] = []
        for _ in range(6):
            advance(world, DAY)
            run(engine, world)
            asked.append(len(download(world).questions))

    assert asked == [1, 1, 1, 1, 2, 2]
    assert world.vendor.cohort.members == people(2, 3)


def test_words_go_on_where_a_list_is_as_it_was(world: World) -> None:
    feed = cohort(world, 1, 2)
    with world.engine() as engine:
        feed.say(enter=people(1, 2))
        run(engine, world)
        advance(world, DAY)
        run(engine, world)
        advance(world, DAY)
        feed.say(enter=people(3))
        report = run(engine, world)
        run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3)
    assert world.sources["vip"].reads == 1
    assert len(download(world).questions) == 2, "once a day is enough"


def test_a_list_is_due_and_sizes_prove_nothing_where_words_were_dropped_unread(
    world: World,
) -> None:
    feed = cohort(world, 1, 2, relist_every=30 * DAY)
    with world.engine() as engine:
        feed.say(enter=people(1, 2))
        run(engine, world)
        advance(world, 30 * DAY)
        run(engine, world)
    feed.say(leave=people(1), enter=people(3))
    download(world).members, download(world).version = people(2, 3), "2"
    advance(world, 8 * DAY)
    with world.database.begin() as connection:
        inbox.prune(connection, world.clock.now(), {})
    feed.size = 2

    with world.engine() as engine:
        download(world).answer = NO_QUOTA
        run(engine, world)
        download(world).answer = None
        run(engine, world)

    assert world.vendor.cohort.members == people(2, 3)


# ---- from lists to events and back --------------------------------------------------


def by_list(world: World) -> None:
    """The sync reads its list alone."""
    world.feeds.pop("vip")
    world.syncs["vip"] = replace(
        world.syncs["vip"], source=replace(world.syncs["vip"].source, events=None)
    )


def test_from_a_list_to_events_and_back_nobody_is_lost(world: World) -> None:
    feed = audience(world, *range(5))
    by_list(world)
    with world.engine() as engine:
        listed = run(engine, world)
    feed.say(enter=people(7), leave=people(0))
    with world.engine() as engine:
        still = run(engine, world)
    audience(world, *range(5))
    with world.engine() as engine:
        by_events = run(engine, world)
        as_pushed = set(world.vendor.cohort.members)
        feed.say(enter=people(8))
        run(engine, world)
    by_list(world)
    world.sources["vip"].members = people(1, 2, 3, 4, 7, 8)
    with world.engine() as engine:
        back = run(engine, world)

    assert listed.outcome is by_events.outcome is Outcome.SUCCESS
    assert still.outcome is back.outcome is Outcome.NO_CHANGE
    assert as_pushed == people(1, 2, 3, 4, 7)
    assert world.vendor.cohort.members == people(1, 2, 3, 4, 7, 8)


def test_from_downloads_to_pushes_and_back_nobody_is_lost(world: World) -> None:
    feed = cohort(world, *range(5))
    by_list(world)
    with world.engine() as engine:
        run(engine, world)
    cohort_again = download(world)
    world.fed(whole=cohort_again, relist_every=DAY, begins_whole=True, list_costs=True)
    feed.say(enter=people(7), leave=people(0))
    with world.engine() as engine:
        pushed = run(engine, world)
        as_pushed = set(world.vendor.cohort.members)
    by_list(world)
    cohort_again.members, cohort_again.version = people(1, 2, 3, 4, 7), "2"
    with world.engine() as engine:
        back = run(engine, world)

    assert pushed.outcome is Outcome.SUCCESS
    assert as_pushed == people(1, 2, 3, 4, 7)
    assert back.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(1, 2, 3, 4, 7)
    assert cohort_again.reads == 2


def test_what_was_pushed_before_an_unchanged_list_says_nothing(world: World) -> None:
    feed = cohort(world, *range(5))
    by_list(world)
    with world.engine() as engine:
        feed.say(enter=people(40), leave=people(1))
        advance(world, DAY)
        computed = world.clock.now()
        run(engine, world)
    world.fed(
        whole=download(world), relist_every=DAY, begins_whole=True, list_costs=True
    )
    download(world).answer = Unchanged(since=computed)
    feed.say(enter=people(7))

    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(*range(5), 7)


def test_pushes_whose_list_may_not_be_had_stand_above_the_last_download(
    world: World,
) -> None:
    feed = cohort(world, *range(5))
    by_list(world)
    with world.engine() as engine:
        run(engine, world)
    world.fed(
        whole=download(world), relist_every=DAY, begins_whole=True, list_costs=True
    )
    download(world).answer = NO_QUOTA
    feed.say(enter=people(7), leave=people(0))

    with world.engine() as engine:
        run(engine, world)

    assert world.vendor.cohort.members == people(1, 2, 3, 4, 7)


def test_another_cohort_by_push_has_nobody_of_the_one_that_was_downloaded(
    world: World,
) -> None:
    cohort(world, *range(5))
    by_list(world)
    with world.engine() as engine:
        run(engine, world)
    other = world.fed(audience="other", begins_whole=True)
    other.say(enter=people(9))

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)

    assert held.reason == "guard.identity"
    assert world.vendor.cohort.members == people(9)


def test_giving_up_the_list_beside_the_pushes_moves_nobody(world: World) -> None:
    feed = cohort(world, *range(5))
    world.sources["vip"].named = "project and cohort"
    feed.say(enter=people(*range(5)))
    with world.engine() as engine:
        run(engine, world)
    advance(world, 8 * DAY)
    with world.database.begin() as connection:
        reached = folded(connection, settings_of(*world.syncs.values()))
        inbox.prune(connection, world.clock.now(), reached)
    assert rows(world.database, "SELECT count(*) FROM inbox") == [(0,)]
    world.fed(begins_whole=True)

    with world.engine() as engine:
        first = run(engine, world)
        feed.say(enter=people(6))
        second = run(engine, world)

    assert first.outcome is Outcome.NO_CHANGE
    assert second.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(*range(5), 6)


def test_a_list_that_comes_beside_the_pushes_is_read_at_once(world: World) -> None:
    feed = world.fed(begins_whole=True)
    world.vendor.known |= people(*range(100))
    feed.say(enter=people(1, 2))
    with world.engine() as engine:
        run(engine, world)
    cohort(world, 1, 2, 3)

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)
        after = run(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.identity")
    assert after.outcome is Outcome.NO_CHANGE
    assert world.vendor.cohort.members == people(1, 2, 3)


def test_another_target_gets_whom_the_list_and_the_words_wanted(world: World) -> None:
    feed = cohort(world, 1, 2, 3)
    with world.engine() as engine:
        feed.say(enter=people(1, 2, 40))
        run(engine, world)
        advance(world, DAY)
        run(engine, world)  # the list knows: 40 is out, 3 is in
        feed.say(enter=people(4))
        world.vendor.always = FAILED_BEFORE
        run(engine, world)
        world.vendor.always = None
    target = replace(cohort_of(world.syncs["vip"]), cohort="Another")
    world.fed(
        whole=download(world),
        relist_every=DAY,
        begins_whole=True,
        list_costs=True,
        target=target,
    )
    download(world).answer = NO_QUOTA
    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)

    assert held.reason == "guard.identity"
    _, new = world.vendor.cohorts.values()
    assert new.members == people(1, 2, 3, 4)


def test_another_query_is_read_at_once_and_held(world: World) -> None:
    feed = audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
    world.sources["vip"].named = "another query"
    world.sources["vip"].members = people(2, 3, 4)
    feed.say(enter=people(5))

    with world.engine() as engine:
        held = run(engine, world)
        approve(engine, world)

    assert held.reason == "guard.identity"
    assert world.vendor.cohort.members == people(2, 3, 4, 5)


def test_lists_are_not_looked_at_in_vain_by_a_death(world: World) -> None:
    feed = audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
        advance(world, DAY)
        world.sources["vip"].members |= people(4)
        feed.say(enter=people(5))
        world.vendor.always = FAILED_BEFORE
        with suppress(SourceError):
            run(engine, world)
        world.vendor.always = None
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(1, 2, 3, 4, 5)
    assert world.sources["vip"].reads == 2


def test_what_was_lost_is_found_by_a_list_though_the_cohort_was_not_computed_since(
    world: World,
) -> None:
    """Stored members that were lost are in no word; a mark of the list names none."""
    feed = cohort(world, *range(5))
    feed.say(enter=people(*range(5)))
    with world.engine() as engine:
        run(engine, world)
        advance(world, 25 * HOUR)
        run(engine, world)  # reads the list, and moves all members into chunks
        with world.database.begin() as connection:
            connection.execute(text("DELETE FROM chunk"))
            connection.execute(text("DELETE FROM inbox"))
        held = run(engine, world)
        approve(engine, world)

    assert (held.outcome, held.reason) == (Outcome.HELD, "guard.baseline")
    assert believed(world.database).acknowledged == people(*range(5))


def test_what_arrives_after_our_clock_was_set_back_is_no_older_than_the_list(
    world: World,
) -> None:
    """It was days ahead when the list was read, which seems to be of the future now."""
    feed = audience(world, 1, 2, 3)
    with world.engine() as engine:
        run(engine, world)
        advance(world, -3 * DAY)
        feed.say(enter=people(4), leave=people(1))
        report = run(engine, world)

    assert report.outcome is Outcome.SUCCESS
    assert world.vendor.cohort.members == people(2, 3, 4)
