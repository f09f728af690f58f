"""R1, R13: the storage origin, its links of one minute, and the leak detector."""

import base64
import csv
import gzip
import io
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import orjson
import pytest

NOON = "2026-05-12T12:00:00Z"


@pytest.fixture(autouse=True)
def still(sim):
    """A clock that stands still, and every file behind a redirect."""
    sim.post("/_sim/clock", {"freeze": True, "set": NOON})
    sim.post("/_sim/config", {"always_redirect": True, "per_minute": 1000})


@pytest.fixture
def stranger() -> Iterator[httpx.Client]:
    """A client without credentials."""
    with httpx.Client(timeout=10) as client:
        yield client


def advance(sim, seconds) -> None:
    sim.post("/_sim/clock", {"advance": seconds})


def link(sim, count=3) -> str:
    """The link to a file of so many rows, just made."""
    crowd = {"prefix": "user-", "count": count}
    cohort_id = sim.cohort(type="redshift", members=crowd)
    request_id = sim.api.get(f"/api/5/cohorts/request/{cohort_id}").json()["request_id"]
    advance(sim, 45)
    return link_again(sim, request_id)


def link_again(sim, request_id) -> str:
    answer = sim.api.get(f"/api/5/cohorts/request/{request_id}/file")
    assert answer.status_code == 302
    return str(answer.headers["location"])


def leaks(sim):
    return sim.get("/_sim/leaks")["leaks"]


def names(answer) -> list[str]:
    return [row[1] for row in csv.reader(io.StringIO(answer.text))][1:]


def test_r1_storage_is_an_origin_of_its_own(sim):
    location = urlsplit(link(sim))

    assert location.netloc not in sim.amplitude_url
    assert location.netloc not in sim.control_url


def test_r13_a_link_serves_the_file_to_a_client_without_credentials(sim, stranger):
    location = link(sim)

    answer = stranger.get(location)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "binary/octet-stream"
    assert answer.headers["content-encoding"] == "gzip"
    assert set(names(answer)) == {"user-0", "user-1", "user-2"}
    assert leaks(sim) == []
    entry = sim.log()[-1]
    assert (entry["endpoint"], entry["status"]) == ("storage", 200)
    assert entry["cohort_id"] is not None
    assert entry["request_id"] in location
    assert "Signature" not in entry["path"], "a link is a secret while it is valid"


def test_r13_a_link_is_valid_for_one_minute_of_the_clock_and_reusable(sim, stranger):
    location = link(sim)

    advance(sim, 59)
    valid = [stranger.get(location).status_code for _ in range(2)]
    advance(sim, 2)
    expired = stranger.get(location)

    assert valid == [200, 200]
    assert expired.status_code == 403
    assert expired.headers["content-type"] == "application/xml"
    assert "<Code>AccessDenied</Code>" in expired.text
    assert "<Message>Request has expired</Message>" in expired.text


def test_r12_a_fresh_link_costs_nothing_after_the_old_one_expired(sim, stranger):
    old = link(sim)
    request_id = sim.log()[-1]["request_id"]
    advance(sim, 3600)

    fresh = link_again(sim, request_id)

    assert stranger.get(old).status_code == 403
    assert stranger.get(fresh).status_code == 200
    usage = sim.api.get("/api/3/cohorts/usage").json()["rest_download"]["usage"]
    assert usage == 1


def test_r13_an_unknown_token_does_not_match(sim, stranger):
    location = link(sim)

    forged = stranger.get(location[:-4] + "0000")
    bare = stranger.get(location.partition("?")[0])
    elsewhere = stranger.get(location.replace("/cohort-exports/", "/other/x"))

    for answer in (forged, bare, elsewhere):
        assert answer.status_code == 403
        assert "<Code>SignatureDoesNotMatch</Code>" in answer.text


def test_r13_storage_takes_get_only(sim, stranger):
    assert stranger.post(link(sim)).status_code == 405


def test_r13_credentials_at_the_storage_are_a_400_and_a_leak(sim):
    location = link(sim)

    answer = sim.api.get(location)

    assert answer.status_code == 400
    assert "<Code>InvalidArgument</Code>" in answer.text
    assert "Only one auth mechanism allowed" in answer.text
    (leak,) = leaks(sim)
    assert (leak["origin"], leak["header"]) == ("storage", "authorization")
    assert sim.get("/_sim/stats")["leaks"] == 1
    assert "secret" not in orjson.dumps(leak).decode()
    assert "demo-api-key" not in orjson.dumps(leak).decode()


