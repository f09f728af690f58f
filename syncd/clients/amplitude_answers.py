"""Reading Amplitude's answers. Pure: an `Answer` in, a value or a `DeliveryError` out.

Every fact is from contract/amplitude.md: section 2 (error envelope, retry classes),
4.1 (list), 4.6 (upload), 4.7 (membership). An acknowledgement is read strictly, since
an id leaves *uncertain* only by it (invariant I-4); everything else tolerantly.

It must never let a member id or a secret into a text: what a vendor says is masked.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from syncd.clients.http import Answer
from syncd.clients.limits import retry_after
from syncd.errors import DeliveryError, Fault

MESSAGE_CHARACTERS = 200
"""As much of the vendor's words as is kept."""

_LONGEST_ID = 1024
"""Characters (contract section 6); an id cut by a longer window is still masked."""
_SHORT_ID = 5
"""Ids under this length are masked as whole words only, or "1" would blot all out."""


_Model = TypeVar("_Model", bound=BaseModel)


class Endpoint(StrEnum):
    """Which call an answer belongs to: a 404 means a different thing for each."""

    LIST = "list"
    UPLOAD = "upload"
    MEMBERSHIP = "membership"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """One cohort as the free list names it (contract 4.1)."""

    id: str
    name: str
    owners: tuple[str, ...]
    """Login e-mails; may hold other words such as `amp`."""
    app_id: str
    """The project; empty when not named."""
    type: str
    """`manual_upload` for uploaded ones; anything else is computed by Amplitude."""
    archived: bool
    size: int | None
    """None when it was never computed."""
    created_at: datetime | None
    """Whole seconds."""
    count_group: str
    """`User`, or the group type whose members are not people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A cohort was created. Acknowledges nobody: only a sample of refusals is named."""

    cohort_id: str
    size: int | None
    request_id: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A proven membership change: every id sent and not skipped was applied."""

    skipped_ids: frozenset[bytes]
    """Ids the project does not know."""
    request_id: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What an error answer says, in one sentence without ids or secrets."""

    message: str
    """At most `MESSAGE_CHARACTERS`, no control characters; empty if it says nothing."""
    about_ids: bool
    """Whether the complaint is about the ids that were sent."""


class _CountGroup(BaseModel):
    name: str


class _Definition(BaseModel):
    count_group: _CountGroup | str | None = Field(None, alias="countGroup")


class _CohortRow(BaseModel):
    """Strict where a wrong reading would harm, deaf to the many keys we do not use."""

    model_config = ConfigDict(strict=True)

    id: str = Field(min_length=1)
    name: str | None = None
    owners: list[Any] | None = None
    app_id: int | str | None = Field(None, alias="appId")
    type: str
    archived: bool | None = None
    size: int | None = None
    created_at: int | None = Field(None, alias="createdAt", ge=0, le=253_402_300_799)
    definition: _Definition | None = None


class _CohortList(BaseModel):
    cohorts: list[_CohortRow]


class _UploadRow(BaseModel):
    size: int | None = None


class _UploadAnswer(BaseModel):
    """`cohortId` today, `cohort_id` until 2024-10: both are read (contract 4.6)."""

    model_config = ConfigDict(strict=True)

    cohort_id: str | None = Field(None, alias="cohortId", min_length=1)
    old_cohort_id: str | None = Field(None, alias="cohort_id", min_length=1)
    cohorts: dict[str, _UploadRow] | None = Field(None, alias="cohortsById")
    error: Any = None


class _MembershipEntry(BaseModel):
    model_config = ConfigDict(strict=True)

    skipped_ids: list[str]
    operation: str | None = None
    id_type: str | None = None


class _MembershipAnswer(BaseModel):
    model_config = ConfigDict(strict=True)

    cohort_id: str
    memberships_result: list[_MembershipEntry] = Field(min_length=1, max_length=1)
    error: Any = None
    errors: Any = None
    success: bool | None = None


def read_cohorts(answer: Answer) -> tuple[Cohort, ...]:
    """Every listed cohort, or `DeliveryError`: half a list would read as deletions."""
    listed = _parsed(answer, _CohortList)
    return tuple(_cohort(row) for row in listed.cohorts)


def read_upload(answer: Answer) -> Uploaded:
    """The id of the created cohort; a 2xx without one proves nothing."""
    parsed = _parsed(answer, _UploadAnswer)
    ids = {parsed.cohort_id, parsed.old_cohort_id} - {None}
    if len(ids) != 1 or parsed.error:
        raise _bad_response(answer, "it does not name one cohort")
    cohort_id = str(ids.pop())
    row = (parsed.cohorts or {}).get(cohort_id)
    return Uploaded(
        cohort_id=cohort_id,
        size=row.size if row else None,
        request_id=_request_id(answer),
        status=answer.status,
    )


def read_membership(
    answer: Answer,
    *,
    cohort_id: str,
    operation: str,
    id_type: str,
    ids: Collection[bytes],
) -> Membership:
    """The skipped ids of a proven change, compared byte for byte with the ids sent.

    `operation` and `id_type` may be missing in an entry (one client's shape, contract
    4.7), since there is one entry for our one; where present they must be ours.
    """
    parsed = _parsed(answer, _MembershipAnswer)
    entry = parsed.memberships_result[0]
    if parsed.cohort_id != cohort_id:
        raise _bad_response(answer, "it names another cohort")
    if entry.operation not in (None, operation) or entry.id_type not in (None, id_type):
        raise _bad_response(answer, "it names another operation or id type")
    if parsed.error or parsed.errors or parsed.success is False:
        raise _bad_response(answer, "it reports an error beside the result")
    skipped = frozenset(_utf8(each) for each in entry.skipped_ids)
    if skipped and not skipped <= set(ids):
        raise _bad_response(answer, "it skips ids that were not sent")
    return Membership(
        skipped_ids=skipped, request_id=_request_id(answer), status=answer.status
    )


