"""The server over real sockets: what a client may cost, and how it starts and stops."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from syncd.errors import DaemonError
from syncd.web.deadlines import LimitedProtocol, Limits
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from tests.builders import PATIENCE

LOOPBACK = Tcp(host="127.0.0.1", port=0)
LONG = 64 << 20
SOON = 0.3
"""A deadline in seconds that a test waits for."""
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Echo:
    """An app: answers with the path and how much it was sent; waits where told to."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, not scope["path"].startswith("/unread")
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length += len(message["body"])
            more = message["more_body"]
        self.began.release()
        if scope["path"] == "/wait":
            await wait_for(self.go_on)
        body = f"{scope['path']} {length}".encode()
        if scope["path"] == "/long":
            body = b"x" * LONG
        headers = [(b"content-length", str(len(body)).encode())]
        if scope["path"] == "/unread/close":
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        # Only now would it wait for a slow reader.
        await send({"type": "http.response.body", "body": b""})
        self.ended.release()


async def wait_for(event: threading.Event) -> None:
    """Without holding up the loop."""
    await asyncio.get_running_loop().run_in_executor(None, event.wait, PATIENCE)


class Client:
    """A socket that can be misused."""

    def __init__(self, server: WebServer) -> None:
        host, _, port = server.address.rpartition(":")
        self.socket = socket.create_connection(
            (host.strip("[]"), int(port)), timeout=PATIENCE
        )

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, bytes]:
        """One answer: (status, body); (0, b"") when the connection ended instead."""
        head = self._until(b"\r\n\r\n")
        if not head:
            return 0, b""
        status = int(head.split(b" ", 2)[1])
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        return status, self._exactly(length)

    def ended(self) -> bool:
        """Wait for the end of the connection."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        got = b""
        while not got.endswith(mark):
            try:
                byte = self.socket.recv(1)
            except ConnectionResetError:
                byte = b""
            if not byte:
                return b""
            got += byte
        return got

    def _exactly(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            got += self.socket.recv(length - len(got))
        return got


class Gate:
    """Who was turned away."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def __call__(self, reason: str, status: int) -> None:
        self.told.append((reason, status))


@contextmanager
def serving(
    app: Any = None,
    limits: Limits | None = None,
    *,
    where: Tcp | Path = LOOPBACK,
    gate: Gate | None = None,
    grace: int = 5,
) -> Iterator[WebServer]:
    server = WebServer(
        "inbound", where, app or Echo(), limits, gate=gate or Gate(), grace=grace
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def connected(server: WebServer) -> Iterator[Client]:
    client = Client(server)
    try:
        yield client
    finally:
        client.socket.close()


# ---- start and stop -----------------------------------------------------------------


def test_a_started_server_answers_at_once_at_the_address_it_names() -> None:
    with serving() as server, connected(server) as client:
        client.send(GET)

        assert client.answer() == (200, b"/a 0")
        assert server.port != 0
        assert server.address == f"127.0.0.1:{server.port}"


def test_ipv6_addresses_are_served_and_written_in_brackets() -> None:
    with serving(where=Tcp(host="::1", port=0)) as server, connected(server) as client:
        client.send(GET)

        assert client.answer() == (200, b"/a 0")
        assert server.address == f"[::1]:{server.port}"


def test_a_taken_port_is_an_error_that_says_what_to_do() -> None:
    with serving() as server:
        second = WebServer(
            "inbound", Tcp(host="127.0.0.1", port=server.port), Echo(), None
        )

        with pytest.raises(DaemonError, match=str(server.port)) as error:
            second.start()

    assert "another process" in error.value.hint
    second.stop()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_an_address_that_is_not_ours_is_an_error_that_says_what_to_do(
    host: str,
) -> None:
    server = WebServer("inbound", Tcp(host=host, port=0), Echo())

    with pytest.raises(DaemonError, match="cannot listen on") as error:
        server.start()

    assert error.value.hint


def test_a_stopped_server_leaves_no_thread_and_no_port() -> None:
    before = threading.active_count()
    with serving() as server, connected(server) as client:
        client.send(GET)
        client.answer()

    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        Client(server)
    with serving(where=Tcp(host="127.0.0.1", port=server.port)):
        pass


def test_a_stop_finishes_the_request_in_flight() -> None:
    echo = Echo()
    echo.go_on.clear()
    with serving(echo) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait"))
        assert echo.began.acquire(timeout=PATIENCE)

        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while not refused(server):
            pass
        echo.go_on.set()

        assert client.answer() == (200, b"/wait 0")
        stopping.join(PATIENCE)
        assert not stopping.is_alive()


def refused(server: WebServer) -> bool:
    """Whether the server takes no new connections any more."""
    try:
        with connected(server):
            return False
    except ConnectionError:
        return True


def test_a_stop_waits_for_nobody_who_sent_half_a_request() -> None:
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(4)]
        clients[1].send(b"GET /a")
        clients[2].send(POST % 5 + b"ab")
        clients[3].send(GET)
        clients[3].answer()

        stopping = threading.Thread(target=server.stop)
        stopping.start()
        stopping.join(3)

        assert not stopping.is_alive(), "the grace is 5 s, and nothing is in flight"
        assert all(client.ended() for client in clients)


