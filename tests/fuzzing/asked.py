"""What is asked of a daemon: by people on its machine, by whoever reaches its pages."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC
from ipaddress import ip_network
from typing import Any, TypeVar

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request

from syncd.app.pausing import NotPausable, pause_end
from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.model import Outcome
from syncd.sources.door import Refused
from syncd.web.access import Access, BehindProxy, Everybody, People, Person, Rule
from syncd.web.answers import error_body
from syncd.web.api import BadParameter, Question, Resource, _question
from syncd.web.body import announced
from syncd.web.control import _FIELDS, Malformed, _parsed
from syncd.web.pages.actions import NotPressed, _fields, reason_of
from syncd.web.refusals import Denied
from tests.fuzzing.doors import NOON, headed
from tests.fuzzing.target import Target, require

T = TypeVar("T")
PASSWORD = "a password: with a colon"
_LOOP = asyncio.new_event_loop()


def on_the_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a server's loop would do."""
    return _LOOP.run_until_complete(coroutine)


def commands(data: bytes) -> None:
    """Bodies at the control socket, of three commands; one of a pause is read on."""
    for fields in (_FIELDS["run"], _FIELDS["pause"], _FIELDS["forget"]):
        try:
            body = _parsed(data, fields)
        except Malformed as error:
            orjson.dumps(error_body(error.code, str(error), error.hint))
            continue
        assert body.keys() == fields.needed | fields.optional
        if fields is _FIELDS["pause"]:
            pauses(body)


def pauses(body: Mapping[str, Any]) -> None:
    """When a pause ends."""
    try:
        end = pause_end(body, NOON)
    except NotPausable:
        return
    assert end is None or (end.tzinfo is UTC and end > NOON)


def questions(data: bytes) -> None:
    """What stands behind the `?` of the API."""
    known = frozenset({"sync", "outcome", "limit"})
    resource = Resource(path="/runs", answer=lambda _: "", parameters=known)
    scope = {"type": "http", "query_string": data, "headers": [], "path_params": {}}
    try:
        question = _question(Request(scope), resource)
        require_answer(question)
    except BadParameter as error:
        orjson.dumps(error_body(error.code, str(error), error.hint))


def require_answer(question: Question) -> None:
    """Its filters are of those there are."""
    outcomes = [each.value for each in Outcome]
    assert set(question.texts("outcome", outcomes)) <= set(outcomes)
    assert 1 <= question.number("limit", default=20, most=1_000) <= 1_000


def forms(data: bytes) -> None:
    """Bodies of buttons."""
    kind = b"application/x-www-form-urlencoded"
    request = Request({"type": "http", "headers": [(b"content-type", kind)]})
    try:
        fields = _fields(request, data)
    except NotPressed as error:
        require(error.status == 400)
        return
    try:
        assert reason_of(fields).isprintable()
    except SyncdError as error:
        require(error.code == "form.reason")


def access(rule: Rule) -> Callable[[bytes], None]:
    """A target: the headers of whoever asks for a page."""
    gate = Access(rule, Denied(Clock()), actions=True)

    def run(data: bytes) -> None:
        lines = [line.partition(b":") for line in data.split(b"\n")]
        raw = [(name.lower(), value.strip(b" \t")) for name, _, value in lines]
        peer = dict(raw).get(b"peer", b"127.0.0.1").decode("latin-1")
        try:
            viewer = on_the_loop(gate.viewer(Headers(raw=raw), peer))
        except Refused as refused:
            require(refused.status in (401, 403, 421))
            return
        assert viewer.name.isprintable()
        assert viewer.name or isinstance(rule, Everybody)
        if isinstance(rule, People):
            assert viewer.name in rule.users

    return run


def announcements(data: bytes) -> None:
    """How long a body says it is, as far as the parser of HTTP lets it through."""
    headers = dict(headed(data))
    if (
        not headers.get("content-length", "0").isascii()
        or not headers.get("content-length", "0").isdigit()
    ):
        return
    try:
        length = announced(headers, 1 << 20)
    except Refused as refused:
        require(refused.status in (413, 415))
        return
    assert length is None or 0 <= length <= 1 << 20


_PAUSE = (
    b'{"sync": "vip", "actor": "ana", "via": "cli", "reason": "x", "span": "2h",'
    b' "until": null}'
)
_ASK = b'{"sync": "vip", "actor": "ana", "via": "cli"}'
_FORGET = (
    b'{"ids": "person-1\\nperson-2", "match": "user_id", "actor": "a", "via": "cli"}'
)
_UNTIL = _PAUSE.replace(b'"2h"', b"null").replace(
    b'"until": null', b'"until": "9999-12-31T23:59:59-14:00"'
)
_BASIC = b64encode(f"ana:{PASSWORD}".encode())
_PEOPLE = People(
    users={
        "ana": Person(password=lambda: PASSWORD, operator=True),
        "bö": Person(password=lambda: "pässwört-äöü", operator=False),
    }
)
_PROXY = BehindProxy(
    header="x-user",
    trusted=[ip_network("127.0.0.0/8"), ip_network("fd00::/8")],
    operators=["ana"],
)

TARGETS = (
    Target(
        name="commands",
        run=commands,
        seeds=(_ASK, _PAUSE, _FORGET),
        words=(b'"until":', b'"span":', b"9999-12-31T23:59:59-14:00"),
        found=(_UNTIL,),
    ),
    Target(
        name="api-questions",
        run=questions,
        seeds=(b"sync=vip&outcome=success&limit=20", b"limit=1%30&outcome=partial"),
        words=(b"limit=", b"%00", b"%ff", b"&", b"+", b";"),
    ),
    Target(
        name="page-forms",
        run=forms,
        seeds=(b"token=0a&reason=a+b%C3%A9&plan=x", b""),
        words=(b"reason=", b"%0a", b"%e2%80%a8", b"&", b"+"),
    ),
    Target(
        name="page-hosts",
        run=access(Everybody(hosts=frozenset({"localhost", "::1"}))),
        seeds=(b"host: localhost:8081", b"host: [::1]:8081"),
        words=(b"[", b"]", b"@", b"%"),
    ),
    Target(
        name="page-passwords",
        run=access(_PEOPLE),
        seeds=(b"authorization: Basic " + _BASIC, b"authorization: basic YjpjOmQ="),
    ),
    Target(
        name="page-proxies",
        run=access(_PROXY),
        seeds=(b"x-user: ana\npeer: 127.0.0.1", b"x-user: bob\npeer: ::ffff:127.0.0.1"),
        words=(b"peer: ", b"x-user: ", b"fe80::1%1", b","),
    ),
    Target(
        name="announced-lengths",
        run=announcements,
        seeds=(b"content-length: 12", b"transfer-encoding: chunked"),
        words=(b"content-length: ", b"content-encoding: gzip", b"identity"),
    ),
)
