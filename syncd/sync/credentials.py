"""A connection whose credentials were refused: stopped, probed for free, resumed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syncd import events
from syncd.clock import Clock
from syncd.errors import DeliveryError, Fault, SourceUnavailable
from syncd.events import emit
from syncd.model import Trigger
from syncd.store import connections
from syncd.store.database import Database
from syncd.sync.steps import Run


def require_open(run: Run) -> None:
    """Let a stopped connection try again when its probe is due, else refuse the run.

    Both ends are looked at: nothing is asked of a source for a target that would refuse
    it. Raises `DeliveryError` with the vendor's words while the credentials stay
    refused.
    """
    for name, free_call in run.spec.probes.items():
        _require_open(run, name, free_call)


def is_on_trial(run: Run) -> bool:
    """Whether the target was stopped, cannot be asked for free, and is due for a try.

    Raises `DeliveryError` while it is not due.
    """
    name = run.spec.identity.connection
    if name in run.spec.probes:
        return False
    return _stopped(run, name) is not None


def resume(run: Run) -> None:
    """The target took a batch again, or has none that could be tried."""
    state = _stopped(run, run.spec.identity.connection)
    if state is not None:
        _resume(run.parts.database, state)


def _require_open(run: Run, name: str, free_call: Callable[[], object]) -> None:
    state = _stopped(run, name)
    if state is None:
        return
    try:
        free_call()
    except DeliveryError as error:
        if error.fault is Fault.CREDENTIALS:
            stop(run.parts.database, run.parts.clock, name, error)
            error.fault = Fault.REFUSED  # said and stored already
        raise
    _resume(run.parts.database, state)


def _stopped(run: Run, name: str) -> connections.ConnectionState | None:
    """The state of a stopped connection that may be tried now; None if it is open.

    Raises `DeliveryError` with the vendor's words while it may not.
    """
    with run.parts.database.read() as connection:
        state = connections.get(connection, name)
    if state.stopped_at is None or state.probe_at is None:
        return None
    # By a person, who just corrected a key.
    asked = run.report.trigger in (Trigger.MANUAL, Trigger.RESYNC, Trigger.DETACH)
    if state.probe_at > run.parts.clock.now() and not asked:
        raise DeliveryError(
            f"connection {name} is stopped: {state.stopped_reason}",
            fault=Fault.REFUSED,
            error_type="auth",
            hint=f"correct the credentials; tried again at {state.probe_at:%H:%M} UTC",
        )
    return state


@contextmanager
def of_source(run: Run) -> Iterator[None]:
    """What a vendor refuses in here is about the connection that is read from."""
    try:
        yield
    except DeliveryError as error:
        if error.fault is Fault.CREDENTIALS:
            name = run.spec.source_connection
            stop(run.parts.database, run.parts.clock, name, error)
        raise SourceUnavailable(
            str(error), code=f"source.{error.error_type}", hint=error.hint
        ) from error


def probe(
    database: Database, clock: Clock, name: str, free_call: Callable[[], object]
) -> None:
    """Try a stopped connection's credentials if its probe is due, in one process."""
    now = clock.now()
    with database.read() as connection:
        state = connections.get(connection, name)
    if state.probe_at is None or state.probe_at > now:
        return
    with database.begin() as connection:
        if not connections.take_probe(connection, state, now):
            return
    try:
        free_call()
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
