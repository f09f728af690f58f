"""Every error the product raises on purpose.

    SyncdError               `code` is its stable name, `hint` the next command
    ├── ConfigError          the files are wrong: all problems at once (exit 78)
    ├── SourceError          the whole list could not be had; nothing is sent
    │   ├── SourceUnavailable   it did not answer: the next run may work
    │   └── SourceUntrusted     it answered, but not with a list to believe
    ├── TargetUnusable       the cohort is gone, archived, dynamic, ambiguous: held
    ├── PutOff               a pause or a blackout: nothing of the sync begins now
    ├── DeliveryError        one request failed; `fault` says what becomes of its batch
    ├── StoreError           the state cannot be used
    │   ├── StoreUnavailable    no answer, disk full, locked
    │   ├── StoreRefused        newer schema, network file system, other clock
    │   ├── StoreInUse          another daemon has it
    │   └── LeaseLost           another process took this sync over: stop writing
    └── DaemonError          the running daemon refused or did not answer

Raise or log, never both. Messages never hold a secret or a raw member id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SyncdError(Exception):
    """Base. `str(error)` is one sentence for a person."""

    code = "internal"

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding in a config file, with its place (1-based line and column)."""

    file: str
    line: int
    column: int
    code: str
    """Dotted, stable, e.g. `connection.unknown`."""
    message: str
    hint: str = ""
    """The fix, in the words a person would type."""
    severity: str = "error"
    """`error` or `warning`."""


class ConfigError(SyncdError):
    """The configuration is invalid; `problems` lists every finding."""

    code = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = sum(problem.severity == "error" for problem in problems)
        super().__init__(f"{count} errors in the configuration", hint="syncd check")
        self.problems = tuple(problems)


class SourceError(SyncdError):
    """A source could not deliver a whole, trustworthy list."""

    code = "source"


class SourceUnavailable(SourceError):
    """The source did not answer (connection, timeout, missing file)."""

    code = "source.unavailable"


class SourceUntrusted(SourceError):
    """The source answered, but the list is short, stale or malformed."""

    code = "source.untrusted"


class TargetUnusable(SyncdError):
    """The target exists in a state we must not write to, or cannot be told apart."""

    code = "target"


class PutOff(SyncdError):
    """Nothing of the sync may begin now; a due time is made up for afterwards."""

    code = "sync.put_off"
    reason = "put_off"
    """In one word, for the row of a skipped slot."""
    until: datetime | None = None
    """When it is over by itself; None: when a person says so."""


class Fault(StrEnum):
    """What a failed request means for its batch."""

    PASSING = "passing"
    """Time-out, reset, 5xx, 429 without a wait: try again with back-off."""
    THROTTLED = "throttled"
    """The vendor named a wait: the whole credential waits."""
    TOO_LARGE = "too_large"
    """413: halve the batch."""
    BAD_IDS = "bad_ids"
    """A terminal answer about some id in the batch: halve down to it, reject it."""
    REFUSED = "refused"
    """Terminal for this payload: dead letter."""
    CREDENTIALS = "credentials"
    """Key, secret or region rejected: stop the connection."""
    TARGET_GONE = "target_gone"
    """The cohort or list no longer exists: keep the baseline, hold the sync."""


class DeliveryError(SyncdError):
    """A request that proves nothing about its ids: they stay uncertain.

    `error_type` is from the closed list of the log catalogue (auth, rate_limited,
    timeout, http_5xx, bad_response, ...); `status` is the HTTP status or None when
    no answer came; `vendor_message` is at most 200 characters of the vendor's words;
    `sent` is False where no byte of the request can have left.
    """

    code = "delivery"

    def __init__(
        self,
        message: str,
        *,
        fault: Fault,
        error_type: str,
        status: int | None = None,
        vendor_message: str = "",
        retry_after: float | None = None,
        hint: str = "",
        sent: bool = True,
    ) -> None:
        super().__init__(message, code=f"delivery.{error_type}", hint=hint)
        self.fault = fault
        self.error_type = error_type
        self.status = status
        self.vendor_message = vendor_message
        self.retry_after = retry_after
        self.sent = sent

    @property
    def may_take_effect(self) -> bool:
        """Whether the request may have been carried out, or may be yet.

        Not where it never left, nor where an answer refused it. A 408 or a 409 leaves
        open what became of it, as do a server's error and a 2xx that proves nothing.
        """
        if self.status is None:
            return self.sent and self.fault is Fault.PASSING
        return self.status in (408, 409) or not 400 <= self.status <= 499


class StoreError(SyncdError):
    """The store cannot be used."""

    code = "store"


class StoreUnavailable(StoreError):
    """The store does not answer, is full or locked."""

    code = "store.unavailable"


class StoreRefused(StoreError):
    """The store must not be used by this program, in this place or on this clock."""

    code = "store.refused"


class StoreInUse(StoreError):
    """Another daemon already works on this store."""

    code = "store.in_use"


class LeaseLost(StoreError):
    """Another process took this sync over; this one must stop writing."""

    code = "lease.lost"


class DaemonError(SyncdError):
    """The running daemon refused a command or did not answer."""

    code = "daemon"
