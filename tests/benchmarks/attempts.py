"""Attempts at the job of contest.py: how they end, what they cost, what a kill leaves.

Every attempt is a command in a process of its own, whoever does the job.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.benchmarks.contest import (
    LANES,
    Bare,
    Contestant,
    Dlt,
    Drt,
    Partner,
    Sent,
    Syncd,
)
from tests.benchmarks.measured import Measured, measured
from tests.simulated import PROJECT, Simulator

PATIENCE = 240.0
"""Real seconds for one command."""
LOOK = 0.02
UNHURRIED = 1.0
"""Seconds for an answer while a kill is to come: it must not come too late."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A command that came to its end."""

    cost: Measured
    sent: Sent
    missing: int
    """People of the audience whom the list lacks."""
    extra: int

    @property
    def exact(self) -> bool:
        """The list is the audience."""
        return self.missing == self.extra == 0


@dataclass(frozen=True)
class Go:
    """A tool that is set up, a partner with an empty list and a folder."""

    tool: Contestant
    partner: Partner
    folder: Path

    def run(self, people: range) -> Attempt:
        """Let the audience be these people, and the tool run to its end."""
        self.tool.hold(people.start, len(people))
        since = self.partner.simulator.last()
        cost = measured(self.tool.command(), self.folder, PATIENCE)
        missing, extra = self.partner.against(people)
        sent = self.partner.sent(since)
        return Attempt(cost=cost, sent=sent, missing=missing, extra=extra)

    def kill(self, people: range, requests: int) -> Sent:
        """Start the tool and kill -9 it when so many requests to add have begun.

        What it sent is told when the partner is done with the requests left behind.
        """
        self.tool.hold(people.start, len(people))
        self.partner.answer_after(UNHURRIED)
        since, out = self.partner.simulator.last(), self.folder / "killed.out"
        with (
            out.open("wb") as output,
            subprocess.Popen(
                self.tool.command(),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
                start_new_session=True,
            ) as process,
        ):
            _wait(lambda: process.poll() is not None or self._begun() >= requests)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL, out.read_text(encoding="utf-8")
        _wait(lambda: not self.partner.counters()["in_flight"])
        self.partner.answer_after(self.partner.latency)
        return self.partner.sent(since)

    def _begun(self) -> int:
        return int(self.partner.counters()["by_endpoint"].get("partner_add", 0))


def _wait(happened: Callable[[], bool]) -> None:
    pause, until = threading.Event(), monotonic() + PATIENCE
    while not happened():
        assert monotonic() < until, "it did not happen"
        pause.wait(LOOK)


@dataclass(frozen=True)
class Ground:
    """Where attempts are made."""

    simulator: Simulator
    folder: Path
    peers: Path | None
    """The environment that holds them; None: they do not take part."""
    stack: ExitStack
    numbers: Iterator[int]

    def enter(self, name: str, latency: float) -> Go:
        """Set a tool up; drt and dlt with as many lanes as syncd, or as they come."""
        folder = self.folder / f"go-{next(self.numbers)}"
        folder.mkdir()
        partner = Partner(self.simulator, latency)
        tool, _, several = name.partition(",")
        lanes = LANES if several else 1
        match tool, self.peers:
            case "syncd", _:
                return Go(Syncd(folder, partner, self.stack), partner, folder)
            case "drt", Path() as peers:
                return Go(Drt(folder, partner, peers, lanes), partner, folder)
            case "dlt", Path() as peers:
                return Go(Dlt(folder, partner, peers, lanes), partner, folder)
            case _:
                return Go(Bare(folder, partner, sys.executable), partner, folder)