def test_a_stop_ends_a_request_that_never_does() -> None:
    echo = Echo()
    echo.go_on.clear()
    with serving(echo, grace=1) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait"))
        assert echo.began.acquire(timeout=PATIENCE)
        releasing = threading.Timer(2, echo.go_on.set)
        releasing.start()

        server.stop()

        assert client.answer()[0] in {0, 500}
        releasing.join()


def test_answers_are_not_held_back_by_the_system() -> None:
    """Without TCP_NODELAY every answer on a kept connection takes 40 ms."""
    seen: list[int] = []

    class Watching(LimitedProtocol):
        def connection_made(self, transport: Any) -> None:
            option = (socket.IPPROTO_TCP, socket.TCP_NODELAY)
            seen.append(transport.get_extra_info("socket").getsockopt(*option))
            super().connection_made(transport)

    server = WebServer("inbound", LOOPBACK, Echo())
    server._server.config.http = Watching  # noqa: SLF001  # only to look
    server.start()
    try:
        with connected(server) as client:
            client.send(GET)
            client.answer()
    finally:
        server.stop()

    assert seen
    assert all(seen)


# ---- deadlines ----------------------------------------------------------------------


def hurried(**limits: Any) -> Limits:
    return Limits(
        **{"request": SOON, "idle": PATIENCE, "answer": SOON, "linger": SOON} | limits
    )


@pytest.mark.parametrize(
    ("half", "status"),
    [
        (b"", 0),
        (b"\r\n\r\n", 408),
        (b"GET /a HTTP/1.1\r\nHost", 408),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000, 408),
        (POST % 5, 408),
        (POST % 5 + b"abcd", 408),
        (
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            408,
        ),
    ],
    ids=["nothing", "blank", "line", "header", "no body", "body", "chunk"],
)
def test_half_a_request_is_closed_at_its_deadline(half: bytes, status: int) -> None:
    with serving(limits=hurried()) as server, connected(server) as client:
        client.send(half)

        assert client.answer()[0] == status
        assert client.ended()


@pytest.mark.parametrize(
    "start", [b"GET /", POST % 1000, b""], ids=["head", "body", "blank lines"]
)
def test_sending_byte_by_byte_does_not_move_the_deadline(start: bytes) -> None:
    drip = b"\n" if not start else b"a"
    with serving(limits=hurried()) as server, connected(server) as client:
        client.send(start)
        client.socket.settimeout(0.02)

        sent, ended = 0, False
        while not ended and sent < 500:
            try:
                client.send(drip)
                sent += 1
                ended = client.socket.recv(4096) == b""
            except TimeoutError:
                continue
            except (ConnectionResetError, BrokenPipeError):
                ended = True

    assert ended, "closed although bytes kept coming"
    assert sent > 3


