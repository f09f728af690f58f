"""The list-based and the property-based sink against a real server that plays a script.

The bodies are compared with those of vendor page 1, written down as the page has them.
"""

import base64
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from syncd.clients.http import HttpClient, TransportError
from syncd.clients.partner import PartnerClient
from syncd.clients.proof import unanswered
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import Batch, Found, IdType, Operation, Receipt, Target
from syncd.sinks import Sink
from syncd.sinks.list_api import ListApiSink
from syncd.sinks.property_api import PropertyApiSink
from tests.contract.scripted import Reply, Request, playing

KEY = "canary-partner-key-5f2c"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"
NAME = "[Amplitude] Power Users: 7khm89cz"
PERSON = "person.one@acme.example"


@contextmanager
def client(
    url: str,
    api_key: Callable[[], str] = lambda: KEY,
    *,
    api_key_header: str | None = None,
    headers: Callable[[], Mapping[str, str]] = dict,
) -> Iterator[PartnerClient]:
    with HttpClient(url, clock=Clock(), deadline=5.0) as http:
        yield PartnerClient(
            http,
            api_key,
            api_key_header=api_key_header,
            headers=headers,
            clock=Clock(),
        )


@contextmanager
def lists(url: str, **keys: str) -> Iterator[Sink]:
    with client(url) as partner:
        yield ListApiSink(client=partner, **keys)


@contextmanager
def properties(url: str, **settings: Any) -> Iterator[Sink]:
    with client(url) as partner:
        yield PropertyApiSink(client=partner, **{"path": "/property", **settings})


def target(external_id: str | None = None) -> Target:
    return Target(
        sync="power-users",
        name=NAME,
        owner="",
        id_type=IdType.USER_ID,
        external_id=external_id,
    )


def batch(*names: str, operation: Operation = Operation.ADD) -> Batch:
    ids = tuple(name.encode() for name in names or [PERSON])
    return Batch(
        id=1, binding_id=1, run_id=RUN, operation=operation, ids=ids, plan_id="plan-1"
    )


def removal(*names: str) -> Batch:
    return batch(*names, operation=Operation.REMOVE)


def asked(
    build: Callable[..., Any],
    sent: Batch,
    to: Target,
    *replies: Reply,
    **settings: Any,
) -> tuple[Receipt, Request]:
    """Deliver one batch: what came of it, and the one request."""
    with playing(*replies) as partner, build(partner.url, **settings) as sink:
        receipt = sink.deliver(sent, to)
    (request,) = partner.requests
    return receipt, request


def failed(
    build: Callable[..., Any], sent: Batch, to: Target, *replies: Reply, **settings: Any
) -> DeliveryError:
    with playing(*replies) as partner, build(partner.url, **settings) as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(sent, to)
    return caught.value


def created(body: Any, **keys: str) -> Receipt:
    return asked(lists, batch(), target(), Reply(200, body), **keys)[0]


# --- the page, field by field ---------------------------------------------------------

PAGE_LIST_CREATION = {
    "name": "[Amplitude] Power Users: 7khm89cz",
    "context": {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}},
}
PAGE_ADD = {
    "userIds": ["u1", "u2"],
    "context": {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}},
}
PAGE_REMOVE = {
    "userIds": ["u3"],
    "context": {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}},
}
PAGE_SINGLE_UPDATE = {
    "type": "identify",
    "traits": {"[Amplitude] Power Users: 7khm89cz": True},
    "userId": "u1",
    "context": {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}},
}
PAGE_BATCH_UPDATE = {
    "batch": [
        {
            "type": "identify",
            "traits": {"[Amplitude] Power Users: 7khm89cz": False},
            "userId": "u1",
            "context": {
                "integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}
            },
        },
        {
            "type": "identify",
            "traits": {"[Amplitude] Power Users: 7khm89cz": False},
            "userId": "u2",
            "context": {
                "integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}
            },
        },
    ]
}


def test_a_list_creation_is_the_pages_to_the_field_and_names_nobody():
    _, request = asked(lists, batch("u1"), target(), Reply(200, {"listId": "L1"}))

    assert request.path == "/lists"
    assert json.dumps(request.body) == json.dumps(PAGE_LIST_CREATION)


