"""`notifications:` to its settings: defaults filled in, secrets located.

Nothing here can fail: what could is an error of the schema or of `notifications`.
"""

from datetime import timedelta

from syncd.config.findings import Path as KeyPath
from syncd.config.located import Locator
from syncd.config.schema_notifications import (
    ChannelShape,
    HeartbeatShape,
    NotificationsShape,
    OutwardShape,
    SlackShape,
    WebhookShape,
)
from syncd.config.secrets import SecretRef
from syncd.config.settings_notifications import (
    ChannelSettings,
    HeartbeatSettings,
    NotificationSettings,
    Outward,
    SlackSettings,
    WebhookSettings,
)
from syncd.notify import EVENTS

REPEAT_EVERY = timedelta(hours=12)
EVERY = timedelta(minutes=5)


def notifications_of(
    shape: NotificationsShape, locator: Locator
) -> NotificationSettings:
    """Every channel, and the heartbeat where there is one."""
    return NotificationSettings(
        channels={
            name: _channel(name, each, locator) for name, each in shape.channels.items()
        },
        heartbeat=_heartbeat(shape.heartbeat, locator) if shape.heartbeat else None,
    )


def _channel(
    name: str, shape: SlackShape | WebhookShape, locator: Locator
) -> ChannelSettings:
    owner = ("notifications", "channels", name)
    match shape:
        case SlackShape():
            return SlackSettings(
                name=name,
                outward=_outward(owner, "webhook_url", shape, locator),
                events=_events(shape),
                repeat_every=_repeat_every(shape),
            )
        case WebhookShape():
            return WebhookSettings(
                name=name,
                outward=_outward(owner, "url", shape, locator),
                events=_events(shape),
                repeat_every=_repeat_every(shape),
                secret=_needed(locator.secret(owner, "secret", shape, token=True)),
                previous_secret=locator.secret(
                    owner, "previous_secret", shape, token=True
                ),
            )


def _heartbeat(shape: HeartbeatShape, locator: Locator) -> HeartbeatSettings:
    return HeartbeatSettings(
        outward=_outward(("notifications", "heartbeat"), "url", shape, locator),
        every=shape.every or EVERY,
        only_when=shape.only_when,
        method=shape.method,
    )


def _outward(
    owner: KeyPath, name: str, shape: OutwardShape, locator: Locator
) -> Outward:
    return Outward(
        url=_needed(locator.secret(owner, name, shape, token=True)),
        ca_file=locator.secrets_dir / shape.ca_file if shape.ca_file else None,
        proxy_url=locator.secret(owner, "proxy_url", shape),
    )


def _events(shape: ChannelShape) -> tuple[str, ...]:
    written = EVENTS if shape.events is None else shape.events
    return tuple(dict.fromkeys(written))


def _repeat_every(shape: ChannelShape) -> timedelta | None:
    if shape.repeat_every == "never":
        return None
    return REPEAT_EVERY if shape.repeat_every is None else shape.repeat_every


def _needed(secret: SecretRef | None) -> SecretRef:
    assert secret is not None  # noqa: S101 - `notifications` refuses a file without it
    return secret
