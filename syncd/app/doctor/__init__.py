"""`syncd doctor`: will it work here? By free calls only; changes nothing anywhere.

`findings` is what is said and how things are looked at beside each other; `store`,
`machine`, `amplitude` and `engage` know what to look at. Clients are made here, before
any thread begins: `Vendors` is for one thread.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TypeVar

from syncd.app.doctor import amplitude, engage, machine, store, telling
from syncd.app.doctor.findings import Check, Finding, failed, look_at, ok, warn
from syncd.app.vendors import Vendors
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.config.feeds import doors
from syncd.config.secrets import SecretRef, SecretUnavailable
from syncd.config.settings import Loaded, Settings
from syncd.config.settings_connections import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
)
from syncd.errors import SyncdError

Client = TypeVar("Client")

LONGEST = 20.0
"""Real seconds for everything together."""


def examine(loaded: Loaded, clock: Clock, seconds: float = LONGEST) -> list[Finding]:
    """Everything, in the order in which a person would look."""
    settings = loaded.settings
    vendors = Vendors(settings, clock)
    names = {sync.name for sync in settings.syncs}
    checks: list[Check] = [
        Check(subject="config", look=partial(_config, loaded)),
        Check(subject="secrets", look=partial(_secrets, settings)),
        Check(subject=store.STORE, look=partial(store.look, settings.store, names)),
    ]
    vendor = _any_origin(settings, vendors)
    checks.append(
        Check(
            subject=machine.CLOCK,
            look=partial(machine.clock_findings, settings, vendor, clock),
        )
    )
    for name in used(settings):
        checks += _connection(settings, settings.connections[name], vendors, clock)
    daemon = partial(machine.daemon_findings, settings, clock)
    checks.append(Check(subject=machine.DAEMON, look=daemon))
    told = partial(telling.told, settings, clock)
    checks.append(Check(subject=telling.TELLING, look=told))
    # Not closed: a check that hangs still uses them, and they end with the process.
    return look_at(checks, seconds)


def used(settings: Settings) -> list[str]:
    """The connections that enabled syncs use, or that are pushed to, in file order."""
    ends = {
        name
        for sync in settings.syncs
        if sync.enabled
        for name in (sync.source.connection, sync.target.connection)
    }
    pushed = set(doors(settings))
    return [name for name in settings.connections if name in ends | pushed]


# ---- configuration ------------------------------------------------------------------


def _config(loaded: Loaded) -> Iterator[Finding]:
    files = len(loaded.files)
    line = f"{files} file{'s' * (files != 1)}, hash {loaded.config_hash}"
    if loaded.warnings:
        count = len(loaded.warnings)
        what = f"{line}, {count} warning{'s' * (count != 1)}"
        yield warn("config", what, "syncd check")
    else:
        yield ok("config", line)


def _secrets(settings: Settings) -> Iterator[Finding]:
    """Each secret of what is used; none is shown."""
    parts = [settings.store, settings.web, settings.notifications]
    refs = [ref for part in parts for ref in secret_refs(part)]
    for name in used(settings):
        refs += secret_refs(settings.connections[name])
    readable = 0
    for ref in dict.fromkeys(refs):
        try:
            ref.read()
            readable += 1
        except SecretUnavailable as error:
            yield failed("secrets", error, f"put it at {ref}")
    yield ok("secrets", f"{readable} readable")


def secret_refs(value: object) -> Iterator[SecretRef]:
    """Every secret that a value of the settings names."""
    if isinstance(value, SecretRef):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from secret_refs(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from secret_refs(each)


# ---- connections --------------------------------------------------------------------


def _any_origin(settings: Settings, vendors: Vendors) -> HttpClient | None:
    """A vendor to compare clocks with; Amplitude's first."""
    names = [
        name
        for name in used(settings)
        if not isinstance(settings.connections[name], EngageConnection)
        or any(sync.target.connection == name for sync in settings.syncs)
    ]
    names.sort(
        key=lambda name: not isinstance(settings.connections[name], AmplitudeConnection)
    )
    for name in names:
        try:
            return vendors.origin(name)
        except SyncdError:
            continue  # its proxy's secret cannot be read, which has a line of its own
    return None


def _connection(
    settings: Settings, connection: Connection, vendors: Vendors, clock: Clock
) -> Iterator[Check]:
    match connection:
        case AmplitudeConnection():
            yield _check(
                connection.name,
                lambda: (
                    vendors.amplitude(connection.name),
                    vendors.downloads(connection.name),
                ),
                lambda clients: amplitude.look(
                    settings, connection, clients, vendors, clock
                ),
            )
        case EngageConnection():
            yield from _engage(settings, connection, vendors, clock)
        case ListApiConnection() | PropertyApiConnection():
            name = connection.name
            yield _check(name, lambda: vendors.origin(name), partial(_partner, name))


def _engage(
    settings: Settings, connection: EngageConnection, vendors: Vendors, clock: Clock
) -> Iterator[Check]:
    name = connection.name
    if connection.snapshot is not None:
        look = partial(engage.lists, settings, connection, vendors, clock)
        yield Check(subject=name, look=look)
    if connection.api_token is not None:
        audiences = engage.audiences_of(settings, name)
        yield _check(
            name,
            lambda: vendors.audience_sizes(name),
            lambda sizes: engage.reported(name, sizes, audiences),
        )
    if connection.write_key is not None:
        yield _check(
            name,
            lambda: vendors.write_key(name),
            partial(engage.written, name),
        )


def _partner(name: str, origin: HttpClient) -> Iterator[Finding]:
    """Whether somebody is there: a partner's API has no call that changes nothing."""
    try:
        origin.request("HEAD", "/", max_bytes=machine.ANY_SIZE)
    except TransportError as error:
        yield failed(name, error, "correct base_url, then: syncd check")
        return
    yield ok(
        name, "reachable; its key was not tried: nothing of a partner's API is free"
    )


def _check(
    name: str,
    make: Callable[[], Client],
    look: Callable[[Client], Iterable[Finding]],
) -> Check:
    """A check with a client that is made now; what keeps it from being made is said."""
    try:
        client = make()
    except SyncdError as error:
        finding = failed(name, error)
        return Check(subject=name, look=lambda: [finding])
    return Check(subject=name, look=lambda: look(client))
