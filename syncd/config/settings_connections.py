"""How each outside system is reached: the connections of the files, resolved.

As in `settings`: a secret is a `SecretRef` that has not been read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from syncd.config.secrets import SecretRef


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
