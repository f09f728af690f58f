"""An answerer of our own in front of the simulator, for answers no vendor would script.

It listens in the place of each of the simulator's origins and hands requests on as they
are. A `Play` takes the place of some answers: raw bytes, or none, before or after the
simulator has carried the request out. What was asked is kept, and with it whether the
client was told anything to believe.
"""

import http.client
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

PATIENCE = 20.0
"""Real seconds a client may take to leave an answer that hangs."""
DRIP = 0.02
"""Real seconds between two bytes."""

End = Literal["close", "reset", "hang", "drip"]
"""What becomes of the connection after the bytes; `drip` sends them one by one."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came."""

    origin: str
    """Whom it was meant for."""
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the simulator answered."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Play:
    """What becomes of one request, in the place of the simulator's answer."""

    name: str
    make: Callable[[Asked, Truth | None], bytes] = lambda *_: b""
    """The bytes of the answer, of the request and of the true answer if it was had."""
    apply: bool = False
    """Whether the simulator carries the request out first."""
    end: End = "close"
    proves: bool = False
    """Whether the client is told what became of every id."""
    when: Callable[[Asked], bool] = lambda _: True
    """Which of the requests that match are meant at all."""


@dataclass(kw_only=True)
class Script:
    """Plays for the n-th requests that match; None as the number: for every one."""

    origin: str
    method: str
    path: str
    """A pattern that fits the path from its start."""
    plays: Mapping[int | None, Play]
    words: bytes = b""
    """What the body of a request that is meant holds."""
    met: int = 0
    played: int = 0

    def matches(self, asked: Asked) -> bool:
        """Whether it is about this request."""
        there = (asked.origin, asked.method) == (self.origin, self.method)
        return (
            there and self.words in asked.body and bool(re.match(self.path, asked.path))
        )

    def take(self, asked: Asked) -> Play | None:
        """Count a request that matches; the play that is meant for it."""
        if not self.matches(asked):
            return None
        self.met += 1
        play = self.plays.get(self.met) or self.plays.get(None)
        if play is None or not play.when(asked):
            return None
        self.played += 1
        return play


Watch = Callable[[str, Asked, bool], None]
"""Called with (`before`, `after` or `told`, the request, whether it was told proof)."""


class Answerer:
    """All origins. `script` may be changed between requests."""

    def __init__(self) -> None:
        self.origins: dict[str, str] = {}
        self.asked: list[Asked] = []
        self.scripts: Sequence[Script] = ()
        self.watch: Watch = lambda *_: None
        self.trouble: list[BaseException] = []
        """What `watch` raised: an assertion must not be lost in a thread."""
        self._upstream: dict[str, str] = {}
        self._lock = threading.Lock()

    def stand_for(
        self, name: str, origin: str, stack: ExitStack, tls: ssl.SSLContext | None
    ) -> None:
        """Listen in the place of an origin."""
        server = stack.enter_context(listening(lambda one: self._serve(name, one), tls))
        scheme = "http" if tls is None else "https"
        self.origins[name] = f"{scheme}://127.0.0.1:{server}"
        self._upstream[name] = origin

    def play(self, *scripts: Script) -> None:
        """Play these from now on, instead of those before; forget what was asked."""
        with self._lock:
            self.scripts, self.asked = scripts, []

    # ---- one connection ----------------------------------------------------------

    def _serve(self, name: str, client: socket.socket) -> None:
        place = urlsplit(self._upstream[name])
        upstream = http.client.HTTPConnection(
            place.hostname or "", place.port, timeout=60
        )
        with suppress(OSError), client, client.makefile("rb") as reader:
            while (asked := read_request(name, reader)) is not None:
                if not self._answer(asked, client, upstream):
                    break
        upstream.close()

    def _answer(
        self, asked: Asked, client: socket.socket, upstream: http.client.HTTPConnection
    ) -> bool:
        """Whether the connection stays."""
        with self._lock:
            self.asked.append(asked)
            plays = [each.take(asked) for each in self.scripts]
        play = next((each for each in plays if each is not None), None)
        self._watched("before", asked, proof=False)
        true = None
        if play is None or play.apply:
            true = self._carry_out(asked, upstream)
            self._watched("after", asked, proof=False)
        if play is None:
            assert true is not None
            self._watched("told", asked, proof=200 <= true.status <= 299)
            client.sendall(written(true.status, true.headers, true.body))
            return True
        self._watched("told", asked, proof=play.proves)
        _send(client, _last(play.make(asked, true)), play.end)
        return False

    def _carry_out(self, asked: Asked, upstream: http.client.HTTPConnection) -> Truth:
        left_out = ("connection", "transfer-encoding", "content-length", "host")
        headers = {k: v for k, v in asked.headers.items() if k not in left_out}
        upstream.request(asked.method, asked.path, asked.body or None, headers)
        answer = upstream.getresponse()
        body = answer.read()
        kept = [
            (key.lower(), self._here(value))
            for key, value in answer.getheaders()
            if key.lower() not in left_out
        ]
        return Truth(status=answer.status, headers=kept, body=body)

    def _here(self, value: str) -> str:
        """A link to an origin of the simulator leads to ours."""
        for name, origin in self._upstream.items():
            value = value.replace(origin, self.origins[name])
        return value

    def _watched(self, when: str, asked: Asked, *, proof: bool) -> None:
        try:
            self.watch(when, asked, proof)
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            self.trouble.append(error)


