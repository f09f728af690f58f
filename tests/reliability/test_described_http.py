"""Every door and every document of a daemon, asked by its own description.

schemathesis makes requests that fit the description of `hostile/described.py`, and such
as do not; the real daemon answers over a real socket. README.md tells what is checked.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import CHECKS, load_all_checks

from tests.installed import Installation, Running
from tests.knocking import (
    FACTOR,
    JSON,
    Knocking,
    assert_nothing_leaked,
    hooked,
    keyed,
    people,
    signature,
)
from tests.reliability.hostile.described import api, doors
from tests.simulated import PATIENCE, Simulator

EXAMPLES, EXAMPLES_LONG = 20, 500
"""Of each operation, twice: such as fit, and such as do not."""
PASSWORD = "a-password-of-the-tests"
ANA = {"Authorization": f"Basic {b64encode(f'ana:{PASSWORD}'.encode()).decode()}"}
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO")
DOORS = sorted(doors()["paths"])
DOCUMENTS = sorted(api("", "")["paths"])


@dataclass
class Asked:
    """The daemon, and what it answered."""

    installation: Installation
    daemon: Running
    run: str
    list: str
    """Of a cohort of Amplitude."""
    session: requests.Session

    def url(self, path: str) -> str:
        """Where a path is."""
        return self.daemon.url("inbound" if path.startswith("/in") else "admin")


@pytest.fixture(scope="module")
def asked(
    tmp_path_factory: pytest.TempPathFactory, simulator_for_all: Simulator
) -> Iterator[Asked]:
    """A daemon with all doors, a sync that ran, and a page that asks for a password."""
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("described")
        installation = Installation(folder, simulator_for_all, stack)
        installation.inbox()
        installation.push()
        installation.secret("ana", PASSWORD)
        users = {"ana": {"password_file": "ana"}}
        auth = {"type": "basic", "users": users}
        installation.config["web"]["admin"]["auth"] = auth
        installation.sync("vip")
        installation.audience(people(3))
        simulator_for_all.users(people(2))
        run = installation.run().run["id"]
        daemon = installation.start("serve")
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        yield Asked(installation, daemon, run, new_list(daemon), session)
        assert daemon.stop() == 0
        assert not daemon.events("daemon.crashed")
        # Both are drawn from one box of words: names of lists, and whom they name.
        installation.named(line["name"] for line in daemon.events("inbox.listed"))
        assert_nothing_leaked(daemon.text, also=[PASSWORD])


def new_list(daemon: Running) -> str:
    """Its id."""
    client = Knocking(daemon.url())
    answer = client.amplitude("/lists", {"name": "[Amplitude] Trial: zz1a2b3c"})
    client.close()
    return str(answer.body["listId"])


# ---- asked by the description --------------------------------------------------------


def credentials(path: str, body: bytes) -> Mapping[str, str]:
    """What opens a path; Engage's is the signature of that very body."""
    if path.startswith("/in/engage"):
        return {"X-Signature": signature(body), "X-Syncd-Key": FACTOR}
    if path.endswith("/webhook"):
        return hooked()
    return keyed() if path.startswith("/in") else ANA


def send(asked: Asked, case: Case) -> requests.Response:
    """One request as it was made up, but with credentials that are right."""
    sent = case.as_transport_kwargs(base_url=asked.url(case.path))
    sent = {
        name: sent[name]
        for name in ("method", "url", "headers", "params", "data", "json")
        if sent.get(name) is not None
    }
    prepared = asked.session.prepare_request(requests.Request(**sent))
    body = prepared.body or b""
    raw = body.encode() if isinstance(body, str) else body
    assert isinstance(raw, bytes)
    prepared.headers.update(credentials(case.path, raw))
    return asked.session.send(prepared, timeout=PATIENCE, allow_redirects=False)


def checks() -> list[Any]:
    """Those that say something of an answer alone; what they leave is below."""
    load_all_checks()
    return CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
        ]
    )


