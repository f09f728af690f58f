"""The paths of the status page, and how their answers are made.

What a page needs of the store is read, and the page laid out, on a thread with a
deadline: a store that hangs costs a few threads and an honest answer, never the health
checks beside it. Nothing here changes anything.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from difflib import get_close_matches
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from syncd import events
from syncd import help as runbook
from syncd.errors import StoreError
from syncd.events import emit
from syncd.web.answers import RETRY_AFTER
from syncd.web.pages import render
from syncd.web.pages.render import Asset
from syncd.web.pages.views import Board, Link, NotThere, Top
from syncd.web.threads import Busy, Threads

Endpoint = Callable[[Request], Awaitable[Response]]
Made = tuple[bytes, int]
"""The bytes of a page, and its status."""
Extras = Callable[[Request, object], Mapping[str, Any]]
"""What a template is given beside the page: `viewer` and `actions`."""

PATIENCE = 8.0
"""Seconds until a page gives up on the store."""
_THREADS = 4
_WAITING = 16
_A_YEAR = 365 * 86400

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; "
    "script-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Of every page: nothing from elsewhere, in nobody's frame, kept by no cache."""


def nothing_more(_: Request, __: object) -> Mapping[str, Any]:
    """Everybody may look, nobody may press anything."""
    return {"viewer": None, "actions": None}


class Pages:
    """The routes of the pages; `elsewhere` is to come after every other route."""

    def __init__(
        self,
        board: Board,
        *,
        extras: Extras = nothing_more,
        guard: Callable[[Endpoint], Endpoint] = lambda endpoint: endpoint,
        patience: float = PATIENCE,
    ) -> None:
        """`guard` decides who may see a page at all; style sheets are for everybody."""
        self._board = board
        self._extras = extras
        self._patience = patience
        self._threads = Threads("pages", size=_THREADS, waiting=_WAITING)
        # The runbook is wanted most while the store hangs, and with it those.
        self._readers = Threads("pages-help", size=_THREADS, waiting=_WAITING)
        pages: Mapping[str, Callable[[Request], Made]] = {
            "/": self._list,
            "/syncs/{name}": self._sync,
            "/runs/{run_id}": self._run,
        }
        texts: Mapping[str, Callable[[Request], Made]] = {
            "/help": self._help_index,
            "/help/{code:path}": self._help,
        }
        self.routes: list[BaseRoute] = [
            *self._routes(pages, self._threads, guard),
            *self._routes(texts, self._readers, guard),
        ]
        self.routes += [
            Route(path, _file(asset)) for path, asset in render.assets().items()
        ]
        self.elsewhere = Route(
            "/{path:path}", guard(self._endpoint(self._nowhere, self._readers))
        )

    def _routes(
        self,
        pages: Mapping[str, Callable[[Request], Made]],
        threads: Threads,
        guard: Callable[[Endpoint], Endpoint],
    ) -> Iterator[Route]:
        for path, make in pages.items():
            yield Route(path, guard(self._endpoint(make, threads)))

    def stop(self) -> None:
        """Make no more pages."""
        self._threads.stop()
        self._readers.stop()

    # ---- pages -----------------------------------------------------------------------

    def _list(self, request: Request) -> Made:
        found = self._board.overview(request.query_params.get("state", ""))
        return self._page(request, "list", found), 200

    def _sync(self, request: Request) -> Made:
        outcome = request.query_params.get("outcome", "")
        found = self._board.sync(request.path_params["name"], outcome)
        return self._page(request, "sync", found), 200

    def _run(self, request: Request) -> Made:
        found = self._board.run(request.path_params["run_id"])
        return self._page(request, "run", found), 200

    def _help_index(self, request: Request) -> Made:
        pages = runbook.pages()
        groups = [
            (group, list(found))
            for group, found in groupby(pages, key=lambda each: each.group)
        ]
        top = self._board.top()
        return self._page(request, "help_index", None, top=top, groups=groups), 200

    def _help(self, request: Request) -> Made:
        code = request.path_params["code"]
        found = runbook.find(code)
        if not found:
            near = [
                Link(words=each, href=f"/help/{each}") for each in runbook.nearest(code)
            ]
            raise NotThere(f"There is no help about {code}.", near)
        top = self._board.top()
        return self._page(request, "help", None, top=top, asked=code, pages=found), 200

    def _nowhere(self, request: Request) -> Made:
        known = ["/", "/help", "/metrics", "/api/v1/status"]
        near = get_close_matches(request.url.path, known, n=2) or known[:2]
        links = [Link(words=each, href=each) for each in near]
        raise NotThere("There is no page at this address.", links)

    # ---- answers ---------------------------------------------------------------------

    def _endpoint(self, make: Callable[[Request], Made], threads: Threads) -> Endpoint:
        async def answer(request: Request) -> Response:
            try:
                making = threads.submit(self._made, make, request)
                waiting = asyncio.wrap_future(making)
                body, status = await asyncio.wait_for(waiting, self._patience)
            except (TimeoutError, Busy):
                body, status = self._no_store(), 503
            return _html(body, status)

        return answer

    def _made(self, make: Callable[[Request], Made], request: Request) -> Made:
        """A page, or the one that says why there is none."""
        try:
            return make(request)
        except NotThere as missing:
            return self._said("Not found", missing.what, missing.near), 404
        except StoreError as error:
            emit(events.STORE_UNAVAILABLE, error=str(error), code=error.code)
            return self._no_store(), 503
        except Exception as error:  # noqa: BLE001  # a bug is logged, never shown
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="pages", exc_info=True)
            return _PLAIN_ERROR, 500

    def _page(
        self, request: Request, template: str, page: object, **values: object
    ) -> bytes:
        extras = self._extras(request, page)
        return render.page(template, {**extras, "page": page, **values})

    def _no_store(self) -> bytes:
        what = (
            "The store did not answer in time. Syncs may still be running; what they "
            "do is in the log. Type: syncd doctor"
        )
        return self._said("No answer", what)

    def _said(self, title: str, what: str, near: tuple[Link, ...] = ()) -> bytes:
        values: dict[str, object] = {"title": title, "what": what, "near": near}
        top: Top = self._board.top()
        return render.page("said", {**values, "top": top, "viewer": None})


_PLAIN_ERROR = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>syncd: error</title>"
    b"<h1>This page could not be made</h1><p>The log says why: "
    b"<code>daemon.crashed</code>. Syncs are not touched by this. "
    b"<a href=/>All syncs</a></p></html>"
)


def _html(body: bytes, status: int) -> Response:
    headers = dict(HEADERS)
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER)
    return Response(body, status, headers=headers, media_type="text/html")


def _file(asset: Asset) -> Endpoint:
    """A file of ours; under its own version it never changes."""

    async def answer(request: Request) -> Response:
        own = request.query_params.get("v") == asset.version
        keep = f"public, max-age={_A_YEAR}, immutable" if own else "no-cache"
        etag = f'"{asset.version}"'
        headers = {**HEADERS, "cache-control": keep, "etag": etag}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(asset.body, headers=headers, media_type=asset.media_type)

    return answer
