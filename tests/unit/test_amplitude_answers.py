"""What Amplitude's answers prove, and what they do not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.clients.amplitude_answers import (
    Membership,
    read_cohorts,
    read_membership,
    read_upload,
)
from syncd.clients.amplitude_errors import Endpoint, classify, read_envelope
from syncd.clients.http import Answer
from syncd.errors import DeliveryError, Fault

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
JSON = "application/json"
SENT = (b"user1", b"user2", b"user3")
KEY_REFUSED = "Invalid API Key"
SECRET_REFUSED = "Invalid API/Secret Key combination"


def answer(
    body: Any = b"",
    *,
    status: int = 200,
    content_type: str | None = JSON,
    **headers: str,
) -> Answer:
    """`body` as given when bytes, else as JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        named["content-type"] = content_type
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, headers=named, body=raw, duration=0.01)


def acknowledgement(**changes: Any) -> dict[str, Any]:
    entry = {"skipped_ids": ["user2"], "id_type": "BY_NAME", "operation": "ADD"}
    return {"cohort_id": "7y6y3ij", "memberships_result": [entry], **changes}


def entry(**changes: Any) -> dict[str, Any]:
    """An acknowledgement whose one entry has `changes`; `...` drops the key."""
    whole = acknowledgement()["memberships_result"][0] | changes
    kept = {key: value for key, value in whole.items() if value is not ...}
    return acknowledgement(memberships_result=[kept])


def acknowledged(given_answer: Answer, ids: tuple[bytes, ...] = SENT) -> Membership:
    return read_membership(
        given_answer,
        cohort_id="7y6y3ij",
        operation="ADD",
        id_type="BY_NAME",
        ids=ids,
    )


def envelope(details: str, **metadata: Any) -> dict[str, Any]:
    return {
        "error": {
            "http_code": 400,
            "type": "invalid",
            "message": "Unspecified Error",
            "metadata": {"details": details, **metadata},
        }
    }


def classified(
    status: int,
    body: Any = b"",
    *,
    endpoint: Endpoint = Endpoint.MEMBERSHIP,
    **headers: str,
) -> DeliveryError:
    refused = answer(body, status=status, **headers)
    return classify(refused, read_envelope(refused.body), endpoint, NOW)


# --- acknowledgements -----------------------------------------------------------------


def test_a_whole_answer_proves_every_id_but_the_skipped():
    proof = acknowledged(answer(acknowledgement(), status=200, x_request_id="r-1"))

    assert proof.skipped_ids == {b"user2"}
    assert proof.request_id == "r-1"


def test_operation_and_id_type_may_be_missing_but_not_different():
    assert acknowledged(answer(entry(operation=..., id_type=...))).skipped_ids


def test_ids_are_compared_byte_for_byte():
    composed, decomposed = "é-user".encode(), "e\u0301-user".encode()

    proof = acknowledged(
        answer(entry(skipped_ids=["e\u0301-user"])), (composed, decomposed)
    )

    assert proof.skipped_ids == {decomposed}
    with pytest.raises(DeliveryError):
        acknowledged(answer(entry(skipped_ids=["USER1"])))


WHOLE = json.dumps(acknowledgement()).encode()

NOT_JSON_CONTENT = [
    answer(WHOLE, content_type=None),
    answer(WHOLE, content_type=""),
    answer(WHOLE, content_type="text/html"),
    answer(WHOLE, content_type="text/plain; charset=utf-8"),
    answer(WHOLE, content_type="application/jsonp"),
    answer(WHOLE, content_type="application/octet-stream"),
]

NOT_A_2XX = [
    answer(WHOLE, status=status)
    for status in (100, 199, 301, 302, 304, 307, 400, 404, 500)
]

