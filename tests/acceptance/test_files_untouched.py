"""A person who runs a sync whose file is as it was is told so, and it counts as run."""

from tests.installed import Installation
from tests.simulated import Simulator


def test_a_run_by_hand_says_since_when_the_file_is_as_it_was(
    installation: Installation, simulator: Simulator
) -> None:
    people = [f"person-{number:06d}" for number in range(30)]
    installation.sync()
    simulator.users(people)
    installation.audience(people)
    assert installation.syncd("run", "vip").code == 0
    (before,) = installation.syncd("status", "--json").document["syncs"]
    since = simulator.last()

    again = installation.syncd("run", "vip")

    assert again.code == 0
    told = again.out + again.err
    assert "source    unchanged since 20" in told
    assert "UTC, not read again" in told
    assert "no_change" in told
    assert simulator.log("membership", since) == []
    (after,) = installation.syncd("status", "--json").document["syncs"]
    assert after["last_success_at"] > before["last_success_at"]
    assert after["members"] == before["members"] == 30
    shown = installation.syncd("show", "vip")
    assert "source unchanged since" in shown.out


def test_people_and_programs_see_what_is_new_at_once(
    installation: Installation, simulator: Simulator
) -> None:
    """Each file is written just before it is read, and just after the last one was."""
    installation.sync()
    simulator.users(f"person-{number:06d}" for number in range(30))
    for count in (10, 11, 12, 11):
        installation.audience([f"person-{number:06d}" for number in range(count)])
        ended = installation.run()
        assert ended.run["outcome"] == "success"
        assert "unchanged_since" not in ended.run
        assert len(simulator.members()) == count

    assert installation.run().run["unchanged_since"]
