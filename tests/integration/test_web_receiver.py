"""The receiver over real sockets: doors, bodies, the intake, and every refusal."""

import http.client
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import StoreUnavailable
from syncd.model import Message
from syncd.sources.door import Delivery, Door, Head, Refused, Reply, Stored
from syncd.store.inbox import Taken
from syncd.store.intake import IntakeFull
from syncd.web.body import Budget
from syncd.web.receiver import Receiver
from syncd.web.refusals import Refusals
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from syncd.web.threads import Threads
from tests.builders import PATIENCE

LIMIT = 1 << 20
Answer = tuple[int, Any, Mapping[str, str]]


@dataclass(slots=True)
class FakeDoor:
    """Takes `{"ids": […], "results": {…}}`, and does what its attributes say."""

    connection: str = "engage"
    path: str = "/in/engage"
    max_body: int = LIMIT
    refuses: Refused | None = None
    breaks: Exception | None = None
    slow_store: bool = False
    heads: list[Head] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    hold: threading.Event | None = None

    def admit(self, head: Head) -> None:
        self.heads.append(head)
        if self.refuses is not None:
            raise self.refuses

    def read(self, head: Head, body: bytes) -> Delivery | Reply:
        self.threads.append(threading.current_thread().name)
        if self.hold is not None:
            assert self.hold.wait(PATIENCE)
        if self.breaks is not None:
            raise self.breaks
        if head.method == "GET" or body.startswith(b" "):
            return Reply(status=200, body={"length": len(body), "rest": head.path})
        said = orjson.loads(body)
        messages = [
            Message(connection=self.connection, id=each) for each in said["ids"]
        ]
        return Delivery(
            messages=messages, results=said.get("results", {}), reply=answered
        )

    def asks_store(self, head: Head) -> bool:
        return self.slow_store


def answered(stored: Stored) -> Reply:
    return Reply(
        status=200,
        body={"new": stored.messages, "known": stored.duplicates},
        headers={"X-Kept": "yes"},
    )