def read_envelope(body: bytes, private: Sequence[str] = ()) -> Envelope:
    """What an error body says (contract section 2, rules 1 to 4).

    `private` are the ids and secrets of the request: wherever they occur they are
    overwritten with asterisks. Never raises: the body may be HTML, text or nothing.
    """
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
        return Envelope(message=_shown(text, private), about_ids=False)
    error = parsed.get("error") if isinstance(parsed, dict) else None
    metadata = error.get("metadata") if isinstance(error, dict) else None
    text = _best_message(parsed, error, metadata)
    return Envelope(
        message=_shown(text, private),
        about_ids=_is_about_ids(text, metadata),
    )


def classify(
    answer: Answer, envelope: Envelope, endpoint: Endpoint, now: datetime
) -> DeliveryError:
    """The error for an answer that is not a 2xx (contract section 2, retry classes).

    Choices where the contract is silent: 408 and 409 pass (the state is unknown), a
    redirect passes (some proxy or maintenance page, not a verdict on the payload; it
    is never followed), a 404 of the list or the upload is refused (no target of ours).
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
        hint=_HINTS.get(error_type, ""),
    )


_HINTS: Mapping[str, str] = {
    "auth": "check api key, secret key and region of the connection: syncd check",
    "forbidden": "ask Amplitude whether the plan and the network may use this API",
    "not_found": "was the cohort deleted? bind another one: syncd check",
    "rate_limited": "does another tool write to this cohort or project?",
    "invalid_id": "are these ids of the type that `match` names?",
}


def _fault(status: int, envelope: Envelope, endpoint: Endpoint) -> tuple[Fault, str]:
    """Fault and error type of a status; the type is from the log catalogue's list."""
    if status == 401 or (status == 403 and _rejects_credentials(envelope)):
        return Fault.CREDENTIALS, "auth"
    if status == 400 and envelope.about_ids:
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
    413: (Fault.TOO_LARGE, "too_large"),
    429: (Fault.PASSING, "rate_limited"),
}


def _rejects_credentials(envelope: Envelope) -> bool:
    """`Invalid API Key` and `Invalid API/Secret Key combination`, recorded live.

    Any other 403 is a plan restriction or the firewall (contract section 1).
    """
    return "invalid api" in envelope.message.casefold()


def _best_message(parsed: Any, error: Any, metadata: Any) -> str:
    """details, then message, then `error` as text, then the errors list, then all."""
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
    return orjson.dumps(parsed).decode()


_ID_LISTS = ("skipped_ids", "invalid_ids", "invalid_ids_sample")

_OTHER_FIELDS = re.compile(
    r"id_type|app_?id|cohort_?id|cohort id|owner|count_?group|operation"
    r"|empty|missing|required|exceed|too many|at most|maximum"
)
"""Complaints about the request's shape, although they speak of ids or users."""

_ID_COMPLAINT = re.compile(
    r"\b(no|not|none|invalid|unknown|unrecogni[sz]ed|nonexistent)\b.*\b(ids?|users?)\b"
    r"|\b(ids?|users?)\b.*\b(not|no|none|invalid|unknown|unrecogni[sz]ed|nonexistent)\b"
)


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
    return not _OTHER_FIELDS.search(words) and bool(_ID_COMPLAINT.search(words))


def _shown(text: str, private: Sequence[str]) -> str:
    """Cut, masked and on one line.

    Masks keep the length, and the window is one id longer than what is shown, so an id
    that the cut would halve is masked too.
    """
    window = text[: MESSAGE_CHARACTERS + _LONGEST_ID]
    short: set[str] = set()
    for each in private:
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


def _parsed(answer: Answer, model: type[_Model]) -> _Model:
    """A 2xx body as `model`; anything that is not plainly that is not believed."""
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    if not answer.ok or content_type.lower() != "application/json":
        raise _bad_response(answer, "it is not JSON")
    try:
        return model.model_validate_json(answer.body)
    except ValidationError as error:
        count = error.error_count()
    # Raised out here: the library's error carries the body, and with it member ids.
    raise _bad_response(answer, f"{count} fields are missing or of another type")


def _bad_response(answer: Answer, why: str) -> DeliveryError:
    return DeliveryError(
        f"Amplitude's answer ({answer.status}) proves nothing: {why}",
        fault=Fault.PASSING,
        error_type="bad_response",
        status=answer.status,
    )


def _cohort(row: _CohortRow) -> Cohort:
    group = row.definition.count_group if row.definition else None
    created = row.created_at
    return Cohort(
        id=row.id,
        name=row.name or "",
        owners=tuple(owner for owner in row.owners or () if isinstance(owner, str)),
        app_id="" if row.app_id is None else str(row.app_id),
        type=row.type,
        archived=bool(row.archived),
        size=row.size,
        created_at=None if created is None else datetime.fromtimestamp(created, UTC),
        count_group=(group.name if isinstance(group, _CountGroup) else group) or "User",
    )


def _request_id(answer: Answer) -> str:
    """The vendor's id of the request, where it names one; none is documented."""
    named = answer.headers.get("x-request-id", "") or answer.headers.get(
        "x-amzn-requestid", ""
    )
    return named if re.fullmatch(r"[\w.:=-]{1,100}", named) else ""


def _utf8(text: str) -> bytes:
    """As sent: an unpaired surrogate cannot have been, and matches no id of ours."""
    return text.encode("utf-8", "surrogatepass")