def test_an_add_is_the_pages_to_the_field():
    receipt, request = asked(lists, batch("u1", "u2"), target("L1"), Reply())

    assert request.path == "/lists/L1/add"
    assert json.dumps(request.body) == json.dumps(PAGE_ADD)
    assert receipt == Receipt(accepted=(b"u1", b"u2"), status=200)


def test_a_remove_is_the_pages_to_the_field():
    receipt, request = asked(lists, removal("u3"), target("L1"), Reply())

    assert request.path == "/lists/L1/remove"
    assert json.dumps(request.body) == json.dumps(PAGE_REMOVE)
    assert receipt.accepted == (b"u3",)


def test_a_single_update_is_the_pages_to_the_field():
    receipt, request = asked(
        properties, batch("u1"), target(NAME), Reply(), mode="single"
    )

    assert request.path == "/property"
    assert json.dumps(request.body) == json.dumps(PAGE_SINGLE_UPDATE)
    assert receipt.accepted == (b"u1",)


def test_a_batch_update_is_the_pages_to_the_field():
    receipt, request = asked(properties, removal("u1", "u2"), target(NAME), Reply())

    assert request.path == "/property"
    assert json.dumps(request.body) == json.dumps(PAGE_BATCH_UPDATE)
    assert receipt.accepted == (b"u1", b"u2")


def test_a_batch_of_one_is_still_a_batch():
    _, request = asked(properties, batch("u1"), target(NAME), Reply())

    assert request.body == {"batch": [PAGE_SINGLE_UPDATE]}


def test_the_key_is_the_user_of_basic_authentication_with_an_empty_password():
    _, request = asked(lists, batch("u1"), target("L1"), Reply())

    scheme, token = request.headers["authorization"].split()
    assert (scheme, base64.b64decode(token)) == ("Basic", f"{KEY}:".encode())
    assert request.headers["content-type"] == "application/json"


def test_a_run_signs_its_requests():
    _, request = asked(lists, batch("u1"), target("L1"), Reply())

    assert request.headers["x-request-id"] == RUN


# --- what a partner may have set up otherwise -----------------------------------------


def test_a_key_may_go_in_a_header_with_others_beside_it():
    headers = {"app_id": "187520", "X-Team": "growth"}
    with playing(Reply()) as partner:
        with client(
            partner.url, api_key_header="api_key", headers=lambda: headers
        ) as access:
            ListApiSink(client=access).deliver(batch("u1"), target("L1"))

    sent = partner.requests[0].headers
    assert (sent["api_key"], sent["app_id"], sent["x-team"]) == (
        KEY,
        "187520",
        "growth",
    )
    assert "authorization" not in sent


def test_a_header_of_the_connection_never_replaces_the_key():
    with playing(Reply()) as partner:
        with client(partner.url, headers=lambda: {"Authorization": "none"}) as access:
            ListApiSink(client=access).deliver(batch("u1"), target("L1"))

    assert partner.requests[0].headers["authorization"].startswith("Basic ")


def test_the_keys_of_a_list_body_are_the_connections():
    _, made = asked(
        lists, batch("u1"), target(), Reply(200, {"id": 1}), name_key="title"
    )
    _, added = asked(lists, batch("u1"), target("L1"), Reply(), user_ids_key="user_ids")

    assert made.body["title"] == NAME
    assert added.body["user_ids"] == ["u1"]


def test_the_keys_of_a_property_body_are_the_connections():
    _, request = asked(
        properties,
        batch("u1"),
        target(NAME),
        Reply(),
        traits_key="properties",
        user_id_key="user_id",
        batch_key="items",
    )

    (update,) = request.body["items"]
    assert update["properties"] == {NAME: True}
    assert update["user_id"] == "u1"
    assert set(update) == {"type", "properties", "user_id", "context"}


def test_a_list_id_cannot_leave_its_place_in_the_path():
    _, request = asked(lists, batch("u1"), target("a/../b?c#d e"), Reply())

    assert request.path == "/lists/a%2F..%2Fb%3Fc%23d%20e/add"


# --- the target -----------------------------------------------------------------------


