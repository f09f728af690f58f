"""The HTTP client and the Amplitude client against a real, ill-behaved server."""

import base64
import gzip
import json
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from syncd.clients.amplitude import (
    AmplitudeClient,
    MembershipIdType,
    NewCohort,
    UploadIdType,
)
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, SyncdError
from syncd.model import Operation

KEY = "canary-key-5f2c"
SECRET = "canary-secret-9d1e"
RUN = "019e1b75-47da-732d-8f77-c01b463ddf1e"
IDS = (b"person-one", b"person-two")


@dataclass
class Request:
    """What arrived. `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[socket.socket, Request], None]


@dataclass
class Server:
    """A server that plays one reply per request, the last one for ever."""

    listener: socket.socket
    replies: list[Reply]
    read_body: bool = True
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://localhost:{self.listener.getsockname()[1]}"

    def accept_for_ever(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                if self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                with connection:
                    while request := self.receive(connection):
                        turn = min(len(self.requests), len(self.replies) - 1)
                        self.requests.append(request)
                        self.replies[turn](connection, request)
        except OSError:
            pass  # the client went away, or refused our certificate

    def receive(self, connection: socket.socket) -> Request | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return None
            data += piece
            if data.startswith(b"\x16"):  # a TLS hello, to a server without TLS
                return Request("HELLO", "", {}, b"")
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0)) if self.read_body else 0
        while len(body) < length:
            body += connection.recv(65536)
        method, target, _ = first.split(" ")
        return Request(method, target, headers, body)


@contextmanager
def serving(
    *replies: Reply,
    listener: socket.socket | None = None,
    read_body: bool = True,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    bound = listener or socket.create_server(("127.0.0.1", 0))
    server = Server(bound, list(replies), read_body, tls)
    acceptor = threading.Thread(target=server.accept_for_ever, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.closing.set()
        bound.shutdown(socket.SHUT_RDWR)
        bound.close()
        acceptor.join(5)


def http_answer(
    body: Any = b"", status: int = 200, content_type: str = "application/json", **more
) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "Content-Type": content_type,
        "Content-Length": len(raw),
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Made Up\r\n{lines}\r\n".encode("latin-1") + raw


def replying(body: Any = b"", status: int = 200, **more) -> Reply:
    data = http_answer(body, status, **more)
    return lambda connection, _request: connection.sendall(data)


def sending(data: bytes, *, reset: bool = False) -> Reply:
    """Send `data` as it is, then close; with `reset` by a TCP RST."""

    def reply(connection: socket.socket, _request: Request) -> None:
        connection.sendall(data)
        if reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            connection.shutdown(socket.SHUT_WR)
        raise OSError("closed by the script")

    return reply


def dripping(data: bytes, stop: threading.Event) -> Reply:
    """One byte each 50 ms: never late for a read, late for every deadline."""

    def reply(connection: socket.socket, _request: Request) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            if stop.wait(0.05):
                return

    return reply


def silent(stop: threading.Event) -> Reply:
    return lambda _connection, _request: (stop.wait(30), None)[1]


def http_client(server: Server | str, **settings: Any) -> HttpClient:
    url = server if isinstance(server, str) else server.url
    return HttpClient(url, clock=Clock(), **settings)


def amplitude(
    http: HttpClient, credentials: Callable[[], tuple[str, str]] = lambda: (KEY, SECRET)
) -> AmplitudeClient:
    return AmplitudeClient(http, credentials, clock=Clock())


def fetched(server: Server | str, **settings: Any) -> TransportError:
    """The error of one GET."""
    with (
        http_client(server, **settings) as http,
        pytest.raises(TransportError) as caught,
    ):
        http.request("GET", "/")
    return caught.value


def added(http: HttpClient) -> DeliveryError:
    """The error of one membership ADD."""
    with pytest.raises(DeliveryError) as caught:
        amplitude(http).membership("c1", Operation.ADD, IDS, MembershipIdType.BY_NAME)
    return caught.value


def acknowledgement(*skipped: str) -> dict[str, Any]:
    result = {"skipped_ids": skipped, "id_type": "BY_NAME", "operation": "ADD"}
    return {"cohort_id": "c1", "memberships_result": [result]}


# --- the deadline and the cap ---------------------------------------------------------


DRIPS = {
    "in the body": http_answer(b"x" * 500),
    "in the headers": b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 99,
    "in informational answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 99,
}


@pytest.mark.parametrize("whole", DRIPS.values(), ids=DRIPS)
def test_a_drip_cannot_outlast_the_deadline_in_headers_or_body(whole):
    stop = threading.Event()
    with serving(dripping(whole, stop)) as server:
        started = time.monotonic()

        error = fetched(server, deadline=0.5)

        stop.set()
        assert time.monotonic() - started < 1.5
    assert (error.kind, error.sent) == ("timeout", True)


def test_silence_after_a_drip_ends_at_the_deadline_not_a_read_time_out_later():
    stop = threading.Event()

    def drip_then_hang(connection: socket.socket, request: Request) -> None:
        dripping(b"HTTP/1.1 200 OK\r\n", stop)(connection, request)
        stop.wait(30)

    with serving(drip_then_hang) as server:
        started = time.monotonic()

        error = fetched(server, deadline=1.0)

        stop.set()
        assert time.monotonic() - started < 1.6
    assert error.kind == "timeout"


def test_silence_ends_at_the_deadline():
    stop = threading.Event()
    with serving(silent(stop)) as server:
        error = fetched(server, deadline=0.3)
        stop.set()

    assert (error.kind, error.sent) == ("timeout", True)


def test_a_server_that_does_not_read_cannot_outlast_the_deadline():
    stop = threading.Event()
    with serving(silent(stop), read_body=False) as server:
        with http_client(server, deadline=0.5) as http:
            started = time.monotonic()

            with pytest.raises(TransportError) as caught:
                http.request("POST", "/", body=b"x" * 50_000_000)

        stop.set()
        assert time.monotonic() - started < 1.5
    assert (caught.value.kind, caught.value.sent) == ("timeout", True)


def test_an_endless_body_stops_at_the_cap():
    def endless(connection: socket.socket, _request: Request) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"\0" * 65536)

    with serving(endless) as server:
        error = fetched(server)

    assert (error.kind, error.sent) == ("too_large", True)


def test_the_cap_is_per_call():
    with serving(replying(b"x" * 100_000)) as server, http_client(server) as http:
        answer = http.request("GET", "/", max_bytes=100_000)

    assert len(answer.body) == 100_000


def test_an_error_page_over_the_cap_is_cut_and_keeps_its_status():
    with serving(replying(b"x" * 200_000, 503)) as server, http_client(server) as http:
        answer = http.request("GET", "/")

    assert answer.status == 503
    assert answer.body == b"x" * 65536


def test_a_gzip_bomb_is_never_inflated():
    bomb = gzip.compress(b"\0" * 20_000_000)
    with serving(replying(bomb, Content_Encoding="gzip")) as server:
        with http_client(server) as http:
            answer = http.request("GET", "/")

            error = added(http)

        assert server.requests[0].headers["accept-encoding"] == "identity"
    assert answer.body == bomb
    assert error.error_type == "bad_response"


# --- connections ----------------------------------------------------------------------


def test_a_refused_connection_has_sent_nothing():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

    error = fetched(url)

    assert (error.kind, error.sent) == ("connect", False)


def test_a_name_without_address_has_sent_nothing():
    error = fetched("http://" + "a" * 64 + ".invalid")

    assert (error.kind, error.sent) == ("dns", False)


CUT: dict[str, Reply] = {
    "closed at once": sending(b""),
    "reset at once": sending(b"", reset=True),
    "not http": sending(b"SSH-2.0-made-up\r\n"),
    "closed in the body": sending(http_answer(b"x" * 500)[:-100]),
    "reset in the body": sending(http_answer(b"x" * 500)[:-100], reset=True),
    "broken chunk": sending(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
}


@pytest.mark.parametrize("reply", CUT.values(), ids=CUT)
def test_a_cut_or_foreign_answer_is_a_reset_after_sending(reply):
    with serving(reply) as server:
        error = fetched(server)

    assert (error.kind, error.sent) == ("reset", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status):
    with serving(replying()) as other:
        elsewhere = replying(b"", status, Location=other.url + "/steal")
        with serving(elsewhere) as server, http_client(server) as http:
            error = added(http)

        assert other.connections == 0
    assert (error.fault, error.status) == (Fault.PASSING, status)


def test_proxy_variables_of_the_environment_are_ignored(monkeypatch):
    with serving(replying(b"{}")) as server, serving(replying()) as hostile:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, hostile.url)
        with http_client(server) as http:
            http.request("GET", "/")

        assert (len(server.requests), hostile.connections) == (1, 0)


def test_a_configured_proxy_is_used_with_its_password():
    with serving(replying(b"{}")) as proxy:
        url = proxy.url.replace("://", "://me:pass-word@")
        with http_client("http://vendor.invalid", proxy_url=url) as http:
            http.request("GET", "/x")

        (request,) = proxy.requests
    assert request.target == "http://vendor.invalid/x"
    password = base64.b64encode(b"me:pass-word").decode()
    assert request.headers["proxy-authorization"] == f"Basic {password}"


def test_a_proxy_that_refuses_is_a_failed_connection_without_its_password():
    with serving(replying(b"", 407)) as proxy:
        url = proxy.url.replace("://", "://me:pass-word@")
        error = fetched("https://vendor.invalid", proxy_url=url)

    assert error.kind == "connect"
    assert "pass-word" not in everything_about(error)


def test_no_cookie_is_kept():
    with serving(replying(b"{}", Set_Cookie="a=b")) as server:
        with http_client(server) as http:
            http.request("GET", "/")
            http.request("GET", "/")

        assert "cookie" not in server.requests[1].headers


def test_a_request_names_the_product_and_the_run():
    with serving(replying(b"{}")) as server, http_client(server) as http:
        http.request("GET", "/", run_id=RUN)
        http.request("GET", "/")

        of_run, of_none = (request.headers for request in server.requests)
    assert of_run["user-agent"].endswith(" (run 463ddf1e)")
    assert of_run["x-request-id"] == RUN
    assert of_none["user-agent"].startswith("syncd/")
    assert "x-request-id" not in of_none


def test_threads_share_one_pool_of_kept_connections():
    with serving(replying(b"{}")) as server, http_client(server, workers=4) as http:
        with ThreadPoolExecutor(4) as threads:
            answers = list(
                threads.map(lambda _n: http.request("GET", "/").status, range(200))
            )

        assert answers == [200] * 200
        assert server.connections <= 6


def test_the_control_socket_is_reached_over_its_path(tmp_path):
    path = tmp_path / "control.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    with serving(replying(b'{"ok":1}'), listener=listener):
        with HttpClient.over_unix_socket(path, clock=Clock()) as http:
            answer = http.request("GET", "/status")

    assert (answer.status, answer.body) == (200, b'{"ok":1}')


def test_a_missing_control_socket_is_a_failed_connection(tmp_path):
    with HttpClient.over_unix_socket(tmp_path / "none", clock=Clock()) as http:
        with pytest.raises(TransportError) as caught:
            http.request("GET", "/")

    assert (caught.value.kind, caught.value.sent) == ("connect", False)


# --- certificates ---------------------------------------------------------------------


def certificate(folder: Path) -> ssl.SSLContext:
    """A self-signed certificate for localhost: `folder`/ca.pem."""
    key, cert = folder / "key.pem", folder / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the package openssl"
)


@pytest.mark.system
@needs_openssl
def test_an_unknown_certificate_stops_the_connection_before_a_byte_is_sent(tmp_path):
    with serving(replying(), tls=certificate(tmp_path)) as server:
        with http_client(server) as http:
            transport = fetched(server)

            error = added(http)

        assert server.requests == []
    assert (transport.kind, transport.sent) == ("tls", False)
    assert (error.fault, error.error_type) == (Fault.CREDENTIALS, "tls")
    assert "ca_file" in error.hint


@pytest.mark.system
@needs_openssl
def test_a_private_authority_can_be_added(tmp_path):
    tls = certificate(tmp_path)
    with serving(replying(b"{}"), tls=tls) as server:
        with http_client(server, ca_file=tmp_path / "ca.pem") as http:
            assert http.request("GET", "/").ok


def test_a_server_that_speaks_no_tls_is_a_failed_connection():
    with serving(sending(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        error = fetched(server.url.replace("http://", "https://"))

    assert (error.kind, error.sent) == ("connect", False)


# --- the three calls ------------------------------------------------------------------


def test_a_membership_call_is_sent_as_documented():
    ids = ("Ünï-çødé".encode(), b'quote"\\back', b"plain")
    with serving(replying(acknowledgement("plain"))) as server:
        with http_client(server) as http:
            proof = amplitude(http).membership(
                "c1", Operation.ADD, ids, MembershipIdType.BY_NAME, run_id=RUN
            )

        (request,) = server.requests
    assert proof.skipped_ids == {b"plain"}
    assert (request.method, request.target) == ("POST", "/api/3/cohorts/membership")
    assert request.headers["content-type"] == "application/json"
    basic = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {basic}"
    assert request.headers["x-request-id"] == RUN
    assert request.json() == {
        "cohort_id": "c1",
        "skip_invalid_ids": True,
        "memberships": [
            {
                "ids": ["Ünï-çødé", 'quote"\\back', "plain"],
                "id_type": "BY_NAME",
                "operation": "ADD",
            }
        ],
    }


def test_an_upload_is_sent_as_documented():
    new = NewCohort(
        name="[Segment] VIP",
        app_id=153957,
        owner="ops@example.com",
        id_type=UploadIdType.BY_AMP_ID,
        ids=(b"356896327775",),
        published=True,
    )
    with serving(replying({"cohortId": "7y6y3ij"})) as server:
        with http_client(server) as http:
            made = amplitude(http).upload(new)

        (request,) = server.requests
    assert made.cohort_id == "7y6y3ij"
    assert (request.method, request.target) == ("POST", "/api/3/cohorts/upload")
    assert request.json() == {
        "name": "[Segment] VIP",
        "app_id": 153957,
        "id_type": "BY_AMP_ID",
        "ids": ["356896327775"],
        "owner": "ops@example.com",
        "published": True,
        "skip_invalid_ids": True,
    }


def test_the_list_may_be_far_larger_than_an_acknowledgement():
    cohort = {"id": "c1", "name": "n", "type": "manual_upload", "x": "y" * 1000}
    with serving(replying({"cohorts": [cohort] * 2000})) as server:
        with http_client(server) as http:
            cohorts = amplitude(http).list_cohorts()

    assert len(cohorts) == 2000


def test_an_acknowledgement_may_name_every_long_id_that_was_sent():
    ids = tuple(f"{n:04}{'é' * 1000}".encode() for n in range(1000))
    body = acknowledgement(*(each.decode() for each in ids))
    with serving(replying(body)) as server, http_client(server) as http:
        proof = amplitude(http).membership(
            "c1", Operation.ADD, ids, MembershipIdType.BY_NAME
        )

    assert proof.skipped_ids == set(ids)


@pytest.mark.parametrize("failure", ["timeout", "reset", "too_large", "connect"])
def test_a_lost_answer_passes_and_proves_nothing(failure):
    stop = threading.Event()
    replies = {
        "timeout": silent(stop),
        "reset": sending(b"", reset=True),
        "too_large": replying(b"[" * 100_000),
        "connect": sending(b""),
    }
    with serving(replies[failure]) as server:
        with http_client(server, deadline=0.3) as http:
            error = added(http)
        stop.set()

    assert error.fault is Fault.PASSING
    assert error.status is None


# --- credentials ----------------------------------------------------------------------

REFUSED = replying(
    {"error": {"http_code": 403, "metadata": {"details": "Invalid API Key"}}}, 403
)


def keys(*pairs: tuple[str, str] | SyncdError) -> Callable[[], tuple[str, str]]:
    """Credentials that change with each reading; the last ones stay."""
    left = list(pairs)

    def read() -> tuple[str, str]:
        current = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(current, SyncdError):
            raise current
        return current

    return read


def secrets_used(server: Server) -> list[str]:
    headers = [request.headers["authorization"] for request in server.requests]
    return [base64.b64decode(each.split()[1]).decode() for each in headers]


def test_renewed_credentials_are_used_at_once_and_from_then_on():
    with serving(REFUSED, replying({"cohorts": []})) as server:
        with http_client(server) as http:
            client = amplitude(http, keys((KEY, "old"), (KEY, "new")))
            client.list_cohorts()
            client.list_cohorts()

        assert secrets_used(server) == [f"{KEY}:old", f"{KEY}:new", f"{KEY}:new"]


def test_unchanged_credentials_are_not_tried_twice():
    with serving(REFUSED) as server, http_client(server) as http:
        error = added(http)

        assert len(server.requests) == 1
    assert (error.fault, error.error_type) == (Fault.CREDENTIALS, "auth")


def test_renewed_credentials_that_are_refused_too_are_not_tried_a_third_time():
    with serving(REFUSED) as server, http_client(server) as http:
        client = amplitude(http, keys((KEY, "a"), (KEY, "b"), (KEY, "c")))
        with pytest.raises(DeliveryError, match="Invalid API Key"):
            client.list_cohorts()

        assert secrets_used(server) == [f"{KEY}:a", f"{KEY}:b"]


def test_a_refusal_is_reported_although_the_secret_cannot_be_read_again():
    with serving(REFUSED) as server, http_client(server) as http:
        client = amplitude(http, keys((KEY, "a"), SyncdError("no such file")))

        with pytest.raises(DeliveryError, match="Invalid API Key"):
            client.list_cohorts()


def test_another_403_reads_no_credentials_again():
    waf = replying({"code": 403, "error": "Forbidden"}, 403)
    with serving(waf) as server, http_client(server) as http:
        client = amplitude(http, keys((KEY, "a"), (KEY, "b")))
        with pytest.raises(DeliveryError) as caught:
            client.list_cohorts()

        assert len(server.requests) == 1
    assert caught.value.fault is Fault.REFUSED


# --- nothing leaks --------------------------------------------------------------------


def everything_about(error: BaseException) -> str:
    """All that a log, a traceback or a debugger's repr could show."""
    texts = ["".join(traceback.format_exception(error)), repr(error)]
    cause: BaseException | None = error
    while cause is not None:
        texts += [str(cause), repr(cause), repr(vars(cause))]
        cause = cause.__cause__ or cause.__context__
    return "\n".join(texts)


