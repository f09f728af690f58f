"""`/api/v1` over a real socket: shapes of refusals, who may ask, a store that hangs."""

import json
import threading
from collections.abc import Callable, Iterator, MutableSequence
from contextlib import contextmanager

import httpx
import pytest
from starlette.routing import Route
from structlog.typing import EventDict

from syncd.clock import Clock
from syncd.errors import StoreUnavailable
from syncd.web.access import Access, People, Person
from syncd.web.admin import admin_app
from syncd.web.api import Api, Missing, Question, Resource
from syncd.web.refusals import Denied
from tests.builders import PATIENCE
from tests.integration.served import served


def said(text: str = '{"said": true}\n') -> Callable[[Question], str]:
    return lambda _: text


def things(
    answer: Callable[[Question], str] | None = None, **options: bool
) -> list[Resource]:
    """One resource, `/things`, with a filter `kind`, and one that needs no store."""
    known = Resource(
        path="/things",
        answer=answer or said(),
        parameters=frozenset({"kind", "limit"}),
        **options,
    )
    named = Resource(path="/things/{named}", answer=lambda asked: f'"{asked.named}"')
    aside = Resource(path="/aside", answer=said(), needs_store=False)
    return [known, named, aside]


@contextmanager
def serving(
    resources: list[Resource],
    *,
    access: Access | None = None,
    patience: float = PATIENCE,
) -> Iterator[httpx.Client]:
    api = Api(resources, patience=patience)
    guard = access.guard if access is not None else lambda endpoint: endpoint
    app = admin_app(
        healthy=lambda: True,
        ready=lambda: True,
        denied=Denied(Clock()),
        routes=[
            Route(each.path, guard(each.endpoint), methods=each.methods)
            for each in api.routes
        ],
    )
    try:
        with served(app) as client:
            yield client
    finally:
        api.stop()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code; every refusal has one shape."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error.keys() == {"code", "message", "hint"}
    return answer.status_code, error["code"]


# ---- answers -------------------------------------------------------------------------


def test_a_document_is_given_as_it_was_made_and_kept_by_no_cache() -> None:
    with serving(things(said('{\n  "schema": "x"\n}\n'))) as client:
        answer = client.get("/api/v1/things")

    assert answer.status_code == 200
    assert answer.text == '{\n  "schema": "x"\n}\n'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_head_is_answered_like_a_get_without_its_body() -> None:
    with serving(things()) as client:
        answer = client.head("/api/v1/things")
        length = client.get("/api/v1/things").headers["content-length"]

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == length


def test_what_is_named_and_what_is_filtered_reaches_the_question() -> None:
    asked: list[Question] = []

    def answer(question: Question) -> str:
        asked.append(question)
        return "{}"

    with serving(things(answer)) as client:
        named = client.get("/api/v1/things/a%20b").json()
        client.get("/api/v1/things?kind=a&limit=3&kind=b")

    assert named == "a b"
    assert asked == [Question(parameters={"kind": ["a", "b"], "limit": ["3"]})]


# ---- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1", "/api/v1/", "/api/v2/things", "/api/v1/things/a/b"]
)
def test_a_path_that_is_none_of_ours_is_missing_and_names_those_that_are(
    path: str,
) -> None:
    with serving(things()) as client:
        answer = client.get(path)

    assert refusal(answer) == (404, "api.missing")
    assert "/api/v1/things," in answer.json()["error"]["hint"]


def test_what_the_resource_does_not_have_is_missing_by_its_own_code() -> None:
    def nothing(_: Question) -> str:
        raise Missing("there is no such sync", code="sync.unknown", hint="syncd status")

    with serving(things(nothing)) as client:
        answer = client.get("/api/v1/things")

    assert refusal(answer) == (404, "sync.unknown")
    assert answer.json()["error"]["hint"] == "syncd status"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_allowed(method: str) -> None:
    asked: list[Question] = []

    def answer(question: Question) -> str:
        asked.append(question)
        return "{}"

    with serving(things(answer)) as client:
        refused = client.request(method, "/api/v1/things", content=b"{}")

    assert refusal(refused) == (405, "api.method")
    assert refused.headers["allow"] == "GET, HEAD"
    assert asked == []


