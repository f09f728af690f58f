"""Clients of the connections that syncs use: one each, made when first needed.

So is the module of each: few installations talk to everybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar

from syncd.app.turns import (
    AT_ONCE,
    InTurn,
    SharedPace,
    SharedPlace,
    SharedTurns,
    Turns,
)
from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.config.forecast import project_key
from syncd.config.secrets import SecretRef
from syncd.config.settings import Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    ListApiConnection,
    PartnerAccess,
    PropertyApiConnection,
    Transport,
)
from syncd.delivery.turn import Turn
from syncd.redaction import register_secret
from syncd.store.database import Database

if TYPE_CHECKING:
    from syncd.clients.amplitude import AmplitudeClient
    from syncd.clients.amplitude_downloads import AmplitudeDownloads
    from syncd.clients.partner import PartnerClient
    from syncd.clients.segment import SegmentClient
    from syncd.clients.segment_public import AudienceSizes
    from syncd.clients.segment_settings import WriteKeyCheck

T = TypeVar("T")


class Vendors:
    """Makes clients from settings and keeps them. Not thread-safe: for building.

    Each of them is asked for by the connection's name. `database` is the store: on
    Postgres other processes may talk to the same project.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """`stop` is set when the process comes to its end: nobody waits any more."""
        self._settings = settings
        self.clock = clock
        self._stop = stop
        self._shared_by = _shared(database)
        self._http: list[HttpClient] = []
        self._turns = cache(self._make_turns)
        self._amplitude_http = cache(self._make_amplitude_http)
        self.amplitude = cache(self._amplitude)
        self.downloads = cache(self._downloads)
        self.segment = cache(self._segment)
        self.audience_sizes = cache(self._audience_sizes)
        self.partner = cache(self._partner)
        self.write_key = cache(self._write_key)
        self.origin = cache(self._origin)

    def close(self) -> None:
        """Close every connection."""
        for client in self._http:
            client.close()

    def _amplitude(self, name: str) -> AmplitudeClient:
        from syncd.clients.amplitude import AmplitudeClient

        connection = self._named(name, AmplitudeConnection)
        return AmplitudeClient(
            self._amplitude_http(name), _key_pair(connection), clock=self.clock
        )

    def _downloads(self, name: str) -> AmplitudeDownloads:
        from syncd.clients.amplitude_downloads import AmplitudeDownloads
        from syncd.clients.storage import StorageClient

        connection = self._named(name, AmplitudeConnection)
        storage = StorageClient(
            clock=self.clock,
            hosts=connection.storage_hosts,
            origin=connection.storage_origin,
            proxy_url=_proxy(connection.transport),
            ca_file=connection.transport.ca_file,
            api=name,
        )
        return AmplitudeDownloads(
            self._amplitude_http(name),
            storage,
            _key_pair(connection),
            clock=self.clock,
            file_deadline=connection.download_deadline.total_seconds(),
        )

    def _segment(self, name: str) -> SegmentClient:
        from syncd.clients import segment

        connection = self._named(name, EngageConnection)
        if connection.write_key is None:
            raise TypeError("the configuration asks for a write key to write with")
        return segment.SegmentClient(
            self._client(name, connection.transport, segment.HOSTS[connection.region]),
            secret_of(connection.write_key),
            clock=self.clock,
        )

    def _audience_sizes(self, name: str) -> AudienceSizes:
        from syncd.clients import segment_public

        connection = self._named(name, EngageConnection)
        if connection.api_token is None or connection.space_id is None:
            raise TypeError("the configuration asks for a token and a space")
        public = replace(connection.transport, base_url=connection.api_base_url)
        return segment_public.AudienceSizes(
            self._client(name, public, segment_public.HOSTS[connection.region]),
            secret_of(connection.api_token),
            space=connection.space_id,
            clock=self.clock,
        )

    def _write_key(self, name: str) -> WriteKeyCheck:
        from syncd.clients import segment_settings

        connection = self._named(name, EngageConnection)
        if connection.write_key is None:
            raise TypeError("the configuration asks for a write key to look at")
        return segment_settings.WriteKeyCheck(
            self._client(name, connection.transport, segment_settings.HOST),
            secret_of(connection.write_key),
            clock=self.clock,
        )

    def _origin(self, name: str) -> HttpClient:
        """Where a connection is, for a question without credentials."""
        from syncd.clients import amplitude, segment

        connection = self._settings.connections[name]
        match connection:
            case AmplitudeConnection():
                usual = amplitude.HOSTS[connection.region]
            case EngageConnection():
                usual = segment.HOSTS[connection.region]
            case _:
                usual = ""
        return self._client(name, connection.transport, usual)

    def _partner(self, name: str) -> PartnerClient:
        from syncd.clients.partner import PartnerClient

        connection = self._settings.connections[name]
        if not isinstance(connection, ListApiConnection | PropertyApiConnection):
            raise TypeError(f"{name} is no partner")
        access = connection.access
        return PartnerClient(
            self._client(name, connection.transport, ""),
            secret_of(access.api_key),
            api_key_header=access.api_key_header,
            headers=_headers(access),
            clock=self.clock,
        )

    def _make_amplitude_http(self, name: str) -> HttpClient:
        """One pool for both clients of a project: they share its connections."""
        from syncd.clients import amplitude

        connection = self._named(name, AmplitudeConnection)
        turns = self._turns(project_key(connection))
        return self._client(
            name,
            connection.transport,
            amplitude.HOSTS[connection.region],
            make=partial(InTurn, turns=turns),
        )

    def _make_turns(self, project: str) -> Turns | SharedTurns:
        if self._shared_by is None:
            return Turns()
        scope = f"requests {project}"
        return SharedTurns(self._shared_by, self.clock, scope, stop=self._stop)

    def turn(self, name: str) -> Turn | None:
        """How batches to a connection keep to what all processes may do together."""
        connection = self._settings.connections[name]
        if self._shared_by is None:
            return None
        if isinstance(connection, AmplitudeConnection):
            turns = self._turns(project_key(connection))
            assert isinstance(turns, SharedTurns)  # noqa: S101 - made so above
            deadline = connection.transport.request_deadline
            return SharedPlace(turns=turns, deadline=deadline)
        pace = pace_of(connection)
        if pace is None:
            return None
        return SharedPace(
            database=self._shared_by,
            clock=self.clock,
            scope=f"ids {name}",
            ids_per_second=pace,
        )

    def _client(
        self,
        name: str,
        transport: Transport,
        usual: str,
        make: Callable[..., HttpClient] = HttpClient,
    ) -> HttpClient:
        client = make(
            transport.base_url or usual,
            clock=self.clock,
            workers=max(self._settings.delivery_workers, AT_ONCE),
            deadline=transport.request_deadline.total_seconds(),
            proxy_url=_proxy(transport),
            ca_file=transport.ca_file,
            api=name,
        )
        self._http.append(client)
        return client

    def _named(self, name: str, kind: type[T]) -> T:
        connection = self._settings.connections[name]
        if not isinstance(connection, kind):
            raise TypeError(f"{name} is no {kind.__name__}")
        return connection


