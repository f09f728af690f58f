"""Within seconds: with `run_after` what is pushed is at the vendor long before the due
time. The real daemon, whose schedule is half a day away."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.installed import Installation
from tests.knocking import Knocking, identify, knocking, people
from tests.simulated import Simulator

SECONDS = {"run_after": "1s"}


def in_half_a_day() -> str:
    """A daily time that no test is running at."""
    return f"daily at {datetime.now(UTC) + timedelta(hours=12):%H:%M}"


def pushed_into(installation: Installation, name: str, **from_: Any) -> None:
    """A sync of the audience of that name, due in half a day."""
    made = {"connection": "engage", "audience": name} | from_
    installation.sync(name, schedule=in_half_a_day(), **{"from": made})


@pytest.fixture
def engage(installation: Installation, simulator: Simulator) -> Installation:
    """`vip` runs a second after news; Amplitude knows everybody."""
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    pushed_into(installation, "vip", **SECONDS)
    simulator.users(people(100))
    return installation


def enter(at: Knocking, person: str, key: str = "vip") -> None:
    assert at.engage(identify(person, key=key)).status == 200


def test_a_webhook_is_in_the_cohort_seconds_later_whatever_the_schedule(
    engage: Installation, simulator: Simulator
) -> None:
    daemon = engage.start("serve")
    with knocking(daemon) as at:
        enter(at, people(1)[0])
        assert daemon.reached("run.finished", trigger="push", outcome="success")
        first = simulator.members()
        assert at.engage(identify(people(1)[0], False)).status == 200
        enter(at, people(2)[1])
        assert daemon.reached("run.finished", 2, trigger="push", outcome="success")

    assert first == {people(1)[0]}
    assert simulator.members() == {people(2)[1]}
    shown = engage.syncd("runs", "vip")
    assert "push" in shown.out, shown.out + shown.err
    assert daemon.stop() == 0


def test_a_burst_of_webhooks_makes_one_run_or_two(
    engage: Installation, simulator: Simulator
) -> None:
    pushed_into(engage, "later", **SECONDS)
    daemon = engage.start("serve")
    with knocking(daemon) as at:
        for person in people(20):
            enter(at, person)
        assert daemon.reached("run.finished", trigger="push", sync="vip")
        # Another sync's news comes after it, and is read: looks went on meanwhile.
        enter(at, people(1)[0], key="later")
        assert daemon.reached("run.finished", trigger="push", sync="later")

    assert simulator.members(_cohort(simulator, "Cohort vip")) == set(people(20))
    assert len(daemon.events("run.started", sync="vip")) in (1, 2)
    assert daemon.stop() == 0


def test_a_sync_that_fails_is_not_tried_again_at_every_look(
    engage: Installation, simulator: Simulator
) -> None:
    pushed_into(engage, "later", run_after="2s")
    simulator.fault("upload", "status", status=400, name="Cohort vip")
    daemon = engage.start("serve")
    with knocking(daemon) as at:
        enter(at, people(1)[0])
        assert daemon.reached("run.finished", trigger="push", sync="vip")
        for number in range(2):
            enter(at, people(3)[number], key="later")
            assert daemon.reached("run.finished", number + 1, sync="later")

    (only,) = daemon.events("run.finished", sync="vip")
    assert only["outcome"] != "success"
    assert daemon.stop() == 0


def test_a_sync_that_does_not_ask_for_it_waits_for_its_schedule(
    engage: Installation, simulator: Simulator
) -> None:
    pushed_into(engage, "patient")
    daemon = engage.start("serve")
    with knocking(daemon) as at:
        enter(at, people(1)[0], key="patient")
        enter(at, people(1)[0])
        assert daemon.reached("run.finished", trigger="push", sync="vip")
        assert at.engage(identify(people(1)[0], False)).status == 200
        assert daemon.reached("run.finished", 2, trigger="push", sync="vip")

    assert not daemon.events("run.started", sync="patient")
    assert daemon.stop() == 0


def _cohort(simulator: Simulator, name: str) -> str:
    (found,) = [each for each in simulator.cohorts() if each["name"] == name]
    return str(found["id"])
