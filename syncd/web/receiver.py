"""The inbound server's app: what is pushed to us goes through a door into the inbox.

A raw ASGI app: the framework's routing would cost more than all else on this hot path.
One request, in the order of what a stranger may cost us:

1. find the door by its path, have it admit the head (method, credentials);
2. take in the body, counted while it arrives;
3. have the door read it (signature, JSON, schema);
4. hand what it brought to the intake, and wait until that is durable;
5. answer, and only now with success.

Whatever is not the sender's fault is a 503, which both vendors repeat; never a 4xx,
which they do not. Nothing of a request is logged but the path of its door.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from syncd import events, metrics
from syncd.clock import Clock
from syncd.errors import StoreError, SyncdError
from syncd.events import emit
from syncd.model import Message
from syncd.sources.door import Delivery, Door, Head, Refused, Reply, Stored
from syncd.store.inbox import Taken
from syncd.web.answers import (
    Receive,
    Scope,
    Send,
    refusal,
    send_reply,
    unavailable,
)
from syncd.web.body import Body, Budget, Gone, announced
from syncd.web.homecoming import Homecoming, Late
from syncd.web.refusals import NOBODY, Refusals
from syncd.web.threads import Busy, Threads

INLINE = 64 * 1024
"""Bytes; a body up to here is read on the loop itself: that takes about a
millisecond, and changing threads is no cheaper."""
PATIENCE = 10.0
"""Seconds to wait for the store. Senders gave up before (Segment after 5 s)."""


T = TypeVar("T")


class Intake(Protocol):
    """`store.intake.Intake`, as far as it is used here."""

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]: ...


@dataclass(slots=True)
class _Request:
    """What is known of a request so far."""

    headers: Mapping[str, str]
    since: float
    """Monotonic; when its last byte was there, or else the end of its head."""
    door: Door | None = None
    whole: bool = False
    """Its body was read to the end."""


class Receiver:
    """An ASGI app. One per server, since it counts what its own loop holds."""

    def __init__(
        self,
        doors: Callable[[], Sequence[Door]],
        intake: Intake,
        clock: Clock,
        *,
        refusals: Refusals,
        threads: Threads,
        accepting: Callable[[], bool] = lambda: True,
        budget: Budget | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`doors` are those of now: they may change with the configuration.

        While `accepting` says no (starting up, stopping), everything is a 503.
        `threads` read long bodies and ask the store.
        """
        self._doors = doors
        self._intake = intake
        self._clock = clock
        self._refusals = refusals
        self._threads = threads
        self._accepting = accepting
        self._budget = budget or Budget()
        self._homecoming = Homecoming(patience)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, to its answer; never raises."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        request = _Request(headers=headers, since=self._clock.monotonic())
        body = Body(self._budget)
        try:
            reply = await self._taken(request, scope, receive, body)
        except Gone:
            return
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # the loop lives on
            reply = self._not_taken(request, error)
        finally:
            body.release()
        if request.door is not None:
            seconds = self._clock.monotonic() - request.since
            metrics.INBOX_SECONDS.labels(request.door.connection).observe(seconds)
        await send_reply(send, reply, close=_leaves_much(request))

    async def _taken(
        self, request: _Request, scope: Scope, receive: Receive, body: Body
    ) -> Reply:
        """The steps of a request, top to bottom. Raises whatever goes wrong."""
        if not self._accepting():
            raise unavailable("starting up or stopping", code="daemon.not_ready")
        path = scope["path"]
        door = request.door = self._door(path)
        head = Head(
            method=scope["method"],
            path=path[len(door.path) :],
            headers=request.headers,
        )
        if head.method in {"HEAD", "OPTIONS"}:
            raise Refused(405, f"{head.method} is not taken", code="method")
        door.admit(head)
        length = announced(head.headers, door.max_body)
        content = b"" if length == 0 else await body.read(receive, door.max_body)
        request.whole = True
        request.since = self._clock.monotonic()
        brought = await self._read(door, head, content)
        if isinstance(brought, Reply):
            return brought
        return brought.reply(await self._stored(door, brought))

    def _door(self, path: str) -> Door:
        """The door with the longest path that begins this one, by whole segments."""
        found: Door | None = None
        for door in self._doors():
            if path == door.path or path.startswith(f"{door.path}/"):
                if found is None or len(door.path) > len(found.path):
                    found = door
        if found is None:
            raise Refused(
                404,
                "there is no such path",
                code="path",
                hint="the paths of inboxes and pushes are in the configuration",
            )
        return found

    async def _read(self, door: Door, head: Head, content: bytes) -> Delivery | Reply:
        if len(content) <= INLINE and not door.asks_store(head):
            return door.read(head, content)
        return await self._settled(self._threads.submit(door.read, head, content))

    async def _stored(self, door: Door, brought: Delivery) -> Stored:
        """Have it stored; what was left out of it is told as well."""
        taken = Taken(messages=0, duplicates=0, people=0)
        if brought.messages or brought.results:
            taken = await self._settled(
                self._intake.submit(door.connection, brought.messages, brought.results)
            )
        self._refusals.left_out(door.connection, brought.results, door.path)
        return Stored(
            messages=taken.messages, duplicates=taken.duplicates, people=taken.people
        )

    async def _settled(self, future: Future[T]) -> T:
        """The future's result, for as long as a sender waits.

        What was not begun by then is called off; what was is not disturbed: a sender
        who repeats it finds it stored already, and the same twice changes nothing.
        """
        try:
            return await self._homecoming.wait(future)
        except Late:
            raise unavailable(
                "the store does not answer in time", code="store.slow"
            ) from None

    def _not_taken(self, request: _Request, error: BaseException) -> Reply:
        """The answer to a request that went wrong, told and counted."""
        refused = _refused(error)
        door = request.door
        told = self._refusals.refused(
            door.connection if door else NOBODY,
            refused.code,
            refused.status,
            door.path if door else None,
        )
        if refused.code == SyncdError.code and told:
            # Types and places only: the log leaves out what an error says.
            emit(
                events.DAEMON_CRASHED,
                error=type(error).__name__,
                thread="inbound",
                connection=door.connection if door else None,
                exc_info=error,
            )
        return refusal(refused)


def _refused(error: BaseException) -> Refused:
    """What the sender is told, and whether it may help to send it again."""
    match error:
        case Refused():
            return error
        case StoreError():
            return unavailable("it cannot be stored at present", code=error.code)
        case Busy():
            return unavailable(str(error), code=error.code)
        case asyncio.CancelledError():
            return unavailable("stopping", code="daemon.not_ready")
        case _:
            return Refused(500, "an error of ours; it is logged", code=SyncdError.code)


def _leaves_much(request: _Request) -> bool:
    """Whether more of the body is still to come than is worth hearing out.

    A client that asked whether to go on is not to be believed either: what it sends
    next may be the body or another request.
    """
    headers = request.headers
    if request.whole:
        return False
    if "transfer-encoding" in headers or "expect" in headers:
        return True
    return int(headers.get("content-length", "0")) > INLINE
