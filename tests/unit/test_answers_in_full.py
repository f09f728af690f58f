"""Answers read to the last field: whatever a reader says, it says as the vendor did.

Found wanting by mutation testing: each of these lines could be changed unseen.
"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.clients.amplitude_answers import (
    Cohort,
    NativeSync,
    Uploaded,
    Validated,
    instant,
    read_cohorts,
    read_membership,
    read_upload,
    read_validation,
)
from syncd.clients.http import Answer, TransportError
from syncd.clients.limits import MAX_WAIT, retry_after
from syncd.clients.proof import (
    Accepted,
    accepted_by_object,
    accepted_by_status,
    bad_response,
    unanswered,
)
from syncd.clients.refusals import (
    as_it_stands,
    named_wait,
    refusal,
    said,
    usual_verdict,
)
from syncd.errors import DeliveryError, Fault

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
LAST_SECOND = 253_402_300_799
"""Of the year 9999."""


def answer(
    body: Any = b"", status: int = 200, kind: str = "application/json", **named: str
) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in named.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(
        status=status, headers={"content-type": kind} | headers, body=raw, duration=0.01
    )


def refused(read: Any, *args: Any, **named: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        read(*args, **named)
    return caught.value


# ---- the list of cohorts -------------------------------------------------------------

ROW = {
    "id": "7y6y3ij",
    "name": "Churn risk",
    "owners": ["ann@acme.example", 7, "amp"],
    "appId": 187520,
    "type": "redshift",
    "archived": True,
    "size": 42,
    "createdAt": 1_700_000_000,
    "definition": {"countGroup": {"name": "Account"}},
    "lastComputed": 1_700_000_060,
    "lastMod": 1_700_000_120,
    "finished": True,
    "hidden": True,
    "published": True,
    "syncMetadata": [
        {
            "target": "segment",
            "frequency": "hourly",
            "last_successful": "2026-05-12T08:00:00.5+02:00",
        },
        "something else",
        {"target": 7},
    ],
}


def first(**changes: Any) -> Cohort:
    return read_cohorts(answer({"cohorts": [ROW | changes]}))[0]


def test_every_field_of_a_cohort_is_where_it_was():
    assert first() == Cohort(
        id="7y6y3ij",
        name="Churn risk",
        owners=("ann@acme.example", "amp"),
        app_id="187520",
        type="redshift",
        archived=True,
        size=42,
        created_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        count_group="Account",
        last_computed=datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC),
        last_mod=datetime(2023, 11, 14, 22, 15, 20, tzinfo=UTC),
        finished=True,
        hidden=True,
        published=True,
        native_syncs=(
            NativeSync(
                target="segment",
                frequency="hourly",
                last_successful=datetime(2026, 5, 12, 6, tzinfo=UTC),
            ),
            NativeSync(target="", frequency="", last_successful=None),
        ),
    )


def test_a_cohort_of_which_little_is_said_is_an_ordinary_one():
    bare = read_cohorts(answer({"cohorts": [{"id": "c", "type": "t"}]}))[0]

    assert bare == Cohort(
        id="c",
        name="",
        owners=(),
        app_id="",
        type="t",
        archived=False,
        size=None,
        created_at=None,
        count_group="User",
    )


@pytest.mark.parametrize("odd", ["yes", 1, None, []])
def test_what_only_informs_is_read_as_far_as_it_goes(odd):
    cohort = first(finished=odd, hidden=odd, published=odd, lastMod="now")

    assert (cohort.finished, cohort.hidden, cohort.published) == (None, False, False)
    assert cohort.last_mod is None
    assert first(syncMetadata=odd).native_syncs == ()


@pytest.mark.parametrize("key", ["createdAt", "lastComputed"])
def test_the_second_of_a_cohort_lies_in_a_year_that_can_be_written(key):
    field = {"createdAt": "created_at", "lastComputed": "last_computed"}[key]

    assert getattr(first(**{key: 0}), field) == datetime(1970, 1, 1, tzinfo=UTC)
    assert getattr(first(**{key: LAST_SECOND}), field).year == 9999
    assert getattr(first(**{key: None}), field) is None
    for beyond in (-1, LAST_SECOND + 1):
        refused(read_cohorts, answer({"cohorts": [ROW | {key: beyond}]}))


@pytest.mark.parametrize(("second", "year"), [(0, 1970), (LAST_SECOND, 9999)])
def test_the_second_of_an_edit_may_be_the_first_or_the_last(second, year):
    edited = first(lastMod=second).last_mod

    assert edited is not None
    assert edited.year == year
    assert first(lastMod=-1).last_mod is None
    assert first(lastMod=LAST_SECOND + 1).last_mod is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-05-12T08:00:00.9", datetime(2026, 5, 12, 8, tzinfo=UTC)),
        ("2026-05-12T08:00:00+02:00", datetime(2026, 5, 12, 6, tzinfo=UTC)),
        ("2026-05-12T08:00:00Z", datetime(2026, 5, 12, 8, tzinfo=UTC)),
        ("0001-01-01T00:00:00+02:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_an_instant_is_utc_in_whole_seconds_or_nothing(text, at):
    assert repr(instant(text)) == repr(at)


# ---- uploads and memberships ---------------------------------------------------------


def test_an_upload_tells_the_request_by_which_it_was_made():
    body = {"cohortId": "c", "cohortsById": {"c": {"size": 3}}}

    made = read_upload(answer(body, status=201, x_request_id="r-1"))

    assert made == Uploaded(cohort_id="c", size=3, request_id="r-1", status=201)


def test_a_validation_tells_what_it_found_and_what_it_made_all_the_same():
    nothing = Validated(matched=None, created=None)

    assert read_validation(answer({})) == nothing
    assert read_validation(answer({"metadata": {"matched": 0}})).matched == 0
    assert read_validation(answer({"cohortId": "c"})).created == "c"
    assert read_validation(answer({"cohort_id": "c"})).created == "c"


def membership(entry: Any = (), **changes: Any) -> dict[str, Any]:
    row = {"skipped_ids": [], "operation": "ADD", "id_type": "BY_NAME"} | dict(entry)
    return {"cohort_id": "c", "memberships_result": [row]} | changes


def read(given: Answer) -> Any:
    return read_membership(
        given, cohort_id="c", operation="ADD", id_type="BY_NAME", ids=[b"a"]
    )


@pytest.mark.parametrize(
    ("reader", "body", "why"),
    [
        (read_upload, {}, "it does not name one cohort"),
        (read_validation, {"error": "no"}, "it reports an error"),
        (read, membership(cohort_id="d"), "it names another cohort"),
        (
            read,
            membership({"operation": "REMOVE"}),
            "it names another operation or id type",
        ),
        (read, membership(error="no"), "it reports an error beside the result"),
        (read, membership({"skipped_ids": ["b"]}), "it skips ids that were not sent"),
        (
            read,
            membership({"skipped_ids": ["\ud800"]}),
            # An unpaired surrogate is no JSON text: no id of ours can be meant.
            "1 fields are missing or of another type",
        ),
        (read, [], "1 fields are missing or of another type"),
    ],
)
def test_an_answer_that_proves_nothing_is_told_by_its_flaw(reader, body, why):
    error = refused(reader, answer(body, status=202))

    assert str(error) == f"Amplitude's answer (202) proves nothing: {why}"
    assert error.status == 202
    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


def test_what_is_not_called_json_is_not_believed():
    error = refused(read, answer(membership(), kind="text/html"))

    assert str(error) == "Amplitude's answer (200) proves nothing: it is not JSON"


@pytest.mark.parametrize(
    "kind", ["Application/JSON; charset=utf-8", "application/json"]
)
def test_json_is_json_however_its_name_is_written(kind):
    assert read(answer(membership(), kind=kind)).status == 200


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"x_request_id": "A-1.b:c=_"}, "A-1.b:c=_"),
        ({"x_amzn_requestid": "r-2"}, "r-2"),
        ({"x_request_id": "r-1", "x_amzn_requestid": "r-2"}, "r-1"),
        ({"x_request_id": "x" * 100}, "x" * 100),
        ({"x_request_id": "x" * 101}, ""),
        ({"x_request_id": "ann@acme.example"}, ""),
        ({}, ""),
    ],
)
def test_a_requests_id_is_kept_where_it_is_plainly_one(headers, named):
    assert read(answer(membership(), **headers)).request_id == named


# ---- vendors that define little ------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (answer(b"<html>"), "it is a web page"),
        (answer(b"\xef\xbb\xbf \t\r\n<html>"), "it is a web page"),
        (answer(b"{cut"), "it is not JSON"),
        (answer(b"plain words"), "it is not JSON"),
        (answer({"success": False}), "it reports a failure"),
        (answer({"success": "false"}), "it reports a failure"),
        (answer({"error": "no"}), "it reports a failure"),
        (answer({"errors": ["no"]}), "it reports a failure"),
        (answer({"status": "error"}), "it reports a failure"),
        (answer({"status": "fail"}), "it reports a failure"),
        (answer({"status": "failed"}), "it reports a failure"),
        (answer({"status": "failure"}), "it reports a failure"),
        (answer({"error": "no"}, kind="text/plain"), "it reports a failure"),
        (answer(b"[1,", kind="text/plain"), "it is not JSON"),
    ],
)
def test_a_2xx_without_a_shape_is_doubted_where_it_says_no(given, why):
    error = refused(accepted_by_status, given, "add people")

    assert str(error) == f"the answer (200) to add people proves nothing: {why}"
    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")
    assert (error.status, error.hint) == (200, "")


@pytest.mark.parametrize(
    "given",
    [
        answer(b""),
        answer(b" \n"),
        answer(b"OK", kind="text/html"),
        Answer(status=200, headers={}, body=b"OK", duration=0.01),
        answer([1]),
        answer({"status": "ok", "success": True, "error": None, "errors": []}),
    ],
)
def test_a_2xx_without_a_shape_is_believed_where_nothing_denies_it(given):
    assert accepted_by_status(given, "add people") == Accepted(
        status=200, request_id=""
    )


def test_an_acceptance_names_its_request():
    given = answer({"success": True}, status=202, x_request_id="r-1")

    assert accepted_by_object(given, "x") == Accepted(status=202, request_id="r-1")
    assert accepted_by_status(answer(x_request_id="a@b"), "x").request_id == ""
    assert accepted_by_status(answer(x_request_id="x" * 101), "x").request_id == ""
    assert accepted_by_status(answer(x_request_id="x" * 100), "x").request_id


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([1], "it is no JSON object"),
        (b"OK", "it is not JSON"),
        ({"success": False}, "it reports a failure"),
    ],
)
def test_where_an_object_is_promised_only_an_object_will_do(body, why):
    error = refused(accepted_by_object, answer(body), "identify people")

    assert str(error) == f"the answer (200) to identify people proves nothing: {why}"


def test_a_flaw_may_be_of_another_kind_and_come_with_advice():
    error = bad_response(
        answer(), "x", "why", fault=Fault.TARGET_GONE, hint="syncd check"
    )

    assert (error.fault, error.hint) == (Fault.TARGET_GONE, "syncd check")


@pytest.mark.parametrize(
    ("kind", "fault", "error_type"),
    [
        ("timeout", Fault.PASSING, "timeout"),
        ("connect", Fault.PASSING, "connect"),
        ("dns", Fault.PASSING, "connect"),
        ("reset", Fault.PASSING, "connect"),
        ("too_large", Fault.PASSING, "bad_response"),
        ("tls", Fault.CREDENTIALS, "tls"),
    ],
)
@pytest.mark.parametrize("sent", [True, False])
def test_a_request_without_an_answer_is_told_by_how_it_ended(
    kind, fault, error_type, sent
):
    error = unanswered(TransportError("it ended", kind=kind, sent=sent))

    assert str(error) == "it ended"
    assert (error.fault, error.error_type, error.sent) == (fault, error_type, sent)
    advice = "name the private authority with `ca_file` on the connection: syncd check"
    assert error.hint == (advice if kind == "tls" else "")


# ---- refusals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (302, (Fault.PASSING, "bad_response")),
        (399, (Fault.PASSING, "bad_response")),
        (400, (Fault.REFUSED, "http_4xx")),
        (401, (Fault.CREDENTIALS, "auth")),
        (403, (Fault.CREDENTIALS, "auth")),
        (404, (Fault.REFUSED, "not_found")),
        (408, (Fault.PASSING, "timeout")),
        (409, (Fault.PASSING, "http_4xx")),
        (413, (Fault.TOO_LARGE, "too_large")),
        (429, (Fault.PASSING, "rate_limited")),
        (499, (Fault.REFUSED, "http_4xx")),
        (500, (Fault.PASSING, "http_5xx")),
        (599, (Fault.PASSING, "http_5xx")),
        (600, (Fault.PASSING, "bad_response")),
    ],
)
def test_a_status_means_the_same_wherever_the_call_gives_it_no_other_meaning(
    status, verdict
):
    assert usual_verdict(status) == verdict


def test_a_refusal_carries_all_that_was_said():
    given = answer(status=429, retry_after="17")

    error = refusal(
        given,
        (Fault.PASSING, "rate_limited"),
        call="the partner, asked to add",
        words="slow down",
        now=NOW,
        hint="wait",
    )

    assert str(error) == "the partner, asked to add was answered 429: slow down"
    assert (error.fault, error.error_type) == (Fault.THROTTLED, "rate_limited")
    assert (error.status, error.vendor_message, error.hint) == (
        429,
        "slow down",
        "wait",
    )
    assert error.retry_after == 17


def test_a_refusal_that_names_an_instant_waits_from_now_on():
    given = answer(status=429, retry_after="Tue, 12 May 2026 09:00:20 GMT")

    error = refusal(given, usual_verdict(429), call="x", words="", now=NOW)

    assert error.retry_after == 20


@pytest.mark.parametrize(("status", "wait"), [(429, None), (503, "17")])
def test_only_a_429_that_names_a_wait_holds_the_connection(status, wait):
    headers = {"retry_after": wait} if wait else {}

    error = refusal(
        answer(status=status, **headers),
        (Fault.PASSING, "http_5xx"),
        call="x",
        words="",
        now=NOW,
    )

    assert error.fault is Fault.PASSING
    assert str(error) == f"x was answered {status}: it gave no reason"
    assert error.hint == ""
    assert error.retry_after == (17 if wait else None)


def test_a_body_that_cannot_be_written_again_stays_as_it_was_sent():
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]

    assert as_it_stands(deep, b"[[\xff]]") == "[[\ufffd]]"
    assert as_it_stands({"a": 1}, b"whatever") == '{"a":1}'
    assert said(b"[" * 300 + b"]" * 300).startswith("[[[")
    assert said(b'{"error":' + b"[" * 300 + b"]" * 300 + b"}").startswith('{"error":[')


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "5", "x-ratelimit-reset": "9"}, 5.0),
        ({"retry-after": "soon", "x-ratelimit-reset": " 9 "}, 9.0),
        ({"x-ratelimit-reset": "999999999"}, MAX_WAIT),
        ({"x-ratelimit-reset": "1000000000"}, 0.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 30)}, 30.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 9_000)}, MAX_WAIT),
        ({"x-ratelimit-reset": "Tue, 12 May 2026 09:00:20 GMT"}, 20.0),
    ],
)
def test_a_wait_is_in_seconds_or_until_an_instant(headers, seconds):
    assert named_wait(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("9" * 9, MAX_WAIT),
        ("9" * 10, MAX_WAIT),
        ("9" * 6000, MAX_WAIT),
        ("900", 900.0),
        ("899", 899.0),
        ("Tue, 12 May 2026 11:00:30 +0200", 30.0),
        ("Tue, 12 May 2026 09:00:30 -0000", 30.0),
        ("Tue, 12 May 2026 08:59:30 GMT", 0.0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_between_nothing_and_the_clamp(
    header, seconds
):
    assert retry_after(header, NOW) == seconds
