"""What is done to a replica, and how long its syncs were without anybody.

Each blow lasts longer than the lease, but for those that end the process: the replica
that comes to itself afterwards believes to hold what others have taken over.
"""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tests.reliability.replicas.crowd import LATENCY, LEASE, SLOW, Crowd
from tests.reliability.replicas.places import Replica
from tests.reliability.replicas.watching import Seen, Watch
from tests.reliability.storing.severing import Cut
from tests.simulated import PATIENCE

IN_FLIGHT = 0.1
"""Seconds until the server has carried out what it heard before the blow."""


LONGEST = 30.0
"""Seconds in which the others go on, on the slowest machine."""
LOOK = 0.3
"""Seconds between two looks whether something has come."""


class Blow(Enum):
    """How a replica loses what it holds."""

    KILL = "kill -9"
    STOP = "SIGSTOP, then SIGCONT"
    CUT = "connections reset, new ones refused"
    SILENCE = "the network swallows everything, from a COMMIT on"
    RESTART = "SIGTERM, as in a rolling restart"


@dataclass
class Struck:
    """One hand-over."""

    blow: Blow
    victim: str
    foreign: bool
    """The others cannot see whether its process lives."""
    at: float
    lost: list[Seen]
    """What it held when it was struck, with a run that it did not end."""

    def told(self) -> str:
        held = ", ".join(f"{each.sync} #{each.fence}" for each in self.lost)
        return f"{self.at:.3f} {self.blow.name} {self.victim}, held {held or 'nothing'}"


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def strike(one: Replica, blow: Blow, watch: Watch, crowd: Crowd) -> Struck:
    """Strike a replica, wait as long as that blow lasts, and let it come back.

    What is under way when it strikes takes long, and what comes after it does not.
    """
    crowd.answer_in(SLOW)
    _pause(SLOW * crowd.dice.uniform(0.5, 1))
    at = time.monotonic()
    held, interrupted = watch.held_by(one.holds), watch.interrupted()
    _hit(one, blow)
    crowd.answer_in(LATENCY)
    _pause(IN_FLIGHT)
    lost = watch.held_by(one.holds)
    if blow is Blow.RESTART:
        # It gave back what it held, some of it in the middle of a run.
        left = {sync for sync, _ in watch.interrupted() - interrupted}
        lost = [each for each in held if each.sync in left]
    struck = Struck(blow, one.name, bool(one.machine), at, lost)
    if blow not in (Blow.KILL, Blow.RESTART):
        _pause(LEASE + crowd.dice.uniform(0, 1))
        # Whatever it left in the middle of, the others need not wait for it.
        assert until(lambda: all(watch.taken_over(each) for each in lost), LONGEST), (
            f"nobody goes on: {struck.told()}"
        )
    _heal(one, blow)
    return struck


def _hit(one: Replica, blow: Blow) -> None:
    match blow:
        case Blow.KILL:
            one.process.kill()
        case Blow.STOP:
            one.signal(signal.SIGSTOP)
        case Blow.CUT:
            one.wire.go_away()
        case Blow.SILENCE:
            one.wire.at_commit(1, Cut.HELD_UP)
            until(lambda: one.wire.struck)
        case Blow.RESTART:
            assert one.process.stop() == 0


def _heal(one: Replica, blow: Blow) -> None:
    match blow:
        case Blow.KILL | Blow.RESTART:
            one.start()
        case Blow.STOP:
            one.signal(signal.SIGCONT)
        case Blow.CUT:
            one.wire.come_back()
        case Blow.SILENCE:
            one.wire.speak()


def until(holds: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait until something holds; False where it does not in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        _pause(LOOK)
    return holds()
