"""The demo's first chapter: fake vendors, a customer, and the daemon."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import orjson

from syncd import config
from syncd.cli import store
from syncd.cli.demo_processes import Processes
from syncd.cli.demo_pushes import Pushes
from syncd.cli.demo_vendors import FakeVendors
from syncd.cli.demo_watch import Records, Watch, daemon_beats, none_if_absent
from syncd.cli.demo_world import World
from syncd.cli.output import Output
from syncd.clock import Clock
from syncd.report.words import number

LATENCY = "0.02"
"""Real seconds the fake vendors take for a writing request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtain:
    """What is there before the first chapter."""

    out: Output
    world: World
    processes: Processes
    watch: Watch
    stack: ExitStack
    """Closes what is opened here."""


def start_vendors(curtain: Curtain) -> FakeVendors:
    """`syncd simulate`, and whom the fake vendors know."""
    world, watch = curtain.world, curtain.watch
    ready = world.folder / "simulator.json"
    arguments = ["simulate", "--latency", LATENCY, "--ready-file", str(ready)]
    curtain.processes.start(
        "the fake vendors",
        [*arguments, *_fast(watch.clock)],
        world.folder / "simulator.log",
    )
    watch.until("the fake vendors", lambda: ready.exists() or None)
    origins: dict[str, str] = orjson.loads(ready.read_bytes())["origins"]
    vendors = FakeVendors(origins["control"], watch.clock)
    curtain.stack.callback(vendors.close)
    vendors.answer_inline()
    vendors.know(world.known)
    for audience in world.audiences:
        audience.create(vendors, world.warehouse)
    for cohort in world.cohorts:
        cohort.create(vendors)
    world.write_config(origins)
    _introduce(curtain.out, world, origins)
    return vendors


def start_daemon(curtain: Curtain, vendors: FakeVendors) -> tuple[Records, Pushes]:
    """`syncd serve`, on the same fast clock, and the vendors that push to it."""
    world, watch, processes = curtain.world, curtain.watch, curtain.processes
    arguments = ["serve", "-c", str(world.config), *_fast(watch.clock)]
    pid = processes.start("the daemon", arguments, world.log)
    settings = config.load([world.config], processes.environ).settings
    database = watch.until(
        "the daemon to make its store",
        lambda: none_if_absent(
            lambda: curtain.stack.enter_context(store.opened(settings))
        ),
    )
    watch.until("the daemon to serve", partial(daemon_beats, database))
    url = url_of(watch, "inbound")
    records = Records(database)
    pushes = Pushes(vendors, records, watch)
    pushes.connect(url, [*world.audiences, *world.cohorts])
    tell(
        curtain.out,
        f"One daemon, syncd serve, does all of it; it runs as process {pid}.",
        f"On {url} it takes what is pushed: Engage's webhooks, signed batches",
        "with a second factor, here out of order and a fifth of the events twice; "
        "Amplitude's lists.",
        f"Its page for people is {url_of(watch, 'admin')}/ as long as it runs.",
    )
    return records, pushes


def url_of(watch: Watch, server: str) -> str:
    """Where a server of the daemon is; its ports are any that were free."""
    look = partial(watch.listening, server)
    return f"http://{watch.until('the daemon to listen', look)}"


def tell(out: Output, *lines: str) -> None:
    """Sentences, one on each line, at once."""
    for line in lines:
        out.line(f"   {line}".rstrip())
    out.stdout.flush()


def _introduce(out: Output, world: World, origins: dict[str, str]) -> None:
    first, second = world.audiences
    out.line()
    out.line(
        "1. A customer with two audiences and two cohorts, all made up", style="bold"
    )
    tell(
        out,
        f"A fake Engage: {number(len(first.members))} people in the audience "
        f"{first.key}, {number(len(second.members))} in {second.key};",
        "whoever enters or leaves is in its warehouse, too.",
        f"A fake Amplitude on {origins['amplitude']}; it knows all but "
        f"{len(world.strangers)} of them.",
        "It computes two cohorts: "
        + ", ".join(
            f"{number(len(each.members) + each.anonymous)} people in {each.name}"
            for each in world.cohorts
        )
        + ".",
        f"A fake Segment on {origins['segment']}, a partner on {origins['partner']}.",
        "One configuration, here in full:",
    )
    for line in world.config_text(origins).splitlines():
        out.line(f"     {line}", style="cyan")


def _fast(clock: Clock) -> list[str]:
    """The same fast clock for every process."""
    origin = clock.origin.isoformat() if clock.origin else ""
    return ["--speed", str(clock.speed), "--origin", origin]
