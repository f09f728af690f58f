"""A partner's API as vendor page 1 describes it to those who receive cohorts.

One `PartnerClient` per connection, thread-safe. It never retries, with one exception:
when the credentials are refused it reads them again, and asks once more if they have
changed. Bodies are the sinks'; this knows how to ask and what the answers mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from syncd.clients.credentials import Renewable, basic
from syncd.clients.http import ACKNOWLEDGEMENT_BYTES, Answer, HttpClient, TransportError
from syncd.clients.proof import unanswered
from syncd.clients.refusals import Verdict, is_page, refusal, said, usual_verdict
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault


class Call(StrEnum):
    """Which call an answer belongs to: a 404 is about a person only where one is."""

    CREATE = "create"
    """A new list: names nobody."""
    ADD = "add"
    REMOVE = "remove"
    UPDATE = "update"
    """A property of one person or many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One POST: the same whichever credentials it goes out with."""

    call: Call
    path: str
    """Below the base URL, beginning with a slash, percent-encoded."""
    body: bytes = field(repr=False)
    ids: Sequence[bytes] = field(default=(), repr=False)
    """Those in the body: they must not come back in an error text."""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class _Access:
    """What the headers of a request are made of; compared to see a renewal."""

    api_key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class PartnerClient:
    """POSTs JSON to one partner."""

    def __init__(
        self,
        http: HttpClient,
        api_key: Callable[[], str],
        *,
        api_key_header: str | None,
        headers: Callable[[], Mapping[str, str]],
        clock: Clock,
    ) -> None:
        """`api_key` and `headers` are read from where they are kept, each time anew.

        Without an `api_key_header` the key is the user of Basic authentication, with an
        empty password (vendor page 1).
        """
        self._http = http
        self._api_key_header = api_key_header
        self._access = Renewable(lambda: _Access(api_key(), dict(headers())))
        self._clock = clock

    def post(self, request: Request) -> Answer:
        """One request; any 2xx is returned unread, all else raises `DeliveryError`."""
        return self._access.try_with(lambda access: self._attempt(access, request))

    def name(self, call: Call) -> str:
        """The call as messages name it."""
        return f"the {call} call of {self._http.host}"

    def _attempt(self, access: _Access, request: Request) -> Answer:
        headers = self._headers(access)
        try:
            answer = self._http.request(
                "POST",
                request.path,
                body=request.body,
                headers=headers,
                # A partner may echo the request, escaped.
                max_bytes=ACKNOWLEDGEMENT_BYTES + 3 * len(request.body),
                run_id=request.run_id,
                operation=request.call.value,
            )
        except TransportError as error:
            raise unanswered(error) from error
        if answer.ok:
            return answer
        secrets = [access.api_key, basic(access.api_key).split()[1]]
        people = [each.decode() for each in request.ids]
        private = [*secrets, *access.headers.values(), *people]
        raise self._refusal(answer, request.call, said(answer.body, private))

    def _headers(self, access: _Access) -> dict[str, str]:
        """Ours, then the connection's own, then the key, which none may replace."""
        own = {name.lower(): value for name, value in access.headers.items()}
        named = self._api_key_header
        key = {named.lower(): access.api_key} if named else {}
        if not named:
            key = {"authorization": basic(access.api_key)}
        return {"content-type": "application/json", **own, **key}

    def _refusal(self, answer: Answer, call: Call, words: str) -> DeliveryError:
        verdict = verdict_of(answer, call)
        return refusal(
            answer,
            verdict,
            call=self.name(call),
            words=words,
            now=self._clock.now(),
            hint=_HINTS.get(verdict[1], ""),
        )


_HINTS: Mapping[str, str] = {
    "auth": "check api key and headers of the connection: syncd check",
    "not_found": "check `base_url` of the connection: syncd check",
    "invalid_id": "are these ids of the type that the partner knows people by?",
    "unknown_user": "does the partner know these people, or is the list gone?",
    "rate_limited": "lower `delivery.workers`, or ask the partner for its limit",
}

_ABOUT_PEOPLE: Mapping[int, Verdict] = {
    400: (Fault.BAD_IDS, "invalid_id"),
    404: (Fault.BAD_IDS, "unknown_user"),
}
"""Vendor page 1: 400 is an invalid request, 404 an invalid user id. Either is led down
to one person by halving; a 404 never says that a list is gone (architecture.md 8)."""


def verdict_of(answer: Answer, call: Call) -> Verdict:
    """What a refusal means.

    A page instead of an answer passes: it is of something between us and the partner,
    or a path that it does not serve, and says nothing about a person.
    """
    about_people = _ABOUT_PEOPLE.get(answer.status)
    if about_people is None or call is Call.CREATE:
        return usual_verdict(answer.status)
    if is_page(answer.body):
        return Fault.PASSING, "bad_response"
    return about_people


def require_fits(ids: Sequence[bytes], limit: int, call: str) -> None:
    """Raise `DeliveryError` (`TOO_LARGE`) if a batch was made for a larger limit."""
    if len(ids) > limit:
        raise DeliveryError(
            f"not sent to {call}: {len(ids)} ids are more than {limit}",
            fault=Fault.TOO_LARGE,
            error_type="too_large",
        )
