"""The daemon as a process: signals, reload, one per store, commands while it works.

The clock's steps need a clock that is stepped, so that one test serves in this process.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.types import EventDict

from syncd import config
from syncd.app.serve import LOOK, Server
from syncd.app.signals import block
from syncd.app.store import opened
from syncd.clock import Clock
from syncd.store.runs import OK
from tests.builders import PATIENCE

PEOPLE = [f"person-{number:03}" for number in range(9)]
SLOW = 0.4
"""Real seconds that each membership request takes."""


@pytest.fixture
def vip(installation, simulator):
    """One sync of nine people in batches of three, whom Amplitude knows."""
    installation.config["defaults"]["delivery"]["batch_size"] = 3
    installation.sync("vip")
    installation.audience(PEOPLE)
    simulator.users(PEOPLE)
    return installation


def serve(installation):
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started")
    return daemon


def ask_in_background(installation, *names):
    """`syncd run` as another process; (the thread, what it said)."""
    said = []
    asking = threading.Thread(target=lambda: said.append(installation.run(*names)))
    asking.start()
    return asking, said


# ---- stopping -----------------------------------------------------------------------


def test_an_idle_daemon_stops_at_once_and_leaves_nothing_behind(vip) -> None:
    daemon = serve(vip)
    control = vip.folder / "syncd.db.sock"
    assert control.exists()
    began = time.monotonic()

    code = daemon.stop()

    assert code == 0
    assert time.monotonic() - began < 4
    assert not control.exists()
    assert len(daemon.events("daemon.stopped")) == 1
    assert not daemon.events("daemon.forced_stop")


def test_a_stop_during_a_run_finishes_the_request_in_flight(vip, simulator) -> None:
    simulator.post("/_sim/latency", {"membership": SLOW})
    daemon = serve(vip)
    asking, _ = ask_in_background(vip, "vip")
    assert daemon.reached("target.created")
    began = time.monotonic()

    code = daemon.stop()
    asking.join(PATIENCE)

    assert code == 0
    assert time.monotonic() - began < 8, "the grace"
    (interrupted,) = daemon.events("run.interrupted")
    assert interrupted["accepted"] + 3 * interrupted["pending"] == len(PEOPLE)
    assert daemon.events("run.finished", outcome="interrupted")

    simulator.post("/_sim/latency", {"membership": 0.0})
    again = serve(vip)
    assert again.reached("run.finished", trigger="resume", outcome="success")
    assert again.stop() == 0
    assert simulator.members() == set(PEOPLE)


def test_a_second_signal_leaves_the_request_in_flight_alone(vip, simulator) -> None:
    vip.config["connections"]["amplitude"]["request_deadline"] = "30s"
    simulator.fault("membership", "hang_before", seconds=30, calls=[1])
    daemon = serve(vip)
    asking, _ = ask_in_background(vip, "vip")
    assert daemon.reached("target.created")
    assert daemon.reached("changes.committed")
    daemon.process.terminate()
    assert daemon.reached("daemon.stopping")
    began = time.monotonic()

    code = daemon.stop()
    asking.join(PATIENCE)

    assert code == 0
    assert time.monotonic() - began < 4
    assert daemon.events("daemon.forced_stop")
    simulator.no_faults()


def test_after_a_forced_stop_the_late_request_is_waited_for(vip, simulator) -> None:
    amplitude = vip.config["connections"]["amplitude"]
    amplitude["request_deadline"] = "3s"
    vip.config["shutdown_grace"] = "2s"
    simulator.fault("membership", "hang_before", seconds=30, calls=[1])
    daemon = serve(vip)
    asking, _ = ask_in_background(vip, "vip")
    assert daemon.reached("target.created")
    assert daemon.stop() == 0
    asking.join(PATIENCE)
    assert daemon.events("daemon.forced_stop"), "the grace was over"
    last = simulator.last()
    simulator.no_faults()

    began = time.monotonic()
    again = serve(vip)
    assert again.reached("run.finished", trigger="resume", outcome="success")
    first = simulator.log("membership", last)[0]
    assert again.stop() == 0

    assert first["started"] - began >= 3, "until its deadline it may still land"
    assert simulator.members() == set(PEOPLE)


# ---- one daemon, and commands -------------------------------------------------------


def test_a_second_daemon_on_the_same_file_is_refused(vip) -> None:
    daemon = serve(vip)

    second = vip.syncd("serve")

    assert second.code not in (0, 1)
    assert "another syncd works on" in second.err + second.out
    assert str(daemon.process.pid) in second.err + second.out
    assert daemon.stop() == 0


def test_a_daemon_that_was_killed_leaves_no_lock_and_no_socket_in_the_way(vip) -> None:
    assert serve(vip).kill()

    daemon = serve(vip)
    ended = vip.run("vip")

    assert ended.run["outcome"] == "success"
    assert daemon.events("run.finished", outcome="success"), "the daemon did it"
    assert daemon.stop() == 0


def test_a_command_while_the_sync_is_running_is_refused_not_queued(
    vip, simulator
) -> None:
    simulator.post("/_sim/latency", {"membership": SLOW})
    # One by one: the second command needs a while to come up.
    vip.config["defaults"]["delivery"]["batch_size"] = 1
    daemon = serve(vip)
    asking, said = ask_in_background(vip, "vip")
    assert daemon.reached("run.started")

    refused = vip.run("vip")
    asking.join(PATIENCE)

    assert refused.code != 0
    assert "already running" in refused.out + refused.err
    assert said[0].run["outcome"] == "success"
    assert len(daemon.events("run.finished")) == 1
    assert daemon.stop() == 0
    simulator.post("/_sim/latency", {"membership": 0.0})


# ---- reload -------------------------------------------------------------------------


def reload(daemon, installation) -> None:
    installation.command("check")  # writes the configuration as it is now
    daemon.process.send_signal(signal.SIGHUP)


def test_a_reload_adds_and_removes_syncs(vip, simulator) -> None:
    simulator.users(["other-001"])
    vip.audience(["other-001"], "late")
    daemon = serve(vip)
    vip.config["syncs"].clear()
    vip.sync("late")

    reload(daemon, vip)
    assert daemon.reached("config.loaded", 2)
    late, gone = vip.run("late"), vip.syncd("run", "vip")

    (_, loaded) = daemon.events("config.loaded")
    assert (loaded["added"], loaded["removed"]) == (["late"], ["vip"])
    assert late.run["outcome"] == "success"
    assert gone.code != 0
    assert daemon.stop() == 0


def test_a_changed_schedule_counts_from_the_reload_on(vip, simulator) -> None:
    daemon = serve(vip)
    vip.config["syncs"][0]["schedule"] = "once"

    reload(daemon, vip)

    assert daemon.reached("run.finished", trigger="schedule", outcome="success")
    assert simulator.members() == set(PEOPLE)
    assert daemon.stop() == 0


def test_an_invalid_configuration_is_named_and_the_old_one_stays(vip) -> None:
    daemon = serve(vip)
    vip.config["syncs"][0]["schedule"] = "whenever"

    reload(daemon, vip)
    assert daemon.reached("config.reload_failed")
    vip.config["syncs"][0]["schedule"] = "manual"
    ended = vip.run("vip")

    (failed,) = daemon.events("config.reload_failed")
    assert failed["file"].endswith("syncd.json")
    assert failed["problems"] == 1
    assert failed["line"] > 0
    assert ended.run["outcome"] == "success"
    assert daemon.stop() == 0


def test_the_store_does_not_move_with_a_reload(vip, tmp_path: Path) -> None:
    daemon = serve(vip)
    before = dict(vip.config["store"])
    vip.config["store"] = {"url": f"sqlite:///{tmp_path / 'elsewhere.db'}"}

    reload(daemon, vip)

    assert daemon.reached("config.reload_failed", code="config.restart")
    assert not (tmp_path / "elsewhere.db").exists()
    vip.config["store"] = before
    assert daemon.stop() == 0


def test_a_reload_during_a_run_lets_it_finish_with_what_it_began_with(
    vip, simulator
) -> None:
    simulator.post("/_sim/latency", {"membership": SLOW})
    daemon = serve(vip)
    asking, said = ask_in_background(vip, "vip")
    assert daemon.reached("target.created")

    vip.config["syncs"].clear()
    vip.sync("late")
    reload(daemon, vip)
    assert daemon.reached("config.loaded", 2)
    asking.join(PATIENCE)

    assert said[0].run["outcome"] == "success"
    assert simulator.members() == set(PEOPLE)
    assert daemon.stop() == 0
    simulator.post("/_sim/latency", {"membership": 0.0})


# ---- the machine's clock is set -----------------------------------------------------


class SteppedClock(Clock):
    """The machine's clock, until somebody sets it."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "_offsets", [timedelta(0)])

    @property
    def offset(self) -> timedelta:
        offsets: list[timedelta] = self.__dict__["_offsets"]
        return offsets[0]

    def set(self, to: datetime) -> None:
        self.__dict__["_offsets"][0] = to - datetime.now(UTC)

    def now(self) -> datetime:
        return self.wall()

    def wall(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def to_virtual(self, machine: datetime) -> datetime:
        return machine + self.offset

    def to_machine(self, virtual: datetime) -> datetime:
        return virtual - self.offset


@pytest.fixture
def signals() -> Iterator[int]:
    """Signals for this thread only, blocked as in the daemon, and as before after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    block()
    main = threading.get_ident()
    yield main
    while signal.sigtimedwait((signal.SIGTERM, signal.SIGHUP), 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_due_times_follow_a_clock_that_was_set(
    vip, signals: int, lines: list[EventDict]
) -> None:
    vip.config["syncs"][0]["schedule"] = "every 6h"
    (*_, path) = vip.command("serve")

    def load() -> config.Loaded:
        return config.load([path], {})

    clock, over = SteppedClock(), threading.Event()
    in_time: list[bool] = []

    def set_the_clock() -> None:
        in_time.append(_wait_for(lambda: bool(named(lines, "daemon.started")), over))
        # The daemon looks once in LOOK, and has a few seconds for that before noon.
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0)
        clock.set(noon + timedelta(days=1) - LOOK - timedelta(seconds=3))
        in_time.append(_wait_for(lambda: bool(runs_of_noon(lines)), over))
        signal.pthread_kill(signals, signal.SIGTERM)

    stepping = threading.Thread(target=set_the_clock)
    loaded = load()
    url = loaded.settings.store.read_url()
    with opened(url, migration="auto", fast=False) as store:
        stepping.start()
        Server(loaded, load, store, clock).serve()
    over.set()
    stepping.join(PATIENCE)

    assert in_time == [True, True]
    (run,) = runs_of_noon(lines)
    assert run["trigger"] == "schedule"
    # A run that made up for the morning may have sent everybody before.
    assert run["outcome"] in OK


def named(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in list(lines) if line["event"] == event]


def runs_of_noon(lines: list[EventDict]) -> list[EventDict]:
    """Beside them one may make up for 06:00, which passed when the clock was set."""
    finished = named(lines, "run.finished")
    return [line for line in finished if line["due_at"].hour == 12]


def _wait_for(reached: Callable[[], bool], over: threading.Event) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and not over.wait(0.05):
        if reached():
            return True
    return False
