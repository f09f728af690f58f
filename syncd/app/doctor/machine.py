"""This machine: the clock, the daemon, and what it listens to."""

import errno
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from syncd import __version__
from syncd.app.doctor.findings import Finding, fail, ok, warn
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.config.feeds import doors
from syncd.config.settings import Listen, Settings
from syncd.report.daemons import alive, ticks, unattended
from syncd.report.words import relative
from syncd.store import figures, installation
from syncd.store.database import Database
from syncd.store.installation import Daemon
from syncd.store.location import is_sqlite, sqlite_path
from syncd.store.migrate import current, require_current

CLOCK, DAEMON, WORKERS = "clock", "daemon", "workers"
OFF = timedelta(seconds=5)
"""The Date header has whole seconds, and an answer may take some."""
FAR_OFF = timedelta(minutes=5)
"""Events would be taken for old ones or for ones of the future."""
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one may ask
ANY_SIZE = 1 << 40
"""Of a page whose head alone is asked for."""


# ---- the clock ----------------------------------------------------------------------


def clock_findings(
    settings: Settings, vendor: HttpClient | None, clock: Clock
) -> Iterator[Finding]:
    """Zone data, and our clock against a vendor's `Date`; nobody is asked for None."""
    missing = sorted(
        {sync.timezone for sync in settings.syncs if not _is_known(sync.timezone)}
    )
    if missing:
        what = f"no zone data for {', '.join(missing)}"
        yield fail(CLOCK, what, "python -m pip install --upgrade tzdata")
    zones = f"zone data {version('tzdata')}"
    if vendor is None:
        yield ok(CLOCK, f"compared with nobody: no vendor is used; {zones}")
        return
    try:
        answer = vendor.request("HEAD", "/", max_bytes=ANY_SIZE)
    except TransportError as error:
        what = f"compared with nobody: {error}; {zones}"
        yield warn(CLOCK, what, "syncd doctor, once it answers")
        return
    said = answer.headers.get("date", "")
    yield clock_finding(said, clock.machine(), vendor.host, zones)


def clock_finding(said: str, now: datetime, host: str, zones: str) -> Finding:
    """How far we are from a Date header (RFC 9110 6.6.1), which was said at `now`."""
    try:
        theirs = parsedate_to_datetime(said)
    except ValueError:
        what = f"{host} says no time; {zones}"
        return warn(CLOCK, what, "compare with another clock: date -u")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    # Cut to whole seconds: on average half a second behind.
    ahead = now - theirs - timedelta(milliseconds=500)
    line = f"{ahead.total_seconds():+.1f} s against the Date of {host}; {zones}"
    if abs(ahead) > FAR_OFF:
        return fail(CLOCK, line, "set the clock: timedatectl status")
    if abs(ahead) > OFF:
        return warn(CLOCK, line, "set the clock: timedatectl status")
    return ok(CLOCK, line)


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


# ---- the daemon and its doors -------------------------------------------------------