@contextmanager
def answering(
    origins: Mapping[str, str], tls: ssl.SSLContext | None = None
) -> Iterator[Answerer]:
    """An answerer in front of these origins; with `tls` it speaks https."""
    answerer = Answerer()
    with ExitStack() as stack:
        for name, origin in origins.items():
            answerer.stand_for(name, origin, stack, tls)
        yield answerer


# ---- the wire --------------------------------------------------------------------


@contextmanager
def listening(
    serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A port whose every connection is served in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as door:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = door.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    thread = threading.Thread(target=welcome, args=(client,))
                    thread.daemon = True
                    thread.start()

        def welcome(client: socket.socket) -> None:
            with suppress(OSError):
                secured = client if tls is None else tls.wrap_socket(client, True)
                serve(secured)
            client.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)


def read_request(origin: str, reader: BinaryIO) -> Asked | None:
    """The next request of a connection; None when it has ended."""
    line = reader.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while head := reader.readline().strip():
        name, _, value = head.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    body = reader.read(length) if length else b""
    method, path, _ = line
    return Asked(origin=origin, method=method, path=path, headers=headers, body=body)


def written(
    status: int, headers: Sequence[tuple[str, str]], body: bytes, *, framed: bool = True
) -> bytes:
    """An answer as bytes; `framed` by its Content-Length."""
    lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Odd')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if framed and status != 204:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _last(content: bytes) -> bytes:
    """Told to be the last of its connection: nobody shall begin another one there."""
    status = re.compile(rb"HTTP/1\.1 [2-5]\d\d[^\r]*\r\n")
    return status.sub(rb"\g<0>connection: close\r\n", content, count=1)


def _send(client: socket.socket, content: bytes, end: End) -> None:
    """The bytes, and the end of the connection. A client that left is no trouble."""
    with suppress(OSError):
        if end == "drip":
            _drip(client, content)
        else:
            client.sendall(content)
        if end == "hang":
            _until_left(client, PATIENCE)
    if end == "reset":
        linger = struct.pack("ii", 1, 0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    else:
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def _drip(client: socket.socket, content: bytes) -> None:
    for place in range(len(content)):
        client.sendall(content[place : place + 1])
        if _until_left(client, DRIP):
            return


def _until_left(client: socket.socket, seconds: float) -> bool:
    """Wait for the client to go; whether it did."""
    readable, _, _ = select.select([client], [], [], seconds)
    return bool(readable) and not client.recv(1)
