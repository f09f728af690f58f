"""Where members come from. A source says who is in an audience, all of them, now."""

from collections.abc import Iterator
from typing import Protocol


class Source(Protocol):
    """A whole list of member ids, read as of one instant."""

    def blocks(self) -> Iterator[list[bytes]]:
        """Yield every member id, in blocks of any size, in any order.

        Ids are raw: UTF-8 bytes as the source holds them, duplicates allowed, no
        hygiene (that happens once, in `sync/ids`). The list is consistent (one
        snapshot), and it is whole: raise `SourceUnavailable` or `SourceUntrusted`
        rather than end early, since a short list would read as exits. Memory stays
        bounded by one block. May be called again for a new read.
        """
        ...

    def fingerprint(self) -> str:
        """What this source reads, as stable text without secrets.

        Part of the sync's identity: when it changes, the next run is held.
        """
        ...
