"""The download API and the storage behind it, against real, ill-behaved servers."""

import gzip
import io
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from syncd.clients.amplitude_answers import NativeSync
from syncd.clients.amplitude_downloads import AmplitudeDownloads
from syncd.clients.amplitude_job import Usage
from syncd.clients.http import HttpClient, TransportError
from syncd.clients.storage import StorageClient
from syncd.clients.unpack import Bounds
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.model import IdType
from syncd.sources.amplitude_download.members import Members

KEY, SECRET = "canary-key-5f2c", "canary-secret-9d1e"
BASIC = "Y2FuYXJ5LWtleS01ZjJjOmNhbmFyeS1zZWNyZXQtOWQxZQ=="
SIGNATURE = "canary-signature-77aa"
REQUEST = "qfaZya"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"
CSV = b'"amplitude_id","user_id"\n"356896327775",""\n"356893815359","a@example.com"\n'
PACKED = gzip.compress(CSV)

Reply = Callable[["Server", socket.socket], bool | None]
"""Answers one request; False ends the connection."""


@dataclass
class Server:
    """Plays one reply per request, the last one for ever; keeps what it was asked."""

    replies: tuple[Reply, ...]
    listener: socket.socket = field(
        default_factory=lambda: socket.create_server(("127.0.0.1", 0))
    )
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Request target and headers, with lower-case names."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    @property
    def targets(self) -> list[str]:
        return [target for target, _ in self.asked]

    def run(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                while first := lines.readline():
                    headers = dict(iter(lambda: header(lines.readline()), ("", "")))
                    turn = min(len(self.asked), len(self.replies) - 1)
                    self.asked.append((first.decode().split()[1], headers))
                    if self.replies[turn](self, connection) is False:
                        return
        except OSError:
            pass  # the client went away


def header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").strip().partition(": ")
    return name.lower(), value


@contextmanager
def serving(*replies: Reply) -> Iterator[Server]:
    server = Server(replies)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)