def test_the_deadline_of_a_later_request_begins_with_its_own_first_byte() -> None:
    limits = hurried(request=1.0)
    with serving(limits=limits) as server, connected(server) as client:
        for _ in range(4):
            client.send(GET[:10])
            client.socket.settimeout(0.4)
            with pytest.raises(TimeoutError):
                client.socket.recv(1)
            client.socket.settimeout(PATIENCE)
            client.send(GET[10:])
            assert client.answer()[0] == 200


def test_a_request_in_progress_has_no_deadline_of_the_client() -> None:
    echo = Echo()
    echo.go_on.clear()
    with serving(echo, hurried(idle=SOON)) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait"))
        client.socket.settimeout(3 * SOON)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(PATIENCE)
        echo.go_on.set()

        assert client.answer() == (200, b"/wait 0")


def test_nor_has_one_that_was_sent_ahead() -> None:
    echo = Echo()
    echo.go_on.clear()
    with serving(echo, hurried(idle=SOON)) as server, connected(server) as client:
        client.send(GET + GET.replace(b"/a", b"/wait"))
        assert client.answer() == (200, b"/a 0")
        client.socket.settimeout(3 * SOON)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(PATIENCE)
        echo.go_on.set()

        assert client.answer() == (200, b"/wait 0")


def test_an_idle_connection_is_closed_without_a_word() -> None:
    gate = Gate()
    limits = hurried(request=PATIENCE, idle=SOON)
    with serving(limits=limits, gate=gate) as server, connected(server) as client:
        client.send(GET)
        client.answer()

        assert client.answer() == (0, b"")
    assert gate.told == []


def test_half_a_request_after_a_long_pause_has_the_same_deadline() -> None:
    """The timer was set for the end of the pause, which is much later."""
    with serving(limits=hurried()) as server, connected(server) as client:
        client.send(GET)
        client.answer()
        client.socket.settimeout(2 * SOON)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)

        client.socket.settimeout(PATIENCE / 3)
        client.send(GET[:10])

        assert client.answer()[0] == 408


def test_a_connection_whose_request_ended_after_its_answer_is_idle_too() -> None:
    limits = hurried(request=PATIENCE, idle=SOON)
    with serving(limits=limits) as server, connected(server) as client:
        client.send(POST.replace(b"/a", b"/unread") % 5 + b"ab")
        assert client.answer()[0] == 200

        client.send(b"cde")
        client.socket.settimeout(PATIENCE / 3)

        assert client.ended()


def test_whoever_does_not_read_the_answer_is_closed() -> None:
    echo = Echo()
    with serving(echo, hurried()) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/long"))
        assert echo.ended.acquire(timeout=PATIENCE), "it would wait for ever"

        assert len(received(client)) < LONG


def received(client: Client) -> bytes:
    """All that comes until the end."""
    got = bytearray()
    try:
        while piece := client.socket.recv(1 << 20):
            got += piece
    except ConnectionResetError:
        pass
    return bytes(got)


# ---- limits --------------------------------------------------------------------------


def test_one_connection_more_than_the_cap_is_turned_away_before_it_is_read() -> None:
    gate, app = Gate(), Echo()
    app.go_on.clear()
    with serving(app, Limits(connections=3), gate=gate) as server, ExitStack() as stack:
        stack.callback(app.go_on.set)
        clients = [stack.enter_context(connected(server)) for _ in range(3)]
        for client in clients:
            client.send(GET.replace(b"/a", b"/wait"))
            assert app.began.acquire(timeout=PATIENCE)

        one_more = stack.enter_context(connected(server))
        status, body = one_more.answer()
        ended = one_more.ended()
        app.go_on.set()

        assert status == 503
        assert b"too many connections" in body
        assert ended
        assert [client.answer()[0] for client in clients] == [200] * 3
        assert gate.told == [("connections", 503)]


