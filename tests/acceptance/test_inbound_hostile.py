"""Nothing unproven changes anything, and a crowd of stalled clients hurts nobody.

The real daemon over real sockets. The signature vectors are those of
contract/segment.md section 5; the limits are those of issue C.
"""

import http.client
import resource
import selectors
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.installed import Installation, Running
from tests.knocking import (
    ENGAGE,
    JSON,
    Knocking,
    as_bytes,
    assert_nothing_leaked,
    identify,
    knocking,
    people,
    signature,
    signed,
    tables,
    words,
)
from tests.simulated import PATIENCE, PROJECT, Simulator

SINGLE_ONLY = "/in/signed"
"""A door that is shown a signature and no second factor: it takes single events."""
STATE = ("feed", "inbox", "message", "inbox_position")
"""What a request changes; that a known message came again is only counted."""


def configure(installation: Installation) -> None:
    """Both kinds of doors of Engage, and a sync."""
    installation.inbox()
    connections = installation.config["connections"]
    del connections["engage"]["snapshot"]
    inbox = {"secret_file": "webhook_secret"}
    connections["signed"] = {"type": "engage", "inbox": inbox}
    installation.sync("vip")


@dataclass(frozen=True)
class Served:
    installation: Installation
    at: Knocking

    def state(self) -> dict[str, list[Any]]:
        return tables(self.installation.database, STATE)

    def tables(self) -> dict[str, list[Any]]:
        return tables(self.installation.database)


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, simulator_for_all: Simulator
) -> Iterator[Served]:
    """One daemon for the tests that forge; its log is looked through at the end."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("served")
        installation = Installation(folder, simulator_for_all, stack)
        configure(installation)
        daemon = installation.start("serve")
        with knocking(daemon) as at:
            yield Served(installation, at)
        assert daemon.stop() == 0
        assert_nothing_leaked(daemon.text, also=["acme.test", "u-1", "u-2"])


# ---- the vectors of the contract -----------------------------------------------------

ONE = b'{"type":"identify","userId":"u-1","traits":{"vip":true}}'
TWO = b'{"type":"identify","userId":"u-2","traits":{"vip":false}}'
PAIR = b"[" + ONE + b"," + TWO + b"]"
UMLAUT = '{"type":"identify","userId":"ü-1","traits":{"vip":true,"score":1.5}}'
ESCAPED = UMLAUT.replace("ü", "\\u00fc").encode()

OF_ONE = "fdf0b2d433b498bb4cc1efade722d4d9899d5645"
OF_PAIR = "0ea574ac8508ca15f38fe781bbc7e9ccc804dda4"
OF_UMLAUT = "0d2a75a5dfa755234a249da74cb4088edd0e07a6"
OF_ESCAPED = "3b364e96219212b7b9cccffacd19e274bc33c512"

# Proven, they are read: then it shows that nothing in them names an audience.
PROVEN = (400, "personas.missing")
WRONG = (401, "signature.wrong")
VECTORS = {
    "single": (ONE, OF_ONE, PROVEN),
    "batch, its first element": (PAIR, OF_ONE, PROVEN),
    "batch, whole": (PAIR, OF_PAIR, PROVEN),
    "beyond ASCII": (UMLAUT.encode(), OF_UMLAUT, PROVEN),
    "written anew, as signed before": (ESCAPED, OF_UMLAUT, WRONG),
    "as it was, signed as written anew": (UMLAUT.encode(), OF_ESCAPED, WRONG),
    "single, signed as the batch": (ONE, OF_PAIR, WRONG),
    "another first element": (b"[" + TWO + b"," + ONE + b"]", OF_ONE, WRONG),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_vectors_of_the_contract_at_the_running_door(
    served: Served, name: str
) -> None:
    body, proof, (status, code) = VECTORS[name]
    before = served.tables()

    answer = served.at.ask(ENGAGE, body, signed(b"") | {"X-Signature": proof})

    assert (answer.status, answer.code) == (status, code), answer.text
    assert served.tables() == before


# ---- forgeries -----------------------------------------------------------------------


def event(number: int, **fields: Any) -> bytes:
    """A whole event about one person."""
    (person,) = people(1, number)
    return as_bytes(identify(person, key="forged", **fields))


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A batch as Segment sent it, and what a thief of it can show."""

    signed_today: bool
    factor: dict[str, str] = field(default_factory=dict)
    path: str = ENGAGE
    refused: tuple[int, str]


