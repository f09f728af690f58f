"""`syncd worker`: a process that runs what daemons defer to it."""

import click

from syncd.app.memory import share_arenas
from syncd.app.signals import block
from syncd.app.working import Working, require_workers
from syncd.cli.configured import load
from syncd.cli.frame import Frame, verb
from syncd.cli.serve import clock_of, log_to_stdout, store_of
from syncd.config.inbound_values import address_of, is_loopback
from syncd.config.settings import Listen, Settings

AT_ONCE = 8
"""A run mostly waits for the other side."""


@verb("worker")
@click.option(
    "--at-once",
    type=click.IntRange(min=1, max=200),
    default=AT_ONCE,
    show_default=True,
    metavar="N",
    help="Runs that this process carries out at the same time.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Where probes and Prometheus find it: health and metrics, no page.",
)
@click.option("--speed", type=click.FloatRange(min=1), default=1.0, show_default=True)
@click.option("--origin", metavar="TIME", help="With --speed: as the daemon has it.")
def worker(
    frame: Frame, at_once: int, listen: str | None, speed: float, origin: str | None
) -> None:
    """Run what daemons defer to workers, until stopped.

    For `cluster: procrastinate`: any number of workers, on any number of machines,
    beside one Postgres and at least one `syncd serve`. Without --listen it opens no
    port; `syncd healthcheck --worker` needs none.
    """
    block()
    share_arenas()
    loaded = load(frame)
    require_workers(loaded.settings)
    where = _address(listen, loaded.settings) if listen is not None else None
    clock = clock_of(loaded, speed, origin)
    log_to_stdout(loaded.settings, clock)
    with store_of(loaded.settings, clock) as store:
        Working(loaded, lambda: load(frame), store, clock, at_once, where).work()


def _address(written: str, settings: Settings) -> Listen:
    """Where it listens, by the rule of `web.admin`."""
    try:
        where = address_of(written)
    except ValueError:
        raise click.UsageError(
            "--listen needs an address and a port, e.g. 127.0.0.1:8082"
        ) from None
    if not is_loopback(where.host) and settings.web.admin_token is None:
        raise click.UsageError(
            "--listen: others reach it, so 'web.admin' needs 'token_file' or "
            "'token_env'; or listen on 127.0.0.1"
        )
    return where