def replying(body: Any = b"", status: int = 200, **headers: Any) -> Reply:
    """`body` as given when bytes, else as JSON; a header of None is left out."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "text/csv" if isinstance(body, bytes) else "application/json"
    named = {"Content-Type": kind, "Content-Length": len(raw)} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = "".join(f"{k}: {v}\r\n" for k, v in named.items() if v is not None)
    data = f"HTTP/1.1 {status} Made Up\r\n{lines}\r\n".encode("latin-1") + raw
    ends = named["Content-Length"] != len(raw)

    def reply(_server: Server, connection: socket.socket) -> bool:
        connection.sendall(data)
        return not ends

    return reply


def hanging_up(_server: Server, _connection: socket.socket) -> bool:
    return False


def linking(storage: Server, path: str = "/file") -> Reply:
    link = f"{storage.url}{path}?X-Amz-Signature={SIGNATURE}"
    return replying(b"", 302, Location=link)


@dataclass
class World:
    """An API and a storage origin, and a client of both."""

    api: Server
    storage: Server
    downloads: AmplitudeDownloads

    def file(self, out: io.BytesIO | None = None) -> bytes:
        written = io.BytesIO() if out is None else out
        self.downloads.file(REQUEST, written, run_id=RUN)
        return written.getvalue()

    def no_file(self) -> DeliveryError:
        with pytest.raises(DeliveryError) as caught:
            self.file()
        return caught.value


@contextmanager
def world(
    *api: Reply,
    storage: tuple[Reply, ...] | None = None,
    file_deadline: float = 20.0,
    bounds: Bounds | None = None,
) -> Iterator[World]:
    """With `storage`, the API answers with links to it."""
    with ExitStack() as stack:
        kept = stack.enter_context(serving(*(storage or [replying()])))
        replies = api or (linking(kept),)
        server = stack.enter_context(serving(*replies))
        http = stack.enter_context(HttpClient(server.url, clock=Clock()))
        downloads = AmplitudeDownloads(
            http,
            StorageClient(clock=Clock(), origin=kept.url),
            lambda: (KEY, SECRET),
            clock=Clock(),
            file_deadline=file_deadline,
            bounds=bounds,
        )
        yield World(server, kept, downloads)


def refused(call: Callable[[], object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        call()
    return caught.value


# --- list and usage -------------------------------------------------------------------

COHORT = {
    "appId": 829528,
    "archived": False,
    "definition": {"countGroup": {"name": "User", "is_computed": False}},
    "finished": True,
    "id": "9apg8e8f",
    "name": "14 day user retention",
    "published": True,
    "type": "redshift",
    "lastMod": 1781554538,
    "createdAt": 1781554538,
    "lastComputed": 1781611619,
    "hidden": False,
    "size": 12,
    "syncMetadata": [
        {
            "target": "segment",
            "frequency": "hourly",
            "last_successful": "2023-03-21T16:09:58.848454-07:00",
        }
    ],
}


def test_the_list_tells_what_the_gate_needs_and_asks_for_native_syncs():
    with world(replying({"cohorts": [COHORT]})) as there:
        (cohort,) = there.downloads.cohorts()

        assert there.api.targets == ["/api/3/cohorts?includeSyncInfo=true"]
    assert cohort.last_computed == datetime(2026, 6, 16, 12, 6, 59, tzinfo=UTC)
    assert cohort.last_mod == datetime(2026, 6, 15, 20, 15, 38, tzinfo=UTC)
    assert (cohort.finished, cohort.hidden, cohort.published) == (True, False, True)
    assert cohort.native_syncs == (
        NativeSync(
            target="segment",
            frequency="hourly",
            last_successful=datetime(2023, 3, 21, 23, 9, 58, tzinfo=UTC),
        ),
    )


def test_a_cohort_that_was_never_computed_says_so():
    never = COHORT | {"finished": False, "lastComputed": None, "size": None}
    with world(replying({"cohorts": [never]})) as there:
        (cohort,) = there.downloads.cohorts()

    assert (cohort.finished, cohort.last_computed, cohort.size) == (False, None, None)


@pytest.mark.parametrize(
    "odd", [None, "text", {"target": "x"}, [None, 7, "x"], [{}], [{"target": ["x"]}]]
)
def test_odd_sync_information_never_breaks_the_list(odd):
    row = COHORT | {"syncMetadata": odd, "lastMod": "x", "hidden": 1, "published": "y"}
    with world(replying({"cohorts": [row]})) as there:
        (cohort,) = there.downloads.cohorts()

    assert all(not sync.target for sync in cohort.native_syncs)
    assert (cohort.last_mod, cohort.hidden, cohort.published) == (None, False, False)


def test_usage_is_read_with_its_reset_in_utc():
    body = {"limit": 500, "usage": 42, "resets_at": "2026-06-01T00:00:00"}
    with world(replying({"rest_download": body})) as there:
        usage = there.downloads.usage()

    first = datetime(2026, 6, 1, tzinfo=UTC)
    assert usage == Usage(limit=500, used=42, resets_at=first)


def test_an_account_without_the_usage_call_has_none():
    with world(replying({"error": "no such page"}, 404)) as there:
        assert there.downloads.usage() is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rest_download": {"limit": "500", "usage": 1, "resets_at": "2026-06-01"}},
        {"rest_download": {"limit": 500, "usage": -1, "resets_at": "2026-06-01"}},
        {"rest_download": {"limit": 500, "usage": 1, "resets_at": "soon"}},
    ],
)
def test_an_odd_usage_is_not_taken_for_a_free_month(body):
    with world(replying(body)) as there:
        error = refused(there.downloads.usage)

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


# --- request and status ---------------------------------------------------------------


def test_a_request_is_made_once_and_names_its_id():
    with world(replying({"request_id": REQUEST, "cohort_id": "a/b"}, 202)) as there:
        named = there.downloads.request("a/b", run_id=RUN)

        ((target, headers),) = there.api.asked
    assert named == REQUEST
    assert target == "/api/5/cohorts/request/a%2Fb"
    assert headers["authorization"] == f"Basic {BASIC}"
    assert headers["x-request-id"] == RUN


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        {},
        {"request_id": ""},
        {"request_id": "a b"},
        {"request_id": "é"},
        {"request_id": ".."},
        {"request_id": "x" * 201},
        {"request_id": 7},
        {"request_id": REQUEST, "cohort_id": "another"},
    ],
)
def test_a_request_without_an_id_to_believe_is_not_repeated(body):
    with world(replying(body, 202)) as there:
        error = refused(lambda: there.downloads.request("c1"))

        assert len(there.api.asked) == 1
    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


@pytest.mark.parametrize(
    ("status", "word", "done"),
    [
        (202, "JOB INPROGRESS", False),
        (202, "JOB COMPLETED", False),
        (200, "JOB INPROGRESS", False),
        (200, "JOB COMPLETED", True),
    ],
)
def test_a_job_is_done_when_status_and_word_agree(status, word, done):
    body = {"request_id": REQUEST, "cohort_id": "c1", "async_status": word}
    with world(replying(body, status)) as there:
        assert there.downloads.is_complete(REQUEST) is done

        assert there.api.targets == [f"/api/5/cohorts/request-status/{REQUEST}"]


def test_a_200_with_another_word_is_a_failed_job():
    body = {"request_id": REQUEST, "async_status": "JOB FAILED"}
    with world(replying(body)) as there:
        error = refused(lambda: there.downloads.is_complete(REQUEST))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "bad_response")
    assert error.vendor_message == "JOB FAILED"


@pytest.mark.parametrize(
    "body", [b"<html>", {}, {"request_id": "other", "async_status": "JOB COMPLETED"}]
)
def test_an_answer_about_something_else_does_not_end_the_job(body):
    with world(replying(body)) as there:
        error = refused(lambda: there.downloads.is_complete(REQUEST))

    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


@pytest.mark.parametrize("call", ["request", "is_complete", "file"])
@pytest.mark.parametrize(
    ("status", "details", "fault", "error_type"),
    [
        (403, "Invalid API Key", Fault.CREDENTIALS, "auth"),
        (403, "Forbidden", Fault.REFUSED, "forbidden"),
        (404, "Not found", Fault.REFUSED, "not_found"),
        (400, "invalid ids", Fault.REFUSED, "http_4xx"),
        (429, "Exceeded rate limit", Fault.PASSING, "rate_limited"),
        (503, "", Fault.PASSING, "http_5xx"),
    ],
)
def test_each_refusal_of_a_download_call_has_its_fault(
    call, status, details, fault, error_type
):
    body = {"error": {"metadata": {"details": details}}}
    with world(replying(body, status)) as there:
        calls = {
            "request": lambda: there.downloads.request("c1"),
            "is_complete": lambda: there.downloads.is_complete(REQUEST),
            "file": there.file,
        }
        error = refused(calls[call])

        assert len(there.api.asked) == 1
    assert (error.fault, error.error_type) == (fault, error_type)
    assert error.status == status


# --- the file -------------------------------------------------------------------------

WHOLE = {
    "plain": (CSV, {}),
    "gzip by its header": (PACKED, {"Content_Encoding": "gzip"}),
    "gzip by its first bytes": (PACKED, {}),
    "gzip by both": (gzip.compress(PACKED), {"Content_Encoding": "gzip"}),
    "two members": (gzip.compress(CSV[:30]) + gzip.compress(CSV[30:]), {}),
    "gzip without a length": (PACKED, {"Content_Length": None}),
}


@pytest.mark.parametrize(("body", "headers"), WHOLE.values(), ids=WHOLE)
def test_a_whole_file_is_written_plain_whether_inline_or_linked(body, headers):
    inline = replying(body, **headers)
    with world(inline) as there:
        assert there.file() == CSV

        assert there.api.targets == [f"/api/5/cohorts/request/{REQUEST}/file"]
    with world(storage=(inline,)) as there:
        assert there.file() == CSV


def test_the_storage_gets_no_credentials_and_the_link_as_it_was_signed():
    odd = "/a%2Fb/c~d.csv.gz"
    with world(storage=(replying(PACKED),)) as there:
        there.api.replies = (linking(there.storage, odd),)
        there.file()

        ((target, headers),) = there.storage.asked
        ((_, sent),) = there.api.asked
    assert target == f"{odd}?X-Amz-Signature={SIGNATURE}"
    assert sent["authorization"] == f"Basic {BASIC}"
    assert "authorization" not in headers
    assert "x-request-id" not in headers
    for secret in (KEY, SECRET, BASIC):
        assert secret not in str(headers)


def test_an_expired_link_is_replaced_by_the_file_endpoint_and_no_new_request():
    expired = replying(b"<Error>Request has expired</Error>", 403)
    with world(storage=(expired, expired, replying(PACKED))) as there:
        assert there.file() == CSV

        assert there.api.targets == [f"/api/5/cohorts/request/{REQUEST}/file"] * 3


def test_three_refused_links_are_enough():
    with world(storage=(replying(b"<Error/>", 403),)) as there:
        error = there.no_file()

        assert (len(there.api.asked), len(there.storage.asked)) == (3, 3)
    assert (error.fault, error.error_type) == (Fault.PASSING, "http_4xx")


def test_a_storage_out_of_order_is_not_asked_again_at_once():
    with world(storage=(replying(b"slow down", 503),)) as there:
        error = there.no_file()

        assert len(there.storage.asked) == 1
    assert (error.fault, error.error_type) == (Fault.PASSING, "http_5xx")


def test_a_redirect_of_the_storage_is_not_followed():
    with world(storage=(replying(b"", 302, Location="https://a.example"),)) as there:
        error = there.no_file()

        assert len(there.storage.asked) == 1
    assert error.error_type == "bad_response"


BROKEN = {
    "nothing": replying(b""),
    "gzip of nothing": replying(gzip.compress(b"")),
    "html": replying(b"\n <!DOCTYPE html><p>log in", Content_Type="text/html"),
    "packed html": replying(gzip.compress(b"<html>")),
    "json": replying({"error": "not ready"}),
    "cut gzip": replying(PACKED[:-9]),
    "cut gzip without a length": replying(PACKED[:-9], Content_Length=None),
    "flipped gzip": replying(PACKED[:30] + bytes([PACKED[30] ^ 1]) + PACKED[31:]),
    "something after gzip": replying(PACKED + b"more"),
    "no gzip": replying(CSV, Content_Encoding="gzip"),
    "unknown coding": replying(CSV, Content_Encoding="br"),
    "plain without an end": replying(CSV, Content_Length=None),
    "not ready": replying(CSV, 202),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_body_is_asked_for_again_and_never_believed(broken):
    with world(broken, broken, replying(PACKED)) as there:
        assert there.file() == CSV
    with world(broken) as there:
        error = there.no_file()

        assert len(there.api.asked) == 3
    assert (error.fault, error.error_type) == (Fault.PASSING, "bad_response")


@pytest.mark.parametrize("body", [CSV[:-20], PACKED], ids=["plain", "gzip"])
def test_a_body_shorter_than_its_length_is_asked_for_again(body):
    cut = replying(body, Content_Length=len(body) + 20)
    with world(storage=(cut, replying(PACKED))) as there:
        assert there.file() == CSV
    with world(storage=(cut,)) as there:
        error = there.no_file()

        assert len(there.storage.asked) == 3
    assert (error.fault, error.error_type) == (Fault.PASSING, "connect")


def test_nothing_of_an_earlier_try_is_left_in_the_file():
    long = gzip.compress(CSV * 1000)[:-4]
    with world(replying(long), replying(PACKED)) as there:
        assert there.file(io.BytesIO(b"old content " * 9000)) == CSV


# --- bounds ---------------------------------------------------------------------------


def test_a_bomb_stops_early():
    class Counting(io.BytesIO):
        written = 0

        def write(self, data: Any, /) -> int:
            self.written += len(data)
            return len(data)

    zeros = gzip.compress(b"0" * (1 << 28))
    out = Counting()
    with world(replying(zeros, Content_Encoding="gzip")) as there:
        error = refused(lambda: there.file(out))

        assert len(there.api.asked) == 1
    assert error.error_type == "bad_response"
    assert out.written <= 17 << 20


@pytest.mark.parametrize(
    "bounds", [Bounds(plain_bytes=len(CSV) - 1), Bounds(raw_bytes=len(PACKED) - 1)]
)
def test_a_file_over_the_bounds_is_refused_at_once(bounds):
    with world(replying(PACKED), bounds=bounds) as there:
        error = there.no_file()

        assert len(there.api.asked) == 1
    assert error.error_type == "bad_response"


def test_an_endless_error_page_is_cut():
    def endless(_server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 X\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with world(endless) as there:
        assert there.no_file().error_type == "http_5xx"


@pytest.mark.parametrize("where", ["api", "storage"])
def test_a_drip_cannot_outlast_the_deadline_of_the_file(where):
    def dripping(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while not server.closing.wait(0.05):
            connection.sendall(b"x")

    api = (dripping,) if where == "api" else ()
    with world(*api, storage=(dripping,), file_deadline=0.5) as there:
        started = time.monotonic()

        error = there.no_file()

        assert time.monotonic() - started < 1.5
    assert (error.fault, error.error_type) == (Fault.PASSING, "timeout")


def test_a_file_may_take_longer_than_any_other_request_while_it_comes():
    def slow(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CSV))
        for at in range(0, len(CSV), 10):
            server.closing.wait(0.05)
            connection.sendall(CSV[at : at + 10])

    with (
        serving(slow) as server,
        HttpClient(server.url, clock=Clock(), deadline=0.2) as http,
    ):
        pieces: list[bytes] = []
        http.stream("GET", "/", pieces.append, max_bytes=9999, deadline=5)

    assert b"".join(pieces) == CSV


def test_a_file_that_stops_coming_ends_long_before_its_deadline():
    def stalling(server: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx")
        server.closing.wait(20)

    with (
        serving(stalling) as server,
        HttpClient(server.url, clock=Clock(), deadline=0.2) as http,
        pytest.raises(TransportError, match=r"nothing for 0\.2 s"),
    ):
        http.stream("GET", "/", print, max_bytes=9999, deadline=60)


# --- links ----------------------------------------------------------------------------

ASTRAY = [
    "http://bucket.s3.amazonaws.com/x",
    "https://bucket.s3.amazonaws.com:8443/x",
    "https://127.0.0.1/x",
    "https://127.1/x",
    "https://0x7f.0x1/x",
    "https://2130706433/x",
    "https://[::1]/x",
    "https://[::ffff:169.254.169.254]/x",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/x",
    "https://intranet/x",
    "https://db.localhost/x",
    "https://metadata.google.internal/x",
    "https://amazonaws.com@evil.example/x",
    "https://evil.example\\@amazonaws.com/x",
    "https://evil.example\t.amazonaws.com/x",
    "https://bücket.example/x",
    "https://bucket.example./x",
    "https:///x",
    "//bucket.example/x",
    "/x",
    "",
    "ftp://bucket.example/x",
    "file:///etc/passwd",
    "https://bucket.example/" + "x" * 9000,
]


@pytest.mark.parametrize("link", ASTRAY, ids=[each[:40] for each in ASTRAY])
def test_a_link_that_leads_astray_is_refused_and_not_shown(link):
    storage = StorageClient(clock=Clock(), origin="http://127.0.0.1:9")
    secret = link + ("&" if link else "") + f"?s={SIGNATURE}"

    error = refused(lambda: storage.get(secret, print, max_bytes=100, deadline=1))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "bad_response")
    assert SIGNATURE not in everything_about(error)
    assert "/x" not in str(error)


def test_a_user_in_a_link_is_not_shown_either():
    storage = StorageClient(clock=Clock())

    with pytest.raises(DeliveryError) as caught:
        storage.get(f"https://{SIGNATURE}@a.example/", print, max_bytes=9, deadline=1)

    assert SIGNATURE not in everything_about(caught.value)


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ((".amazonaws.com",), "b.s3.amazonaws.com", True),
        ((".amazonaws.com",), "B.S3.AmazonAWS.com", True),
        ((".amazonaws.com",), "amazonaws.com", False),
        ((".amazonaws.com",), "evilamazonaws.com", False),
        (("files.example.com",), "files.example.com", True),
        (("files.example.com",), "x.files.example.com", False),
    ],
)
def test_named_hosts_are_the_only_ones(hosts, host, allowed):
    """A proxy that is not there shows that a link got past the rules."""
    with serving(hanging_up) as proxy:
        storage = StorageClient(clock=Clock(), hosts=hosts, proxy_url=proxy.url)

        with pytest.raises((TransportError, DeliveryError)):
            storage.get(f"https://{host}/x", print, max_bytes=100, deadline=5)

        assert proxy.targets == ([f"{host.lower()}:443"] if allowed else [])


def test_only_the_exact_origin_of_the_simulator_is_plain_http():
    with serving(replying(CSV)) as server:
        port = server.listener.getsockname()[1]
        storage = StorageClient(clock=Clock(), origin=f"http://127.0.0.1:{port}")

        for astray in (
            f"http://127.0.0.1:{port}0",
            f"http://127.0.0.2:{port}",
            f"https://127.0.0.1:{port}",
            f"http://u@127.0.0.1:{port}",
        ):
            with pytest.raises(DeliveryError):
                storage.get(astray, print, max_bytes=99, deadline=1)

        assert server.asked == []


def test_a_name_that_resolves_to_a_private_address_is_not_connected_to():
    with serving(replying(CSV)) as server:
        with HttpClient(server.url, clock=Clock(), public_only=True) as http:
            with pytest.raises(TransportError) as caught:
                http.request("GET", "/")

        assert server.asked == []
    assert (caught.value.kind, caught.value.sent) == ("connect", False)


def everything_about(error: BaseException) -> str:
    """All that a log, a traceback or a debugger's repr could show."""
    texts = ["".join(traceback.format_exception(error)), repr(error)]
    cause: BaseException | None = error
    while cause is not None:
        texts += [str(cause), repr(cause), repr(vars(cause))]
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


