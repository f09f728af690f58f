"""One job and those who do it: an audience of many into a list at a partner.

Each attempt has a folder and a partner of its own, as they are on the first day. What
was sent, and when, is read from the partner's log: by one clock, whoever sends.
"""

import base64
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.benchmarks.peers import bare, dlt_project, drt_project
from tests.installed import Installation
from tests.simulated import Simulator

PREFIX, FIRST = "5f0c9a3e-8d51-4b7e-9c1f-", 1_000_000
"""Before a number of seven digits: ids nearly as long as a UUID."""
LANES = 4
AUTHORIZATION = "Basic " + base64.b64encode(b"demo-partner-key:").decode()
CALLS = ("partner_lists", "partner_add", "partner_remove")


def named(numbers: Iterable[int]) -> list[str]:
    """The ids of these people."""
    return [f"{PREFIX}{FIRST + number}" for number in numbers]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the partner saw since a moment."""

    requests: int
    added: list[str]
    """Every id that a request asked to add, as often."""
    removed: list[str]
    seconds: float
    """From the first byte of the first request about members to the last answer."""


class Partner:
    """The partner's side, with nothing in it."""

    def __init__(self, simulator: Simulator, latency: float) -> None:
        self.simulator, self.latency = simulator, latency
        simulator.post("/_sim/reset", {})
        simulator.post("/_sim/config", {"job_seconds": 0})
        self.answer_after(latency)

    def answer_after(self, seconds: float) -> None:
        """How long it takes for each answer from now on."""
        self.simulator.post("/_sim/latency", dict.fromkeys(CALLS, seconds))

    def new_list(self) -> str:
        """Make the list; where its members are added."""
        lists = self.simulator.origins["partner"] + "/lists"
        body = {"name": "big", "context": bare.CONTEXT}
        headers = {"authorization": AUTHORIZATION}
        made = httpx.post(lists, json=body, headers=headers).raise_for_status().json()
        return f"{lists}/{made['listId']}/add"

    def sent(self, since: int = 0) -> Sent:
        """What came after a request."""
        adds = self.simulator.log("partner_add", since)
        removes = self.simulator.log("partner_remove", since)
        both = adds + removes
        done = [one for one in both if one["ended"] is not None]
        return Sent(
            requests=len(both),
            added=_ids(adds),
            removed=_ids(removes),
            seconds=max((one["ended"] for one in done), default=0.0)
            - min((one["started"] for one in both), default=0.0),
        )

    def counters(self) -> dict[str, Any]:
        """`requests`, `in_flight`, `max_in_flight` and more."""
        found: dict[str, Any] = self.simulator.get("/_sim/partner")
        return found

    def against(self, people: Iterable[int]) -> tuple[int, int]:
        """How many of these the list lacks, and how many others it has."""
        (only,) = self.simulator.get("/_sim/partner/lists")["lists"]
        answer = self.simulator.control.post(
            f"/_sim/partner/lists/{only['id']}/compare",
            content="\n".join(named(people)),
            headers={"content-type": "text/plain"},
        )
        found = answer.raise_for_status().json()
        return int(found["missing"]), int(found["extra"])


def _ids(entries: list[dict[str, Any]]) -> list[str]:
    return [one for entry in entries for part in entry["sent"] for one in part["ids"]]


class Contestant(Protocol):
    """A tool that was set up to do the job."""

    def hold(self, start: int, count: int) -> None:
        """From now on the audience is these people."""

    def command(self) -> list[str]:
        """The command that makes the list agree."""


class Table:
    """The audience as a table of a local SQLite: what the floor and the peers read."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "warehouse.db"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("CREATE TABLE people (user_id TEXT PRIMARY KEY)")

    def hold(self, start: int, count: int) -> None:
        """Whoever stays keeps the row; who left is gone."""
        rows = [(one,) for one in named(range(start, start + count))]
        with closing(sqlite3.connect(self.path)) as connection, connection:
            ends = rows[0][0], rows[-1][0]
            connection.execute(
                "DELETE FROM people WHERE user_id NOT BETWEEN ? AND ?", ends
            )
            connection.executemany("INSERT OR IGNORE INTO people VALUES (?)", rows)


class Bare(Table):
    """bare.py."""

    def __init__(self, folder: Path, partner: Partner, python: str) -> None:
        super().__init__(folder)
        self._python, self._url = python, partner.new_list()

    def command(self) -> list[str]:
        """The floor, with the Python that runs the tests."""
        words = [str(self.path), self._url, AUTHORIZATION]
        return [self._python, str(bare.__file__), *words]


class Drt(Table):
    """A project of drt with so many slices of the audience."""

    def __init__(self, folder: Path, partner: Partner, peers: Path, slices: int):
        super().__init__(folder)
        self._command = drt_project.command(peers, folder, slices=slices)
        drt_project.write(
            folder, self.path, partner.new_list(), AUTHORIZATION, slices=slices
        )

    def command(self) -> list[str]:
        """`drt run`."""
        return self._command


class Dlt(Table):
    """A project of dlt that loads so many files side by side."""

    def __init__(self, folder: Path, partner: Partner, peers: Path, lanes: int):
        super().__init__(folder)
        self._folder, self._lanes = folder, lanes
        url = partner.new_list()
        self._command = dlt_project.command(
            peers, folder, self.path, url, AUTHORIZATION
        )

    def hold(self, start: int, count: int) -> None:
        """Files are cut by the number of people on the first day."""
        super().hold(start, count)
        dlt_project.write(self._folder, lanes=self._lanes, people=count)

    def command(self) -> list[str]:
        """The user's script."""
        return self._command


class Syncd:
    """An installation with one sync; the audience is a cohort it has to download."""

    def __init__(self, folder: Path, partner: Partner, stack: ExitStack) -> None:
        self._simulator = partner.simulator
        self._installed = Installation(folder, partner.simulator, stack)
        self._installed.cohort_sync("big", "big", to={"connection": "partner-lists"})
        connections = self._installed.config["connections"]
        # The simulator answers nobody else while it makes the file of the download.
        connections["amplitude"]["request_deadline"] = "60s"
        connections["partner-lists"]["request_deadline"] = "3s"

    def hold(self, start: int, count: int) -> None:
        """The cohort is computed anew."""
        crowd = {"prefix": PREFIX, "first": FIRST + start, "count": count}
        if self._simulator.get("/_sim/cohorts")["cohorts"]:
            self._simulator.change("big", generate=crowd)
        else:
            self._simulator.cohort("big", generate=crowd)

    def command(self) -> list[str]:
        """`syncd run`."""
        return self._installed.command("run", "--json", "-v", "big")
