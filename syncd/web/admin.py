"""The admin app: is the daemon alive, may it be spoken to, what does it count.

Health answers are for machines that restart containers: they carry one word, never a
name or a number, and nobody needs a token for them. A failing sync is no matter of
health. What they ask may hang with the store: it runs on a thread of its own, one at a
time and with a limit, so that a hanging store costs one thread and the answer is no.

Over the Unix socket the same app also carries out the commands of people.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from syncd import events, metrics
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.web.answers import RETRY_AFTER
from syncd.web.refusals import Denied
from syncd.web.threads import Threads

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]

HEALTH_PATIENCE = 3.0
"""Seconds; health checks of containers give up after 5."""
METRICS_PATIENCE = 8.0
"""Seconds; Prometheus gives up after 10."""
LONGEST_BODY = 64 * 1024
"""Bytes of what is sent from a page."""


class Slow(Exception):
    """It did not answer within its time."""


class OneAtATime(Generic[T]):
    """A question that may hang: asked on one thread, whoever asks shares the answer."""

    def __init__(self, name: str, ask: Callable[[], T], patience: float) -> None:
        self._ask = ask
        self._patience = patience
        self._threads = Threads(name, size=1)
        self._asked: Future[T] | None = None

    async def answer(self) -> T:
        """The answer to a question that was begun now, or is on its way already.

        Raises `Slow`, or what the question raises.
        """
        if self._asked is None or self._asked.done():
            self._asked = self._threads.submit(self._ask)
        # Shielded: whoever gives up must not call it off for the others.
        waiting = asyncio.wait_for(
            asyncio.shield(asyncio.wrap_future(self._asked)), self._patience
        )
        try:
            return await waiting
        except TimeoutError:
            raise Slow from None


def _always() -> bool:
    """Whoever answers lives."""
    return True


def admin_app(
    *,
    healthy: Callable[[], bool],
    ready: Callable[[], bool],
    denied: Denied,
    alive: Callable[[], bool] = _always,
    token: Callable[[], str] | None = None,
    routes: Sequence[BaseRoute] = (),
    longest_body: int = LONGEST_BODY,
    health_patience: float = HEALTH_PATIENCE,
    metrics_patience: float = METRICS_PATIENCE,
) -> Starlette:
    """The app. `healthy` and `ready` may ask the store and take their time; an error of
    theirs is a no. `alive` asks nobody. `token`, where there is one, must be shown for
    `/metrics`; it is read at each request, which may hang as well.
    """
    is_alive = OneAtATime("web-live", alive, health_patience)
    is_healthy = OneAtATime("web-healthy", healthy, health_patience)
    is_ready = OneAtATime("web-ready", ready, health_patience)
    counted = OneAtATime("web-metrics", _metrics, metrics_patience)
    wanted = OneAtATime("web-token", token, health_patience) if token else None
    app = Starlette(
        routes=[
            Route("/-/live", _health(is_alive, "failing")),
            Route("/-/healthy", _health(is_healthy, "failing")),
            Route("/-/ready", _health(is_ready, "not_ready")),
            Route("/metrics", _guarded(_counts(counted), wanted, denied)),
            *routes,
        ],
        max_body_size=longest_body,
    )
    # A redirect would name the host that the request claims to have asked.
    app.router.redirect_slashes = False
    return app


def _health(question: OneAtATime[bool], failing: str) -> Endpoint:
    async def answer(_: Request) -> Response:
        try:
            well = await question.answer()
        except Exception:  # noqa: BLE001  # whatever it is, the answer is no
            well = False
        word, status = (b"ok", 200) if well else (failing.encode(), 503)
        body = b'{"status":"%b"}' % word
        return Response(
            body,
            status,
            headers={"cache-control": "no-store"},
            media_type="application/json",
        )

    return answer


def _counts(question: OneAtATime[bytes]) -> Endpoint:
    async def answer(_: Request) -> Response:
        try:
            body = await question.answer()
        except Slow:
            return Response(status_code=503, headers={"retry-after": str(RETRY_AFTER)})
        except Exception as error:  # noqa: BLE001  # a collector's bug must be seen
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="metrics", exc_info=error)
            return Response(status_code=500)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    return answer


def _metrics() -> bytes:
    return generate_latest(metrics.REGISTRY)


def _guarded(
    endpoint: Endpoint, token: OneAtATime[str] | None, denied: Denied
) -> Endpoint:
    async def answer(request: Request) -> Response:
        if token is None or await _may(request.headers, token):
            return await endpoint(request)
        denied.add(request.url.path)
        return Response(
            status_code=401, headers={"www-authenticate": 'Bearer realm="syncd"'}
        )

    return answer


async def _may(headers: Mapping[str, str], token: OneAtATime[str]) -> bool:
    try:
        wanted = await token.answer()
    except (SyncdError, Slow):
        return False  # a secret that cannot be read opens nothing
    return wanted != "" and _presents(headers, wanted)


def _presents(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, presented = headers.get("authorization", "").partition(" ")
    # Bytes, since text beyond ASCII cannot be compared in constant time.
    right = hmac.compare_digest(presented.strip().encode(), token.encode())
    return right and scheme.lower() == "bearer"
