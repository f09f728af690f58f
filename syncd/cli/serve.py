"""`syncd serve`: the daemon."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import urlsplit

import click

from syncd import __version__, log
from syncd.app.memory import share_arenas
from syncd.app.serve import Server
from syncd.app.signals import block
from syncd.app.store import OpenStore, opened
from syncd.cli.configured import load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.clock import Clock
from syncd.config.settings import Loaded, Settings
from syncd.config.settings_connections import EngageConnection
from syncd.events import help_links
from syncd.store import shared_clock
from syncd.store.installation import keep_fast_clock

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@verb("serve")
@click.option("--speed", type=click.FloatRange(min=1), default=1.0, show_default=True)
@click.option(
    "--origin",
    metavar="TIME",
    help="With --speed: the instant (RFC 3339) at which fast and real time agree.",
)
@click.option(
    "--stop-on-eof", is_flag=True, help="End with stdin: a dead parent leaves nothing."
)
def serve(
    frame: Frame, speed: float, origin: str | None, stop_on_eof: bool
) -> ExitCode | None:
    """Work until stopped: run every sync when it is due.

    --speed runs hours in seconds, against vendors on loopback only.
    """
    block()
    share_arenas()
    loaded = load(frame)
    clock = clock_of(loaded, speed, origin)
    log_to_stdout(loaded.settings, clock)
    if stop_on_eof:
        _stop_with_stdin()
    with store_of(loaded.settings, clock) as store:
        if clock.origin is not None:
            with store.database.begin() as connection:
                keep_fast_clock(connection, clock.speed, clock.origin)
        Server(loaded, lambda: load(frame), store, clock).serve()
    return None


def log_to_stdout(settings: Settings, clock: Clock) -> None:
    """What a long-lived process says, as the configuration wants it."""
    log.configure(
        settings.log.format,
        settings.log.level,
        clock,
        sys.stdout,
        settings.instance,
        __version__,
        further=help_links(settings.web.page.base_url),
    )


@contextmanager
def store_of(settings: Settings, clock: Clock) -> Iterator[OpenStore]:
    """The store that it works on, by whose clock it lives from here on: what it says of
    its own beginning, too."""
    how, fast = settings.store, clock.speed != 1
    url = how.read_url()
    with opened(url, migration=how.migrate, fast=fast, codec=how.codec) as store:
        shared_clock.follow(store.database, clock)
        yield store


def _stop_with_stdin() -> None:
    """Ask this process to stop, as SIGTERM does, once its stdin ends."""
    main = threading.get_ident()

    def wait() -> None:
        # os.read, as a daemon thread inside sys.stdin holds its lock at the end.
        while os.read(sys.stdin.fileno(), 4096):
            continue
        signal.pthread_kill(main, signal.SIGTERM)

    threading.Thread(target=wait, name="stdin", daemon=True).start()


def clock_of(loaded: Loaded, speed: float, origin: str | None) -> Clock:
    """The clock that was asked for; a fast one only among vendors on loopback."""
    if speed == 1:
        return Clock()
    if origin is None:
        raise click.UsageError("--speed needs --origin")
    for connection in loaded.settings.connections.values():
        if isinstance(connection, EngageConnection) and connection.write_key is None:
            continue  # it is only read, from a warehouse or files
        host = urlsplit(connection.transport.base_url or "").hostname
        if host not in _LOOPBACK:
            raise click.UsageError(
                f"--speed works with vendors on loopback only, and {connection.name} "
                "is not: real people must not be synced on a fast clock"
            )
    try:
        instant = datetime.fromisoformat(origin)
    except ValueError:
        raise click.UsageError(f"--origin {origin!r} is not a time") from None
    if instant.tzinfo is None:
        raise click.UsageError("--origin needs a zone, e.g. 2026-05-12T09:00:00Z")
    return Clock(speed=speed, origin=instant)
