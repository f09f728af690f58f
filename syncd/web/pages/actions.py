"""Buttons: what an operator may change from a page, one POST each.

A request has to be a person's own click. The viewer may act; the browser says that the
form came from this site; and the form carries a token that only a page of ours could
have given to that viewer for that path. The answer is a redirect (303), so that a
reload repeats nothing, or a page that says why it was refused and what to do.
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd import events
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.web.access import Access, Viewer, viewer_of
from syncd.web.pages import render
from syncd.web.pages.routes import HEADERS
from syncd.web.pages.views import Figure, Plan, RunPage, SyncPage, Top
from syncd.web.threads import Busy, Threads

LONGEST_FORM = 8 * 1024
"""Bytes."""
LONGEST_REASON = 500
"""Characters."""

ON_SYNC = ("run", "plan", "pause", "resume")
ON_RUN = ("approve", "reject")

_FORM = "application/x-www-form-urlencoded"
_FIELDS = 16
_THREADS = 8
_WAITING = 8


class NotPressed(SyncdError):
    """The request is no click of somebody who may act; answered with `status`."""

    code = "form.malformed"

    def __init__(self, status: int, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A button that was pressed."""

    action: str
    """One of `ON_SYNC` or `ON_RUN`."""
    subject: str
    """The sync's name, or the run's id."""
    actor: str
    fields: Mapping[str, str]
    """What the form carried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A plan that waits for a person, as the form names it."""

    run_id: str
    plan_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a sync would do now; neither figures nor a refusal: it is being computed."""

    sync: str
    said: str
    """Who asked for it, and when."""
    figures: tuple[Figure, ...] = ()
    trips: tuple[str, ...] = ()
    """Guards that would hold it."""
    notes: tuple[str, ...] = ()
    refused: SyncdError | None = None


class Desk(Protocol):
    """Carries out what was pressed. May take its time; called on a thread."""

    def press(self, pressed: Pressed) -> str:
        """Begin it; returns the path to go to. Raises `SyncdError` to refuse."""

    def held(self, sync: str) -> Held | None:
        """The plan of a sync that waits."""

    def planned(self, sync: str) -> Planned | None:
        """What a sync would do now, if somebody asked; asks no store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """The buttons of one page, for one viewer."""

    sync: str
    whole: bool
    """All of the sync's; on the page of a run only those about its plan."""
    paused: bool
    held: Held | None
    token: Callable[[str], str]
    """Of the form that is sent to a path."""


