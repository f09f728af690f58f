"""Who may see the pages, over a real socket: Basic, a proxy's header, everybody."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_network

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import capture_logs

from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.web.access import (
    Access,
    BehindProxy,
    Everybody,
    People,
    Person,
    Rule,
    viewer_of,
)
from syncd.web.admin import admin_app
from syncd.web.refusals import Denied
from tests.builders import PATIENCE
from tests.integration.served import served

ANA, JOE = ("ana", "correct horse: böttery"), ("joe", "staple-battery")
LOOPBACK = ip_network("127.0.0.0/8")
EMAIL = "x-forwarded-email"


def yes() -> bool:
    return True


async def who(request: Request) -> Response:
    viewer = viewer_of(request)
    return JSONResponse({"name": viewer.name, "may_act": viewer.may_act})


@contextmanager
def serving(
    rule: Rule, *, actions: bool = True, patience: float = PATIENCE
) -> Iterator[httpx.Client]:
    """A page and a document behind this rule, both of which say who asked."""
    denied = Denied(Clock())
    access = Access(rule, denied, actions=actions, patience=patience)
    paths = ("/", "/syncs/{name}", "/api/v1/status")
    routes = [Route(path, access.guard(who)) for path in paths]
    app = admin_app(healthy=yes, ready=yes, denied=denied, routes=routes)
    with served(app) as client:
        yield client


def fixed(word: str) -> Callable[[], str]:
    return lambda: word


def people(**changes: Callable[[], str]) -> People:
    passwords = {"ana": fixed(ANA[1]), "joe": fixed(JOE[1])} | changes
    return People(
        users={
            name: Person(password=password, operator=name == "ana")
            for name, password in passwords.items()
        }
    )


def proxy(**changes: object) -> BehindProxy:
    usual: dict[str, object] = {
        "header": EMAIL,
        "trusted": [LOOPBACK],
        "operators": ["Ana@acme.example"],
    }
    return BehindProxy(**(usual | changes))  # type: ignore[arg-type]


# ---- a password of each person -------------------------------------------------------


def test_an_operator_may_act_and_a_viewer_may_look() -> None:
    with serving(people()) as client:
        ana = client.get("/", auth=ANA)
        joe = client.get("/syncs/vip", auth=JOE)

    assert ana.json() == {"name": "ana", "may_act": True}
    assert joe.json() == {"name": "joe", "may_act": False}


def test_nobody_acts_while_actions_are_disabled() -> None:
    with serving(people(), actions=False) as client:
        ana = client.get("/", auth=ANA)

    assert ana.json() == {"name": "ana", "may_act": False}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Basic YW5hOndyb25n"},
        {"authorization": "Basic bm9ib2R5Ong="},
        {"authorization": "Basic YW5hOg=="},
        {"authorization": "Basic not base64"},
        {"authorization": "Basic //8="},
        {"authorization": "Bearer staple-battery"},
        {"authorization": ""},
    ],
    ids=["wrong", "unknown", "empty", "no base64", "no text", "bearer", "nothing"],
)
def test_who_cannot_sign_in_sees_nothing_and_is_counted(
    headers: Mapping[str, str],
) -> None:
    with capture_logs() as lines, serving(people()) as client:
        page = client.get("/", headers=headers)
        document = client.get("/api/v1/status", headers=headers)

    assert page.status_code == document.status_code == 401
    assert page.headers["www-authenticate"].startswith('Basic realm="syncd"')
    assert "access.sign_in" in page.text
    assert document.json()["error"]["code"] == "access.sign_in"
    told = [line for line in lines if line["event"] == "web.denied"]
    assert [line["path"] for line in told] == ["/", "/api/v1"]


def test_a_browser_that_has_not_asked_for_a_name_yet_is_no_intruder() -> None:
    with capture_logs() as lines, serving(people()) as client:
        answer = client.get("/")

    assert answer.status_code == 401
    assert [line for line in lines if line["event"] == "web.denied"] == []


def test_one_persons_password_is_not_the_others() -> None:
    with serving(people()) as client:
        answer = client.get("/", auth=("joe", ANA[1]))

    assert answer.status_code == 401


def test_a_changed_password_counts_at_the_next_request() -> None:
    password = ["first-password"]
    rule = people(ana=lambda: password[0])
    with serving(rule) as client:
        before = client.get("/", auth=("ana", "first-password"))
        password[0] = "second-password"
        old = client.get("/", auth=("ana", "first-password"))
        new = client.get("/", auth=("ana", "second-password"))

    assert [before.status_code, old.status_code, new.status_code] == [200, 401, 200]


def test_a_password_that_cannot_be_read_opens_nothing() -> None:
    def missing() -> str:
        raise SyncdError("gone", code="secret.missing")

    with serving(people(ana=missing, joe=fixed(""))) as client:
        ana = client.get("/", auth=("ana", ""))
        joe = client.get("/", auth=("joe", ""))

    assert ana.status_code == joe.status_code == 401


def test_a_password_on_a_disk_that_hangs_holds_nobody_else_up() -> None:
    hang = threading.Event()

    def hanging() -> str:
        hang.wait(PATIENCE)
        return ANA[1]

    with serving(people(ana=hanging), patience=0.2) as client:
        ana = client.get("/", auth=ANA)
        joe = client.get("/", auth=JOE)
        alive = client.get("/-/healthy")
        hang.set()

    assert ana.status_code == 401
    assert joe.json()["name"] == "joe"
    assert alive.status_code == 200


def test_health_needs_no_sign_in() -> None:
    with serving(people()) as client:
        assert client.get("/-/healthy").json() == {"status": "ok"}


# ---- a proxy that people sign in to --------------------------------------------------


def test_whom_a_trusted_proxy_names_sees_and_operators_act() -> None:
    with serving(proxy()) as client:
        ana = client.get("/", headers={EMAIL: "ana@acme.example"})
        joe = client.get("/", headers={EMAIL: "joe@acme.example"})

    assert ana.json() == {"name": "ana@acme.example", "may_act": True}
    assert joe.json() == {"name": "joe@acme.example", "may_act": False}


def test_a_name_from_elsewhere_is_not_believed() -> None:
    rule = proxy(trusted=[ip_network("10.20.0.0/16")])
    with capture_logs() as lines, serving(rule) as client:
        answer = client.get("/", headers={EMAIL: "ana@acme.example"})

    assert answer.status_code == 403
    assert "access.untrusted" in answer.text
    assert "www-authenticate" not in answer.headers
    assert [line["path"] for line in lines if line["event"] == "web.denied"] == ["/"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(EMAIL, "")],
        [(EMAIL, "ana@acme.example, eve@acme.example")],
        [(EMAIL, "eve@acme.example"), (EMAIL, "ana@acme.example")],
        [(EMAIL, "a" * 201)],
    ],
    ids=["none", "empty", "a list", "twice", "long"],
)
def test_a_proxy_has_to_name_one_person_once(headers: list[tuple[str, str]]) -> None:
    with serving(proxy()) as client:
        answer = client.get("/", headers=headers)

    assert answer.status_code == 403
    assert "access.nobody" in answer.text


def test_a_basic_password_is_no_way_past_the_proxy() -> None:
    with serving(proxy()) as client:
        assert client.get("/", auth=ANA).status_code == 403


# ---- everybody -----------------------------------------------------------------------


def test_without_a_sign_in_everybody_sees_and_nobody_acts() -> None:
    with serving(Everybody()) as client:
        answer = client.get("/", headers={EMAIL: "ana@acme.example"}, auth=ANA)

    assert answer.json() == {"name": "", "may_act": False}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8081", 200),
        ("localhost", 200),
        ("[::1]:8081", 200),
        ("syncd.acme.example", 200),
        ("rebound.evil.example", 421),
        ("localhost.evil.example:8081", 421),
        ("[", 421),
    ],
)
def test_on_this_machine_a_name_from_elsewhere_is_not_answered(
    host: str, status: int
) -> None:
    names = {"localhost", "127.0.0.1", "::1", "syncd.acme.example"}
    with serving(Everybody(hosts=names)) as client:
        answer = client.get("/", headers={"host": host})

    assert answer.status_code == status
