"""A changed identity is held with its numbers: what happens to which target."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from syncd.config.settings import GuardSettings
from syncd.model import IdType, Outcome, Trigger
from syncd.sync.decide import Decision, NotDecidable
from syncd.sync.spec import Report
from tests.builders import World, cohort_of, held_run, people, sync_settings

LOOSE = GuardSettings(
    max_exit=1.0, max_enter=10.0, ignore_below=50, on_trip="hold", max_exit_24h=None
)


def run(world: World) -> Report:
    world.clock.advance(timedelta(minutes=5))  # type: ignore[attr-defined]
    with world.engine() as engine:
        report = engine.run("vip", Trigger.MANUAL)
    assert report is not None
    return report


def numbered(*numbers: int) -> set[bytes]:
    """Ids that are both user ids and Amplitude ids."""
    return {b"%d" % (100_000 + number) for number in numbers}


def held_after(world: World, *left: int, **changes: Any) -> Report:
    """Ten people are members; then the configuration changes."""
    world.sync(members=numbered(*range(10)), guard=LOOSE)
    world.vendor.known = numbered(*range(40))
    assert run(world).outcome is Outcome.SUCCESS
    world.sources["vip"].members = numbered(*left)
    world.sync(guard=LOOSE, **changes)
    report = run(world)
    assert (report.outcome, report.reason) == (Outcome.HELD, "guard.identity")
    return report


def sentences(report: Report) -> list[str]:
    return [each["sentence"] for each in report.numbers["sides"]]


def test_another_target_says_who_stays_in_the_old_and_enters_the_new(
    world: World,
) -> None:
    other = replace(cohort_of(sync_settings()), cohort="Another")

    report = held_after(world, *range(4), target=other)

    assert sentences(report) == [
        "amplitude name:Cohort vip by user_id: 10 acknowledged, they would stay",
        "amplitude name:Another by user_id: 0 acknowledged, 4 would enter",
    ]


def test_another_match_says_who_exits_under_the_old_and_enters_under_the_new(
    world: World,
) -> None:
    report = held_after(world, *range(4), match=IdType.AMPLITUDE_ID)

    assert sentences(report) == [
        "amplitude name:Cohort vip by user_id: 10 acknowledged, 10 would exit",
        "amplitude name:Cohort vip by amplitude_id: 0 acknowledged, 4 would enter",
    ]


def test_another_source_says_who_enters_and_exits_the_one_target(world: World) -> None:
    world.sync(members=numbered(*range(10)), guard=LOOSE)
    world.vendor.known = numbered(*range(40))
    assert run(world).outcome is Outcome.SUCCESS
    world.sources["vip"].named = "another"
    world.sources["vip"].members = numbered(*range(5, 12))
    report = run(world)

    assert report.reason == "guard.identity"
    assert sentences(report) == [
        (
            "amplitude name:Cohort vip by user_id: 10 acknowledged, 2 would enter and "
            "5 would exit"
        )
    ]


def test_a_plan_that_is_held_for_its_size_changes_no_identity(world: World) -> None:
    world.sync(members=people(*range(10)), guard=replace(LOOSE, ignore_below=0))
    world.vendor.known = people(*range(10))
    run(world)
    world.sources["vip"].members = set()

    assert run(world).numbers["sides"] == []


def test_an_approval_is_refused_once_the_configuration_is_another_again(
    world: World,
) -> None:
    report = held_after(world, *range(4), match=IdType.AMPLITUDE_ID)
    world.sync(guard=LOOSE)
    world.vendor.requests.clear()
    with world.engine() as engine, pytest.raises(NotDecidable) as refusal:
        engine.approve(
            Decision(run_id=report.run_id, actor="ann", via="cli", reason="meant")
        )

    assert refusal.value.code == "hold.changed"
    assert held_run(world.database) is not None
    assert world.vendor.requests == []
