"""What arrives is stored in groups: one commit for all that waited.

Receivers hand in deliveries and get a future; one thread takes all that is there and
has the store's writer commit it. Waiting is bounded: beyond that the caller is told to
come back later, and nothing was taken.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from syncd.clock import Clock
from syncd.errors import StoreError
from syncd.model import Message
from syncd.store.inbox import Taken
from syncd.store.writer import Writer


class IntakeFull(StoreError):
    """More waits than may wait; nothing of this was taken."""

    code = "inbox.full"


class Intake:
    """The thread that stores messages. Every method may be called from any thread."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        raise NotImplementedError

    def start(self) -> None:
        """Start the thread; once."""
        raise NotImplementedError

    def stop(self) -> None:
        """Take nothing more, store what was taken, then end."""
        raise NotImplementedError

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        """Queue messages of one request, to be stored all or none, and the counts of
        what was left out of it. The future fails with `StoreError`.

        Raises `IntakeFull`, `StoreUnavailable` when stopped.
        """
        raise NotImplementedError

    @property
    def backlog(self) -> int:
        """People waiting to be stored."""
        raise NotImplementedError
