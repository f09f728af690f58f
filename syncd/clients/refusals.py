"""What a vendor's refusal means, in its own words and in ours. Pure.

Whatever a vendor writes passes `masking` before it becomes part of an error.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from syncd.clients.http import Answer
from syncd.clients.limits import MAX_WAIT, retry_after
from syncd.clients.masking import MESSAGE_CHARACTERS as MESSAGE_CHARACTERS
from syncd.clients.masking import masked as masked
from syncd.errors import DeliveryError, Fault


def said(body: bytes, private: Sequence[str] = ()) -> str:
    """What an error body of a vendor without an envelope of its own says, masked.

    Read in turn: `error.message`, `error` as text, `message` (Segment's, contract T5),
    `errors`, else the whole body. Never raises: it may be HTML, text or nothing.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return masked(body.decode("utf-8", "replace"), private)
    return masked(_words(parsed, body), private)


def as_it_stands(parsed: Any, body: bytes) -> str:
    """A whole body in one line. Kept as it was sent where it nests deeper than the
    writer goes, which is not as deep as the reader does."""
    try:
        return orjson.dumps(parsed).decode()
    except orjson.JSONEncodeError:
        return body.decode("utf-8", "replace")


def _words(parsed: Any, body: bytes) -> str:
    if isinstance(parsed, dict):
        error, errors = parsed.get("error"), parsed.get("errors")
        listed = errors if isinstance(errors, list) else [errors]
        named = [_message(each) for each in listed]
        for candidate in (_message(error), error, _message(parsed), *named, *listed):
            if isinstance(candidate, str) and candidate.strip():
                return candidate
    return as_it_stands(parsed, body)


def _message(holder: Any) -> Any:
    return holder.get("message") if isinstance(holder, dict) else None


def is_page(body: bytes) -> bool:
    """Whether markup was sent: a login or error page of something in between.

    By the body, not by its type: a small framework sends `OK` as text/html.
    """
    return body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


Verdict = tuple[Fault, str]
"""What an answer means for its batch, and the error type that says why."""


def usual_verdict(status: int) -> Verdict:
    """The verdict where the call gives the status no other meaning.

    408 and 409 pass (the state is unknown). A redirect passes: some proxy or a
    maintenance page, never a success and no verdict on the payload. It is not followed.
    """
    if 400 <= status <= 499:
        return _CLIENT_ERRORS.get(status, (Fault.REFUSED, "http_4xx"))
    if 500 <= status <= 599:
        return Fault.PASSING, "http_5xx"
    return Fault.PASSING, "bad_response"


_CLIENT_ERRORS: Mapping[int, Verdict] = {
    401: (Fault.CREDENTIALS, "auth"),
    403: (Fault.CREDENTIALS, "auth"),
    404: (Fault.REFUSED, "not_found"),
    408: (Fault.PASSING, "timeout"),
    409: (Fault.PASSING, "http_4xx"),
    413: (Fault.TOO_LARGE, "too_large"),
    429: (Fault.PASSING, "rate_limited"),
}


def refusal(
    answer: Answer,
    verdict: Verdict,
    *,
    call: str,
    words: str,
    now: datetime,
    hint: str = "",
) -> DeliveryError:
    """The error for an answer that is no success. `call` is who was asked for what.

    A 429 that names a wait makes the whole credential wait.
    """
    fault, error_type = verdict
    wait = named_wait(answer.headers, now)
    if answer.status == 429 and wait is not None:
        fault = Fault.THROTTLED
    return DeliveryError(
        f"{call} was answered {answer.status}: {words or 'it gave no reason'}",
        fault=fault,
        error_type=error_type,
        status=answer.status,
        vendor_message=words,
        retry_after=wait,
        hint=hint,
    )


_FIRST_EPOCH = 1_000_000_000
"""Seconds no reset is away; as an instant it is in 2001."""


def named_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by Retry-After, else by X-RateLimit-Reset (contract T4).

    Segment's reset is in seconds; others write the instant, in seconds of the epoch.
    """
    wait = retry_after(headers.get("retry-after"), now)
    if wait is not None:
        return wait
    reset = headers.get("x-ratelimit-reset", "").strip()
    if re.fullmatch(r"[0-9]{10,11}", reset) and int(reset) >= _FIRST_EPOCH:
        return min(max(int(reset) - now.timestamp(), 0.0), MAX_WAIT)
    return retry_after(reset, now)
