"""The daemon and the servers of doors.py, each in a process of its own, and their cost.

What they cost is read from /proc, before and after a sender pushed at them: start and
imports are not in it.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.pushing import Errand, Outcome, pushing
from tests.simulated import PROJECT

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 300.0
"""Real seconds for one push."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What came of one push."""

    requests: int
    outcome: Outcome
    cpu: float
    """Seconds of the server."""
    peak: float
    """Largest resident set of the server so far, in MB (10**6 bytes)."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.outcome.seconds

    @property
    def cost(self) -> float:
        """Microseconds of CPU for one request."""
        return 1e6 * self.cpu / self.requests


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that takes webhooks."""

    name: str
    port: int
    pid: int

    def push(self, errand: Errand) -> Push:
        """Push at it; everything must be taken, at the first attempt."""
        before = cpu_of(self.pid)
        with pushing(errand) as sender:
            outcome = sender.outcome(PATIENCE)
        requests = len(sender.order)
        assert outcome.answers == {"200": requests}
        cpu = cpu_of(self.pid) - before
        return Push(requests=requests, outcome=outcome, cpu=cpu, peak=peak_of(self.pid))


def cpu_of(pid: int, *, ended: bool = False) -> float:
    """Seconds that a process and its threads used, user and system.

    `ended`: and those of its children that have ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS


def peak_of(pid: int) -> float:
    """The largest resident set of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) * 1024 / 1e6


@contextmanager
def served(kind: str, folder: Path) -> Iterator[Served]:
    """A server of doors.py; ends with the block."""
    command = [sys.executable, "-m", "tests.benchmarks.doors", kind, str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
    ) as process:
        assert process.stdout is not None
        # Before it come the log lines of a new store.
        port = next(int(line) for line in process.stdout if line.strip().isdigit())
        yield Served(name=kind, port=port, pid=process.pid)
        # Closed at the end of `with`, its standard input ends it.