CAPTURED = {
    "no second factor asked for": Captured(
        signed_today=True, path=SINGLE_ONLY, refused=(403, "batch.unproven")
    ),
    "the second factor not shown": Captured(
        signed_today=True, refused=(401, "second_factor")
    ),
    "a guessed second factor": Captured(
        signed_today=True,
        factor={"X-Syncd-Key": "demo-second-factos"},
        refused=(401, "second_factor"),
    ),
    "signed whole": Captured(signed_today=False, refused=(401, "second_factor")),
    "signed whole, at the door of singles": Captured(
        signed_today=False, path=SINGLE_ONLY, refused=(401, "signature.wrong")
    ),
}


@pytest.mark.parametrize("name", CAPTURED)
def test_a_captured_batch_with_a_forged_tail_changes_nothing(
    served: Served, name: str
) -> None:
    captured = CAPTURED[name]
    first, tail = event(1), event(2, userId="person-forged")
    sent = first if captured.signed_today else b"[" + first + b"]"
    before = served.tables()

    answer = served.at.ask(
        captured.path,
        b"[" + first + b"," + tail + b"]",
        JSON | captured.factor | {"X-Signature": signature(sent)},
    )

    assert (answer.status, answer.code) == captured.refused, answer.text
    assert served.tables() == before


def test_who_has_the_second_factor_must_have_the_signature_as_well(
    served: Served,
) -> None:
    before = served.tables()
    whole = {"X-Segment-Signature": signature(event(1)), "X-Syncd-Key": "guess"}
    body = b"[" + event(1) + b"," + event(2) + b"]"

    forged = [
        served.at.ask(ENGAGE, body, signed(event(2))),
        served.at.ask(ENGAGE, body, signed(event(1)) | whole),
        served.at.ask(
            ENGAGE, body, signed(b"") | {"X-Segment-Signature": signature(event(1))}
        ),
    ]

    assert [each.status for each in forged] == [401] * 3
    assert served.tables() == before


FLIPPED = {
    "single": (SINGLE_ONLY, event(10), 1),
    "single with a second factor": (ENGAGE, event(11), 3),
    "batch, signed whole": (ENGAGE, b"[" + event(12) + b"," + event(13) + b"]", 5),
}


@pytest.mark.parametrize("name", FLIPPED)
def test_a_flipped_bit_of_the_body_is_refused_and_changes_nothing(
    served: Served, name: str
) -> None:
    path, body, every = FLIPPED[name]
    headers, before = signed(body), served.tables()

    statuses: Counter[tuple[int, str]] = Counter()
    for place in range(0, len(body), every):
        for bit in {place % 8, 5 if every == 1 else place % 8}:
            changed = bytearray(body)
            changed[place] ^= 1 << bit
            answer = served.at.ask(path, bytes(changed), headers)
            statuses[answer.status, answer.code] += 1

    assert statuses.keys() == {WRONG}
    assert statuses[WRONG] >= len(body) // every
    assert served.tables() == before
    assert served.at.ask(path, body, headers).status == 200


def test_a_flipped_bit_of_the_first_element_of_a_batch_changes_nothing(
    served: Served,
) -> None:
    first, second = event(20), event(21)
    body, headers = b"[" + first + b"," + second + b"]", signed(first)
    before = served.tables()

    statuses = set()
    for place in range(len(first) + 1):
        changed = bytearray(body)
        changed[place] ^= 1 << place % 8
        statuses.add(served.at.ask(ENGAGE, bytes(changed), headers).status)

    assert statuses == {401}
    assert served.tables() == before
    assert served.at.ask(ENGAGE, body, headers).status == 200


