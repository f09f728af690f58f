"""A connection whose credentials were refused: stopped, probed for free, resumed."""

from syncd import events
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault
from syncd.events import emit
from syncd.model import Trigger
from syncd.sinks import Sink
from syncd.store import connections
from syncd.store.database import Database
from syncd.sync.steps import Run


def require_open(run: Run) -> None:
    """Let a stopped connection try again when its probe is due, else refuse the run.

    Raises `DeliveryError` with the vendor's words while the credentials stay refused.
    """
    name = run.spec.identity.connection
    with run.parts.database.read() as connection:
        state = connections.get(connection, name)
    if state.stopped_at is None or state.probe_at is None:
        return
    asked = run.report.trigger is Trigger.MANUAL  # a person who just corrected a key
    if state.probe_at > run.parts.clock.now() and not asked:
        raise DeliveryError(
            f"connection {name} is stopped: {state.stopped_reason}",
            fault=Fault.REFUSED,
            error_type="auth",
            hint=f"correct the credentials; tried again at {state.probe_at:%H:%M} UTC",
        )
    run.spec.sink.probe()
    _resume(run.parts.database, state)


def probe(database: Database, clock: Clock, name: str, sink: Sink) -> None:
    """Try a stopped connection's credentials if its probe is due."""
    with database.read() as connection:
        state = connections.get(connection, name)
    if state.probe_at is None or state.probe_at > clock.now():
        return
    try:
        sink.probe()
    except DeliveryError as error:
        stop(database, clock, name, error)
    else:
        _resume(database, state)


def stop(database: Database, clock: Clock, name: str, error: DeliveryError) -> None:
    """Note that the credentials are refused; nothing of them goes until a probe."""
    now = clock.now()
    with database.begin() as connection:
        connections.stop(connection, name, str(error), now)
    emit(
        events.CONNECTION_STOPPED,
        connection=name,
        reason=str(error),
        probe_at=now + connections.PROBE_EVERY,
        error_type=error.error_type,
        http_status=error.status,
        vendor_message=error.vendor_message or None,
    )


def _resume(database: Database, state: connections.ConnectionState) -> None:
    with database.begin() as connection:
        connections.resume(connection, state.name)
    emit(events.CONNECTION_RESUMED, connection=state.name, stopped_at=state.stopped_at)
