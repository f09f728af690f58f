"""What `doctor` says of one thing, and looking at many things at once.

Checks wait for others, so they run beside each other and are left alone when the time
is over: a vendor that does not answer must not hide what the rest has to say.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from enum import StrEnum

from syncd.config.secrets import SecretUnavailable
from syncd.errors import ConfigError, DeliveryError, Fault, SyncdError


class Verdict(StrEnum):
    """How it is with one thing."""

    OK = "ok"
    WARN = "warn"
    """It works; somebody should look."""
    FAIL = "fail"
    """A run would fail, or do what nobody wants."""


class Blame(StrEnum):
    """What a failure is about, for the exit code."""

    OTHER = "other"
    CREDENTIALS = "credentials"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line."""

    subject: str
    """A connection's name, or what of this machine is meant."""
    verdict: Verdict
    detail: str
    next: str = ""
    """The next command, or the correction; warnings and failures have one."""
    blame: Blame = Blame.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at, in a thread of its own."""

    subject: str
    look: Callable[[], Iterable[Finding]]
    """Raises `SyncdError` for what becomes a failure."""


def ok(subject: str, detail: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, verdict=Verdict.OK, detail=detail)


def warn(subject: str, detail: str, next_: str) -> Finding:
    """Somebody should look."""
    return Finding(subject=subject, verdict=Verdict.WARN, detail=detail, next=next_)


def fail(subject: str, detail: str, next_: str, blame: Blame = Blame.OTHER) -> Finding:
    """It does not work."""
    return Finding(
        subject=subject, verdict=Verdict.FAIL, detail=detail, next=next_, blame=blame
    )


def failed(subject: str, error: SyncdError, next_: str = "syncd check") -> Finding:
    """The failure that an error is; its own hint comes first."""
    return fail(subject, str(error), error.hint or next_, blame_of(error))


def blame_of(error: SyncdError) -> Blame:
    """What an error is about."""
    match error:
        case SecretUnavailable() | ConfigError():
            return Blame.CONFIG
        case DeliveryError(fault=Fault.CREDENTIALS):
            return Blame.CREDENTIALS
        case _:
            return Blame.OTHER


def look_at(checks: Sequence[Check], seconds: float) -> list[Finding]:
    """Every finding, in the order of the checks; within so many real seconds.

    A check that is not through by then is a failure, and its thread is left alone: it
    ends with the process.
    """
    started = [_started(each) for each in checks]
    wait(started, timeout=seconds)
    findings: list[Finding] = []
    for check, future in zip(checks, started, strict=True):
        if future.done():
            findings += future.result()
        else:
            what = f"no answer within {seconds:g} s"
            findings.append(fail(check.subject, what, "syncd doctor, once more"))
    return findings


def _started(check: Check) -> Future[list[Finding]]:
    future: Future[list[Finding]] = Future()

    def work() -> None:
        future.set_result(_findings(check))

    threading.Thread(target=work, name=f"doctor:{check.subject}", daemon=True).start()
    return future


def _findings(check: Check) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.look())
    except SyncdError as error:
        found.append(failed(check.subject, error))
    except Exception as error:  # noqa: BLE001  # one bug must not hide the other lines
        what = f"{type(error).__name__}: this is a bug in syncd"
        found.append(fail(check.subject, what, "report it"))
    return found