class Buttons:
    """The routes that change something, and the buttons that lead to them."""

    def __init__(
        self,
        desk: Desk,
        access: Access,
        *,
        key: bytes,
        top: Callable[[], Top],
        origin: str = "",
    ) -> None:
        """`key` makes the tokens: the same in each process of an installation.

        `origin` is where people reach the pages, for a proxy that changes `Host`.
        """
        self._desk = desk
        self._access = access
        self._key = key
        self._top = top
        self._origin = origin.lower()
        self._threads = Threads("pressed", size=_THREADS, waiting=_WAITING)
        paths = [f"/syncs/{{subject}}/{action}" for action in ON_SYNC]
        paths += [f"/runs/{{subject}}/{action}" for action in ON_RUN]
        self.routes = [
            Route(path, access.guard(self._pressed), methods=["POST"]) for path in paths
        ]
        plan = access.guard(self._planned)
        self.routes.append(Route("/syncs/{subject}/plan", plan, methods=["GET"]))

    def stop(self) -> None:
        """Take no more."""
        self._threads.stop()

    def extras(self, request: Request, page: object) -> Mapping[str, Any]:
        """What a page's template is given beside the page. May ask the store."""
        viewer = viewer_of(request)
        actions = self._actions(viewer, page) if viewer.may_act else None
        return {"viewer": viewer if viewer.name else None, "actions": actions}

    def token(self, viewer: Viewer, path: str) -> str:
        """What a form of this viewer carries that is sent to `path`."""
        said = f"{viewer.name}\0{path}".encode()
        return hmac.new(self._key, said, sha256).hexdigest()

    def _actions(self, viewer: Viewer, page: object) -> Actions | None:
        def token(path: str) -> str:
            return self.token(viewer, path)

        match page:
            case SyncPage(name=name, pause=pause, plan=plan):
                held = self._held(name, plan)
                return Actions(
                    sync=name, whole=True, paused=pause != "", held=held, token=token
                )
            case RunPage(sync=sync, plan=plan) if plan is not None and plan.waits:
                held = self._held(sync.words, plan)
                return Actions(
                    sync=sync.words, whole=False, paused=False, held=held, token=token
                )
            case _:
                return None

    def _held(self, sync: str, plan: Plan | None) -> Held | None:
        """The plan that the page shows, unless another one waits by now."""
        held = self._desk.held(sync) if plan is not None else None
        if held is None or plan is None or held.run_id != plan.run_id:
            return None
        return held

    # ---- a request -------------------------------------------------------------------

    async def _pressed(self, request: Request) -> Response:
        viewer = viewer_of(request)
        try:
            fields = await self._form(request, viewer)
            pressed = Pressed(
                action=request.url.path.rsplit("/", 1)[-1],
                subject=request.path_params["subject"],
                actor=viewer.name,
                fields=fields,
            )
            going = self._threads.submit(self._desk.press, pressed)
            where = await asyncio.wrap_future(going)
        except NotPressed as refused:
            self._access.deny(request)
            return self._refusal(refused, viewer, refused.status)
        except SyncdError as refused:
            return self._refusal(refused, viewer, 503 if _is_busy(refused) else 409)
        except Exception as error:  # noqa: BLE001  # a bug is logged, never shown
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="pressed", exc_info=error)
            return self._refusal(SyncdError(f"a bug: {name}"), viewer, 500)
        return Response(status_code=303, headers={**HEADERS, "location": where})

    async def _planned(self, request: Request) -> Response:
        """What a sync would do now, as it was computed when somebody asked."""
        name = request.path_params["subject"]
        plan = self._desk.planned(name)
        if plan is None:
            where = f"/syncs/{quote(name, safe='')}"
            return Response(status_code=303, headers={**HEADERS, "location": where})
        return self._page("_actions_plan", viewer_of(request), 200, plan=plan)

    async def _form(self, request: Request, viewer: Viewer) -> Mapping[str, str]:
        """The fields of a form that this viewer sent. Raises `NotPressed`."""
        if not viewer.may_act:
            message = f"{viewer.name or 'nobody'} may look, and press nothing"
            raise NotPressed(403, message, code="access.operator", hint="syncd status")
        self._require_same_site(request)
        fields = _fields(request, await request.body())
        wanted = self.token(viewer, request.url.path)
        if not hmac.compare_digest(fields.get("token", "").encode(), wanted.encode()):
            message = "the form is not one that a page of this site gave to you"
            raise NotPressed(403, message, code="form.token", hint="syncd status")
        return fields

    def _require_same_site(self, request: Request) -> None:
        """Raise `NotPressed` unless the browser says that the form is of this site."""
        site = request.headers.get("sec-fetch-site")
        if site == "same-origin":
            return
        host = request.headers.get("host", "").lower()
        own = {f"http://{host}", f"https://{host}", self._origin} - {""}
        origin = request.headers.get("origin", "").lower()
        if site is not None or origin not in own:
            message = "the browser does not say that the form came from this site"
            raise NotPressed(403, message, code="access.origin", hint="syncd status")

    def _refusal(self, refused: SyncdError, viewer: Viewer, status: int) -> Response:
        return self._page("_actions_refused", viewer, status, refused=refused)

    def _page(
        self, template: str, viewer: Viewer, status: int, **values: object
    ) -> Response:
        shown = viewer if viewer.name else None
        body = render.page(template, {**values, "top": self._top(), "viewer": shown})
        headers = {**HEADERS, **({"retry-after": "5"} if status == 503 else {})}
        return Response(body, status, headers, "text/html")


def _is_busy(refused: SyncdError) -> bool:
    return isinstance(refused, Busy)


def _fields(request: Request, body: bytes) -> Mapping[str, str]:
    """The fields of a form, each once. Raises `NotPressed`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM or len(body) > LONGEST_FORM:
        raise _malformed()
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=_FIELDS,
        )
    except ValueError:
        raise _malformed() from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _malformed()
    return fields


def _malformed() -> NotPressed:
    message = "this is not a form that a page of this site sends"
    return NotPressed(400, message, code="form.malformed", hint="syncd status")


def reason_of(fields: Mapping[str, str]) -> str:
    """Why a person does it, in one line. Raises `SyncdError` where nothing is said."""
    words = " ".join(fields.get("reason", "").split())
    if not words or not words.isprintable() or len(words) > LONGEST_REASON:
        message = f"it needs a reason, in one line of up to {LONGEST_REASON} characters"
        raise SyncdError(message, code="form.reason", hint="syncd status")
    return words