def daemon_findings(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """The daemon, its addresses, and when something was last pushed."""
    url = settings.store.read_url()
    if is_sqlite(url) and not sqlite_path(url).is_file():
        known: tuple[list[Daemon], dict[str, datetime]] = ([], {})
    else:
        known = _known(url)
    everybody, last = known
    now = clock.wall()
    daemons = [each for each in everybody if ticks(each)]
    living = alive(daemons, now)
    yield daemon_finding(daemons, living, now)
    yield from worker_findings(settings, everybody, now)
    here = any(each.host == socket.gethostname() for each in living)
    web = settings.web
    if web.inbound is not None and doors(settings):
        yield address("inbound", web.inbound, here)
    if web.admin is not None:
        yield _admin(web.admin, here, clock)
    for name in doors(settings):
        yield pushed(name, last.get(name), clock.now())


def _known(url: str) -> tuple[list[Daemon], dict[str, datetime]]:
    database = Database(url, readers=1)
    try:
        with database.read() as connection:
            if current(connection) is None:
                return [], {}  # the store's own line says so
        require_current(database)
        with database.read() as connection:
            return installation.daemons(connection), figures.last_words(connection)
    finally:
        database.close()


def daemon_finding(known: list[Daemon], living: list[Daemon], now: datetime) -> Finding:
    """`known` did not say goodbye; `living` are those that gave a sign of life."""
    if not known:
        return warn(DAEMON, "no daemon runs", "syncd serve")
    if not living:
        newest = max(known, key=lambda each: each.heartbeat_at)
        silent = (now - newest.heartbeat_at).total_seconds()
        what = f"process {newest.pid} on {newest.host} is silent for {silent:,.0f} s"
        return warn(DAEMON, what, "syncd healthcheck, then syncd serve")
    old = [each for each in living if each.version != __version__]
    if old:
        what = f"process {old[0].pid} runs {old[0].version}, this is {__version__}"
        return warn(DAEMON, what, "restart the daemon")
    return ok(DAEMON, f"alive: {_named(living)}, version {__version__}")


def worker_findings(
    settings: Settings, known: list[Daemon], now: datetime
) -> Iterator[Finding]:
    """Whether somebody runs what daemons queue; nothing where they queue nothing."""
    if settings.cluster == "embedded":
        return
    if unattended(settings, known, now):
        what = "no worker gives a sign of life: what is due waits in the queue"
        yield fail(WORKERS, what, "syncd worker")
        return
    workers = [each for each in alive(known, now) if not ticks(each)]
    yield ok(WORKERS, f"alive: {_named(workers)}")


def _named(processes: list[Daemon]) -> str:
    return ", ".join(f"process {each.pid} on {each.host}" for each in processes)


def address(server: str, where: Listen, ours_is_here: bool) -> Finding:
    """Whether a daemon of ours holds the address, or could."""
    subject, shown = f"{server} port", f"{where.host}:{where.port}"
    if not where.port:
        return ok(subject, f"{where.host}, any free port; the daemon's log names it")
    refused = _refused(where)
    if refused is None and not ours_is_here:
        return ok(subject, f"{shown} is free")
    if refused is None:
        what = f"the daemon runs, but {shown} is free"
        return warn(subject, what, "restart the daemon: addresses change only then")
    if refused == errno.EADDRINUSE and ours_is_here:
        return ok(subject, f"{shown} is held by the daemon")
    if refused == errno.EADDRINUSE:
        what = f"{shown} is held by another program"
        return fail(subject, what, f"ss -ltnp 'sport = :{where.port}'")
    what = f"{shown} cannot be listened to: {errno.errorcode.get(refused, refused)}"
    return fail(subject, what, f"correct web.{server}.listen, then: syncd check")


def _refused(where: Listen) -> int | None:
    """The error number that binding there gives; nothing is listened to."""
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.host, where.port))
        except OSError as error:
            return error.errno or errno.EINVAL
    return None


def _admin(where: Listen, ours_is_here: bool, clock: Clock) -> Finding:
    found = address("admin", where, ours_is_here)
    if not where.port or _refused(where) != errno.EADDRINUSE or not ours_is_here:
        return found
    host = _LOOPBACK.get(where.host, where.host)
    netloc = f"[{host}]:{where.port}" if ":" in host else f"{host}:{where.port}"
    try:
        with HttpClient(f"http://{netloc}", clock=clock, workers=1, deadline=2) as http:
            status = http.request("GET", "/-/healthy").status
    except TransportError as error:
        return fail("admin port", str(error), "syncd healthcheck")
    if status != 200:
        what = f"{netloc} answers {status}: the daemon is stuck, or another program"
        return fail("admin port", what, "syncd healthcheck")
    return ok("admin port", f"the daemon answers at {netloc}")


def pushed(name: str, last: datetime | None, now: datetime) -> Finding:
    """When something last came through a connection's door."""
    subject = f"{name} inbox"
    if last is None:
        return warn(
            subject, "nothing was pushed yet", "send a test event, then: syncd status"
        )
    return ok(subject, f"the last event came {relative(min(last, now), now)}")
