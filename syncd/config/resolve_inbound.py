"""`inbox:`, `push:` and `web:` to their settings: defaults filled in, secrets located.

Nothing here can fail: what could is an error of the schema or of `inbound`.
"""

from collections.abc import Iterable

from syncd.config.located import Locator
from syncd.config.resolve_admin import page_of
from syncd.config.schema_inbound import (
    SECRET_HEADER,
    InboxShape,
    PushShape,
    SecondFactorShape,
    WebShape,
)
from syncd.config.settings import Listen, WebSettings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    InboxSettings,
    PushSettings,
    SecondFactor,
)

ONE_EVENT = 1024 * 1024
MANY_EVENTS = 8 * 1024 * 1024
"""Bytes of a body, where batches come."""
INBOUND = Listen(host="0.0.0.0", port=8080)  # noqa: S104 - senders are elsewhere
ADMIN = Listen(host="127.0.0.1", port=8081)
MAX_CONNECTIONS = 1000


def default_path(connection: str) -> str:
    """Where a connection receives when the files say no path."""
    return f"/in/{connection}"


def inbox_of(name: str, shape: InboxShape, locator: Locator) -> InboxSettings:
    """What an engage connection receives."""
    owner = ("connections", name, "inbox")
    usual = ONE_EVENT if shape.second_factor is None else MANY_EVENTS
    return InboxSettings(
        path=shape.path or default_path(name),
        signature=locator.presented(owner, "secret", shape, until="previous_until"),
        second_factor=_second_factor(owner, shape.second_factor, locator),
        amplitude_id=shape.amplitude_id or (),
        max_body=shape.max_body or usual,
    )


def push_of(name: str, shape: PushShape, locator: Locator) -> PushSettings:
    """What an amplitude connection receives."""
    owner = ("connections", name, "push")
    return PushSettings(
        path=shape.path or default_path(name),
        api_key=locator.presented(owner, "api_key", shape, token=True),
        webhook_header=shape.webhook_header,
        webhook_secret=locator.presented(owner, "webhook_secret", shape, header=True),
        max_body=shape.max_body or MANY_EVENTS,
    )


def web_of(
    shape: WebShape, connections: Iterable[Connection], locator: Locator
) -> WebSettings:
    """The servers; none for senders where nothing is received."""
    listen = shape.admin.listen or ADMIN
    receives = any(map(_receives, connections))
    return WebSettings(
        inbound=(shape.inbound.listen or INBOUND) if receives else None,
        admin=None if listen == "none" else listen,
        admin_token=locator.secret(("web", "admin"), "token", shape.admin, token=True),
        page=page_of(shape.admin, locator),
        max_connections=shape.inbound.max_connections or MAX_CONNECTIONS,
    )


def _receives(connection: Connection) -> bool:
    match connection:
        case EngageConnection():
            return connection.inbox is not None
        case AmplitudeConnection():
            return connection.push is not None
        case _:
            return False


def _second_factor(
    owner: tuple[str, ...], shape: SecondFactorShape | None, locator: Locator
) -> SecondFactor | None:
    if shape is None:
        return None
    basic = shape.basic_user is not None
    secret = locator.presented((*owner, "second_factor"), "", shape, header=not basic)
    assert secret is not None  # noqa: S101 - `inbound` refuses a file without it
    usual = "authorization" if basic else SECRET_HEADER
    return SecondFactor(
        header=shape.header or usual, user=shape.basic_user, secret=secret
    )
