"""Many audiences at once: four cohorts in flight, never two requests on one."""

from datetime import UTC, datetime

SPEED = 1800
SYNCS = 12
PEOPLE = 400
NAMES = [f"audience-{number:02d}" for number in range(SYNCS)]


def people(count: int, start: int = 0) -> list[str]:
    return [f"person-{number:06d}" for number in range(start, start + count)]


def test_twelve_audiences_share_four_workers_without_meeting(
    new_installation, new_simulator
):
    origin = datetime.now(UTC).isoformat()
    fast = ("--speed", str(SPEED), "--origin", origin)
    simulator = new_simulator(*fast, "--latency", "0.03")
    simulator.users(people(SYNCS * PEOPLE))
    installation = new_installation(simulator)
    installation.config["defaults"]["delivery"] |= {"workers": 4, "batch_size": 50}
    for number, name in enumerate(NAMES):
        installation.sync(name, schedule="every 1h", max_runtime="1d")
        installation.audience(people(PEOPLE, start=number * PEOPLE), name)

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
        expected = set(people(PEOPLE, start=number * PEOPLE))
        assert simulator.members(cohorts[f"Cohort {name}"]) == expected
    starts = {line["sync"]: line["due_at"] for line in daemon.events("run.started")}
    assert set(starts) == set(NAMES)
    assert len(set(starts.values())) == 1, "all twelve were due together"
    assert "person-" not in daemon.text