class FakeIntake:
    """Stores in memory; fails, waits or is full where it is told to."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.results: list[Mapping[str, int]] = []
        self.fails: Exception | None = None
        self.refuses: Exception | None = None
        self.waits = False
        self.waiting: list[Future[Taken]] = []
        self.asked = threading.Semaphore(0)

    def submit(
        self, connection: str, messages: Sequence[Message], results: Mapping[str, int]
    ) -> Future[Taken]:
        future: Future[Taken] = Future()
        if self.refuses is not None:
            raise self.refuses
        self.asked.release()
        self.results.append(dict(results))
        if self.fails is not None:
            future.set_exception(self.fails)
            return future
        new = [each.id for each in messages if each.id not in self.stored]
        self.stored += new
        taken = Taken(
            messages=len(new), duplicates=len(messages) - len(new), people=len(new)
        )
        if self.waits:
            self.waiting.append(future)
        else:
            # From another thread, as the real one answers.
            threading.Thread(target=future.set_result, args=(taken,)).start()
        return future


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedClock(Clock):
    """Monotonic time that a test moves."""

    seconds: list[float] = field(default_factory=lambda: [0.0])

    def monotonic(self) -> float:
        return self.seconds[0]


@dataclass(slots=True, kw_only=True)
class World:
    """A served receiver and its parts."""

    server: WebServer
    doors: list[FakeDoor]
    intake: FakeIntake
    refusals: Refusals
    budget: Budget
    open: list[bool]

    @property
    def door(self) -> FakeDoor:
        return self.doors[0]

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(
            "127.0.0.1", self.server.port, timeout=PATIENCE
        )

    def post(
        self,
        content: Any = b'{"ids": ["m1"]}',
        path: str = "/in/engage",
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = self.client()
        try:
            client.request(method, path, content, named)
            return answer_of(client)
        finally:
            client.close()


def answer_of(client: http.client.HTTPConnection) -> Answer:
    answer = client.getresponse()
    body = answer.read()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, orjson.loads(body) if body else None, headers


@contextmanager
def receiving(
    *doors: FakeDoor,
    intake: FakeIntake | None = None,
    budget: Budget | None = None,
    threads: Threads | None = None,
    patience: float = PATIENCE,
    clock: Clock | None = None,
) -> Iterator[World]:
    own_threads = threads or Threads("door", size=2, waiting=8)
    refusals = Refusals(clock or Clock())
    shown: list[FakeDoor] = list(doors) or [FakeDoor()]
    accepting = [True]
    intake, budget = intake or FakeIntake(), budget or Budget()

    def current() -> Sequence[Door]:
        return shown

    app = Receiver(
        current,
        intake,
        clock or Clock(),
        refusals=refusals,
        threads=own_threads,
        accepting=lambda: accepting[0],
        budget=budget,
        patience=patience,
    )
    server = WebServer("inbound", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    try:
        yield World(
            server=server,
            doors=shown,
            intake=intake,
            refusals=refusals,
            budget=budget,
            open=accepting,
        )
    finally:
        server.stop()
        own_threads.stop()


@pytest.fixture
def world() -> Iterator[World]:
    with receiving() as world:
        yield world


def code(answer: Answer) -> str:
    assert set(answer[1]["error"]) == {"code", "message", "hint"}
    return str(answer[1]["error"]["code"])


# ---- taken --------------------------------------------------------------------------


def test_what_is_stored_is_answered_by_the_door_and_only_then(world: World) -> None:
    world.intake.waits = True
    client = world.client()
    client.request("POST", "/in/engage", b'{"ids": ["m1", "m2"]}')
    assert world.intake.asked.acquire(timeout=PATIENCE)
    client.sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.sock.recv(1)

    client.sock.settimeout(PATIENCE)
    world.intake.waiting[0].set_result(Taken(messages=2, duplicates=0, people=2))
    status, body, headers = answer_of(client)

    assert (status, body) == (200, {"new": 2, "known": 0})
    assert headers["x-kept"] == "yes"
    assert headers["content-type"] == "application/json"
    client.close()


def test_a_door_that_answers_at_once_stores_nothing(world: World) -> None:
    status, body, _ = world.post(method="GET", content=None, path="/in/engage/a/b?c=d")

    assert (status, body) == (200, {"length": 0, "rest": "/a/b"})
    assert world.intake.results == []


def test_counts_of_what_was_left_out_are_stored_even_without_a_message(
    world: World,
) -> None:
    status, _, _ = world.post(b'{"ids": [], "results": {"anonymous": 2}}')

    assert status == 200
    assert world.intake.results == [{"anonymous": 2}]


def test_the_door_is_handed_the_head_in_the_form_it_knows(world: World) -> None:
    world.post(path="/in/engage/%C3%A4%20b", X_Signature="AbC", method="PUT")

    head = world.door.heads[0]
    assert head.method == "PUT"
    assert head.path == "/ä b"
    assert head.headers["x-signature"] == "AbC"


@pytest.mark.parametrize(
    ("path", "connection"),
    [
        ("/in/engage", "engage"),
        ("/in/engage/", "engage"),
        ("/in/engage/webhook", "engage"),
        ("/in/engage/deep", "deep"),
        ("/in/engage/deep/er", "deep"),
        ("/in/engage/deeper", "engage"),
    ],
)
def test_the_door_with_the_longest_path_of_whole_segments_is_found(
    path: str, connection: str
) -> None:
    doors = FakeDoor(), FakeDoor(connection="deep", path="/in/engage/deep")
    with receiving(*doors) as world:
        world.post(path=path)

    assert [door.connection for door in doors if door.heads] == [connection]


@pytest.mark.parametrize("path", ["/", "/in", "/in/engage2", "/in/other", "/IN/engage"])
def test_a_path_without_a_door_is_not_found(world: World, path: str) -> None:
    answer = world.post(path=path)

    assert answer[0] == 404
    assert code(answer) == "path"


def test_doors_may_change_while_it_serves(world: World) -> None:
    assert world.post(path="/in/new")[0] == 404

    world.doors.append(FakeDoor(connection="new", path="/in/new"))

    assert world.post(path="/in/new")[0] == 200


# ---- threads ------------------------------------------------------------------------


def test_short_bodies_are_read_on_the_loop_and_long_ones_are_not(world: World) -> None:
    world.post(b" " * (64 * 1024))
    world.post(b" " * (64 * 1024 + 1))

    assert world.door.threads == ["inbound", "door-1"]


def test_a_door_that_asks_the_store_holds_nobody_up() -> None:
    slow = FakeDoor(path="/in/slow", slow_store=True, hold=threading.Event())
    with receiving(slow, FakeDoor()) as world:
        waiting = world.client()
        waiting.request("POST", "/in/slow", b" ")
        meanwhile = world.post()
        assert slow.hold is not None
        slow.hold.set()

        assert answer_of(waiting)[0] == 200
        assert meanwhile[0] == 200
        waiting.close()


def test_more_long_reads_than_may_wait_are_told_to_come_back() -> None:
    slow = FakeDoor(slow_store=True, hold=threading.Event())
    with receiving(slow, threads=Threads("door", size=1, waiting=0)) as world:
        waiting = world.client()
        waiting.request("POST", "/in/engage", b" ")
        while not slow.threads:
            pass
        answer = world.post(b" ")
        assert slow.hold is not None
        slow.hold.set()

        assert answer_of(waiting)[0] == 200
        waiting.close()
    assert answer[0] == 503
    assert code(answer) == "web.busy"
    assert answer[2]["retry-after"] == "5"


# ---- refused ------------------------------------------------------------------------


def test_a_refusal_keeps_its_status_its_code_and_its_words(world: World) -> None:
    world.door.refuses = Refused(422, "no personas", code="schema", hint="map them")

    answer = world.post()

    assert answer[0] == 422
    assert answer[1] == {
        "error": {"code": "schema", "message": "no personas", "hint": "map them"}
    }
    assert world.intake.stored == []


def test_wrong_credentials_are_asked_for_in_the_way_amplitude_sends_them(
    world: World,
) -> None:
    world.door.refuses = Refused(401, "wrong key", code="credentials")

    assert world.post()[2]["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_methods_that_no_door_takes_are_refused(world: World, method: str) -> None:
    status, _, headers = world.post(None, method=method)

    assert status == 405
    assert headers["allow"] == "POST"
    assert world.door.heads == []


def test_a_long_body_is_refused_by_its_announcement(world: World) -> None:
    client = world.client()
    client.putrequest("POST", "/in/engage")
    client.putheader("Content-Length", str(LIMIT + 1))
    client.endheaders()

    answer = answer_of(client)

    assert answer[0] == 413
    assert code(answer) == "too_long"
    assert answer[2]["connection"] == "close"
    client.close()


def test_a_body_at_the_limit_is_taken(world: World) -> None:
    assert world.post(b" " * LIMIT)[1]["length"] == LIMIT


def test_a_long_body_in_chunks_is_refused_while_it_arrives(world: World) -> None:
    client = world.client()
    client.putrequest("POST", "/in/engage")
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()
    try:
        for _ in range(200):
            client.send(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass  # the server need not hear out all of it

    answer = answer_of(client)
    assert answer[0] == 413
    assert answer[2]["connection"] == "close"
    client.close()


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_refused(world: World, encoding: str) -> None:
    answer = world.post(Content_Encoding=encoding)

    assert answer[0] == 415
    assert code(answer) == "encoding"


def test_a_body_that_says_it_is_not_compressed_is_taken(world: World) -> None:
    assert world.post(Content_Encoding="identity")[0] == 200


def test_a_compressed_transfer_is_refused(world: World) -> None:
    client = world.client()
    client.putrequest("POST", "/in/engage")
    client.putheader("Transfer-Encoding", "gzip, chunked")
    client.endheaders()

    assert answer_of(client)[0] == 415
    client.close()


def test_wrong_credentials_are_told_before_the_body_is_sent(world: World) -> None:
    world.door.refuses = Refused(401, "wrong key", code="credentials")
    client = world.client()
    client.putrequest("POST", "/in/engage")
    client.putheader("Content-Length", str(LIMIT))
    client.putheader("Expect", "100-continue")
    client.endheaders()

    status, _, headers = answer_of(client)

    assert status == 401
    assert headers["connection"] == "close"
    client.close()


def test_many_long_bodies_at_once_are_refused_and_short_ones_are_not() -> None:
    with receiving(budget=Budget(limit=LIMIT)) as world:
        held = world.client()
        held.putrequest("POST", "/in/engage")
        held.putheader("Content-Length", str(LIMIT))
        held.endheaders()
        held.send(b" " * (LIMIT - 1))
        while world.budget.used < LIMIT // 2:
            pass

        second = world.post(b" " * LIMIT)
        short = world.post()
        held.send(b" ")

        assert second[0] == 503
        assert second[2]["retry-after"] == "5"
        assert code(second) == "memory"
        assert short[0] == 200
        assert answer_of(held)[1]["length"] == LIMIT
        assert world.budget.used == 0
        held.close()


def test_a_client_that_hangs_up_gives_its_bytes_back(world: World) -> None:
    gone = world.client()
    gone.putrequest("POST", "/in/engage")
    gone.putheader("Content-Length", str(LIMIT))
    gone.endheaders()
    gone.send(b" " * (LIMIT - 1))
    while not world.budget.used:
        pass

    gone.close()

    while world.budget.used:
        pass
    assert world.door.threads == [], "half a body is not read"


# ---- not the sender's fault ----------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"refuses": IntakeFull("100000 people wait")}, "inbox.full"),
        ({"refuses": StoreUnavailable("stopped")}, "store.unavailable"),
        ({"fails": StoreUnavailable("disk full on /var/lib/x")}, "store.unavailable"),
    ],
)
def test_what_cannot_be_stored_is_to_be_sent_again(
    world: World, broken: dict[str, Exception], said: str
) -> None:
    for name, error in broken.items():
        setattr(world.intake, name, error)

    answer = world.post()

    assert answer[0] == 503
    assert code(answer) == said
    assert answer[2]["retry-after"] == "5"
    assert "/var/lib" not in str(answer[1]), "a stranger learns nothing of our disk"


def test_a_store_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    intake = FakeIntake()
    intake.waits = True
    with receiving(intake=intake, patience=0.2) as world:
        answer = world.post()

    assert answer[0] == 503
    assert code(answer) == "store.slow"


def test_what_was_called_off_is_not_stored_behind_the_senders_back() -> None:
    intake = FakeIntake()
    intake.waits = True
    with receiving(intake=intake, patience=0.2) as world:
        world.post()

    assert intake.waiting[0].cancelled()


def test_while_it_starts_or_stops_everything_is_to_be_sent_again(world: World) -> None:
    world.open[0] = False

    refused = world.post()
    unknown = world.post(path="/nowhere")
    world.open[0] = True

    assert (refused[0], unknown[0]) == (503, 503)
    assert world.post()[0] == 200


def test_a_bug_of_ours_is_answered_and_logged_without_what_was_sent(
    world: World,
) -> None:
    world.door.breaks = KeyError("ada@example.com")

    with capture_logs() as lines:
        answer = world.post()
        world.door.breaks = None
        well = world.post()

    assert answer[0] == 500
    assert "ada" not in str(answer[1])
    assert well[0] == 200
    crash = only(lines, "daemon.crashed")
    assert crash["error"] == "KeyError"
    assert crash["connection"] == "engage"
    assert "ada" not in str({k: v for k, v in crash.items() if k != "exc_info"})


def test_a_stopped_server_answers_who_still_waits_for_the_store() -> None:
    intake = FakeIntake()
    intake.waits = True
    with receiving(intake=intake) as world:
        client = world.client()
        client.request("POST", "/in/engage", b'{"ids": ["m1"]}')
        assert intake.asked.acquire(timeout=PATIENCE)
        stopping = threading.Thread(target=world.server.stop)
        stopping.start()
        intake.waiting[0].set_result(Taken(messages=1, duplicates=0, people=1))

        assert answer_of(client)[0] == 200
        stopping.join(PATIENCE)
        client.close()


# ---- told and counted ---------------------------------------------------------------


def only(lines: Sequence[Mapping[str, Any]], event: str) -> Mapping[str, Any]:
    found = [line for line in lines if line["event"] == event]
    assert len(found) == 1, found
    return found[0]


def counted(connection: str, result: str) -> float:
    value = metrics.REGISTRY.get_sample_value(
        "syncd_inbox_events_total", {"connection": connection, "result": result}
    )
    return value or 0.0


def test_refusals_are_counted_by_status_and_told_once_a_minute() -> None:
    clock = StoppedClock()
    with receiving(FakeDoor(connection="folded"), clock=clock) as world:
        world.door.refuses = Refused(401, "wrong key", code="credentials")
        with capture_logs() as first:
            for _ in range(5):
                world.post(path="/in/engage/ada@example.com")
        clock.seconds[0] = 61.0
        with capture_logs() as later:
            world.refusals.flush()
            world.refusals.flush()

    told = only(first, "inbox.rejected")
    assert told["count"] == 1
    assert told["reason"] == "credentials"
    assert told["path"] == "/in/engage", "never what a stranger asked for"
    assert only(later, "inbox.rejected")["count"] == 4
    assert counted("folded", "refused_401") == 5


def test_what_a_door_left_out_is_told_where_it_is_a_loss(world: World) -> None:
    said = {"unknown_value": 3, "anonymous": 2, "ignored": 1, "test": 4}

    with capture_logs() as lines:
        world.post(orjson.dumps({"ids": ["m1"], "results": said}))

    told = only(lines, "inbox.rejected")
    assert (told["reason"], told["count"]) == ("unknown_value", 3)
    assert only(lines, "inbox.tested")["count"] == 4


def test_a_repeated_message_is_no_rejection(world: World) -> None:
    with capture_logs() as lines:
        world.post()
        answer = world.post()

    assert answer[1] == {"new": 0, "known": 1}
    assert [line for line in lines if line["event"].startswith("inbox")] == []


def test_the_time_of_each_request_is_measured() -> None:
    with receiving(FakeDoor(connection="timed")) as world:
        world.post()
        world.post(b"{")

    assert (
        metrics.REGISTRY.get_sample_value(
            "syncd_inbox_request_duration_seconds_count", {"connection": "timed"}
        )
        == 2
    )


def test_before_authentication_nothing_of_a_request_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    calls: list[Callable[[], Answer]] = [
        lambda: world.post(path="/nowhere/ada@example.com"),
        lambda: world.post(path="/in/engage/ada@example.com", X="ada@example.com"),
    ]
    world.door.refuses = Refused(401, "wrong key", code="credentials")

    with capture_logs() as lines:
        statuses = [call()[0] for call in calls]

    assert statuses == [404, 401]
    assert "ada" not in caplog.text + str(lines)