LEAKY = {
    "refused": replying(f"<Error>{SIGNATURE} {KEY}</Error>".encode(), 403),
    "out of order": replying(f"<Error>{SIGNATURE}</Error>".encode(), 500),
    "redirect": replying(b"", 302, Location=f"https://a.example/{SIGNATURE}"),
    "cut gzip": replying(PACKED[:-4]),
    "cut": replying(CSV, Content_Length=len(CSV) + 1),
    "gone": hanging_up,
}


@pytest.mark.parametrize("answer", LEAKY.values(), ids=LEAKY)
def test_no_link_secret_or_member_is_in_any_error_or_log(answer, caplog):
    caplog.set_level(logging.DEBUG)
    with world(storage=(answer,)) as there:
        error = there.no_file()

    shown = everything_about(error) + caplog.text + repr(there.downloads)
    for secret in (SIGNATURE, KEY, SECRET, BASIC, "a@example.com"):
        assert secret not in shown


# --- against the simulator ------------------------------------------------------------


@pytest.fixture
def simulated(sim) -> Iterator[AmplitudeDownloads]:
    """A client of the simulator, whose clock stands still and whose month is long."""
    sim.post("/_sim/clock", {"freeze": True, "set": "2026-05-12T12:00:00Z"})
    free = {"per_minute": 10**6, "per_10_minutes": 10**6, "running_jobs": 10**6}
    sim.post("/_sim/config", free)
    with HttpClient(sim.amplitude_url, clock=Clock()) as http:
        yield AmplitudeDownloads(
            http,
            StorageClient(clock=Clock(), origin=storage_origin(sim)),
            lambda: ("demo-api-key", "demo-secret-key"),
            clock=Clock(),
        )