def test_a_misspelt_parameter_is_refused_since_its_answer_would_look_right() -> None:
    with serving(things()) as client:
        answer = client.get("/api/v1/things?kinds=a")
        none = client.get("/api/v1/aside?kind=a")

    assert refusal(answer) == refusal(none) == (400, "api.parameter")
    assert answer.json()["error"]["hint"] == "one of kind, limit"


@pytest.mark.parametrize(
    "given", ["0", "-1", "11", "", "1.5", "+1", "٣", "9" * 5000, "1&limit=2"]
)
def test_a_number_that_is_none_is_refused(given: str) -> None:
    def counted(question: Question) -> str:
        return str(question.number("limit", default=7, most=10))

    with serving(things(counted)) as client:
        refused = client.get(f"/api/v1/things?limit={given}")
        taken = [
            client.get(f"/api/v1/things{query}").text for query in ("", "?limit=10")
        ]

    assert refusal(refused) == (400, "api.parameter")
    assert taken == ["7", "10"]


def test_a_word_that_is_none_is_refused_and_the_others_are_named() -> None:
    def chosen(question: Question) -> str:
        return json.dumps(question.texts("kind", ["held", "failed"]))

    with serving(things(chosen)) as client:
        refused = client.get("/api/v1/things?kind=held&kind=lost")
        taken = client.get("/api/v1/things?kind=held&kind=held").json()

    assert refusal(refused) == (400, "api.parameter")
    assert refused.json()["error"]["hint"] == "one of held, failed"
    assert taken == ["held"]


def test_a_bug_is_logged_and_its_words_are_not_shown(
    lines: MutableSequence[EventDict],
) -> None:
    def broken(_: Question) -> str:
        raise ValueError("person-000001")

    with serving(things(broken)) as client:
        answer = client.get("/api/v1/things")

    assert refusal(answer) == (500, "internal")
    assert "person-000001" not in answer.text
    (line,) = (one for one in lines if one["event"] == "daemon.crashed")
    assert (line["error"], line["thread"]) == ("ValueError", "api")


# ---- a store that hangs --------------------------------------------------------------


def test_a_store_that_says_no_is_said_with_when_to_ask_again() -> None:
    def refused(_: Question) -> str:
        raise StoreUnavailable("the store failed: disk I/O error", hint="syncd status")

    with serving(things(refused)) as client:
        answer = client.get("/api/v1/things")

    assert refusal(answer) == (503, StoreUnavailable.code)
    assert int(answer.headers["retry-after"]) > 0


def test_a_store_that_hangs_costs_a_few_threads_and_nobody_else_their_answer() -> None:
    hang = threading.Event()
    began: list[str] = []

    def hangs(_: Question) -> str:
        began.append(threading.current_thread().name)
        hang.wait(PATIENCE)
        return "{}"

    with serving(things(hangs), patience=0.05) as client:
        answers = [client.get("/api/v1/things") for _ in range(30)]
        aside = client.get("/api/v1/aside")
        healthy = client.get("/-/healthy")
        hang.set()
        while client.get("/api/v1/things").status_code != 200:
            pass

    assert {refusal(answer) for answer in answers} == {
        (503, "api.slow"),
        (503, "web.busy"),
    }
    assert all("retry-after" in answer.headers for answer in answers)
    assert len(set(began)) == 4
    assert (aside.status_code, healthy.status_code) == (200, 200)


# ---- who may ask ---------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/things", "/api/v1/things/a", "/api/v1/none"])
def test_nothing_is_told_to_whom_nobody_let_in(path: str) -> None:
    person = Person(password=lambda: "right", operator=False)
    access = Access(People(users={"ana": person}), Denied(Clock()))

    with serving(things(), access=access) as client:
        without = client.get(path)
        wrong = client.get(path, auth=("ana", "wrong"))
        right = client.get(path, auth=("ana", "right"))

    assert refusal(without) == refusal(wrong) == (401, "access.sign_in")
    assert right.status_code in {200, 404}
