"""The Segment client and its sink against a real server that plays a script."""

import base64
import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.clients.http import HttpClient
from syncd.clients.segment import HOSTS, SegmentClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, SyncdError
from syncd.model import Batch, Found, IdType, Operation, Receipt, Target
from syncd.sinks import Sink
from syncd.sinks.segment_identify import SegmentIdentifySink
from tests.contract.scripted import Reply, playing

KEY = "canary-write-key-5f2c"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"
TRAIT = "[Amplitude] Power Users (9xk2)"
PERSON = "person.one@acme.example"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SUCCESS = {"success": True}
TAKEN = Reply(200, SUCCESS)


@contextmanager
def connected(
    url: str, write_key: Callable[[], str] = lambda: KEY, **integrations: bool
) -> Iterator[Sink]:
    with HttpClient(url, clock=Clock(), deadline=5.0) as http:
        client = SegmentClient(http, write_key, clock=Clock())
        yield SegmentIdentifySink(client=client, integrations=integrations)


def target(external_id: str | None = TRAIT, name: str = TRAIT) -> Target:
    return Target(
        sync="power-users",
        name=name,
        owner="",
        id_type=IdType.USER_ID,
        external_id=external_id,
    )


def batch(*names: str, operation: Operation = Operation.ADD, **changes: Any) -> Batch:
    return Batch(
        **{
            "id": 1,
            "binding_id": 1,
            "run_id": RUN,
            "operation": operation,
            "ids": tuple(name.encode() for name in names or [PERSON]),
            "plan_id": "plan-1",
            "planned_at": NOW,
            **changes,
        }
    )


def delivered(*replies: Reply) -> Receipt:
    with playing(*replies) as vendor, connected(vendor.url) as sink:
        return sink.deliver(batch(), target())


def failed(*replies: Reply) -> DeliveryError:
    with playing(*replies) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch(), target())
    return caught.value


# --- what is sent ---------------------------------------------------------------------


def test_the_regions_are_segments_documented_hosts():
    assert HOSTS == {
        "us": "https://api.segment.io",
        "eu": "https://events.eu1.segmentapis.com",
    }


def test_a_batch_goes_to_v1_batch_with_the_key_as_user_and_no_password():
    with playing(TAKEN) as vendor, connected(vendor.url, All=False) as sink:
        receipt = sink.deliver(batch("u-81", "u-82"), target())

    (request,) = vendor.requests
    assert request.path == "/v1/batch"
    scheme, token = request.headers["authorization"].split()
    assert (scheme, base64.b64decode(token)) == ("Basic", f"{KEY}:".encode())
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-request-id"] == RUN
    assert KEY not in json.dumps(request.body)
    assert [each["userId"] for each in request.body["batch"]] == ["u-81", "u-82"]
    assert request.body["batch"][0]["traits"] == {TRAIT: True}
    assert request.body["batch"][0]["timestamp"] == "2026-03-02T12:00:00.000Z"
    assert request.body["batch"][0]["integrations"] == {"All": False}
    assert receipt == Receipt(accepted=(b"u-81", b"u-82"), status=200)


def test_a_removal_is_the_same_trait_set_to_false():
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        sink.deliver(batch(operation=Operation.REMOVE), target())

    assert vendor.requests[0].body["batch"][0]["traits"] == {TRAIT: False}


def test_a_retry_by_another_run_repeats_the_message_ids():
    with playing(Reply(503), TAKEN) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError):
            sink.deliver(batch("a", "b"), target())
        sink.deliver(batch("b", run_id="another", attempts=1), target())

    first, second = (request.body["batch"] for request in vendor.requests)
    assert first[1] == second[0]


def test_a_batch_without_a_plan_is_not_taken_for_another_run_s_transition():
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        sink.deliver(batch(plan_id="", run_id="run-1"), target())
        sink.deliver(batch(plan_id="", run_id="run-2"), target())

    made = {each.body["batch"][0]["messageId"] for each in vendor.requests}
    assert len(made) == 2


def test_a_body_that_is_too_large_is_halved_before_a_byte_leaves():
    names = [f"{number:04}-" + "x" * 900 for number in range(1000)]
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch(*names), target())

    assert (caught.value.fault, caught.value.status) == (Fault.TOO_LARGE, None)
    assert caught.value.error_type == "too_large"
    assert vendor.requests == []


def test_an_event_that_can_never_be_valid_is_found_before_a_byte_leaves():
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch("x" * 33_000), target())

    assert caught.value.fault is Fault.BAD_IDS
    assert vendor.requests == []


