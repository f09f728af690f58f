"""A command as a benchmark sees it: wall, CPU and peak memory of its own process."""

import os
import resource
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.simulated import PROJECT

LOOK = 0.02
"""Seconds between two looks at a process. Its peak never falls, so that what is missed
is what it grew by in its last moment."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A command that came to its end."""

    code: int
    out: str
    err: str
    wall: float
    cpu: float
    """Seconds of its own and of its threads, user and system."""
    peak: float
    """Largest resident set in MB (10**6 bytes)."""


def measured(command: Sequence[str], folder: Path, timeout: float) -> Measured:
    """Run a command to its end; it is killed after `timeout` seconds.

    Peak memory is read from /proc: what `wait4` calls the peak of a child begins with
    that of the process which started it.
    """
    out, err = folder / "measured.out", folder / "measured.err"
    with out.open("wb") as to_out, err.open("wb") as to_err:
        began = monotonic()
        process = subprocess.Popen(
            command,
            stdout=to_out,
            stderr=to_err,
            cwd=folder,
            env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
        )
        peak, status, used = _watched(process.pid, began + timeout)
        wall = monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        code=process.returncode,
        out=out.read_text(encoding="utf-8"),
        err=err.read_text(encoding="utf-8"),
        wall=wall,
        cpu=used.ru_utime + used.ru_stime,
        peak=peak / 1e6,
    )


def _watched(pid: int, until: float) -> tuple[int, int, resource.struct_rusage]:
    """Peak in bytes, exit status and resources of a child, once it has ended."""
    peak, pause = 0, threading.Event()
    while True:
        peak = max(peak, _high_water(Path(f"/proc/{pid}/status")))
        ended, status, used = os.wait4(pid, os.WNOHANG)
        if ended:
            return peak, status, used
        if monotonic() > until:
            os.kill(pid, 9)
        pause.wait(LOOK)


def _high_water(status: Path) -> int:
    """Bytes; 0 of a process that has ended."""
    fields: Mapping[str, str] = dict(
        line.split(":", 1) for line in status.read_text().splitlines()
    )
    return int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