BROKEN_BODIES = [
    answer(body)
    for body in (
        b"",
        b" ",
        b"\x00",
        b"ok",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'""',
        b"<html><body>Sign in</body></html>",
        WHOLE[:-1],
        WHOLE[: len(WHOLE) // 2],
        WHOLE + WHOLE,
        WHOLE + b"x",
        b"[" + WHOLE + b"]",
        WHOLE.replace(b'"', b"'"),
        WHOLE.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + WHOLE,
        b"\x1f\x8b\x08\x00" + WHOLE,
        WHOLE.replace(b"user2", b"\xff\xfe"),
        b"[" * 5000,
    )
]

WRONG_SHAPES = [
    answer(body)
    for body in (
        acknowledgement(cohort_id="zzzzzzz"),
        acknowledgement(cohort_id="7Y6Y3IJ"),
        acknowledgement(cohort_id=" 7y6y3ij"),
        acknowledgement(cohort_id=""),
        acknowledgement(cohort_id=None),
        acknowledgement(cohort_id=7),
        acknowledgement(cohort_id=["7y6y3ij"]),
        {"cohort_id": "7y6y3ij"},
        {"memberships_result": acknowledgement()["memberships_result"]},
        {"cohortId": "7y6y3ij", "memberships_result": []},
        acknowledgement(memberships_result=None),
        acknowledgement(memberships_result=[]),
        acknowledgement(memberships_result={}),
        acknowledgement(memberships_result=["user2"]),
        acknowledgement(memberships_result=[None]),
        acknowledgement(memberships_result=[{}]),
        acknowledgement(memberships_result=acknowledgement()["memberships_result"] * 2),
        entry(operation="REMOVE"),
        entry(operation="add"),
        entry(operation=""),
        entry(operation=1),
        entry(id_type="BY_ID"),
        entry(id_type="BY_USER_ID"),
        entry(skipped_ids=...),
        entry(skipped_ids=None),
        entry(skipped_ids=0),
        entry(skipped_ids="user2"),
        entry(skipped_ids={"user2": True}),
        entry(skipped_ids=[None]),
        entry(skipped_ids=[2]),
        entry(skipped_ids=[["user2"]]),
        entry(skipped_ids=["user4"]),
        entry(skipped_ids=["user2", "user4"]),
        entry(skipped_ids=["user2 "]),
        entry(skipped_ids=[""]),
        entry(skipped_ids=["\ud800"]),
        acknowledgement(error={"http_code": 500}),
        acknowledgement(error="Forbidden"),
        acknowledgement(errors=[{"message": "no"}]),
        acknowledgement(success=False),
    )
]

BAD_ANSWERS = [*NOT_JSON_CONTENT, *NOT_A_2XX, *BROKEN_BODIES, *WRONG_SHAPES]


def test_the_corpus_holds_at_least_fifty_bad_answers():
    assert len(BAD_ANSWERS) >= 50


@pytest.mark.parametrize("bad", BAD_ANSWERS)
def test_a_bad_answer_proves_nothing_and_is_tried_again(bad):
    with pytest.raises(DeliveryError) as caught:
        acknowledged(bad)

    assert caught.value.fault is Fault.PASSING
    assert caught.value.error_type == "bad_response"
    assert "user" not in str(caught.value)


@given(
    body=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["cohort_id", "memberships_result", "skipped_ids"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_nothing_made_at_random_is_an_acknowledgement(body):
    with pytest.raises(DeliveryError):
        acknowledged(answer(body))


@given(st.sets(st.sampled_from(SENT)))
def test_accepted_and_skipped_are_exactly_the_ids_sent(skipped):
    names = [each.decode() for each in skipped]

    proof = acknowledged(answer(entry(skipped_ids=names)))

    assert proof.skipped_ids == skipped


# --- uploads --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"cohortId": "7y6y3ij"},
        {"cohort_id": "7y6y3ij"},
        {"cohortId": "7y6y3ij", "cohort_id": "7y6y3ij"},
    ],
)
def test_both_spellings_of_the_created_id_are_read(body):
    assert read_upload(answer(body)).cohort_id == "7y6y3ij"


def test_the_size_comes_from_the_created_cohort_if_it_is_named():
    body = {"cohortId": "a1", "cohortsById": {"a1": {"size": 2, "type": "x"}}}

    assert read_upload(answer(body)).size == 2
    assert read_upload(answer({"cohortId": "a1"})).size is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"cohortId": ""},
        {"cohortId": None},
        {"cohortId": 7},
        {"cohortId": "a1", "cohort_id": "b2"},
        {"cohortId": "a1", "error": {"message": "no"}},
        {"id": "a1"},
        [],
    ],
)
def test_an_upload_without_one_cohort_id_is_no_creation(body):
    with pytest.raises(DeliveryError) as caught:
        read_upload(answer(body))

    assert caught.value.fault is Fault.PASSING


# --- the list -------------------------------------------------------------------------


def listed(**changes: Any) -> dict[str, Any]:
    """The recorded object of contract 4.1, shortened."""
    return {
        "appId": 829528,
        "archived": False,
        "definition": {
            "version": 3,
            "countGroup": {"name": "User", "is_computed": False},
            "andClauses": [],
        },
        "description": None,
        "finished": True,
        "id": "9apg8e8f",
        "name": "14 day user retention",
        "published": True,
        "type": "redshift",
        "createdAt": 1781554538,
        "lastComputed": 1781611619,
        "hidden": False,
        "is_generated_content": False,
        "owners": ["amp"],
        "size": 0,
        **changes,
    }


