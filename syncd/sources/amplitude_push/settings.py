"""What the door is told; plain values and two parts, resolved by `app`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from syncd.clock import Clock
from syncd.model import Feed
from syncd.sources.door import Accept
from syncd.sources.presented import Keys


class Directory(Protocol):
    """The ids under which senders know their lists. Thread-safe; may wait."""

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        """The list id of a feed: its own, or `list_id` where it has none yet.

        Keeps the name. Durable once it returns, and of calls at the same time one
        wins: all get the same id. Raises `StoreError`.
        """
        ...

    def find(self, connection: str, list_id: str) -> Feed | None:
        """The feed that has this list id; None if there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplitudeDoorSettings:
    """One connection's door. Below `path`: `/lists`, `/properties`, `/webhook`."""

    connection: str
    path: str
    api_key: Keys | None
    """Of lists and properties; None closes those paths."""
    webhook_header: str
    """Lower case; the custom header that carries the webhook's secret."""
    webhook_secret: Keys | None
    """None closes the webhook's path."""
    max_body: int
    """Bytes."""
    accept: Accept
    clock: Clock
    directory: Directory
    readers: Mapping[str, int]
    """Ids of the cohorts that syncs name, and how many syncs read what is pushed of
    each. An id in here is recognised in any name that ends with it."""
