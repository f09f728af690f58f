"""Where a sync writes: one `case` here for each kind of target."""

from collections.abc import Callable
from typing import assert_never

from syncd.app.vendors import Vendors
from syncd.config.settings import (
    AmplitudeConnection,
    Connection,
    EngageConnection,
    ListApiConnection,
    PropertyApiConnection,
    Settings,
    SyncSettings,
    ToCohort,
    ToList,
    ToTrait,
)
from syncd.sinks import Sink
from syncd.sinks.amplitude_cohort import AmplitudeCohortSink


def sink_of(connection: Connection, vendors: Vendors) -> Sink:
    """What writes to a connection."""
    match connection:
        case AmplitudeConnection():
            return AmplitudeCohortSink(
                client=vendors.amplitude(connection.name), app_id=connection.app_id
            )
        case EngageConnection() | ListApiConnection() | PropertyApiConnection():
            raise TypeError("not yet")
        case _:
            assert_never(connection)


def target_text(settings: Settings, sync: SyncSettings) -> str:
    """The target as configured, for the sync's identity: `id:...` or `name:...`."""
    match sync.target:
        case ToCohort(cohort_id=None) as cohort:
            return f"name:{cohort.cohort}"
        case ToCohort() as cohort:
            return f"id:{cohort.cohort_id}"
        case ToTrait() | ToList():
            raise TypeError("not yet")
        case _:
            assert_never(sync.target)


def target_id(sync: SyncSettings) -> str | None:
    """The vendor's id of an existing target that the configuration names."""
    match sync.target:
        case ToCohort() as cohort:
            return cohort.cohort_id
        case ToList() as listed:
            return listed.list_id
        case ToTrait():
            return None
        case _:
            assert_never(sync.target)


def naming_of(
    settings: Settings, sync: SyncSettings, vendors: Vendors
) -> Callable[[], str]:
    """What tells the name of a sync's target."""
    match sync.target:
        case ToCohort() as cohort:
            return lambda: cohort.cohort
        case ToTrait() | ToList():
            raise TypeError("not yet")
        case _:
            assert_never(sync.target)


def owner_of(sync: SyncSettings) -> str:
    """Login e-mail of the owner of a target that is created; empty for none."""
    return (sync.target.owner or "") if isinstance(sync.target, ToCohort) else ""


def direction_of(connection: Connection) -> str:
    """`to-amplitude`, `to-engage` or `to-partner`, as the log names it."""
    match connection:
        case AmplitudeConnection():
            return "to-amplitude"
        case EngageConnection():
            return "to-engage"
        case ListApiConnection() | PropertyApiConnection():
            return "to-partner"
        case _:
            assert_never(connection)


def pace_of(connection: Connection) -> float | None:
    """Ids a second that a connection may be sent; None is any number."""
    if isinstance(connection, EngageConnection):
        return float(connection.max_events_per_second)
    return None