def storage_origin(sim) -> str:
    """The simulator names it in its links only."""
    sim.post("/_sim/config", {"always_redirect": True})
    request = sim.api.get(
        f"/api/5/cohorts/request/{sim.cohort('first', members=['x'])}"
    )
    sim.post("/_sim/clock", {"advance": 45})
    job = request.json()["request_id"]
    link = sim.api.get(f"/api/5/cohorts/request/{job}/file").headers["location"]
    sim.post("/_sim/config", {"always_redirect": False})
    return "/".join(link.split("/")[:3])


def had(sim, downloads: AmplitudeDownloads, request_id: str) -> set[bytes]:
    out = io.BytesIO()
    downloads.file(request_id, out)
    out.seek(0)
    blocks = Members(out, IdType.USER_ID).blocks()
    return {one for block in blocks for one in block}


def ordered(sim, downloads: AmplitudeDownloads, **cohort: Any) -> str:
    """A request whose job is done."""
    people = [f"person-{n}" for n in range(1200)]
    cohort_id = sim.cohort("VIP", members=people, **cohort)
    request_id = downloads.request(cohort_id)
    assert not downloads.is_complete(request_id)
    sim.post("/_sim/clock", {"advance": 45})
    assert downloads.is_complete(request_id)
    return request_id


PEOPLE = {f"person-{n}".encode() for n in range(1200)}


