"""Who is on the line right now: exclusivity per cohort (R23) and the counters of tests.

Two different questions:
- `Busy` is the server's view: a handler for this cohort has not ended. A second one
  gets 429, also when the first one's client has hung up.
- `Traffic` is the clients' view: a request counts while its connection is open. An
  *overlap* is a request that reached a cohort beside such a one, the thing a correct
  client never does.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from syncd.simulator.answers import OverLimit
from syncd.simulator.calls import WRITES, Call

CONCURRENT = "Too Many Requests: Exceeded concurrent limit with cohort being accessed"


class Line(Protocol):
    """An open connection."""

    def is_closing(self) -> bool:
        """True once the client has hung up or we have."""
        ...


class Busy:
    """The cohorts some handler works on."""

    def __init__(self) -> None:
        self._held: set[tuple[int, str]] = set()

    @contextmanager
    def hold(self, app_id: int, cohort_id: str | None) -> Iterator[None]:
        """Keep a cohort for one handler. Raises OverLimit when another has it."""
        if cohort_id is None:
            yield
            return
        key = (app_id, cohort_id)
        if key in self._held:
            raise OverLimit("cohort", CONCURRENT)
        self._held.add(key)
        try:
            yield
        finally:
            self._held.discard(key)


@dataclass(slots=True, eq=False)
class Flight:
    """One request on the line."""

    call: Call
    line: Line
    app_id: int | None = None


@dataclass(slots=True)
class CohortTraffic:
    """Counters of one cohort."""

    requests: int = 0
    max_in_flight: int = 0
    overlaps: int = 0
    flights: set[Flight] = field(default_factory=set)


class Traffic:
    """Counters over all requests of the amplitude origin."""

    def __init__(self) -> None:
        self._flights: set[Flight] = set()
        self._cohorts: dict[str, CohortTraffic] = {}
        self._by_endpoint: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._most = self._most_writes = self._ids_sent = 0

    def begin(self, call: Call, line: Line, app_id: int | None = None) -> Flight:
        """A request has arrived, with the key of a project if it had a known one."""
        flight = Flight(call, line, app_id)
        self._flights.add(flight)
        self._by_endpoint[call.endpoint] += 1
        self._ids_sent += call.id_count
        on_line = [other for other in self._flights if not other.line.is_closing()]
        writes = sum(other.call.endpoint in WRITES for other in on_line)
        self._most = max(self._most, len(on_line))
        self._most_writes = max(self._most_writes, writes)
        if call.locks is not None:
            self._begin_cohort(flight, call.locks)
        return flight

    def _begin_cohort(self, flight: Flight, cohort_id: str) -> None:
        cohort = self._cohorts.setdefault(cohort_id, CohortTraffic())
        beside = sum(not other.line.is_closing() for other in cohort.flights)
        cohort.requests += 1
        cohort.overlaps += beside > 0
        cohort.max_in_flight = max(cohort.max_in_flight, beside + 1)
        cohort.flights.add(flight)

    def end(self, flight: Flight, status: int | None) -> None:
        """A request is answered (None: it never will be). Ending twice is harmless."""
        if flight not in self._flights:
            return
        self._flights.discard(flight)
        self._by_status["none" if status is None else str(status)] += 1
        if flight.call.locks is not None:
            self._cohorts[flight.call.locks].flights.discard(flight)

    def concurrent(self, app_id: int) -> int:
        """Requests of a project on the line."""
        flights = (one for one in self._flights if one.app_id == app_id)
        return sum(not one.line.is_closing() for one in flights)

    def stats(self) -> dict[str, Any]:
        """All counters, for `/_sim/stats`."""
        return {
            "requests": self._by_endpoint.total(),
            "by_endpoint": dict(self._by_endpoint),
            "by_status": dict(self._by_status),
            "status_429": self._by_status["429"],
            "in_flight": sum(not one.line.is_closing() for one in self._flights),
            "max_in_flight": self._most,
            "max_writes_in_flight": self._most_writes,
            "overlaps": sum(one.overlaps for one in self._cohorts.values()),
            "ids_sent": self._ids_sent,
            "cohorts": {
                key: {
                    "requests": one.requests,
                    "max_in_flight": one.max_in_flight,
                    "overlaps": one.overlaps,
                }
                for key, one in self._cohorts.items()
            },
        }
