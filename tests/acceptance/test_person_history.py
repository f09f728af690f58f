"""Why is this person not in the cohort? Asked all along a way through both directions.

Real daemon, real doors, a simulated Amplitude and partner: told by a webhook, offered,
unknown, offered again, accepted, leaving with many, held, approved, gone; and pushed
the other way meanwhile.
"""

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

import pytest

from syncd.cli.exit_codes import ExitCode
from tests.installed import Installation, Running
from tests.knocking import (
    Knocking,
    ago,
    assert_nothing_leaked,
    identify,
    knocking,
    people,
)
from tests.simulated import PATIENCE, Simulator

CROWD = people(120)
(ANN,) = people(1, 500)


class Asked:
    """`why` and `user` of Ann, and all they ever printed."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self.printed: list[str] = []

    def why(self, sync: str) -> dict[str, Any]:
        """What `why` says, as JSON; the text beside it must hold the answer, too."""
        document: dict[str, Any] = json.loads(self._run("why", "-", sync, "--json"))
        assert document["answer"] in self._run("why", "-", sync)
        return document

    def states(self) -> dict[str, str]:
        """Where Ann stands in every sync."""
        document = json.loads(self._run("user", "-", "--json"))
        return {each["sync"]: each["state"] for each in document["syncs"]}

    def _run(self, verb: str, *args: str) -> str:
        ended = subprocess.run(
            self._installation.command(verb, *args),
            input=ANN,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self._installation.folder,
        )
        assert ended.returncode == ExitCode.OK, ended.stderr
        self.printed += [ended.stdout, ended.stderr]
        return ended.stdout


@pytest.fixture
def both(installation: Installation, simulator: Simulator) -> Installation:
    """`vip` lives by Engage's webhooks, `adopters` by Amplitude's pushes; no lists."""
    installation.inbox()
    installation.push()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.sync("vip")
    installation.cohort_sync(
        "adopters",
        "c1",
        from_={"via": "push", "relist_every": "never"},
        to={"connection": "partner-lists"},
    )
    simulator.users(CROWD)
    simulator.cohort("c1")
    return installation


def an_hour_later(installation: Installation) -> None:
    """Whoever was not taken may be offered again. No process works on the store."""
    with closing(sqlite3.connect(installation.database)) as store, store:
        changed = store.execute(
            "UPDATE unaccepted SET next_at = datetime(next_at, '-2 hours') || '.000000'"
        )
    assert changed.rowcount == 1


def say(at: Knocking, ids: list[str], *, inside: bool, when: float) -> None:
    events = [identify(each, inside, timestamp=ago(when)) for each in ids]
    assert at.engage(events).status == 200


def push_to_a_list(at: Knocking, ids: list[str]) -> None:
    made = at.amplitude("/lists", {"name": "[Amplitude] Cohort c1: c1"}).body
    answer = at.amplitude(f"/lists/{made['listId']}/add", {"userIds": ids})
    assert answer.status == 200


def working(both: Installation) -> Running:
    """A daemon that has the store: a run before that would take it for itself."""
    daemon = both.start("serve")
    assert daemon.reached("daemon.started")
    return daemon


def test_a_person_is_explained_along_a_way_through_both_directions(
    both: Installation, simulator: Simulator
) -> None:
    asked = Asked(both)
    daemon = both.start("serve")
    with knocking(daemon) as at:
        say(at, [*CROWD, ANN], inside=True, when=120)
        both.run("vip")
        unknown = asked.why("vip")
        push_to_a_list(at, [ANN])
        untold = asked.states()
        both.run("adopters")
    assert daemon.stop() == 0
    an_hour_later(both)
    simulator.users([*CROWD, ANN])
    again = working(both)
    both.run("vip")
    taken = asked.why("vip")
    with knocking(again) as at:
        say(at, [ANN, *CROWD[:60]], inside=False, when=10)
    held = both.run("vip")
    waiting = asked.why("vip")
    both.syncd("approve", held.run["id"], "--reason", "a test")
    gone = asked.why("vip")

    assert unknown["answer"].startswith("Not in: Amplitude does not know this user_id")
    assert untold == {"vip": "unmatched", "adopters": "out"}
    assert taken["answer"].startswith("In the cohort: acknowledged ")
    assert waiting["answer"].startswith("In for now: the held plan of run ")
    assert waiting["next"][0].startswith(f"syncd show {held.run['id'][-8:]} -c ")
    assert gone["answer"].startswith("Not in: removed ")
    assert asked.states() == {"vip": "out", "adopters": "in"}
    assert_time_line(gone)
    assert_nothing_leaked(daemon.text, again.text, *asked.printed)


def assert_time_line(story: dict[str, Any]) -> None:
    """From the first word to the last answer, each at its time."""
    times = [each["at"] for each in story["moments"]]
    assert times == sorted(times)
    texts = [each["text"] for each in story["moments"]]
    steps = (
        "engage: exited, told",
        "Amplitude was offered them and did not take them",
        "planned: to be added",
        "acknowledged: added",
        "planned: to be removed",
        "acknowledged: removed",
    )
    for step in steps:
        assert [text for text in texts if step in text], (step, texts)
    assert story["state"] == "out"
    assert story["since"] == story["moments"][-1]["at"]
