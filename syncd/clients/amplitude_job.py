"""Reading the 2xx answers of a download's job. Pure, as `clients/amplitude_answers`.

From contract/amplitude.md 4.2 (request), 4.3 (status), 4.5 (usage). Read strictly: a
request is paid for, and its id is all that is left of it after a crash.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from syncd.clients.amplitude_answers import LARGEST, bad_response, instant, read_json
from syncd.clients.http import Answer
from syncd.errors import DeliveryError, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the project has spent on downloads this month, whoever spent it."""

    limit: int
    used: int
    resets_at: datetime
    """UTC."""


class _Download(BaseModel):
    """Of a request, and of its status."""

    model_config = ConfigDict(strict=True)

    request_id: str | None = None
    cohort_id: str | None = None
    async_status: str | None = None


class _Spent(BaseModel):
    model_config = ConfigDict(strict=True)

    limit: int = Field(ge=0, le=LARGEST)
    usage: int = Field(ge=0, le=LARGEST)
    resets_at: str


class _UsageAnswer(BaseModel):
    rest_download: _Spent


def read_usage(answer: Answer) -> Usage:
    """Limit, usage and the end of the month; the time has no zone and is UTC."""
    spent = read_json(answer, _UsageAnswer).rest_download
    resets_at = instant(spent.resets_at)
    if resets_at is None:
        raise bad_response(answer, "its resets_at is no time")
    return Usage(limit=spent.limit, used=spent.usage, resets_at=resets_at)


def read_request(answer: Answer, *, cohort_id: str) -> str:
    """The id of the accepted request: opaque, but a short token without spaces."""
    parsed = read_json(answer, _Download)
    named = parsed.request_id or ""
    if not re.fullmatch(r"[!-~]{1,200}", named) or named in (".", ".."):
        raise bad_response(answer, "it names no request id to believe")
    if parsed.cohort_id not in (None, cohort_id):
        raise bad_response(answer, "it names another cohort")
    return named


def read_status(answer: Answer, *, request_id: str) -> bool:
    """Whether the job is done: only 200 and `JOB COMPLETED` together say so.

    Still running is any 202 whatever its words, and `JOB INPROGRESS` whatever the
    status, since to poll again is free. A 200 with another word is a failed job (no
    failure value is documented): `Fault.REFUSED`, the request is of no use any more. An
    answer that is not about this request is `Fault.PASSING`, both `bad_response`.
    """
    parsed = read_json(answer, _Download)
    if parsed.request_id not in (None, request_id):
        raise bad_response(answer, "it names another request")
    if not parsed.async_status:
        raise bad_response(answer, "it names no status")
    if answer.status == 202 or parsed.async_status == "JOB INPROGRESS":
        return False
    if answer.status == 200 and parsed.async_status == "JOB COMPLETED":
        return True
    raise DeliveryError(
        "Amplitude did not make the file: the job ended with "
        f"{_words(parsed.async_status)!r} ({answer.status})",
        fault=Fault.REFUSED,
        error_type="bad_response",
        status=answer.status,
        vendor_message=_words(parsed.async_status),
    )


def _words(text: str) -> str:
    """As much of the vendor's status as may be shown."""
    return "".join(c if c.isprintable() else " " for c in text[:60])
