"""One call of Amplitude's API: credentials, and what became of it.

Shared by the clients of the cohort API. It never retries, with one exception: when the
credentials are refused it reads them again, and asks once more if they have changed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from syncd.clients.amplitude_errors import Endpoint, classify, read_envelope
from syncd.clients.credentials import Renewable, basic
from syncd.clients.http import (
    ACKNOWLEDGEMENT_BYTES,
    Answer,
    HttpClient,
    TransportError,
)
from syncd.clients.proof import unanswered
from syncd.clock import Clock

LIST_BYTES = 32 * 1024 * 1024
"""Cap on the cohort list: it holds every definition of the project, unpaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: the same whichever credentials it goes out with."""

    endpoint: Endpoint
    method: str = "GET"
    path: str
    body: bytes | None = field(default=None, repr=False)
    ids: Sequence[bytes] = field(default=(), repr=False)
    """Those in the body: they must not come back in an error text."""
    max_bytes: int = ACKNOWLEDGEMENT_BYTES
    run_id: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    taking: "Taking | None" = None
    """Set for an answer too long to be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """How a long answer is had: its body is handed on, or it names a link."""

    take: Callable[[bytes], object] = field(repr=False)
    deadline: float
    """Real seconds, to the last byte."""


def listing(path: str) -> Call:
    """The call for the list of cohorts, with or without a query."""
    return Call(endpoint=Endpoint.LIST, path=path, max_bytes=LIST_BYTES)


class Caller:
    """Makes calls with the credentials of one connection. Thread-safe."""

    def __init__(
        self,
        http: HttpClient,
        credentials: Callable[[], tuple[str, str]],
        *,
        clock: Clock,
    ) -> None:
        """`credentials` reads key and secret from where they are kept (`Renewable`)."""
        self._http = http
        self._credentials = Renewable(credentials)
        self._clock = clock

    def send(self, call: Call) -> Answer:
        """Send with the current credentials, and once more if they were renewed.

        Returns any 2xx, and for a call with `taking` also a redirect, which is never
        followed; all else raises `DeliveryError`.
        """
        return self._credentials.try_with(lambda pair: self._attempt(call, pair))

    def _attempt(self, call: Call, credentials: tuple[str, str]) -> Answer:
        headers = {**call.headers, "authorization": basic(*credentials)}
        if call.body is not None:
            headers["content-type"] = "application/json"
        try:
            answer = self._exchange(call, headers)
        except TransportError as error:
            raise unanswered(error) from error
        if answer.ok or (call.taking and 300 <= answer.status <= 399):
            return answer
        private = [*credentials, headers["authorization"].split()[1], *texts(call.ids)]
        envelope = read_envelope(answer.body, private)
        raise classify(answer, envelope, call.endpoint, self._clock.now())

    def _exchange(self, call: Call, headers: Mapping[str, str]) -> Answer:
        if call.taking is None:
            return self._http.request(
                call.method,
                call.path,
                body=call.body,
                headers=headers,
                max_bytes=call.max_bytes,
                run_id=call.run_id,
                operation=call.endpoint.word,
            )
        return self._http.stream(
            call.method,
            call.path,
            call.taking.take,
            headers=headers,
            max_bytes=call.max_bytes,
            deadline=call.taking.deadline,
            run_id=call.run_id,
            operation=call.endpoint.word,
        )


def texts(ids: Sequence[bytes]) -> list[str]:
    """65 us per 1,000 ids with the dump; joining escaped text saved only 20 of them."""
    return [each.decode() for each in ids]
