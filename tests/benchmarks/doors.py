"""Less than the daemon's door, or worse: what its cost is held against.

`python -m tests.benchmarks.doors KIND FOLDER` serves Engage's door on a free port,
prints that, and ends with its standard input.

bare      the server alone: takes a request in and answers; no door, no store
unstored  the door as it is, in front of an intake that keeps nothing
alone     the door and the store as they are, but each event has a commit of its own
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from syncd.app.remembering import Remembered
from syncd.app.serve import shorten_pauses
from syncd.app.store import opened
from syncd.clock import Clock
from syncd.model import Feed, Message
from syncd.sources.engage_inbox import EngageDoor, EngageDoorSettings, SecondFactor
from syncd.sources.presented import Keys
from syncd.store import inbox
from syncd.store.database import Database
from syncd.store.inbox import Taken
from syncd.store.writer import Writer
from syncd.web.receiver import Intake, Receiver
from syncd.web.refusals import Refusals
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from syncd.web.threads import Threads
from tests.pushing import SECOND_FACTOR, SECRET

CLOCK = Clock()
ANSWER = b'{"accepted":1,"duplicates":0,"ignored":{},"signed":"all"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(ANSWER)).encode()),
    ],
}


class NoLists:
    """Knows no list: events of audiences need none."""

    def name_list(self, feed: Feed, name: str, list_id: str) -> str:
        raise AssertionError("nobody announces an audience here")

    def find(self, connection: str, list_id: str) -> Feed | None:
        raise AssertionError("nobody asks for a list here")


async def bare(_scope: Any, receive: Any, send: Any) -> None:
    """Hear the body out and answer."""
    while (await receive()).get("more_body"):
        pass
    await send(START)
    await send({"type": "http.response.body", "body": ANSWER})


def door() -> EngageDoor:
    """The door of the installation that the daemon serves beside this."""
    factor = Keys(current=SECOND_FACTOR.encode())
    return EngageDoor(
        EngageDoorSettings(
            connection="engage",
            path="/in/engage",
            signature=Keys(current=SECRET.encode()),
            second_factor=SecondFactor(header="x-syncd-key", user=None, keys=factor),
            amplitude_id=(),
            max_body=1 << 20,
            entered_without_value=frozenset(),
            accept=Remembered(Database("sqlite://")).accept,
            clock=CLOCK,
            directory=NoLists(),
            readers={},
        )
    )


class Unstored:
    """Says at once that everything is stored."""

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        """Keep nothing."""
        taken: Future[Taken] = Future()
        count = len(messages)
        taken.set_result(Taken(messages=count, duplicates=0, people=count))
        return taken


class Alone:
    """Commits each delivery by itself."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._thread = ThreadPoolExecutor(1)

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        """Have it committed behind all that came before."""
        take = partial(inbox.take, messages=messages, now=CLOCK.now())
        return self._thread.submit(self._writer.write, take)


@contextmanager
def alone(folder: Path) -> Iterator[Intake]:
    """An intake of that kind on a store of its own."""
    url = f"sqlite:///{folder / 'alone.db'}"
    with opened(url, migration="auto", fast=False) as store:
        writer = Writer(store.database, CLOCK)
        writer.start()
        yield Alone(writer)
        writer.stop()


def behind_the_door(intake: Intake) -> Receiver:
    """The app as the daemon has it."""
    made = door()
    return Receiver(
        lambda: (made,),
        intake,
        CLOCK,
        refusals=Refusals(CLOCK),
        threads=Threads("receiver", size=1),
    )


def serve(app: Callable[..., object]) -> None:
    """Until nobody holds our standard input any more."""
    server = WebServer("inbound", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    shorten_pauses()
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()


def main(kind: str, folder: str) -> None:
    """Serve one kind."""
    match kind:
        case "bare":
            serve(bare)
        case "unstored":
            serve(behind_the_door(Unstored()))
        case "alone":
            with alone(Path(folder)) as intake:
                serve(behind_the_door(intake))
        case _:
            raise SystemExit(f"no kind {kind}")


if __name__ == "__main__":
    main(*sys.argv[1:])
