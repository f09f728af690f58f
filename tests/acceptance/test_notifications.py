"""The real daemon tells people: once, again after 12 hours, and when it is over.

The clock runs fast; whoever is told listens on this machine, or does not.
"""

import base64
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest
from standardwebhooks.webhooks import Webhook

from tests.installed import Ended, Installation, Running
from tests.simulated import PATIENCE, Simulator

SPEED = 3600
"""An hour passes in a second; 12 hours until a reminder in 12."""
SECRET = f"whsec_{base64.b64encode(b'k' * 32).decode()}"
PATH = "/services/T000/kanarie7q"
"""What must stay secret of an address."""


@dataclass
class Listener:
    """A server that takes what it is told, and remembers it."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)

    def heard(self, count: int) -> list[Any]:
        """The first messages, once there are so many."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.bodies) >= count, PATIENCE), (
                self.bodies
            )
            return [orjson.loads(body) for body in self.bodies[:count]]

    def over(self) -> str:
        """The first text that says that something is over, once there is one."""
        with self.news:
            assert self.news.wait_for(lambda: "●" in str(self.texts()), PATIENCE)
            return next(text for text in self.texts() if text.startswith("●"))

    def texts(self) -> list[str]:
        """What Slack was told so far."""
        return [orjson.loads(body)["text"] for body in self.bodies]


