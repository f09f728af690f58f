"""What the rest of the product gets from the files: resolved, immutable values.

Defaults are merged into every sync, names are looked up, durations are `timedelta`,
shares are floats (20% is 0.2), a schedule is a `syncd.schedule` value, and a secret
is a `SecretRef` that has not been read. Only `app` and `cli` see these types.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit, urlunsplit

from syncd.config.place import Place
from syncd.config.secrets import SecretRef
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
    keep_runs: timedelta
    """Age at which finished runs and the ledger are pruned."""
    spool_dir: Path | None
    """Where big lists are partitioned; None is beside the SQLite file."""

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
class WarehouseSnapshot:
    """Audiences are read with SQL from the warehouse that Engage fills."""

    url: str | SecretRef
    tables: Literal["profiles_sync", "engage_users"]
    """Which of the ready-made queries is used when a sync brings no own `query`."""
    schema: str | None
    """Database schema of the tables; None is the connection's `space`."""
    statement_timeout: timedelta
    users_table: str | None
    traits_table: str | None
    identifiers_table: str | None

    def read_url(self) -> str:
        """The URL of the warehouse, read now. Raises `SecretUnavailable`."""
        return self.url.read() if isinstance(self.url, SecretRef) else self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSnapshot:
    """Audiences are read from exported files."""

    path: str
    """Absolute glob; `{audience}` stands for the sync's audience key."""
    format: Literal["auto", "csv", "jsonl"]
    column: str | None
    """Column (CSV) or key (JSONL) of the id; None lets the source find it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a vendor is reached; the same keys for every connection that is asked."""

    base_url: str | None
    """Stands in for the vendor; None is the vendor's host of the region."""
    ca_file: Path | None
    proxy_url: SecretRef | None
    request_deadline: timedelta
    """Total time of one request, real time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedSecret:
    """A secret that a sender presents to us, and the one it replaces."""

    secret: SecretRef
    previous: SecretRef | None
    """Accepted as well while the sender changes over."""
    previous_until: datetime | None
    """When that ends; None is until it is taken out of the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """What proves a whole webhook batch: Segment signs only its first event."""

    header: str
    """Lower case; `authorization` for Basic."""
    user: str | None
    """The user of Basic, where that is used; None for a secret header."""
    secret: PresentedSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxSettings:
    """`inbox:` of an engage connection: Engage pushes entries and exits to us."""

    path: str
    signature: PresentedSecret | None
    """The shared secret of `X-Signature`; None where only the second factor proves."""
    second_factor: SecondFactor | None
    """Batches are accepted only where this is set."""
    amplitude_id: tuple[str, ...]
    """Path of keys to the Amplitude id in an event; empty where events carry none."""
    max_body: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """`push:` of an amplitude connection: Amplitude sends cohorts to us.

    Below `path`: `/lists` (list-based), `/properties` (property-based) and `/webhook`
    (cohort webhook).
    """

    path: str
    api_key: PresentedSecret | None
    """Of list- and property-based syncs: Basic user, or the `api_key` header. None
    closes those paths."""
    webhook_header: str
    """Lower case; the custom header that carries the webhook's secret."""
    webhook_secret: PresentedSecret | None
    """None closes the webhook's path."""
    max_body: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageConnection:
    """One Twilio Engage space, and the Segment source that traits are written to."""

    name: str
    space: str | None
    """Schema prefix of the space in the warehouse."""
    snapshot: WarehouseSnapshot | FilesSnapshot | None
    """How audiences are read; None where the space is only written to."""
    region: Literal["us", "eu"]
    """Which Tracking API the write key belongs to."""
    write_key: SecretRef | None
    """Of the Segment source; None where nothing is written."""
    trait_template: str
    """Name of a trait whose sync names none; `{name}` and `{id}` are the cohort's."""
    integrations: Mapping[str, bool]
    """The `integrations` of every event; `{"All": False}` keeps it in the profiles."""
    max_events_per_second: int
    """Over all workers together."""
    inbox: InboxSettings | None
    """None where Engage pushes nothing to us."""
    api_token: SecretRef | None
    """Of Segment's Public API: sizes of audiences, for free; None does without."""
    space_id: str | None
    """Of the space in that API (`spa_…`); set where there is a token."""
    api_base_url: str | None
    """Stands in for the Public API; None is Segment's host of the region."""
    transport: Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """What a project may spend on downloads (`quota:` of an amplitude connection)."""

    downloads_per_month: int
    """The plan's limit; the live figure wins at run time."""
    reserve: int
    """Never spent by a schedule, so that a person can still act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`budget:` of a sync: at most `downloads` in any `per`."""

    downloads: int
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AmplitudeConnection:
    """One Amplitude project: one key pair, one region."""

    name: str
    region: Literal["us", "eu"]
    app_id: int
    api_key: SecretRef
    secret_key: SecretRef
    owner: str | None
    """Login e-mail of the owner of cohorts that syncd creates."""
    name_prefix: str
    quota: QuotaSettings
    download_deadline: timedelta
    """From asking for a cohort to the last byte of its file."""
    storage_hosts: tuple[str, ...]
    """Hosts (`name` or `.suffix`) a file may come from; empty is any public https
    host."""
    storage_origin: str | None
    """A loopback origin that may serve files over plain http: a simulator."""
    push: PushSettings | None
    """None where Amplitude pushes nothing to us."""
    transport: Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerAccess:
    """How a partner is authenticated against."""

    api_key: SecretRef
    api_key_header: str | None
    """Header that carries the key; None is Basic, key as user and no password."""
    headers: Mapping[str, str]
    """Further headers, not secret."""
    secret_headers: Mapping[str, SecretRef]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListApiConnection:
    """A partner that keeps cohorts as lists of user ids (vendor page 1)."""

    name: str
    access: PartnerAccess
    name_template: str
    """Name of a list whose sync names none; `{name}` and `{id}` are the cohort's."""
    user_ids_key: str
    """Key of the ids in a body; the page has `userIds`."""
    name_key: str
    list_id_key: str
    """Key of the id in the answer to a creation, flat or under `response`."""
    transport: Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyApiConnection:
    """A partner that keeps cohorts as a property of each user (vendor page 1)."""

    name: str
    access: PartnerAccess
    trait_template: str
    """Name of a property whose sync names none; `{name}` and `{id}` are the cohort's"""
    path: str
    """Path of the update call below `base_url`; the page leaves it to the partner."""
    mode: Literal["batch", "single"]
    """One request for up to `batch_size` users, or one for each."""
    traits_key: str
    user_id_key: str
    batch_key: str
    transport: Transport


Connection = (
    EngageConnection | AmplitudeConnection | ListApiConnection | PropertyApiConnection
)


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
