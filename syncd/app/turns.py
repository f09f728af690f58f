"""How many requests of one Amplitude project may be under way at once.

Five, whichever connection, client or thread they come from (contract/amplitude.md
section 3); a sixth is refused when it is about a download. Whoever waits here has not
begun: the request's deadline starts with its turn. Processes do not see each other's.
"""

import threading
from collections.abc import Callable
from typing import Any

from syncd.clients.http import Answer, HttpClient

AT_ONCE = 5


class Turns:
    """The places of one project."""

    def __init__(self, places: int = AT_ONCE) -> None:
        self._places = threading.BoundedSemaphore(places)

    def __enter__(self) -> None:
        self._places.acquire()

    def __exit__(self, *_: object) -> None:
        self._places.release()


class InTurn(HttpClient):
    """An HTTP client whose requests wait for a place of their project."""

    def __init__(self, base_url: str, *, turns: Turns, **more: Any) -> None:
        """The rest as for `HttpClient`."""
        super().__init__(base_url, **more)
        self._turns = turns

    def request(self, method: str, path: str, **more: Any) -> Answer:
        """See `HttpClient.request`."""
        with self._turns:
            return super().request(method, path, **more)

    def stream(
        self, method: str, path: str, take: Callable[[bytes], object], **more: Any
    ) -> Answer:
        """See `HttpClient.stream`."""
        with self._turns:
            return super().stream(method, path, take, **more)
