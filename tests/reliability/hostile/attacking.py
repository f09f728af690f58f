"""Hostile clients of a daemon's port, by kind, as many as one likes.

Each kind is one connection from its start to its end: what is sent, in which pieces,
and what is read. `attacking` keeps all of them coming from a few threads, and counts
what they were answered.
"""

import gzip
import http.client
import selectors
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

MIB = 1 << 20
HEAD = b"POST /in/engage HTTP/1.1\r\nHost: a\r\n"
FORGED = HEAD + b"X-Signature: " + b"0" * 40 + b"\r\nX-Syncd-Key: guess\r\n"
HIDDEN = b"POST /in/engage/hidden HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
"""The request that a shape of smuggling hides in another one."""
_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_HEARD = 1.0
"""Seconds that an answer is waited for."""


def _hiding(*headers: bytes, body: bytes = b"0\r\n\r\n" + HIDDEN) -> bytes:
    return FORGED + b"\r\n".join([*headers, b"", b""]) + body


SMUGGLED: Mapping[str, bytes] = {
    "both lengths": _hiding(
        b"Content-Length: %d" % (5 + len(HIDDEN)), b"Transfer-Encoding: chunked"
    ),
    "both, the other way round": _hiding(
        b"Transfer-Encoding: chunked", b"Content-Length: 5"
    ),
    "two lengths": _hiding(b"Content-Length: 5", b"Content-Length: 0"),
    "a length of two values": _hiding(b"Content-Length: 5, 0"),
    "a length with a sign": _hiding(b"Content-Length: +5"),
    "a negative length": _hiding(b"Content-Length: -1"),
    "a length in hex": _hiding(b"Content-Length: 0x5"),
    "a length beyond 64 bits": _hiding(b"Content-Length: " + b"9" * 30),
    "another coding": _hiding(b"Transfer-Encoding: xchunked"),
    "chunked twice": _hiding(
        b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"
    ),
    "chunked and more": _hiding(b"Transfer-Encoding: chunked, identity"),
    "a blank before the colon": _hiding(b"Transfer-Encoding : chunked"),
    "a tab in the coding": _hiding(b"Transfer-Encoding:\x0bchunked"),
    "a folded line": _hiding(b"Transfer-Encoding:\r\n chunked"),
    "a chunk of no length": _hiding(_CHUNKED[:-2], body=b"zz\r\n" + HIDDEN),
    "a chunk with a sign": _hiding(_CHUNKED[:-2], body=b"-1\r\n" + HIDDEN),
    "a chunk beyond 64 bits": _hiding(_CHUNKED[:-2], body=b"f" * 17 + b"\r\n" + HIDDEN),
    "a chunk that is longer": _hiding(_CHUNKED[:-2], body=b"1\r\nabc\r\n0\r\n\r\n"),
    "a bare line feed": FORGED.replace(b"\r\n", b"\n") + b"\n" + HIDDEN,
    "a NUL in a header": _hiding(b"X-A: \0", b"Content-Length: 0"),
    "a header without a name": _hiding(b": x", b"Content-Length: 0"),
}
"""Shapes of which two parsers in a row make two different things."""

GARBAGE: Mapping[str, bytes] = {
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(range(256)) * 2,
    "zeros": bytes(4_096),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no version": b"GET /\r\n\r\n",
    "a long head": HEAD + b"X-A: " + b"a" * 100_000,
    "many headers": HEAD + b"X-A: b\r\n" * 20_000,
    "a long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    "a compressed body": FORGED
    + b"Content-Encoding: gzip\r\nContent-Length: 10210\r\n\r\n"
    + gzip.compress(bytes(10 * MIB)),
    "an absolute path": b"GET http://evil.example/in/a HTTP/1.1\r\nHost: b\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "odd bytes in a path": b"POST /in/%00%ff/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
}
"""What is no request of ours."""


@dataclass
class Heard:
    """What attackers were answered, by kind."""

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    connections: int = 0
    refused: int = 0
    """Connections that could not be made or were reset."""


def address(where: str) -> tuple[str, int]:
    """`host:port` as a socket takes it."""
    host, _, port = where.rpartition(":")
    return host, int(port)


def answers(where: str, sent: bytes, seconds: float = _HEARD) -> list[int]:
    """Statuses of all answers to some bytes, until the end or for so long."""
    heard = b""
    with socket.create_connection(address(where), timeout=seconds) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65_536):
                heard += piece
        except OSError:
            pass  # ended, or silent
    pieces = heard.split(b"HTTP/1.1 ")[1:]
    return [int(piece[:3]) for piece in pieces]


