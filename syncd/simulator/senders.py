"""The senders there are, and those that push by themselves.

A schedule, and an Engage sender that is live, are looked at every PEEP real seconds;
what is due then is pushed in the background, one push of a sender at a time.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from syncd.simulator.sender import Engine

PEEP = 0.02
"""Real seconds between two looks."""


class Sender(Protocol):
    """What all senders can."""

    id: str
    kind: str
    engine: Engine

    def change(self, values: dict[str, Any]) -> None:
        """New settings. Raises ValueError."""

    def due(self) -> bool:
        """It should push now, by itself. Raises ValueError."""
        ...

    async def push(self, *, full: bool = False, failed: bool = False) -> dict[str, Any]:
        """Push, and tell what became of it. Raises ValueError."""
        ...

    async def raw(
        self,
        body: bytes,
        *,
        signed: bytes | None,
        headers: dict[str, str],
        retries: int,
    ) -> dict[str, Any]:
        """Send exactly these bytes."""
        ...

    def state(self) -> dict[str, Any]:
        """For the control origin."""
        ...


class Senders:
    """All senders by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Sender] = {}
        self._running: set[asyncio.Task[Any]] = set()

    def all(self) -> list[Sender]:
        """In the order of creation."""
        return list(self._by_id.values())

    def get(self, key: str) -> Sender | None:
        """One of them."""
        return self._by_id.get(key)

    def put(self, sender: Sender) -> None:
        """A new one; one of the same id ends."""
        self.end(sender.id)
        self._by_id[sender.id] = sender

    def end(self, key: str) -> bool:
        """Stop one and forget it; False when there is none."""
        sender = self._by_id.pop(key, None)
        if sender is not None:
            sender.engine.stop()
        return sender is not None

    def clear(self) -> None:
        """End all of them."""
        for key in list(self._by_id):
            self.end(key)

    def background(self, pushing: Coroutine[Any, Any, Any]) -> None:
        """Let a push run; what becomes of it is told by the sender's state."""
        task = asyncio.create_task(_endure(pushing))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def run(self) -> None:
        """Push what is due, until cancelled."""
        while True:
            for sender in self.all():
                if _is_due(sender):
                    self.background(sender.push())
            await asyncio.sleep(PEEP)


def _is_due(sender: Sender) -> bool:
    try:
        return sender.due()
    except ValueError:  # its audience is gone; a push by hand says so
        return False


async def _endure(pushing: Coroutine[Any, Any, Any]) -> None:
    try:
        await pushing
    except ValueError:  # what it is about went between the look and the push
        return
