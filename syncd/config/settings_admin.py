"""Who may see the page for people, who may press its buttons, where it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from syncd.config.secrets import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAuth:
    """Whoever reaches the page sees it; nobody presses anything."""

    type: Literal["none"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageUser:
    """Somebody who signs in with a password."""

    password: SecretRef
    operator: bool
    """May press buttons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """People sign in to us, with Basic."""

    type: Literal["basic"] = "basic"
    users: Mapping[str, PageUser]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyHeaderAuth:
    """People sign in to a proxy before us, which names them in a header."""

    type: Literal["proxy_header"] = "proxy_header"
    header: str
    """In lower case."""
    trusted_proxies: tuple[str, ...]
    """Networks (`10.20.0.0/16`) from which the header is believed."""
    operators: tuple[str, ...]
    """Who may press buttons, as the proxy names them."""


Auth = NoAuth | BasicAuth | ProxyHeaderAuth


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSettings:
    """`web.admin`, but for where it listens and the token of its metrics."""

    base_url: str | None = None
    """As people reach it, for links: no slash at its end. None: nobody said."""
    actions: Literal["disabled", "enabled"] = "disabled"
    auth: Auth = field(default_factory=NoAuth)
