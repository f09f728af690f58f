"""The keys of what people are told: `notifications:`.

Addresses are secrets: whoever knows Slack's or the dead man's switch's may use it.
"""

from typing import Annotated, Literal

from pydantic import Field

from syncd.config.inbound_values import SpanOrNever
from syncd.config.shape import Shape
from syncd.config.values import AMinute, Name, Text

Event = Literal[
    "connection_stopped",
    "held",
    "failing",
    "stale",
    "dead_letters",
    "rejected",
    "inbox_silent",
    "drift",
    "quota",
    "config",
    "resolved",
]
"""The words of `syncd.notify.EVENTS`."""


class OutwardShape(Shape):
    """How somebody outside is reached, beside their address."""

    ca_file: Text | None = None
    proxy_url_file: Text | None = None


class ChannelShape(OutwardShape):
    """What every channel has."""

    events: list[Event] | None = None
    repeat_every: SpanOrNever | None = None


class SlackShape(ChannelShape):
    """A channel of `type: slack`: an incoming webhook."""

    type: Literal["slack"]
    webhook_url_file: Text | None = None
    webhook_url_env: Text | None = None


class WebhookShape(ChannelShape):
    """A channel of `type: webhook`, signed as Standard Webhooks says."""

    type: Literal["webhook"]
    url_file: Text | None = None
    url_env: Text | None = None
    secret_file: Text | None = None
    """`whsec_…`; what receivers check the signature with."""
    secret_env: Text | None = None
    previous_secret_file: Text | None = None
    """Signed with as well, until every receiver has the new one."""
    previous_secret_env: Text | None = None


class HeartbeatShape(OutwardShape):
    """`heartbeat:`, the dead man's switch outside."""

    url_file: Text | None = None
    url_env: Text | None = None
    every: AMinute | None = None
    only_when: Literal["alive", "all_fresh"] = "all_fresh"
    method: Literal["GET", "POST"] = "GET"


class NotificationsShape(Shape):
    """`notifications:`"""

    channels: dict[
        Name, Annotated[SlackShape | WebhookShape, Field(discriminator="type")]
    ] = Field(default_factory=dict)
    heartbeat: HeartbeatShape | None = None


CHANNEL_SHAPES: dict[str, type[SlackShape | WebhookShape]] = {
    "slack": SlackShape,
    "webhook": WebhookShape,
}
