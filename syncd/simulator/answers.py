"""Answers and refusals, in Amplitude's error envelope (contract section 2)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

JSON = "application/json"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a handler did: the answer's body, and counts for the log."""

    body: dict[str, Any]
    changed: bool = False
    """The call took effect (also when it changed nobody)."""
    cohort_id: str | None = None
    """The cohort it was about, also one it created."""
    added: int = 0
    removed: int = 0
    skipped: int = 0
    status: int = 200
    render: Callable[[], Awaitable[Answer]] | None = None
    """Makes the answer when it is no JSON; then `body` is not sent."""
    request_id: str | None = None
    """The download it was about."""
    counted: bool = False
    """It was counted against the month's quota."""


class Refusal(Exception):
    """The API says no: `details` is the useful sentence, `metadata` goes beside it."""

    def __init__(
        self, status: int, details: str, *, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(details)
        self.status = status
        self.details = details
        self.metadata = metadata or {}


class OverLimit(Refusal):
    """A 429 of our own: `limit` is one of `quota.LIMITS`."""

    def __init__(self, limit: str, details: str, *, status: int = 429) -> None:
        super().__init__(status, details)
        self.limit = limit


def json_answer(status: int, body: Any, *, retry_after: object = None) -> Answer:
    """A JSON answer, with `Retry-After` if given."""
    headers = () if retry_after is None else (("retry-after", str(retry_after)),)
    return Answer(status, orjson.dumps(body), JSON, headers)


def envelope(
    status: int, details: str, metadata: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The error body for a status.

    Recorded ones: a 403 has no message; a 429 says `Unspecified Error` and keeps the
    useful text in `metadata.details`; a 400 says both.
    """
    error: dict[str, Any] = {"http_code": status, "type": "unspecified"}
    if status == 400:
        error |= {"type": "invalid", "message": details}
    elif status != 403:
        error["message"] = "Unspecified Error"
    error["metadata"] = {"details": details, **(metadata or {})}
    return {"error": error}


def refuse(refusal: Refusal, *, retry_after: int | None) -> Answer:
    """The answer to a refusal; `retry_after` is for a 429 only (R8)."""
    return json_answer(
        refusal.status,
        envelope(refusal.status, refusal.details, refusal.metadata),
        retry_after=retry_after if refusal.status == 429 else None,
    )
