"""The exact requests that channels and the dead man's switch get, over real sockets.

Signatures are checked by `standardwebhooks`, which is not ours.
"""

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from syncd.app.posting import NotTaken, Request, post, request_of, send
from syncd.clock import Clock
from syncd.config.secrets import SecretRef
from syncd.config.settings_notifications import (
    ChannelSettings,
    Outward,
    SlackSettings,
    WebhookSettings,
)
from syncd.model import Condition
from syncd.notify import EVENTS, Kind, News, Seen
from syncd.notify.messages import Item, Message
from syncd.notify.sample import sample

AT = datetime(2026, 5, 12, 9, 12, tzinfo=UTC)
SINCE = datetime(2026, 5, 12, 1, 1, tzinfo=UTC)
PATH = "/services/T000/B000/xoxKANARIE"
NEW, OLD = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (7, 9))


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """A server on this machine that remembers what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    status: int = 200
    says: bytes = b"ok"
    more: dict[str, str] = field(default_factory=dict)

    @property
    def only(self) -> Asked:
        (only,) = self.asked
        return only


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Answers as it is told to."""
    made = Listener()

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        wbufsize = -1

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            made.asked.append(Asked(self.command, self.path, headers, body))
            self.send_response(made.status)
            self.send_header("content-length", str(len(made.says)))
            for name, value in made.more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(made.says)

        do_GET = _answer  # noqa: N815
        do_POST = _answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}{PATH}"
        yield made
        server.shutdown()
        thread.join()


def secret(folder: Path, name: str, text: str) -> SecretRef:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return SecretRef(key=f"notifications.{name}", origin="x:1:1", file=path)


def outward(folder: Path, url: str) -> Outward:
    return Outward(url=secret(folder, "url", url), ca_file=None, proxy_url=None)


def slack(folder: Path, url: str) -> SlackSettings:
    return SlackSettings(
        name="ops",
        outward=outward(folder, url),
        events=EVENTS,
        repeat_every=timedelta(hours=12),
    )


def webhook(
    folder: Path, url: str, *, new: str = NEW, old: str = ""
) -> WebhookSettings:
    return WebhookSettings(
        name="hooks",
        outward=outward(folder, url),
        events=EVENTS,
        repeat_every=None,
        secret=secret(folder, "secret", new),
        previous_secret=secret(folder, "previous_secret", old) if old else None,
    )


def held(sync: str = "churn-risk", **changes: Any) -> Item:
    seen = Seen(
        kind=Kind.HELD,
        subject=sync,
        sync=sync,
        cause="guard.max_exit",
        headline=f"{sync} is held: 9,870 of 31,433 people would leave"
        " (31.4%, limit 20%)",
        context=("amplitude-main → engage-main", "nothing was sent"),
        usual="the definition was edited, tracking stopped",
        command="syncd show a3373d68",
        code="guard.max_exit",
        run_id="019e19b3-a8b5-76f6-8dec-9f32a3373d68",
    )
    row = Condition(
        channel="ops",
        kind=Kind.HELD,
        subject=sync,
        sync=sync,
        cause=seen.cause,
        text=seen.headline,
        opened_at=SINCE,
        **changes,
    )
    over = row.resolved_at is not None
    return Item(row=row, seen=None if over else seen)


def message(*items: Item, news: News = News.OPENED, page: str = "") -> Message:
    return Message(
        id="msg_1",
        channel="ops",
        instance="prod-eu",
        news=news,
        kind=Kind.HELD,
        cause="guard.max_exit",
        items=items or (held(),),
        at=AT,
        page=page,
    )


# ---- Slack ---------------------------------------------------------------------------


def test_slack_gets_a_headline_two_lines_the_command_and_the_links(
    tmp_path: Path, listener: Listener
) -> None:
    post(
        slack(tmp_path, listener.url),
        message(page="https://syncd.acme.example"),
        Clock(),
    )

    asked = listener.only
    assert (asked.method, asked.path) == ("POST", PATH)
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["user-agent"].startswith("syncd/")
    page = "https://syncd.acme.example"
    run = f"{page}/runs/019e19b3-a8b5-76f6-8dec-9f32a3373d68"
    headline = (
        "◆ churn-risk is held: 9,870 of 31,433 people would leave (31.4%, limit 20%)"
    )
    context = (
        "amplitude-main → engage-main · nothing was sent · prod-eu · since 01:01 UTC"
        " · run a3373d68"
    )
    advice = (
        "Usual causes: the definition was edited, tracking stopped.  "
        "Begin with: syncd show a3373d68"
    )
    assert orjson.loads(asked.body) == {
        "text": f"{headline}\n{context}\n{advice}\n"
        f"Runbook: syncd explain guard.max_exit\n{run}",
        "unfurl_links": False,
        "blocks": [
            {
                "type": "section",
                "text": {
                    "type": "mrkdwn",
                    "text": f"*{headline}*\n{advice}",
                    "verbatim": True,
                },
            },
            {
                "type": "context",
                "elements": [
                    {
                        "type": "mrkdwn",
                        "text": f"{context}  ·  <{run}|Open run>  ·  "
                        f"<{page}/help/guard.max_exit|Runbook: guard.max_exit>",
                        "verbatim": True,
                    }
                ],
            },
        ],
    }


