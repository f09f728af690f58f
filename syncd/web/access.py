"""Who asks for a page, and whether they may press its buttons.

Everything that people look at passes here: pages and `/api/v1`. Health answers are for
machines and stay open, `/metrics` has a token of its own. Refusals are counted as those
of pages or of the API, never under what was asked for.

Who sees is settled by the sign-in: none (everybody sees, nobody presses), Basic with a
password of each person, or a proxy that people sign in to and that names them in a
header, which is believed from known networks only.
"""

import hmac
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import assert_never
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from syncd.errors import SyncdError
from syncd.sources.door import Refused
from syncd.web.admin import HEALTH_PATIENCE, Endpoint, OneAtATime, Slow
from syncd.web.answers import error_body
from syncd.web.refusals import Denied

Network = IPv4Network | IPv6Network

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
"""What a browser on this machine calls it."""

PAGES, API = "/", "/api/v1"
"""What a refused request is counted under."""

_LONGEST_NAME = 200
_CHALLENGE = 'Basic realm="syncd", charset="UTF-8"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Whoever looks at a page."""

    name: str
    """For the audit trail; empty where nobody signed in."""
    may_act: bool
    """May press buttons."""


ANYBODY = Viewer(name="", may_act=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everybody:
    """Whoever reaches the page sees it."""

    hosts: Collection[str] | None = None
    """Names under which the page may be asked for; None: any. A page on the network
    can have its own name answered with our address, and its script would read ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who signs in to us."""

    password: Callable[[], str] = field(repr=False)
    """Read at each request; may hang, and may raise `SyncdError`."""
    operator: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Basic: people by their names, at least one."""

    users: Mapping[str, Person]


@dataclass(frozen=True, slots=True, kw_only=True)
class BehindProxy:
    """A proxy names people in a header."""

    header: str
    """In lower case."""
    trusted: Sequence[Network]
    operators: Collection[str]


Rule = Everybody | People | BehindProxy


class Access:
    """Answers who asks. Used on the server's loop only."""

    def __init__(
        self,
        rule: Rule,
        denied: Denied,
        *,
        actions: bool = False,
        patience: float = HEALTH_PATIENCE,
    ) -> None:
        """Without `actions` nobody may press anything; `patience` is in seconds."""
        self._rule = rule
        self._denied = denied
        self._actions = actions
        self._passwords: dict[str, OneAtATime[str]] = {}
        if isinstance(rule, People):
            self._passwords = {
                name: OneAtATime(f"web-password-{number}", person.password, patience)
                for number, (name, person) in enumerate(rule.users.items())
            }

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """The same endpoint for those who may see it; `viewer_of` names who asks."""

        async def answer(request: Request) -> Response:
            peer = request.client.host if request.client else ""
            try:
                request.state.viewer = await self.viewer(request.headers, peer)
            except Refused as refused:
                # A browser asks without at first: so it learns to ask for a name.
                if refused.status != 401 or "authorization" in request.headers:
                    self.deny(request)
                return _refusal(refused, request)
            return await endpoint(request)

        return answer

    def guarded(self, routes: Iterable[Route]) -> list[Route]:
        """The same routes, for those who may see what is there."""
        return [
            Route(each.path, self.guard(each.endpoint), methods=each.methods)
            for each in routes
        ]

    async def viewer(self, headers: Headers, peer: str) -> Viewer:
        """Who asks, from the address `peer`. Raises `Refused` (401, 403, 421)."""
        match self._rule:
            case Everybody(hosts=hosts):
                _require_host(headers, hosts)
                return ANYBODY
            case People() as people:
                name = await self._signed_in(headers, people)
                return self._viewer(name, operator=people.users[name].operator)
            case BehindProxy() as proxy:
                name = _named(headers, peer, proxy)
                operators = {one.casefold() for one in proxy.operators}
                return self._viewer(name, operator=name.casefold() in operators)
            case rule:
                assert_never(rule)

    def _viewer(self, name: str, *, operator: bool) -> Viewer:
        return Viewer(name=name, may_act=operator and self._actions)

    def deny(self, request: Request) -> None:
        """Count a request that was refused, as one for pages or for the API."""
        self._denied.add(API if request.url.path.startswith(API) else PAGES)

    async def _signed_in(self, headers: Headers, people: People) -> str:
        name, presented = _presented(headers)
        # Somebody whom nobody knows takes as long as anybody else.
        asked = name if name in people.users else next(iter(people.users))
        try:
            wanted = await self._passwords[asked].answer()
        except (SyncdError, Slow):
            wanted = ""  # a password that cannot be read opens nothing
        # Bytes, since text beyond ASCII cannot be compared in constant time.
        right = hmac.compare_digest(presented.encode(), wanted.encode())
        if wanted == "" or not right or asked != name:
            raise _refused(401, "sign in with a name and a password", "access.sign_in")
        return name


def viewer_of(request: Request) -> Viewer:
    """Who asks, behind `Access.guard`."""
    viewer: Viewer = request.state.viewer
    return viewer


def _presented(headers: Headers) -> tuple[str, str]:
    """(name, password) of Basic; both empty where there are none."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        text = b64decode(encoded.strip(), validate=True).decode()
    except (NotBase64, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _named(headers: Headers, peer: str, proxy: BehindProxy) -> str:
    """Whom the proxy names. Raises `Refused`."""
    if not _is_in(peer, proxy.trusted):
        message = "this address is not one of web.admin.auth.trusted_proxies"
        raise _refused(403, message, "access.untrusted")
    names = headers.getlist(proxy.header)
    # Two: the proxy added its own to the one that somebody sent along.
    if len(names) != 1 or not _is_name(names[0].strip()):
        message = f"the proxy names nobody in {proxy.header}"
        raise _refused(403, message, "access.nobody")
    return names[0].strip()


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and "," not in text


def _is_in(peer: str, networks: Iterable[Network]) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _require_host(headers: Headers, hosts: Collection[str] | None) -> None:
    if hosts is None:
        return
    try:
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        name = ""
    if name not in hosts:
        message = "this page is not known under that name: set web.admin.base_url"
        raise _refused(421, message, "access.host")


def _refused(status: int, message: str, code: str) -> Refused:
    return Refused(status, message, code=code, hint=f"syncd explain {code}")


def _refusal(refused: Refused, request: Request) -> Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if refused.status == 401:
        headers["www-authenticate"] = _CHALLENGE
    if request.url.path.startswith(API):
        body = orjson.dumps(error_body(refused.code, str(refused), refused.hint))
        return Response(body, refused.status, headers, "application/json")
    text = f"{refused}\n{refused.hint}\n"
    return Response(text, refused.status, headers, "text/plain")
