"""Many audiences at once: four cohorts in flight, never two requests on one."""

from datetime import UTC, datetime

SPEED = 1800
SYNCS = 12
PEOPLE = 300
LONGEST = 900
"""Of the last one: at the end four idle workers have one cohort to themselves."""
NAMES = [f"audience-{number:02d}" for number in range(SYNCS)]


def members(number: int) -> list[str]:
    """The people of one audience."""
    count = LONGEST if number == SYNCS - 1 else PEOPLE
    return [f"person-{number:02d}-{each:06d}" for each in range(count)]


def test_twelve_audiences_share_four_workers_without_meeting(
    new_installation, new_simulator
):
    origin = datetime.now(UTC).isoformat()
    fast = ("--speed", str(SPEED), "--origin", origin)
    simulator = new_simulator(*fast, "--latency", "0.03")
    simulator.users(one for number in range(SYNCS) for one in members(number))
    installation = new_installation(simulator)
    installation.config["defaults"]["delivery"] |= {"workers": 4, "batch_size": 50}
    for number, name in enumerate(NAMES):
        installation.sync(name, schedule="every 1h", max_runtime="1d")
        installation.audience(members(number), name)

    daemon = installation.start("serve", *fast)
    for name in NAMES:
        assert daemon.reached("run.finished", sync=name, outcome="success")
    assert daemon.stop() == 0

    stats = simulator.get("/_sim/stats")
    assert stats["overlaps"] == 0
    assert stats["max_writes_in_flight"] == 4
    assert stats["status_429"] == 0
    cohorts = {each["name"]: each["id"] for each in simulator.cohorts()}
    assert len(cohorts) == SYNCS
    for number, name in enumerate(NAMES):
        assert simulator.members(cohorts[f"Cohort {name}"]) == set(members(number))
    # On a busy machine some have their second due time before the last one is through.
    starts: dict[str, str] = {}
    for line in daemon.events("run.started"):
        starts.setdefault(line["sync"], line["due_at"])
    assert set(starts) == set(NAMES)
    assert len(set(starts.values())) == 1, "all twelve were due together"
    assert "person-" not in daemon.text
