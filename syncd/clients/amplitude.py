"""Amplitude's cohort API: list, upload, membership (contract 4.1, 4.6, 4.7).

One `AmplitudeClient` per connection, thread-safe. It never retries (but see
`clients/amplitude_call`). It must never send a request without ids (contract 4.6), nor
spend a download.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

import orjson

from syncd.clients.amplitude_answers import (
    Cohort,
    Membership,
    Uploaded,
    Validated,
    bad_response,
    read_cohorts,
    read_membership,
    read_upload,
    read_validation,
)
from syncd.clients.amplitude_call import Call, Caller, listing, texts
from syncd.clients.amplitude_errors import Endpoint
from syncd.clients.http import ACKNOWLEDGEMENT_BYTES, Answer, HttpClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import Operation

HOSTS: Mapping[str, str] = {
    "us": "https://amplitude.com",
    "eu": "https://analytics.eu.amplitude.com",
}
"""Origin by region (contract section 1)."""

_ECHO_FACTOR = 3
"""An answer may name every id it was sent, and JSON may write one up to three times as
long (escaped); beyond that it is not an acknowledgement."""


class UploadIdType(StrEnum):
    """What the ids of an upload are. Membership has other words for the same."""

    BY_USER_ID = "BY_USER_ID"
    BY_AMP_ID = "BY_AMP_ID"


class MembershipIdType(StrEnum):
    """What the ids of a membership call are, for the count group User."""

    BY_NAME = "BY_NAME"
    """User ids."""
    BY_ID = "BY_ID"
    """Amplitude ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCohort:
    """What an upload creates."""

    name: str
    app_id: int
    owner: str
    """Login e-mail of an Amplitude user."""
    id_type: UploadIdType
    ids: tuple[bytes, ...]
    """1 to 100,000, UTF-8."""
    published: bool
    """Whether others in the project see it."""


class AmplitudeClient:
    """The three calls that cost no download."""

    def __init__(
        self,
        http: HttpClient,
        credentials: Callable[[], tuple[str, str]],
        *,
        clock: Clock,
    ) -> None:
        """`credentials` reads key and secret from where they are kept, each time anew.

        Read at once, so that a missing secret is found at start.
        """
        self._caller = Caller(http, credentials, clock=clock)

    def list_cohorts(self) -> tuple[Cohort, ...]:
        """All discoverable cohorts of the project; free, also a check of credentials.

        Raises `DeliveryError`; a cut or odd list raises too.
        """
        return read_cohorts(self._caller.send(listing("/api/3/cohorts")))

    def upload(self, cohort: NewCohort, *, run_id: str = "") -> Uploaded:
        """Create a cohort. Not idempotent: after a lost answer look before repeating.

        Raises `DeliveryError`; `Fault.BAD_IDS` means that no id was valid.
        """
        return read_upload(self._upload(cohort, {}, run_id))

    def replace(
        self, cohort_id: str, cohort: NewCohort, *, run_id: str = ""
    ) -> Uploaded:
        """Put these ids in the place of a cohort's members; idempotent in effect.

        Raises `DeliveryError`; `Fault.BAD_IDS` means that no id was valid, and then
        nobody was moved; `Fault.TARGET_GONE` that there is no such cohort.
        """
        existing = {"existing_cohort_id": cohort_id}
        try:
            answer = self._upload(cohort, existing, run_id)
        except DeliveryError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                error.fault = Fault.TARGET_GONE
            raise
        uploaded = read_upload(answer)
        if uploaded.cohort_id != cohort_id:
            raise bad_response(answer, "it names another cohort")
        return uploaded

    def validate(self, cohort: NewCohort) -> Validated:
        """Have owner and ids looked at as for an upload; creates nothing, free.

        Raises `DeliveryError`; `Fault.BAD_IDS` means that no id was valid.
        """
        return read_validation(self._upload(cohort, {"skip_save": True}, ""))

    def _upload(
        self, cohort: NewCohort, more: Mapping[str, bool | str], run_id: str
    ) -> Answer:
        body = orjson.dumps(
            {
                "name": cohort.name,
                "app_id": cohort.app_id,
                "id_type": cohort.id_type,
                "ids": texts(cohort.ids),
                "owner": cohort.owner,
                "published": cohort.published,
                "skip_invalid_ids": True,
                **more,
            }
        )
        return self._caller.send(
            _writing(Endpoint.UPLOAD, "/api/3/cohorts/upload", body, cohort.ids, run_id)
        )

    def membership(
        self,
        cohort_id: str,
        operation: Operation,
        ids: tuple[bytes, ...],
        id_type: MembershipIdType,
        *,
        run_id: str = "",
    ) -> Membership:
        """ADD or REMOVE 1 to 100,000 ids; idempotent in effect.

        Returns only on proof. Raises `DeliveryError`; `Fault.TARGET_GONE` means that
        there is no such cohort.
        """
        word = operation.value.upper()
        body = orjson.dumps(
            {
                "cohort_id": cohort_id,
                "skip_invalid_ids": True,
                "memberships": [
                    {"ids": texts(ids), "id_type": id_type, "operation": word}
                ],
            }
        )
        answer = self._caller.send(
            _writing(
                Endpoint.MEMBERSHIP, "/api/3/cohorts/membership", body, ids, run_id
            )
        )
        return read_membership(
            answer, cohort_id=cohort_id, operation=word, id_type=id_type, ids=ids
        )


def _writing(
    endpoint: Endpoint, path: str, body: bytes, ids: Sequence[bytes], run_id: str
) -> Call:
    return Call(
        endpoint=endpoint,
        method="POST",
        path=path,
        body=body,
        ids=ids,
        max_bytes=ACKNOWLEDGEMENT_BYTES + _ECHO_FACTOR * len(body),
        run_id=run_id,
    )
