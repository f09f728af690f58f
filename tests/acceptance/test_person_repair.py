"""One person's time line over both directions, a repair among its moments.

Ann enters an audience that is written to a cohort: unknown at first, then taken, in a
plan that is held, taken out by somebody and put back by a repair. A cohort she is in
is written to a trait meanwhile, and skipped for quota.
"""

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

from tests.installed import Installation
from tests.simulated import PATIENCE, Simulator

CROWD = [f"person-{number:04}" for number in range(120)]
ANN = "ann-4711-secret"
PROJECT = "/_sim/projects/187520"


def why(installation: Installation, sync: str) -> tuple[str, list[str]]:
    """The answer, and the texts of all moments; her id is in neither."""
    ended = subprocess.run(
        installation.command("why", "-", sync, "--json"),
        input=ANN,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=installation.folder,
    )
    assert ended.returncode == 0, ended.stderr
    assert ANN not in ended.stdout + ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    times = [each["at"] for each in document["moments"]]
    assert times == sorted(times)
    return document["answer"], [each["text"] for each in document["moments"]]


def both_directions(installation: Installation, simulator: Simulator) -> None:
    simulator.post("/_sim/config", {"job_seconds": 0})
    installation.sync("vip")
    installation.audience([*CROWD, ANN])
    installation.cohort_sync("adopters", "c1")
    simulator.users(CROWD)


def an_hour_later(installation: Installation) -> None:
    """Whoever was not taken may be offered again."""
    with closing(sqlite3.connect(installation.database)) as store, store:
        store.execute(
            "UPDATE unaccepted SET next_at = datetime(next_at, '-2 hours') || '.000000'"
        )


def known_to_amplitude(installation: Installation, simulator: Simulator) -> str:
    """Ann is unknown, then taken; returns the id of the cohort she is in."""
    installation.run("vip")
    assert "does not know this user_id" in why(installation, "vip")[0]
    an_hour_later(installation)
    simulator.cohort("c1", members=[*CROWD[:5], ANN])
    assert installation.run("vip").run["outcome"] == "success"
    (cohort_id,) = (each["id"] for each in simulator.cohorts() if each["id"] != "c1")
    return str(cohort_id)


def held_and_rejected(installation: Installation) -> None:
    installation.audience(CROWD[:40])
    held = installation.run("vip").run
    assert held["outcome"] == "held"
    assert why(installation, "vip")[0].startswith("In for now: the held plan of run ")
    installation.syncd("reject", held["id"], "--reason", "their list was broken")
    installation.audience([*CROWD, ANN])


def skipped_for_quota(installation: Installation, simulator: Simulator) -> None:
    simulator.control.patch(PROJECT, json={"downloads_used": 500}).raise_for_status()
    simulator.change("c1", remove=[ANN])
    assert installation.run("adopters").run["reason"] == "quota"
    answer, texts = why(installation, "adopters")
    assert answer.startswith("In the trait: acknowledged ")
    assert "1 run skipped: quota" in texts
    simulator.control.patch(PROJECT, json={"downloads_used": 0}).raise_for_status()


def test_a_time_line_over_both_directions_names_the_repair(
    installation: Installation, simulator: Simulator
) -> None:
    both_directions(installation, simulator)
    cohort_id = known_to_amplitude(installation, simulator)
    installation.run("adopters")
    held_and_rejected(installation)
    skipped_for_quota(installation, simulator)
    simulator.change(cohort_id, remove=[ANN])

    ended = installation.syncd("verify", "vip", "--repair", "--yes", "--json")
    installation.run("adopters")
    answer, texts = why(installation, "vip")
    elsewhere, others = why(installation, "adopters")

    assert ended.document["syncs"][0]["repair"]["added"] == 1, ended.err
    run_id = ended.document["syncs"][0]["repair"]["run"]["id"]
    assert answer.startswith("In the cohort: acknowledged ")
    assert run_id[-8:] in answer
    assert [text.split(", ")[0].split(" (")[0] for text in texts] == [
        "the sync took up its destination: its first plan",
        "Amplitude was offered them and did not take them",
        "planned: to be added",
        "acknowledged: added",
        "planned: to be added",
        "acknowledged: added",
    ]
    repaired = [text for text in texts if text.endswith(", a repair")]
    assert repaired == texts[-2:]
    assert all(run_id[-8:] in text for text in repaired)
    assert elsewhere.startswith("Not in: removed ")
    assert not [text for text in others if text.endswith("a repair")]
