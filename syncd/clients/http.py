"""HTTP towards vendors, and towards our own daemon. The only importer of httpx.

Of httpx it uses addresses, proxies and authorities, and its pool of connections
(httpcore) as it is: the client in between takes 0.6 ms of CPU a request, of 1.0, for
cookies, redirects and time-outs that have no place here.

Adds what the pool alone does not give: a deadline for the whole request
(`clients/deadline`), a cap on the answer, which is read raw so that neither a huge
body nor a gzip bomb grows, and errors in our words that say whether a byte of the
request may have left. `request` keeps an answer, `stream` hands a long one on.

It must never follow a redirect, read proxy variables, keep a cookie, retry, or put a
header into an error text (the credentials are one).
"""

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from syncd import __version__, metrics
from syncd.absent import absent
from syncd.clients.deadline import BoundedNetwork, Budget, NameNotResolved
from syncd.clients.received import ACKNOWLEDGEMENT_BYTES as ACKNOWLEDGEMENT_BYTES
from syncd.clients.received import TooLarge, headers_of, read_body
from syncd.clock import Clock
from syncd.errors import SyncdError

with absent("pygments"), absent("zstandard"):
    import httpcore
    import httpx

Kind = Literal["timeout", "connect", "tls", "reset", "too_large", "dns"]

for _name in ("httpx", "httpcore"):
    # They write whole URLs at INFO, and headers of answers at DEBUG: a download's link
    # is a secret. Here rather than where logs are set up, so that nobody can forget it.
    logging.getLogger(_name).setLevel(logging.WARNING)

_CONNECT_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 5.0
_SPARE_CONNECTIONS = 2
"""More connections than workers: httpx 0.28's pool can lose slots when they are short
(libraries.md 2.4)."""
_SHORT_RUN_ID = 8
"""The last digits: the first ones of a UUIDv7 are a time that runs have in common."""


class TransportError(SyncdError):
    """No usable answer came. Proves nothing about what the other side did.

    `kind`: `timeout` (one phase, or the whole), `dns`, `connect` (refused, unreachable,
    no TLS spoken), `tls` (the certificate does not verify), `reset` (cut off, or not
    HTTP), `too_large` (a 2xx body over the cap). `sent` is False only if no byte of the
    request left.
    """

    code = "transport"

    def __init__(self, message: str, *, kind: Kind, sent: bool) -> None:
        super().__init__(message, code=f"transport.{kind}")
        self.kind = kind
        self.sent = sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole HTTP answer. Its repr shows neither body nor headers."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case."""
    body: bytes = field(repr=False)
    """As sent, never decompressed. When the status is not 2xx it only explains, so it
    is cut at the cap rather than hide the status behind a size."""
    duration: float
    """Seconds from the call to the last byte."""

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status <= 299