def test_slack_gets_no_link_where_nobody_said_where_the_page_is(
    tmp_path: Path, listener: Listener
) -> None:
    post(slack(tmp_path, listener.url), message(), Clock())

    body = orjson.loads(listener.only.body)
    assert "://" not in listener.only.body.decode()
    context = body["blocks"][1]["elements"][0]["text"]
    assert context.endswith("Runbook: `syncd explain guard.max_exit`")


def test_several_of_one_cause_are_one_message_that_names_ten(
    tmp_path: Path, listener: Listener
) -> None:
    items = [held(f"sync-{number:02}") for number in range(12)]

    post(slack(tmp_path, listener.url), message(*items), Clock())

    text = orjson.loads(listener.only.body)["text"]
    assert text.startswith("◆ 12 syncs are held: guard.max_exit\n- sync-00 is held:")
    assert text.count("\n- ") == 11
    assert "\n- and 2 more\n" in text


def test_a_name_cannot_be_a_link_or_call_a_channel(
    tmp_path: Path, listener: Listener
) -> None:
    item = held("<!channel> & <https://evil.example|x>")

    post(slack(tmp_path, listener.url), message(item), Clock())

    body = orjson.loads(listener.only.body)
    shown = body["text"] + body["blocks"][0]["text"]["text"]
    assert "<" not in shown
    assert "&lt;!channel&gt; &amp; &lt;https" in shown


def test_what_is_over_is_said_with_how_long_it_lasted(
    tmp_path: Path, listener: Listener
) -> None:
    item = held(told_at=SINCE, resolved_at=SINCE + timedelta(hours=8, minutes=40))

    post(slack(tmp_path, listener.url), message(item, news=News.RESOLVED), Clock())

    assert orjson.loads(listener.only.body)["text"] == (
        "● churn-risk is no longer held\nprod-eu · since 01:01 UTC, for 8 h 40 m"
    )


# ---- the signed webhook --------------------------------------------------------------