def test_the_recorded_cohort_is_read_whatever_else_it_holds():
    (cohort,) = read_cohorts(answer({"cohorts": [listed(brand_new_key=[1])]}))

    assert cohort.id == "9apg8e8f"
    assert cohort.app_id == "829528"
    assert cohort.owners == ("amp",)
    assert cohort.created_at == datetime.fromtimestamp(1781554538, UTC)
    assert cohort.count_group == "User"


@pytest.mark.parametrize(
    ("definition", "group"),
    [
        ({"countGroup": "User"}, "User"),
        ({"countGroup": "org name"}, "org name"),
        ({"countGroup": {"name": "org name", "is_computed": False}}, "org name"),
        ({"countGroup": None}, "User"),
        ({}, "User"),
        (None, "User"),
    ],
)
def test_the_count_group_is_read_as_object_or_text(definition, group):
    (cohort,) = read_cohorts(answer({"cohorts": [listed(definition=definition)]}))

    assert cohort.count_group == group


def test_a_never_computed_cohort_has_no_size():
    body = {"cohorts": [listed(size=None, lastComputed=None, finished=False)]}

    assert read_cohorts(answer(body))[0].size is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"cohorts": None},
        {"cohorts": {}},
        {"cohorts": [None]},
        {"cohorts": [listed(id="")]},
        {"cohorts": [listed(), listed(id=None)]},
        {"cohorts": [listed(type=None)]},
        {"cohorts": [listed(createdAt=-1)]},
        {"cohorts": [listed(createdAt=10**15)]},
        {"cohorts": [listed(archived="no")]},
        [listed()],
    ],
)
def test_a_list_that_is_odd_anywhere_is_not_believed_at_all(body):
    with pytest.raises(DeliveryError) as caught:
        read_cohorts(answer(body))

    assert caught.value.error_type == "bad_response"


# --- the envelope ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (envelope("Invalid user property country"), "Invalid user property country"),
        (
            {"error": {"message": "Invalid chart definition"}},
            "Invalid chart definition",
        ),
        ({"error": {"message": "m", "metadata": {"details": " "}}}, "m"),
        ({"error": {"message": "m", "metadata": ["x"]}}, "m"),
        ({"code": 403, "error": "Forbidden"}, "Forbidden"),
        ({"success": False, "errors": [{"message": "no such key"}]}, "no such key"),
        ({"error": {"error": "odd"}}, '{"error":{"error":"odd"}}'),
        (b"Gateway Timeout", "Gateway Timeout"),
        (b"<html>\n<h1>502</h1>\n</html>", "<html> <h1>502</h1> </html>"),
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_the_best_message_is_found_in_every_shape(body, message):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    assert read_envelope(raw).message == message


def test_a_message_is_cut_at_two_hundred_characters():
    assert len(read_envelope(json.dumps(envelope("x" * 5000)).encode()).message) == 200


def test_control_and_direction_characters_do_not_reach_a_terminal():
    said = "a\x1b[31mb\r\nc\u202ed\u0000e\u2028f\x9bg"

    message = read_envelope(json.dumps(envelope(said)).encode()).message

    assert message == "a [31mb c d e f g"


@given(
    private=st.lists(
        st.text("abcdefgh@.-é ", min_size=5, max_size=300)
        .map(str.strip)
        .filter(lambda each: len(each) >= 5),
        max_size=4,
    ),
    before=st.text("xyz ", max_size=250),
)
def test_no_id_or_secret_of_the_request_is_repeated(private, before):
    said = before + " and ".join(private)

    message = read_envelope(json.dumps(envelope(said)).encode(), private).message

    assert all(each not in message for each in private)


def test_an_id_that_the_cut_halves_is_masked_too():
    long_id = "person-" * 100

    message = read_envelope(b"x" * 190 + long_id.encode(), [long_id]).message

    assert message == "x" * 190 + "*" * 10


def test_a_short_id_is_masked_as_a_word_without_blotting_out_the_text():
    body = json.dumps(envelope("user a1: a1 is unknown, a10 is not")).encode()

    assert read_envelope(body, ["a1"]).message == "user **: ** is unknown, a10 is not"


@given(st.binary())
def test_no_body_breaks_the_envelope_reader(body):
    assert len(read_envelope(body, ["user1"]).message) <= 200


