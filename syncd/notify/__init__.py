"""What people are told, when, and in which words. Pure: no clock, SQL or network.

The way of a notification, one file each:

    Seen          what is wrong now, as `app` reads it from the store
    conditions    Seen and rows -> rows that open, go on and resolve
    messages      rows that are due -> messages: once opened, reminded, resolved once
    slack, standard_webhook
                  a message -> the bytes of one request
    heartbeat     whether the dead man's switch outside is told that all is well
    run_pings     what a heartbeat service is told of each run

Whoever sends them is `app`. No message ever holds a member id.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong. The word is what `events:` of a channel lists; worst first."""

    CONNECTION_STOPPED = "connection_stopped"
    """A vendor refuses the credentials of a connection."""
    HELD = "held"
    """A run waits for a person's decision."""
    FAILING = "failing"
    """Three failures in a row."""
    STALE = "stale"
    """The last success is older than `fresh_within`."""
    DEAD_LETTERS = "dead_letters"
    """Batches were refused for good."""
    REJECTED = "rejected"
    """The last run that sent anything had many ids refused."""
    INBOX_SILENT = "inbox_silent"
    """A size moves, and nothing is pushed."""
    DRIFT = "drift"
    """Read back, more people differ than should."""
    QUOTA = "quota"
    """The downloads of a month run out."""
    CONFIG = "config"
    """A changed configuration was refused, the old one stays."""


RESOLVED = "resolved"
"""Beside the kinds in `events:`: whether the end of a condition is told."""
EVENTS = (*(kind.value for kind in Kind), RESOLVED)
"""Everything that `events:` may list."""


class News(StrEnum):
    """What a message says of its conditions."""

    OPENED = "opened"
    REMINDED = "reminded"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What a channel wants to be told."""

    name: str
    kinds: frozenset[Kind] = frozenset(Kind)
    tells_resolved: bool = True
    repeat_every: timedelta | None = timedelta(hours=12)
    """Of what goes on; None: told once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Something that is wrong at this moment, in finished words."""

    kind: Kind
    subject: str
    """The sync, connection, project or host that it is about."""
    sync: str | None = None
    """Set where the subject is a sync."""
    concerns: tuple[str, ...] = ()
    """Of what is not about a sync: the syncs that suffer; none: everybody's matter."""
    cause: str
    """What is equal in those that are told in one message."""
    headline: str
    """`churn-risk is held: 9,870 of 31,433 people would leave (…)`."""
    context: tuple[str, ...] = ()
    """Short remarks for the second line: `nothing was sent`."""
    usual: str = ""
    """What usually causes it."""
    command: str
    """The first command to type."""
    code: str
    """The page of the runbook: `guard.max_exit`."""
    run_id: str | None = None
    """The run it shows in, where there is one."""

    @property
    def name(self) -> str:
        """`held/churn-risk`, the same in every channel."""
        return f"{self.kind}/{self.subject}"