def test_a_list_is_found_by_what_is_remembered_and_nobody_is_asked():
    with lists("http://127.0.0.1:1") as sink:
        bound, unbound = sink.find(target("L1")), sink.find(target())

    assert bound == Found(external_id="L1", name=NAME, size=None)
    assert unbound is None


def test_a_property_needs_nothing_and_nobody_is_asked():
    with properties("http://127.0.0.1:1") as sink:
        bound, unbound = sink.find(target("old name")), sink.find(target())

    assert bound == Found(external_id="old name", name="old name", size=None)
    assert unbound == Found(external_id=NAME, name=NAME, size=None)


def test_a_bound_property_keeps_its_name_when_the_cohort_is_renamed():
    _, request = asked(properties, batch("u1"), target("old name"), Reply())

    assert request.body["batch"][0]["traits"] == {"old name": True}


def test_the_sinks_say_what_the_page_allows():
    url = "http://127.0.0.1:1"
    with (
        lists(url) as made,
        properties(url) as many,
        properties(url, mode="single") as one,
    ):
        said = [each.capabilities for each in (made, many, one)]

    assert [each.max_in_flight for each in said] == [4, 4, 4]
    assert [each.max_batch for each in said] == [10_000, 10_000, 1]


def test_a_batch_planned_for_more_is_halved_before_a_byte_leaves():
    with playing(Reply()) as partner, properties(partner.url, mode="single") as sink:
        with pytest.raises(DeliveryError) as caught:
            sink.deliver(batch("u1", "u2"), target(NAME))

    assert (caught.value.fault, caught.value.error_type) == (
        Fault.TOO_LARGE,
        "too_large",
    )
    assert partner.requests == []


def test_a_removal_from_a_list_that_was_never_made_is_proof_without_a_request():
    with playing(Reply()) as partner, lists(partner.url) as sink:
        receipt = sink.deliver(removal("u1"), target())

    assert receipt == Receipt(accepted=(b"u1",))
    assert partner.requests == []


# --- the answer to a creation ---------------------------------------------------------

ANSWERS = {
    "listId flat": {"listId": "L1"},
    "list_id flat": {"list_id": "L1"},
    "id flat": {"id": "L1"},
    "listId under response": {"response": {"listId": "L1"}},
    "list_id under response": {"response": {"list_id": "L1"}},
    "both, as the safe body": {
        "listId": "L1",
        "list_id": "L1",
        "response": {"listId": "L1", "list_id": "L1"},
    },
    "beside an id of the request": {"id": "req-9", "response": {"listId": "L1"}},
    "with a success word": {"success": True, "status": "ok", "listId": "L1"},
}


@pytest.mark.parametrize("body", ANSWERS.values(), ids=ANSWERS)
def test_the_id_of_a_made_list_is_read_flat_or_under_response(body):
    receipt = created(body)

    assert receipt.created == Found(external_id="L1", name=NAME, size=None)
    assert receipt.accepted == ()


def test_the_id_may_be_a_number():
    made = created({"response": {"id": 90210}}).created

    assert made is not None
    assert made.external_id == "90210"


def test_the_connections_own_key_for_the_id_comes_first():
    made = created({"audience": "A1", "listId": "L1"}, list_id_key="audience").created

    assert made is not None
    assert made.external_id == "A1"


def test_a_201_creates_as_well():
    receipt, _ = asked(lists, batch(), target(), Reply(201, {"listId": "L1"}))

    assert receipt.created is not None
    assert receipt.status == 201


NAMELESS = {
    "nothing": b"",
    "no id": {"ok": True},
    "an empty id": {"listId": " "},
    "a yes": {"listId": True},
    "half a number": {"listId": 1.5},
    "null": {"listId": None},
    "a step up the path": {"listId": ".."},
    "a list": ["L1"],
    "a text": "L1",
    "two ids": {"listId": "L1", "response": {"listId": "L2"}},
    "too long an id": {"listId": "L" * 600},
}


@pytest.mark.parametrize("body", NAMELESS.values(), ids=NAMELESS)
def test_a_made_list_without_a_usable_id_is_not_made_again_at_once(body):
    error = failed(lists, batch(), target(), Reply(200, body))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "bad_response")
    assert "list_id_key" in error.hint


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b'{"listId": "L', {"error": "x", "listId": "L1"}]
)
def test_a_creation_that_was_not_believably_answered_is_tried_again(body):
    error = failed(lists, batch(), target(), Reply(200, body))

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


