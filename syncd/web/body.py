"""A request's body: counted while it arrives, by itself and with all others.

Two limits. A body may be as long as its door allows; what is longer is refused by its
`Content-Length` before a byte of it is read, or, sent in chunks, as soon as it passes
the limit. And all bodies together may take so many bytes: many big ones at once must
not exhaust the memory. The first 64 KiB of each count nothing, since connections are
bounded, so that a sender of small events is not turned away for the sake of others.

Bytes are counted as they arrive, not as they are announced: an announcement is free.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncd.sources.door import Refused
from syncd.web.answers import Receive, unavailable

FREE = 64 * 1024
"""Bytes of each body that count nothing in the budget."""
BUDGET = 64 * 1024 * 1024
"""Bytes beyond those, of all bodies that are held at one time."""


class Gone(Exception):
    """The client is not there any more: nobody to answer."""


@dataclass(slots=True)
class Budget:
    """Bytes of bodies held by one server; used on its loop's thread only."""

    limit: int = BUDGET
    used: int = field(default=0, init=False)

    def take(self, count: int) -> None:
        """Count bytes in. Raises `Refused` (503) where there is no room."""
        if self.used + count > self.limit:
            raise unavailable(
                "too many long bodies are arriving at once", code="memory"
            )
        self.used += count


def announced(headers: Mapping[str, str], limit: int) -> int | None:
    """How long the body says it is; None where it comes in chunks.

    Raises `Refused` where the head alone shows that it cannot be taken.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    transfer = headers.get("transfer-encoding", "chunked").strip().lower()
    if encoding not in {"", "identity"} or transfer != "chunked":
        raise Refused(
            415,
            "compressed bodies are not taken",
            code="encoding",
            hint="send the body as it is, without Content-Encoding",
        )
    if "transfer-encoding" in headers:
        return None
    length = int(headers.get("content-length", "0"))
    if length > limit:
        raise too_long(limit)
    return length


def too_long(limit: int) -> Refused:
    """The body is longer than its door allows."""
    return Refused(
        413,
        f"the body is longer than {limit} bytes",
        code="too_long",
        hint="send fewer events in one request, or raise max_body of the connection",
    )


class Body:
    """The body of one request; holds its part of the budget until it is released."""

    __slots__ = ("_budget", "_counted")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._counted = 0

    async def read(self, receive: Receive, limit: int) -> bytes:
        """All of it. Raises `Refused` (413, 503) and `Gone`."""
        message = await receive()
        first = _piece(message)
        if not message.get("more_body"):
            # The usual case: a small event in one packet.
            self._count(len(first), limit)
            return first
        pieces, length = [first], len(first)
        while message.get("more_body"):
            self._count(length, limit)
            message = await receive()
            pieces.append(_piece(message))
            length += len(pieces[-1])
        self._count(length, limit)
        return b"".join(pieces)

    def release(self) -> None:
        """It is not held any more."""
        self._budget.used -= self._counted
        self._counted = 0

    def _count(self, length: int, limit: int) -> None:
        if length > limit:
            raise too_long(limit)
        new = max(0, length - FREE) - self._counted
        if new > 0:
            self._budget.take(new)
            self._counted += new


def _piece(message: Mapping[str, object]) -> bytes:
    if message["type"] != "http.request":
        raise Gone
    body = message.get("body", b"")
    assert isinstance(body, bytes)  # noqa: S101  # so the server promises
    return body
