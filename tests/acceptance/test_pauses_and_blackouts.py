"""A daemon on a fast clock through pauses and a blackout: nothing is forgotten."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

SPEED = 1800
"""An hour passes in two seconds."""
HOUR = timedelta(hours=1)
LATE = timedelta(hours=2)
"""Four seconds of real time, for a slow machine."""
PEOPLE = ["ana", "ben", "joe"]


@pytest.fixture
def origin() -> datetime:
    """When the clocks agree; from then on ours runs fast, over restarts too."""
    return datetime.now(UTC)


@pytest.fixture
def fast(origin: datetime) -> tuple[str, ...]:
    return ("--speed", str(SPEED), "--origin", origin.isoformat())


@pytest.fixture
def vip(new_installation, new_simulator, fast):
    """One sync of three people, every hour."""
    simulator = new_simulator(*fast)
    simulator.users(PEOPLE)
    installation = new_installation(simulator)
    installation.config["connections"]["amplitude"]["request_deadline"] = "10s"
    installation.sync(schedule="hourly", max_runtime="1d")
    installation.audience(PEOPLE)
    return installation


def runs_of(installation, *more: str) -> list[dict[str, Any]]:
    """Oldest first."""
    found = installation.syncd("runs", "vip", "--json", "--limit", "200", *more)
    return list(reversed(found.document["runs"]))


def began(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["started_at"])


def test_a_pause_outlives_a_restart_ends_by_itself_and_one_run_catches_up(
    vip, fast
) -> None:
    daemon = vip.start("serve", *fast)
    assert daemon.reached("run.finished", outcome="success")

    said = vip.syncd("pause", "vip", "--reason", "INC-2231", "--for", "9h", "--json")
    assert said.code == 0, said.err
    assert daemon.reached("run.skipped", reason="paused")
    assert daemon.stop() == 0
    again = vip.start("serve", *fast)
    assert again.reached("pause.expired", sync="vip", reason="INC-2231")
    assert again.reached("run.finished", trigger="catch_up")
    assert again.reached("run.finished", trigger="schedule")
    runs = runs_of(vip)
    assert again.stop() == 0

    (made,) = said.document["pauses"]
    since = datetime.fromisoformat(made["pause"]["since"])
    until = datetime.fromisoformat(made["pause"]["until"])
    assert until - since == 9 * HOUR
    ran = [run for run in runs if run["outcome"] != "skipped"]
    assert [run for run in ran if since < began(run) < until] == []
    after = next(run for run in ran if began(run) >= until)
    assert after["trigger"] == "catch_up"
    assert began(after) - until < LATE
    put_off = [run for run in runs if run["reason"] == "paused"]
    assert len(put_off) >= 2, "a row for each due time, but for those of the restart"
    aloud = [
        line
        for each in (daemon, again)
        for line in each.events("run.skipped", reason="paused")
        if line["level"] == "info"
    ]
    assert len(aloud) == 1, "said once"


def test_a_paused_sync_says_so_and_resuming_runs_at_once_what_was_put_off(
    vip, fast
) -> None:
    daemon = vip.start("serve", *fast)
    assert daemon.reached("run.finished", outcome="success")
    forever = vip.syncd("pause", "v*", "--reason", "CRM migration", "--indefinitely")
    assert daemon.reached("run.skipped", reason="paused")
    refused = vip.syncd("run", "vip")
    status = vip.syncd("status", "--json").document["syncs"][0]
    page = vip.syncd("status").out

    said = vip.syncd("resume", "vip")
    assert daemon.reached("run.finished", trigger="catch_up")
    nothing = vip.syncd("resume", "vip")
    resumed = daemon.events("operator.resumed")
    assert daemon.stop() == 0

    assert refused.code == 75, refused.err
    assert "vip is paused by " in refused.err
    assert "CRM migration" in refused.err
    assert "syncd resume vip" in refused.err
    assert status["state"] == "paused"
    assert status["paused"]["reason"] == "CRM migration"
    assert "‖" in page
    assert "CRM migration" in page
    assert "until it is resumed.  Undo: syncd resume vip" in forever.out
    assert "CRM migration" in said.out
    assert nothing.out == "vip was not paused.\n"
    assert len(resumed) == 1


def test_one_run_at_its_end_makes_up_for_the_due_times_in_a_blackout(
    vip, fast, origin
) -> None:
    opens = (origin + 3 * HOUR).replace(second=0, microsecond=0)
    # Thirteen real seconds: the run by hand is a process that must begin in them.
    closes = opens + timedelta(hours=6, minutes=30)
    window = {"from": f"{opens:%H:%M}", "to": f"{closes:%H:%M}"}
    vip.config["windows"] = {"etl": [window]}
    vip.config["syncs"][0]["blackout"] = ["etl"]
    daemon = vip.start("serve", *fast)
    assert daemon.reached("run.skipped", reason="blackout")

    by_hand = vip.run("vip").run
    assert daemon.reached("run.finished", trigger="catch_up")
    assert daemon.reached("run.finished", trigger="schedule")
    runs = runs_of(vip)
    assert daemon.stop() == 0

    # A slow machine starts late, and may live to see the blackout of the next day.
    (started,) = daemon.events("daemon.started")
    watched = closes - max(opens, datetime.fromisoformat(started["ts"]))
    inside = [run for run in runs if opens < began(run) < closes]
    put_off = [run for run in inside if run["reason"] == "blackout"]
    assert len(put_off) - watched // HOUR in (0, 1), "a row for each due time"
    ran = [run for run in inside if run["outcome"] != "skipped"]
    assert [run["trigger"] for run in ran] == ["manual"]
    after = next(run for run in runs if began(run) >= closes)
    assert began(after) - closes < LATE
    assert after["outcome"] == "no_change"
    assert by_hand["notice"] == (
        f"inside the window 'etl' until {closes:%Y-%m-%d %H:%M} UTC; "
        "run all the same, since a person asked"
    )