@pytest.fixture
def new_listener() -> Iterator[Callable[[], Listener]]:
    """Makes servers that take everything."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def make() -> Listener:
        made = Listener()

        class Handler(BaseHTTPRequestHandler):
            disable_nagle_algorithm = True
            wbufsize = -1

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")
                with made.news:
                    made.paths.append(self.path)
                    made.bodies.append(body)
                    made.headers.append(headers)
                    made.news.notify_all()

            do_GET = _take  # noqa: N815
            do_POST = _take  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        made.url = f"http://127.0.0.1:{server.server_port}{PATH}"
        return made

    yield make
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that takes requests and never says a word."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}{PATH}"


def channels(installation: Installation, **urls: str) -> None:
    """Tell Slack at each of these addresses."""
    made = {}
    for name, url in urls.items():
        installation.secret(f"url_{name}", url)
        made[name] = {"type": "slack", "webhook_url_file": f"url_{name}"}
    installation.config["notifications"] = {"channels": made}


def people(count: int) -> list[str]:
    return [f"person-{number:03}-kanarie7q" for number in range(count)]


@pytest.fixture
def fast() -> tuple[str, ...]:
    return ("--speed", str(SPEED), "--origin", datetime.now(UTC).isoformat())


@pytest.fixture
def vip(
    new_installation: Callable[..., Installation],
    new_simulator: Callable[..., Simulator],
    fast: tuple[str, ...],
) -> Installation:
    """A sync of 100 people; the guard watches."""
    simulator = new_simulator(*fast)
    simulator.users(people(100))
    installation: Installation = new_installation(simulator)
    installation.config["connections"]["amplitude"]["request_deadline"] = "10s"
    # A busy machine needs a real second for a run: an hour of this clock.
    installation.sync(schedule="every 2h", fresh_within="7d", max_runtime="1d")
    installation.audience(people(100))
    return installation


def trip(vip: Installation, fast: tuple[str, ...]) -> Running:
    """A daemon whose guard holds the second run of `vip`."""
    daemon = vip.start("serve", *fast)
    assert daemon.reached("run.finished", outcome="success", sync="vip")
    vip.audience(people(30))
    assert daemon.reached("guard.tripped")
    return daemon


def assert_silent(*texts: str) -> None:
    for text in texts:
        at = text.find("kanarie7q")
        assert at < 0, text[max(0, at - 200) : at + 40]


def said(ended: Ended) -> str:
    return ended.out + ended.err


def test_a_held_run_is_told_once_reminded_after_12_hours_and_resolved_when_approved(
    vip: Installation,
    fast: tuple[str, ...],
    new_listener: Callable[[], Listener],
) -> None:
    slack, hooks, beat = new_listener(), new_listener(), new_listener()
    channels(vip, ops=slack.url)
    for name, text in (("hook", hooks.url), ("whsec", SECRET), ("beat", beat.url)):
        vip.secret(name, text)
    vip.config["notifications"]["channels"]["hooks"] = {
        "type": "webhook",
        "url_file": "hook",
        "secret_file": "whsec",
        "events": ["held", "resolved"],
        "repeat_every": "never",
    }
    vip.config["notifications"]["heartbeat"] = {"url_file": "beat", "every": "30m"}
    daemon = trip(vip, fast)

    # A held plan lasts 24 seconds here: only the approval comes after the reminder.
    hooks.heard(1)
    listed = vip.syncd("notify", "list", "--json").document["conditions"]
    status = vip.syncd("status", "--json").document["syncs"][0]
    opened, reminded = slack.heard(2)
    approved = vip.syncd("approve", status["held"]["id"], "--reason", "meant")
    over = slack.over()
    signed = hooks.heard(2)
    assert daemon.stop() == 0

    assert (
        "vip is held: 70 of 100 people would leave (70.0%, limit 20%)"
        in (opened["text"])
    )
    assert reminded["text"].startswith("◆ still: vip is held")
    assert ", for 12 h" in reminded["text"]
    assert approved.code == 0, approved.err
    assert over.startswith("● vip is no longer held\n")
    assert [each["type"] for each in signed] == ["sync.held", "sync.held.resolved"]
    for body, headers in zip(hooks.bodies, hooks.headers, strict=True):
        assert Webhook(SECRET).verify(body, headers)
    assert {(each["channel"], each["kind"]) for each in listed} == {
        ("ops", "held"),
        ("hooks", "held"),
    }
    sent = daemon.events("notification.sent", channel="ops")
    first, *again, last = [each["news"] for each in sent]
    assert (first, set(again), last) == ("opened", {"reminded"}, "resolved")
    assert not daemon.events("notification.failed")
    assert len(beat.bodies) > 3
    told = b"".join(slack.bodies + hooks.bodies + beat.bodies).decode()
    assert_silent(daemon.text, told, said(approved))


def test_a_restart_neither_repeats_nor_loses_what_was_told(
    vip: Installation,
    fast: tuple[str, ...],
    new_listener: Callable[[], Listener],
) -> None:
    slack = new_listener()
    channels(vip, ops=slack.url)
    vip.config["notifications"]["channels"]["ops"]["repeat_every"] = "never"
    daemon = trip(vip, fast)
    slack.heard(1)
    assert daemon.reached("notification.sent")
    listed = vip.syncd("notify").out.splitlines()
    assert daemon.stop() == 0

    again = vip.start("serve", *fast)
    assert again.reached("daemon.started")
    status = vip.syncd("status", "--json").document["syncs"][0]
    vip.audience(people(100))
    rejected = vip.syncd("reject", status["held"]["id"], "--reason", "not meant")
    news = [each["text"].splitlines()[0] for each in slack.heard(2)]
    assert again.stop() == 0

    assert listed[0].split()[:2] == ["CHANNEL", "WHAT"]
    assert listed[1].startswith("ops      held  ")
    assert "vip is held: 70 of 100 people" in listed[1]
    assert rejected.code == 0, rejected.err
    assert news[0].startswith("◆ vip is held")
    assert news[1] == "● vip is no longer held"


def test_channels_that_are_dead_or_hang_keep_no_run_waiting(
    vip: Installation,
    fast: tuple[str, ...],
    hanging: str,
    new_listener: Callable[[], Listener],
) -> None:
    slack = new_listener()
    channels(vip, dead=f"http://127.0.0.1:1{PATH}", hangs=hanging, ops=slack.url)
    vip.sync("other", schedule="every 1h", fresh_within="7d", max_runtime="1d")
    vip.audience(people(100), "other")
    daemon = trip(vip, fast)
    assert daemon.reached("notification.failed", channel="dead")
    assert daemon.reached("notification.failed", channel="hangs")
    ran = len(daemon.events("run.finished", sync="other"))

    slack.heard(1)
    assert daemon.stop() == 0

    failed = daemon.events("notification.failed", channel="dead")
    assert "no connection to 127.0.0.1:1" in failed[0]["msg"]
    assert failed[0]["help"] == "syncd explain notification.failed"
    # The hanging one took 10 real seconds: ten hours of this clock, a run in each.
    assert ran >= 4
    finished = daemon.events("run.finished", sync="other")
    assert {each["outcome"] for each in finished} <= {"success", "no_change"}
    five_real_seconds = 5 * SPEED * 1000
    lags = [each["lag_ms"] for each in daemon.events("schedule.due")]
    assert max(lags) < five_real_seconds
    assert_silent(daemon.text)


def test_a_configuration_that_is_refused_is_told_until_it_is_right(
    vip: Installation,
    fast: tuple[str, ...],
    new_listener: Callable[[], Listener],
) -> None:
    slack = new_listener()
    channels(vip, ops=slack.url)
    daemon = vip.start("serve", *fast)
    assert daemon.reached("daemon.started")
    right = dict(vip.config)

    vip.config = right | {"syncs": [right["syncs"][0] | {"schedule": "whenever"}]}
    hup(vip, daemon)
    opened = slack.heard(1)[0]["text"]
    vip.config = right
    hup(vip, daemon)
    over = slack.heard(2)[1]["text"]
    assert daemon.stop() == 0

    assert "the changed configuration is refused (schedule.unknown)" in opened
    assert "Begin with: syncd check" in opened
    assert "uses its configuration again" in over


def hup(installation: Installation, daemon: Running) -> None:
    """Write the files as they are now, and have the daemon read them."""
    installation.command("check")
    daemon.process.send_signal(signal.SIGHUP)


def test_each_run_of_a_sync_is_told_to_its_heartbeat_service(
    vip: Installation,
    fast: tuple[str, ...],
    new_listener: Callable[[], Listener],
) -> None:
    service = new_listener()
    vip.secret("runs", service.url)
    vip.config["syncs"][0]["heartbeat_url_file"] = "runs"
    daemon = trip(vip, fast)

    told = service.heard(4)
    finished = daemon.events("run.finished", sync="vip")
    assert daemon.stop() == 0

    ends = ["/start", "", "/start", "/fail"]
    ids = [each["run_id"] for each in told]
    assert service.paths[:4] == [
        f"{PATH}{end}?rid={run}" for end, run in zip(ends, ids, strict=True)
    ]
    assert ids[0] == ids[1] == finished[0]["run_id"]
    assert ids[2] == ids[3] == finished[1]["run_id"]
    assert (told[1]["outcome"], told[1]["entered"]) == ("success", 100)
    assert (told[3]["outcome"], told[3]["reason"]) == ("held", "guard.max_exit")
    assert_silent(daemon.text, b"".join(service.bodies).decode())


# ---- trying a channel ----------------------------------------------------------------


def test_a_test_message_goes_through_every_channel_and_shows_the_signed_bytes(
    installation: Installation, new_listener: Callable[[], Listener]
) -> None:
    slack, hooks = new_listener(), new_listener()
    installation.sync()
    channels(installation, ops=slack.url)
    installation.secret("hook", hooks.url)
    installation.secret("whsec", SECRET)
    installation.config["notifications"]["channels"]["hooks"] = {
        "type": "webhook",
        "url_file": "hook",
        "secret_file": "whsec",
    }

    ended = installation.syncd("notify", "test")

    assert ended.code == 0, ended.err
    assert "ops  ok: it took the message (200)" in ended.out
    body, headers = hooks.bodies[0], hooks.headers[0]
    assert Webhook(SECRET).verify(body, headers)["type"] == "syncd.test"
    assert f"  {body.decode()}" in ended.out.splitlines()
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert f"  {name}: {headers[name]}" in ended.out.splitlines()
    assert SECRET not in said(ended)
    assert "TEST, nothing is wrong" in slack.heard(1)[0]["text"]
    assert_silent(said(ended))


def test_a_channel_that_takes_nothing_is_named_with_what_to_do(
    installation: Installation,
) -> None:
    installation.sync()
    channels(installation, dead=f"http://127.0.0.1:1{PATH}")

    ended = installation.syncd("notify", "test", "dead")
    unknown = installation.syncd("notify", "test", "deed")
    document = installation.syncd("notify", "test", "--json").document

    assert ended.code == 69
    assert "dead  failed: no connection to 127.0.0.1:1" in ended.out
    assert "then: syncd notify test dead" in ended.out
    assert unknown.code == 2
    assert "Did you mean 'dead'?" in unknown.err
    assert document["channels"][0]["taken"] is False
    assert_silent(said(ended), said(unknown), str(document))


def test_without_a_channel_or_its_secret_nothing_is_sent(
    installation: Installation,
) -> None:
    installation.sync()

    nobody = installation.syncd("notify", "test")
    channels(installation, ops="http://127.0.0.1:1/x")
    (installation.folder / "secrets" / "url_ops").unlink()
    unreadable = installation.syncd("notify", "test")

    assert "1 sync, 2 connections, 1 channel" in installation.syncd("check").out
    assert nobody.code == 78
    assert "error[notify.none]" in nobody.err
    assert unreadable.code == 78
    assert "cannot be read" in unreadable.out