def echoing(status: int, content_type: str) -> Reply:
    """A server that repeats all it was sent in its error."""

    def reply(connection: socket.socket, request: Request) -> None:
        basic = request.headers["authorization"]
        said = f"{basic} {base64.b64decode(basic.split()[1]).decode()} "
        said += " ".join(each.decode() for each in IDS)
        body: Any = said.encode()
        if content_type == "application/json":
            body = {"error": {"metadata": {"details": said}}}
        connection.sendall(http_answer(body, status, content_type))

    return reply


LEAKY: dict[str, Reply] = {
    **{
        f"{status} {content_type}": echoing(status, content_type)
        for status in (200, 400, 401, 403, 404, 429, 500)
        for content_type in ("application/json", "text/html")
    },
    "refused": REFUSED,
    "closed": sending(b""),
    "not http": sending(b"nonsense\r\n\r\n"),
    "bad header": sending(b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"),
    "a stranger skipped": replying(acknowledgement("person-three")),
    "too large": replying(b"[" * 100_000),
}


@pytest.mark.parametrize("reply", LEAKY.values(), ids=LEAKY)
def test_no_error_text_holds_a_secret_or_a_member_id(reply):
    with serving(reply) as server, http_client(server) as http:
        error = added(http)

    shown = everything_about(error)
    basic = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()
    for secret in (KEY, SECRET, basic, "person-one", "person-two", "person-three"):
        assert secret not in shown


def test_an_answer_shows_neither_headers_nor_body_in_its_repr():
    body = acknowledgement("person-one")
    with serving(replying(body, X_Secret="whisper")) as server:
        with http_client(server) as http:
            shown = repr(http.request("GET", "/"))

    assert "status=200" in shown
    assert "person-one" not in shown
    assert "whisper" not in shown
