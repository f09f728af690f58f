"""What vendors answer: acknowledgements, lists, refusals, links and files.

An answer is believed or is a `DeliveryError`; whichever it is, its words can be logged
and its numbers stored.
"""

import io
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from syncd.clients import amplitude_answers as answers
from syncd.clients import amplitude_job as job
from syncd.clients.amplitude_errors import Endpoint, classify, read_envelope
from syncd.clients.http import Answer, HttpClient
from syncd.clients.limits import MAX_WAIT, retry_after
from syncd.clients.masking import MESSAGE_CHARACTERS, masked
from syncd.clients.proof import accepted_by_object, accepted_by_status
from syncd.clients.refusals import named_wait, refusal, said, usual_verdict
from syncd.clients.segment_public import AudienceSizes
from syncd.clients.storage import StorageClient
from syncd.clients.unpack import Bounds, BrokenFile, Unpacked
from syncd.errors import DeliveryError
from syncd.sinks.list_api import _list_id
from tests.fuzzing.doors import NOON, Noon, require_text
from tests.fuzzing.packed import PACKED
from tests.fuzzing.target import Target

IDS = (b"person-000001", b"person-000002", "pérson-000003".encode())
PRIVATE = [each.decode() for each in IDS]
STORED = range(-(2**63), 2**63)
"""What a column of the store can hold."""


