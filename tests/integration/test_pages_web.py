"""The pages over a real socket: headers, what is not there, stores that fail."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from structlog.testing import capture_logs

from syncd.errors import StoreUnavailable
from syncd.web.pages.routes import Pages
from syncd.web.pages.views import Link, ListPage, NotThere, RunPage, SyncPage, Top
from tests import paged
from tests.builders import PATIENCE
from tests.integration.served import served

EVERYWHERE = ("/", "/syncs/churn-risk", f"/runs/{paged.RUN}", "/help", "/help/held")


class FakeBoard:
    """Pages without a store; `before` is called whenever one is asked for."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self._before = before
        self.asked: list[tuple[str, ...]] = []

    def top(self) -> Top:
        return paged.TOP

    def overview(self, state: str) -> ListPage:
        self.asked.append(("overview", state))
        self._before()
        return paged.list_page(*paged.rows(4), chosen=state)

    def sync(self, name: str, outcome: str) -> SyncPage:
        self.asked.append(("sync", name, outcome))
        self._before()
        if name != "churn-risk":
            near = (Link(words="churn-risk", href="/syncs/churn-risk"),)
            raise NotThere(f"There is no sync {name}.", near)
        return paged.sync_page()

    def run(self, run_id: str) -> RunPage:
        self.asked.append(("run", run_id))
        self._before()
        return paged.run_page()


@contextmanager
def serving(board: FakeBoard, patience: float = PATIENCE) -> Iterator[httpx.Client]:
    pages = Pages(board, patience=patience)
    app = Starlette(routes=[*pages.routes, pages.elsewhere])
    try:
        with served(app) as client:
            yield client
    finally:
        pages.stop()


@pytest.mark.parametrize("path", [*EVERYWHERE, "/nowhere", "/syncs/nobody"])
def test_every_page_forbids_what_it_does_not_need(path: str) -> None:
    with serving(FakeBoard()) as client:
        headers = client.get(path).headers

    policy = dict(
        part.strip().partition(" ")[::2]
        for part in headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "script-src": "'self'",
        "img-src": "'self' data:",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "text/html; charset=utf-8"


def test_filters_reach_the_board_as_they_are_in_the_address() -> None:
    board = FakeBoard()

    with serving(board) as client:
        client.get("/?state=on_time")
        client.get("/syncs/churn-risk?outcome=failed")

    assert board.asked == [("overview", "on_time"), ("sync", "churn-risk", "failed")]


def test_a_file_is_kept_under_its_version_and_asked_for_again_without_it() -> None:
    with serving(FakeBoard()) as client:
        page = paged.read(client.get("/").content)
        href = page.one("link", rel="stylesheet").attributes["href"]
        source = page.one("script").attributes["src"]
        style, script = client.get(href), client.get(source)
        plain = client.get("/style.css")
        etag = plain.headers["etag"]
        again = client.get("/style.css", headers={"if-none-match": etag})

    assert style.headers["content-type"].startswith("text/css")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in style.headers["cache-control"]
    assert plain.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/syncs/churn-risc", "/syncs/churn-risk"),
        ("/help/guard.max_exist", "/help/guard.max_exit"),
        ("/hlep", "/help"),
    ],
)
def test_what_is_not_there_names_what_is_near(path: str, nearest: str) -> None:
    with serving(FakeBoard()) as client:
        answer = client.get(path)

    page = paged.read(answer.content)
    assert answer.status_code == 404
    assert nearest in [each.attributes["href"] for each in page.all("a")]


def test_a_path_is_only_text_on_the_page_that_says_it_is_not_there() -> None:
    with serving(FakeBoard()) as client:
        answer = client.get("/syncs/<script>alert(1)</script>")
        help_ = client.get("/help/<img src=x onerror=alert(1)>")

    for each in (answer, help_):
        page = paged.read(each.content)
        assert each.status_code == 404
        assert not page.all("img")
        assert not page.all("script")


def test_a_bug_is_a_plain_page_and_a_log_line_never_a_traceback() -> None:
    def break_() -> None:
        raise ZeroDivisionError("secret detail of a bug")

    with capture_logs() as logs, serving(FakeBoard(break_)) as client:
        answer = client.get("/")

    assert answer.status_code == 500
    assert "Traceback" not in answer.text
    assert "secret detail" not in answer.text
    (line,) = [each for each in logs if each["event"] == "daemon.crashed"]
    assert (line["error"], line["thread"]) == ("ZeroDivisionError", "pages")


def test_a_store_that_fails_is_said_so_and_logged() -> None:
    def break_() -> None:
        raise StoreUnavailable("disk I/O error")

    with capture_logs() as logs, serving(FakeBoard(break_)) as client:
        answer = client.get("/")
        help_ = client.get("/help/store.unavailable")

    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert "syncd doctor" in paged.read(answer.content).one("main").text
    assert [each["event"] for each in logs] == ["store.unavailable"]
    # The runbook is wanted most now.
    assert help_.status_code == 200


def test_a_store_that_hangs_costs_a_few_threads_and_help_is_still_answered() -> None:
    hangs = threading.Event()

    with serving(FakeBoard(lambda: hangs.wait(PATIENCE)), patience=0.2) as client:
        answers = [client.get("/").status_code for _ in range(6)]
        help_ = client.get("/help").status_code
        names = [thread.name for thread in threading.enumerate()]
        hangs.set()

    assert answers == [503] * 6
    assert help_ == 200
    assert len([name for name in names if name.startswith("pages-")]) <= 5


def test_looking_never_changes_anything() -> None:
    with serving(FakeBoard()) as client:
        posted = [client.post(path).status_code for path in EVERYWHERE]
        looked = [client.head(path).status_code for path in EVERYWHERE]

    assert posted == [405] * len(EVERYWHERE)
    assert looked == [200] * len(EVERYWHERE)
