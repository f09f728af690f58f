"""The control socket: its own user only, JSON both ways, and no way to break it."""

import socket
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from syncd.app.forgetting import MOST
from syncd.errors import DaemonError, SyncdError
from syncd.sync.ids import MAX_BYTES
from syncd.web.control import ControlServer
from syncd.web.control_address import REFUSED, socket_path
from syncd.web.sockets import reachable_path
from tests.builders import PATIENCE

BY_ANA = {"actor": "ana", "via": "cli"}
ASKED = {"sync": "vip", **BY_ANA}
DECIDED = {"run": "1234", "actor": "ana", "via": "cli", "reason": "checked"}

Body = Mapping[str, Any]
Command = Callable[[Body], Body]


def echo(body: Body) -> Body:
    return {"sync": body["sync"], "said": f"hello {body['sync']}"}


def refuse(_: Body) -> Body:
    raise SyncdError("vip is held", code="sync.held", hint="syncd show 1234")


def break_down(_: Body) -> Body:
    raise ZeroDivisionError


def lose_a_key(_: Body) -> Body:
    raise KeyError("sync")


def repeat(body: Body) -> Body:
    return body


@contextmanager
def serving(path: Path, **commands: Command) -> Iterator[httpx.Client]:
    server = ControlServer(path, commands or {"run": echo})
    server.start()
    try:
        transport = httpx.HTTPTransport(uds=reachable_path(path))
        with httpx.Client(
            transport=transport, base_url="http://daemon", timeout=PATIENCE
        ) as client:
            yield client
    finally:
        server.stop()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return socket_path(tmp_path / "syncd.db")


def test_the_socket_lies_beside_the_store_and_only_its_owner_may_open_it(
    path: Path,
) -> None:
    with serving(path):
        kind = path.stat().st_mode

    assert path.name == "syncd.db.sock"
    assert stat.S_ISSOCK(kind)
    assert stat.S_IMODE(kind) == 0o600


def test_a_stopped_server_leaves_no_socket_behind(path: Path) -> None:
    with serving(path):
        assert path.exists()

    assert not path.exists()


def test_the_socket_of_a_dead_daemon_is_replaced(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()

    with serving(path) as client:
        assert client.post("/v1/run", json=ASKED).status_code == 200


def test_a_path_longer_than_the_system_takes_is_reached_through_its_folder(
    tmp_path: Path,
) -> None:
    folder = tmp_path / ("f" * 60) / ("o" * 60)
    folder.mkdir(parents=True)
    path = socket_path(folder / "syncd.db")
    assert len(str(path)) > 108

    with serving(path) as client:
        answer = client.post("/v1/run", json=ASKED)
        mode = stat.S_IMODE(path.stat().st_mode)

    assert answer.json()["said"] == "hello vip"
    assert mode == 0o600
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "nowhere" / "syncd.db.sock", {"run": echo})

    with pytest.raises(DaemonError, match="nowhere"):
        server.start()


def test_a_command_is_answered_in_json(path: Path) -> None:
    with serving(path) as client:
        answer = client.post("/v1/run", json={**ASKED, "sync": "жук"})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"sync": "жук", "said": "hello жук"}


def test_a_refusal_keeps_its_code_its_words_and_the_next_command(path: Path) -> None:
    with serving(path, run=refuse) as client:
        answer = client.post("/v1/run", json=ASKED)

    assert answer.status_code == REFUSED
    assert answer.json() == {
        "error": {
            "code": "sync.held",
            "message": "vip is held",
            "hint": "syncd show 1234",
        }
    }


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"nonsense", b"[]", b'"vip"', b"null", b"1", b"{}", b""],
)
def test_a_malformed_body_is_refused_in_json(path: Path, body: bytes) -> None:
    with serving(path) as client:
        answer = client.post("/v1/run", content=body)
        well = client.post("/v1/run", json=ASKED)

    assert answer.status_code == 400
    assert set(answer.json()["error"]) >= {"code", "message"}
    assert well.status_code == 200