def pace_of(connection: Connection) -> float | None:
    """Ids a second that a connection may be sent; None is any number."""
    if isinstance(connection, EngageConnection):
        return float(connection.max_events_per_second)
    return None


def _shared(database: Database | None) -> Database | None:
    """A store that other processes may work on, too."""
    return None if database is None or database.dialect == "sqlite" else database


def _key_pair(connection: AmplitudeConnection) -> Callable[[], tuple[str, str]]:
    """Reads key and secret anew at each call, so that a rotated file counts."""
    key, secret = secret_of(connection.api_key), secret_of(connection.secret_key)
    return lambda: (key(), secret())


def _headers(access: PartnerAccess) -> Callable[[], Mapping[str, str]]:
    """All further headers, the secret ones read anew at each call."""
    secrets = {name: secret_of(ref) for name, ref in access.secret_headers.items()}
    return lambda: {
        **access.headers,
        **{name: read() for name, read in secrets.items()},
    }


def _proxy(transport: Transport) -> str | None:
    proxy = transport.proxy_url
    return None if proxy is None else secret_of(proxy)()


def secret_of(secret: SecretRef) -> Callable[[], str]:
    """Reads the secret anew at each call."""
    return remembered(secret.read)


def remembered(read: Callable[[], str]) -> Callable[[], str]:
    """Whatever is read this way never shows in a log line."""

    def value() -> str:
        found = read()
        register_secret(found)
        return found

    return value