@pytest.mark.parametrize("packed", ["encoding", "raw", "none", "twice"])
@pytest.mark.parametrize("inline_max_rows", [10, 5000])
def test_a_cohort_comes_whole_in_every_form(sim, simulated, packed, inline_max_rows):
    sim.post("/_sim/config", {"gzip": packed, "inline_max_rows": inline_max_rows})

    request_id = ordered(sim, simulated)

    assert had(sim, simulated, request_id) == PEOPLE
    assert sim.get("/_sim/leaks") == {"leaks": []}


def test_a_download_is_counted_once_however_often_its_file_is_fetched(sim, simulated):
    before = simulated.usage()

    request_id = ordered(sim, simulated)
    for _ in range(3):
        assert had(sim, simulated, request_id) == PEOPLE

    after = simulated.usage()
    assert before is not None
    assert after is not None
    assert after.used == before.used + 1


FAULTS: list[dict[str, Any]] = [
    {"kind": "truncated", "length": "full"},
    {"kind": "truncated", "length": "sent"},
    {"kind": "reset", "when": "mid"},
    {"kind": "zero_byte"},
    {"kind": "html_200"},
    {"kind": "status", "status": 403, "format": "text", "body": "expired"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: "-".join(map(str, f.values())))
def test_a_bad_try_is_made_good_and_three_end_it(sim, simulated, fault):
    request_id = ordered(sim, simulated)

    sim.post("/_sim/faults", {"endpoint": "storage", "calls": [1, 2], **fault})
    assert had(sim, simulated, request_id) == PEOPLE
    sim.control.delete("/_sim/faults").raise_for_status()
    sim.post("/_sim/faults", {"endpoint": "storage", **fault})
    error = refused(lambda: had(sim, simulated, request_id))

    assert error.fault is Fault.PASSING


def test_an_unknown_request_is_not_found(simulated):
    status = refused(lambda: simulated.is_complete("nonesuch"))
    file = refused(lambda: simulated.file("nonesuch", io.BytesIO()))

    for error in (status, file):
        assert (error.fault, error.error_type) == (Fault.REFUSED, "not_found")


def test_a_failed_job_is_told_from_one_that_runs(sim, simulated):
    sim.post("/_sim/config", {"job_failure": "JOB FAILED"})
    request_id = simulated.request(sim.cohort("VIP", members=["x"]))
    sim.post("/_sim/clock", {"advance": 45})

    error = refused(lambda: simulated.is_complete(request_id))

    assert (error.fault, error.error_type) == (Fault.REFUSED, "bad_response")
