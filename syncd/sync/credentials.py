"""A connection whose credentials were refused: stopped, probed for free, resumed."""

from syncd import events
from syncd.errors import DeliveryError, Fault
from syncd.events import emit
from syncd.sinks import Sink
from syncd.store import connections
from syncd.sync.steps import Parts, Run


def require_open(run: Run) -> None:
    """Let a stopped connection try again when its probe is due, else refuse the run.

    Raises `DeliveryError` with the vendor's words while the credentials stay refused.
    """
    name = run.spec.identity.connection
    with run.parts.database.read() as connection:
        state = connections.get(connection, name)
    if state.stopped_at is None or state.probe_at is None:
        return
    if state.probe_at > run.parts.clock.now():
        raise DeliveryError(
            f"connection {name} is stopped: {state.stopped_reason}",
            fault=Fault.REFUSED,
            error_type="auth",
            hint=f"correct the credentials; tried again at {state.probe_at:%H:%M} UTC",
        )
    run.spec.sink.probe()
    _resume(run.parts, state)


def probe(parts: Parts, name: str, sink: Sink) -> None:
    """Try a stopped connection's credentials if its probe is due."""
    with parts.database.read() as connection:
        state = connections.get(connection, name)
    if state.probe_at is None or state.probe_at > parts.clock.now():
        return
    try:
        sink.probe()
    except DeliveryError as error:
        stop(parts, name, error)
    else:
        _resume(parts, state)


def stop(parts: Parts, name: str, error: DeliveryError) -> None:
    """Note that the credentials are refused; nothing of them goes until a probe."""
    now = parts.clock.now()
    with parts.database.begin() as connection:
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


def _resume(parts: Parts, state: connections.ConnectionState) -> None:
    with parts.database.begin() as connection:
        connections.resume(connection, state.name)
    emit(events.CONNECTION_RESUMED, connection=state.name, stopped_at=state.stopped_at)
