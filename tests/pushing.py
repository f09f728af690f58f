"""Pushes many signed events of Engage at a daemon and marks those it acknowledged.

`story` makes the events, `newest` says what must come of them: people with several
events each, of which some have the same time, so that the message's id decides.

As a process (`python -m tests.pushing JSON`, JSON being an `Errand`) it sends them as
Segment does: one signed event a request on kept connections, a share of them twice, in
no order. What was not answered, or with 503, is sent again, the same bytes, through any
number of restarts. For each request with a 2xx a byte of the file `marks` is set the
moment that answer is read. At the end it prints its `Outcome`.

Requests are made beforehand: sending one costs a fraction of what answering it does.
"""

import asyncio
import hmac
import json
import mmap
import os
import random
import subprocess
import sys
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import uvloop

PROJECT = Path(__file__).parents[1]
SECRET = "s3cr3t-key"
SECOND_FACTOR = "demo-second-factor"
MINUTES = 120
"""All events are of so many minutes, at whole ones: some of a person's meet."""
TIMEOUT = 5.0
"""Seconds for an answer, as Segment's classic webhook has them (contract H1)."""
AGAIN = (0.02, 0.4)
"""Seconds until a request is sent again: shorter than Segment's, by chance."""
RECONNECT = 0.02
PAUSE = 0.2
"""Seconds between two acknowledgements: nobody was there, if it is more."""
OK, BUSY = 200, 503


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What is to be sent, and where."""

    port: int
    marks: str
    """The file of marks; made anew."""
    people: int = 1_000
    events: int = 5_000
    duplicates: float = 0.2
    """Sent twice, as a share of the events: these requests come on top."""
    seed: int = 1
    since: int = 0
    """Of the first minute, in seconds since 1970."""
    connections: int = 48
    rate: float = 0.0
    """Requests a second; 0: as many as are answered."""
    path: str = "/in/engage"
    key: str = "vip"
    list_id: str = ""
    """Amplitude's list, for `tests/reliability/killing/parcels.py`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One entry or exit."""

    person: str
    inside: bool
    at: int
    """Seconds since 1970."""
    id: str

    @property
    def rank(self) -> tuple[int, str]:
        """The greater one is newer."""
        return self.at, self.id


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How it went; latencies are of the answers that acknowledged, in seconds."""

    seconds: float
    """From the first byte sent to the last acknowledgement."""
    paused: float
    """Seconds of these in which nobody was there."""
    cpu: float
    """Of the sender itself, without making the requests."""
    answers: dict[str, int]
    """By status."""
    broken: int
    """Connections that ended with a request on them."""
    p50: float
    p99: float
    longest: float


def story(errand: Errand) -> list[Event]:
    """The events, the same for the same errand."""
    dice = random.Random(errand.seed)  # noqa: S311  # repeatable, guards nothing
    return [
        Event(
            f"person-{dice.randrange(errand.people):06d}",
            dice.random() < 0.5,
            errand.since + 60 * dice.randrange(MINUTES),
            f"personas_{dice.getrandbits(108):027x}",
        )
        for _ in range(errand.events)
    ]


def sendings(errand: Errand, count: int) -> list[int]:
    """Numbers of requests in the order in which they are first sent, some twice."""
    dice = random.Random(errand.seed + 1)  # noqa: S311  # as above
    numbers = range(count)
    copies = dice.sample(numbers, round(errand.duplicates * count))
    order = [*numbers, *copies]
    dice.shuffle(order)
    return order


def newest(events: Iterable[Event]) -> dict[str, Event]:
    """The last writer about each person."""
    found: dict[str, Event] = {}
    for event in events:
        if event.person not in found or event.rank > found[event.person].rank:
            found[event.person] = event
    return found


# ---- the process, for tests ---------------------------------------------------------


class Pushing:
    """The sender at work in a process of its own."""

    module = "tests.pushing"
    """Whose `main` sends."""

    def __init__(self, errand: Errand) -> None:
        """Start it; returns once its requests are made and it begins to send them."""
        self.errand = errand
        self.events = story(errand)
        self.order = sendings(errand, self.requests())
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module, json.dumps(asdict(errand))],
            stdout=subprocess.PIPE,
            # `communicate` passes over what was read ahead of the first line.
            bufsize=0,
            cwd=PROJECT,
            env={"PATH": os.defpath, "PYTHONPATH": str(PROJECT)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def requests(self) -> int:
        """How many requests there are, without those that are sent twice."""
        return len(self.events)

    @property
    def numbers(self) -> set[int]:
        """Of the requests that have had a 2xx up to now."""
        marks = Path(self.errand.marks).read_bytes()
        return {n for n, mark in zip(self.order, marks, strict=True) if mark}

    @property
    def acknowledged(self) -> list[Event]:
        """Events that have had a 2xx up to now, in no order."""
        return [self.events[number] for number in self.numbers]

    @property
    def count(self) -> int:
        """Requests that have had a 2xx up to now."""
        return Path(self.errand.marks).read_bytes().count(1)

    def outcome(self, timeout: float) -> Outcome:
        """Wait until everything is answered for good."""
        said, _ = self._process.communicate(timeout=timeout)
        return Outcome(**json.loads(said))

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def pushing(errand: Errand) -> Iterator[Pushing]:
    """A sender that ends with the block."""
    sender = Pushing(errand)
    with ending(sender):
        yield sender


@contextmanager
def ending(sender: Pushing) -> Iterator[None]:
    """However the block ends, the sender does, too."""
    try:
        yield
    finally:
        sender.kill()


# ---- the requests -------------------------------------------------------------------


def request(errand: Errand, event: Event) -> bytes:
    """A webhook as Segment's classic destination sends it (contract 4.1, 5)."""
    content = body(errand, event)
    return framed(errand, errand.path, content, signed(content))


