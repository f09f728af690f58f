"""Whatever hangs delays nobody else: a real daemon, most of whose syncs hang.

The healthy sync is due every real second. While others hang in a warehouse that accepts
connections and says nothing, and at destinations that never answer, a change of its
audience arrives as fast as before. Where destinations of its own connection hang, it
waits for one deadline at most while they begin to, and then not at all.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.installed import Installation, Running
from tests.months import LOOK, FastClock, clock_that_shows
from tests.simulated import PATIENCE, Simulator, simulating
from tests.stalls import FIRST

SPEED = 300
"""Five minutes in a second: whoever is due every five minutes is due every second."""
DEADLINE = 4.0
"""Real seconds until a request that hangs is over."""
SOON = 3.0
"""Real seconds within which a change arrives: a period, a run, a slow machine."""
HANGING = 5
"""Syncs of each kind that hang; more than there are threads for a connection."""
CHANGES = 3


def people(sync: str, first: int = 0, count: int = 20) -> list[str]:
    return [f"{sync}-{number:03d}" for number in range(first, first + count)]


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that takes every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        yield int(door.getsockname()[1])


@contextmanager
def installed(folder: Path) -> Iterator[tuple[Installation, Simulator, FastClock]]:
    """The healthy sync `well`, beside a simulator; nothing runs yet."""
    with ExitStack() as stack:
        clock = clock_that_shows(FIRST, within=1.5, speed=SPEED)
        simulator = stack.enter_context(simulating(*clock.options, "--latency", "0"))
        installation = Installation(folder, simulator, stack)
        installation.config["log"]["level"] = "info"
        installation.config["defaults"] |= {"max_runtime": "12h"}
        installation.config["defaults"]["delivery"]["batch_size"] = 5
        installation.sync("well", schedule="every 5m")
        installation.audience(people("well"), "well")
        simulator.users(people("well", count=200))
        yield installation, simulator, clock


def deadline(installation: Installation, *names: str) -> None:
    for name in names:
        connection = installation.config["connections"][name]
        connection["request_deadline"] = f"{DEADLINE:g}s"


def started(installation: Installation, clock: FastClock) -> Running:
    daemon = installation.start("serve", *clock.options)
    assert daemon.reached("run.finished", sync="well", outcome="success")
    return daemon


def delays(installation: Installation, simulator: Simulator) -> list[float]:
    """Real seconds until each of some changes of `well` is in its cohort."""
    (cohort,) = [c["id"] for c in simulator.cohorts() if c["name"] == "Cohort well"]
    found = []
    for turn in range(1, CHANGES + 1):
        wanted = set(people("well", first=turn))
        began = time.monotonic()
        installation.audience(sorted(wanted), "well")
        while simulator.members(cohort) != wanted:
            assert time.monotonic() - began < PATIENCE
            threading.Event().wait(LOOK)
        found.append(time.monotonic() - began)
    return found


def test_syncs_that_hang_elsewhere_delay_nobody(tmp_path: Path) -> None:
    with (
        silent_server() as port,
        installed(tmp_path) as (installation, simulator, clock),
    ):
        url = f"postgresql://reader:secret@127.0.0.1:{port}/none"
        installation.secret("warehouse_url", url)
        warehouse = {"type": "warehouse", "url_file": "warehouse_url"}
        installation.config["connections"]["silent"] = {
            "type": "engage",
            "space": "silent",
            "snapshot": warehouse,
        }
        for number in range(HANGING):
            name = f"read-{number}"
            read = {"connection": "silent", "audience": name}
            installation.sync(name, schedule="every 5m", **{"from": read})
            name = f"send-{number}"
            simulator.cohort(name, members=people(name))
            installation.cohort_sync(name, name, schedule="every 5m")
        amplitude = installation.config["connections"]["amplitude"]
        amplitude["quota"] = {"downloads_per_month": 100_000}
        limit = {"download_limit": 100_000}
        simulator.control.patch("/_sim/projects/187520", json=limit).raise_for_status()
        deadline(installation, "segment")
        simulator.fault("segment_batch", "hang_before", seconds=60)
        daemon = started(installation, clock)
        assert daemon.reached("batch.retried", sync="send-0")

        found = delays(installation, simulator)

        assert daemon.events("run.started", sync="read-0")
        assert not daemon.events("run.finished", sync="read-0", outcome="success")
        assert max(found) <= SOON, found
        print(f"changes arrived after {[round(each, 2) for each in found]} s")


def test_cohorts_that_hang_at_the_same_vendor_leave_a_thread_to_the_others(
    tmp_path: Path,
) -> None:
    with installed(tmp_path) as (installation, simulator, clock):
        names = [f"hang-{number}" for number in range(HANGING)]
        for name in names:
            installation.sync(name, schedule="every 5m")
            installation.audience(people(name), name)
            simulator.users(people(name, count=40))
        daemon = started(installation, clock)
        for name in names:
            assert daemon.reached("run.finished", sync=name, outcome="success")
        assert daemon.stop() == 0
        deadline(installation, "amplitude")
        for each in simulator.cohorts():
            if each["name"] != "Cohort well":
                about = {"cohort_id": each["id"], "seconds": 60}
                simulator.fault("membership", "hang_before", **about)
        for name in names:
            installation.audience(people(name, first=5), name)
        daemon = installation.start("serve", *clock.options)
        for name in names:
            assert daemon.reached("batch.retried", sync=name)

        found = delays(installation, simulator)

        assert max(found) <= SOON, found
        print(f"changes arrived after {[round(each, 2) for each in found]} s")
