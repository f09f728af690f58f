"""`cluster: procrastinate`: daemons tick, workers run, on one real Postgres."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from syncd.cli.exit_codes import ExitCode
from syncd.store.database import Database
from tests.builders import rows
from tests.installed import Installation, Running
from tests.reliability.replicas.pooling import WAYS, reached
from tests.simulated import PATIENCE

SPEED = 60
"""A due time each five minutes is one each 5 real seconds."""
PERIOD = timedelta(minutes=5)
NAMES = [f"s{number}" for number in range(4)]
FINE = "('success', 'no_change', 'skipped')"


@pytest.fixture
def origin() -> str:
    return datetime.now(UTC).isoformat()


@pytest.fixture(params=WAYS)
def store_url(request: pytest.FixtureRequest, postgres_database: str) -> Iterator[str]:
    """As the processes see it; the test looks past the pool."""
    with reached(request.param, postgres_database) as url:
        yield url


@pytest.fixture
def store(postgres_database: str) -> Iterator[Database]:
    """The store as a bystander sees it."""
    opened = Database(postgres_database, readers=1)
    yield opened
    opened.close()


@pytest.fixture
def cluster(
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Any],
    request: pytest.FixtureRequest,
    postgres_database: str,
    origin: str,
) -> Installation:
    """Four syncs each five minutes, deferred to workers; nobody runs yet."""
    simulator = new_simulator("--speed", str(SPEED), "--origin", origin)
    installation = new_installation(simulator)
    pooled_too = "store_url" in request.fixturenames
    url = request.getfixturevalue("store_url") if pooled_too else postgres_database
    installation.config["store"]["url"] = url
    installation.config["cluster"] = "procrastinate"
    for name in NAMES:
        installation.sync(name, schedule="every 5m", max_runtime="1h")
        installation.audience([f"person-{name}-{each}" for each in range(20)], name)
    simulator.users(f"person-{name}-{each}" for name in NAMES for each in range(20))
    return installation


def started(cluster: Installation, origin: str, verb: str, *more: str) -> Running:
    process = cluster.start(verb, "--speed", str(SPEED), "--origin", origin, *more)
    assert process.reached(f"{'daemon' if verb == 'serve' else verb}.started")
    return process


@pytest.mark.usefixtures("store_url")
def test_every_due_time_is_run_once_however_many_tick_and_work(
    cluster: Installation, origin: str, store: Database
) -> None:
    workers = [started(cluster, origin, "worker") for _ in range(2)]
    daemons = [started(cluster, origin, "serve") for _ in range(2)]

    # Whoever asks the queue first after a due time may take all that is due.
    until_finished(workers, 12)
    for process in [*daemons, *workers]:
        assert process.stop() == 0, process.text[-3000:]

    slots = rows(
        store,
        "SELECT sync, slot, count(*), min(coalesce(reason, 'ran')) FROM run"
        " WHERE slot IS NOT NULL GROUP BY sync, slot ORDER BY slot",
    )
    assert {count for _, _, count, _ in slots} == {1}
    # On a busy machine a run may last until the next is due, as without workers.
    assert {why for *_, why in slots} <= {"ran", "overlap"}
    assert rows(store, "SELECT 1 FROM run WHERE outcome NOT IN " + FINE) == []
    for name in NAMES:
        due = [slot for sync, slot, *_ in slots if sync == name]
        assert len(due) >= 2
        assert [late - early for early, late in pairwise(due)] == [PERIOD] * (
            len(due) - 1
        )
    assert all(not each.events("run.started") for each in daemons)
    assert rows(store, "SELECT * FROM procrastinate_jobs") == []


def until_finished(workers: list[Running], count: int) -> None:
    """They finished so many runs together."""
    deadline, pause = time.monotonic() + 2 * PATIENCE, threading.Event()
    while sum(len(each.events("run.finished")) for each in workers) < count:
        assert time.monotonic() < deadline, [each.text[-2000:] for each in workers]
        pause.wait(0.1)


def slowed(cluster: Installation, seconds: float = 0.3) -> None:
    """One sync, whose run takes some seconds: small batches, slow answers."""
    del cluster.config["syncs"][1:]
    cluster.config["defaults"]["delivery"]["batch_size"] = 2
    cluster.simulator.post("/_sim/latency", {"membership": seconds, "upload": seconds})


def runs_of(store: Database, trigger: str, outcome: str) -> int:
    query = "SELECT count(*) FROM run WHERE trigger = :trigger AND outcome = :outcome"
    ((count,),) = rows(store, query, trigger=trigger, outcome=outcome)
    return int(count)


def require_right(cluster: Installation, store: Database) -> None:
    """Nobody was told two things at once, nobody is missing, no slot ran twice."""
    stats = cluster.simulator.get("/_sim/stats")
    assert stats["overlaps"] == 0
    assert stats["status_429"] == 0
    wanted = {f"person-s0-{each}" for each in range(20)}
    assert cluster.simulator.members() == wanted
    query = "SELECT slot FROM run WHERE slot IS NOT NULL GROUP BY slot"
    assert rows(store, f"{query} HAVING count(*) > 1") == []


def test_another_worker_goes_on_once_where_one_was_killed(
    cluster: Installation, origin: str, store: Database
) -> None:
    slowed(cluster)
    first = started(cluster, origin, "worker")
    daemon = started(cluster, origin, "serve")
    assert first.reached("batch.sent", count=2)

    assert first.kill()
    second = started(cluster, origin, "worker")

    assert second.reached("job.given_back")
    assert second.reached("run.finished", trigger="resume", outcome="success")
    assert second.reached("run.finished", trigger="schedule")
    for process in (daemon, second):
        assert process.stop() == 0, process.text[-3000:]
    ((abandoned,),) = rows(
        store, "SELECT count(*) FROM run WHERE outcome = 'abandoned'"
    )
    assert abandoned == 1
    assert runs_of(store, "resume", "success") == 1
    require_right(cluster, store)


def handed_on(worker: Running, store: Database) -> None:
    """It is asked to stop in the middle, and what is left waits for any other."""
    assert worker.stop() == 0
    assert worker.events("run.finished", outcome="interrupted")
    query = "SELECT args ->> 'trigger', count(*) FROM procrastinate_jobs GROUP BY 1"
    assert ("resume", 1) in rows(store, query)


def test_a_worker_that_is_asked_to_stop_hands_its_run_on_at_once(
    cluster: Installation, origin: str, store: Database
) -> None:
    slowed(cluster, seconds=0.6)
    first = started(cluster, origin, "worker")
    daemon = started(cluster, origin, "serve")
    assert first.reached("batch.sent", count=2)
    assert daemon.kill()  # it would look for such runs every 5 s

    handed_on(first, store)
    second = started(cluster, origin, "worker")
    assert second.reached("batch.sent")
    handed_on(second, store)  # who goes on may be stopped, too
    third = started(cluster, origin, "worker")

    assert third.reached("run.finished", trigger="resume", outcome="success")
    assert third.stop() == 0, third.text[-3000:]
    assert not third.events("job.given_back")
    assert runs_of(store, "resume", "success") == 1
    require_right(cluster, store)


def test_workers_finish_what_is_queued_while_no_daemon_ticks(
    cluster: Installation, origin: str, store: Database
) -> None:
    slowed(cluster)
    worker = started(cluster, origin, "worker")
    daemon = started(cluster, origin, "serve")
    assert worker.reached("batch.sent")

    assert daemon.kill()

    assert worker.reached("run.finished", outcome="success")
    again = started(cluster, origin, "serve")
    assert worker.reached("run.finished", outcome="no_change")
    for process in (again, worker):
        assert process.stop() == 0, process.text[-3000:]
    require_right(cluster, store)


def test_a_worker_is_probed_and_scraped_as_a_daemon_is(
    cluster: Installation, origin: str
) -> None:
    worker = started(cluster, origin, "worker", "--listen", "127.0.0.1:0")
    at = worker.url("admin")

    asked = {path: httpx.get(at + path) for path in ("/-/healthy", "/-/ready", "/")}
    counted = httpx.get(f"{at}/metrics").text
    probe, of_a_daemon = (
        cluster.syncd("healthcheck", *more) for more in (["--worker"], [])
    )

    assert [each.status_code for each in asked.values()] == [200, 200, 404]
    assert "syncd_store_up 1.0" in counted
    assert "syncd_scheduler_heartbeat_timestamp_seconds" in counted
    assert 'syncd_runs_total{outcome="success",sync="s3"} 0.0' in counted
    assert (probe.code, probe.out[:15]) == (ExitCode.OK, "healthy: worker")
    assert of_a_daemon.code == ExitCode.FAILED
    assert "no daemon runs" in of_a_daemon.out
    assert worker.stop() == 0


def hung_up(cluster: Installation, process: Running) -> None:
    """The files were written anew, and it is told."""
    cluster.command("check")
    process.process.send_signal(signal.SIGHUP)


def test_a_worker_that_cannot_listen_where_it_is_told_says_so_and_ends(
    cluster: Installation,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        ended = [
            cluster.syncd("worker", "--listen", where)
            for where in ("0.0.0.0:0", "8081", taken)
        ]

    assert [each.code for each in ended[:2]] == [ExitCode.USAGE] * 2
    assert "token_file" in ended[0].err
    assert "127.0.0.1:8082" in ended[1].err
    assert ended[2].code not in (ExitCode.OK, ExitCode.USAGE)
    assert "another process listens there" in ended[2].err
    assert "worker.started" not in ended[2].out


def test_a_worker_goes_on_with_files_that_changed_and_loses_no_due_time(
    cluster: Installation, origin: str
) -> None:
    worker = started(cluster, origin, "worker")
    cluster.config["syncs"] = []
    cluster.sync("later", schedule="every 5m", max_runtime="1h")
    cluster.audience([f"person-s0-{each}" for each in range(20)], "later")
    started(cluster, origin, "serve")
    assert worker.reached("run.skipped", sync="later", code="sync.unknown")

    hung_up(cluster, worker)

    assert worker.reached("config.loaded", added=["later"], removed=NAMES)
    assert worker.reached("run.finished", sync="later", outcome="success")
    assert not worker.events("store.unavailable")
    cluster.config["defaults"]["delivery"]["workers"] = 7
    hung_up(cluster, worker)
    assert worker.reached("config.reload_failed", code="config.restart")
    assert worker.stop() == 0


def test_a_worker_has_nothing_to_do_where_the_daemon_runs_everything(
    cluster: Installation,
) -> None:
    cluster.config["cluster"] = "embedded"

    ended = cluster.syncd("worker")

    assert ended.code == ExitCode.FAILED
    assert "cluster.embedded" in ended.err
    assert "store.migrated" not in ended.out


def test_status_names_workers_and_what_each_works_on(
    cluster: Installation, origin: str
) -> None:
    slowed(cluster, seconds=1.5)
    cluster.config["connections"]["amplitude"]["request_deadline"] = "20s"
    worker = started(cluster, origin, "worker")

    (alone,) = cluster.syncd("status", "--json").document["daemons"]
    words = cluster.syncd("status").out

    assert (alone["role"], alone["alive"], alone["working_on"]) == ("worker", True, [])
    assert "no daemon" in words
    started(cluster, origin, "serve")
    assert worker.reached("batch.sent")
    by_role = {
        each["role"]: each
        for each in cluster.syncd("status", "--json").document["daemons"]
    }
    assert by_role["worker"]["working_on"] == ["s0"]
    assert by_role["daemon"]["working_on"] == []
    assert "worker" in cluster.syncd("status").out