@pytest.mark.parametrize(
    ("sent", "ends_with", "told"),
    [
        (b"", 0, []),
        (GET, 0, []),
        (GET[:-2], 503, [("crowded", 503)]),
        (POST % 10 + b"half", 503, [("crowded", 503)]),
    ],
    ids=["nothing", "idle", "half a head", "half a body"],
)
def test_at_the_cap_whom_we_waited_for_longest_makes_room(
    sent: bytes, ends_with: int, told: list[tuple[str, int]]
) -> None:
    gate = Gate()
    limits = Limits(connections=3)
    with serving(limits=limits, gate=gate) as server, ExitStack() as stack:
        first, second, third = (
            stack.enter_context(connected(server)) for _ in range(3)
        )
        for each in (first, second):
            each.send(sent)
            assert sent != GET or each.answer()[0] == 200
        third.send(GET)
        assert third.answer()[0] == 200  # by now all the others' bytes were read
        newcomers = [stack.enter_context(connected(server)) for _ in range(2)]
        for each in newcomers:
            each.send(GET)

        assert [each.answer()[0] for each in newcomers] == [200] * 2
        assert [each.answer()[0] for each in (first, second)] == [ends_with] * 2
        assert gate.told == told * 2
        third.send(GET)
        assert third.answer()[0] == 200


def test_a_refused_client_that_still_sends_makes_room_as_well() -> None:
    with serving(limits=Limits(connections=1)) as server, ExitStack() as stack:
        talking = stack.enter_context(connected(server))
        talking.send(b"no request\r\n\r\n" + b"x" * 100)
        assert talking.answer()[0] == 400

        newcomer = stack.enter_context(connected(server))
        newcomer.send(GET)

        assert newcomer.answer()[0] == 200
        assert talking.ended()


def test_a_connection_that_ends_makes_room_for_another() -> None:
    with serving(limits=Limits(connections=1)) as server:
        for _ in range(5):
            with connected(server) as client:
                client.send(GET.replace(b"Host", b"Connection: close\r\nHost"))
                assert client.answer()[0] == 200
                assert client.ended()


@pytest.mark.parametrize(
    "long",
    [
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
        b"GET /a HTTP/1.1\r\n" + b"X: y\r\n" * 3_000 + b"\r\n",
        b"GET /a HTTP/1.1\r\nX: " + b"a" * 600_000,
        b"GET /a HTTP/1.1\r\nX: " + b"a" * 40_000,
    ],
    ids=["path", "header", "headers", "endless", "without an end, in one piece"],
)
def test_a_long_head_is_refused(long: bytes) -> None:
    gate = Gate()
    with serving(gate=gate) as server, connected(server) as client:
        client.send(long)

        assert client.answer()[0] == 431
        assert client.ended()
    assert gate.told == [("head", 431)]


def test_what_stands_between_the_chunks_of_a_body_is_limited_too() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as server, connected(server) as client:
        client.send(head + b"1\r\na\r\n0\r\nX-Trailer: " + b"y" * 600_000)

        assert client.answer()[0] == 431


def test_headers_after_a_body_are_refused() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as server, connected(server) as client:
        client.send(head + b"1\r\na\r\n0\r\nX-Trailer: y\r\n\r\n")

        assert client.answer()[0] == 400


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_said_so(garbage: bytes) -> None:
    gate = Gate()
    with serving(gate=gate) as server, connected(server) as client:
        client.send(garbage)

        assert client.answer()[0] == 400
        assert client.ended()
    assert gate.told == [("malformed", 400)]


# ---- what must go on working -------------------------------------------------------


def test_a_kept_connection_serves_many_requests() -> None:
    with serving() as server, connected(server) as client:
        for length in range(50):
            client.send(POST % length + b"x" * length)
            assert client.answer() == (200, f"/a {length}".encode())


