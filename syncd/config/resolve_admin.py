"""`web.admin` to the settings of the page: defaults filled in, passwords located.

Nothing here can fail: what could is an error of the schema or of `admin`.
"""

from collections.abc import Iterator

from syncd.config.located import Locator
from syncd.config.schema_admin import AdminShape, AuthShape
from syncd.config.settings_admin import (
    Auth,
    BasicAuth,
    NoAuth,
    PageSettings,
    PageUser,
    ProxyHeaderAuth,
)

_AUTH = ("web", "admin", "auth")


def page_of(shape: AdminShape, locator: Locator) -> PageSettings:
    """Where the page is, and for whom."""
    return PageSettings(
        base_url=shape.base_url,
        actions=shape.actions,
        auth=_auth(shape.auth, locator),
    )


def _auth(shape: AuthShape, locator: Locator) -> Auth:
    match shape.type:
        case "none":
            return NoAuth()
        case "basic":
            return BasicAuth(users=dict(_users(shape, locator)))
        case "proxy_header":
            return ProxyHeaderAuth(
                header=shape.header or "",
                trusted_proxies=tuple(shape.trusted_proxies or ()),
                operators=tuple(shape.operators or ()),
            )


def _users(shape: AuthShape, locator: Locator) -> Iterator[tuple[str, PageUser]]:
    for name, user in (shape.users or {}).items():
        secret = locator.secret((*_AUTH, "users", name), "password", user)
        assert secret is not None  # noqa: S101 - `admin` refuses a file without it
        yield name, PageUser(password=secret, operator=user.operator)
