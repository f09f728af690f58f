"""Replicas of one installation: real daemons, each with a wire of its own to the store.

One of the three looks as if it ran on another machine, where that can be played (Linux
lets root, and often anybody, give a process a machine's name of its own): nobody else
sees then that its process is gone, and has to wait until its leases have run out.
Where libfaketime is there, two of them go by wrong wall clocks.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.installed import Installation, Running, log_lines
from tests.reliability.replicas.skewing import LIBRARY, WrongClock, sweep
from tests.reliability.storing.severing import Wire, severing

COUNT = 3
AHEAD = (90, 0, -90)
"""Seconds by which the replicas' clocks are ahead at first. The right one stays so."""
_NAMED = 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"'


def _elsewhere() -> list[str]:
    """What begins a command on a machine of the name that follows; empty where no
    process can be given one."""
    for options in (["--uts"], ["--user", "--map-root-user", "--uts"]):
        command = ["unshare", *options, "sh", "-c", _NAMED]
        if shutil.which("unshare") is None:
            break
        tried = subprocess.run([*command, "elsewhere", "true"], capture_output=True)
        if tried.returncode == 0:
            return command
    return []


@dataclass
class Replica:
    """One daemon after the other, at one place."""

    name: str
    installation: Installation
    wire: Wire
    url: str
    """The store, by the wire."""
    options: tuple[str, ...]
    machine: list[str]
    """Begins its command; empty for the machine of the tests."""
    clock: WrongClock | None = None
    """Its machine's, where that is wrong."""
    lives: list[Running] = field(default_factory=list)
    born: list[datetime] = field(default_factory=list)
    """When each of them was started, by the right clock."""

    def start(self) -> None:
        """A new process; `is_up` says when it works."""
        self.installation.config["store"]["url"] = self.url
        command = self.installation.command("serve", *self.options)
        at = command.index("-c") + 1
        # A file of its own: that one is written anew for the next replica.
        own = self.installation.folder / f"{self.name}.json"
        shutil.copy(command[at], own)
        command[at] = str(own)
        before = [*self.machine, self.name] if self.machine else []
        before += self.clock.before() if self.clock else []
        self.sweep()
        self.born.append(datetime.now(UTC))
        self.lives.append(self.installation.begin("serve", [*before, *command]))

    @property
    def process(self) -> Running:
        """The one that is, or was last."""
        return self.lives[-1]

    def is_up(self) -> bool:
        """Wait until it works; False where it ended instead."""
        return self.process.reached("daemon.started")

    def holds(self, holder: str) -> bool:
        """Whether a lease of this holder is its process's."""
        return holder.split("/")[1:2] == [str(self.process.process.pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        self.process.process.send_signal(number)

    def sweep(self) -> None:
        """Remove what its lives left behind of their wrong clock."""
        if self.clock is not None:
            for each in self.lives:
                sweep(each.process.pid)

    def said(self) -> list[dict[str, Any]]:
        """The log of all its lives."""
        return [line for each in self.lives for line in log_lines(list(each.lines))]


@contextmanager
def replicas(
    installation: Installation, url: str, options: tuple[str, ...]
) -> Iterator[list[Replica]]:
    """Three of them that work, the last one on another machine if there can be one."""
    with ExitStack() as stack:
        made = []
        for number in range(1, COUNT + 1):
            wire, by_wire = stack.enter_context(severing(url))
            name, ahead = f"replica-{number}", AHEAD[number - 1]
            clock = None
            if LIBRARY is not None and ahead:
                clock = WrongClock(installation.folder / f"{name}.clock", ahead)
            machine = _elsewhere() if number == COUNT else []
            one = Replica(name, installation, wire, by_wire, options, machine, clock)
            stack.callback(_end, one)
            made.append(one)
        for one in made:
            one.start()
        for one in made:
            assert one.is_up(), one.process.text[-4000:]
        yield made


def _end(one: Replica) -> None:
    """However it was left, its process ends and nobody waits for it."""
    if one.lives:
        one.process.kill()
        one.sweep()