def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    echo = Echo()
    with serving(echo) as server, connected(server) as client:
        client.send(b"".join(POST % n + b"x" * n for n in range(10)))

        assert [client.answer()[1] for _ in range(10)] == [
            f"/a {n}".encode() for n in range(10)
        ]


def test_a_flood_of_requests_sent_ahead_is_cut_off() -> None:
    echo = Echo()
    echo.go_on.clear()
    gate = Gate()
    with serving(echo, gate=gate) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait") + GET * 1_000)

        assert client.ended()
        echo.go_on.set()
    assert gate.told == [("pipelined", 503)]


def test_what_is_sent_while_others_wait_is_read_once_they_are_answered() -> None:
    echo = Echo()
    echo.go_on.clear()
    ahead = Limits().pipelined - 1
    with serving(echo) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait") + GET * ahead)
        assert echo.began.acquire(timeout=PATIENCE)
        client.send(GET * ahead)
        echo.go_on.set()

        answers = [client.answer() for _ in range(1 + 2 * ahead)]

    assert answers == [(200, b"/wait 0")] + [(200, b"/a 0")] * 2 * ahead


def test_an_answer_that_comes_after_the_end_of_its_connection_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    echo = Echo()
    echo.go_on.clear()
    with serving(echo) as server, connected(server) as client:
        client.send(GET.replace(b"/a", b"/wait"))
        assert echo.began.acquire(timeout=PATIENCE)
        client.send(b"nonsense\r\n\r\n")
        assert client.ended()
        echo.go_on.set()
        assert echo.ended.acquire(timeout=PATIENCE)

    assert caplog.records == []


def test_a_body_in_chunks_arrives_whole() -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as server, connected(server) as client:
        client.send(head + b"4;ext=1\r\nabcd\r\n" * 5_000 + b"0\r\n\r\n")

        assert client.answer() == (200, b"/a 20000")


def test_a_client_that_asks_before_it_sends_is_told_to_go_on() -> None:
    with serving() as server, connected(server) as client:
        client.send(
            b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 3\r\n\r\n"
        )
        go_on = client.socket.recv(4096)
        client.send(b"abc")

        assert go_on.startswith(b"HTTP/1.1 100")
        assert client.answer() == (200, b"/a 3")


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
"""What Java's client adds to its first request."""


def test_an_offer_of_another_protocol_is_answered_in_this_one() -> None:
    with serving() as server, connected(server) as client:
        client.send(GET.replace(b"Host", OFFER + b"Host"))

        assert client.answer() == (200, b"/a 0")
        assert client.ended()


def test_no_body_is_taken_for_an_empty_one_after_such_an_offer() -> None:
    gate = Gate()
    with serving(gate=gate) as server, connected(server) as client:
        client.send((POST % 3).replace(b"Host", OFFER + b"Host") + b"abc")

        assert client.answer()[0] == 400
    assert gate.told == [("upgrade", 400)]


def test_an_early_answer_is_seen_by_a_client_that_still_sends() -> None:
    """Closing at once would have the system reset the connection, answer and all."""
    with serving() as server, connected(server) as client:
        client.send(POST.replace(b"/a", b"/unread/close") % 50_000_000)
        try:
            for _ in range(20):
                client.send(b"x" * 1_000_000)
        except (BrokenPipeError, ConnectionResetError):
            pytest.fail("reset while sending")

        assert client.answer() == (200, b"/unread/close 0")
        assert client.ended()


def test_an_early_answer_keeps_the_connection_where_the_rest_is_short() -> None:
    with serving() as server, connected(server) as client:
        for _ in range(3):
            client.send(POST.replace(b"/a", b"/unread") % 1_000 + b"x" * 1_000)

            assert client.answer() == (200, b"/unread 0")


def test_a_socket_file_is_served_like_an_address(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(where=path) as server:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(os.fspath(path))
            client.sendall(GET)
            answer = client.recv(4096)

        assert answer.startswith(b"HTTP/1.1 200")
        assert server.address == str(path)
    assert not path.exists()