# --- retry classes --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault", "error_type"),
    [
        (400, envelope("Invalid chart definition"), Fault.REFUSED, "http_4xx"),
        (400, envelope("Invalid ids in the request"), Fault.BAD_IDS, "invalid_id"),
        (401, b"", Fault.CREDENTIALS, "auth"),
        (403, envelope(KEY_REFUSED), Fault.CREDENTIALS, "auth"),
        (403, envelope(SECRET_REFUSED), Fault.CREDENTIALS, "auth"),
        (403, {"code": 403, "error": "Forbidden"}, Fault.REFUSED, "forbidden"),
        (403, b"<html>blocked</html>", Fault.REFUSED, "forbidden"),
        (404, envelope("Cohort not found"), Fault.TARGET_GONE, "not_found"),
        (408, b"", Fault.PASSING, "timeout"),
        (409, b"", Fault.PASSING, "http_4xx"),
        (413, b"", Fault.TOO_LARGE, "too_large"),
        (418, b"", Fault.REFUSED, "http_4xx"),
        (422, b"", Fault.REFUSED, "http_4xx"),
        (429, envelope("Too Many Requests"), Fault.PASSING, "rate_limited"),
        (500, b"<html></html>", Fault.PASSING, "http_5xx"),
        (502, b"", Fault.PASSING, "http_5xx"),
        (503, b"", Fault.PASSING, "http_5xx"),
        (504, b"Gateway Timeout", Fault.PASSING, "http_5xx"),
        (301, b"", Fault.PASSING, "bad_response"),
        (302, b"", Fault.PASSING, "bad_response"),
        (307, b"", Fault.PASSING, "bad_response"),
        (101, b"", Fault.PASSING, "bad_response"),
        (600, b"", Fault.PASSING, "bad_response"),
    ],
)
def test_each_status_has_its_retry_class(status, body, fault, error_type):
    error = classified(status, body)

    assert (error.fault, error.error_type, error.status) == (fault, error_type, status)


@pytest.mark.parametrize("endpoint", [Endpoint.LIST, Endpoint.UPLOAD])
def test_only_a_membership_404_says_that_our_cohort_is_gone(endpoint):
    assert classified(404, endpoint=endpoint).fault is Fault.REFUSED


def test_a_429_with_a_wait_throttles_the_credential():
    error = classified(429, retry_after="17")

    assert (error.fault, error.retry_after) == (Fault.THROTTLED, 17.0)


def test_a_429_with_garbage_for_a_wait_only_passes():
    error = classified(429, retry_after="soon")

    assert (error.fault, error.retry_after) == (Fault.PASSING, None)


def test_a_503_with_a_wait_passes_and_keeps_the_wait():
    error = classified(503, retry_after="60")

    assert (error.fault, error.retry_after) == (Fault.PASSING, 60.0)


def test_the_error_carries_the_vendors_words():
    error = classified(403, envelope(KEY_REFUSED))

    assert error.vendor_message == KEY_REFUSED
    assert KEY_REFUSED in str(error)
    assert "syncd check" in error.hint


@pytest.mark.parametrize(
    "details",
    [
        "Invalid ids in the request",
        "No valid ids in the request",
        "No valid user ids",
        "no valid users found",
        "User IDs do not exist: user not found",
        "All amplitude_ids are unknown",
        "Unrecognized ids",
    ],
)
def test_a_complaint_about_ids_is_recognised_by_its_words(details):
    assert read_envelope(json.dumps(envelope(details)).encode()).about_ids


@pytest.mark.parametrize(
    "metadata",
    [
        {"invalid_ids_sample": ["u"]},
        {"invalid_ids": ["u"]},
        {"skipped_ids": ["u"]},
        {"memberships_result": [{"skipped_ids": ["u"], "operation": "ADD"}]},
    ],
)
def test_a_complaint_about_ids_is_recognised_by_the_ids_it_names(metadata):
    body = json.dumps(envelope("Unspecified Error", **metadata)).encode()

    assert read_envelope(body).about_ids


@pytest.mark.parametrize(
    "details",
    [
        "Invalid id_type, must be one of BY_AMP_ID, BY_USER_ID",
        "Invalid app_id",
        "Invalid owner: no such user",
        "Invalid cohort_id",
        "Invalid skip_invalid_ids",
        "ids must not be empty",
        "Missing required field ids: not a list of ids",
        "Too many ids: not more than 100000",
        "Invalid operation, must be one of ADD, REMOVE",
        "Cohort is archived",
        "Membership cannot be changed",
        "Unspecified Error",
        "",
    ],
)
def test_another_complaint_is_not_taken_for_one_about_ids(details):
    body = json.dumps(envelope(details, memberships_result=[{"skipped_ids": []}]))

    assert not read_envelope(body.encode()).about_ids
