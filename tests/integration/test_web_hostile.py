"""Crowds and masses: a thousand stalled clients, bodies without an end, little memory.

The short form; the long one is part of the reliability suite.
"""

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from syncd.clock import Clock
from syncd.model import Message
from syncd.sources.door import Delivery, Head, Reply
from syncd.store.inbox import Taken
from syncd.web.deadlines import Limits
from syncd.web.receiver import Receiver
from syncd.web.refusals import Refusals
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from syncd.web.threads import Threads
from tests.builders import PATIENCE

MIB = 1 << 20
STALLED = 1_000
HALVES = (
    b"",
    b"POST /in/a HTTP/1.1\r\nHost: x\r\nX-Sig",
    b"POST /in/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    + b"x" * 50_000,
    b"POST /in/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nx",
)


class Counting:
    """A door that says how long a body was."""

    connection = "a"
    path = "/in/a"
    max_body = 8 * MIB

    def admit(self, head: Head) -> None:
        """Everybody."""

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        return Reply(status=200, body={"length": len(body)})

    def asks_store(self, head: Head) -> bool:
        return False


class Unused:
    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        raise AssertionError("nothing is stored here")


@contextmanager
def serving(limits: Limits) -> Iterator[WebServer]:
    threads = Threads("door", size=2, waiting=8)
    door = Counting()
    app = Receiver(
        lambda: [door], Unused(), Clock(), refusals=Refusals(Clock()), threads=threads
    )
    server = WebServer("inbound", Tcp(host="127.0.0.1", port=0), app, limits)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        threads.stop()


def memory() -> int:
    """Resident bytes of this process, which holds server and clients."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def posted(server: WebServer, body: bytes = b"{}") -> float:
    """Seconds that a whole request of somebody well-behaved takes."""
    started = time.monotonic()
    with closing(
        http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    ) as client:
        client.request("POST", "/in/a", body)
        with client.getresponse() as answer:
            answer.read()
    assert answer.status == 200
    return time.monotonic() - started


def test_a_thousand_stalled_clients_hold_nobody_up_and_are_closed() -> None:
    limits = Limits(connections=STALLED + 20, request=3.0)
    with serving(limits) as server, ExitStack() as stack:
        before = memory()
        stalled = []
        for number in range(STALLED):
            client = socket.create_connection(
                ("127.0.0.1", server.port), timeout=PATIENCE
            )
            stack.callback(client.close)
            client.sendall(HALVES[number % len(HALVES)])
            stalled.append(client)

        took = sorted(posted(server) for _ in range(100))
        grown = memory() - before
        began = time.monotonic()
        for client in stalled:
            ended(client)
        closing = time.monotonic() - began

        assert took[98] < 0.5
        assert grown < 128 * MIB
        assert closing < 3.0 + 2.0, "the deadline, and some for a busy machine"
        posted(server)


def ended(client: socket.socket) -> None:
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass


def test_beyond_the_cap_others_are_served_as_soon_as_the_stalled_are_closed() -> None:
    with serving(Limits(connections=20, request=0.5)) as server, ExitStack() as stack:
        for _ in range(200):
            client = socket.create_connection(
                ("127.0.0.1", server.port), timeout=PATIENCE
            )
            stack.callback(client.close)

        until = time.monotonic() + PATIENCE
        while not _is_served(server):
            assert time.monotonic() < until


def _is_served(server: WebServer) -> bool:
    try:
        return posted(server) >= 0
    except (AssertionError, OSError, http.client.HTTPException):
        return False


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_of_200_mib_is_refused_in_little_memory(chunked: bool) -> None:
    piece = b"x" * MIB
    with serving(Limits()) as server:
        before = grown = memory()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.settimeout(PATIENCE)
            kind = (
                b"Transfer-Encoding: chunked"
                if chunked
                else b"Content-Length: %d" % (200 * MIB)
            )
            client.sendall(b"POST /in/a HTTP/1.1\r\nHost: x\r\n" + kind + b"\r\n\r\n")
            try:
                for _ in range(200):
                    client.sendall(
                        b"100000\r\n" + piece + b"\r\n" if chunked else piece
                    )
                    grown = max(grown, memory())
            except (BrokenPipeError, ConnectionResetError):
                pass  # it need not be heard out
            answer = client.recv(4096)

        assert answer.startswith(b"HTTP/1.1 413")
        assert grown - before < 64 * MIB
        assert posted(server) < PATIENCE


def test_many_long_bodies_at_once_stay_within_the_budget() -> None:
    """100 clients with 8 MiB each, all but the last byte: 64 MiB of them are taken."""
    with serving(Limits()) as server, ExitStack() as stack:
        before = memory()
        clients = []
        for _ in range(100):
            client = socket.create_connection(("127.0.0.1", server.port))
            client.settimeout(PATIENCE)
            stack.callback(client.close)
            client.sendall(
                b"POST /in/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                % (8 * MIB)
            )
            clients.append(client)
        threads = [threading.Thread(target=_send_most, args=(c,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        grown = memory() - before
        small = posted(server)

        assert grown < 160 * MIB
        assert small < PATIENCE


def _send_most(client: socket.socket) -> None:
    piece = b"x" * (MIB // 4)
    try:
        for _ in range(31):
            client.sendall(piece)
    except OSError:
        pass  # refused, which is what most of them are
