"""What the Engage door is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from syncd.clock import Clock
from syncd.model import Feed
from syncd.sources.door import Accept
from syncd.sources.engage_inbox.proof import SecondFactor
from syncd.sources.presented import Keys


class Directory(Protocol):
    """The ids under which Engage knows audiences, kept in the store."""

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        """Name a feed; returns its list id, which is `list_id` if it had none."""
        ...

    def find(self, connection: str, list_id: str) -> Feed | None:
        """The feed that a sender knows by this id."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageDoorSettings:
    """`inbox:` of one engage connection, with its secrets read."""

    connection: str
    path: str
    signature: Keys | None
    """The shared secret; None where only the second factor proves."""
    second_factor: SecondFactor | None
    """Batches are accepted only where this is set."""
    amplitude_id: tuple[str, ...]
    """Path of keys to the Amplitude id in an event; empty where events carry none."""
    max_body: int
    """Bytes."""
    entered_without_value: frozenset[str]
    """Keys of audiences whose events without a boolean say that somebody entered."""
    accept: Accept
    clock: Clock
    directory: Directory
    readers: Mapping[str, int]
    """How many syncs read an audience, by its key."""
