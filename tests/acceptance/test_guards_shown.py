"""What plan and show say about the brake of a day, and about a changed identity."""

import pytest


def people(count: int) -> list[str]:
    return [f"person-{number:06d}" for number in range(count)]


@pytest.fixture
def filled(installation, simulator):
    """A sync whose cohort holds 200 people, as its source says."""
    installation.sync()
    simulator.users(people(200))
    installation.audience(people(200))
    assert installation.run().code == 0
    return installation


def test_a_leak_in_small_steps_is_shown_by_plan_and_held(filled):
    filled.config["defaults"]["guard"] = {"max_exit_24h": "50%"}
    filled.audience(people(165))
    assert filled.run().code == 0
    filled.audience(people(140))
    allowed = filled.syncd("plan")
    assert filled.run().code == 0
    filled.audience(people(120))
    planned = filled.syncd("plan", "--json")
    held = filled.run()
    shown = filled.syncd("show", held.run["id"])

    assert "15.2% exit, 36.4% in 24 h" in allowed.out
    (sync,) = planned.document["syncs"]
    assert (sync["exits_24h"], sync["guards"][0]["guard"]) == (80, "guard.max_exit_24h")
    assert (held.code, held.run["reason"]) == (3, "guard.max_exit_24h")
    assert "80 people would have left within 24 hours, 20 of them now" in shown.out
    assert "with the 24 hours before: 80 exits" in shown.out


def test_another_target_is_held_with_the_numbers_of_both(filled):
    filled.config["syncs"][0]["to"]["cohort"] = "Another"
    planned = filled.syncd("plan")
    held = filled.run()
    shown = filled.syncd("show", held.run["id"])

    stay = "amplitude name:Cohort vip by user_id: 200 acknowledged, they would stay"
    enter = "amplitude name:Another by user_id: 0 acknowledged, 200 would enter"
    assert (planned.code, held.code) == (3, 3)
    for page in (planned.out, shown.out):
        assert stay in page
        assert enter in page
