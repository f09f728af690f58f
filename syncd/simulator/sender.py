"""How a vendor sends: four threads, kept connections, retries by the clock.

The only file of the simulator that opens connections. It knows no vendor's payload:
it is given whole requests, and what the answers mean is told by a `Policy`. A request
that waits for its next try occupies no thread. Nothing is logged, and what is kept of
a request never holds its headers, where the secrets are.
"""

import asyncio
import heapq
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from syncd.simulator.sender_policy import Policy

THREADS = 4
"""Requests in flight of one sender (vendor page 1; Segment's number is not known)."""
PEEP = 0.01
"""Real seconds between looks at the clock while everything waits for a retry."""
KEPT = 50
"""Requests whose bodies are kept, for tests to read."""
EXCERPT = 500
"""Bytes of an answer that are kept."""
TIMED = 100_000
"""Newest tries whose times a sum of reports keeps."""
SHOWN = 10
"""Refusals that are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request, the same bytes at every try."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    method: str = "POST"
    items: int = 1
    """Events or ids in it."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of some requests. Requests are counted once, tries every time."""

    requests: int = 0
    items: int = 0
    accepted: int = 0
    """Items in requests that were accepted."""
    failed: int = 0
    """Items in requests that were given up."""
    retried: int = 0
    """Tries after the first one of a request."""
    max_in_flight: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    """Of all tries; `timeout` and `error` where there was none."""
    milliseconds: list[float] = field(default_factory=list)
    """Of all answered tries."""
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """The first answers that ended a request without success."""
    given_up: list[Post] = field(default_factory=list)
    last: dict[str, Any] | None = None
    """The newest answer: status and text; None when none came."""

    def add(self, other: "Report") -> None:
        """Both together, this one first."""
        self.requests += other.requests
        self.items += other.items
        self.accepted += other.accepted
        self.failed += other.failed
        self.retried += other.retried
        self.max_in_flight = max(self.max_in_flight, other.max_in_flight)
        self.statuses += other.statuses
        self.milliseconds = (self.milliseconds + other.milliseconds)[-TIMED:]
        self.refusals = (self.refusals + other.refusals)[:SHOWN]
        self.given_up += other.given_up
        self.last = other.last or self.last

    def shown(self) -> dict[str, Any]:
        """For the control origin; times in real milliseconds."""
        return {
            "requests": self.requests,
            "sent": self.items,
            "accepted": self.accepted,
            "failed": self.failed,
            "retried": self.retried,
            "max_in_flight": self.max_in_flight,
            "statuses": dict(self.statuses),
            "p50_ms": _percentile(self.milliseconds, 50),
            "p99_ms": _percentile(self.milliseconds, 99),
            "refusals": self.refusals,
            "last": self.last,
        }


