"""The keys that exist and the types of their values, as the files write them.

One model per map. A key exists once its feature does. What is left out is None here
and gets its default in `resolve`, so that `defaults:` can stand in between. What a
value may refer to comes in through the validation context (`Known`). There are no
model validators: pydantic leaves them out where a field is wrong, and every problem
is wanted at once; rules between keys are in `crosschecks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from syncd.config.inbound_values import SecondOrNever, SpanOrNever
from syncd.config.place import did_you_mean
from syncd.config.schedule_text import BadSchedule, cron, parse
from syncd.config.schema_connections import ConnectionShape
from syncd.config.schema_inbound import WebShape
from syncd.config.schema_notifications import NotificationsShape
from syncd.config.schema_windows import WindowShape
from syncd.config.shape import Shape
from syncd.config.values import (
    AMinute,
    Count,
    DatabaseUrl,
    Days,
    Minutes,
    Name,
    OneSecond,
    Positive,
    Seconds,
    Share,
    ShareOrNever,
    Sql,
    Switch,
    Text,
    Version,
    Zone,
    refuse,
)
from syncd.config.wire_values import Spending, TraitName
from syncd.schedule import Cron, Every, Manual, Once, Schedule

DEFAULT_ZONE = "UTC"
SOURCE_TYPES = ("engage", "amplitude")
TARGET_TYPES = ("amplitude", "engage", "list_api", "property_api")
"""What can stand at each end; which of them go together is in `directions`."""
LARGEST_BATCH = {
    "amplitude": 100_000,
    "engage": 1_000,
    "list_api": 10_000,
    "property_api": 10_000,
}
"""Type of the target → most members in one request: Amplitude's limit of ids, ours
below Segment's 2,500 events (contract/segment.md 6, T4), the size that partners are
told to expect (contract/amplitude.md 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a part of the file may refer to: the validation context."""

    connections: Mapping[str, Any]
    """Name → its raw map."""
    timezone: str = DEFAULT_ZONE
    """The zone of wall-clock schedules that name none."""

    def types(self, wanted: tuple[str, ...]) -> list[str]:
        """Names of the connections of these types."""
        return [name for name in self.connections if self.type_of(name) in wanted]

    def type_of(self, name: str) -> str:
        """The `type:` of a connection; empty when it has none."""
        raw = self.connections.get(name)
        return str(raw.get("type", "")) if isinstance(raw, dict) else ""


class StoreShape(Shape):
    """`store:`"""

    url: DatabaseUrl | None = None
    url_file: Text | None = None
    password_file: Text | None = None
    migrate: Literal["auto", "manual"] = "auto"
    codec: Literal["text", "zstd"] = "text"
    lease: OneSecond | None = None
    replication: Literal["asynchronous", "synchronous"] = "asynchronous"
    keep_runs: Days | None = None
    spool_dir: Text | None = None


class GuardShape(Shape):
    """`guard:`"""

    max_exit: Share | None = None
    max_exit_24h: ShareOrNever | None = None
    max_enter: Share | None = None
    ignore_below: Count | None = None
    on_trip: Literal["hold", "fail"] | None = None


class DeliveryShape(Shape):
    """`delivery:` of a sync."""

    batch_size: Annotated[Positive, Field(le=max(LARGEST_BATCH.values()))] | None = None
    retries: Annotated[Count, Field(le=20)] | None = None
    first_delay: Seconds | None = None
    max_delay: Seconds | None = None
    late_landings: Minutes | None = None


class DefaultDeliveryShape(DeliveryShape):
    """`delivery:` under `defaults:`; so many workers serve each connection."""

    workers: Annotated[Positive, Field(le=64)] | None = None


class Tunable(Shape):
    """What `defaults:` and each sync may say."""

    timezone: Zone | None = None
    match: Literal["user_id", "amplitude_id"] | None = None
    jitter: Minutes | None = None
    catch_up: Literal["once", "skip"] | None = None
    max_runtime: AMinute | None = None
    fresh_within: Minutes | None = None
    blackout: list[str] | None = None
    notify: list[str] | None = None
    guard: GuardShape = GuardShape()


class DefaultsShape(Tunable):
    """`defaults:`"""

    overlap: Literal["skip"] = "skip"
    """A due time that finds its sync still running is skipped and recorded."""
    delivery: DefaultDeliveryShape = DefaultDeliveryShape()


def _known(info: ValidationInfo) -> Known:
    """The validation context: `loader` always gives it."""
    return cast(Known, info.context)


def _connection(name: str, wanted: tuple[str, ...], known: Known) -> str:
    """Refuse a name that is no connection; which pairs exist is in `directions`."""
    if name not in known.connections:
        hint = did_you_mean(name, known.types(wanted) or known.connections)
        refuse("connection.unknown", "no connection '{text}'", hint=hint)
    return name


class FromShape(Shape):
    """`from:`; which keys go with which connection is in `directions`."""

    connection: str
    audience: Text | None = None
    query: Sql | None = None
    freshness_query: Sql | None = None
    max_age: Minutes | None = None
    column: Text | None = None
    path: Text | None = None
    built_on: list[TraitName] = Field(default=[])
    cohort_id: Text | None = None
    max_staleness: AMinute | None = None
    linked: Switch = False
    via: Literal["inbox", "snapshot", "push", "download"] | None = None
    snapshot_lag: Minutes | None = None
    relist_every: SpanOrNever | None = None
    without_value: Literal["ignore", "enter"] | None = None
    run_after: SecondOrNever | None = None

    @field_validator("connection")
    @classmethod
    def _is_known(cls, value: str, info: ValidationInfo) -> str:
        return _connection(value, SOURCE_TYPES, _known(info))


class ToShape(Shape):
    """`to:`; which keys go with which connection is in `directions`."""

    connection: str
    cohort: Text | None = None
    cohort_id: Text | None = None
    owner: Text | None = None
    trait: TraitName | None = None
    list_: TraitName | None = Field(default=None, alias="list")
    list_id: Text | None = None

    @field_validator("connection")
    @classmethod
    def _is_known(cls, value: str, info: ValidationInfo) -> str:
        return _connection(value, TARGET_TYPES, _known(info))


class CronShape(Shape):
    """`schedule:` in its second form."""

    cron: str
    timezone: Zone | None = None


def _schedule(value: Any, info: ValidationInfo) -> Any:
    """Text or `{cron, timezone}` to a schedule, in the sync's zone."""
    zone = info.data.get("timezone") or _known(info).timezone
    if not isinstance(value, str | dict):
        refuse("value.type", "schedule needs text or {cron, timezone}")
    try:
        return schedule_of(value, zone)
    except BadSchedule as error:
        refuse(error.code, error.message, hint=error.hint)


def schedule_of(value: str | dict[str, Any], zone: str) -> Schedule:
    """The schedule a value means. Raises `BadSchedule`, and pydantic's of its map."""
    if isinstance(value, str):
        return parse(value, timezone=zone)
    shape = CronShape.model_validate(value)
    return cron(shape.cron, timezone=shape.timezone or zone)


class SyncShape(Tunable):
    """One entry of `syncs:`"""

    name: Name
    description: str = ""
    owner: str = ""
    from_: FromShape = Field(alias="from")
    to: ToShape
    schedule: Annotated[Every | Cron | Once | Manual, BeforeValidator(_schedule)]
    delivery: DeliveryShape = DeliveryShape()
    budget: Spending | None = None
    heartbeat_url_file: Text | None = None
    heartbeat_url_env: Text | None = None
    enabled: Switch = True


class LogShape(Shape):
    """`log:`"""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Document(Shape):
    """The whole file."""

    version: Version
    instance: Text = "syncd"
    secrets_dir: Text | None = None
    store: StoreShape = StoreShape()
    cluster: Literal["embedded", "procrastinate"] = "embedded"
    connections: dict[Name, Annotated[ConnectionShape, Field(discriminator="type")]] = (
        Field(default_factory=dict)
    )
    defaults: DefaultsShape = DefaultsShape()
    windows: dict[Name, list[WindowShape]] = Field(default_factory=dict)
    syncs: list[SyncShape] = Field(default_factory=list)
    notifications: NotificationsShape = NotificationsShape()
    web: WebShape = WebShape()
    log: LogShape = LogShape()
    shutdown_grace: Seconds | None = None
