"""The admin server over a real socket: one word about health, metrics, and tokens."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from syncd import metrics
from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.web.admin import admin_app
from syncd.web.refusals import Denied
from syncd.web.server import WebServer
from syncd.web.sockets import Tcp
from tests.builders import PATIENCE
from tests.integration.served import served

TOKEN = "t" * 32


def yes() -> bool:
    return True


def no() -> bool:
    return False


def broken() -> bool:
    raise ConnectionError("postgres://db.internal does not answer")


@contextmanager
def serving(
    *,
    alive: Callable[[], bool] = yes,
    healthy: Callable[[], bool] = yes,
    ready: Callable[[], bool] = yes,
    token: str | None = None,
    patience: float = PATIENCE,
) -> Iterator[httpx.Client]:
    app = admin_app(
        alive=alive,
        healthy=healthy,
        ready=ready,
        denied=Denied(Clock()),
        token=None if token is None else lambda: token,
        health_patience=patience,
        metrics_patience=patience,
    )
    with served(app) as client:
        yield client


@contextmanager
def collecting(collector: Collector) -> Iterator[None]:
    metrics.REGISTRY.register(collector)
    try:
        yield
    finally:
        metrics.REGISTRY.unregister(collector)


@pytest.mark.parametrize(
    ("ask", "status", "word"),
    [(yes, 200, "ok"), (no, 503, "failing"), (broken, 503, "failing")],
)
def test_health_is_one_word(ask: Callable[[], bool], status: int, word: str) -> None:
    with serving(healthy=ask) as client:
        answer = client.get("/-/healthy")

    assert answer.status_code == status
    assert answer.json() == {"status": word}


def test_where_only_the_store_is_away_a_process_says_that_it_lives() -> None:
    with serving(healthy=broken, ready=no) as client:
        lives = client.get("/-/live")

    with serving(alive=no) as client:
        stands_still = client.get("/-/live")

    assert (lives.status_code, lives.json()) == (200, {"status": "ok"})
    assert (stands_still.status_code, stands_still.json()) == (
        503,
        {"status": "failing"},
    )


@pytest.mark.parametrize(
    ("ask", "status", "word"),
    [(yes, 200, "ok"), (no, 503, "not_ready"), (broken, 503, "not_ready")],
)
def test_readiness_is_one_word(ask: Callable[[], bool], status: int, word: str) -> None:
    with serving(ready=ask, healthy=yes) as client:
        answer = client.get("/-/ready")
        alive = client.get("/-/healthy")

    assert answer.status_code == status
    assert answer.json() == {"status": word}
    assert alive.status_code == 200


def test_a_store_that_hangs_is_unhealthy_and_costs_one_thread() -> None:
    hang = threading.Event()
    asked: list[str] = []

    def hangs() -> bool:
        asked.append(threading.current_thread().name)
        return hang.wait(PATIENCE)

    with serving(healthy=hangs, patience=0.2) as client:
        statuses = [client.get("/-/healthy").status_code for _ in range(4)]
        ready = client.get("/-/ready").status_code
        hang.set()
        while client.get("/-/healthy").status_code != 200:
            pass

    assert statuses == [503] * 4
    assert ready == 200
    assert len(set(asked)) == 1
    assert asked[0].startswith("web-healthy")


def test_metrics_hold_the_processes_own_and_those_that_are_collected() -> None:
    class Members(Collector):
        def collect(self) -> Iterator[GaugeMetricFamily]:
            yield GaugeMetricFamily("syncd_test_members", "Of a test.", value=7)

    with collecting(Members()), serving() as client:
        answer = client.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "syncd_test_members 7.0" in answer.text
    assert "process_resident_memory_bytes" in answer.text


def test_a_collector_that_hangs_holds_nobody_up() -> None:
    hang = threading.Event()

    class Hanging(Collector):
        def describe(self) -> Iterator[GaugeMetricFamily]:
            yield from ()

        def collect(self) -> Iterator[GaugeMetricFamily]:
            hang.wait(PATIENCE)
            yield from ()

    with collecting(Hanging()), serving(patience=0.2) as client:
        slow = client.get("/metrics")
        alive = client.get("/-/healthy")
        hang.set()

    assert slow.status_code == 503
    assert slow.headers["retry-after"] == "5"
    assert alive.status_code == 200


def test_a_collector_with_a_bug_is_logged_and_answered() -> None:
    class Broken(Collector):
        def describe(self) -> Iterator[GaugeMetricFamily]:
            yield from ()

        def collect(self) -> Iterator[GaugeMetricFamily]:
            raise ZeroDivisionError

    with capture_logs() as lines, collecting(Broken()), serving() as client:
        status = client.get("/metrics").status_code

    assert status == 500
    assert [line["error"] for line in lines if line["event"] == "daemon.crashed"] == [
        "ZeroDivisionError"
    ]


@pytest.mark.parametrize(
    ("presented", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
    ],
)
def test_metrics_need_the_token_where_there_is_one(
    presented: str | None, status: int
) -> None:
    headers = {} if presented is None else {"Authorization": presented}

    with serving(token=TOKEN) as client:
        answer = client.get("/metrics", headers=headers)

    assert answer.status_code == status
    assert status == 200 or answer.headers["www-authenticate"].startswith("Bearer")


def test_a_token_beyond_ascii_is_wrong_and_no_crash() -> None:
    with serving(token=TOKEN) as client:
        host, port = client.base_url.host, client.base_url.port
        with socket.create_connection((host, port or 0), timeout=PATIENCE) as raw:
            raw.sendall(
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
                b"Authorization: Bearer \xff\xfe\r\n\r\n"
            )
            answer = raw.recv(4096)

    assert answer.startswith(b"HTTP/1.1 401")


def unreadable() -> str:
    raise SyncdError("no such file")


def empty() -> str:
    return ""


@pytest.mark.parametrize("token", [unreadable, empty])
def test_a_token_that_cannot_be_read_opens_nothing(
    token: Callable[[], str],
) -> None:
    app = admin_app(healthy=yes, ready=yes, denied=Denied(Clock()), token=token)
    server = WebServer("admin", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    try:
        answer = httpx.get(
            f"http://{server.address}/metrics",
            headers={"Authorization": "Bearer"},
            trust_env=False,
        )
    finally:
        server.stop()

    assert answer.status_code == 401


def test_a_token_whose_file_hangs_holds_up_nobody_else() -> None:
    over = threading.Event()

    def hanging() -> str:
        over.wait(PATIENCE)
        return TOKEN

    app = admin_app(
        healthy=yes,
        ready=yes,
        denied=Denied(Clock()),
        token=hanging,
        health_patience=1.0,
    )
    server = WebServer("admin", Tcp(host="127.0.0.1", port=0), app)
    server.start()
    answers: list[int] = []

    def ask(path: str) -> None:
        url = f"http://{server.address}{path}"
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        answers.append(httpx.get(url, headers=bearer, trust_env=False).status_code)

    try:
        scrape = threading.Thread(target=ask, args=("/metrics",))
        scrape.start()
        ask("/-/healthy")
        scrape.join(PATIENCE)
    finally:
        over.set()
        server.stop()

    assert answers == [200, 401]


@pytest.mark.parametrize("path", ["/-/healthy/", "/-/ready/", "/metrics/"])
def test_nobody_is_sent_elsewhere(path: str) -> None:
    with serving() as client:
        assert client.get(path).status_code == 404


def test_health_never_needs_a_token() -> None:
    with serving(token=TOKEN) as client:
        statuses = [client.get(f"/-/{name}").status_code for name in WORDS]

    assert statuses == [200, 200]


WORDS = ("healthy", "ready")


def test_who_was_denied_is_told_once_a_minute_and_never_what_was_tried() -> None:
    with capture_logs() as lines, serving(token=TOKEN) as client:
        for _ in range(5):
            client.get("/metrics", headers={"Authorization": "Bearer guessed-token"})

    told = [line for line in lines if line["event"] == "web.denied"]
    assert [(line["path"], line["count"]) for line in told] == [("/metrics", 1)]
    assert "guessed-token" not in str(lines)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/-/healthy", 405),
        ("POST", "/metrics", 405),
        ("POST", "/v1/run", 404),
        ("GET", "/", 404),
    ],
)
def test_there_is_nothing_else_to_call(method: str, path: str, status: int) -> None:
    with serving() as client:
        assert client.request(method, path).status_code == status
