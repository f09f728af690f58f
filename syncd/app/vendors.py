"""Clients of the connections that syncs use: one each, made when first needed."""

from collections.abc import Callable
from functools import cache

from syncd.clients.amplitude import HOSTS, AmplitudeClient
from syncd.clients.http import HttpClient
from syncd.clock import Clock
from syncd.config.secrets import SecretRef
from syncd.config.settings import AmplitudeConnection, Settings, Transport
from syncd.log import register_secret


class Vendors:
    """Makes clients from settings and keeps them. Not thread-safe: for building."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._http: list[HttpClient] = []
        self.amplitude = cache(self._amplitude)

    def close(self) -> None:
        """Close every connection."""
        for client in self._http:
            client.close()

    def _amplitude(self, name: str) -> AmplitudeClient:
        connection = self._settings.connections[name]
        if not isinstance(connection, AmplitudeConnection):
            raise TypeError(f"{name} is no amplitude connection")
        return AmplitudeClient(
            self._client(connection.transport, HOSTS[connection.region]),
            _key_pair(connection),
            clock=self._clock,
        )

    def _client(self, transport: Transport, usual: str) -> HttpClient:
        proxy = transport.proxy_url
        client = HttpClient(
            transport.base_url or usual,
            clock=self._clock,
            workers=self._settings.delivery_workers,
            deadline=transport.request_deadline.total_seconds(),
            proxy_url=remembered(proxy.read)() if proxy is not None else None,
            ca_file=transport.ca_file,
        )
        self._http.append(client)
        return client


def _key_pair(connection: AmplitudeConnection) -> Callable[[], tuple[str, str]]:
    """Reads key and secret anew at each call, so that a rotated file counts."""
    key, secret = secret_of(connection.api_key), secret_of(connection.secret_key)
    return lambda: (key(), secret())


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
