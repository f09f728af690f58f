"""Segment's Public API: how many people its audiences hold, for free (contract 7).

It has no call for who they are. What it says is a hint, to notice that an audience
moves and nothing is pushed: it counts profiles, where we count user ids. It never
retries, with the exception of `Renewable`.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from syncd.clients.credentials import Renewable
from syncd.clients.http import Answer, HttpClient, TransportError
from syncd.clients.proof import bad_response, unanswered
from syncd.clients.refusals import refusal, said, usual_verdict
from syncd.clock import Clock
from syncd.errors import DeliveryError

HOSTS: Mapping[str, str] = {
    "us": "https://api.segmentapis.com",
    "eu": "https://eu1.api.segmentapis.com",
}
"""Origin by region."""

KEPT_FOR = timedelta(minutes=5)
"""The list may be asked for 60 times a minute and workspace; sizes move slower."""

_CALL = "Segment's list of audiences"
_PAGE = 200
_MAX_PAGES = 100
_LARGEST = 2**63 - 1
"""What a column of the store holds."""
_MAX_BYTES = 16 * 1024 * 1024
"""Of a page: it holds the definition of each audience."""


class AudienceSizes:
    """The sizes of one space's audiences. Thread-safe."""

    def __init__(
        self, http: HttpClient, token: Callable[[], str], *, space: str, clock: Clock
    ) -> None:
        """`space` is the id of the space (`spa_…`); `token` reads the token anew."""
        self._http = http
        self._token = Renewable(token)
        self._path = f"/spaces/{quote(space, safe='')}/audiences"
        self._clock = clock
        self._lock = threading.Lock()
        self._sizes: Mapping[str, int] = {}
        self._read_at: datetime | None = None

    def size_of(self, key: str) -> int | None:
        """Profiles in the audience with this key.

        None where there is none, or one that is not Live, so that its size is of no
        instant. Up to `KEPT_FOR` old. Raises `DeliveryError`.
        """
        with self._lock:
            now = self._clock.now()
            if self._read_at is None or not now - self._read_at < KEPT_FOR:
                self._sizes = self._token.try_with(self._read)
                self._read_at = now
            return self._sizes.get(key)

    def _read(self, token: str) -> Mapping[str, int]:
        """Every page; half a list would read as audiences that are gone."""
        sizes: dict[str, int] = {}
        cursors: list[str] = [""]
        while True:
            answer = self._page(token, cursors[-1])
            page = _parsed(answer)
            sizes |= _sizes(page.audiences)
            following = page.pagination.next
            if not following:
                return sizes
            if following in cursors or len(cursors) == _MAX_PAGES:
                raise bad_response(answer, _CALL, "its pages have no end")
            cursors.append(following)

    def _page(self, token: str, cursor: str) -> Answer:
        query = f"pagination.count={_PAGE}"
        if cursor:
            query += f"&pagination.cursor={quote(cursor, safe='')}"
        try:
            answer = self._http.request(
                "GET",
                f"{self._path}?{query}",
                headers={"authorization": f"Bearer {token}"},
                max_bytes=_MAX_BYTES,
            )
        except TransportError as error:
            raise unanswered(error) from error
        if answer.ok:
            return answer
        raise self._refusal(answer, said(answer.body, [token]))

    def _refusal(self, answer: Answer, words: str) -> DeliveryError:
        verdict = usual_verdict(answer.status)
        return refusal(
            answer,
            verdict,
            call=_CALL,
            words=words,
            now=self._clock.now(),
            hint=_HINTS.get(verdict[1], ""),
        )


_HINTS: Mapping[str, str] = {
    "auth": "check the token, made by a Workspace Owner, and the region: syncd check",
    "not_found": "check `space` of the connection, its id `spa_…`: syncd check",
}


class _Size(BaseModel):
    model_config = ConfigDict(strict=True)

    type: str | None = None
    count: int = Field(ge=0, le=_LARGEST)


class _Audience(BaseModel):
    """Deaf to the many keys that we do not use."""

    model_config = ConfigDict(strict=True)

    key: str = Field(min_length=1)
    status: str | None = None
    size: _Size | None = None


class _Pagination(BaseModel):
    model_config = ConfigDict(strict=True)

    next: str | None = None


class _Page(BaseModel):
    model_config = ConfigDict(strict=True)

    audiences: list[_Audience]
    pagination: _Pagination


class _Body(BaseModel):
    model_config = ConfigDict(strict=True)

    data: _Page


def _sizes(audiences: list[_Audience]) -> dict[str, int]:
    """Of those that are Live and hold people, not accounts."""
    return {
        each.key: each.size.count
        for each in audiences
        if each.size and each.status == "Live" and each.size.type in (None, "USERS")
    }


def _parsed(answer: Answer) -> _Page:
    try:
        return _Body.model_validate_json(answer.body).data
    except ValidationError as error:
        count = error.error_count()
    # Raised out here: the library's error carries the body, which names audiences.
    raise bad_response(answer, _CALL, f"{count} fields are missing or of another type")
