"""When a batch may go among those of all processes that share a store.

One process needs none: its pool sees everything that it sends.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a batch that asked for its turn has to do."""

    granted: bool
    """It may go once the time is over; otherwise it asks again then."""
    seconds: float = 0.0
    """Real ones."""


class Turn(Protocol):
    """The turns at one connection. Thread-safe; raises `StoreError`."""

    def ask(self, ids: int, *, waited: bool) -> Wait:
        """Ask for the turn of a batch of so many ids, or again, having waited."""

    def leave(self) -> None:
        """This thread needs no turn any more; nothing happens if it has none."""
