"""Amplitude's cohort API: list, upload, membership (contract 4.1, 4.6, 4.7).

One `AmplitudeClient` per connection, thread-safe. It never retries, with one exception:
when the credentials are refused it reads them again, and asks once more if they have
changed. It must never send a request without ids (contract 4.6), nor spend a download.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

import orjson

from syncd.clients.amplitude_answers import (
    Cohort,
    Membership,
    Uploaded,
    read_cohorts,
    read_membership,
    read_upload,
)
from syncd.clients.amplitude_errors import Endpoint, classify, read_envelope
from syncd.clients.http import (
    ACKNOWLEDGEMENT_BYTES,
    Answer,
    HttpClient,
    Kind,
    TransportError,
)
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, SyncdError
from syncd.model import Operation

HOSTS: Mapping[str, str] = {
    "us": "https://amplitude.com",
    "eu": "https://analytics.eu.amplitude.com",
}
"""Origin by region (contract section 1)."""

LIST_BYTES = 32 * 1024 * 1024
"""Cap on the cohort list: it holds every definition of the project, unpaged."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request: the same whichever credentials it goes out with."""

    endpoint: Endpoint
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)
    ids: Sequence[bytes] = field(default=(), repr=False)
    """Those in the body: they must not come back in an error text."""
    max_bytes: int
    run_id: str = ""


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
        self._http = http
        self._credentials = credentials
        self._clock = clock
        self._current = credentials()

    def list_cohorts(self) -> tuple[Cohort, ...]:
        """All discoverable cohorts of the project; free, also a check of credentials.

        Raises `DeliveryError`; a cut or odd list raises too.
        """
        call = _Call(
            endpoint=Endpoint.LIST,
            method="GET",
            path="/api/3/cohorts",
            max_bytes=LIST_BYTES,
        )
        return read_cohorts(self._send(call))

    def upload(self, cohort: NewCohort, *, run_id: str = "") -> Uploaded:
        """Create a cohort. Not idempotent: after a lost answer look before repeating.

        Raises `DeliveryError`; `Fault.BAD_IDS` means that no id was valid.
        """
        body = orjson.dumps(
            {
                "name": cohort.name,
                "app_id": cohort.app_id,
                "id_type": cohort.id_type,
                "ids": _texts(cohort.ids),
                "owner": cohort.owner,
                "published": cohort.published,
                "skip_invalid_ids": True,
            }
        )
        answer = self._send(
            _writing(Endpoint.UPLOAD, "/api/3/cohorts/upload", body, cohort.ids, run_id)
        )
        return read_upload(answer)

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
                    {"ids": _texts(ids), "id_type": id_type, "operation": word}
                ],
            }
        )
        answer = self._send(
            _writing(
                Endpoint.MEMBERSHIP, "/api/3/cohorts/membership", body, ids, run_id
            )
        )
        return read_membership(
            answer, cohort_id=cohort_id, operation=word, id_type=id_type, ids=ids
        )

    def _send(self, call: _Call) -> Answer:
        """Send with the current credentials, and once more if they were renewed."""
        used = self._current
        try:
            return self._attempt(call, used)
        except DeliveryError as error:
            if error.error_type != "auth" or not self._renewed(used):
                raise
        return self._attempt(call, self._current)

    def _attempt(self, call: _Call, credentials: tuple[str, str]) -> Answer:
        """One request; any 2xx is returned, all else raises."""
        headers = {"authorization": _basic(*credentials)}
        if call.body is not None:
            headers["content-type"] = "application/json"
        try:
            answer = self._http.request(
                call.method,
                call.path,
                body=call.body,
                headers=headers,
                max_bytes=call.max_bytes,
                run_id=call.run_id,
            )
        except TransportError as error:
            _raise_unanswered(error)
        if answer.ok:
            return answer
        private = [*credentials, headers["authorization"].split()[1], *_texts(call.ids)]
        envelope = read_envelope(answer.body, private)
        raise classify(answer, envelope, call.endpoint, self._clock.now())

    def _renewed(self, used: tuple[str, str]) -> bool:
        """Read the credentials again; True if they differ from the ones refused."""
        try:
            self._current = self._credentials()
        except SyncdError:
            return False  # the refusal is the news; the unreadable file comes up next
        return self._current != used


_UNANSWERED: Mapping[Kind, tuple[Fault, str]] = {
    "timeout": (Fault.PASSING, "timeout"),
    "connect": (Fault.PASSING, "connect"),
    "dns": (Fault.PASSING, "connect"),
    "reset": (Fault.PASSING, "connect"),
    "too_large": (Fault.PASSING, "bad_response"),
    # A certificate that does not verify is never retried and never bypassed: it stops
    # the connection, which is then probed like one with a refused key.
    "tls": (Fault.CREDENTIALS, "tls"),
}


def _raise_unanswered(error: TransportError) -> NoReturn:
    fault, error_type = _UNANSWERED[error.kind]
    hint = ""
    if error.kind == "tls":
        hint = (
            "name the private authority with `ca_file` on the connection: syncd check"
        )
    raise DeliveryError(
        str(error), fault=fault, error_type=error_type, hint=hint
    ) from error


def _writing(
    endpoint: Endpoint, path: str, body: bytes, ids: Sequence[bytes], run_id: str
) -> _Call:
    return _Call(
        endpoint=endpoint,
        method="POST",
        path=path,
        body=body,
        ids=ids,
        max_bytes=ACKNOWLEDGEMENT_BYTES + _ECHO_FACTOR * len(body),
        run_id=run_id,
    )


def _texts(ids: Sequence[bytes]) -> list[str]:
    """65 us per 1,000 ids with the dump; joining escaped text saved only 20 of them."""
    return [each.decode() for each in ids]


def _basic(key: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode("ascii")
