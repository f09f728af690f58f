"""`syncd demo`: the whole product on fake APIs, in fast motion, without credentials.

The real commands run as processes of their own: `syncd simulate` stands for Amplitude,
`syncd serve` is the daemon, `show`, `approve` and `reject` are typed for you.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import click
import orjson

from syncd import config
from syncd.cli import store
from syncd.cli.demo_amplitude import FakeAmplitude
from syncd.cli.demo_processes import DemoFailed, Processes
from syncd.cli.demo_proof import Proof
from syncd.cli.demo_story import Story
from syncd.cli.demo_watch import (
    Records,
    Watch,
    daemon_beats,
    none_if_absent,
)
from syncd.cli.demo_world import World
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.cli.runs import run_document
from syncd.cli.words import number
from syncd.clock import Clock
from syncd.errors import SyncdError

SPEED = 1800
"""Virtual seconds per real second: an hour takes two."""
LATENCY = "0.02"
"""Real seconds the fake Amplitude takes for a writing request."""
_PATIENCE = 60.0
"""Real seconds one wait may take, and more for many people."""


@verb("demo", reads=True)
@click.option(
    "--people",
    type=click.IntRange(2_000, 200_000),
    default=50_000,
    show_default=True,
    help="How many are in the larger of the two audiences.",
)
@click.option(
    "--serve",
    "stay",
    is_flag=True,
    help="Go on after the story, to look around, until Ctrl-C.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make everything in DIR and leave it there; default: a temporary folder.",
)
def demo(frame: Frame, people: int, stay: bool, keep: Path | None) -> ExitCode:
    """Try everything: two audiences and a fake Amplitude, a day within half a minute.

    Needs no credentials and no configuration, and touches nothing outside its folder.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(keep))
        out = stack.enter_context(_narrator(frame))
        world = World(folder, people)
        processes = stack.enter_context(Processes(frame.environ, world.config))
        watch = Watch(
            processes,
            Clock(speed=SPEED, origin=frame.clock.wall().replace(microsecond=0)),
            patience=_PATIENCE + people / 1000,
            log=world.log,
        )
        try:
            equal = _play(frame, out, world, processes, watch)
            if stay:
                _stay(out, world, watch)
            _stop(processes)
        except SyncdError:
            _show_last_words(frame, watch)
            raise
        _farewell(out, folder, kept=keep is not None)
    return ExitCode.OK if equal else ExitCode.FAILED


def _play(
    frame: Frame, out: Output, world: World, processes: Processes, watch: Watch
) -> bool:
    """The demo from the curtain to the proof; whether the proof holds.

    Closes the store at its end, before the daemon does: the last one tidies it up.
    """
    started = frame.clock.monotonic()
    with ExitStack() as stack:
        amplitude = _start_amplitude(stack, out, world, processes, watch)
        story = Story(
            out=out,
            world=world,
            watch=watch,
            records=_start_daemon(stack, out, world, processes, watch),
            amplitude=amplitude,
            processes=processes,
        )
        story.first_sync()
        story.people_move()
        story.guards_hold()
        proofs = story.proofs()
    seconds = frame.clock.monotonic() - started
    _conclude(out, proofs, seconds)
    if frame.as_json:
        frame.out.json("demo", _document(story, proofs, seconds, watch.clock))
        frame.out.stdout.flush()
    return all(each.holds for each in proofs)


def _start_amplitude(
    stack: ExitStack, out: Output, world: World, processes: Processes, watch: Watch
) -> FakeAmplitude:
    """`syncd simulate`, the people it knows, and the warehouse meanwhile."""
    ready = world.folder / "simulator.json"
    arguments = ["simulate", "--latency", LATENCY, "--ready-file", str(ready)]
    processes.start(
        "the fake Amplitude",
        [*arguments, *_fast(watch.clock)],
        world.folder / "simulator.log",
    )
    world.build_warehouse(watch.clock.now())
    watch.until("the fake Amplitude", lambda: ready.exists() or None)
    origins = orjson.loads(ready.read_bytes())["origins"]
    amplitude = FakeAmplitude(origins["control"], watch.clock)
    stack.callback(amplitude.close)
    amplitude.know(world.known)
    world.write_config(origins["amplitude"])
    first, second = world.audiences
    out.line()
    out.line("1. A customer with two audiences, all of it made up", style="bold")
    _tell(
        out,
        f"A warehouse: {number(len(first.members))} people in the audience "
        f"{first.key}, {number(len(second.members))} in {second.key}.",
        f"A fake Amplitude on {origins['amplitude']}; it knows all but "
        f"{len(world.strangers)} of them.",
        "One configuration, here in full:",
    )
    for line in world.config_text(origins["amplitude"]).splitlines():
        out.line(f"     {line}", style="cyan")
    return amplitude


