"""When doctor says ok, warn or fail; without a store, a vendor or a socket."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd import __version__
from syncd.app.doctor import secret_refs
from syncd.app.doctor.findings import (
    Blame,
    Check,
    Finding,
    Verdict,
    fail,
    look_at,
    ok,
    warn,
)
from syncd.app.doctor.machine import (
    clock_finding,
    daemon_finding,
    pushed,
    worker_findings,
)
from syncd.app.doctor.store import FULL, TIGHT, lock_holder, room
from syncd.cli.doctor import exit_code
from syncd.cli.exit_codes import ExitCode
from syncd.config.secrets import SecretRef, SecretUnavailable
from syncd.config.settings_connections import PartnerAccess
from syncd.errors import DeliveryError, Fault, SyncdError
from syncd.store.installation import Daemon, Role
from tests.builders import settings_of

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
DATE = "Mon, 02 Mar 2026 12:00:00 GMT"


# ---- the clock ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [
        (timedelta(seconds=0.9), Verdict.OK),
        (timedelta(seconds=-4), Verdict.OK),
        (timedelta(seconds=20), Verdict.WARN),
        (timedelta(seconds=-20), Verdict.WARN),
        (timedelta(hours=1), Verdict.FAIL),
        (timedelta(hours=-1), Verdict.FAIL),
    ],
)
def test_a_clock_is_judged_by_how_far_it_is_from_the_vendors(ahead, verdict):
    found = clock_finding(DATE, NOW + ahead, "amplitude.com", "zone data 2026a")

    assert found.verdict is verdict
    assert "zone data 2026a" in found.detail


def test_whole_seconds_of_a_header_are_half_a_second_late_on_average():
    found = clock_finding(DATE, NOW + timedelta(seconds=0.5), "host", "zones")

    assert found.detail.startswith("+0.0 s")


@pytest.mark.parametrize("said", ["", "yesterday"])
def test_a_vendor_that_says_no_time_is_a_warning(said):
    assert clock_finding(said, NOW, "host", "zones").verdict is Verdict.WARN


# ---- the daemon and its doors -------------------------------------------------------


def daemon(
    *, silent: float = 1, version: str = __version__, role: Role = Role.DAEMON
) -> Daemon:
    return Daemon(
        holder="h",
        host="here",
        pid=77,
        version=version,
        started_at=NOW - timedelta(hours=1),
        heartbeat_at=NOW - timedelta(seconds=silent),
        role=role,
    )


def test_no_daemon_is_a_warning_and_a_living_one_is_well():
    assert daemon_finding([], [], NOW).next == "syncd serve"
    assert daemon_finding([daemon()], [daemon()], NOW).verdict is Verdict.OK


def test_a_silent_daemon_is_told_with_how_long():
    found = daemon_finding([daemon(silent=300)], [], NOW)

    assert found.verdict is Verdict.WARN
    assert "process 77 on here is silent for 300 s" in found.detail


def test_a_daemon_of_another_version_is_to_be_restarted():
    old = daemon(version="0.0.1")

    found = daemon_finding([old], [old], NOW)

    assert (found.verdict, found.next) == (Verdict.WARN, "restart the daemon")


def test_no_living_worker_is_a_failure_where_due_runs_are_queued():
    queued = replace(settings_of(), cluster="procrastinate")
    silent = daemon(role=Role.WORKER, silent=61)

    (nobody,) = worker_findings(queued, [daemon(), silent], NOW)
    (somebody,) = worker_findings(queued, [daemon(role=Role.WORKER)], NOW)

    assert (nobody.verdict, nobody.next) == (Verdict.FAIL, "syncd worker")
    assert somebody == ok("workers", "alive: process 77 on here")
    assert list(worker_findings(settings_of(), [], NOW)) == []


def test_the_age_of_the_last_event_is_told():
    assert pushed("engage", NOW - timedelta(seconds=12), NOW) == ok(
        "engage inbox", "the last event came 12 s ago"
    )
    assert pushed("engage", None, NOW).verdict is Verdict.WARN


# ---- the store ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "verdicts"),
    [
        (TIGHT, []),
        (TIGHT - 1, [Verdict.WARN]),
        (FULL, [Verdict.WARN]),
        (FULL - 1, [Verdict.FAIL]),
        (0, [Verdict.FAIL]),
    ],
)
def test_a_disk_without_room_is_told_before_it_is_full(free, verdicts):
    assert [each.verdict for each in room(Path("/data"), free)] == verdicts


LOCKS = """\
1: POSIX  ADVISORY  WRITE 300 00:2f:4711 0 EOF
2: FLOCK  ADVISORY  WRITE 812 08:01:4711 0 EOF
2: -> FLOCK  ADVISORY  WRITE 813 08:01:4711 0 EOF
3: FLOCK  ADVISORY  WRITE 900 08:01:14711 0 EOF
"""


def test_the_holder_of_a_lock_is_read_from_the_kernels_table():
    assert lock_holder(LOCKS, 4711) == 812
    assert lock_holder(LOCKS, 14711) == 900
    assert lock_holder(LOCKS, 711) is None
    assert lock_holder("", 4711) is None


# ---- looking at many things ---------------------------------------------------------


def check(subject: str, *findings: Finding, error: Exception | None = None) -> Check:
    def look():
        yield from findings
        if error is not None:
            raise error

    return Check(subject=subject, look=look)


def test_findings_come_in_the_order_of_the_checks():
    checks = [check(name, ok(name, "well")) for name in "cab"]

    assert [each.subject for each in look_at(checks, 5)] == ["c", "a", "b"]


def test_what_was_found_before_an_error_is_told_with_it():
    checks = [check("a", ok("a", "one"), error=SyncdError("two", hint="three"))]

    assert look_at(checks, 5) == [ok("a", "one"), fail("a", "two", "three")]


def test_a_bug_in_one_check_hides_no_other_and_quotes_nothing():
    checks = [check("a", error=KeyError("person-1")), check("b", ok("b", "well"))]

    bug, well = look_at(checks, 5)

    assert (bug.verdict, well.verdict) == (Verdict.FAIL, Verdict.OK)
    assert "KeyError" in bug.detail
    assert "person-1" not in bug.detail


# ---- how it ends --------------------------------------------------------------------


def refused() -> DeliveryError:
    return DeliveryError("no", fault=Fault.CREDENTIALS, error_type="auth")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SyncdError("something"), ExitCode.FAILED),
        (refused(), ExitCode.CREDENTIALS),
        (SecretUnavailable("gone"), ExitCode.CONFIG),
    ],
)
def test_the_exit_code_names_the_cause(error, code):
    (found,) = look_at([check("a", error=error)], 5)

    assert exit_code([ok("b", "well"), found]) is code


def test_files_come_before_credentials_before_the_rest_and_warnings_are_no_failure():
    files = fail("a", "x", "y", Blame.CONFIG)
    keys = fail("a", "x", "y", Blame.CREDENTIALS)
    rest = fail("a", "x", "y")

    assert exit_code([rest, keys, files]) is ExitCode.CONFIG
    assert exit_code([rest, keys]) is ExitCode.CREDENTIALS
    assert exit_code([rest]) is ExitCode.FAILED
    assert exit_code([warn("a", "x", "y"), ok("a", "x")]) is ExitCode.OK


# ---- secrets ------------------------------------------------------------------------


def test_every_secret_of_the_settings_is_found_however_deep():
    key = SecretRef(key="api_key_file", origin="f:1:1", env="KEY")
    token = SecretRef(key="headers.x", origin="f:2:1", env="TOKEN")
    access = PartnerAccess(
        api_key=key, api_key_header=None, headers={}, secret_headers={"x": token}
    )

    assert list(secret_refs({"partner": access})) == [key, token]
