"""Reading Amplitude's 2xx answers. Pure: an `Answer` in, a value or an error out.

From contract/amplitude.md 4.1 (list), 4.6 (upload), 4.7 (membership); downloads are
read in `clients/amplitude_job`. Read strictly, since an id leaves *uncertain* only by
such an answer (invariant I-4); leniently where a field only informs.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from syncd.clients.http import Answer
from syncd.errors import DeliveryError, Fault

_Model = TypeVar("_Model", bound=BaseModel)

_LAST_SECOND = 253_402_300_799
"""Of the year 9999, in epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSync:
    """A recurring sync of a cohort that Amplitude itself runs (contract 4.1)."""

    target: str
    """Whereto, e.g. `segment`; empty when not named."""
    frequency: str
    """`minute`, `hourly` or `daily`; empty when not named."""
    last_successful: datetime | None


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
    last_computed: datetime | None = None
    """When Amplitude last worked out who is in it; None if never. Whole seconds. Moves
    with the members, which `last_mod` does not (contract section 5)."""
    last_mod: datetime | None = None
    """When its name or definition was last edited. Whole seconds."""
    finished: bool | None = None
    """Recorded false for a cohort that was never computed."""
    hidden: bool = False
    published: bool = False
    """Whether others in the project see it."""
    native_syncs: tuple[NativeSync, ...] = ()
    """Amplitude's own recurring syncs of it, when they were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """A cohort was created. Acknowledges nobody: only a sample of refusals is named."""

    cohort_id: str
    size: int | None
    request_id: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """An upload that was looked at and not carried out (`skip_save`)."""

    matched: int | None
    """How many of the ids are known; None where the answer does not say."""
    created: str | None
    """The cohort that was made all the same; None, as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A proven membership change: every id sent and not skipped was applied."""

    skipped_ids: frozenset[bytes]
    """Ids the project does not know."""
    request_id: str
    status: int


LARGEST = 2**63 - 1
"""What a column of the store holds; a greater number would stop the run there."""


def _size() -> Any:
    return Field(None, ge=-LARGEST, le=LARGEST)


def _epoch(alias: str) -> Any:
    return Field(None, alias=alias, ge=0, le=_LAST_SECOND)


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
    size: int | None = _size()
    created_at: int | None = _epoch("createdAt")
    definition: _Definition | None = None
    last_computed: int | None = _epoch("lastComputed")
    # These only inform, so any shape is read as far as it goes.
    last_mod: Any = Field(None, alias="lastMod")
    finished: Any = None
    hidden: Any = None
    published: Any = None
    sync_metadata: Any = Field(None, alias="syncMetadata")


class _CohortList(BaseModel):
    cohorts: list[_CohortRow]


class _UploadRow(BaseModel):
    size: int | None = _size()


class _UploadAnswer(BaseModel):
    """`cohortId` today, `cohort_id` until 2024-10: both are read (contract 4.6)."""

    model_config = ConfigDict(strict=True)

    cohort_id: str | None = Field(None, alias="cohortId", min_length=1)
    old_cohort_id: str | None = Field(None, alias="cohort_id", min_length=1)
    cohorts: dict[str, _UploadRow] | None = Field(None, alias="cohortsById")
    error: Any = None


class _Matched(BaseModel):
    matched: int | None = _size()


class _ValidationAnswer(_UploadAnswer):
    """Its shape is not documented beyond that of an upload: nothing is required."""

    metadata: _Matched | None = None


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
    listed = read_json(answer, _CohortList)
    return tuple(_cohort(row) for row in listed.cohorts)


def read_upload(answer: Answer) -> Uploaded:
    """The id of the created cohort; a 2xx without one proves nothing."""
    parsed = read_json(answer, _UploadAnswer)
    ids = {parsed.cohort_id, parsed.old_cohort_id} - {None}
    if len(ids) != 1 or parsed.error:
        raise bad_response(answer, "it does not name one cohort")
    cohort_id = str(ids.pop())
    row = (parsed.cohorts or {}).get(cohort_id)
    return Uploaded(
        cohort_id=cohort_id,
        size=row.size if row else None,
        request_id=_request_id(answer),
        status=answer.status,
    )


def read_validation(answer: Answer) -> Validated:
    """What an upload with `skip_save` found (contract 4.6)."""
    parsed = read_json(answer, _ValidationAnswer)
    if parsed.error:
        raise bad_response(answer, "it reports an error")
    return Validated(
        matched=parsed.metadata.matched if parsed.metadata else None,
        created=parsed.cohort_id or parsed.old_cohort_id,
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
    parsed = read_json(answer, _MembershipAnswer)
    entry = parsed.memberships_result[0]
    if parsed.cohort_id != cohort_id:
        raise bad_response(answer, "it names another cohort")
    if entry.operation not in (None, operation) or entry.id_type not in (None, id_type):
        raise bad_response(answer, "it names another operation or id type")
    if parsed.error or parsed.errors or parsed.success is False:
        raise bad_response(answer, "it reports an error beside the result")
    skipped = frozenset(each.encode() for each in entry.skipped_ids)
    if skipped and not skipped <= set(ids):
        raise bad_response(answer, "it skips ids that were not sent")
    return Membership(
        skipped_ids=skipped, request_id=_request_id(answer), status=answer.status
    )


def read_json(answer: Answer, model: type[_Model]) -> _Model:
    """A 2xx body as `model`; anything that is not plainly that is not believed."""
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    if not answer.ok or content_type.lower() != "application/json":
        raise bad_response(answer, "it is not JSON")
    try:
        return model.model_validate_json(answer.body)
    except ValidationError as error:
        count = error.error_count()
    # Raised out here: the library's error carries the body, and with it member ids.
    raise bad_response(answer, f"{count} fields are missing or of another type")


def bad_response(answer: Answer, why: str) -> DeliveryError:
    return DeliveryError(
        f"Amplitude's answer ({answer.status}) proves nothing: {why}",
        fault=Fault.PASSING,
        error_type="bad_response",
        status=answer.status,
    )


def _cohort(row: _CohortRow) -> Cohort:
    group = row.definition.count_group if row.definition else None
    return Cohort(
        id=row.id,
        name=row.name or "",
        owners=tuple(owner for owner in row.owners or () if isinstance(owner, str)),
        app_id="" if row.app_id is None else str(row.app_id),
        type=row.type,
        archived=bool(row.archived),
        size=row.size,
        created_at=_at(row.created_at),
        count_group=(group.name if isinstance(group, _CountGroup) else group) or "User",
        last_computed=_at(row.last_computed),
        last_mod=_at(row.last_mod if isinstance(row.last_mod, int) else None),
        finished=row.finished if isinstance(row.finished, bool) else None,
        hidden=row.hidden is True,
        published=row.published is True,
        native_syncs=_native_syncs(row.sync_metadata),
    )


def _native_syncs(metadata: Any) -> tuple[NativeSync, ...]:
    entries = metadata if isinstance(metadata, list) else []
    return tuple(
        NativeSync(
            target=_text(entry.get("target")),
            frequency=_text(entry.get("frequency")),
            last_successful=instant(_text(entry.get("last_successful"))),
        )
        for entry in entries
        if isinstance(entry, dict)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _at(epoch: int | None) -> datetime | None:
    if epoch is None or not 0 <= epoch <= _LAST_SECOND:
        return None
    return datetime.fromtimestamp(epoch, UTC)


def instant(text: str) -> datetime | None:
    """An ISO time as UTC, in whole seconds; without a zone it is UTC. None if none."""
    try:
        at = datetime.fromisoformat(text).replace(microsecond=0)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _request_id(answer: Answer) -> str:
    """The vendor's id of the request, where it names one; none is documented."""
    named = answer.headers.get("x-request-id", "") or answer.headers.get(
        "x-amzn-requestid", ""
    )
    return named if re.fullmatch(r"[\w.:=-]{1,100}", named) else ""