def _percentile(values: list[float], share: int) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[(len(ordered) - 1) * share // 100], 3)


def _excerpt(answer: httpx.Response) -> str:
    return answer.content[:EXCERPT].decode(errors="replace")


class Engine:
    """The connections of one sender, and its threads while there is work."""

    def __init__(self, moment: Callable[[], float]) -> None:
        self._moment = moment
        """The simulator's clock, epoch seconds; read by all threads."""
        self._stopped = threading.Event()
        # A context without any authority: senders speak to loopback, without TLS.
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # A client around each would add headers no vendor sends, and halve the speed.
        self._transports = [
            httpx.HTTPTransport(verify=nobody, trust_env=False) for _ in range(THREADS)
        ]
        self.kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """The newest requests with their first answer, oldest first."""

    def stop(self) -> None:
        """Give up what waits; a request on the line ends by itself."""
        self._stopped.set()

    async def deliver(self, posts: Sequence[Post], policy: Policy) -> Report:
        """Send everything, in order as far as four threads keep one."""
        if not posts:
            return Report()
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            loop.call_soon_threadsafe(ended.set)

        work = Round(posts, policy, self._moment, self._stopped, self.kept, end)
        for one in self._transports[: len(posts)]:
            # Daemons, as a receiver that never answers must not keep the process.
            threading.Thread(target=work.run, args=(one,), daemon=True).start()
        await ended.wait()
        return work.report


class Round:
    """Some requests on their way; four threads run the same `run`."""

    def __init__(
        self,
        posts: Sequence[Post],
        policy: Policy,
        moment: Callable[[], float],
        stopped: threading.Event,
        kept: deque[dict[str, Any]],
        end: Callable[[], None],
    ) -> None:
        self._posts, self._policy, self._moment = posts, policy, moment
        self._stopped, self._kept, self._end = stopped, kept, end
        self._waiting = [(0.0, place, 0) for place in range(len(posts))]
        """A heap of (moment of the next try, place, tries so far)."""
        self._timeouts = httpx.Timeout(policy.timeout).as_dict()
        """Of each step; a whole answer that is later is late as well."""
        self._flying = 0
        self._threads = min(THREADS, len(posts))
        self._changed = threading.Condition()
        self.report = Report(
            requests=len(posts), items=sum(post.items for post in posts)
        )

    def run(self, transport: httpx.HTTPTransport) -> None:
        """Send until nothing is left."""
        while (taken := self._take()) is not None:
            place, tries = taken
            started = time.perf_counter()
            answer = self._send(transport, self._posts[place])
            milliseconds = (time.perf_counter() - started) * 1000
            self._judge(place, tries, answer, milliseconds)
        with self._changed:
            self._threads -= 1
            if self._threads == 0:
                self._give_up_the_rest()
                self._end()

    def _take(self) -> tuple[int, int] | None:
        """The next due request; waits for it. None: nothing will come any more."""
        with self._changed:
            while not self._stopped.is_set() and (self._waiting or self._flying):
                if self._waiting and self._waiting[0][0] <= self._moment():
                    _, place, tries = heapq.heappop(self._waiting)
                    self._flying += 1
                    most = max(self.report.max_in_flight, self._flying)
                    self.report.max_in_flight = most
                    self.report.retried += tries > 0
                    return place, tries + 1
                self._changed.wait(PEEP)
            return None

    def _send(self, transport: httpx.HTTPTransport, post: Post) -> httpx.Response | str:
        """The answer, redirects too, or the word for there being none."""
        try:
            request = httpx.Request(
                post.method,
                post.url,
                content=post.body,
                headers=list(post.headers),
                extensions={"timeout": self._timeouts},
            )
            response = transport.handle_request(request)
            try:
                response.read()
            finally:
                response.close()
        except httpx.TimeoutException:
            return "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):
            return "error"
        return response

    def _judge(
        self, place: int, tries: int, answer: httpx.Response | str, milliseconds: float
    ) -> None:
        """Count one try; the request is done, given up or waits."""
        late = milliseconds > self._policy.timeout * 1000
        word = "timeout" if late else answer
        status = None if isinstance(word, str) else word.status_code
        with self._changed:
            self._flying -= 1
            self.report.statuses[str(status or word)] += 1
            if not isinstance(answer, str):
                self._note(answer, milliseconds)
            self._decide(place, tries, status, answer)
            self._keep(place, tries, str(status or word))
            self._changed.notify_all()

    def _note(self, answer: httpx.Response, milliseconds: float) -> None:
        self.report.milliseconds.append(milliseconds)
        self.report.last = {"status": answer.status_code, "text": _excerpt(answer)}

    def _decide(
        self, place: int, tries: int, status: int | None, answer: httpx.Response | str
    ) -> None:
        post, policy = self._posts[place], self._policy
        if status is not None and policy.accepts(status):
            self.report.accepted += post.items
        elif tries <= policy.retries and policy.asks_again(status):
            asked = None if isinstance(answer, str) else answer.headers
            retry_after = asked.get("retry-after") if asked is not None else None
            due = self._moment() + policy.delay(tries, retry_after)
            heapq.heappush(self._waiting, (due, place, tries))
        else:
            self._give_up(place)
            if len(self.report.refusals) < SHOWN:
                text = answer if isinstance(answer, str) else _excerpt(answer)
                self.report.refusals.append({"status": status, "text": text})

    def _give_up(self, place: int) -> None:
        self.report.failed += self._posts[place].items
        self.report.given_up.append(self._posts[place])

    def _give_up_the_rest(self) -> None:
        """Stopped: what waits is never sent."""
        for _, place, _ in self._waiting:
            self._give_up(place)
        self._waiting.clear()

    def _keep(self, place: int, tries: int, outcome: str) -> None:
        post = self._posts[place]
        self._kept.append(
            {
                "method": post.method,
                "url": post.url,
                "body": post.body.decode(errors="replace"),
                "tries": tries,
                "outcome": outcome,
            }
        )