# --- the target is its name -----------------------------------------------------------


def test_a_trait_needs_nothing_at_segment_and_asks_nobody():
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        found = sink.find(target(external_id=None))

    assert found == Found(external_id=TRAIT, name=TRAIT, size=None)
    assert vendor.requests == []


def test_a_bound_trait_keeps_its_name_when_the_cohort_is_renamed():
    renamed = target(external_id=TRAIT, name="[Amplitude] Renamed (9xk2)")
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        found = sink.find(renamed)
        sink.deliver(batch(), renamed)

    assert found is not None
    assert found.external_id == TRAIT
    assert list(vendor.requests[0].body["batch"][0]["traits"]) == [TRAIT]


def test_the_sink_says_what_segment_allows():
    with connected("http://127.0.0.1:1") as sink:
        allowed = sink.capabilities

    assert (allowed.max_in_flight, allowed.max_batch) == (4, 1000)


# --- what an answer proves ------------------------------------------------------------


@pytest.mark.parametrize("body", [{"success": True}, {}, {"status": "ok"}])
def test_a_json_object_that_reports_no_failure_is_proof(body):
    assert delivered(Reply(body=body)).accepted == (PERSON.encode(),)


NO_PROOF = {
    "nothing": b"",
    "a login page": b"<html>please log in</html>",
    "plain words": b"OK",
    "cut off": b'{"success": tr',
    "a list": [],
    "a text": "success",
    "true": True,
    "null": None,
    "success false": {"success": False},
    "an error beside it": {"success": True, "error": "no such source"},
    "errors": {"errors": [{"message": "x"}]},
    "a failed status": {"status": "error"},
}


@pytest.mark.parametrize("body", NO_PROOF.values(), ids=NO_PROOF)
def test_a_200_that_is_not_plainly_a_success_proves_nothing(body):
    error = failed(Reply(body=body))

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")
    assert error.status == 200


def test_the_vendors_request_id_is_kept_where_it_names_one():
    assert (
        delivered(Reply(200, SUCCESS, {"x-request-id": "req-1"})).request_id == "req-1"
    )


VERDICTS = {
    400: (Fault.BAD_IDS, "invalid_id"),
    401: (Fault.CREDENTIALS, "auth"),
    403: (Fault.CREDENTIALS, "auth"),
    402: (Fault.REFUSED, "http_4xx"),
    404: (Fault.PASSING, "not_found"),
    408: (Fault.PASSING, "timeout"),
    409: (Fault.PASSING, "http_4xx"),
    410: (Fault.PASSING, "not_found"),
    413: (Fault.TOO_LARGE, "too_large"),
    429: (Fault.PASSING, "rate_limited"),
    460: (Fault.PASSING, "not_found"),
    500: (Fault.PASSING, "http_5xx"),
    501: (Fault.PASSING, "http_5xx"),
    503: (Fault.PASSING, "http_5xx"),
}


@pytest.mark.parametrize(("status", "verdict"), VERDICTS.items())
def test_a_status_means_one_thing(status, verdict):
    error = failed(Reply(status, {"message": "no"}))

    assert (error.fault, error.error_type) == verdict
    assert (error.status, error.vendor_message) == (status, "no")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_neither_followed_nor_a_success(status):
    with playing(Reply(status, headers={"location": "/elsewhere"})) as vendor:
        with connected(vendor.url) as sink, pytest.raises(DeliveryError) as caught:
            sink.deliver(batch(), target())

    assert caught.value.fault is Fault.PASSING
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    "words", ["Exceed payload limit", "batch too large", "500001 bytes, under 500000"]
)
def test_a_400_about_size_is_no_fault_of_an_id(words):
    error = failed(Reply(400, {"message": words}))

    assert (error.fault, error.error_type) == (Fault.TOO_LARGE, "too_large")


def test_a_400_about_the_write_key_stops_the_connection():
    error = failed(Reply(400, {"code": "x", "message": "Invalid write key"}))

    assert (error.fault, error.error_type) == (Fault.CREDENTIALS, "auth")


def test_a_400_page_of_something_in_between_blames_nobody():
    error = failed(Reply(400, b"<html><h1>400 Bad Request</h1></html>"))

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


WAITS = {
    "retry-after": ({"retry-after": "7"}, 7.0),
    "reset": ({"x-ratelimit-reset": "9"}, 9.0),
    "both": ({"retry-after": "7", "x-ratelimit-reset": "9"}, 7.0),
    "clamped": ({"retry-after": "86400"}, 900.0),
    "a reset as an instant long gone": ({"x-ratelimit-reset": "1400000000"}, 0.0),
    "a reset as an instant far off": ({"x-ratelimit-reset": "9400000000"}, 900.0),
}


