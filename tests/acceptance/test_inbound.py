"""What Engage and Amplitude push to us ends in the same corridor as every whole list.

The real daemon, the simulator as the sender, the real command line: webhooks become a
cohort, pushes become a trait, the same guard holds them, the same `show` explains them.
"""

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation, Running
from tests.knocking import ENGAGE, FACTOR, JSON, identify, knocking, personas
from tests.simulated import Simulator

SECOND_FACTOR = {"X-Syncd-Key": "demo-second-factor"}


def people(count: int, first: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(first, first + count)]


@pytest.fixture
def engage(installation: Installation, simulator: Simulator) -> Installation:
    """A sync `vip` that is fed by webhooks alone; Amplitude knows 3,000 people."""
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.sync("vip")
    simulator.users(people(3000))
    return installation


@pytest.fixture
def cohort(installation: Installation, simulator: Simulator) -> Installation:
    """A sync of the cohort `c1`, pushed to us, into the trait `adopters`."""
    installation.push()
    installation.cohort_sync(
        "adopters", "c1", from_={"via": "push", "relist_every": "never"}
    )
    return installation


def engage_sender(simulator: Simulator, daemon: Running, **more: object) -> None:
    """Engage's destination `w`, pointed at the daemon's door."""
    simulator.engage_sender(
        "w",
        url=daemon.url() + "/in/engage",
        audience="vip",
        secret="s3cr3t-key",
        headers=SECOND_FACTOR,
        **more,
    )


@pytest.mark.parametrize(
    "how",
    [
        {"flavour": "classic"},
        {"flavour": "actions_single", "type": "track"},
        {"flavour": "actions_batch", "signing": "today"},
        {"flavour": "actions_batch", "signing": "whole", "type": "track"},
        {"flavour": "extensible"},
    ],
    ids=lambda how: "-".join(how.values()),
)
def test_what_engage_sends_becomes_the_cohort(
    engage: Installation, simulator: Simulator, how: dict[str, str]
) -> None:
    count = 300 if how["flavour"] in {"classic", "actions_single"} else 2500
    simulator.audience("vip", members=people(count))
    daemon = engage.start("serve")
    engage_sender(simulator, daemon, duplicates=0.2, shuffle=True, **how)
    assert simulator.push("w")["outcome"] == "success"

    first = engage.run("vip")
    simulator.move("vip", enter=people(20, count), leave=people(30))
    assert simulator.push("w")["outcome"] == "success"
    second = engage.run("vip")

    assert first.code == second.code == ExitCode.OK
    assert (second.run["entered"], second.run["exited"]) == (20, 30)
    assert simulator.members() == set(people(count - 10, 30))
    assert "person-" not in daemon.text


def test_a_cohort_pushed_as_a_list_becomes_the_trait_without_a_download(
    cohort: Installation, simulator: Simulator
) -> None:
    members = people(1500)
    simulator.cohort("c1", members=members)
    daemon = cohort.start("serve")
    simulator.amplitude_sender(
        "p",
        url=daemon.url() + "/in/amplitude/lists",
        cohort="c1",
        api_key="demo-push-key",
    )
    assert simulator.push("p")["outcome"] == "success"
    first = cohort.run("adopters")
    simulator.change("c1", add=people(5, 1500), remove=people(7))
    assert simulator.push("p")["outcome"] == "success"
    second = cohort.run("adopters")

    assert first.code == second.code == ExitCode.OK
    assert simulator.with_trait("adopters") == set(people(1498, 7))
    assert simulator.with_trait("adopters", value=False) == set(people(7))
    assert (
        simulator.get("/_sim/stats")["projects"].get("187520", {}).get("month", 0) == 0
    )


def test_the_same_guard_holds_what_was_pushed_and_the_same_page_explains_it(
    engage: Installation, simulator: Simulator
) -> None:
    simulator.audience("vip", members=people(1000))
    daemon = engage.start("serve")
    engage_sender(simulator, daemon, flavour="actions_batch")
    simulator.push("w")
    assert engage.run("vip").code == ExitCode.OK
    simulator.move("vip", leave=people(400))
    simulator.push("w")

    held = engage.run("vip")
    shown = engage.syncd("show", "vip")

    assert held.run["outcome"] == "held"
    assert simulator.members() == set(people(1000))
    assert "400" in shown.out
    assert "syncd approve" in shown.out

    approved = engage.syncd("approve", held.run["id"][-8:], "--reason", "spring")
    assert approved.code == ExitCode.OK, approved.out + approved.err
    assert simulator.members() == set(people(600, 400))


def test_an_audience_that_was_announced_is_read_by_that_id_whatever_its_key(
    engage: Installation, simulator: Simulator
) -> None:
    daemon = engage.start("serve")
    with knocking(daemon) as at:
        announced = at.ask(
            f"{ENGAGE}/audiences/{FACTOR}", {"audienceName": "VIP"}, JSON
        )
        given = announced.body["externalId"]
        said = personas("former_name", external_audience_id=given)
        for person in people(3):
            event = identify(person, key="former_name", context={"personas": said})
            assert at.engage(event).status == 200

    ran = engage.run("vip")

    assert ran.code == ExitCode.OK, ran.out + ran.err
    assert simulator.members() == set(people(3))
