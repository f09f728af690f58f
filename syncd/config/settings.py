"""What the rest of the product gets from the files: resolved, immutable values.

Defaults are merged into every sync, names are looked up, durations are `timedelta`,
shares are floats (20% is 0.2), a schedule is a `syncd.schedule` value, and a secret
is a `SecretRef` that has not been read. Only `app` and `cli` see these types.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from syncd.config.place import Place
from syncd.config.secrets import SecretRef
from syncd.config.settings_admin import PageSettings
from syncd.config.settings_connections import Connection
from syncd.config.settings_notifications import NotificationSettings
from syncd.errors import Problem
from syncd.model import IdType
from syncd.schedule import Schedule
from syncd.windows import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where the state lives."""

    url: str | SecretRef
    """A SQLAlchemy URL without a password, or the secret that holds a whole URL."""
    password: SecretRef | None
    """Put into the URL when it is read."""
    migrate: Literal["auto", "manual"]
    lease: timedelta
    """How long a process may be silent before another one takes its syncs over."""
    replication: Literal["asynchronous", "synchronous"]
    """Whether a failover of the database may lose its last commits."""
    keep_runs: timedelta
    """Age at which finished runs and the ledger are pruned."""
    spool_dir: Path | None
    """Where big lists are partitioned; None is beside the SQLite file."""
    codec: Literal["text", "zstd"] = "text"
    """How members are written down; whatever is there is read, either way."""

    def read_url(self) -> str:
        """The URL with its password, read now. Raises `SecretUnavailable`."""
        url = self.url.read() if isinstance(self.url, SecretRef) else self.url
        if self.password is None:
            return url
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        login = f"{user.partition(':')[0]}:{quote(self.password.read(), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`budget:` of a sync: at most `downloads` in any `per`."""

    downloads: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """When a plan is held. Shares are of the acknowledged and uncertain ids."""

    max_exit: float
    max_enter: float
    ignore_below: int
    """Fewer changes than this never trip `max_exit`, `max_exit_24h`, `max_enter`."""
    on_trip: Literal["hold", "fail"]
    max_exit_24h: float | None = 0.40
    """Of those who were there 24 hours ago; None: never held by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How the batches of one sync are sent."""

    batch_size: int
    retries: int
    """Attempts after the first one."""
    first_delay: timedelta
    """Wait before the first retry; doubles each time."""
    max_delay: timedelta
    late_landings: timedelta = timedelta(hours=1)
    """How long a request without a known outcome may still take effect; 0: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """How a sync reads what is pushed to us."""

    snapshot_lag: timedelta
    """A whole list says nothing about a person of whom something newer than its age
    plus this was pushed."""
    relist_every: timedelta | None
    """A whole list is read that often to find what was never pushed; None: never."""
    without_value: Literal["ignore", "enter"]
    """What an event without a boolean means: journeys of the old kind send none."""
    run_after: timedelta | None = None
    """So long after news first arrived it is read, beside the schedule; None: the
    schedule alone decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromAudience:
    """The Engage audience a sync reads (`from:`)."""

    connection: str
    audience: str
    """The audience's key in Engage."""
    query: str | None
    """Own SQL that returns ids; None is the ready-made query."""
    freshness_query: str | None
    """SQL for one timestamp: when the warehouse was last filled."""
    max_age: timedelta | None
    """A source older than this is not believed."""
    column: str | None
    path: str | None
    """Absolute glob that replaces the connection's."""
    events: Events | None
    """Set where it is read by events (`via: inbox`); None: by whole lists alone."""
    built_on: tuple[str, ...]
    """Traits that the audience's definition uses, for finding rings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromCohort:
    """The Amplitude cohort a sync reads (`from:`)."""

    connection: str
    cohort_id: str
    max_staleness: timedelta
    """A list older than this is downloaded anew although nothing seems changed."""
    events: Events | None
    """Set where it is read by pushes (`via: push`); None: by downloads alone."""
    linked: bool
    """Read it although syncd or Segment writes it: a person wants it so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCohort:
    """The Amplitude cohort a sync writes (`to:`)."""

    connection: str
    cohort_id: str | None
    """Set when the sync is bound to an existing cohort."""
    cohort: str
    """The cohort's name: as written, else `name_prefix` + audience key."""
    owner: str | None
    """Login e-mail; None only where `cohort_id` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToTrait:
    """The trait or property a sync writes (`to:` Engage or a property API)."""

    connection: str
    trait: str | None
    """As written; None follows the connection's template once, then stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToList:
    """The partner's list a sync writes (`to:` a list API)."""

    connection: str
    list: str | None
    """Its name as written; None follows the connection's template once."""
    list_id: str | None
    """Set when the sync is bound to an existing list."""


Source = FromAudience | FromCohort
Destination = ToCohort | ToTrait | ToList


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSettings:
    """One source to one destination, with the defaults merged in."""

    name: str
    description: str
    team: str
    """The sync's `owner:`, a team's name for people; empty when not given."""
    source: Source
    target: Destination
    match: IdType
    schedule: Schedule
    timezone: str
    """IANA zone in which its times are shown."""
    jitter: timedelta
    catch_up: Literal["once", "skip"]
    max_runtime: timedelta
    fresh_within: timedelta | None
    """Older than this is stale; None (`once`, `manual`) never is."""
    guard: GuardSettings
    delivery: DeliverySettings
    budget: Budget | None
    """How many downloads it may cause; None leaves that to its schedule."""
    enabled: bool
    place: Place
    """Where the sync is defined."""
    blackout: tuple[Window, ...] = ()
    """No run begins by itself inside of these."""
    notify: tuple[str, ...] | None = None
    """The channels that hear of it; None: all."""
    heartbeat_url: SecretRef | None = None
    """A service that is told when each run begins and how it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How log lines look and which are written."""

    format: Literal["auto", "console", "json"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server listens."""

    host: str
    port: int
    """0: a free one, which the log names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """`web:`"""

    inbound: Listen | None
    """For senders; None where no connection has an inbox or takes pushes."""
    admin: Listen | None
    """For health, metrics and pages; None where it is switched off."""
    admin_token: SecretRef | None
    """Asked for where the admin server listens beyond this machine."""
    max_connections: int
    """At the inbound port; one more is closed at once."""
    page: PageSettings = field(default_factory=PageSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the files, the environment and the defaults say together."""

    instance: str
    store: StoreSettings
    connections: Mapping[str, Connection]
    syncs: tuple[SyncSettings, ...]
    """In the order in which they are written."""
    delivery_workers: int
    web: WebSettings
    log: LogSettings
    shutdown_grace: timedelta
    cluster: Literal["embedded", "procrastinate"] = "embedded"
    """Whether due runs are run by the daemon, or deferred to workers."""
    notifications: NotificationSettings = field(default_factory=NotificationSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A valid configuration and what was seen while reading it."""

    settings: Settings
    warnings: tuple[Problem, ...]
    files: tuple[str, ...]
    """Every file read, as shown to people, in reading order."""
    config_hash: str
    """`sha256:` and 8 hex digits of the resolved settings; equal means same effect."""
    sources: Mapping[str, tuple[str, ...]]
    """File → its lines, for showing problems."""
