"""What a door is: the part of an inbound path that knows its sender's words.

The web server carries bytes; a door says who may send them, reads them, and says how
to answer. Doors know no sockets and write nothing: what is to be kept they hand back
as a `Delivery`, which the server stores durably before it answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from syncd.errors import SyncdError
from syncd.model import IdType, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A request without its body."""

    method: str
    """In capitals."""
    path: str
    """What follows the door's own path: empty, or from a slash on; percent-decoded."""
    headers: Mapping[str, str]
    """Names in lower case; values as Latin-1 text; of a repeated one the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: a JSON body and its status."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(SyncdError):
    """The request is not taken; nothing of it is stored. Answered with `status`.

    Messages name what is wrong and where, never a member id or a secret.
    """

    code = "request"

    def __init__(self, status: int, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a delivery."""

    messages: int
    """Taken in now."""
    duplicates: int
    """Known already, by their id."""
    people: int
    """Words taken in, one for each person named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a request brought, to be stored before it is answered."""

    messages: Sequence[Message]
    results: Mapping[str, int] = field(default_factory=dict)
    """How many events were left out, by reason (`anonymous`, `unknown_value`, …)."""
    reply: Callable[[Stored], Reply]
    """The answer once it is stored."""


Accept = Callable[[list[bytes], IdType], tuple[list[bytes], Mapping[str, int]]]
"""Hygiene of ids (`sync.ids.accept`): those that may be used, and the rest counted by
reason."""


class Door(Protocol):
    """One inbound path of one connection. Thread-safe."""

    @property
    def connection(self) -> str: ...

    @property
    def path(self) -> str:
        """Where it is, e.g. `/in/engage-main`; it answers below that, too."""
        ...

    @property
    def max_body(self) -> int:
        """Bytes; a longer body is refused with 413 while it arrives."""
        ...

    def admit(self, head: Head) -> None:
        """Refuse what can be refused without the body: path, method, credentials."""
        ...

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        """Read a whole body. Raises `Refused`.

        Pure computing on the caller's thread, but for the rare calls that ask the
        store (lists, hooks): those a door names in `asks_store`.
        """
        ...

    def asks_store(self, head: Head) -> bool:
        """Whether `read` may wait for the store: then it gets a thread of its own."""
        ...
