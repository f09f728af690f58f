"""`/api/v1` beside the commands: the same bytes, but for the clock, and nobody's id."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from syncd.model import Outcome
from tests.installed import Installation, Running
from tests.simulated import PATIENCE, Simulator

CLOCK = re.compile(r'("(?:now|heartbeat_at|read_at)": )"[^"]*"')
"""What moves between two questions."""


def people(count: int, first: int = 0) -> list[str]:
    """Ids that can be found in an answer if they ever leak."""
    return [f"person-{number:06d}" for number in range(first, first + count)]


@pytest.fixture
def both(installation: Installation, simulator: Simulator) -> Installation:
    """`vip` ran, and is now held by its guard; `churn-risk` was downloaded once."""
    simulator.users(people(400))
    # Amplitude knows nobody of the name `person-unknown`.
    installation.audience([*people(300), "person-unknown"])
    installation.sync("vip")
    simulator.post("/_sim/config", {"job_seconds": 0})
    generated = {"prefix": "person-", "count": 60, "anonymous": 2}
    simulator.cohort("churn", name="Churn risk", generate=generated)
    installation.cohort_sync("churn-risk", "churn", schedule="daily at 03:00")
    assert installation.run().code == 0
    installation.audience(people(20))
    assert installation.run("vip").run["outcome"] == Outcome.HELD
    return installation


@contextmanager
def reading(daemon: Running) -> Iterator[httpx.Client]:
    url = f"{daemon.url('admin')}/api/v1"
    with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        yield client


def comparable(text: str, installation: Installation) -> str:
    """Without the clock, and without the files that only the command was given."""
    return CLOCK.sub(r"\1*", text).replace(f" -c {installation.folder}/syncd.json", "")


def test_every_document_is_the_one_that_the_command_prints(
    both: Installation, simulator: Simulator
) -> None:
    daemon = both.start("serve")
    assert daemon.reached("daemon.started")
    held, _, first = both.syncd("runs", "--json").document["runs"]
    spent = simulator.downloads()["counted"]
    same = {
        "/status": ("status",),
        "/syncs/vip": ("status", "vip"),
        "/runs": ("runs",),
        "/runs?sync=vip&limit=1": ("runs", "vip", "--limit", "1"),
        "/runs?outcome=held&outcome=failed": (
            *("runs", "--outcome", "held"),
            *("--outcome", "failed"),
        ),
        f"/runs/{held['id']}": ("show", held["id"]),
        f"/runs/{first['short_id']}": ("show", first["short_id"]),
        "/quota": ("quota",),
        "/schedule": ("schedule",),
        "/schedule?sync=churn-risk&next=9": ("schedule", "churn-risk", "--next", "9"),
        "/help": ("explain",),
        "/help/guard.max_exit": ("explain", "guard.max_exit"),
    }

    with reading(daemon) as api:
        answers = {path: api.get(path) for path in same}
        (listed, status) = api.get("/syncs").json(), api.get("/status").json()
    printed = {path: both.syncd(*args, "--json") for path, args in same.items()}

    for path, answer in answers.items():
        assert answer.status_code == 200, answer.text
        assert printed[path].code == 0, printed[path].err
        assert comparable(printed[path].out, both) == comparable(answer.text, both), (
            path
        )
        assert "person-" not in answer.text
    assert listed["schema"] == "syncd.syncs/1"
    assert listed["syncs"] == status["syncs"]
    assert [one["state"] for one in listed["syncs"]] == ["held", "on time"]
    assert (
        f"syncd approve {held['short_id']} --reason"
        in answers[f"/runs/{held['id']}"].text
    )
    assert simulator.downloads()["counted"] == spent
    assert daemon.stop() == 0
