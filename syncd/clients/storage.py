"""Storage: the file behind a signed link, fetched without any credentials.

Amplitude answers with a link to its storage (S3), valid for a minute (contract 4.4).
The link is outside data and a secret at once: whoever has it has the list, and
whoever may choose it decides whom we talk to. So there is no way to give this client
credentials, it goes to public https hosts only, follows nothing, and never shows more
of a link than its host.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

from syncd.clients.http import Answer, HttpClient
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault

_LONGEST_LINK = 8192
"""Characters. Signed links with a session token are near 2,000."""

_PRINTABLE = re.compile(r"[!-~]+")
_PUBLIC_NAME = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])"
)
"""Two labels or more, and the last one begins with a letter: no form of an IP address
(also `127.1` or `0x7f.0.0.1`) ends so."""

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain")


@dataclass(frozen=True, slots=True)
class _Place:
    """A link that may be fetched, taken apart."""

    origin: str
    path: str = field(repr=False)
    """With the query, which holds the signature."""
    public_only: bool


class StorageClient:
    """Fetches files by link. Thread-safe; every file has a connection of its own."""

    def __init__(
        self,
        *,
        clock: Clock,
        hosts: Sequence[str] = (),
        origin: str | None = None,
        proxy_url: str | None = None,
        ca_file: Path | None = None,
        api: str = "",
    ) -> None:
        """`hosts` are names or `.suffixes`; none means any public host.

        Named hosts are trusted, so they may resolve to a private address (a gateway to
        the storage in one's own network). `origin` is a loopback `http://host:port`
        that may serve files too: a simulator. `api` as of `HttpClient`.
        """
        self._api = api
        self._clock = clock
        self._hosts = tuple(host.lower() for host in hosts)
        self._origin = origin.rstrip("/") if origin else None
        self._proxy_url = proxy_url
        self._ca_file = ca_file

    def get(
        self,
        link: str,
        take: Callable[[bytes], object],
        *,
        max_bytes: int,
        deadline: float,
    ) -> Answer:
        """Hand the raw body behind `link` to `take`, as `HttpClient.stream` does.

        Raises `DeliveryError` (refused, `bad_response`) for a link that must not be
        followed, before any byte is sent, and `TransportError`.
        """
        place = self._place(link)
        with HttpClient(
            place.origin,
            clock=self._clock,
            workers=1,
            proxy_url=self._proxy_url,
            ca_file=self._ca_file,
            public_only=place.public_only,
            api=self._api,
        ) as http:
            return http.stream(
                "GET",
                place.path,
                take,
                max_bytes=max_bytes,
                deadline=deadline,
                headers=FILE_HEADERS,
                operation="storage",
            )

    def _place(self, link: str) -> _Place:
        parts = _parts(link)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self._origin and f"{parts.scheme}://{parts.netloc}" == self._origin:
            return _Place(self._origin, path, public_only=False)
        host = parts.netloc.lower().removesuffix(":443")
        if parts.scheme != "https" or not _PUBLIC_NAME.fullmatch(host):
            _refuse(parts, "only https to a public name is followed")
        if host.endswith(_PRIVATE_SUFFIXES):
            _refuse(parts, "that is no public name")
        if self._hosts and not any(_matches(host, named) for named in self._hosts):
            _refuse(parts, "it is none of the connection's `storage_hosts`")
        return _Place(f"https://{host}", path, public_only=not self._hosts)


FILE_HEADERS = {"accept": "text/csv, */*", "accept-encoding": "gzip"}
"""What a file is asked for with. Packed it is smaller, and shows where it ends."""


def _parts(link: str) -> SplitResult:
    """The link taken apart; anything two readers might take apart differently is none.

    urlsplit drops tabs and newlines, some readers take a backslash for a slash, and a
    user name before an `@` hides the host.
    """
    nowhere = urlsplit("")
    if len(link) > _LONGEST_LINK or not _PRINTABLE.fullmatch(link) or "\\" in link:
        _refuse(nowhere, "it is no plain address")
    try:
        parts = urlsplit(link)
    except ValueError:
        _refuse(nowhere, "it is no address")
    if "@" in parts.netloc:
        _refuse(nowhere, "it names a user")
    return parts


def _matches(host: str, named: str) -> bool:
    return host.endswith(named) if named.startswith(".") else host == named


def _refuse(parts: SplitResult, why: str) -> NoReturn:
    """Names the host at most, and of a strange one only what is printable and short."""
    host = re.sub(r"[^A-Za-z0-9.:_-]", "?", parts.netloc)[:100] or "(no host)"
    raise DeliveryError(
        f"the file's link leads to {host}: {why}",
        fault=Fault.REFUSED,
        error_type="bad_response",
        hint="is this Amplitude's storage? name it in `storage_hosts`: syncd check",
    )