PAIR = base64.b64encode(b"demo-api-key:demo-secret-key").decode()


@pytest.mark.parametrize(
    ("header", "value", "what"),
    [
        ("authorization", "Bearer of something else", "authorization"),
        ("x-api-key", "demo-api-key", "api_key"),
        ("cookie", "session=demo-secret-key; a=b", "secret_key"),
        ("x-forwarded-auth", f"Basic {PAIR}", "key_and_secret"),
        ("x-demo-secret-key", "1", "secret_key"),
    ],
)
def test_r13_a_secret_in_any_header_is_a_leak(sim, stranger, header, value, what):
    location = link(sim)

    answer = stranger.get(location, headers={header: value})

    assert answer.status_code == 400
    (leak,) = leaks(sim)
    assert leak["what"] == what
    text = orjson.dumps(leak).decode()
    assert "demo-secret-key" not in text
    assert PAIR not in text


def test_a_leak_is_noticed_also_where_nothing_lies_and_under_a_fault(sim):
    origin = link(sim).partition("/cohort-exports")[0]
    sim.post("/_sim/faults", {"endpoint": "storage", "kind": "zero_byte", "calls": [2]})

    sim.api.get(f"{origin}/somewhere")
    sim.api.get(f"{origin}/somewhere")

    assert len(leaks(sim)) == 2


def test_a_reset_of_the_log_forgets_leaks(sim):
    sim.api.get(link(sim))

    sim.post("/_sim/reset", {"only": ["log"]})

    assert leaks(sim) == []


# ---- faults -------------------------------------------------------------------------


def fault(sim, kind, **options) -> None:
    sim.post("/_sim/faults", {"endpoint": "storage", "kind": kind, **options})


def test_r24_a_truncated_gzip_with_an_honest_length(sim, stranger):
    location = link(sim, 500)
    fault(sim, "truncated", length="sent", calls=[1])

    with stranger.stream("GET", location) as answer:
        sent = b"".join(answer.iter_raw())

    assert int(answer.headers["content-length"]) == len(sent)
    with pytest.raises(EOFError):
        gzip.decompress(sent)
    assert stranger.get(location).status_code == 200


def test_r24_a_body_shorter_than_it_says(sim, stranger):
    location = link(sim, 500)
    fault(sim, "truncated")

    with pytest.raises(httpx.RemoteProtocolError):
        stranger.get(location)


@pytest.mark.parametrize("mode", ["encoding", "raw", "none", "twice"])
def test_r24_a_short_file_is_zipped_as_the_whole_one(sim, stranger, mode):
    sim.post("/_sim/config", {"gzip": mode})
    location = link(sim, 500)
    whole = stranger.get(location)
    fault(sim, "short", keep=0.1)

    short = stranger.get(location)

    assert short.headers.get("content-encoding") == whole.headers.get(
        "content-encoding"
    )
    texts = [one.content for one in (short, whole)]
    if mode in ("raw", "twice"):
        texts = [gzip.decompress(one) for one in texts]
    assert texts[1].startswith(texts[0])
    assert 40 < texts[0].count(b"\n") < 60


@pytest.mark.parametrize(
    ("kind", "options", "status", "begins"),
    [
        ("zero_byte", {}, 200, ""),
        ("html_200", {}, 200, "<!DOCTYPE html>"),
        ("status", {"status": 503, "format": "html"}, 503, "<html>"),
        ("no_header", {}, 200, '"3'),
    ],
)
def test_r24_wrong_answers(sim, stranger, kind, options, status, begins):
    location = link(sim)
    fault(sim, kind, calls=[1], **options)

    wrong, right = stranger.get(location), stranger.get(location)

    assert wrong.status_code == status
    assert wrong.text.startswith(begins)
    assert kind != "zero_byte" or wrong.content == b""
    assert right.text.startswith('"amplitude_id","user_id"\n')


def test_r24_a_hang_and_a_reset(sim, stranger):
    location = link(sim, 500)
    fault(sim, "hang_before", calls=[1])
    fault(sim, "reset", when="mid", apply=True, calls=[2])

    with pytest.raises(httpx.ReadTimeout):
        stranger.get(location, timeout=0.2)
    with pytest.raises(httpx.TransportError):
        stranger.get(location)

    assert stranger.get(location).status_code == 200


def test_storage_requests_are_no_requests_of_the_api(sim, stranger):
    location = link(sim)
    before = sim.get("/_sim/stats")

    stranger.get(location)

    assert sim.get("/_sim/stats") == before