@pytest.mark.parametrize(("headers", "wait"), WAITS.values(), ids=WAITS)
def test_a_429_that_names_a_wait_makes_the_credential_wait(headers, wait):
    error = failed(Reply(429, {}, headers))

    assert (error.fault, error.retry_after) == (Fault.THROTTLED, wait)


@pytest.mark.parametrize("reset", ["soon", "-1", "1e9", ""])
def test_a_429_with_garbage_for_a_wait_backs_off_as_usual(reset):
    error = failed(Reply(429, {}, {"x-ratelimit-reset": reset}))

    assert (error.fault, error.retry_after) == (Fault.PASSING, None)


def test_silence_and_a_cut_connection_pass():
    with playing(TAKEN) as vendor:
        url = vendor.url
    with connected(url) as sink, pytest.raises(DeliveryError) as caught:
        sink.deliver(batch(), target())

    assert (caught.value.fault, caught.value.error_type) == (Fault.PASSING, "connect")


# --- the write key --------------------------------------------------------------------


def test_a_renewed_key_is_read_when_the_old_one_is_refused():
    keys = iter(["old-write-key", "new-write-key"])
    with playing(Reply(401), TAKEN) as vendor:
        with connected(vendor.url, lambda: next(keys)) as sink:
            receipt = sink.deliver(batch(), target())

    tokens = [each.headers["authorization"].split()[1] for each in vendor.requests]
    wanted = [b"old-write-key:", b"new-write-key:"]
    assert [base64.b64decode(each) for each in tokens] == wanted
    assert vendor.requests[0].body == vendor.requests[1].body
    assert receipt.accepted == (PERSON.encode(),)


def test_a_refused_key_that_is_still_the_same_is_not_tried_again():
    with playing(Reply(403)) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch(), target())

    assert caught.value.fault is Fault.CREDENTIALS
    assert len(vendor.requests) == 1


def test_a_key_that_cannot_be_read_again_leaves_the_refusal_as_the_news():
    reads = iter([lambda: KEY])

    def write_key() -> str:
        for read in reads:
            return read()
        raise SyncdError("the file is gone")

    with playing(Reply(401)) as vendor, connected(vendor.url, write_key) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch(), target())

    assert caught.value.error_type == "auth"


LEAKS = {
    "json": lambda token: {"message": f"user {PERSON} of {KEY} ({token})"},
    "nested": lambda token: {"error": {"message": f"{PERSON} {KEY} {token}"}},
    "listed": lambda token: {"errors": [{"message": f"{PERSON} {KEY} {token}"}]},
    "other fields": lambda token: {"why": [PERSON, KEY, token]},
    "a page": lambda token: f"<p>{PERSON} {KEY} {token}</p>".encode(),
    "text": lambda token: f"{KEY} {token} {PERSON.replace('@', '%40')}".encode(),
}


@pytest.mark.parametrize("said", LEAKS.values(), ids=LEAKS)
def test_neither_key_nor_person_is_in_an_error_whatever_the_vendor_says(said):
    token = base64.b64encode(f"{KEY}:".encode()).decode()

    error = failed(Reply(422, said(token)))

    text = "".join(traceback.format_exception(error)) + error.vendor_message
    for secret in (KEY, token, PERSON, "person.one"):
        assert secret not in text
    assert "*" in error.vendor_message


def test_no_part_shows_the_key_when_it_is_printed():
    with connected("http://127.0.0.1:1") as sink:
        assert KEY not in repr(sink)


# --- the probe ------------------------------------------------------------------------


def test_a_probe_sends_no_event():
    with playing(TAKEN) as vendor, connected(vendor.url) as sink:
        sink.probe()

    assert [each.body for each in vendor.requests] == [{"batch": []}]


def test_a_probe_is_content_if_only_the_emptiness_is_refused():
    with playing(Reply(400, {"message": "batch is empty"})) as vendor:
        with connected(vendor.url) as sink:
            sink.probe()

    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (Reply(401), Fault.CREDENTIALS),
        (Reply(403), Fault.CREDENTIALS),
        (Reply(400, {"message": "Invalid write key"}), Fault.CREDENTIALS),
        (Reply(503), Fault.PASSING),
        (Reply(200, b"<html>log in</html>"), Fault.PASSING),
    ],
)
def test_a_probe_that_is_refused_or_not_answered_says_so(reply, fault):
    with playing(reply) as vendor, connected(vendor.url) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.probe()

    assert caught.value.fault is fault
