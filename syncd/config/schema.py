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

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from syncd.config.place import did_you_mean
from syncd.config.schedule_text import BadSchedule, cron, parse
from syncd.config.values import (
    AMinute,
    BaseUrl,
    Count,
    DatabaseUrl,
    Days,
    Identifier,
    Minutes,
    Name,
    OneSecond,
    Positive,
    Seconds,
    Share,
    Sql,
    Switch,
    Text,
    Version,
    Zone,
    refuse,
)
from syncd.schedule import Cron, Every, Manual, Once

DEFAULT_ZONE = "UTC"
NAME_PREFIX = "[Segment] "
"""Of cohorts that syncd names, so that people see where they come from."""
CONNECTION_TYPES = ("engage", "amplitude")
LARGEST_BATCH = 100_000
"""Amplitude's limit of ids in one membership request (contract/amplitude.md 6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a part of the file may refer to: the validation context."""

    connections: Mapping[str, Any]
    """Name → its raw map."""
    timezone: str = DEFAULT_ZONE
    """The zone of wall-clock schedules that name none."""

    def types(self, wanted: str) -> list[str]:
        """Names of the connections of one type."""
        return [name for name in self.connections if self.type_of(name) == wanted]

    def type_of(self, name: str) -> str:
        """The `type:` of a connection; empty when it has none."""
        raw = self.connections.get(name)
        return str(raw.get("type", "")) if isinstance(raw, dict) else ""


class Shape(BaseModel):
    """Strict: unknown keys and wrong types are errors, input is never quoted."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )


class StoreShape(Shape):
    """`store:`"""

    url: DatabaseUrl | None = None
    url_file: Text | None = None
    password_file: Text | None = None
    migrate: Literal["auto", "manual"] = "auto"
    keep_runs: Days | None = None
    spool_dir: Text | None = None


class WarehouseShape(Shape):
    """`snapshot: {type: warehouse}`"""

    type: Literal["warehouse"]
    url: DatabaseUrl | None = None
    url_file: Text | None = None
    tables: Literal["profiles_sync", "engage_users"] = "profiles_sync"
    schema_: Identifier | None = Field(default=None, alias="schema")
    statement_timeout: OneSecond | None = None
    users_table: Identifier | None = None
    traits_table: Identifier | None = None
    identifiers_table: Identifier | None = None


class FilesShape(Shape):
    """`snapshot: {type: files}`"""

    type: Literal["files"]
    path: Text
    format: Literal["auto", "csv", "jsonl"] = "auto"
    column: Text | None = None


class EngageShape(Shape):
    """A connection of `type: engage`."""

    type: Literal["engage"]
    space: Identifier | None = None
    snapshot: Annotated[WarehouseShape | FilesShape, Field(discriminator="type")]


class AmplitudeShape(Shape):
    """A connection of `type: amplitude`."""

    type: Literal["amplitude"]
    region: Literal["us", "eu"]
    app_id: Positive
    api_key_file: Text | None = None
    api_key_env: Text | None = None
    secret_key_file: Text | None = None
    secret_key_env: Text | None = None
    owner: Text | None = None
    name_prefix: str = NAME_PREFIX
    base_url: BaseUrl | None = None
    ca_file: Text | None = None
    proxy_url_file: Text | None = None
    request_deadline: OneSecond | None = None


class GuardShape(Shape):
    """`guard:`"""

    max_exit: Share | None = None
    max_enter: Share | None = None
    ignore_below: Count | None = None
    on_trip: Literal["hold", "fail"] | None = None


class DeliveryShape(Shape):
    """`delivery:` of a sync."""

    batch_size: Annotated[Positive, Field(le=LARGEST_BATCH)] | None = None
    retries: Annotated[Count, Field(le=20)] | None = None
    first_delay: Seconds | None = None
    max_delay: Seconds | None = None


class DefaultDeliveryShape(DeliveryShape):
    """`delivery:` under `defaults:`; the workers serve all syncs together."""

    workers: Annotated[Positive, Field(le=64)] | None = None


class Tunable(Shape):
    """What `defaults:` and each sync may say."""

    timezone: Zone | None = None
    match: Literal["user_id", "amplitude_id"] | None = None
    jitter: Minutes | None = None
    catch_up: Literal["once", "skip"] | None = None
    max_runtime: AMinute | None = None
    fresh_within: Minutes | None = None
    guard: GuardShape = GuardShape()


class DefaultsShape(Tunable):
    """`defaults:`"""

    overlap: Literal["skip"] = "skip"
    """A due time that finds its sync still running is skipped and recorded."""
    delivery: DefaultDeliveryShape = DefaultDeliveryShape()


def _known(info: ValidationInfo) -> Known:
    """The validation context: `loader` always gives it."""
    return cast(Known, info.context)


def _known_connection(name: str, wanted: str, known: Known) -> str:
    """Refuse a name that is no connection, or one of the wrong type."""
    if name not in known.connections:
        hint = did_you_mean(name, known.types(wanted) or known.connections)
        refuse("connection.unknown", "no connection '{text}'", hint=hint)
    found = known.type_of(name)
    if found in CONNECTION_TYPES and found != wanted:
        message = f"'{{text}}' is of type {found}, {wanted} is needed here"
        hint = "these pairs exist: from engage, to amplitude"
        refuse("connection.pair", message, hint=hint)
    return name


class FromShape(Shape):
    """`from:`"""

    connection: str
    audience: Text
    query: Sql | None = None
    freshness_query: Sql | None = None
    max_age: Minutes | None = None
    column: Text | None = None
    path: Text | None = None

    @field_validator("connection")
    @classmethod
    def _is_engage(cls, value: str, info: ValidationInfo) -> str:
        return _known_connection(value, "engage", _known(info))


class ToShape(Shape):
    """`to:`"""

    connection: str
    cohort: Text | None = None
    cohort_id: Text | None = None
    owner: Text | None = None

    @field_validator("connection")
    @classmethod
    def _is_amplitude(cls, value: str, info: ValidationInfo) -> str:
        return _known_connection(value, "amplitude", _known(info))


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
        if isinstance(value, str):
            return parse(value, timezone=zone)
        shape = CronShape.model_validate(value)
        return cron(shape.cron, timezone=shape.timezone or zone)
    except BadSchedule as error:
        refuse(error.code, error.message, hint=error.hint)


class SyncShape(Tunable):
    """One entry of `syncs:`"""

    name: Name
    description: str = ""
    owner: str = ""
    from_: FromShape = Field(alias="from")
    to: ToShape
    schedule: Annotated[Every | Cron | Once | Manual, BeforeValidator(_schedule)]
    delivery: DeliveryShape = DeliveryShape()
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
    connections: dict[
        Name, Annotated[EngageShape | AmplitudeShape, Field(discriminator="type")]
    ] = Field(default_factory=dict)
    defaults: DefaultsShape = DefaultsShape()
    syncs: list[SyncShape] = Field(default_factory=list)
    log: LogShape = LogShape()
    shutdown_grace: Seconds | None = None
