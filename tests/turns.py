"""A wire to Postgres on which every turn of the client is seen, counted and delayed.

psycopg says one thing and waits for the answer, then the next: what it says at once is
a turn, and costs the time there and back.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

CHUNK = 1 << 20
"""More than a client of the tests says in one turn."""

Heard = Callable[[bytes], bool]
"""Given what a client says, before the server is; False cuts that connection."""


class Turns:
    """The wire. What it counts is of all its connections together."""

    def __init__(self, target: str, delay: float, heard: Heard | None) -> None:
        self._target = target
        self._delay = delay
        self._heard = heard
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.said: list[bytes] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Listen until it is stopped."""
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """No new connection any more."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                server.connect(self._target)
                self._pass_on(client, server, self._hear)
                self._pass_on(server, client, lambda _: True)

    def _hear(self, data: bytes) -> bool:
        self.said.append(data)
        return self._heard is None or self._heard(data)

    def _pass_on(
        self, sender: socket.socket, receiver: socket.socket, heard: Heard
    ) -> None:
        pause = threading.Event()

        def work() -> None:
            with suppress(OSError):
                while (data := sender.recv(CHUNK)) and heard(data):
                    if self._delay:
                        pause.wait(self._delay / 2)
                    receiver.sendall(data)
            for end in (sender, receiver):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                if end is sender:
                    end.close()

        threading.Thread(target=work, daemon=True).start()


@contextmanager
def by_turns(
    url: str, delay: float = 0.0, heard: Heard | None = None
) -> Iterator[tuple[Turns, str]]:
    """A wire to the server of this URL, and the URL by which it is used.

    `delay` is the seconds that a turn and its answer take longer.
    """
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    wire = Turns(f"{folder}/.s.PGSQL.5432", delay, heard)
    wire.start()
    user = (parts.username or "postgres") + "@"
    where = f"{user}127.0.0.1:{wire.port}"
    try:
        yield wire, urlunsplit(parts._replace(netloc=where, query=""))
    finally:
        wire.stop()
