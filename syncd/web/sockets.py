"""The sockets that servers listen on: an address of the network, or a path."""

import errno
import os
import resource
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from syncd.errors import DaemonError

BACKLOG = 1024
"""Connections that wait to be accepted; the system may allow fewer."""
_OWN_FILES = 256
"""Descriptors for all else: the store, requests of ours, spools, a health probe."""
_LONGEST_PATH = 100
"""Bytes; the system allows 108 for a socket's path."""
_HINTS = {
    errno.EADDRINUSE: "another process listens there: stop it, or choose another port",
    errno.EACCES: "ports below 1024 belong to root: choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address: 0.0.0.0 is all of them",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """An address in the network."""

    host: str
    """An IPv4 or IPv6 address, or a name, of which the first address counts."""
    port: int
    """0: a free one."""


def allow_connections(count: int) -> None:
    """Let this process hold so many connections beside its own files.

    Each is a descriptor, and the usual soft limit of 1,024 is for programs that use
    select(2); servers raise it themselves. Raises `DaemonError` where the system's hard
    limit is lower: without descriptors the store could not be opened either.
    """
    needed = count + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise DaemonError(
            f"{count} connections need {needed} open files, the system allows {hard}",
            hint="lower web.inbound.max_connections, or raise the limit: ulimit -Hn,"
            " LimitNOFILE= of systemd, --ulimit nofile= of docker",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def reachable_path(path: Path) -> str:
    """The path as the system takes it: a long one through an open folder.

    The folder's descriptor stays open for the life of the process.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{folder}/{path.name}"


def listen(where: Tcp | Path) -> socket.socket:
    """A socket that listens; the path's one may be opened by our own user only.

    Raises `DaemonError` with what to do about it.
    """
    try:
        return _bound_path(where) if isinstance(where, Path) else _bound(where)
    except (OSError, OverflowError, UnicodeError) as error:
        at = str(where) if isinstance(where, Path) else _joined(where.host, where.port)
        cause = getattr(error, "strerror", None) or type(error).__name__
        raise DaemonError(
            f"cannot listen on {at}: {cause}", hint=_hint(where, error)
        ) from None


def _hint(where: Tcp | Path, error: Exception) -> str:
    if isinstance(where, Path):
        return "make the store's folder writable for the daemon"
    number = getattr(error, "errno", None) or 0
    return _HINTS.get(number, "look at the address: host:port, IPv6 in brackets")


def _bound(where: Tcp) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with ExitStack() as on_error:
        listener = socket.socket(family, kind, protocol)
        on_error.enter_context(listener)
        # A daemon that restarts is not kept waiting by connections of the former one.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` is every address, of IPv4 as well.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(BACKLOG)
        on_error.pop_all()
    return listener


def _bound_path(path: Path) -> socket.socket:
    # The store's lock is ours, so a socket that is there belongs to nobody any more.
    path.unlink(missing_ok=True)
    with ExitStack() as on_error:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        on_error.enter_context(listener)
        before = os.umask(0o177)
        try:
            listener.bind(reachable_path(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        on_error.pop_all()
    return listener


def shown(listener: socket.socket) -> tuple[str, int]:
    """The real address, as people write it (`[::1]:8080`), and its port."""
    host, port = listener.getsockname()[:2]
    return _joined(host, port), port


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
