"""The doors of a configuration: who may push what to us, and where."""

from collections import Counter
from collections.abc import Mapping

from syncd.app.directory import Directory
from syncd.app.vendors import remembered
from syncd.clock import Clock
from syncd.config.feeds import fed
from syncd.config.settings import Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    EngageConnection,
    InboxSettings,
    PresentedSecret,
    PushSettings,
)
from syncd.sources.amplitude_push import AmplitudeDoor, AmplitudeDoorSettings
from syncd.sources.door import Accept, Door
from syncd.sources.engage_inbox import (
    EngageDoor,
    EngageDoorSettings,
    SecondFactor,
)
from syncd.sources.presented import Keys


def doors_of(
    settings: Settings, directory: Directory, clock: Clock, accept: Accept
) -> tuple[Door, ...]:
    """One for each connection that is pushed to; `accept` says which ids may go in.

    Reads the secrets that senders present. Raises `SecretUnavailable`.
    """
    readers = _readers(settings)
    doors: list[Door] = []
    for name, connection in settings.connections.items():
        match connection:
            case EngageConnection(inbox=InboxSettings() as inbox):
                doors.append(
                    _engage(settings, name, inbox, directory, readers, clock, accept)
                )
            case AmplitudeConnection(push=PushSettings() as push):
                doors.append(_amplitude(name, push, directory, readers, clock, accept))
            case _:
                pass
    return tuple(doors)


def _readers(settings: Settings) -> Mapping[str, Mapping[str, int]]:
    """Connection -> key -> how many enabled syncs are fed by what is pushed of it."""
    found: dict[str, Counter[str]] = {}
    for sync, feed in fed(settings):
        if sync.enabled:
            found.setdefault(feed.connection, Counter())[feed.key] += 1
    return found


def _engage(
    settings: Settings,
    name: str,
    inbox: InboxSettings,
    directory: Directory,
    readers: Mapping[str, Mapping[str, int]],
    clock: Clock,
    accept: Accept,
) -> EngageDoor:
    factor = inbox.second_factor
    return EngageDoor(
        EngageDoorSettings(
            connection=name,
            path=inbox.path,
            signature=_keys(inbox.signature),
            second_factor=None
            if factor is None
            else SecondFactor(
                header=factor.header, user=factor.user, keys=_keys_of(factor.secret)
            ),
            amplitude_id=inbox.amplitude_id,
            max_body=inbox.max_body,
            entered_without_value=_without_value(settings, name),
            accept=accept,
            clock=clock,
            directory=directory,
            readers=readers.get(name, {}),
        )
    )


def _without_value(settings: Settings, connection: str) -> frozenset[str]:
    """Audiences of which an event without a boolean means that a person entered."""
    return frozenset(
        feed.key
        for sync, feed in fed(settings)
        if feed.connection == connection
        and sync.source.events is not None
        and sync.source.events.without_value == "enter"
    )


def _amplitude(
    name: str,
    push: PushSettings,
    directory: Directory,
    readers: Mapping[str, Mapping[str, int]],
    clock: Clock,
    accept: Accept,
) -> AmplitudeDoor:
    return AmplitudeDoor(
        AmplitudeDoorSettings(
            connection=name,
            path=push.path,
            api_key=_keys(push.api_key),
            webhook_header=push.webhook_header,
            webhook_secret=_keys(push.webhook_secret),
            max_body=push.max_body,
            accept=accept,
            clock=clock,
            directory=directory,
            readers=readers.get(name, {}),
        )
    )


def _keys(secret: PresentedSecret | None) -> Keys | None:
    return None if secret is None else _keys_of(secret)


def _keys_of(secret: PresentedSecret) -> Keys:
    previous = secret.previous
    return Keys(
        current=remembered(secret.secret.read)().encode(),
        previous=None if previous is None else remembered(previous.read)().encode(),
        previous_until=secret.previous_until,
    )
