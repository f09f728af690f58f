"""Reading Amplitude's refusals: the error envelope and the retry classes. Pure.

From contract/amplitude.md section 2. Tolerant, since an error answer may be anything,
and discreet: what the vendor says may quote member ids or the key, so it is masked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from syncd.clients.http import Answer
from syncd.clients.limits import retry_after
from syncd.clients.refusals import MESSAGE_CHARACTERS as MESSAGE_CHARACTERS
from syncd.clients.refusals import as_it_stands, masked
from syncd.errors import DeliveryError, Fault


class Endpoint(StrEnum):
    """Which call an answer belongs to: a 404 means a different thing for each."""

    LIST = "list"
    UPLOAD = "upload"
    MEMBERSHIP = "membership"
    USAGE = "usage"
    REQUEST = "download request"
    STATUS = "download status"
    FILE = "download file"

    @property
    def word(self) -> str:
        """As a label of metrics: without blanks."""
        return self.value.replace(" ", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an error answer says, in one sentence without ids or secrets."""

    message: str
    """At most `MESSAGE_CHARACTERS`, no control characters; empty if it says nothing."""
    about_ids: bool
    """Whether the complaint is about the ids that were sent."""


def read_envelope(body: bytes, private: Sequence[str] = ()) -> Envelope:
    """What an error body says (contract section 2, rules 1 to 4).

    `private` are the ids and secrets of the request: wherever they occur they are
    overwritten with asterisks. Never raises: the body may be HTML, text or nothing.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
        return Envelope(message=masked(text, private), about_ids=False)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    metadata = error.get("metadata") if isinstance(error, dict) else None
    text = _best_message(parsed, error, metadata) or as_it_stands(parsed, body)
    return Envelope(
        message=masked(text, private),
        about_ids=_is_about_ids(text, metadata),
    )


def classify(
    answer: Answer, envelope: Envelope, endpoint: Endpoint, now: datetime
) -> DeliveryError:
    """The error for an answer that is not a 2xx (contract section 2, retry classes).

    Choices where the contract is silent: 408 and 409 pass (the state is unknown), a
    redirect passes (some proxy or maintenance page, not a verdict on the payload; it
    is never followed), a 404 of any call but a membership's is refused (no target of
    ours). Only a call that sends ids can be too large, or have bad ones.
    """
    fault, error_type = _fault(answer.status, envelope, endpoint)
    wait = retry_after(answer.headers.get("retry-after"), now)
    if answer.status == 429 and wait is not None:
        fault = Fault.THROTTLED
    said = envelope.message or "it gave no reason"
    verb = "refused" if error_type == "forbidden" else f"answered {answer.status}"
    return DeliveryError(
        f"Amplitude {verb} the {endpoint} call: {said}",
        fault=fault,
        error_type=error_type,
        status=answer.status,
        vendor_message=envelope.message,
        retry_after=wait,
        hint=_hint(error_type, endpoint),
    )


def _hint(error_type: str, endpoint: Endpoint) -> str:
    if error_type == "not_found" and endpoint in (Endpoint.STATUS, Endpoint.FILE):
        return "a request is kept for seven days, then the cohort is asked for anew"
    return _HINTS.get(error_type, "")


_HINTS: Mapping[str, str] = {
    "auth": "check api key, secret key and region of the connection: syncd check",
    "forbidden": "ask Amplitude whether the plan and the network may use this API",
    "not_found": "was the cohort deleted? bind another one: syncd check",
    "rate_limited": "does another tool write to this cohort or project?",
    "invalid_id": "are these ids of the type that `match` names?",
}


_WRITING = (Endpoint.UPLOAD, Endpoint.MEMBERSHIP)


def _fault(status: int, envelope: Envelope, endpoint: Endpoint) -> tuple[Fault, str]:
    """Fault and error type of a status; the type is from the log catalogue's list."""
    if status == 401 or (status == 403 and _rejects_credentials(envelope)):
        return Fault.CREDENTIALS, "auth"
    if status == 413 and endpoint in _WRITING:
        return Fault.TOO_LARGE, "too_large"
    if status == 400 and envelope.about_ids and endpoint in _WRITING:
        return Fault.BAD_IDS, "invalid_id"
    if status == 404 and endpoint is Endpoint.MEMBERSHIP:
        return Fault.TARGET_GONE, "not_found"
    if 400 <= status <= 499:
        return _CLIENT_ERRORS.get(status, (Fault.REFUSED, "http_4xx"))
    if 500 <= status <= 599:
        return Fault.PASSING, "http_5xx"
    return Fault.PASSING, "bad_response"


_CLIENT_ERRORS: Mapping[int, tuple[Fault, str]] = {
    403: (Fault.REFUSED, "forbidden"),
    404: (Fault.REFUSED, "not_found"),
    408: (Fault.PASSING, "timeout"),
    409: (Fault.PASSING, "http_4xx"),
    429: (Fault.PASSING, "rate_limited"),
}


def _rejects_credentials(envelope: Envelope) -> bool:
    """`Invalid API Key` and `Invalid API/Secret Key combination`, recorded live.

    Any other 403 is a plan restriction or the firewall (contract section 1).
    """
    return "invalid api" in envelope.message.casefold()


def _best_message(parsed: Any, error: Any, metadata: Any) -> str:
    """details, then message, then `error` as text, then the errors list; or empty."""
    candidates = [
        metadata.get("details") if isinstance(metadata, dict) else None,
        error.get("message") if isinstance(error, dict) else None,
        error,
    ]
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    if isinstance(errors, list):
        candidates += [e.get("message") for e in errors if isinstance(e, dict)]
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip():
            return candidate
    return ""


_ID_LISTS = ("skipped_ids", "invalid_ids", "invalid_ids_sample")

_OTHER_FIELDS = re.compile(
    r"id_type|app_?id|cohort_?id|cohort id|owner|count_?group|operation"
    r"|empty|missing|required|exceed|too many|at most|maximum"
)
"""Complaints about the request's shape, although they speak of ids or users."""

_PEOPLE = re.compile(r"\b(ids?|users?)\b")
_UNKNOWN = re.compile(r"\b(no|not|none|invalid|unknown|unrecogni[sz]ed|nonexistent)\b")
"""Two patterns and not one with `.*` between: that takes the square of a body's size,
11 s for 60 KB of `no`."""


def _is_about_ids(text: str, metadata: Any) -> bool:
    """Whether a 400 complains about the ids that were sent.

    Documented (until 2024) is only the metadata that lists them; the text for "no
    valid id" at creation is [?] (contract 4.6, 11.8). So: metadata naming ids is proof;
    a text counts if it joins a word for an id with a word for unknown, and no word of
    another field. Taken wrongly for no, the batch is a dead letter that a person sees;
    wrongly for yes, its ids wait as unmatched and are offered again. Both heal.
    """
    if isinstance(metadata, dict):
        results = metadata.get("memberships_result")
        entries = [metadata, *(results if isinstance(results, list) else [])]
        dicts = [entry for entry in entries if isinstance(entry, dict)]
        if any(entry.get(key) for entry in dicts for key in _ID_LISTS):
            return True
    words = re.sub(r"\b(user|amp|amplitude)[ _]ids?\b", "ids", text.casefold())
    return not _OTHER_FIELDS.search(words) and any(
        _PEOPLE.search(line) and _UNKNOWN.search(line) for line in words.split("\n")
    )
