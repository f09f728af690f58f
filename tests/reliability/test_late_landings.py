"""Late landings: what a request that took effect after all can spoil, and for how long.

First the rules against each other in a model (`simulating/landings.py`), then the real
command over real sockets, with a vendor that carries a request out when it likes.
README.md beside this file has the numbers.
"""

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from syncd.store.database import Database
from syncd.store.tables import doubt
from tests.installed import Installation
from tests.reliability.simulating.landings import WINDOW, compare, table
from tests.simulated import PATIENCE, Simulator

SHORT, LONG = 1_000, 20_000
HOUR = timedelta(hours=1)


# ---- the rules ----------------------------------------------------------------------


@pytest.fixture
def histories(request: pytest.FixtureRequest) -> int:
    return LONG if request.config.getoption("--long") else SHORT


def test_doubts_keep_every_cohort_right_and_send_less_than_further_assertions(
    histories: int,
) -> None:
    found = compare(histories)
    print(f"\nEvery request lands within {WINDOW:.0f} minutes:\n\n{table(found)}")

    assert found["none"].wrong > found["K2"].wrong > found["K4"].wrong > 0
    assert found["wait"].wrong > found["K4"].wrong, "5 minutes are too short"
    for name in ("doubts", "end"):
        assert (found[name].wrong, found[name].blind) == (0, 0), name
    assert found["end"].again < found["doubts"].again < found["K2"].again
    assert found["doubts"].minutes < found["end"].minutes < found["none"].minutes


def test_what_lands_after_the_window_is_healed_by_no_rule(histories: int) -> None:
    found = compare(histories // 2, mean=WINDOW, longest=4 * WINDOW)
    print(f"\nSome land later than the window ends:\n\n{table(found)}")

    assert 0 < found["doubts"].wrong < found["none"].wrong
    assert found["doubts"].wrong < found["K4"].wrong


# ---- the product, end to end --------------------------------------------------------


def people(first: int, last: int) -> list[str]:
    return [f"person-{number:06d}" for number in range(first, last)]


@pytest.fixture(params=["sqlite", "postgresql"])
def vip(
    request: pytest.FixtureRequest, installation: Installation, simulator: Simulator
) -> Installation:
    """Ten people in a cohort; late landings are minded for an hour, as ever."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
        installation.config["store"]["url"] = url
    installation.sync()
    simulator.users(people(0, 100))
    sync(installation, people(0, 10))
    return installation


def sync(installation: Installation, wanted: list[str]) -> dict[str, Any]:
    """A run that ended well, none of whose output names a member; its last line."""
    installation.audience(wanted)
    ended = installation.run()
    assert ended.code == 0, ended.out + ended.err
    assert "person-" not in ended.out + ended.err
    return ended.run


def land(simulator: Simulator) -> int:
    """Whatever was not carried out in time is carried out now."""
    return int(simulator.post("/_sim/late", {})["applied"])


def on_the_wire(simulator: Simulator) -> None:
    """A request was taken in that nobody has an answer to."""
    end = time.monotonic() + PATIENCE
    while not simulator.get("/_sim/late")["pending"]:
        assert time.monotonic() < end, "no request came"


def an_hour_passes(installation: Installation) -> None:
    """For what is kept of late landings: it is older by an hour."""
    database = Database(installation.config["store"]["url"])
    with database.begin() as connection:
        until = connection.execute(select(doubt.c.until)).scalars().all()
        assert until, "nothing is kept"
        connection.execute(update(doubt).values(until=min(until) - HOUR))
    database.close()


def test_whoever_was_moved_by_a_request_that_landed_late_is_moved_back(
    vip: Installation, simulator: Simulator
) -> None:
    # An ADD and a REMOVE: each is asked again, with success.
    simulator.fault(
        "membership", "late_commit", calls=[1, 3], answer="status", after=None
    )
    assert sync(vip, people(1, 11))["retries"] == 2
    assert sync(vip, people(0, 10))["outcome"] == "success"
    assert simulator.members() == set(people(0, 10))

    assert land(simulator) == 2
    assert simulator.members() == set(people(1, 11)), "wrong, and nobody could see it"
    an_hour_passes(vip)
    moved = sync(vip, people(0, 10))

    assert simulator.members() == set(people(0, 10))
    assert (moved["outcome"], moved["batches"]) == ("success", 2)
    last = simulator.last()
    assert sync(vip, people(0, 10))["outcome"] == "no_change"
    assert simulator.log("membership", last) == []


def test_what_a_killed_process_left_on_the_wire_is_undone_as_well(
    vip: Installation, simulator: Simulator
) -> None:
    simulator.fault("membership", "late_commit", calls=[1], answer="hang", after=None)
    vip.config["connections"]["amplitude"]["request_deadline"] = "3s"
    vip.audience(people(0, 11))
    running = vip.start("run")
    on_the_wire(simulator)
    assert running.kill()

    sync(vip, people(0, 10))
    assert simulator.members() == set(people(0, 10))
    assert land(simulator) == 1
    assert simulator.members() == set(people(0, 11))
    an_hour_passes(vip)
    sync(vip, people(0, 10))

    assert simulator.members() == set(people(0, 10))
