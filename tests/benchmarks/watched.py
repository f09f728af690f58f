"""A process in progress: its CPU at any moment since it began, and its peak memory."""

import os
import subprocess
import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Self

from tests.simulated import PROJECT

LOOK = 0.02
"""Seconds between two looks."""
TICKS = os.sysconf("SC_CLK_TCK")


class Watched:
    """A command with its output in a file; killed at the end of the block.

    Its CPU is looked at all the time, by the clock that the simulator's log uses too,
    so that a part of its life can be cut out afterwards.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._output = folder / "watched.out"
        with self._output.open("wb") as output:
            self.began = monotonic()
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
            )
        self.peak = 0.0
        """MB (10**6 bytes) of the largest resident set."""
        self._samples = [(self.began, 0.0)]
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.ended(60)

    def ended(self, timeout: float) -> int:
        """Wait for its end; returns its exit code."""
        code = self.process.wait(timeout)
        self._over.set()
        self._looking.join()
        return code

    @property
    def said(self) -> str:
        """All output so far; the last line may not be whole yet."""
        return self._output.read_text(encoding="utf-8")

    def rest(self, seconds: float) -> None:
        """Let it work for so long."""
        self._over.wait(seconds)

    @property
    def wall(self) -> float:
        """Seconds from its beginning to the last look."""
        return self._samples[-1][0] - self.began

    @property
    def cpu(self) -> float:
        """Seconds of CPU up to the last look."""
        return self._samples[-1][1]

    def cpu_between(self, since: float, until: float) -> float:
        """Seconds of CPU between two moments of the monotonic clock."""
        return self._cpu_at(until) - self._cpu_at(since)

    def _cpu_at(self, moment: float) -> float:
        """Between two looks it is taken to have worked evenly."""
        after = bisect_right(self._samples, (moment, float("inf")))
        if after in (0, len(self._samples)):
            return self._samples[0 if after == 0 else -1][1]
        (left, low), (right, high) = self._samples[after - 1 : after + 1]
        return low + (high - low) * (moment - left) / (right - left)

    def _look(self) -> None:
        while not self._over.is_set():
            try:
                cpu, peak = cpu_of(self.process.pid), peak_of(self.process.pid)
            except (FileNotFoundError, ProcessLookupError):
                return
            if cpu >= self._samples[-1][1]:  # a zombie still has its times
                self._samples.append((monotonic(), cpu))
            self.peak = max(self.peak, peak)
            self._over.wait(LOOK)


def cpu_of(pid: int) -> float:
    """Seconds of CPU of a process and its threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_of(pid: int) -> float:
    """MB of the largest resident set so far; 0 of a process that has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields.get("VmHWM", "0 kB").split()[0]) * 1024 / 1e6
