"""A valid entry of `connections:` to its settings: defaults filled in, parts located.

Nothing here can fail: what could is an error of the schema or of `crosschecks`.
"""

from datetime import timedelta

from syncd.config.located import Locator
from syncd.config.resolve_inbound import inbox_of, push_of
from syncd.config.schema_connections import (
    AmplitudeShape,
    ConnectionShape,
    EngageShape,
    FilesShape,
    ListApiShape,
    PartnerShape,
    PropertyApiShape,
    QuotaShape,
    TransportShape,
    WarehouseShape,
)
from syncd.config.secrets import SecretRef
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    FilesSnapshot,
    ListApiConnection,
    PartnerAccess,
    PropertyApiConnection,
    QuotaSettings,
    Transport,
    WarehouseSnapshot,
)

REQUEST_DEADLINE = timedelta(seconds=30)
STATEMENT_TIMEOUT = timedelta(minutes=10)
DOWNLOAD_DEADLINE = timedelta(minutes=15)


def connection_of(name: str, shape: ConnectionShape, locator: Locator) -> Connection:
    """The connection a shape describes."""
    match shape:
        case EngageShape():
            return _engage(name, shape, locator)
        case AmplitudeShape():
            return _amplitude(name, shape, locator)
        case ListApiShape():
            return _list_api(name, shape, locator)
        case PropertyApiShape():
            return _property_api(name, shape, locator)


def quota_of(shape: QuotaShape) -> QuotaSettings:
    """The reserve is a tenth of the limit unless it is given."""
    limit = shape.downloads_per_month
    reserve = limit // 10 if shape.reserve is None else shape.reserve
    return QuotaSettings(downloads_per_month=limit, reserve=reserve)


def _engage(name: str, shape: EngageShape, locator: Locator) -> EngageConnection:
    owner = ("connections", name)
    return EngageConnection(
        name=name,
        space=shape.space,
        snapshot=_snapshot(name, shape.snapshot, locator),
        region=shape.region,
        write_key=locator.secret(owner, "write_key", shape, token=True),
        trait_template=shape.trait_template,
        integrations=shape.integrations,
        max_events_per_second=shape.max_events_per_second,
        inbox=inbox_of(name, shape.inbox, locator) if shape.inbox else None,
        api_token=locator.secret(owner, "api_token", shape, token=True),
        api_base_url=shape.api_base_url,
        space_id=shape.space_id,
        transport=_transport(name, shape, locator),
    )


def _snapshot(
    name: str, shape: WarehouseShape | FilesShape | None, locator: Locator
) -> WarehouseSnapshot | FilesSnapshot | None:
    owner = ("connections", name, "snapshot")
    match shape:
        case WarehouseShape() as warehouse:
            return WarehouseSnapshot(
                url=locator.url(owner, warehouse.url, warehouse),
                tables=warehouse.tables,
                schema=warehouse.schema_,
                statement_timeout=warehouse.statement_timeout or STATEMENT_TIMEOUT,
                users_table=warehouse.users_table,
                traits_table=warehouse.traits_table,
                identifiers_table=warehouse.identifiers_table,
            )
        case FilesShape() as files:
            return FilesSnapshot(
                path=str(locator.path((*owner, "path"), files.path)),
                format=files.format,
                column=files.column,
            )
        case None:
            return None


def _amplitude(
    name: str, shape: AmplitudeShape, locator: Locator
) -> AmplitudeConnection:
    owner = ("connections", name)
    return AmplitudeConnection(
        name=name,
        region=shape.region,
        app_id=shape.app_id,
        api_key=_needed(locator.secret(owner, "api_key", shape, token=True)),
        secret_key=_needed(locator.secret(owner, "secret_key", shape, token=True)),
        owner=shape.owner,
        name_prefix=shape.name_prefix,
        quota=quota_of(shape.quota),
        download_deadline=shape.download_deadline or DOWNLOAD_DEADLINE,
        storage_hosts=tuple(shape.storage_hosts),
        storage_origin=shape.storage_origin,
        push=push_of(name, shape.push, locator) if shape.push else None,
        transport=_transport(name, shape, locator),
    )


def _list_api(name: str, shape: ListApiShape, locator: Locator) -> ListApiConnection:
    return ListApiConnection(
        name=name,
        access=_access(name, shape, locator),
        name_template=shape.name_template,
        user_ids_key=shape.user_ids_key,
        name_key=shape.name_key,
        list_id_key=shape.list_id_key,
        transport=_transport(name, shape, locator),
    )


def _property_api(
    name: str, shape: PropertyApiShape, locator: Locator
) -> PropertyApiConnection:
    return PropertyApiConnection(
        name=name,
        access=_access(name, shape, locator),
        trait_template=shape.trait_template,
        path=shape.path,
        mode=shape.mode,
        traits_key=shape.traits_key,
        user_id_key=shape.user_id_key,
        batch_key=shape.batch_key,
        transport=_transport(name, shape, locator),
    )


def _access(name: str, shape: PartnerShape, locator: Locator) -> PartnerAccess:
    owner = ("connections", name)
    return PartnerAccess(
        api_key=_needed(locator.secret(owner, "api_key", shape, token=True)),
        api_key_header=shape.api_key_header,
        headers=shape.headers,
        secret_headers=locator.headers(
            (*owner, "secret_headers"), shape.secret_headers
        ),
    )


def _transport(name: str, shape: TransportShape, locator: Locator) -> Transport:
    return Transport(
        base_url=shape.base_url,
        ca_file=locator.secrets_dir / shape.ca_file if shape.ca_file else None,
        proxy_url=locator.secret(("connections", name), "proxy_url", shape),
        request_deadline=shape.request_deadline or REQUEST_DEADLINE,
    )


def _needed(secret: SecretRef | None) -> SecretRef:
    assert secret is not None  # noqa: S101 - crosschecks refuse a file without it
    return secret
