"""What a vendor's refusal means, and its words made fit to be shown. Pure.

A refusal may quote the ids that were sent, or the key; neither may reach a log line or
the ledger. So whatever a vendor writes passes `masked` before it becomes part of an
error. It is bad at ids that the vendor abbreviates: half an id is not known as one.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

import orjson

from syncd.clients.http import Answer
from syncd.clients.limits import MAX_WAIT, retry_after
from syncd.errors import DeliveryError, Fault

MESSAGE_CHARACTERS = 200
"""As much of the vendor's words as is kept."""

_LONGEST_ID = 1024
"""Characters (contract section 6); an id cut by a longer window is still masked."""
_SHORT_ID = 5
"""Ids under this length are masked as whole words only, or "1" would blot all out."""


def masked(text: str, private: Sequence[str]) -> str:
    """`text` cut to `MESSAGE_CHARACTERS`, without `private`, on one line.

    Masks keep the length, and the window is one id longer than what is shown, so an id
    that the cut would halve is masked too.
    """
    window = text[: MESSAGE_CHARACTERS + _LONGEST_ID]
    short: set[str] = set()
    # Longest first: an id within a longer one must not leave the rest of it to be seen.
    for each in sorted(private, key=len, reverse=True):
        if len(each) < _SHORT_ID:
            short.add(each)
        elif each in window:
            window = window.replace(each, "*" * len(each))
    window = re.sub(
        r"[^\s\"'\[\](){},;:<>]+",
        lambda word: "*" * len(word[0]) if word[0] in short else word[0],
        window,
    )
    shown = window[:MESSAGE_CHARACTERS]
    plain = (" " if unicodedata.category(c)[0] == "C" else c for c in shown)
    return " ".join("".join(plain).split())


def said(body: bytes, private: Sequence[str] = ()) -> str:
    """What an error body of a vendor without an envelope of its own says, masked.

    Read in turn: `error.message`, `error` as text, `message` (Segment's, contract T5),
    `errors`, else the whole body. Never raises: it may be HTML, text or nothing.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return masked(body.decode("utf-8", "replace"), _spelled(private))
    return masked(_words(parsed), _spelled(private))


def _words(parsed: Any) -> str:
    if isinstance(parsed, dict):
        error, errors = parsed.get("error"), parsed.get("errors")
        listed = errors if isinstance(errors, list) else [errors]
        named = [_message(each) for each in listed]
        for candidate in (_message(error), error, _message(parsed), *named, *listed):
            if isinstance(candidate, str) and candidate.strip():
                return candidate
    return orjson.dumps(parsed).decode()


def _message(holder: Any) -> Any:
    return holder.get("message") if isinstance(holder, dict) else None


def _spelled(private: Sequence[str]) -> list[str]:
    """Each value and the other ways in which a page or a URL would write it."""
    spelled: list[str] = []
    for each in private:
        ways = (
            each,
            quote(each),
            quote(each, safe=""),
            escape(each),
            _ascii_json(each),
        )
        spelled += dict.fromkeys(ways)
    return spelled


def _ascii_json(text: str) -> str:
    """The inside of a JSON string in ASCII, as most partners' libraries write it."""
    return json.dumps(text)[1:-1]


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
