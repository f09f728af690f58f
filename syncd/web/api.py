"""`/api/v1`: what the commands print with `--json`, over HTTP. Changes nothing.

Whoever asks a store that hangs gets a 503 in time: questions wait on a few threads of
their own, and where all of them hang nobody else is kept waiting. What needs no store
is answered all the same: the runbook is wanted most while it hangs.

Who may ask is decided around these routes, by `web.access`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd import events
from syncd.errors import StoreError, SyncdError
from syncd.events import emit
from syncd.web.answers import RETRY_AFTER, error_body
from syncd.web.threads import Busy, Threads

Endpoint = Callable[[Request], Awaitable[Response]]

PREFIX = "/api/v1"
PATIENCE = 8.0
"""Seconds; dashboards and probes that poll give up after ten."""
_THREADS = 4
"""Far fewer than the store has readers: a run must never wait for one of ours."""
_WAITING = 16
_READS = ("GET", "HEAD")
_METHODS = (*_READS, "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""All are routed here, so that every refusal has the one shape."""


class Missing(SyncdError):
    """There is nothing of this name: 404."""

    code = "api.missing"


class BadParameter(SyncdError):
    """The question cannot be understood: 400."""

    code = "api.parameter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked for, beside the resource itself."""

    named: str = ""
    """The last part of its path; empty where it names nothing."""
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Behind the `?`, each as often as it was given."""

    def texts(
        self, name: str, allowed: Collection[str], *, code: str = ""
    ) -> list[str]:
        """Every value of a parameter, each once. Raises `BadParameter` (`code`)."""
        given = list(dict.fromkeys(self.parameters.get(name, ())))
        for value in given:
            if value not in allowed:
                raise BadParameter(
                    f"{name} is none of those there are",
                    code=code,
                    hint=f"one of {', '.join(allowed)}",
                )
        return given

    def number(self, name: str, *, default: int, most: int) -> int:
        """A count from 1 to `most`. Raises `BadParameter`."""
        given = self.parameters.get(name, ())
        if not given:
            return default
        # No sign, no blank, no digit of another script; and never a long one.
        text = given[0] if len(given) == 1 else ""
        digits = text if text.isascii() and text.isdecimal() and len(text) < 10 else "0"
        if not 1 <= int(digits) <= most:
            raise BadParameter(f"{name} is one number from 1 to {most}")
        return int(digits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One path and its document."""

    path: str
    """Below the prefix; `{named}` stands for a name: `/runs/{named}`."""
    answer: Callable[[Question], str]
    """The document; raises `Missing`, `BadParameter`, `StoreError`. May take its time.
    """
    parameters: frozenset[str] = frozenset()
    needs_store: bool = True


class Api:
    """The routes of these resources; any other path below the prefix is missing."""

    def __init__(
        self, resources: Iterable[Resource], *, patience: float = PATIENCE
    ) -> None:
        self._patience = patience
        self._asking = Threads("api", size=_THREADS, waiting=_WAITING)
        self._aside = Threads("api-aside", size=1, waiting=_WAITING)
        known = list(resources)
        self._shown = ", ".join(f"{PREFIX}{each.path}" for each in known)
        routes = [(f"{PREFIX}{each.path}", self._endpoint(each)) for each in known]
        routes += [("/api", self._nothing), ("/api/{rest:path}", self._nothing)]
        self.routes = [
            Route(path, endpoint, methods=_METHODS) for path, endpoint in routes
        ]

    def stop(self) -> None:
        """Begin no answer any more."""
        self._asking.stop()
        self._aside.stop()

    def _endpoint(self, resource: Resource) -> Endpoint:
        threads = self._asking if resource.needs_store else self._aside

        async def answer(request: Request) -> Response:
            if request.method not in _READS:
                return _not_allowed()
            try:
                asked = threads.submit(resource.answer, _question(request, resource))
                waiting = asyncio.wait_for(asyncio.wrap_future(asked), self._patience)
                return _json((await waiting).encode(), 200)
            except TimeoutError:
                slow = "the store did not answer in time"
                return _later("api.slow", slow, "syncd doctor")
            except (Busy, StoreError) as error:
                return _later(error.code, str(error), error.hint)
            except Missing as error:
                return _refusal(404, error.code, str(error), error.hint)
            except BadParameter as error:
                return _refusal(400, error.code, str(error), error.hint)
            except Exception as error:  # noqa: BLE001  # a bug is logged, never shown
                name = type(error).__name__
                emit(events.DAEMON_CRASHED, error=name, thread="api", exc_info=error)
                return _refusal(500, SyncdError.code, f"a bug: {name}", "")

        return answer

    async def _nothing(self, _: Request) -> Response:
        message = "there is nothing of this name"
        return _refusal(404, Missing.code, message, f"one of {self._shown}")


def _question(request: Request, resource: Resource) -> Question:
    """Raises `BadParameter` for what the resource does not know: a misspelt filter
    would look like an answer."""
    parameters: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if name not in resource.parameters:
            known = ", ".join(sorted(resource.parameters))
            raise BadParameter(
                "there is a parameter that is not known here",
                hint=f"one of {known}" if known else "none",
            )
        parameters.setdefault(name, []).append(value)
    named = str(request.path_params.get("named", ""))
    return Question(named=named, parameters=parameters)


def _not_allowed() -> Response:
    message = "nothing is changed here"
    refused = _refusal(405, "api.method", message, f"one of {', '.join(_READS)}")
    refused.headers["allow"] = ", ".join(_READS)
    return refused


def _later(code: str, message: str, hint: str) -> Response:
    refused = _refusal(503, code, message, hint)
    refused.headers["retry-after"] = str(RETRY_AFTER)
    return refused


def _refusal(status: int, code: str, message: str, hint: str) -> Response:
    return _json(orjson.dumps(error_body(code, message, hint)), status)


def _json(body: bytes, status: int) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(body, status, headers=headers, media_type="application/json")