@pytest.mark.parametrize("header", ["X-Signature", "X-Syncd-Key"])
def test_a_flipped_bit_of_a_proof_is_refused_and_changes_nothing(
    served: Served, header: str
) -> None:
    body = event(30)
    headers, before = signed(body), served.tables()

    statuses = set()
    for place, letter in enumerate(headers[header]):
        for bit in range(7):
            value = chr(ord(letter) ^ (1 << bit))
            if value.isprintable() and not value.isspace():
                text = headers[header][:place] + value + headers[header][place + 1 :]
                answer = served.at.ask(ENGAGE, body, headers | {header: text})
                statuses.add(answer.status)

    assert statuses == {401}
    assert served.tables() == before


def test_a_flipped_bit_anywhere_on_the_wire_changes_nothing(served: Served) -> None:
    body = event(40)
    lines = [f"POST {ENGAGE} HTTP/1.1", f"Host: {served.at.where}"]
    lines += [f"{name}: {value}" for name, value in signed(body).items()]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode()
    assert served.at.ask(ENGAGE, body, signed(body)).status == 200
    before = served.state()

    flipped = []
    for place in range(len(head)):
        changed = bytearray(head + body)
        changed[place] ^= 1 << (7 * place) % 8
        flipped.append(bytes(changed))
    answers = _all_at_once(served.at.where, flipped, seconds=2.0)

    refused = [each for each in answers if each.startswith(b"HTTP/1.1 4")]
    assert len(refused) > len(head) // 2
    assert not [each for each in answers if each.startswith(b"HTTP/1.1 5")]
    assert served.state() == before


def _all_at_once(where: str, requests: list[bytes], seconds: float) -> list[bytes]:
    """Send each on a connection of its own; what was answered in that time."""
    answers = []
    with ExitStack() as stack:
        clients = []
        for request in requests:
            client = stack.enter_context(socket.create_connection(_address(where)))
            client.sendall(request)
            clients.append(client)
        until = time.monotonic() + seconds
        for client in clients:
            client.settimeout(max(0.01, until - time.monotonic()))
            try:
                answers.append(client.recv(4096))
            except (TimeoutError, ConnectionResetError):
                answers.append(b"")
    return answers


def _address(where: str) -> tuple[str, int]:
    host, _, port = urlsplit(f"//{where}").netloc.partition(":")
    return host, int(port)


# ---- a crowd -------------------------------------------------------------------------

STALLED = 1_000
DEADLINE = 10.0
"""Seconds from the first byte of a request to its last."""
MIB = 1 << 20
MOST_MEMORY = 256 * MIB
SLOWEST = 0.5
"""Seconds, of 99 of 100 legitimate requests."""
HALF_HEAD = f"POST {ENGAGE} HTTP/1.1\r\nHost: a\r\nX-Signature: 0a".encode()
FORGED_HEAD = (
    f"POST {SINGLE_ONLY} HTTP/1.1\r\nHost: a\r\nX-Signature: {'0' * 40}\r\n".encode()
)
HALF_BODY = FORGED_HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 60_000
HALF_CHUNK = FORGED_HEAD + b"Transfer-Encoding: chunked\r\n\r\nffff\r\n" + b"x" * 9_000
LONG_HEAD = HALF_HEAD + b"0" * 12_000


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    """How many this process and those it starts may open; hard limits stay."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


@dataclass
class Client:
    """One that stalls."""

    began: float
    drips: bool
    sent: int = 0
    answer: bytes = b""
    ended: float | None = None


class Crowd:
    """Clients that send half of a request, or a byte of it now and then. One thread."""

    def __init__(self, where: str) -> None:
        self.clients: dict[socket.socket, Client] = {}
        self.complete = threading.Event()
        self._where = where
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._stall)
        self._thread.start()

    @property
    def all(self) -> list[Client]:
        """Everyone, once the crowd has dispersed."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return list(self.clients.values())

    def _stall(self) -> None:
        halves = (HALF_HEAD, HALF_BODY, LONG_HEAD, HALF_CHUNK, b"P")
        for number in range(STALLED):
            half = halves[number % len(halves)]
            one = socket.create_connection(_address(self._where))
            one.sendall(half)
            one.setblocking(False)
            self.clients[one] = Client(time.monotonic(), drips=half == b"P", sent=1)
            self._selector.register(one, selectors.EVENT_READ)
        self.complete.set()
        drip, until = time.monotonic(), time.monotonic() + 2 * DEADLINE
        while self._selector.get_map() and time.monotonic() < until:
            for key, _ in self._selector.select(0.05):
                self._hear(key.fileobj)
            if time.monotonic() - drip > 0.4:
                drip = time.monotonic()
                self._drip()
        for one in self.clients:
            one.close()

    def _hear(self, one: Any) -> None:
        client = self.clients[one]
        try:
            piece = one.recv(4096)
        except ConnectionError:
            piece = b""
        client.answer += piece
        if not piece:
            client.ended = time.monotonic() - client.began
            self._selector.unregister(one)

    def _drip(self) -> None:
        for one, client in self.clients.items():
            if client.drips and client.ended is None:
                try:
                    one.send(HALF_HEAD[client.sent : client.sent + 1])
                    client.sent += 1
                except OSError:
                    client.drips = False  # it is about to be heard of