CREATION_VERDICTS = {
    400: (Fault.REFUSED, "http_4xx"),
    401: (Fault.CREDENTIALS, "auth"),
    404: (Fault.REFUSED, "not_found"),
    413: (Fault.TOO_LARGE, "too_large"),
    429: (Fault.PASSING, "rate_limited"),
    500: (Fault.PASSING, "http_5xx"),
}


@pytest.mark.parametrize(("status", "verdict"), CREATION_VERDICTS.items())
def test_a_refused_creation_is_no_fault_of_an_id(status, verdict):
    error = failed(lists, batch(), target(), Reply(status, {"error": "no"}))

    assert (error.fault, error.error_type) == verdict


# --- the answer to a change -----------------------------------------------------------

CHANGES = {
    "add": (lists, batch(), target("L1"), {}),
    "remove": (lists, removal(), target("L1"), {}),
    "batch": (properties, batch(), target(NAME), {}),
    "single": (properties, batch(), target(NAME), {"mode": "single"}),
}

PROOF = {
    "nothing": Reply(),
    "204": Reply(204),
    "JSON": Reply(200, {"success": True}),
    "any JSON": Reply(200, ["x"]),
    "no errors": Reply(200, {"errors": []}),
    "202": Reply(202, {"queued": 1}),
    "words": Reply(200, b"OK", type="text/plain"),
    "a small framework's words": Reply(200, b"OK", type="text/html"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("reply", PROOF.values(), ids=PROOF)
def test_a_2xx_is_success_as_the_page_says(change, reply):
    build, sent, to, settings = change

    receipt, _ = asked(build, sent, to, reply, **settings)

    assert receipt == Receipt(accepted=sent.ids, status=reply.status)


NO_PROOF = {
    "a page": Reply(200, b"<!doctype html><p>log in", type="text/html"),
    "a page called JSON": Reply(200, b"\n <html>"),
    "a page with a mark": Reply(200, b"\xef\xbb\xbf<html>", type="text/html"),
    "cut off": Reply(200, b'{"ok": tr', type="text/plain"),
    "words called JSON": Reply(200, b"OK"),
    "success false": Reply(200, {"success": False}),
    "an error": Reply(200, {"error": "no such list"}),
    "failed": Reply(200, {"status": "failed"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("reply", NO_PROOF.values(), ids=NO_PROOF)
def test_a_2xx_that_denies_itself_or_is_a_page_proves_nothing(change, reply):
    build, sent, to, settings = change

    error = failed(build, sent, to, reply, **settings)

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


VERDICTS = {
    301: (Fault.PASSING, "bad_response"),
    400: (Fault.BAD_IDS, "invalid_id"),
    401: (Fault.CREDENTIALS, "auth"),
    403: (Fault.CREDENTIALS, "auth"),
    404: (Fault.BAD_IDS, "unknown_user"),
    405: (Fault.REFUSED, "http_4xx"),
    408: (Fault.PASSING, "timeout"),
    409: (Fault.PASSING, "http_4xx"),
    413: (Fault.TOO_LARGE, "too_large"),
    429: (Fault.PASSING, "rate_limited"),
    503: (Fault.PASSING, "http_5xx"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(("status", "verdict"), VERDICTS.items())
def test_a_status_means_what_the_page_says(change, status, verdict):
    build, sent, to, settings = change

    error = failed(build, sent, to, Reply(status, {"error": "no"}), **settings)

    assert (error.fault, error.error_type) == verdict
    assert error.vendor_message == "no"


@pytest.mark.parametrize("status", [400, 404])
def test_a_page_for_a_wrong_path_blames_nobody(status):
    reply = Reply(status, b"<pre>Cannot POST /lists/L1/add</pre>", type="text/html")

    error = failed(lists, batch(), target("L1"), reply)

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


@pytest.mark.parametrize("status", [400, 404, 410])
def test_no_answer_ever_says_that_a_list_is_gone(status):
    error = failed(lists, batch(), target("L1"), Reply(status, {"error": "list gone"}))

    assert error.fault is not Fault.TARGET_GONE


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"retry-after": "7"}, 7.0), ({"x-ratelimit-reset": "9"}, 9.0)],
)
def test_a_429_that_names_a_wait_makes_the_credential_wait(headers, wait):
    error = failed(lists, batch(), target("L1"), Reply(429, {}, headers=headers))

    assert (error.fault, error.retry_after) == (Fault.THROTTLED, wait)


def test_nobody_there_passes():
    with playing(Reply()) as partner:
        url = partner.url
    with lists(url) as sink, pytest.raises(DeliveryError) as caught:
        sink.deliver(batch(), target("L1"))

    assert (caught.value.fault, caught.value.error_type) == (Fault.PASSING, "connect")


def test_a_certificate_that_does_not_verify_stops_the_connection():
    error = unanswered(TransportError("no", kind="tls", sent=False))

    assert (error.fault, error.error_type) == (Fault.CREDENTIALS, "tls")
    assert "ca_file" in error.hint


# --- secrets --------------------------------------------------------------------------


def test_a_renewed_key_is_read_when_the_old_one_is_refused():
    keys = iter(["old-partner-key", "new-partner-key"])
    with playing(Reply(401), Reply()) as partner:
        with client(partner.url, lambda: next(keys)) as access:
            ListApiSink(client=access).deliver(batch(), target("L1"))

    tokens = [each.headers["authorization"].split()[1] for each in partner.requests]
    wanted = [b"old-partner-key:", b"new-partner-key:"]
    assert [base64.b64decode(each) for each in tokens] == wanted


def test_a_renewed_secret_header_counts_as_well():
    values = iter(["old-secret-value", "new-secret-value"])
    with playing(Reply(403), Reply()) as partner:
        with client(partner.url, headers=lambda: {"x-sign": next(values)}) as access:
            ListApiSink(client=access).deliver(batch(), target("L1"))

    sent = [each.headers["x-sign"] for each in partner.requests]
    assert sent == ["old-secret-value", "new-secret-value"]


def test_a_refused_key_that_is_still_the_same_is_not_tried_again():
    with playing(Reply(401)) as partner, lists(partner.url) as sink:
        with pytest.raises(DeliveryError):
            sink.deliver(batch(), target("L1"))

    assert len(partner.requests) == 1


LEAKS = {
    "json": lambda secrets: {"error": " ".join(secrets)},
    "a page": lambda secrets: f"<p>{' '.join(secrets)}</p>".encode(),
    "urls": lambda secrets: " ".join(map(quote, secrets)).encode(),
    "escaped": lambda secrets: json.dumps("; ".join(secrets)).encode()[1:-1],
}


@pytest.mark.parametrize("said", LEAKS.values(), ids=LEAKS)
def test_neither_secret_nor_person_is_in_an_error_whatever_the_partner_says(said):
    token = base64.b64encode(f"{KEY}:".encode()).decode()
    person, header = "zoë.person@acme.example", "canary-header-value"
    secrets = [person, KEY, token, header]
    with playing(Reply(404, said(secrets))) as partner:
        with client(partner.url, headers=lambda: {"x-sign": header}) as access:
            with pytest.raises(DeliveryError) as caught:
                ListApiSink(client=access).deliver(batch(person), target("L1"))

    text = "".join(traceback.format_exception(caught.value))
    text += caught.value.vendor_message
    for secret in (*secrets, "person@acme", "person%40acme"):
        assert secret not in text


def test_an_id_within_a_longer_one_leaves_nothing_of_it_to_be_seen():
    people = ["ann@acme.example", "joann@acme.example.org"]
    reply = Reply(404, {"error": f"unknown: {people[1]}"})

    error = failed(lists, batch(*people), target("L1"), reply)

    assert error.vendor_message == "unknown: " + "*" * len(people[1])


def test_no_part_shows_a_secret_when_it_is_printed():
    with client("http://127.0.0.1:1", headers=lambda: {"x": KEY}) as access:
        shown = repr(ListApiSink(client=access))

    assert KEY not in shown


# --- the probe ------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lists, properties])
def test_a_probe_asks_nothing_since_no_call_changes_nothing(build):
    with playing(Reply(500)) as partner, build(partner.url) as sink:
        sink.probe()

    assert partner.requests == []
