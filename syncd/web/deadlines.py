"""What one connection may cost: a cap, one deadline per request, a limit of its head.

uvicorn waits for ever for the rest of a request and takes heads of any length. This
protocol counts. From the first byte of a request to its last one deadline runs (not one
per read, which a client could renew byte by byte). Unread answers and idle connections
end as well. At the cap, whom we have waited for longest makes room for who connects:
else as many stalled clients as the cap allows would keep everybody out until their
deadline. Where every connection waits for *us*, who connects is turned away unread.

One timer per connection: it is set again only when it rings too early, so a request
costs no timer of its own.

It is bad at a request that is pipelined behind one which takes longer than the
deadline: reading pauses meanwhile, and it may be found late although we were.
"""

import asyncio
from collections.abc import Callable, Sized
from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from syncd.web.turned_away import (
    CONNECTIONS,
    CROWDED,
    DEADLINE,
    HEAD,
    MALFORMED,
    PIPELINED,
    UPGRADE,
    answer_of,
    status_of,
)

Gate = Callable[[str, int], None]
"""Told what was turned away before it was a request: a reason and a status of it."""

_EARLY = 0.005
"""Seconds; timers of the loop are exact to a millisecond."""


def _open_gate(_reason: str, _status: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the connections of one server may cost. Seconds are real seconds."""

    connections: int = 1_000
    """Open at once; one more is turned away."""
    request: float = 10.0
    """From the first byte of a request to the last of its body, and from the start of
    a connection to its first byte."""
    idle: float = 15.0
    """From an answer to the next request."""
    answer: float = 10.0
    """For reading an answer that does not fit into the system's buffers."""
    linger: float = 2.0
    """For what is still being sent while the answer, a refusal, is already given."""
    head: int = 16 * 1024
    """Bytes of request line and headers."""
    pipelined: int = 16
    """Requests of one connection that may wait for the answer to an earlier one."""


def limited(limits: Limits, gate: Gate = _open_gate) -> type["LimitedProtocol"]:
    """The protocol under these limits: uvicorn is given a class, not an instance."""
    namespace = {"limits": limits, "gate": staticmethod(gate), "waiting": {}}
    return type("LimitedProtocol", (LimitedProtocol,), namespace)


class _Transport:
    """What uvicorn sees of a transport: the same, but for how it is closed."""

    def __init__(self, real: asyncio.Transport, close: Callable[[], None]) -> None:
        self.pause_reading = real.pause_reading
        self.resume_reading = real.resume_reading
        self.get_extra_info = real.get_extra_info
        self._real = real
        self._close = close
        self._ended = False

    def write(self, data: bytes) -> None:
        if not self._ended:
            self._real.write(data)

    def is_closing(self) -> bool:
        return self._ended or self._real.is_closing()

    def close(self) -> None:
        self._ended = True
        self._close()


class _Flow(FlowControl):
    """Reads nothing more while requests sent ahead wait for an earlier answer.

    uvicorn reads on for each of them, so that they pile up without an end.
    """

    def __init__(self, transport: asyncio.Transport, ahead: Sized) -> None:
        super().__init__(transport)
        self._ahead = ahead

    def resume_reading(self) -> None:
        if not self._ahead:
            super().resume_reading()


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, counted. One instance per connection."""

    limits: ClassVar[Limits] = Limits()
    gate: ClassVar[Gate] = staticmethod(_open_gate)
    waiting: ClassVar[dict["LimitedProtocol", None]] = {}
    """Connections that wait for their client, the longest first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Lines with paths in them: never, whatever handlers there are.
        self.access_log = False
        self._real: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed = inf
        # When the step that the client is at must be over, and its reading of answers.
        self._due = inf
        self._unread_due = inf
        self._reading = False
        self._head_whole = False
        self._uncounted = 0
        self._lingering = False
        self._refusal = MALFORMED

    # ---- the connection ------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Turn it away, or wait for its first byte."""
        full = len(self.connections) >= self.limits.connections
        if full and not self._make_room():
            self.transport = transport
            transport.write(answer_of(CONNECTIONS))
            transport.close()
            self._tell(CONNECTIONS)
            return
        self._real = transport
        # Same methods, but no subclass: nothing of it may be inherited by mistake.
        seen: Any = _Transport(transport, self._close)
        super().connection_made(seen)
        self.flow = _Flow(seen, self.pipeline)
        self._expect(self.limits.request)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._reading = False
        self.waiting.pop(self, None)
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._real = self._timer = None

    def _make_room(self) -> bool:
        """End the connection whose client we have waited for longest, if any."""
        longest = next(iter(self.waiting), None)
        return longest is not None and longest.give_way()

    def give_way(self) -> bool:
        """End for the sake of another; False if it did already.

        What was sent is half a request at most, of which nothing was taken.
        """
        real = self._real
        if real is None:
            return False
        if self._lingering or real.get_write_buffer_size():
            real.abort()  # it would keep its place until it has read our answer
        else:
            self._give_up(real, CROWDED)
        return True

    def shutdown(self) -> None:
        """End it, or the answer in progress first; nobody waits for half a request."""
        if self._reading and self._real is not None:
            self._real.close()
        else:
            super().shutdown()

    def abort(self) -> None:
        """End it now."""
        if self._real is not None:
            self._real.abort()

    # ---- what arrives --------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse it, unless the request is answered and only its rest arrives.

        In pieces: what comes at once may be longer than any head that we take.
        """
        for start in range(0, len(data), self.limits.head):
            if self._lingering or self._real is None or self._real.is_closing():
                return
            self._parse(data[start : start + self.limits.head])

    def _parse(self, data: bytes) -> None:
        if self._reading:
            self._uncounted += len(data)
        else:
            # Also for blank lines, with which a request may begin.
            self._begin()
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        except httptools.HttpParserUpgrade:
            # We speak nothing else; the request itself may be answered in HTTP/1.1.
            self.cycle.keep_alive = False
        if self._reading and self._uncounted > self.limits.head:
            self._refuse(HEAD)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if not self._reading:
            self._begin()
        self._uncounted = 0
        self._head_whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; those after a chunked body are refused, nobody sends them."""
        if self._head_whole:
            raise ValueError("a header after the body")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on, if its head is one that we take."""
        wrong = self._wrong_with_head()
        if wrong is not None:
            self._refusal = wrong
            raise ValueError(wrong)
        self._head_whole = True
        super().on_headers_complete()

    def _wrong_with_head(self) -> str | None:
        length = len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers)
        if length > self.limits.head:
            return HEAD
        if len(self.pipeline) >= self.limits.pipelined:
            return PIPELINED
        if self.parser.should_upgrade() and _has_body(self.headers):
            # The parser takes the body for bytes of the other protocol.
            return UPGRADE
        return None

    def on_body(self, body: bytes) -> None:
        """Some of the body: what stands between such pieces is limited as a head is."""
        self._uncounted = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request: from now on it waits for us."""
        self._reading = False
        self._due = inf
        self.waiting.pop(self, None)
        super().on_message_complete()
        if self.cycle.response_complete:
            self._expect(self.limits.idle)

    def on_response_complete(self) -> None:
        """Take the next request, if it is here; else wait for one."""
        super().on_response_complete()
        # The newest request: of those sent ahead it is the last one.
        done = self.cycle.response_complete
        if done and not self._reading and not self.transport.is_closing():
            self._expect(self.limits.idle)

    # ---- what is read of our answers -----------------------------------------------

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        super().pause_writing()
        self._expect_read()

    def resume_writing(self) -> None:
        """It caught up."""
        super().resume_writing()
        self._unread_due = inf

    # ---- ends ----------------------------------------------------------------------

    def _begin(self) -> None:
        self._reading = True
        self._uncounted = 0
        self._head_whole = False
        self._expect(self.limits.request)

    def _refuse(self, reason: str) -> None:
        """Answer what is no request that the app could answer, and close."""
        assert self._real is not None  # noqa: S101  # data arrives while it is open
        if self._may_answer():
            self._real.write(answer_of(reason))
        self._tell(reason)
        self._reading = True
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether a byte written now would not be taken for part of another answer."""
        current: RequestResponseCycle | None = self.cycle
        if current is None or self.pipeline:
            return current is None
        if self._head_whole:
            return not current.response_started
        return current.response_complete

    def _close(self) -> None:
        """Close; while the client still sends, only our side, and hear it out.

        Bytes that arrive at a closed connection make the system reset it, and the
        client may never see the answer that was written before.
        """
        real = self._real
        if real is None or real.is_closing() or self._lingering:
            return
        if self._reading:
            self._lingering = True
            self.pipeline.clear()
            self.flow.resume_reading()
            if real.can_write_eof():
                real.write_eof()
            self._expect(self.limits.linger)
        else:
            self._due = inf
            self._expect_read()
            real.close()

    def _expect(self, seconds: float) -> None:
        """Wait for the client from now on, that long."""
        self.waiting.pop(self, None)
        self.waiting[self] = None
        self._due = self.loop.time() + seconds
        self._arm()

    def _expect_read(self) -> None:
        self._unread_due = self.loop.time() + self.limits.answer
        self._arm()

    def _arm(self) -> None:
        """See that the timer rings no later than the earliest deadline."""
        due = min(self._due, self._unread_due)
        if self._real is None or due >= self._armed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed = due
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        """The timer rang: end what is overdue, or set it again."""
        self._timer, self._armed = None, inf
        if self._real is None:
            return
        now = self.loop.time() + _EARLY
        if self._unread_due <= now or (self._lingering and self._due <= now):
            self._due = self._unread_due = inf
            self._real.abort()
        elif self._due <= now:
            self._give_up(self._real, DEADLINE)
        self._arm()

    def _give_up(self, real: asyncio.Transport, reason: str) -> None:
        """Wait no longer for the rest of a request, or for the next one."""
        self._due = inf
        self.waiting.pop(self, None)
        if self._reading:
            if self._may_answer():
                real.write(answer_of(reason))
            self._tell(reason)
        self._expect_read()
        real.close()

    def _tell(self, reason: str) -> None:
        type(self).gate(reason, status_of(reason))


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )
