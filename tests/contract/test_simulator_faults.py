"""R24: scripted faults, played over a real socket."""

import gzip
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import orjson
import pytest


def script(sim, kind, **fields):
    return sim.post("/_sim/faults", {"endpoint": "membership", "kind": kind} | fields)


def prepared(sim) -> str:
    """A cohort without members and two users; returns its id."""
    sim.users("ann-1", "bob-1")
    return str(sim.cohort())


def raw_add(sim, cohort_id, user="ann-1") -> bytes:
    """A membership call by hand: every byte of the answer until the connection ends."""
    body = orjson.dumps(
        {
            "cohort_id": cohort_id,
            "memberships": [{"ids": [user], "id_type": "BY_NAME", "operation": "ADD"}],
        }
    )
    place = urlsplit(sim.amplitude_url)
    with socket.create_connection((place.hostname, place.port), timeout=10) as line:
        line.sendall(
            b"POST /api/3/cohorts/membership HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Basic ZGVtby1hcGkta2V5OmRlbW8tc2VjcmV0LWtleQ==\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = b""
        while part := line.recv(65536):
            received += part
        return received


def test_r24_a_status_with_the_contract_envelope_and_nothing_applied(sim):
    cohort_id = prepared(sim)
    script(sim, "status", status=429, calls=[1, 2])

    answers = [sim.change(cohort_id, "ADD", ["ann-1"]) for _ in range(3)]

    assert [one.status_code for one in answers] == [429, 429, 200]
    assert answers[0].json() == {
        "error": {
            "http_code": 429,
            "type": "unspecified",
            "message": "Unspecified Error",
            "metadata": {
                "details": "Too Many Requests: "
                "Exceeded rate limit with query of cost 1800"
            },
        }
    }
    assert "retry-after" not in answers[0].headers
    assert [one["effect"] for one in sim.log()] == ["none", "none", "applied"]


@pytest.mark.parametrize("value", [12, "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_r24_a_429_with_retry_after(sim, value):
    cohort_id = prepared(sim)
    script(sim, "status", status=429, retry_after=value)

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.headers["retry-after"] == str(value)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_r24_server_errors_with_html(sim, status):
    cohort_id = prepared(sim)
    script(sim, "status", status=status, format="html")

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.status_code == status
    assert response.headers["content-type"].startswith("text/html")
    assert f"{status} " in response.text
    assert sim.members(cohort_id) == set()


def test_r24_a_status_with_a_body_of_the_test(sim):
    cohort_id = prepared(sim)
    error = {"success": False, "errors": [{"message": "no"}]}
    script(sim, "status", status=400, body=error, calls=[1])
    script(sim, "status", status=504, format="text", body="Gateway Timeout", calls=[2])

    first, second = (sim.change(cohort_id, "ADD", ["ann-1"]) for _ in range(2))

    assert first.json() == error
    assert (second.status_code, second.text) == (504, "Gateway Timeout")


def test_r24_a_status_may_come_after_the_effect(sim):
    cohort_id = prepared(sim)
    script(sim, "status", status=500, apply=True)

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.status_code == 500
    assert sim.members(cohort_id) == {"ann-1"}


@pytest.mark.parametrize(
    ("kind", "members"), [("hang_before", set()), ("hang_after", {"ann-1"})]
)
def test_r24_a_hang_until_the_client_gives_up(sim, kind, members):
    cohort_id = prepared(sim)
    script(sim, kind, calls=[1])

    with pytest.raises(httpx.ReadTimeout):
        sim.api.post(
            "/api/3/cohorts/membership",
            json={
                "cohort_id": cohort_id,
                "memberships": [
                    {"ids": ["ann-1"], "id_type": "BY_NAME", "operation": "ADD"}
                ],
            },
            timeout=0.3,
        )

    assert sim.members(cohort_id) == members
    again = sim.change(cohort_id, "ADD", ["bob-1"])
    assert again.status_code == 200
    stats = sim.get("/_sim/stats")
    assert stats["overlaps"] == 0
    assert sim.log()[0]["status"] is None


def test_r24_a_hang_ends_after_its_seconds(sim):
    cohort_id = prepared(sim)
    script(sim, "hang_before", seconds=0.2)

    begun = time.monotonic()
    answer = raw_add(sim, cohort_id)

    assert answer == b""
    assert 0.15 < time.monotonic() - begun < 5


def test_r24_a_hang_ends_when_the_faults_are_removed(sim):
    cohort_id = prepared(sim)
    script(sim, "hang_before", seconds=60)

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(raw_add, sim, cohort_id)
        while sim.get("/_sim/stats")["in_flight"] == 0:
            continue
        sim.control.delete("/_sim/faults")

        assert hanging.result(timeout=5) == b""


def test_r24_a_reset_before_any_byte(sim):
    cohort_id = prepared(sim)
    script(sim, "reset", calls=[1])

    with pytest.raises(ConnectionResetError):
        raw_add(sim, cohort_id)

    assert sim.members(cohort_id) == set()
    assert sim.change(cohort_id, "ADD", ["ann-1"]).status_code == 200


def test_r24_a_reset_in_the_middle_of_an_answer_after_the_effect(sim):
    cohort_id = prepared(sim)
    script(sim, "reset", when="mid", apply=True)

    with pytest.raises(httpx.ReadError):
        sim.change(cohort_id, "ADD", ["ann-1"])

    assert sim.members(cohort_id) == {"ann-1"}
    assert sim.log()[0]["status"] == 200


def test_r24_a_drip_gives_the_true_answer_slowly(sim):
    cohort_id = prepared(sim)
    script(sim, "drip", interval=0.02, chunk=10)

    begun = time.monotonic()
    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.json()["cohort_id"] == cohort_id
    assert time.monotonic() - begun > 0.1


def test_r24_a_truncated_answer_breaks_its_content_length(sim):
    cohort_id = prepared(sim)
    script(sim, "truncated")

    with pytest.raises(httpx.RemoteProtocolError):
        sim.change(cohort_id, "ADD", ["ann-1"])

    assert sim.members(cohort_id) == {"ann-1"}


def test_r24_a_truncated_gzip_whose_length_is_honest_is_noticed_only_by_zlib(sim):
    cohort_id = prepared(sim)
    script(sim, "truncated", length="sent", gzip=True)

    head, _, body = raw_add(sim, cohort_id).partition(b"\r\n\r\n")

    assert b"content-length: %d\r\n" % len(body) in head.lower() + b"\r\n"
    assert b"content-encoding: gzip" in head.lower()
    unzipped = zlib.decompressobj(zlib.MAX_WBITS | 16)
    unzipped.decompress(body)
    assert not unzipped.eof
    with pytest.raises(EOFError):
        gzip.decompress(body)


def test_r24_a_zero_byte_200(sim):
    cohort_id = prepared(sim)
    script(sim, "zero_byte")

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert (response.status_code, response.content) == (200, b"")
    assert sim.members(cohort_id) == set()


def test_r24_a_200_with_a_login_page(sim):
    cohort_id = prepared(sim)
    script(sim, "html_200")

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.status_code == 200
    assert "<title>Log in</title>" in response.text


def test_r24_the_firewall_says_403_in_its_own_words(sim):
    cohort_id = prepared(sim)
    script(sim, "waf_403")

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.status_code == 403
    assert response.json() == {"code": 403, "error": "Forbidden"}


@pytest.mark.parametrize(
    "location", ["https://storage.example/elsewhere", "http://amplitude.example/"]
)
def test_r24_a_redirect_to_a_foreign_host_or_to_plain_http(sim, location):
    cohort_id = prepared(sim)
    script(sim, "redirect", location=location)

    response = sim.change(cohort_id, "ADD", ["ann-1"])

    assert response.status_code == 302
    assert response.headers["location"] == location
    assert response.content == b""


def test_r24_a_200_that_names_another_cohort(sim):
    cohort_id = prepared(sim)
    sim.post("/_sim/faults", {"kind": "wrong_cohort", "cohort_id_answer": "other123"})

    membership = sim.change(cohort_id, "ADD", ["ann-1"]).json()
    upload = sim.upload(["ann-1"]).json()

    assert membership["cohort_id"] == upload["cohortId"] == "other123"
    assert sim.members(cohort_id) == {"ann-1"}


def test_r24_a_200_without_its_result(sim):
    cohort_id = prepared(sim)
    sim.post("/_sim/faults", {"kind": "missing_result"})

    membership = sim.change(cohort_id, "ADD", ["ann-1"]).json()
    upload = sim.upload(["ann-1"]).json()

    assert membership == {"cohort_id": cohort_id}
    assert "cohortId" not in upload


def test_r24_a_late_commit_answers_first_and_lands_when_told(sim):
    cohort_id = prepared(sim)
    script(sim, "late_commit", status=504, after=None)

    response = sim.change(cohort_id, "ADD", ["ann-1"])
    before = (sim.members(cohort_id), sim.get("/_sim/late"), sim.log()[0]["effect"])
    landed = sim.post("/_sim/late", {})

    assert response.status_code == 504
    assert before == (set(), {"pending": 1}, "pending")
    assert landed == {"applied": 1}
    assert sim.members(cohort_id) == {"ann-1"}
    assert sim.log()[0]["effect"] == "late"


def test_r24_a_late_commit_lands_by_itself_even_when_the_client_hung_up(sim):
    cohort_id = prepared(sim)
    script(sim, "late_commit", answer="hang", seconds=0.1, after=0.3)

    answer = raw_add(sim, cohort_id)
    before = sim.members(cohort_id)
    while sim.get("/_sim/late")["pending"]:
        continue

    assert (answer, before) == (b"", set())
    assert sim.members(cohort_id) == {"ann-1"}


def test_r24_a_late_commit_with_wrong_credentials_never_lands(sim):
    cohort_id = prepared(sim)
    script(sim, "late_commit", after=None)
    body = {
        "cohort_id": cohort_id,
        "memberships": [{"ids": ["ann-1"], "id_type": "BY_NAME", "operation": "ADD"}],
    }

    sim.api.post("/api/3/cohorts/membership", json=body, auth=("x", "y"))

    assert sim.post("/_sim/late", {}) == {"applied": 0}


def test_r24_faults_hit_the_named_endpoint_cohort_and_operation_only(sim):
    sim.users("ann-1")
    one, two = sim.cohort("one"), sim.cohort("two")
    script(sim, "status", status=500, cohort_id=one, operation="REMOVE")

    statuses = [
        sim.change(one, "ADD", ["ann-1"]).status_code,
        sim.change(two, "REMOVE", ["ann-1"]).status_code,
        sim.change(one, "REMOVE", ["ann-1"]).status_code,
        sim.upload(["ann-1"]).status_code,
        sim.api.get("/api/3/cohorts").status_code,
    ]

    assert statuses == [200, 200, 500, 200, 200]
    shown = sim.get("/_sim/faults")["faults"][0]
    assert (shown["seen"], shown["played"]) == (1, 1)


def test_r24_calls_are_counted_from_the_setting_of_the_fault(sim):
    cohort_id = prepared(sim)
    sim.change(cohort_id, "ADD", ["ann-1"])
    script(sim, "status", status=503, calls=[2])

    statuses = [sim.change(cohort_id, "ADD", ["ann-1"]).status_code for _ in range(3)]

    assert statuses == [200, 503, 200]


def test_r24_faults_come_before_the_credentials(sim):
    sim.post("/_sim/faults", {"endpoint": "list", "kind": "status", "status": 503})

    response = httpx.get(f"{sim.amplitude_url}/api/3/cohorts")

    assert response.status_code == 503


def test_r24_a_probability_is_drawn_from_the_seed(sim):
    def statuses():
        sim.post("/_sim/reset", {})
        sim.post("/_sim/faults", {"kind": "zero_byte", "probability": 0.5})
        return [len(sim.api.get("/api/3/cohorts").content) for _ in range(40)]

    first, second = statuses(), statuses()

    assert first == second
    assert 5 < first.count(0) < 35


def test_r24_a_fault_can_wait_before_its_answer(sim):
    cohort_id = prepared(sim)
    script(sim, "status", status=503, delay=0.2)

    begun = time.monotonic()
    sim.change(cohort_id, "ADD", ["ann-1"])

    assert time.monotonic() - begun > 0.19


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"kind": "explode"},
        {"kind": "status", "statuss": 500},
        {"kind": "status", "status": "500"},
        {"kind": "status", "format": "xml"},
        {"kind": "reset", "when": "later"},
        {"kind": "hang_before", "apply": True},
        {"kind": "status", "endpoint": "file-cabinet"},
        {"kind": "status", "calls": [1, "2"]},
        {"kind": "status", "calls": 1},
        {"kind": "status", "probability": "often"},
        [{"kind": "status"}, {"kind": "explode"}],
    ],
)
def test_a_script_that_cannot_be_played_is_refused_whole(sim, bad):
    response = sim.control.post("/_sim/faults", json=bad)

    assert response.status_code == 400
    assert response.json()["error"]
    assert sim.get("/_sim/faults") == {"faults": []}
