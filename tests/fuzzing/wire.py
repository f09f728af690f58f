"""Bytes at the server's port, before they are a request: head, lengths, chunks.

The protocol of the real server with a transport in memory; time does not pass. Whatever
arrives, every answer begins as one, a refusal closes, and nothing is raised.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from syncd.clock import Clock
from syncd.sources.door import Delivery, Head, Reply
from syncd.web.deadlines import Limits, limited
from syncd.web.receiver import Receiver
from syncd.web.refusals import Refusals
from syncd.web.threads import Threads
from tests.fuzzing.target import Target

_LOOP = asyncio.new_event_loop()
_ANSWERS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_TURNS = 12
"""Of the loop, after which a request in memory is answered."""


class Counting:
    """A door that says how long a body was."""

    connection = "a"
    path = "/in/a"
    max_body = 4_096

    def admit(self, head: Head) -> None:
        """Everybody."""

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        return Reply(status=200, body={"length": len(body)})

    def asks_store(self, head: Head) -> bool:
        return False


class Memory:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.ended = self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after the end"
        self.written += data

    def close(self) -> None:
        self.ended = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.ended

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default


def server() -> Callable[[], Any]:
    """Makes the protocols of one server, as `web.server` configures it."""
    clock = Clock()
    app = Receiver(
        lambda: [Counting()],
        cast("Any", None),  # nothing is stored by this door
        clock,
        refusals=Refusals(clock),
        threads=Threads("fuzz", size=1),
    )
    config = uvicorn.Config(
        cast("Any", app),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    config.load()
    kind = limited(Limits(head=2_048))
    return lambda: kind(config, ServerState(), {}, _LOOP)


_NEW = server()


def arrives(data: bytes) -> None:
    """One connection: the bytes at once; and the first of them in pieces of 7."""
    for sent, size in ((data, len(data)), (data[:2_000], 7)):
        _LOOP.run_until_complete(_connection(sent, size))


async def _connection(data: bytes, size: int) -> None:
    protocol, transport = _NEW(), Memory()
    protocol.connection_made(transport)
    for start in range(0, len(data), max(1, size)):
        protocol.data_received(data[start : start + size])
        if transport.paused or start % 70 == 0:
            await _turns()
    await _turns()
    protocol.connection_lost(None)
    await _turns()
    _require_answers(bytes(transport.written))


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _require_answers(written: bytes) -> None:
    """What was written begins as an answer, and every one has a status of ours."""
    assert not written or written.startswith(b"HTTP/1.1 ")
    statuses = [int(found) for found in _ANSWERS.findall(written)]
    assert all(status in (100, 200) or 400 <= status < 500 for status in statuses)


_POST = b"POST /in/a HTTP/1.1\r\nHost: a\r\n"

TARGETS = (
    Target(
        name="http-bytes",
        run=arrives,
        seeds=(
            _POST + b"Content-Length: 5\r\n\r\nhello" + _POST + b"\r\n",
            _POST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
            _POST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            b"GET /in/a?x=%00 HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
        words=(
            *(b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"\r\n\r\n"),
            *(b"Connection: close", b"Upgrade: websocket", b"0\r\n\r\n", b"HTTP/1.1"),
            *(b"OPTIONS * ", b"CONNECT a:1 ", b"ffffffffffffffff\r\n", b"\r\n "),
        ),
    ),
)