class HttpClient:
    """One origin with one connection pool, shared by the threads that talk to it."""

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        workers: int = 4,
        deadline: float = 30.0,
        proxy_url: str | None = None,
        ca_file: Path | None = None,
        unix_socket: Path | None = None,
        public_only: bool = False,
        api: str = "",
    ) -> None:
        """`base_url` as the config checked it; `deadline` in real seconds per request.

        `ca_file` adds a private authority to the usual ones; there is no switch that
        turns verification off. `proxy_url` is http or https and may hold a password.
        With `public_only` no private, loopback or link-local address is connected to,
        but for the proxy's (which then decides for itself whom it reaches). `api` is
        the connection whose requests these are, in metrics; without it none is counted.
        """
        self._api = api
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._deadline = deadline
        self._budget = Budget(clock.monotonic)
        secure = base_url.startswith("https://")
        self._pool = _pool(
            network=BoundedNetwork(
                self._budget, public_only=public_only and proxy_url is None
            ),
            tls=_tls(ca_file) if secure or proxy_url else None,
            workers=workers,
            proxy_url=proxy_url,
            unix_socket=unix_socket,
        )
        connect = min(_CONNECT_SECONDS, deadline)
        each = {"connect": connect, "read": deadline, "write": deadline}
        self._extensions = {"timeout": each | {"pool": deadline}}

    @classmethod
    def over_unix_socket(
        cls, path: Path, *, clock: Clock, deadline: float = 30.0
    ) -> Self:
        """A client of the running daemon's control socket."""
        return cls("http://daemon", clock=clock, deadline=deadline, unix_socket=path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every pooled connection."""
        self._pool.close()

    @property
    def host(self) -> str:
        """Whom it talks to, for messages."""
        return httpx.URL(self._base_url).netloc.decode("ascii")

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = ACKNOWLEDGEMENT_BYTES,
        run_id: str = "",
        operation: str = metrics.OTHER,
    ) -> Answer:
        """Make one request and read the whole answer; raise `TransportError` if none.

        `path` begins with a slash and may carry a query; it must hold no secret.
        `operation` is one of a few words for what is asked: a label of metrics.
        """
        kept = bytearray()
        sent = _run_headers(run_id) | dict(headers or {})
        answer = self._exchange(
            _Asked(method, path, body, sent, operation),
            kept.extend,
            max_bytes,
            self._deadline,
        )
        return replace(answer, body=bytes(kept)) if answer.ok else answer

    def stream(
        self,
        method: str,
        path: str,
        take: Callable[[bytes], object],
        *,
        max_bytes: int,
        deadline: float,
        headers: Mapping[str, str] | None = None,
        run_id: str = "",
        operation: str = metrics.OTHER,
    ) -> Answer:
        """Make one request and hand the raw pieces of a 2xx body to `take`, in order.

        `deadline`, in real seconds, is for the whole body; the client's own is how long
        nothing at all may come. The body of the answer returned is empty for a 2xx; any
        other is kept as `request` keeps it. What `take` raises passes and ends the
        connection. A body that ends before its Content-Length or its last chunk raises
        `TransportError`; one that declares neither may be cut without anybody knowing.
        `path` gets into no log and no error, so it may hold the signature of a link.
        """
        sent = _run_headers(run_id) | dict(headers or {})
        asked = _Asked(method, path, None, sent, operation)
        return self._exchange(asked, take, max_bytes, deadline)

    def _exchange(
        self,
        asked: "_Asked",
        take: Callable[[bytes], object],
        max_bytes: int,
        deadline: float,
    ) -> Answer:
        started = self._clock.monotonic()
        try:
            self._budget.start(deadline)
            with self._pool.stream(
                asked.method,
                _address(self._base_url + asked.path),
                content=asked.body,
                headers=_sent(asked),
                extensions=self._extensions,
            ) as response:
                headers = headers_of(response)
                answer = Answer(
                    status=response.status,
                    headers=headers,
                    body=read_body(response, headers, take, max_bytes),
                    duration=self._clock.monotonic() - started,
                )
            self._count(asked, str(answer.status), started)
            return answer
        except (*_FAILURES, TooLarge) as error:
            failure = self._failure(error, max_bytes, deadline)
        self._count(asked, failure.kind, started)
        # Raised out here, without the cause: its text may quote a header we sent.
        raise failure

    def _count(self, asked: "_Asked", code: str, started: float) -> None:
        if self._api:
            seconds = self._clock.monotonic() - started
            metrics.API_REQUESTS.labels(self._api, asked.operation, code).inc()
            metrics.API_SECONDS.labels(self._api, asked.operation).observe(seconds)

    def _failure(
        self, error: Exception, max_bytes: int, deadline: float
    ) -> TransportError:
        kind = _kind(error)
        stalled = f", or nothing for {self._deadline:g} s"
        what: dict[Kind, str] = {
            "timeout": f"no whole answer from {self.host} within {deadline:g} s"
            + (stalled if deadline > self._deadline else ""),
            "dns": f"the name {self.host} could not be resolved",
            "connect": f"no connection to {self.host}",
            "tls": f"the certificate of {self.host} does not verify",
            "reset": f"{self.host} cut the connection or did not speak HTTP",
            "too_large": f"{self.host} answered with more than {max_bytes} bytes",
        }
        return TransportError(what[kind], kind=kind, sent=self._budget.sent)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it goes out."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    operation: str


_FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
"""What the pool raises of a request; it has no name for all of them."""
_DEFAULTS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": f"syncd/{__version__}",
}


def _address(url: str) -> httpcore.URL:
    """Percent-encoded where it has to be, without a fragment."""
    parsed = httpx.URL(url)
    return httpcore.URL(
        scheme=parsed.raw_scheme,
        host=parsed.raw_host,
        port=parsed.port,
        target=parsed.raw_path,
    )


def _sent(asked: _Asked) -> list[tuple[bytes, bytes]]:
    """The headers of a request; the pool adds the host and the length of a body."""
    own = {name.lower(): value for name, value in asked.headers.items()}
    if asked.body is None and asked.method not in _WITHOUT_BODY:
        own["content-length"] = "0"
    pairs = (_DEFAULTS | own).items()
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in pairs]


_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Methods of which no server expects one."""


def _pool(
    *,
    network: BoundedNetwork,
    tls: ssl.SSLContext | None,
    workers: int,
    proxy_url: str | None,
    unix_socket: Path | None,
) -> httpcore.ConnectionPool:
    if proxy_url is None:
        return httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=workers + _SPARE_CONNECTIONS,
            max_keepalive_connections=workers,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
            uds=str(unix_socket) if unix_socket else None,
            network_backend=network,
        )
    proxy = httpx.Proxy(proxy_url)
    return httpcore.HTTPProxy(
        proxy_url=str(proxy.url),
        proxy_auth=proxy.raw_auth,
        proxy_ssl_context=tls if proxy.url.scheme == "https" else None,
        ssl_context=tls,
        max_connections=workers + _SPARE_CONNECTIONS,
        max_keepalive_connections=workers,
        keepalive_expiry=_KEEP_ALIVE_SECONDS,
        network_backend=network,
    )


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """The usual authorities, and the private one of `ca_file` beside them."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def _run_headers(run_id: str) -> dict[str, str]:
    if not run_id:
        return {}
    agent = f"syncd/{__version__} (run {run_id[-_SHORT_RUN_ID:]})"
    return {"user-agent": agent, "x-request-id": run_id}


def _kind(error: BaseException) -> Kind:
    """Sort an error by its type and by what caused it, deepest cause first."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    kinds: tuple[tuple[type[BaseException], Kind], ...] = (
        (TooLarge, "too_large"),
        (NameNotResolved, "dns"),
        (ssl.SSLCertVerificationError, "tls"),
        (httpcore.TimeoutException, "timeout"),
        (httpcore.ConnectError, "connect"),
        (httpcore.ProxyError, "connect"),
    )
    for kind, name in kinds:
        if any(isinstance(each, kind) for each in causes):
            return name
    return "reset"