def signed(content: bytes) -> dict[str, str]:
    """Headers of Engage: the signature of the body, and the second factor."""
    signature = hmac.new(SECRET.encode(), content, "sha1").hexdigest()
    return {
        "User-Agent": "Segment.io/1.0",
        "X-Signature": signature,
        "X-Syncd-Key": SECOND_FACTOR,
    }


def framed(
    errand: Errand, path: str, content: bytes, headers: Mapping[str, str]
) -> bytes:
    """A request, byte for byte."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{errand.port}",
        "Content-Type: application/json",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content


def body(errand: Errand, event: Event) -> bytes:
    """An event of Engage as JSON."""
    at = datetime.fromtimestamp(event.at, UTC)
    content = {
        "type": "identify",
        "traits": {errand.key: event.inside, "email": f"{event.person}@mail.example"},
        "context": {
            "personas": {
                "computation_class": "audience",
                "computation_id": "aud_2mBDgcKVzHWKSRbJSSHmWsZxMlR",
                "computation_key": errand.key,
                "namespace": "spa_9YcRgVpmLvbYBYuRxYqRcC",
                "space_id": "spa_9YcRgVpmLvbYBYuRxYqRcC",
            },
            "__segment_internal": {"creator": "sync-worker"},
        },
        "userId": event.person,
        "messageId": event.id,
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.000Z",
        "receivedAt": f"{at:%Y-%m-%dT%H:%M:%S}.868Z",
        "integrations": {"All": False, "Webhooks": True},
    }
    return json.dumps(content, separators=(",", ":")).encode()


# ---- sending ------------------------------------------------------------------------


@dataclass
class Pusher:
    """Hands requests to connections until each of them is answered for good."""

    requests: Sequence[bytes]
    marks: mmap.mmap
    errand: Errand
    dice: random.Random = field(default_factory=random.Random)
    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    """(request, since when it waits by the plan); 0: since it is sent."""
    idle: list["Line"] = field(default_factory=list)
    latencies: array = field(default_factory=lambda: array("d"))
    answers: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    paused: float = 0.0
    last: float = 0.0
    """When an acknowledgement was read."""
    open: int = 0
    """Requests without an answer for good."""

    async def run(self) -> Outcome:
        """Send everything."""
        self.open = len(self.requests)
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()
        began, cpu = perf_counter(), process_time()
        self.last = began
        if self.errand.rate:
            self.release(0, began)
        else:
            self.waiting.extend((number, 0.0) for number in range(self.open))
        lines = [Line(self) for _ in range(self.errand.connections)]
        for line in lines:
            line.connect()
        self.look_for_overdue(lines)
        await self.done
        seconds, cpu = perf_counter() - began, process_time() - cpu
        return outcome(self, seconds, cpu)

    def release(self, first: int, began: float) -> None:
        """Let those wait whose time has come, and come again for the next ones."""
        now, number = perf_counter(), first
        while number < len(self.requests):
            due = began + number / self.errand.rate
            if due > now:
                self.loop.call_later(0.001, self.release, number, began)
                break
            self.offer(number, due)
            number += 1

    def offer(self, number: int, since: float = 0.0) -> None:
        """Let a request wait for a connection; an idle one takes it at once."""
        self.waiting.append((number, since))
        if self.idle:
            self.idle.pop().send()

    def answered(self, number: int, status: int, seconds: float) -> None:
        """An answer was read: it settles the request, or that is sent again."""
        self.answers[status] += 1
        if status == BUSY:
            self.again(number)
            return
        if status == OK:
            self.marks[number] = 1
            self.latencies.append(seconds)
            self._note_pause(perf_counter())
        self.open -= 1
        if not self.open:
            self.done.set_result(None)

    def _note_pause(self, now: float) -> None:
        if now - self.last > PAUSE:
            self.paused += now - self.last
        self.last = now

    def again(self, number: int) -> None:
        """The same request, a little later."""
        self.loop.call_later(self.dice.uniform(*AGAIN), self.offer, number)

    def look_for_overdue(self, lines: list["Line"]) -> None:
        """End connections whose request waits for too long, now and from then on."""
        for line in lines:
            line.end_if_overdue()
        self.loop.call_later(TIMEOUT / 5, self.look_for_overdue, lines)


class Line(asyncio.Protocol):
    """One place for a connection, opened anew whenever it ends."""

    def __init__(self, pusher: Pusher) -> None:
        self.pusher = pusher
        self.transport: Any = None
        self.number: int | None = None
        self.since = self.sent = 0.0
        self.answer = b""

    def connect(self) -> None:
        """Open it, or try again."""
        self.opening = self.pusher.loop.create_task(self._open())

    async def _open(self) -> None:
        try:
            await self.pusher.loop.create_connection(
                lambda: self, "127.0.0.1", self.pusher.errand.port
            )
        except OSError:
            self.pusher.loop.call_later(RECONNECT, self.connect)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        """Send a request that waits, or be idle."""
        pusher = self.pusher
        if not pusher.waiting:
            pusher.idle.append(self)
            return
        self.number, since = pusher.waiting.popleft()
        self.sent = perf_counter()
        self.since = since or self.sent
        self.transport.write(pusher.requests[self.number])

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, end, body = self.answer.partition(b"\r\n\r\n")
        if not end or self.number is None or len(body) < _length(head):
            return
        number, self.number, self.answer = self.number, None, b""
        status = int(head[9:12])
        self.pusher.answered(number, status, perf_counter() - self.since)
        if b"\r\nconnection: close" in head:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        pusher, number = self.pusher, self.number
        self.transport, self.number, self.answer = None, None, b""
        if self in pusher.idle:
            pusher.idle.remove(self)
        if number is not None:
            pusher.broken += 1
            pusher.again(number)
        pusher.loop.call_later(RECONNECT, self.connect)

    def end_if_overdue(self) -> None:
        """Wait no longer than Segment does."""
        if self.number is not None and perf_counter() - self.sent > TIMEOUT:
            self.transport.abort()


def _length(head: bytes) -> int:
    return int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])


def outcome(pusher: Pusher, seconds: float, cpu: float) -> Outcome:
    """What is printed."""
    latencies = sorted(pusher.latencies) or [0.0]
    return Outcome(
        seconds=seconds,
        paused=pusher.paused,
        cpu=cpu,
        answers={str(status): n for status, n in sorted(pusher.answers.items())},
        broken=pusher.broken,
        p50=latencies[len(latencies) // 2],
        p99=latencies[int(len(latencies) * 0.99)],
        longest=latencies[-1],
    )


def send(errand: Errand, made: Sequence[bytes]) -> None:
    """Send these requests, and say how it went."""
    order = sendings(errand, len(made))
    path = Path(errand.marks)
    path.write_bytes(bytes(len(order)))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as marks:
        pusher = Pusher([made[number] for number in order], marks, errand)
        print("ready", flush=True)
        told = uvloop.run(pusher.run())
    print(json.dumps(asdict(told)), flush=True)


def main(text: str) -> None:
    """Send what an errand says."""
    errand = Errand(**json.loads(text))
    send(errand, [request(errand, event) for event in story(errand)])


if __name__ == "__main__":
    main(sys.argv[1])
