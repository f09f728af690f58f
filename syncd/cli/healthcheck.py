"""`syncd healthcheck`: is the daemon alive? For `HEALTHCHECK` and exec probes.

The daemon is asked where it listens at a fixed port, else its heartbeat in the store
is read. Alive means: its scheduler ticks and the store answers. A failing sync never
makes a container unhealthy; a restart would not help it (operations page, 0, 13).
"""

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType

import click

from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.store import opened
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.config.settings import Listen, Settings
from syncd.errors import ConfigError, SyncdError
from syncd.report.daemons import SILENT_AFTER
from syncd.report.words import span
from syncd.store import installation
from syncd.store.installation import Daemon, Role
from syncd.store.shared_clock import follow_by

PATIENCE_S = 2.0
"""Probes are killed by whoever started them soon after."""

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where one may ask
"""Who listens everywhere is asked on this machine."""
_LARGEST = 1024
"""Bytes of a health answer."""


class _TooSlow(BaseException):
    """The patience is over. Not an `Exception`: nothing on the way may swallow it."""


@verb("healthcheck", reads=True)
@click.option(
    "--worker", is_flag=True, help="Of the worker of this host, by its sign of life."
)
def healthcheck(frame: Frame, worker: bool) -> ExitCode:
    """Exit 0 if the daemon of this host is alive and the store answers, else 1.

    Answers within 2 seconds, with one line that says why. A worker that listens where
    web.admin says is asked as a daemon is.
    """
    clock = frame.clock
    try:
        with _at_most(PATIENCE_S):
            settings = load(frame).settings
            if worker:
                healthy, why = _look(settings, clock, Role.WORKER)
            else:
                healthy, why = _judge(settings, clock)
    except _TooSlow:
        healthy, why = False, f"no answer within {PATIENCE_S:.0f} s"
    except ConfigError:
        healthy, why = False, "the configuration is invalid: syncd check"
    except SyncdError as error:
        healthy, why = False, f"{error.code}: {error}"
    if frame.as_json:
        frame.out.json(
            "healthcheck", {"healthy": healthy, "why": why, "now": clock.wall()}
        )
    else:
        frame.out.line(f"{'healthy' if healthy else 'unhealthy'}: {why}")
    return ExitCode.OK if healthy else ExitCode.FAILED


def _judge(settings: Settings, clock: Clock) -> tuple[bool, str]:
    admin = settings.web.admin
    if admin is not None and admin.port:
        return ask(admin, clock)
    return _look(settings, clock, Role.DAEMON)


def ask(admin: Listen, clock: Clock) -> tuple[bool, str]:
    """What the daemon that listens there says of itself."""
    host = _LOOPBACK.get(admin.host, admin.host)
    where = f"[{host}]:{admin.port}" if ":" in host else f"{host}:{admin.port}"
    try:
        with HttpClient(
            f"http://{where}", clock=clock, workers=1, deadline=PATIENCE_S
        ) as http:
            answer = http.request("GET", "/-/healthy", max_bytes=_LARGEST)
    except TransportError as error:
        return False, f"no daemon answers at {where}: {error}"
    word = _word(answer.body)
    if answer.ok and word == "ok":
        return True, f"the daemon at {where} ticks, and its store answers"
    if word not in ("", "ok"):
        return False, f"the daemon at {where} is stuck, or its store is ({word})"
    return False, f"what answers {answer.status} at {where} is no syncd: web.admin"


def _word(body: bytes) -> str:
    """The status in a health answer; empty where it is none."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    word = said.get("status") if isinstance(said, dict) else None
    return word if word in {"ok", "failing", "not_ready"} else ""


def _look(settings: Settings, clock: Clock, role: Role) -> tuple[bool, str]:
    """What the store says of the daemon, or the worker, of this host."""
    with opened(settings) as database, database.read() as connection:
        follow_by(connection, clock)
        daemons = installation.daemons(connection)
        shared = database.dialect == "postgresql"
    host = socket.gethostname()
    # Replicas share a store; a probe asks for the one beside it.
    here = [d for d in daemons if not shared or d.host == host]
    return verdict([d for d in here if d.role is role], clock.wall(), role)


def verdict(
    daemons: list[Daemon], now: datetime, role: Role = Role.DAEMON
) -> tuple[bool, str]:
    """Whether the newest heartbeat is young enough, and the sentence to say."""
    if not daemons:
        verb = "serve" if role is Role.DAEMON else "worker"
        return False, f"no {role.value} runs (syncd {verb})"
    newest = max(daemons, key=lambda each: each.heartbeat_at)
    age = max(now - newest.heartbeat_at, timedelta(0))
    beat = f"{role.value} {newest.pid} gave its last sign of life {span(age)} ago"
    return age < SILENT_AFTER, beat


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Give up after that many real seconds, whatever is being waited for."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