def test_a_webhook_is_signed_so_that_others_agree(
    tmp_path: Path, listener: Listener
) -> None:
    post(webhook(tmp_path, listener.url), message(), Clock())

    asked = listener.only
    found = Webhook(NEW).verify(asked.body, asked.headers)
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["webhook-id"] == "msg_1"
    assert found["type"] == "sync.held"
    assert found["timestamp"] == "2026-05-12T01:01:00Z"
    assert found["data"]["news"] == "opened"
    assert found["data"]["conditions"] == [
        {
            "key": "syncd/prod-eu/churn-risk/held",
            "subject": "churn-risk",
            "sync": "churn-risk",
            "headline": "churn-risk is held: 9,870 of 31,433 people would leave"
            " (31.4%, limit 20%)",
            "cause": "guard.max_exit",
            "opened_at": "2026-05-12T01:01:00Z",
            "resolved_at": None,
            "run_id": "019e19b3-a8b5-76f6-8dec-9f32a3373d68",
            "command": "syncd show a3373d68",
            "url": None,
        }
    ]
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(asked.body, asked.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(asked.body + b" ", asked.headers)


def test_during_a_rotation_each_secret_gives_a_signature(
    tmp_path: Path, listener: Listener
) -> None:
    post(webhook(tmp_path, listener.url, old=OLD), message(), Clock())

    asked = listener.only
    assert asked.headers["webhook-signature"].count("v1,") == 2
    for each in (NEW, OLD):
        assert Webhook(each).verify(asked.body, asked.headers)["type"] == "sync.held"


def test_another_attempt_has_the_same_id_and_body_and_a_time_of_its_own(
    tmp_path: Path,
) -> None:
    channel = webhook(tmp_path, "https://hooks.example/x")
    first, again = Moment(AT), Moment(AT + timedelta(minutes=2))

    one, two = (request_of(channel, message(), clock) for clock in (first, again))

    assert one.body == two.body
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert one.headers["webhook-timestamp"] == str(int(AT.timestamp()))
    assert two.headers["webhook-timestamp"] == str(int(AT.timestamp()) + 120)
    assert one.headers["webhook-signature"] != two.headers["webhook-signature"]


class Moment(Clock):
    """Real time stands still."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        object.__setattr__(self, "_at", at)

    def wall(self) -> datetime:
        at: datetime = self.__dict__["_at"]
        return at


@pytest.mark.parametrize(
    ("news", "said"),
    [
        (News.OPENED, "sync.held"),
        (News.REMINDED, "sync.held.reminded"),
        (News.RESOLVED, "sync.held.resolved"),
    ],
)
def test_the_type_says_what_happened(
    tmp_path: Path, listener: Listener, news: News, said: str
) -> None:
    over: dict[str, Any] = {"told_at": AT, "resolved_at": AT}
    item = held(**over) if news is News.RESOLVED else held()

    post(webhook(tmp_path, listener.url), message(item, news=news), Clock())

    assert orjson.loads(listener.only.body)["type"] == said


def test_a_test_message_says_first_that_nothing_is_wrong(
    tmp_path: Path, listener: Listener
) -> None:
    made = sample("msg_t", channel="hooks", instance="prod-eu", page="", now=AT)

    post(webhook(tmp_path, listener.url), made, Clock())

    body = orjson.loads(listener.only.body)
    assert body["type"] == "syncd.test"
    assert body["data"]["test"] is True
    assert body["data"]["headline"].startswith("◆ TEST, nothing is wrong: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MDAwMA==", "it does not begin with whsec_"),
        ("whsec_%%%", "is not base64"),
        ("whsec_c2hvcnQ=", "it must have 24 to 64 bytes"),
    ],
)
def test_a_secret_that_is_none_is_named_and_not_shown(
    tmp_path: Path, text: str, said: str
) -> None:
    channel = webhook(tmp_path, "https://hooks.example/x", new=text)

    with pytest.raises(NotTaken, match=said) as caught:
        request_of(channel, message(), Clock())

    assert text not in str(caught.value)
    assert caught.value.error_type == "config"
    assert caught.value.hint.startswith("make one: ")


# ---- the dead man's switch -----------------------------------------------------------


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"all well\n")])
def test_a_ping_is_a_plain_request(
    tmp_path: Path, listener: Listener, method: str, body: bytes | None
) -> None:
    request = Request(method=method, body=body, headers={"accept": "*/*"})

    send(outward(tmp_path, listener.url), request, Clock())

    asked = listener.only
    assert (asked.method, asked.path, asked.body) == (method, PATH, body or b"")


# ---- what does not arrive ------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "says", "reason", "of_message", "kind"),
    [
        (404, b"no_service", "answered 404 (no_service)", False, "http_4xx"),
        (400, b"invalid_payload", "answered 400 (invalid_payload)", True, "http_4xx"),
        (410, b"KANARIE", "answered 410", False, "http_4xx"),
        (503, b"<html>xoxKANARIE</html>", "answered 503", False, "http_5xx"),
        (302, b"", "answered 302", False, "http_4xx"),
    ],
)
def test_a_refusal_names_host_and_status_and_nothing_that_is_secret(
    tmp_path: Path,
    listener: Listener,
    status: int,
    says: bytes,
    reason: str,
    *,
    of_message: bool,
    kind: str,
) -> None:
    listener.status, listener.says = status, says
    listener.more = {"location": "http://127.0.0.1:1/elsewhere"}

    with pytest.raises(NotTaken) as caught:
        post(slack(tmp_path, listener.url), message(), Clock())

    host = listener.url.removeprefix("http://").removesuffix(PATH)
    assert str(caught.value) == f"{host} {reason}"
    assert caught.value.of_message is of_message
    assert caught.value.error_type == kind
    assert len(listener.asked) == 1, "no redirect is followed"


def test_who_asks_for_a_rest_gets_it(tmp_path: Path, listener: Listener) -> None:
    listener.status, listener.more = 429, {"retry-after": "120"}

    with pytest.raises(NotTaken) as caught:
        post(slack(tmp_path, listener.url), message(), Clock())

    assert caught.value.wait == 120
    assert not caught.value.of_message


def test_nobody_there_is_a_reason_too(tmp_path: Path) -> None:
    with pytest.raises(NotTaken) as caught:
        post(slack(tmp_path, f"http://127.0.0.1:1{PATH}"), message(), Clock())

    assert str(caught.value) == "no connection to 127.0.0.1:1"
    assert caught.value.error_type == "connect"


Maker = Callable[[Path, str], ChannelSettings]


@pytest.mark.parametrize("make", [slack, webhook])
@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/services/KANARIE",
        "https://user:KANARIE@hooks.slack.com/x",
        "ftp://127.0.0.1/KANARIE",
        "KANARIE",
        "https://[KANARIE/x",
    ],
)
def test_an_address_must_be_https_and_is_never_shown(
    tmp_path: Path, make: Maker, url: str
) -> None:
    with pytest.raises(NotTaken, match="holds no https URL") as caught:
        post(make(tmp_path, url), message(), Clock())

    assert "KANARIE" not in str(caught.value)
    assert caught.value.error_type == "config"


def test_a_fast_clock_tells_nobody_outside_of_this_machine(tmp_path: Path) -> None:
    fast = Clock(speed=60, origin=AT)

    with pytest.raises(NotTaken, match="a fast clock tells nobody outside"):
        post(slack(tmp_path, "https://hooks.slack.com/services/x"), message(), fast)


def test_an_address_that_was_rotated_counts_at_once(
    tmp_path: Path, listener: Listener
) -> None:
    channel = slack(tmp_path, "http://127.0.0.1:1/old")
    with pytest.raises(NotTaken):
        post(channel, message(), Clock())

    (tmp_path / "url").write_text(listener.url)
    post(channel, message(), Clock())

    assert len(listener.asked) == 1
