"""The keys of `connections:`, one model per type; the rest is in `schema`.

Which keys go together, and which one a sync needs, is in `crosschecks` and
`directions`.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from syncd.config.schema_inbound import InboxShape, PushShape
from syncd.config.shape import Shape
from syncd.config.values import (
    BaseUrl,
    Count,
    DatabaseUrl,
    Identifier,
    OneSecond,
    Positive,
    Switch,
    Text,
    refuse,
)
from syncd.config.wire_values import (
    HeaderName,
    HeaderValue,
    HostPattern,
    Integration,
    JsonKey,
    LoopbackOrigin,
    PlainHeaderName,
    Template,
    UrlPath,
)

NAME_PREFIX = "[Segment] "
"""Of cohorts that syncd names, so that people see where they come from."""
TRAIT_TEMPLATE = "[Amplitude] {name} ({id})"
"""As Segment's documentation spells the trait (contract/segment.md 8, A2)."""
PARTNER_TEMPLATE = "[Amplitude] {name}: {id}"
"""As vendor page 1 spells lists and properties."""
DOWNLOADS_PER_MONTH = 500
"""Of the Growth and Enterprise plans (contract/amplitude.md 3)."""


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


class TransportShape(Shape):
    """How a vendor is reached."""

    base_url: BaseUrl | None = None
    ca_file: Text | None = None
    proxy_url_file: Text | None = None
    request_deadline: OneSecond | None = None


class EngageShape(TransportShape):
    """A connection of `type: engage`."""

    type: Literal["engage"]
    space: Identifier | None = None
    snapshot: (
        Annotated[WarehouseShape | FilesShape, Field(discriminator="type")] | None
    ) = None
    region: Literal["us", "eu"] = "us"
    write_key_file: Text | None = None
    write_key_env: Text | None = None
    trait_template: Template = TRAIT_TEMPLATE
    integrations: dict[Integration, Switch] = Field(default={"All": True})
    max_events_per_second: Annotated[Positive, Field(le=1_000_000)] = 500
    inbox: InboxShape | None = None
    api_token_file: Text | None = None
    api_token_env: Text | None = None
    api_base_url: BaseUrl | None = None
    space_id: Text | None = None


class QuotaShape(Shape):
    """`quota:` of an amplitude connection."""

    downloads_per_month: Annotated[Positive, Field(le=1_000_000)] = DOWNLOADS_PER_MONTH
    reserve: Count | None = None


class AmplitudeShape(TransportShape):
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
    quota: QuotaShape = QuotaShape()
    download_deadline: OneSecond | None = None
    storage_hosts: list[HostPattern] = Field(default=[".amazonaws.com"])
    storage_origin: LoopbackOrigin | None = None
    push: PushShape | None = None


def _reference(value: Any) -> Any:
    if not isinstance(value, dict):
        message = "a secret may not stand in a config file"
        hint = "put it into a file and name that: {file: name}"
        refuse("secret.inline", message, hint=hint)
    return value


class SecretShape(Shape):
    """Where the value of a header is: one of both."""

    file: Text | None = None
    env: Text | None = None


class PartnerShape(TransportShape):
    """What both kinds of partner share."""

    base_url: BaseUrl
    api_key_file: Text | None = None
    api_key_env: Text | None = None
    api_key_header: HeaderName | None = None
    headers: dict[PlainHeaderName, HeaderValue] = Field(default={})
    secret_headers: dict[
        HeaderName, Annotated[SecretShape, BeforeValidator(_reference)]
    ] = Field(default={})


class ListApiShape(PartnerShape):
    """A connection of `type: list_api` (vendor page 1, list-based)."""

    type: Literal["list_api"]
    name_template: Template = PARTNER_TEMPLATE
    user_ids_key: JsonKey = "userIds"
    name_key: JsonKey = "name"
    list_id_key: JsonKey = "listId"


class PropertyApiShape(PartnerShape):
    """A connection of `type: property_api` (vendor page 1, property-based)."""

    type: Literal["property_api"]
    path: UrlPath = "/"
    mode: Literal["batch", "single"] = "batch"
    trait_template: Template = PARTNER_TEMPLATE
    traits_key: JsonKey = "traits"
    user_id_key: JsonKey = "userId"
    batch_key: JsonKey = "batch"


ConnectionShape = EngageShape | AmplitudeShape | ListApiShape | PropertyApiShape
CONNECTION_SHAPES: dict[str, type[ConnectionShape]] = {
    "engage": EngageShape,
    "amplitude": AmplitudeShape,
    "list_api": ListApiShape,
    "property_api": PropertyApiShape,
}
