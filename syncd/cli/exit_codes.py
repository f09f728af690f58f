"""What the numbers mean that the command ends with. Stable; unknown ones are failures.

The table is printed by `syncd help exit-codes`. 69, 75, 77 and 78 follow the old
sysexits numbers; 130, 141 and 143 are 128 and the number of the signal.
"""

from enum import IntEnum

from syncd.errors import (
    ConfigError,
    DaemonError,
    DeliveryError,
    Fault,
    LeaseLost,
    SourceUnavailable,
    StoreError,
    StoreInUse,
    SyncdError,
    TargetUnusable,
)


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    HELD = 3
    PARTIAL = 4
    CHANGES_PENDING = 5
    CONDITION_MET = 6
    UNAVAILABLE = 69
    BUG = 70
    TRY_LATER = 75
    CREDENTIALS = 77
    CONFIG = 78
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: ("Done, or nothing to do", "none"),
    ExitCode.FAILED: (
        "At least one sync failed (handled, will be retried)",
        "look at the run",
    ),
    ExitCode.USAGE: ("Wrong usage", "fix the command"),
    ExitCode.HELD: (
        "Held: a guard tripped, or the plan no longer fits; nothing was sent",
        "show, then approve or reject",
    ),
    ExitCode.PARTIAL: (
        "Partial: some batches accepted, the rest queued for retry",
        "usually none",
    ),
    ExitCode.CHANGES_PENDING: (
        "Changes pending (only with plan --detailed-exitcode)",
        "none",
    ),
    ExitCode.CONDITION_MET: (
        "status --fail-on condition met (stale, failing, held); verify found drift",
        "for cron-style monitors",
    ),
    ExitCode.UNAVAILABLE: (
        "A remote API, a source or the store is unavailable",
        "retry later",
    ),
    ExitCode.BUG: ("A bug in syncd", "run again with -v and report it"),
    ExitCode.TRY_LATER: (
        "Try later: paused, lease held by another process, or quota exhausted",
        "retry later",
    ),
    ExitCode.CREDENTIALS: ("Credentials rejected", "rotate or fix"),
    ExitCode.CONFIG: ("Configuration invalid, or a secret cannot be read", "check"),
    ExitCode.INTERRUPTED: ("Stopped by SIGINT (Ctrl-C)", "run again: it resumes"),
    ExitCode.READER_GONE: ("The reader of the output went away", "none"),
    ExitCode.TERMINATED: ("Stopped by SIGTERM", "run again: it resumes"),
}
"""Meaning and typical reaction of each code, in the order of the numbers."""


def for_error(error: SyncdError) -> ExitCode:
    """The code for a command that ended with this error."""
    match error:
        case ConfigError():
            return ExitCode.CONFIG
        case DeliveryError(fault=fault):
            return _for_fault(fault)
        case TargetUnusable():
            return ExitCode.HELD
        case StoreInUse() | LeaseLost():
            return ExitCode.TRY_LATER
        case _ if error.code in _BY_CODE:
            return _BY_CODE[error.code]
        case SourceUnavailable() | StoreError() | DaemonError():
            return ExitCode.UNAVAILABLE
        case _:
            return _BY_KIND.get(error.code.split(".")[0], ExitCode.FAILED)


_BY_CODE = {
    "sync.busy": ExitCode.TRY_LATER,
    "sync.paused": ExitCode.TRY_LATER,
    "sync.held": ExitCode.HELD,
    "plan.costs": ExitCode.TRY_LATER,
    "verify.costs": ExitCode.TRY_LATER,
    "repair.unconfirmed": ExitCode.TRY_LATER,
    "repair.stale": ExitCode.TRY_LATER,
    "source.quota": ExitCode.TRY_LATER,
    "resync.unconfirmed": ExitCode.TRY_LATER,
    "resync.no_list": ExitCode.TRY_LATER,
    "detach.unconfirmed": ExitCode.TRY_LATER,
    "config.restart": ExitCode.CONFIG,
    "notify.none": ExitCode.CONFIG,
    "explain.unknown": ExitCode.USAGE,
    "outbox.held": ExitCode.HELD,
    "outbox.nothing": ExitCode.FAILED,
    "outbox.unknown": ExitCode.FAILED,
    "outbox.dead": ExitCode.FAILED,
    "outbox.changed": ExitCode.FAILED,
} | {f"hold.{why}": ExitCode.HELD for why in ("none", "expired", "changed")}
"""A daemon's refusals come with the code of what they mean."""

_BY_KIND = {"secret": ExitCode.CONFIG, "hold": ExitCode.HELD}


def _for_fault(fault: Fault) -> ExitCode:
    match fault:
        case Fault.CREDENTIALS:
            return ExitCode.CREDENTIALS
        case Fault.THROTTLED:
            return ExitCode.TRY_LATER
        case Fault.PASSING:
            return ExitCode.UNAVAILABLE
        case Fault.TARGET_GONE:
            return ExitCode.HELD
        case Fault.TOO_LARGE | Fault.BAD_IDS | Fault.REFUSED:
            return ExitCode.FAILED
