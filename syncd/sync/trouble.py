"""What an error means for the run it stopped: outcome, reason, log line."""

from syncd import events
from syncd.errors import (
    DeliveryError,
    Fault,
    LeaseLost,
    SourceError,
    SourceUnavailable,
    SourceUntrusted,
    StoreError,
    SyncdError,
    TargetUnusable,
)
from syncd.events import emit
from syncd.model import Outcome, Settlement
from syncd.sync import credentials
from syncd.sync.steps import Run

_SOURCE_TYPES = {
    "source.unavailable": "connect",
    "source.file_missing": "not_found",
    "source.not_ready_in_time": "timeout",
}
"""`error.type` of a source's error code, where the code does not end with it."""
_SETTLED_TYPES = {
    "lease.lost": "lease_lost",
    "store.unavailable": "store",
    "target.rejects_everybody": "unknown_user",
}
"""`error.type` of a settlement's code; a delivery error's code is its type already."""


def conclude(run: Run, error: SyncdError) -> None:
    """Turn the error into the run's outcome, and say what only it can say."""
    report = run.report
    report.outcome, report.reason = Outcome.FAILED, error.code
    report.message, report.hint = str(error), error.hint
    report.error_type = _error_type(error)
    match error:
        case SourceUnavailable(code="source.interrupted"):
            report.outcome, report.reason = Outcome.INTERRUPTED, "shutdown"
            report.error_type = None
        case SourceUntrusted():
            emit(events.SNAPSHOT_SUSPICIOUS, reason=str(error), code=error.code)
        case TargetUnusable():
            report.outcome = Outcome.HELD
            emit(events.TARGET_HELD, reason=str(error), code=error.code)
        case DeliveryError(fault=Fault.CREDENTIALS):
            credentials.stop(
                run.parts.database,
                run.parts.clock,
                run.spec.identity.connection,
                error,
            )
        case LeaseLost():
            emit(events.LEASE_LOST, holder=run.lease.holder, fence=run.lease.fence)
        case _:
            pass  # the canonical line says it all


def type_of(settlement: Settlement) -> str:
    """`error.type` of a delivery that was stopped."""
    return _SETTLED_TYPES.get(settlement.code, settlement.code)


def _error_type(error: SyncdError) -> str | None:
    match error:
        case TargetUnusable():
            return None
        case SourceError():
            named = error.code.removeprefix("source.")
            usual = named if named in events.ERROR_TYPES else "bad_response"
            return _SOURCE_TYPES.get(error.code, usual)
        case DeliveryError():
            return error.error_type
        case LeaseLost():
            return "lease_lost"
        case StoreError():
            return "store"
        case _:
            return "config" if error.code.startswith("secret") else "internal"