@pytest.mark.parametrize("path", [*DOORS, *DOCUMENTS])
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "odd"]
)
def test_every_answer_is_one_that_is_described(
    asked: Asked, path: str, mode: GenerationMode, request: pytest.FixtureRequest
) -> None:
    known = doors(asked.list) if path.startswith("/in") else api("vip", asked.run)
    described = openapi.from_dict(known)
    operation = described[path]["POST" if path.startswith("/in") else "GET"]
    long, told = request.config.getoption("--long"), Counter[int]()

    @settings(
        max_examples=EXAMPLES_LONG if long else EXAMPLES,
        derandomize=not long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        answer = send(asked, case)
        told[answer.status_code] += 1
        case.validate_response(answer, checks=checks())

    ask()

    print(f"\n{path} {mode.value}: {dict(told)}")
    assert told[401] == 0
    assert told[200] or mode is GenerationMode.NEGATIVE


# ---- what a description does not say -------------------------------------------------


def at(path: str, asked: Asked) -> str:
    """A path of the description with something in its braces that there is."""
    named = asked.run if "/runs/" in path else "vip"
    return path.replace("{named}", named).replace("{list_id}", "some-list")


@pytest.mark.parametrize("path", DOORS + DOCUMENTS)
def test_nothing_is_told_or_taken_without_credentials(asked: Asked, path: str) -> None:
    method = "POST" if path.startswith("/in") else "GET"
    wrong = [
        {},
        {"Authorization": "Basic " + b64encode(b"ana:").decode()},
        {"Authorization": "Basic !!!", "X-Syncd-Key": "", "api_key": ""},
        {"Authorization": "Bearer a", "X-Signature": "0" * 40, "X-Syncd-Key": "guess"},
    ]
    client = Knocking(asked.url(path))

    answers = [client.ask(at(path, asked), b"{}", JSON | w, method) for w in wrong]

    client.close()
    assert {each.status for each in answers} == {401}
    assert {frozenset(each.body) for each in answers} == {frozenset({"error"})}


@pytest.mark.parametrize("path", DOORS + DOCUMENTS)
def test_any_other_method_is_refused_as_such(asked: Asked, path: str) -> None:
    others = set(METHODS) - (
        {"PUT", "PATCH"} if path == "/in/engage" else {"GET", "HEAD"}
    )
    if path.startswith("/in/amplitude") or "/audiences" in path:
        others |= {"GET", "HEAD"}
    client = Knocking(asked.url(path))

    statuses = {}
    for method in sorted(others):
        headers = JSON | dict(credentials(path, b""))
        answer = client.ask(at(path, asked), b"", headers, method)
        statuses[method] = answer.status
        if answer.status == 405:
            assert answer.headers["allow"]

    client.close()
    assert set(statuses.values()) <= {405, 400}, statuses
    assert {statuses[each] for each in ("DELETE", "OPTIONS")} == {405}


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip"])
def test_a_packed_body_is_refused_at_every_door(
    asked: Asked, path: str, coding: str
) -> None:
    client = Knocking(asked.url(path))
    packed = {"Content-Encoding": coding}

    answer = client.ask(
        at(path, asked), b"{}", JSON | dict(credentials(path, b"{}")) | packed
    )

    client.close()
    assert answer.status == 415


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(below=st.text("abc/.%~;?#é\x00 -_", max_size=12))
def test_what_is_below_no_path_of_ours_is_not_found_and_nobody_is_let_in(
    asked: Asked, below: str
) -> None:
    url = f"{asked.url('/api')}/api/v1/-{quote(below, safe='/;~')}"

    known = asked.session.get(url, headers=ANA, timeout=PATIENCE, allow_redirects=False)
    stranger = asked.session.get(url, timeout=PATIENCE, allow_redirects=False)

    assert known.status_code in (404, 400)
    assert stranger.status_code == 401