def _start_daemon(
    stack: ExitStack, out: Output, world: World, processes: Processes, watch: Watch
) -> Records:
    """`syncd serve`, on the same fast clock."""
    arguments = ["serve", "-c", str(world.config), *_fast(watch.clock)]
    pid = processes.start("the daemon", arguments, world.log)
    settings = config.load([world.config], processes.environ).settings
    database = watch.until(
        "the daemon to make its store",
        lambda: none_if_absent(lambda: stack.enter_context(store.opened(settings))),
    )
    watch.until("the daemon to serve", partial(daemon_beats, database))
    _tell(out, f"The daemon, syncd serve, runs as process {pid}.")
    return Records(database)


def _stop(processes: Processes) -> None:
    """Both end, and both say that they ended well."""
    codes = processes.stop()
    if any(codes.values()):
        ended = ", ".join(f"{name} with {code}" for name, code in codes.items())
        raise DemoFailed(f"the processes ended: {ended}; 0 was expected")


def _fast(clock: Clock) -> list[str]:
    """The same fast clock for every process."""
    origin = clock.origin.isoformat() if clock.origin else ""
    return ["--speed", str(clock.speed), "--origin", origin]


# ---- telling -------------------------------------------------------------------------


def _conclude(out: Output, proofs: list[Proof], seconds: float) -> None:
    out.line()
    for each in proofs:
        if not each.holds:
            out.line(f"   {each.difference()}", style="bold red")
    if all(each.holds for each in proofs):
        text = "Every cohort is its audience minus the listed unmatched people"
        out.line(f"   {text} ({seconds:.0f} s).", style="bold green")


def _stay(out: Output, world: World, watch: Watch) -> None:
    """Go on until Ctrl-C, which is how this is meant to end."""
    flags = f"-c {quote(str(world.config))}"
    try:
        _tell(
            out,
            "",
            "Both processes go on, an hour every two seconds, until Ctrl-C. Look "
            "around:",
            f"  syncd status {flags}",
            f"  syncd runs {flags}",
            f"  syncd show {world.audiences[0].sync} {flags}",
            f"  tail -f {quote(str(world.log))}",
        )
        while True:
            watch.pause()
    except KeyboardInterrupt:
        _tell(out, "", "Stopping.")


def _farewell(out: Output, folder: Path, *, kept: bool) -> None:
    place = f"Everything is still in {folder}." if kept else "The folder is removed."
    _tell(
        out,
        f"Both processes have stopped. {place}",
        "Next: syncd init writes a configuration of your own; README.md goes on there.",
    )


def _show_last_words(frame: Frame, watch: Watch) -> None:
    for line in watch.last_words():
        frame.out.error(f"  daemon: {line}")


def _tell(out: Output, *lines: str) -> None:
    for line in lines:
        out.line(f"   {line}".rstrip())
    out.stdout.flush()


def _document(
    story: Story, proofs: list[Proof], seconds: float, clock: Clock
) -> dict[str, Any]:
    return {
        "equal": all(each.holds for each in proofs),
        "seconds": round(seconds, 1),
        "speed": clock.speed,
        "audiences": [each.document() for each in proofs],
        "runs": [run_document(each, clock.now(), alive=False) for each in story.runs],
    }


@contextmanager
def _narrator(frame: Frame) -> Iterator[Output]:
    """Where the story is told: on stderr with `--json`, nowhere with `-q`."""
    with ExitStack() as stack:
        stream = sys.stderr if frame.as_json else sys.stdout
        if frame.verbosity < 0:
            stream = stack.enter_context(open(os.devnull, "w"))
        out = Output(color=frame.color, read_environ=frame.read_environ, stdout=stream)
        out.line("syncd demo: audiences become Amplitude cohorts.", style="bold")
        out.line(
            "No credentials, nothing leaves this machine; an hour takes 2 seconds."
        )
        out.stdout.flush()
        yield out


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """A temporary folder, or the empty one that was named."""
    if keep is None:
        with TemporaryDirectory(prefix="syncd-demo-") as name:
            yield Path(name)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise SyncdError(
                f"{keep} is not empty and was left as it is",
                code="demo.exists",
                hint="syncd demo --keep NEW_FOLDER",
            )
    except OSError as error:
        what = f"cannot make {keep}: {error.strerror}"
        raise SyncdError(what, code="demo.unwritable") from None
    yield keep.absolute()
