"""What is pushed to us, as people read it: the real command on a real store."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.healthcheck import ask
from syncd.clock import Clock
from syncd.config.settings import Listen
from syncd.model import Feed, IdType, Message, Outcome, Told, Trigger
from syncd.store import inbox, installation, runs
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.installation import Daemon
from syncd.store.migrate import migrate

CONFIG = """\
version: 1
instance: test
store: {url: "sqlite:///data/syncd.db"}
web: {admin: {listen: "127.0.0.1:PORT"}}
connections:
  engage-main:
    type: engage
    space: acme
    snapshot: {type: warehouse, url_file: warehouse_url}
    inbox: {secret_file: no_such_file}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: no_such_file
    secret_key_file: no_such_file
    owner: growth-ops@acme.example
syncs:
  - name: vip
    from: {connection: engage-main, audience: vip, via: inbox}
    to: {connection: amplitude-main}
    schedule: every 1h
"""


def configured(folder: Path, *, port: int = 0, lists: bool = True) -> None:
    """One sync that is fed by events; where no port is given, none is fixed."""
    (folder / "config").mkdir()
    text = CONFIG.replace("PORT", str(port))
    if not lists:
        text = "".join(
            line for line in text.splitlines(True) if "snapshot:" not in line
        )
    (folder / "config/syncd.yaml").write_text(text, encoding="utf-8")


def syncd(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command, on pipes, with a bare environment."""
    checkout = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": checkout},
        cwd=cwd,
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The store where the configuration in the same folder looks for it."""
    path = tmp_path / "data/syncd.db"
    create_file(path)
    opened = Database(f"sqlite:///{path}")
    migrate(opened)
    yield opened
    opened.close()


def pushed(database: Database, audience: str, *ids: bytes, at: datetime) -> None:
    """These people entered, and we were told so."""
    feed = Feed(connection="engage-main", key=audience, id_type=IdType.USER_ID)
    told = Told(feed=feed, ids=ids, inside=True, at=at)
    message = Message(connection="engage-main", id=f"{audience}-{at}", told=(told,))
    with database.begin() as connection:
        inbox.take(connection, [message], at)


def left_out(database: Database, at: datetime, **results: int) -> None:
    with database.begin() as connection:
        inbox.tally(connection, "engage-main", results, at)


def now() -> datetime:
    """The commands read the real clock."""
    return datetime.now(UTC).replace(microsecond=0)


# ---- status --------------------------------------------------------------------------


def test_a_sync_that_waits_for_its_first_events_says_so(
    database: Database, tmp_path: Path
) -> None:
    configured(tmp_path, lists=False)

    shown = syncd("status", cwd=tmp_path)
    (told,) = json.loads(syncd("status", "--json", cwd=tmp_path).stdout)["inboxes"]

    assert shown.returncode == 0, shown.stderr
    assert "inbox engage-main: last event never, 0 waiting\n" in shown.stdout
    assert "  vip waits for its first events: nothing was pushed" in shown.stdout
    assert (told["awaited_by"], told["only_listed"]) == (["vip"], [])


def test_a_sync_that_begins_with_a_list_does_not_wait_for_events(
    database: Database, tmp_path: Path
) -> None:
    configured(tmp_path)

    shown = syncd("status", cwd=tmp_path).stdout
    (told,) = json.loads(syncd("status", "--json", cwd=tmp_path).stdout)["inboxes"]

    assert "  vip lives by whole lists: nothing was pushed for it so far\n" in shown
    assert "waits for its first events" not in shown
    assert (told["awaited_by"], told["only_listed"]) == ([], ["vip"])


def test_status_says_what_arrived_what_waits_and_what_was_left_out(
    database: Database, tmp_path: Path
) -> None:
    configured(tmp_path)
    long_ago = now() - timedelta(days=30)
    left_out(database, long_ago, malformed=7)
    lost = {"anonymous": 12, "unknown_value": 3}
    left_out(database, now(), accepted=5, ignored=9, from_the_future=4, **lost)
    pushed(database, "vip", b"person-1", b"person-2", at=now() - timedelta(minutes=2))
    for audience in ("b", "c", "d", "e"):
        pushed(database, audience, b"person-1", at=now() - timedelta(hours=1))

    shown = syncd("status", cwd=tmp_path).stdout

    assert "inbox engage-main: last event 2 m" in shown
    assert "ago, 2 waiting\n" in shown
    assert "left out so far: 12 anonymous, 3 unknown value (the last" in shown
    assert "4 audiences arrive that no sync reads: b, c, d, …" in shown
    assert "nothing was pushed" not in shown
    assert "malformed" not in shown
    assert "ignored" not in shown
    assert "future" not in shown
    assert "person-1" not in shown


def test_status_as_json_has_the_same_facts(database: Database, tmp_path: Path) -> None:
    configured(tmp_path)
    at = now() - timedelta(minutes=2)
    left_out(database, at, anonymous=12)
    pushed(database, "vip", b"person-1", b"person-2", at=at)
    pushed(database, "other", b"person-1", at=at)

    seen = json.loads(syncd("status", "--json", cwd=tmp_path).stdout)

    told: dict[str, Any] = seen["inboxes"][0]
    assert (told["connection"], told["door"]) == ("engage-main", "inbox")
    assert told["waiting"] == 2
    assert datetime.fromisoformat(told["last_event_at"]) == at
    assert [(e["reason"], e["events"]) for e in told["left_out"]] == [("anonymous", 12)]
    assert [each["key"] for each in told["unread"]] == ["other"]
    assert (told["awaited_by"], told["only_listed"]) == ([], [])
    assert seen["syncs"][0]["fed_by"] == "inbox"


# ---- show and check ------------------------------------------------------------------


def test_show_says_of_how_many_people_a_run_was_told(
    database: Database, tmp_path: Path
) -> None:
    configured(tmp_path)
    summary = {"events_in": 20, "events_out": 6, "snapshot": 48_507}
    summary |= {"phase_ms": {"collect": 300.0}}  # type: ignore[dict-item]
    with database.begin() as connection:
        runs.begin(
            connection,
            run_id="019e19b3-a8b5-76f6-8dec-9f32a3373d68",
            sync_name="vip",
            slot=None,
            trigger=Trigger.SCHEDULE,
            config_hash="sha256:0",
            now=now(),
        )
        runs.finish(
            connection,
            "019e19b3-a8b5-76f6-8dec-9f32a3373d68",
            outcome=Outcome.SUCCESS,
            reason=None,
            summary=summary,
            now=now(),
        )

    text = syncd("show", "vip", cwd=tmp_path).stdout
    seen = json.loads(syncd("show", "vip", "--json", cwd=tmp_path).stdout)

    assert "events 26 people: 20 in, 6 out, from inbox engage-main" in text
    assert "ids read" not in text
    assert seen["fed_by"] == "inbox engage-main"
    assert seen["run"]["numbers"]["events_in"] == 20


def test_check_names_the_doors_without_reading_a_secret(tmp_path: Path) -> None:
    configured(tmp_path, port=8099)

    shown = syncd("check", cwd=tmp_path)
    seen = json.loads(syncd("check", "--json", cwd=tmp_path).stdout)

    assert shown.returncode == 0, shown.stdout
    door = "listens: 0.0.0.0:8080 /in/engage-main (signed, single events)\n"
    assert door in shown.stdout
    assert "admin: 127.0.0.1:8099 (page, health, metrics)\n" in shown.stdout
    assert seen["listens"]["admin"] == "127.0.0.1:8099"
    assert seen["listens"]["inbound"] == [
        {
            "connection": "engage-main",
            "address": "0.0.0.0:8080",
            "path": "/in/engage-main",
            "takes": ["signed", "single events"],
        }
    ]


# ---- healthcheck ---------------------------------------------------------------------


@contextmanager
def daemon(status: int, body: bytes) -> Iterator[int]:
    """Something that answers health questions like this; its port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/-/healthy"
            self.send_response(status if known else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_healthcheck_asks_the_daemon_where_it_listens(tmp_path: Path) -> None:
    with daemon(200, b'{"status":"ok"}') as port:
        configured(tmp_path, port=port)
        shown = syncd("healthcheck", cwd=tmp_path)

    assert shown.returncode == 0, shown.stdout
    said = f"healthy: the daemon at 127.0.0.1:{port} ticks, and its store answers\n"
    assert shown.stdout == said


def test_healthcheck_without_a_fixed_port_reads_the_store(
    database: Database, tmp_path: Path
) -> None:
    configured(tmp_path, port=0)
    me = Daemon(
        holder="me",
        host="here",
        pid=41,
        version="1",
        started_at=now(),
        heartbeat_at=now(),
    )
    with database.begin() as connection:
        installation.beat(connection, me)

    shown = syncd("healthcheck", cwd=tmp_path)

    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.startswith("healthy: daemon 41 gave its last sign of life")


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, b'{"status":"failing"}', "is stuck, or its store is (failing)"),
        (200, b"<html>hello</html>", "is no syncd"),
        (200, b'["ok"]', "is no syncd"),
        (500, b'{"status":"ok"}', "what answers 500 at"),
    ],
)
def test_whatever_else_answers_is_not_healthy(
    status: int, body: bytes, why: str
) -> None:
    with daemon(status, body) as port:
        healthy, said = ask(Listen(host="127.0.0.1", port=port), Clock())

    assert not healthy
    assert why in said


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])  # noqa: S104
def test_who_listens_everywhere_is_asked_on_this_machine(host: str) -> None:
    with daemon(200, b'{"status":"ok"}') as port:
        healthy, said = ask(Listen(host=host, port=port), Clock())

    assert healthy
    assert f"127.0.0.1:{port}" in said


def test_where_nobody_listens_nobody_is_healthy() -> None:
    with daemon(200, b"") as port:
        pass

    healthy, said = ask(Listen(host="127.0.0.1", port=port), Clock())

    assert not healthy
    assert said.startswith(f"no daemon answers at 127.0.0.1:{port}: no connection")