# ---- kinds that are no single message ------------------------------------------------


def reset(where: str) -> list[int]:
    """Connect, send half a request, and be gone at once."""
    client = socket.create_connection(address(where))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sendall(HEAD)
    client.close()
    return []


def ahead(where: str) -> list[int]:
    """Two hundred requests at once."""
    return answers(where, (FORGED + b"Content-Length: 0\r\n\r\n") * 200)


def unread(where: str) -> list[int]:
    """A thousand requests whose answers nobody reads."""
    with socket.create_connection(address(where), timeout=_HEARD) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        try:
            for _ in range(1_000):
                client.sendall(FORGED + b"Content-Length: 0\r\n\r\n")
        except OSError:
            pass
    return []


def endless(where: str) -> list[int]:
    """A body of 200 MiB, as long as it is taken."""
    sent = FORGED + b"Content-Length: %d\r\n\r\n" % (200 * MIB)
    with socket.create_connection(address(where), timeout=_HEARD) as client:
        try:
            client.sendall(sent)
            for _ in range(200):
                client.sendall(bytes(MIB))
        except OSError:
            pass
        try:
            return [int(client.recv(64)[9:12])]
        except (OSError, ValueError):
            return []


def hasty(where: str) -> list[int]:
    """A whole request, gone before the answer."""
    client = http.client.HTTPConnection(where, timeout=_HEARD)
    client.request("POST", "/in/engage", b"x" * 60_000)
    client.close()
    return []


_MOVES: Mapping[str, Callable[[str], list[int]]] = {
    "reset": reset,
    "ahead": ahead,
    "unread": unread,
    "endless": endless,
    "hasty": hasty,
}


# ---- all of them at once -------------------------------------------------------------


class Idle:
    """Connections that say nothing, or a byte now and then; they come again."""

    def __init__(
        self, where: str, count: int, over: threading.Event, held: ExitStack
    ) -> None:
        """Those that are open when it is over are closed by `held`."""
        self.opened = 0
        self._where, self._count, self._over = where, count, over
        self._held = held

    def run(self) -> None:
        """Until it is over."""
        with selectors.DefaultSelector() as selector:
            while not self._over.is_set():
                while len(selector.get_map()) < self._count and not self._over.is_set():
                    self._open(selector)
                for key, _ in selector.select(0.1):
                    self._hear(key, selector)

    def _open(self, selector: selectors.BaseSelector) -> None:
        try:
            one = socket.create_connection(address(self._where), timeout=_HEARD)
            one.sendall(
                (b"", b"P", HEAD, FORGED + _CHUNKED + b"\r\nff")[self.opened % 4]
            )
        except OSError:
            self._over.wait(0.05)
            return
        self.opened += 1
        one.setblocking(False)
        self._held.callback(one.close)
        selector.register(one, selectors.EVENT_READ)

    @staticmethod
    def _hear(key: selectors.SelectorKey, selector: selectors.BaseSelector) -> None:
        one = key.fileobj
        assert isinstance(one, socket.socket)
        try:
            ended = not one.recv(4_096)
        except OSError:
            ended = True
        if ended:
            selector.unregister(one)
            one.close()


@contextmanager
def attacking(where: str, idle: int, held: ExitStack) -> Iterator[Heard]:
    """Every kind, over and over, and so many idle connections beside them.

    The idle ones are still there afterwards, until `held` is closed.
    """
    heard, over = Heard(), threading.Event()
    kinds = {
        name: (lambda at, sent=sent: answers(at, sent))
        for name, sent in {**SMUGGLED, **GARBAGE}.items()
    } | dict(_MOVES)
    groups = [dict(list(kinds.items())[at::4]) for at in range(4)]
    threads = [
        threading.Thread(target=_again, args=(where, group, heard, over))
        for group in groups
    ]
    threads.append(threading.Thread(target=Idle(where, idle, over, held).run))
    for each in threads:
        each.start()
    try:
        yield heard
    finally:
        over.set()
        for each in threads:
            each.join()


def _again(
    where: str,
    kinds: Mapping[str, Callable[[str], list[int]]],
    heard: Heard,
    over: threading.Event,
) -> None:
    while not over.is_set():
        for name, attack in kinds.items():
            if over.is_set():
                return
            began = time.monotonic()
            try:
                statuses = attack(where)
            except (OSError, http.client.HTTPException):
                heard.refused += 1
                continue
            heard.connections += 1
            heard.statuses.setdefault(name, Counter()).update(statuses)
            over.wait(max(0.0, 0.02 - (time.monotonic() - began)))
