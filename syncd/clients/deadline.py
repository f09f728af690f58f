"""A network for httpx on which a whole request ends in time.

httpx's time-outs are per read: a server that drips one byte a second is never late
(reliability.md D12). Here each connect, read and write of a request gets only what is
left of its deadline. Name resolution is the exception: the system call takes no limit.

One request runs on one thread from start to end, so the budget is thread-local.
"""

import ipaddress
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from syncd.clients.beginning import is_too_late

_PIECE = 64 * 1024
"""Bytes handed to the socket at once: the deadline is looked at between pieces."""

SocketOptions = Iterable[
    tuple[int, int, int]
    | tuple[int, int, bytes | bytearray]
    | tuple[int, int, None, int]
]


class NameNotResolved(httpcore.ConnectError):
    """The host name has no address, or nobody who knows answered."""


class Budget(threading.local):
    """What is left of the request that the current thread makes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._ends_at = math.inf
        self.sent = False
        """Whether any byte of the request may have left."""

    def start(self, seconds: float) -> None:
        """Begin a request that may take `seconds` in all; raises where it is too late
        to begin."""
        now = self._monotonic()
        self._ends_at = now + seconds
        self.sent = False
        if is_too_late(now):
            raise httpcore.TimeoutException("the request began too late")

    def within(self, limit: float | None) -> float:
        """The time-out of the next step: at most `limit`; raises when none is left."""
        left = self._ends_at - self._monotonic()
        if left <= 0:
            raise httpcore.TimeoutException("the deadline of the request has passed")
        return left if limit is None else min(limit, left)


class BoundedNetwork(httpcore.NetworkBackend):
    """Opens connections whose every step stays within the budget."""

    def __init__(self, budget: Budget, *, public_only: bool = False) -> None:
        """`public_only`: connect to no address that is not of the public internet."""
        self._budget = budget
        self._public_only = public_only
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        """Try the addresses of `host` in turn, each within what is left.

        Resolved here because `socket.create_connection` grants the full time-out to
        every address of the host, and because the address that was judged must be the
        one that is connected to: a name may resolve differently the next moment.
        """
        failure: httpcore.NetworkError | httpcore.TimeoutException | None = None
        for address in _addresses(host, port):
            if self._public_only and not _is_public(address):
                failure = httpcore.ConnectError("not a public address")
                continue
            limit = self._budget.within(timeout)
            try:
                stream = self._inner.connect_tcp(
                    address, port, limit, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return BoundedStream(stream, self._budget)
        raise failure or NameNotResolved(host)

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        limit = self._budget.within(timeout)
        _require_listener(path, limit)
        stream = self._inner.connect_unix_socket(path, limit, socket_options)
        return BoundedStream(stream, self._budget)


class BoundedStream(httpcore.NetworkStream):
    """A connection whose reads and writes stay within the budget of their request."""

    def __init__(self, inner: httpcore.NetworkStream, budget: Budget) -> None:
        self._inner = inner
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._budget.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            limit = self._budget.within(timeout)
            self._budget.sent = True
            self._inner.write(buffer[start : start + _PIECE], limit)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        limit = self._budget.within(timeout)
        stream = self._inner.start_tls(ssl_context, server_hostname, limit)
        return BoundedStream(stream, self._budget)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _require_listener(path: str, timeout: float) -> None:
    """Fail where nobody listens, and close the socket.

    httpcore 1.0.9 leaves it to the garbage collector when its own connect fails.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(timeout)
        try:
            probe.connect(path)
        except OSError as error:
            raise httpcore.ConnectError("nobody listens on the socket") from error


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_global


def _addresses(host: str, port: int) -> list[str]:
    """The numeric addresses of `host`, in the system's order of preference."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameNotResolved(host) from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
