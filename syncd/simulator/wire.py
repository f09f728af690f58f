"""One request's connection: read it, answer it, or break it (R24).

Resets, half answers and silences happen below ASGI, so the protocol class puts its
transport into the request's scope, and a fault acts on the transport. After that the
application must not return before the loop has seen the connection end: uvicorn takes
a return without an answer for a bug and would send a 500.
"""

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from uvicorn.protocols.http.h11_impl import H11Protocol

from syncd.simulator.answers import Answer
from syncd.simulator.calls import Call, read_call

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "simulator.transport"
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER on with zero seconds: closing sends a TCP reset."""


class OpenProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with the transport within reach of the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the transport for the requests of this connection."""
        super().connection_made(transport)
        # asyncio sets this itself only on sockets opened with an explicit protocol;
        # without it each answer waits 40 ms for the client's delayed ACK.
        raw: socket.socket = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class Line:
    """The connection of one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._transport: asyncio.Transport = scope["state"][TRANSPORT]
        self.arrived = time.monotonic()
        """Real seconds of this machine at which its headers were there."""

    def is_closing(self) -> bool:
        """True once the client has hung up or we have."""
        return self._transport.is_closing()

    @property
    def method(self) -> str:
        """GET, POST, …"""
        return str(self._scope["method"])

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return str(self._scope["path"])

    @property
    def query(self) -> dict[str, str]:
        """The query's last value per name."""
        return dict(parse_qsl(self._scope["query_string"].decode("latin-1")))

    def header(self, name: str) -> str | None:
        """A header by its name in small letters."""
        value = dict(self._scope["headers"]).get(name.encode())
        return None if value is None else value.decode("latin-1")

    async def body(self) -> bytes | None:
        """The whole body; None when the client left before its end."""
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    def headers(self) -> list[tuple[str, str]]:
        """Every header of the request, names in lower case."""
        return [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._scope["headers"]
        ]

    async def call(self, *, endpoint: str | None = None) -> Call | None:
        """Read the whole request; None when the client left before its end.

        `endpoint` is its name on an origin that is not Amplitude's API.
        """
        body = await self.body()
        if body is None:
            return None
        return read_call(
            method=self.method,
            path=self.path,
            query=self.query,
            authorization=self.header("authorization"),
            body=body,
            endpoint=endpoint,
        )

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer."""
        await self._start(answer, len(answer.body))
        await self._send({"type": "http.response.body", "body": answer.body})

    async def hang(self, seconds: float, released: asyncio.Event) -> None:
        """Say nothing until the client leaves, time is up or faults are removed."""
        gone = asyncio.ensure_future(self._gone())
        free = asyncio.ensure_future(released.wait())
        await asyncio.wait(
            {gone, free}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        free.cancel()
        self._transport.close()
        await gone

    async def reset(self, half_of: Answer | None) -> None:
        """Send a TCP reset, after half an answer if one is given."""
        if half_of is not None:
            await self._half(half_of)
            # The reset throws away what is not yet sent; let the bytes leave first.
            await asyncio.sleep(0.02)
        raw: socket.socket = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        self._transport.abort()
        await self._gone()

    async def truncate(self, answer: Answer, *, honest: bool, zipped: bool) -> None:
        """Send half an answer and close.

        `honest`: Content-Length counts what is sent, so only the content is cut and
        no HTTP client notices. Otherwise it counts the whole answer. `zipped`: half of
        a gzip stream, also where the answer is not zipped by itself.
        """
        if zipped and not answer.body.startswith(b"\x1f\x8b"):
            headers = (*answer.headers, ("content-encoding", "gzip"))
            body = gzip.compress(answer.body)
            answer = Answer(answer.status, body, answer.content_type, headers)
        if honest:
            half = answer.body[: len(answer.body) // 2]
            # The client sees nothing wrong and would ask again on this connection.
            headers = (*answer.headers, ("connection", "close"))
            await self.answer(replace(answer, body=half, headers=headers))
            return
        await self._half(answer)
        self._transport.close()
        await self._gone()

    async def drip(self, answer: Answer, *, chunk: int, interval: float) -> None:
        """Send an answer `chunk` bytes at a time; stop when the client leaves."""
        await self._start(answer, len(answer.body))
        for place in range(0, len(answer.body), chunk):
            if self.is_closing():
                await self._gone()
                return
            part = answer.body[place : place + chunk]
            await self._send(
                {"type": "http.response.body", "body": part, "more_body": True}
            )
            await asyncio.sleep(interval)
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, answer: Answer, length: int) -> None:
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(length).encode()),
        ]
        for name, value in answer.headers:
            headers.append((name.encode(), value.encode("latin-1")))
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": headers,
            }
        )

    async def _half(self, answer: Answer) -> None:
        await self._start(answer, len(answer.body))
        part = answer.body[: len(answer.body) // 2]
        await self._send(
            {"type": "http.response.body", "body": part, "more_body": True}
        )

    async def _gone(self) -> None:
        """Wait until the connection has ended."""
        while (await self._receive())["type"] != "http.disconnect":
            continue
