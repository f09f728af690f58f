"""The keys of the page for people: `web.admin`'s address, buttons and sign-in.

Which of them go together is in `admin`; a password is only ever a reference.
"""

import re
from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from syncd.config.inbound_values import AddressOrNone, BasicUser, SecretHeader
from syncd.config.shape import Shape
from syncd.config.values import BaseUrl, Switch, Text, refuse

_OPERATOR = re.compile(r"[^\s,*:@]+(@[^\s,*:@]+)?")


def _page_url(value: str) -> str:
    if urlsplit(value).path:
        hint = "https://syncd.example.com"
        refuse("url.invalid", "the page has no path of its own", hint=hint)
    return value


PageUrl = Annotated[BaseUrl, AfterValidator(_page_url)]
"""How people reach the page: scheme, host, port and nothing else."""


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        hint = "like 10.20.0.0/16 or 127.0.0.1/32, with no bit set behind the prefix"
        refuse("address.invalid", "this is not a network", hint=hint)


Network = Annotated[str, AfterValidator(_network)]


def _operator(value: str) -> str:
    if not _OPERATOR.fullmatch(value):
        message = "this is not the name of one person"
        hint = "each as the proxy names them: ana or ana@acme.example"
        refuse("user.invalid", message, hint=hint)
    return value


Operator = Annotated[Text, AfterValidator(_operator)]


def _map_of_user(value: object) -> object:
    if isinstance(value, str):
        message = "a password may not stand in a config file"
        hint = "put it into a file and name that: {password_file: name}"
        refuse("secret.inline", message, hint=hint)
    return value


class UserShape(Shape):
    """One of `users:`."""

    password_file: Text | None = None
    password_env: Text | None = None
    operator: Switch = False
    """May press buttons; others see the page."""


User = Annotated[UserShape, BeforeValidator(_map_of_user)]


class AuthShape(Shape):
    """`web: {admin: {auth: …}}`"""

    type: Literal["none", "basic", "proxy_header"] = "none"
    users: dict[BasicUser, User] | None = None
    """Of `basic`, by name."""
    header: SecretHeader | None = None
    """Of `proxy_header`: in which the proxy names whoever signed in."""
    trusted_proxies: list[Network] | None = None
    """Networks from which that header is believed."""
    operators: list[Operator] | None = None
    """Who of them may press buttons; everybody else sees the page."""


class AdminShape(Shape):
    """`web: {admin: …}`"""

    listen: AddressOrNone | None = None
    token_file: Text | None = None
    token_env: Text | None = None
    base_url: PageUrl | None = None
    actions: Literal["disabled", "enabled"] = "disabled"
    auth: AuthShape = AuthShape()