class Legitimate:
    """Senders of signed events, on kept connections and on new ones."""

    def __init__(self, daemon: Running, threads: int = 4) -> None:
        self._url = daemon.url()
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.acknowledged: set[str] = set()
        self._threads = [
            threading.Thread(target=self._send, args=(number,))
            for number in range(threads)
        ]
        for each in self._threads:
            each.start()

    def stop(self) -> None:
        """No more."""
        self._over.set()
        for each in self._threads:
            each.join(PATIENCE)

    def p99(self) -> float:
        """Seconds."""
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]

    def _send(self, number: int) -> None:
        client = Knocking(self._url)
        for person in people(100_000, number * 100_000):
            if self._over.wait(0.01):
                break
            began = time.monotonic()
            try:
                status = client.engage(identify(person)).status
            except (OSError, http.client.HTTPException):
                status = 0  # cut off
            self.seconds.append(time.monotonic() - began)
            self.statuses[status] += 1
            if status == 200:
                self.acknowledged.add(person)
            if int(person[-1]) == number:  # now and then one comes anew
                client.close()
        client.close()


def endless(where: str, head: bytes, piece: bytes) -> bytes:
    """Send 200 MiB whatever is answered, until the connection ends; the answer."""
    with socket.create_connection(_address(where), timeout=PATIENCE) as client:
        client.sendall(head)
        try:
            for _ in range(200 * MIB // len(piece)):
                client.sendall(piece)
        except ConnectionError:
            pass
        try:
            return client.recv(4096)
        except ConnectionError:
            return b""


def _memory(daemon: Running, name: str) -> int:
    """Bytes; `VmRSS` now, `VmHWM` the most there ever was."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    (line,) = (each for each in status.splitlines() if each.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _open_files_allowed(daemon: Running) -> int:
    limits = Path(f"/proc/{daemon.process.pid}/limits").read_text()
    (line,) = (each for each in limits.splitlines() if "open files" in each)
    return int(line.split()[3])


PIECE = b"x" * 65_536
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
MASSES: dict[str, Callable[[str], bytes]] = {
    "announced": lambda where: endless(
        where, FORGED_HEAD + b"Content-Length: %d\r\n\r\n" % (200 * MIB), PIECE
    ),
    "in chunks": lambda where: endless(
        where, FORGED_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK
    ),
    "in chunks, where batches come": lambda where: endless(
        where,
        f"POST {ENGAGE} HTTP/1.1\r\nHost: a\r\n".encode()
        + b"".join(f"{n}: {v}\r\n".encode() for n, v in signed(b"").items())
        + b"Transfer-Encoding: chunked\r\n\r\n",
        CHUNK,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What was measured while a daemon was attacked."""

    stalled: list[Client]
    masses: dict[str, bytes]
    legitimate: Legitimate
    health: set[int]
    healthcheck: int
    most_memory: int
    open_files: int
    stored: set[str]
    log: str


@pytest.fixture(scope="module")
def attack(
    tmp_path_factory: pytest.TempPathFactory, simulator_for_all: Simulator
) -> Iterator[Attack]:
    """A thousand clients stall, three send without an end, four are as they should be.

    Of a daemon that was allowed 1,024 open files when it started.
    """
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("attacked")
        installation = Installation(folder, simulator_for_all, stack)
        configure(installation)
        with descriptors(soft=1024):
            daemon = installation.start("serve")
        stack.enter_context(descriptors(soft=STALLED + 1_024))
        yield _attacked(installation, daemon, stack)


def _attacked(installation: Installation, daemon: Running, stack: ExitStack) -> Attack:
    where = urlsplit(daemon.url()).netloc
    legitimate = Legitimate(daemon)
    stack.callback(legitimate.stop)
    crowd = Crowd(where)
    assert crowd.complete.wait(PATIENCE)

    masses = {name: send(where) for name, send in MASSES.items()}
    admin = Knocking(daemon.url("admin"))
    stack.callback(admin.close)
    health = {admin.ask("/-/healthy", method="GET").status for _ in range(20)}
    healthcheck = installation.syncd("healthcheck").code
    stalled = crowd.all
    legitimate.stop()
    most_memory, open_files = _memory(daemon, "VmHWM"), _open_files_allowed(daemon)
    assert daemon.stop() == 0

    return Attack(
        stalled=stalled,
        masses=masses,
        legitimate=legitimate,
        health=health,
        healthcheck=healthcheck,
        most_memory=most_memory,
        open_files=open_files,
        stored={person for *_, person in words(installation.database)},
        log=daemon.text,
    )


def test_legitimate_requests_are_answered_as_fast_as_ever(attack: Attack) -> None:
    assert attack.legitimate.statuses.keys() == {200}
    assert sum(attack.legitimate.statuses.values()) > 500
    assert attack.legitimate.p99() < SLOWEST


def test_what_was_acknowledged_during_an_attack_is_stored_and_nothing_else(
    attack: Attack,
) -> None:
    assert attack.legitimate.acknowledged == attack.stored


def test_a_stalled_client_is_closed_ten_seconds_after_its_first_byte(
    attack: Attack,
) -> None:
    late = [each for each in attack.stalled if b" 408 " in each.answer[:20]]

    # The others made room for those who came after them, or were refused at once.
    assert len(late) > STALLED // 2
    assert all(each.ended and each.ended > DEADLINE - 1 for each in late)
    assert all(each.ended and each.ended < DEADLINE + 2 for each in attack.stalled)
    assert any(each.drips and each.sent > 10 for each in attack.stalled)


@pytest.mark.parametrize("name", MASSES)
def test_a_body_of_200_mib_is_too_long(attack: Attack, name: str) -> None:
    assert attack.masses[name].startswith(b"HTTP/1.1 413 ")


def test_an_attack_costs_little_memory(attack: Attack) -> None:
    assert attack.most_memory < MOST_MEMORY


def test_an_attacked_daemon_is_healthy(attack: Attack) -> None:
    assert attack.health == {200}
    assert attack.healthcheck == 0


def test_a_daemon_allows_itself_the_open_files_that_its_connections_need(
    attack: Attack,
) -> None:
    assert attack.open_files > STALLED + 100


def test_an_attack_is_told_without_ids_or_secrets(attack: Attack) -> None:
    assert '"reason":"http.deadline"' in attack.log
    assert_nothing_leaked(attack.log, also=["acme.test"])


def test_a_daemon_that_may_not_hold_its_connections_says_so(
    installation: Installation,
) -> None:
    configure(installation)
    command = installation.command("serve")

    refused = subprocess.run(
        ["sh", "-c", 'ulimit -n 512 && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=PROJECT,
    )

    assert refused.returncode != 0
    said = refused.stdout + refused.stderr
    assert "1000 connections need 1256 open files, the system allows 512" in said
    assert "web.inbound.max_connections" in said
    assert "web.listening" not in said