@pytest.mark.parametrize(
    ("verb", "body", "named"),
    [
        ("run", {"actor": "ana", "via": "cli"}, "sync is missing"),
        ("run", {**ASKED, "force": "yes"}, "no field force"),
        ("run", {**ASKED, "sync": 7}, "sync is no text"),
        ("run", {**ASKED, "sync": None}, "sync is no text"),
        ("reject", {**DECIDED, "reason": ["a"]}, "reason is no text"),
        ("reject", {"reason": "checked", "actor": "ana", "via": "cli"}, "run is mis"),
    ],
)
def test_a_body_with_a_missing_or_foreign_field_is_told_which(
    path: Path, verb: str, body: Body, named: str
) -> None:
    with serving(path, run=repeat, reject=repeat) as client:
        answer = client.post(f"/v1/{verb}", json=body)

    assert answer.status_code == 400
    assert named in answer.json()["error"]["message"]


def test_a_decision_may_go_without_a_reason(path: Path) -> None:
    bare = {name: value for name, value in DECIDED.items() if name != "reason"}

    with serving(path, reject=repeat) as client:
        answer = client.post("/v1/reject", json=bare)

    assert answer.json() == {**bare, "reason": None}


def test_the_socket_answers_for_the_daemons_health_too(path: Path) -> None:
    with serving(path) as client:
        assert client.get("/-/healthy").json() == {"status": "ok"}


def test_a_thousand_people_are_named_in_one_command_however_long_their_ids(
    path: Path,
) -> None:
    longest = "x" * MAX_BYTES
    body = {"ids": "\n".join([longest] * MOST), "match": "user_id", **BY_ANA}

    with serving(path, forget=repeat) as client:
        answer = client.post("/v1/forget", json=body)

    assert answer.status_code == 200
    assert answer.json() == body


def test_a_huge_body_is_refused(path: Path) -> None:
    with serving(path) as client:
        answer = client.post("/v1/run", content=b" " * (5 << 20))

    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("GET", "/v1/run", 405), ("POST", "/v1/format-disk", 404), ("POST", "/", 404)],
)
def test_there_is_nothing_else_to_call(
    path: Path, method: str, url: str, status: int
) -> None:
    with serving(path) as client:
        assert client.request(method, url).status_code == status


@pytest.mark.parametrize(
    ("bug", "name"), [(break_down, "ZeroDivisionError"), (lose_a_key, "KeyError")]
)
def test_a_bug_in_a_command_is_called_one_and_the_server_lives(
    path: Path, bug: Command, name: str
) -> None:
    with serving(path, run=bug, fetch=echo) as client:
        broken = client.post("/v1/run", json=ASKED)
        well = client.post("/v1/fetch", json=ASKED)

    assert broken.status_code == 500
    assert broken.json()["error"]["code"] == "internal"
    assert name in broken.json()["error"]["message"]
    assert well.status_code == 200


def test_a_long_command_holds_nobody_up(path: Path) -> None:
    began, finish = threading.Event(), threading.Event()
    answers: list[int] = []

    def run_long(_: Body) -> Body:
        began.set()
        finish.wait(PATIENCE)
        return {}

    with serving(path, run=run_long, fetch=echo) as client:
        asking = threading.Thread(
            target=lambda: answers.append(
                client.post("/v1/run", json=ASKED).status_code
            )
        )
        asking.start()
        assert began.wait(PATIENCE)
        meanwhile = client.post("/v1/fetch", json=ASKED)
        finish.set()
        asking.join(PATIENCE)

    assert meanwhile.status_code == 200
    assert answers == [200]


def test_a_stop_does_not_wait_for_a_command_that_never_ends(path: Path) -> None:
    began, finish = threading.Event(), threading.Event()

    def run_long(_: Body) -> Body:
        began.set()
        finish.wait(PATIENCE)
        return {}

    server = ControlServer(path, {"run": run_long})
    server.start()
    outcomes: list[int | None] = []

    def ask() -> None:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            try:
                answer = client.post(
                    "http://daemon/v1/run", json=ASKED, timeout=PATIENCE
                )
            except httpx.HTTPError:
                outcomes.append(None)
            else:
                outcomes.append(answer.status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    assert began.wait(PATIENCE)
    server.stop()
    asking.join(PATIENCE)
    finish.set()

    assert not path.exists()
    assert outcomes != [200], "whoever asked is not told that it worked"
    assert len(outcomes) == 1
