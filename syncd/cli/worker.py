"""`syncd worker`: a process that runs what daemons defer to it."""

import click

from syncd.app.memory import share_arenas
from syncd.app.signals import block
from syncd.app.working import Working, require_workers
from syncd.cli.configured import load
from syncd.cli.frame import Frame, verb
from syncd.cli.serve import clock_of, log_to_stdout, store_of

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
@click.option("--speed", type=click.FloatRange(min=1), default=1.0, show_default=True)
@click.option("--origin", metavar="TIME", help="With --speed: as the daemon has it.")
def worker(frame: Frame, at_once: int, speed: float, origin: str | None) -> None:
    """Run what daemons defer to workers, until stopped.

    For `cluster: procrastinate`: any number of workers, on any number of machines,
    beside one Postgres and at least one `syncd serve`.
    """
    block()
    share_arenas()
    loaded = load(frame)
    require_workers(loaded.settings)
    clock = clock_of(loaded, speed, origin)
    log_to_stdout(loaded.settings, clock)
    with store_of(loaded.settings, clock) as store:
        Working(loaded, lambda: load(frame), store, clock, at_once).work()
