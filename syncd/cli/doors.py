"""Where a configuration listens, and who may send what there. Reads no secret."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from syncd.config.settings import Listen, Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    InboxSettings,
    PushSettings,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLine:
    """One path that senders are told."""

    connection: str
    address: str
    """`0.0.0.0:8080`; empty where nothing listens for senders."""
    path: str
    takes: tuple[str, ...]
    """What may come in, in words."""


def doors(settings: Settings) -> list[DoorLine]:
    """Of every connection that is pushed to, in the order of the files."""
    listen = settings.web.inbound
    address = address_of(listen) if listen is not None else ""
    found = []
    for name, each in settings.connections.items():
        match each:
            case EngageConnection(inbox=InboxSettings() as inbox):
                path, takes = inbox.path, tuple(_of_inbox(inbox))
            case AmplitudeConnection(push=PushSettings() as push):
                path, takes = push.path, tuple(_of_push(push))
            case _:
                continue
        line = DoorLine(connection=name, address=address, path=path, takes=takes)
        found.append(line)
    return found


def address_of(listen: Listen) -> str:
    """As people write it: `127.0.0.1:8080`, `[::]:8080`."""
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{host}:{listen.port}"


def listening(settings: Settings) -> Iterator[str]:
    """A line for each door, and one for the admin server."""
    for door in doors(settings):
        where = door.address or "no address"
        yield f"listens: {where} {door.path} ({', '.join(door.takes)})"
    admin = settings.web.admin
    if admin is not None:
        token = " with a token" if settings.web.admin_token is not None else ""
        yield f"admin: {address_of(admin)} (page, health, metrics{token})"


def doors_document(settings: Settings) -> dict[str, Any]:
    """`listens` of `check --json`."""
    admin = settings.web.admin
    return {
        "inbound": [
            {
                "connection": each.connection,
                "address": each.address or None,
                "path": each.path,
                "takes": list(each.takes),
            }
            for each in doors(settings)
        ],
        "admin": address_of(admin) if admin is not None else None,
    }


def _of_inbox(inbox: InboxSettings) -> Iterator[str]:
    if inbox.signature is not None:
        yield "signed"
    if inbox.second_factor is None:
        yield "single events"
        return
    basic = inbox.second_factor.user is not None
    factor = "Basic" if basic else f"header {inbox.second_factor.header}"
    yield f"batches with {factor}"


def _of_push(push: PushSettings) -> Iterator[str]:
    if push.api_key is not None:
        yield "/lists and /properties with an API key"
    if push.webhook_secret is not None:
        yield f"/webhook with header {push.webhook_header}"
