"""Whom to tell what is wrong, and whom that all is well, as the files mean it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from syncd.config.secrets import SecretRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """How somebody outside is reached."""

    url: SecretRef
    """Https, or http on loopback."""
    ca_file: Path | None
    proxy_url: SecretRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """A channel of `type: slack`."""

    name: str
    outward: Outward
    events: tuple[str, ...]
    """Words of `syncd.notify.EVENTS`."""
    repeat_every: timedelta | None
    """None: told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """A channel of `type: webhook`."""

    name: str
    outward: Outward
    events: tuple[str, ...]
    repeat_every: timedelta | None
    secret: SecretRef
    previous_secret: SecretRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings:
    """`heartbeat:`"""

    outward: Outward
    every: timedelta
    only_when: Literal["alive", "all_fresh"]
    method: Literal["GET", "POST"]


ChannelSettings = SlackSettings | WebhookSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationSettings:
    """`notifications:`"""

    channels: Mapping[str, ChannelSettings] = field(default_factory=dict)
    heartbeat: HeartbeatSettings | None = None
