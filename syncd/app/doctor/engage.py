"""A Twilio Engage space: where its audiences are read, and what is written to.

Reads no audience of a warehouse (that may cost), only whether it could be read.
"""

from collections.abc import Iterator

from syncd.app.doctor.findings import Finding, failed, ok, warn
from syncd.app.reading import whole_list_of
from syncd.app.vendors import Vendors
from syncd.clients.segment_public import AudienceSizes
from syncd.clients.segment_settings import WriteKeyCheck
from syncd.clock import Clock
from syncd.config.settings import FromAudience, Settings, SyncSettings
from syncd.config.settings_connections import EngageConnection
from syncd.errors import SourceError
from syncd.sources import Standing
from syncd.sources.files import FilesSource
from syncd.sources.warehouse import WarehouseSource


def written(name: str, write_key: WriteKeyCheck) -> Iterator[Finding]:
    """The write key. Raises `DeliveryError`."""
    write_key.look()
    yield ok(name, "Segment knows the write key")


def reported(
    name: str, sizes: AudienceSizes, audiences: list[str]
) -> Iterator[Finding]:
    """The Public API's token, and whether the audiences are Live."""
    for key in audiences:
        size = sizes.size_of(key)
        if size is None:
            what = f"the space has no audience {key} that is Live"
            yield warn(name, what, "correct from.audience, or enable it in Engage")
        else:
            yield ok(name, f"token valid; audience {key} is Live, {size:,} profiles")


def audiences_of(settings: Settings, name: str) -> list[str]:
    """The audiences of a connection that enabled syncs read, each once."""
    return list(dict.fromkeys(read.audience for _, read in _readers(settings, name)))


def _readers(
    settings: Settings, name: str
) -> Iterator[tuple[SyncSettings, FromAudience]]:
    for sync in settings.syncs:
        if sync.enabled and isinstance(sync.source, FromAudience):
            if sync.source.connection == name:
                yield sync, sync.source


def lists(
    settings: Settings, connection: EngageConnection, vendors: Vendors, clock: Clock
) -> Iterator[Finding]:
    """Whether each audience could be read: warehouse tables, files."""
    for sync, read in _readers(settings, connection.name):
        asked = whole_list_of(settings, sync, vendors, clock)
        whole = asked.inner if isinstance(asked, Standing) else asked
        if not isinstance(whole, WarehouseSource | FilesSource):
            continue
        try:
            line = _readable(read, whole)
        except SourceError as error:
            next_ = f"syncd plan {sync.name}"
            yield failed(connection.name, _named(sync.name, error), next_)
        else:
            yield ok(connection.name, f"{sync.name}: {line}")


def _named(sync: str, error: SourceError) -> SourceError:
    """The same error, saying whose audience it is about."""
    return type(error)(f"{sync}: {error}", code=error.code, hint=error.hint)


def _readable(read: FromAudience, whole: WarehouseSource | FilesSource) -> str:
    """What was looked at. Raises `SourceError`."""
    if isinstance(whole, WarehouseSource):
        whole.reach()
        if read.query is not None:
            return "the warehouse answers; its own query was not run"
        return "the warehouse answers, tables and columns are there"
    rows = sum(len(block) for block in whole.blocks())
    return f"files are there, {rows:,} ids"
