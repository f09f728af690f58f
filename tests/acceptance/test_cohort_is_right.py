"""The cohort is the audience: first run in full, later runs with the difference."""

import pytest


def people(count: int, start: int = 0) -> list[str]:
    """Ids that can be found in an output if they ever leak."""
    return [f"person-{number:06d}" for number in range(start, start + count)]


@pytest.fixture
def vip(installation, simulator):
    """1,500 people in an audience whom Amplitude knows, in batches of 500."""
    installation.config["defaults"]["delivery"]["batch_size"] = 500
    installation.sync()
    simulator.users(people(3000))
    installation.audience(people(1500))
    return installation


def test_a_first_run_fills_the_cohort_and_the_next_sends_only_the_delta(vip, simulator):
    first = vip.run()

    assert first.code == 0
    assert first.run["outcome"] == "success"
    assert simulator.members() == set(people(1500))

    since = simulator.last()
    vip.audience([*people(1400), *people(60, start=2000)])
    second = vip.run()

    assert second.code == 0
    assert simulator.members() == {*people(1400), *people(60, start=2000)}
    assert sorted(simulator.sent("ADD", since)) == people(60, start=2000)
    assert sorted(simulator.sent("REMOVE", since)) == people(100, start=1400)


def test_a_run_without_a_change_sends_nothing(vip, simulator):
    vip.run()
    since = simulator.last()

    again = vip.run()

    assert again.run["outcome"] == "no_change"
    assert simulator.log("membership", since) == []
    assert simulator.log("upload", since) == []
