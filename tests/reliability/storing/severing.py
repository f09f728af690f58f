"""A wire to a Postgres server that is cut where it hurts: a TCP proxy that reads along.

It listens on a port of its own and forwards to the server's Unix socket. It reads the
frontend's messages as far as to see transactions begin and commit, so that it can cut
a connection at the n-th COMMIT of one that writes: before the server hears of it, or
after the server carried it out and before its answer is heard. It also plays a server
that is away, one that no longer says anything, and a slow one.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qs, urlsplit, urlunsplit

HEAD = struct.Struct("!cI")
"""Type and length of a frontend message; the length counts itself."""
FIRST = struct.Struct("!II")
"""Length and code of a message before the first typed one."""
NO_TLS, NO_GSS = 80877103, 80877104
"""Codes that ask for encryption; the server says one byte, then it begins again."""
CHUNK = 65_536
RESET = struct.pack("ii", 1, 0)
"""Close at once: the peer gets a reset, as from a machine that was switched off."""


class Cut(Enum):
    """What becomes of a COMMIT, as the client sees it."""

    UNHEARD = "before the server heard of it"
    UNANSWERED = "carried out, the answer lost"
    SILENT = "carried out, and nothing is ever said again"
    HELD_UP = "from here on nothing gets through, either way, until the wire speaks"


@dataclass
class Frontend:
    """The frontend's half of a connection, message by message."""

    buffer: bytearray = field(default_factory=bytearray)
    begun: bool = False
    """The startup message was seen: messages have a type from now on."""
    writes: bool = False
    """The transaction that is open may write."""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each whole message, and whether it commits a transaction that may write."""
        self.buffer += data
        while (size := self._size()) and len(self.buffer) >= size:
            message = bytes(self.buffer[:size])
            del self.buffer[:size]
            yield message, self._commits(message)

    def _size(self) -> int:
        """Of the next message, so far as its head is there; 0: not yet."""
        if not self.begun:
            if len(self.buffer) < FIRST.size:
                return 0
            size: int = FIRST.unpack_from(self.buffer)[0]
            return size
        if len(self.buffer) < HEAD.size:
            return 0
        return 1 + int(HEAD.unpack_from(self.buffer)[1])

    def _commits(self, message: bytes) -> bool:
        if not self.begun:
            self.begun = FIRST.unpack_from(message)[1] not in (NO_TLS, NO_GSS)
            return False
        words = _query(message)
        if words.startswith(b"BEGIN"):
            self.writes = b"READ ONLY" not in words
        commits, done = words.startswith(b"COMMIT"), words.startswith(b"ROLLBACK;")
        if commits or done:
            wrote, self.writes = self.writes, False
            return commits and wrote
        return False


def _query(message: bytes) -> bytes:
    """The text of a simple query, or of one to be prepared."""
    kind, text = message[:1], message[HEAD.size :]
    if kind == b"P":
        text = text.partition(b"\0")[2]
    elif kind != b"Q":
        return b""
    return text.partition(b"\0")[0].lstrip().upper()


class Link:
    """One connection: the client's end, the server's end, a thread for each way."""

    def __init__(self, wire: "Wire", client: socket.socket) -> None:
        self._wire = wire
        self._client = client
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._frontend = Frontend()
        self._mute = threading.Event()
        """What the server says is heard and not passed on."""

    def start(self) -> None:
        self._server.connect(self._wire.target)
        for work in (self._upwards, self._downwards):
            threading.Thread(target=work, daemon=True).start()

    def cut(self) -> None:
        """Both ends at once."""
        with suppress(OSError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _upwards(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(CHUNK):
                self._wire.hold_up()
                for message, commits in self._frontend.feed(data):
                    if not self._pass_on(message, commits):
                        return
        self._end()

    def _pass_on(self, message: bytes, commits: bool) -> bool:
        """False where this was the last that the server is told."""
        how = self._wire.count(self) if commits else None
        if how is Cut.UNHEARD:
            self._end()
            return False
        if how is Cut.HELD_UP:
            self._wire.go_silent()
            self._wire.hold_up()
        elif how is not None:
            self._mute.set()
        self._server.sendall(message)
        if how is Cut.UNANSWERED:
            self._wire.carried_out.wait(self._wire.patience)
            self._end()
            return False
        return True

    def _downwards(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(CHUNK):
                self._wire.hold_up()
                if self._mute.is_set():
                    self._wire.carried_out.set()  # that is its answer
                else:
                    self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        self.cut()
        self._wire.forget(self)


class Wire:
    """The proxy. What it does to connections is set while it works."""

    patience = 30.0
    """Seconds in which the server carries a COMMIT out."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.carried_out = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._commits: int | None = None
        self._how = Cut.UNHEARD
        self._open = threading.Event()
        self._open.set()
        self._away = False
        self.struck = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """End all."""
        self._listener.close()
        self._open.set()
        self.cut()

    # ---- what it does to connections ---------------------------------------------

    def at_commit(self, nth: int | None, how: Cut = Cut.UNHEARD) -> None:
        """Cut at the n-th COMMIT of a writing transaction from now; None: at none."""
        with self._lock:
            self._commits, self._how, self.struck = nth, how, False
            self.carried_out.clear()

    def cut(self) -> None:
        """Every connection there is."""
        with self._lock:
            links = list(self._links)
        for each in links:
            each.cut()
            self.forget(each)

    def go_away(self) -> None:
        """The server is down: connections end, and new ones are refused."""
        self._away = True
        self.cut()

    def come_back(self) -> None:
        """It is up again."""
        self._away = False

    def go_silent(self) -> None:
        """Nothing is passed on any more, either way; connections stay."""
        self._open.clear()

    def speak(self) -> None:
        """What was held up is passed on."""
        self._open.set()

    # ---- for links ---------------------------------------------------------------

    def hold_up(self) -> None:
        """Wait as long as it is silent."""
        self._open.wait()

    def count(self, _: Link) -> Cut | None:
        """A transaction that writes commits: what becomes of it."""
        with self._lock:
            if self._commits is None:
                return None
            self._commits -= 1
            if self._commits:
                return None
            self._commits, self.struck = None, True
            return self._how

    def forget(self, link: Link) -> None:
        """It has ended."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            link = Link(self, client)
            if self._away:
                link.cut()
                continue
            with self._lock:
                self._links.add(link)
            try:
                link.start()
            except OSError:  # no server there
                link.cut()
                self.forget(link)


@contextmanager
def severing(url: str) -> Iterator[tuple[Wire, str]]:
    """A wire to the server of this URL, and the URL by which it is used."""
    parts = urlsplit(url)
    folder = parse_qs(parts.query)["host"][0]
    wire = Wire(f"{folder}/.s.PGSQL.5432")
    wire.start()
    user = (parts.username or "postgres") + "@"
    where = f"{user}127.0.0.1:{wire.port}"
    try:
        yield wire, urlunsplit(parts._replace(netloc=where, query=""))
    finally:
        wire.stop()
