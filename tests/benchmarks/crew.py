"""First syncs of many cohorts by some workers: one round of that benchmark.

What was sent, and when, is read from the simulator's log.
"""

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.installed import Installation, Running
from tests.simulated import Simulator

AT_A_PROJECT = 5
"""Requests that Amplitude takes at once of one project."""
EACH = 4
"""Runs that a worker carries out at once; each has one request under way."""
PATIENCE = 240.0
"""Real seconds for one round."""
KNOWN = "crew-person-"
WRITES = ("upload", "membership")
ENDED = '"event":"run.finished"'


@dataclass(frozen=True, kw_only=True)
class Task:
    """Cohorts to be made, each in so many batches."""

    cohorts: int
    projects: int
    batches: int
    size: int
    """People in a batch."""
    latency: float
    """Seconds in which each request is answered."""

    def lanes(self, processes: int) -> int:
        """Requests that may be under way at once."""
        allowed = min(self.cohorts, AT_A_PROJECT * self.projects)
        return min(EACH * processes, allowed)

    def ideal(self, requests: int, processes: int) -> float:
        """Seconds that so many requests take at least."""
        return requests * self.latency / self.lanes(processes)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one round took."""

    requests: int
    wall: float
    """Seconds from the first request to the last answer."""
    efficiency: float
    """The least time for these requests, as a share of that."""
    cpu: float
    """Seconds of CPU of all processes, from their start to their end."""


class Crew:
    """A simulator, and installations on a Postgres of their own, one after another."""

    def __init__(
        self, simulator: Simulator, folder: Path, server: str, task: Task
    ) -> None:
        """`server` is the URL of a Postgres server."""
        self.simulator = simulator
        self._folder = folder
        self._server = server
        self.task = task
        people = [f"{KNOWN}{each:06d}" for each in range(task.batches * task.size)]
        self._people = people
        simulator.post("/_sim/config", {"record_ids": False, "job_seconds": 0})
        simulator.post("/_sim/latency", dict.fromkeys(WRITES, task.latency))
        for number in range(task.projects):
            self._add_project(number)

    def round(self, workers: int) -> Done:
        """Every cohort is made by so many workers."""
        with database(self._server) as url, ExitStack() as stack:
            installation = self._installation(stack, url)
            since = self.simulator.last()
            crew = [
                installation.start("worker", "--at-once", str(EACH))
                for _ in range(workers)
            ]
            for each in crew:
                assert each.reached("worker.started")
            crew.append(installation.start("serve"))
            self._wait_until_all_is_done(crew)
            cpu = sum(_cpu_of(each) for each in crew)
            for each in crew:
                assert each.stop() == 0, each.text[-3000:]
        return self._told(since, workers, cpu)

    def _told(self, since: int, processes: int, cpu: float) -> Done:
        entries = self.simulator.get(f"/_sim/log?since={since}")["entries"]
        writes = [each for each in entries if each["endpoint"] in WRITES]
        assert {each["status"] for each in writes} == {200}
        begun = min(each["started"] for each in writes)
        wall = max(each["ended"] for each in writes) - begun
        ideal = self.task.ideal(len(writes), processes)
        return Done(requests=len(writes), wall=wall, efficiency=ideal / wall, cpu=cpu)

    def _wait_until_all_is_done(self, crew: list[Running]) -> None:
        def finished() -> int:
            # Lines are looked at many times: only at the end they are read as JSON.
            return sum(ENDED in line for each in crew for line in list(each.lines))

        left = int(PATIENCE / 0.2)
        while finished() < self.task.cohorts:
            left -= 1
            assert left, "\n".join(each.text[-2000:] for each in crew)
            with crew[0].news:
                crew[0].news.wait(0.2)
        well = [each.events("run.finished", outcome="success") for each in crew]
        assert sum(len(each) for each in well) == self.task.cohorts

    def _installation(self, stack: ExitStack, url: str) -> Installation:
        folder = self._folder / uuid.uuid4().hex
        folder.mkdir()
        made = Installation(folder, self.simulator, stack)
        made.config["store"]["url"] = url
        made.config["log"]["level"] = "info"
        made.config["defaults"]["delivery"]["batch_size"] = self.task.size
        made.config["cluster"] = "procrastinate"
        self._connect(made)
        for number in range(self.task.cohorts):
            name, project = f"c{number:02d}", f"project-{number % self.task.projects}"
            to = {"connection": project, "cohort": f"{folder.name} {name}"}
            made.sync(name, schedule="once", max_runtime="1h", to=to)
            made.audience(self._people, name)
        return made

    def _connect(self, made: Installation) -> None:
        known = made.config["connections"].pop("amplitude")
        for number in range(self.task.projects):
            words = _project(number)
            for key in ("api_key", "secret_key"):
                made.secret(f"{key}-{number}", str(words[key]))
            made.config["connections"][f"project-{number}"] = known | {
                "app_id": words["app_id"],
                "api_key_file": f"api_key-{number}",
                "secret_key_file": f"secret_key-{number}",
                "request_deadline": "30s",
            }

    def _add_project(self, number: int) -> None:
        words = _project(number)
        self.simulator.post("/_sim/projects", words)
        path = f"/_sim/users?project={words['app_id']}"
        self.simulator.post(path, {"user_ids": self._people})

    def most_at_once(self) -> int:
        """Requests that were under way at one project together, at the most."""
        projects = self.simulator.get("/_sim/stats")["projects"].values()
        return max(int(each["most_concurrent_requests"]) for each in projects)


def _project(number: int) -> dict[str, Any]:
    return {
        "app_id": 300_000 + number,
        "region": "us",
        "api_key": f"demo-crew-{number}-key",
        "secret_key": f"demo-crew-{number}-secret",
        "owners": ["growth-ops@acme.example"],
    }


def _cpu_of(running: Running) -> float:
    """Seconds of a process that still runs, user and system."""
    text = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def database(server: str) -> Iterator[str]:
    """URL of an empty database, dropped afterwards."""
    name = f"crew_{uuid.uuid4().hex}"
    made = sql.SQL("CREATE DATABASE {} TEMPLATE template0")
    dropped = sql.SQL("DROP DATABASE {} WITH (FORCE)")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(made.format(sql.Identifier(name)))
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        connection.execute(dropped.format(sql.Identifier(name)))
