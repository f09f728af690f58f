"""A real simulator process per test module, put back to its start for every test.

And a receiver for what the simulator sends by itself.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import pytest

from tests.simulated import simulating

APP_ID = 187520
CREDENTIALS = ("demo-api-key", "demo-secret-key")
PATIENCE = 60.0
"""Real seconds after which something that was to happen did not."""


@dataclass
class Sim:
    """Both origins of a running simulator, as a test wants to speak to them."""

    api: httpx.Client
    """The amplitude origin, with the right credentials."""
    control: httpx.Client
    amplitude_url: str
    control_url: str

    def post(self, path: str, body: Any) -> Any:
        """A control call that must work."""
        return self.control.post(path, json=body).raise_for_status().json()

    def get(self, path: str) -> Any:
        """A control read that must work."""
        return self.control.get(path).raise_for_status().json()

    def users(self, *ids: str) -> None:
        """Let these users exist."""
        self.post("/_sim/users", {"user_ids": list(ids)})

    def amplitude_ids(self, *ids: str) -> dict[str, str]:
        """Their Amplitude IDs."""
        found = self.post("/_sim/users/lookup", {"user_ids": list(ids)})
        return dict(found["amplitude_ids"])

    def cohort(self, name: str = "VIP", **fields: Any) -> str:
        """Make a cohort by hand; returns its id."""
        return str(self.post("/_sim/cohorts", {"name": name, **fields})["id"])

    def members(self, cohort_id: str) -> set[str]:
        """Who is in it, in truth."""
        return set(self.get(f"/_sim/cohorts/{cohort_id}/members")["ids"])

    def listed(self, cohort_id: str) -> Any:
        """The cohort as the API's list shows it."""
        cohorts = self.api.get("/api/3/cohorts").raise_for_status().json()["cohorts"]
        return next(one for one in cohorts if one["id"] == cohort_id)

    def upload(self, ids: Any, **fields: Any) -> httpx.Response:
        """Upload with everything required; a field given as None is left out."""
        body = {
            "name": "[Segment] VIP",
            "app_id": APP_ID,
            "id_type": "BY_USER_ID",
            "ids": ids,
            "owner": "growth-ops@acme.example",
            "published": True,
        } | fields
        given = {name: value for name, value in body.items() if value is not None}
        return self.api.post("/api/3/cohorts/upload", json=given)

    def change(
        self, cohort_id: str, operation: str, ids: Iterable[str], **fields: Any
    ) -> httpx.Response:
        """One membership call with one entry; `id_type` may be given."""
        entry = {
            "ids": list(ids),
            "id_type": fields.pop("id_type", "BY_NAME"),
            "operation": operation,
        }
        body = {"cohort_id": cohort_id, "skip_invalid_ids": True} | fields
        return self.api.post(
            "/api/3/cohorts/membership", json={**body, "memberships": [entry]}
        )

    def log(self) -> list[dict[str, Any]]:
        """The request log with what was sent."""
        entries: list[dict[str, Any]] = self.get("/_sim/log?ids=1")["entries"]
        return entries


@pytest.fixture(scope="module")
def simulator_process() -> Iterator[Sim]:
    """A simulator without service time, alive as long as the module."""
    with simulating("--latency", "0") as running:
        amplitude, control = running.origins["amplitude"], running.origins["control"]
        with httpx.Client(base_url=amplitude, auth=CREDENTIALS, timeout=10) as api:
            yield Sim(api, running.control, amplitude, control)


@pytest.fixture
def sim(simulator_process: Sim) -> Sim:
    """The simulator as it was when it started."""
    simulator_process.post("/_sim/reset", {})
    return simulator_process


@dataclass
class Got:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A web server that answers as it is told and keeps what comes."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Of the next answers; 200 when there are no more."""
    answer: Callable[[Got], bytes] = lambda _: b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    busy: int = 0
    most: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    """Requests wait for it."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, one: Got) -> tuple[int, bytes]:
        """Judge one request."""
        with self.lock:
            self.got.append(one)
            self.busy += 1
            self.most = max(self.most, self.busy)
            status = self.statuses.pop(0) if self.statuses else 200
        self.gate.wait(PATIENCE)
        with self.lock:
            self.busy -= 1
        return status, self.answer(one)

    def paths(self) -> list[str]:
        """Where requests went, in order of arrival."""
        return [one.path for one in self.got]

    def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that happens elsewhere."""
        end, never = time.monotonic() + PATIENCE, threading.Event()
        while not true():
            assert time.monotonic() < end
            never.wait(0.01)

    def events(self) -> list[Any]:
        """What came, batches taken apart."""
        read = [one.json for one in self.got]
        return [
            event for one in read for event in (one if type(one) is list else [one])
        ]


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the receiver of its server."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_POST(self) -> None:
        receiver = cast(Any, self.server).receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer = receiver.take(Got(self.command, self.path, headers, body))
        self.send_response(status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST  # noqa: N815 - the name is http.server's

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.gate.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    cast(Any, server).receiver = made
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()