def answer(data: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with this body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    typed = {"content-type": "application/json"} | named
    return Answer(status=status, headers=typed, body=data, duration=0.0)


def require_sound(value: Any) -> None:
    """Every text in it can be written, every number stored, every time has a zone."""
    match value:
        case str():
            value.encode("utf-8", "strict")
        case bool() | None | bytes():
            pass
        case int():
            assert value in STORED
        case datetime():
            assert value.tzinfo is not None
        case dict():
            any(map(require_sound, value.items()))
        case tuple() | list() | frozenset():
            any(map(require_sound, value))
        case _:
            pass


def require_error(error: DeliveryError) -> None:
    """It can be shown, and shows nobody."""
    for text in (str(error), error.vendor_message, error.hint):
        text.encode()
        assert not [each for each in PRIVATE if each in text]
    assert error.retry_after is None or 0 <= error.retry_after <= MAX_WAIT


def reader(read: Callable[[Answer], Any], status: int = 200) -> Callable[[bytes], None]:
    """A target: the bodies of one call's answers."""

    def run(data: bytes) -> None:
        try:
            found = read(answer(data, status))
        except DeliveryError as error:
            require_error(error)
            return
        require_sound(asdict(found) if hasattr(found, "__slots__") else found)

    return run


def membership(found: Answer) -> answers.Membership:
    """Read as the answer to an ADD of three people."""
    read = answers.read_membership(
        found, cohort_id="c1", operation="ADD", id_type="BY_NAME", ids=IDS
    )
    assert read.skipped_ids <= set(IDS)
    return read


def cohorts(found: Answer) -> list[dict[str, Any]]:
    """The free list."""
    return [asdict(each) for each in answers.read_cohorts(found)]


def envelopes(data: bytes) -> None:
    """What Amplitude says when it refuses, as every call reads it."""
    envelope = read_envelope(data, PRIVATE)
    assert len(envelope.message) <= MESSAGE_CHARACTERS
    for status in (302, 400, 403, 404, 429, 503):
        for endpoint in (Endpoint.MEMBERSHIP, Endpoint.STATUS):
            require_error(classify(answer(data, status), envelope, endpoint, NOON))


def refusals(data: bytes) -> None:
    """What other vendors say when they refuse."""
    words = said(data, PRIVATE)
    for status in (204, 302, 400, 401, 413, 429, 500):
        verdict = usual_verdict(status)
        found = answer(data, status)
        error = refusal(found, verdict, call="a call", words=words, now=NOON)
        require_error(error)


def waits(data: bytes) -> None:
    """Retry-After, and the instant of a reset."""
    text = data.decode("latin-1")
    for wait in (
        retry_after(text, NOON),
        named_wait({"retry-after": text}, NOON),
        named_wait({"x-ratelimit-reset": text}, NOON),
    ):
        assert wait is None or 0 <= wait <= MAX_WAIT


def proofs(data: bytes) -> None:
    """2xx of Segment and of partners."""
    for read in (accepted_by_object, accepted_by_status):
        try:
            read(answer(data), "a call")
        except DeliveryError as error:
            require_error(error)
    found = _list_id(data, ("listId", "list_id", "id"))
    assert found is None or found


class OnePage:
    """A transport that gives this body to every question."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def request(self, *_: object, **__: object) -> Answer:
        return answer(self._body)


def audiences(data: bytes) -> None:
    """Segment's list of audiences, whose pages may have no end."""
    http = cast("HttpClient", OnePage(data))
    sizes = AudienceSizes(http, lambda: "a-token", space="spa_1", clock=Noon())
    try:
        require_sound(sizes.size_of("vip"))
    except DeliveryError as error:
        require_error(error)


def links(data: bytes) -> None:
    """Where Amplitude says that a file is; none is followed here."""
    storage = StorageClient(clock=Noon())
    try:
        place = storage._place(data.decode("latin-1"))  # noqa: SLF001  # the way out
    except DeliveryError as error:
        require_error(error)
        return
    assert place.origin.startswith("https://")
    assert place.public_only


def files(data: bytes) -> None:
    """A download as it arrives: pieces of 997 bytes, and all at once."""
    made = []
    for length in (997, max(1, len(data))):
        out = io.BytesIO()
        layers = Unpacked(out, Bounds())
        try:
            for start in range(0, len(data), length):
                layers.take(data[start : start + length])
            layers.finish(answer(data, content_length=str(len(data))))
        except BrokenFile as error:
            require_text(str(error))
            continue
        made.append(out.getvalue())
    assert len(set(made)) <= 1, "it depends on how it was cut"


def masks(data: bytes) -> None:
    """A vendor's words about people and keys: the first line is who must be hidden."""
    hidden, _, rest = data.partition(b"\n")
    secret, text = hidden.decode("utf-8", "replace"), rest.decode("utf-8", "replace")
    shown = masked(text, [secret])
    assert len(shown) <= MESSAGE_CHARACTERS
    assert shown.isprintable() or not text.isprintable()
    if len(secret.strip()) >= 5 and "*" not in secret:
        assert secret.strip() not in shown


_ADDED = (
    b'{"cohort_id": "c1", "memberships_result": [{"skipped_ids": ["person-000001"],'
    b' "operation": "ADD", "id_type": "BY_NAME"}]}'
)
_UPLOADED = (
    b'{"cohortId": "c1", "cohortsById": {"c1": {"size": 3}},'
    b' "metadata": {"matched": 3}}'
)
_LISTED = (
    b'{"cohorts": [{"id": "c1", "name": "VIP", "owners": ["a@b.example"], "appId": 1,'
    b' "type": "manual_upload", "archived": false, "size": 3, "createdAt": 1767225600,'
    b' "definition": {"countGroup": {"name": "User"}}, "lastComputed": 1767225600,'
    b' "lastMod": 1767225600, "finished": true, "syncMetadata": [{"target": "segment",'
    b' "frequency": "hourly", "last_successful": "2026-03-02T11:00:00"}]}]}'
)
_SPENT = (
    b'{"rest_download": {"limit": 500, "usage": 3, "resets_at": "2026-04-01 00:00"}}'
)
_JOB = b'{"request_id": "r1", "cohort_id": "c1", "async_status": "JOB COMPLETED"}'
_SIZES = (
    b'{"data": {"audiences": [{"key": "vip", "status": "Live",'
    b' "size": {"type": "USERS", "count": 3}}], "pagination": {"next": null}}}'
)
_REFUSED = (
    b'{"error": {"message": "no such ids", "metadata": {"details": "person-000001"}}}',
    b'{"error": {"metadata": {"skipped_ids": ["person-000001"]}}}',
    b'{"errors": [{"message": "Invalid API Key"}], "success": false}',
    b"<html><body>502 Bad Gateway</body></html>",
)
_DATES = (
    b"120",
    b"Mon, 02 Mar 2026 12:01:00 GMT",
    b"Monday, 02-Mar-26 12:01:00 GMT",
    b"1772452800",
)
_IDS = (
    b'"skipped_ids":',
    b'"size":',
    b'"createdAt":',
    b"person-000001",
    b"no ",
    b"ids ",
)

TARGETS = (
    Target(
        name="membership-answers", run=reader(membership), seeds=(_ADDED,), words=_IDS
    ),
    Target(
        name="upload-answers",
        run=reader(answers.read_upload),
        seeds=(_UPLOADED,),
        found=(_UPLOADED.replace(b"3}}", b"9" * 30 + b"}}"),),
    ),
    Target(
        name="validation-answers",
        run=reader(answers.read_validation),
        seeds=(_UPLOADED,),
    ),
    Target(
        name="list-answers",
        run=reader(cohorts),
        seeds=(_LISTED,),
        words=_IDS,
        found=(_LISTED.replace(b'"size": 3', b'"size": ' + b"9" * 30),),
    ),
    Target(
        name="usage-answers",
        run=reader(job.read_usage),
        seeds=(_SPENT,),
        found=(_SPENT.replace(b"500", b"9" * 30),),
    ),
    Target(
        name="download-requests",
        run=reader(lambda found: job.read_request(found, cohort_id="c1"), 202),
        seeds=(_JOB,),
    ),
    Target(
        name="download-status",
        run=reader(lambda found: job.read_status(found, request_id="r1")),
        seeds=(_JOB,),
    ),
    Target(
        name="amplitude-refusals",
        run=envelopes,
        seeds=_REFUSED,
        words=_IDS,
        found=(b"[" * 300 + b"]" * 300, b'{"error":"' + b"no " * 5_000 + b'"}'),
    ),
    Target(
        name="other-refusals",
        run=refusals,
        seeds=_REFUSED,
        found=(b"[" * 300 + b"]" * 300,),
    ),
    Target(name="retry-after", run=waits, seeds=_DATES, words=(b"GMT", b"+2400", b"(")),
    Target(
        name="other-acknowledgements",
        run=proofs,
        seeds=(b'{"success": true}', b"OK", b'{"response": {"listId": "l1"}}'),
    ),
    Target(
        name="audience-sizes",
        run=audiences,
        seeds=(_SIZES,),
        found=(_SIZES.replace(b"3}}", b"9" * 30 + b"}}"),),
    ),
    Target(
        name="file-links",
        run=links,
        seeds=(b"https://bucket.s3.amazonaws.com/file.csv?X-Amz-Signature=0a",),
        words=(b"@", b"127.0.0.1", b"[::1]", b".local", b":443"),
    ),
    Target(name="downloaded-files", run=files, seeds=PACKED[:-1], found=PACKED[-1:]),
    Target(
        name="masked-words",
        run=masks,
        seeds=(
            b"person-000001\nunknown PERSON-000001 and person%2D000001",
            "straße-ǅ\nno STRASSE-ǆ".encode(),
            b"a&b-c<d>\n&lt; a&amp;b-c&lt;d&gt; \\u0061&b",
        ),
        found=(b"sa sa\nsa\n sa", b"ab cd\nab\xe2\x80\x8bcd", b"ab  cd\nab  cd"),
    ),
)
