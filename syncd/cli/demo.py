"""`syncd demo`: the whole product on fake APIs, in fast motion, without credentials.

The real commands run as processes of their own: `syncd simulate` stands for Amplitude,
Engage, Segment and a partner, `syncd serve` is the daemon, `show`, `approve` and
`reject` are typed for you.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory

import click

from syncd.cli.demo_ending import Ending
from syncd.cli.demo_processes import DemoFailed, Processes
from syncd.cli.demo_start import (
    Curtain,
    start_daemon,
    start_vendors,
    tell,
    url_of,
)
from syncd.cli.demo_story import Story
from syncd.cli.demo_teller import Teller
from syncd.cli.demo_watch import Watch
from syncd.cli.demo_world import World
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import Output
from syncd.clock import Clock
from syncd.errors import SyncdError
from syncd.report.runs import run_document

SPEED = 1800
"""Virtual seconds per real second: an hour takes two."""
_TITLE = "syncd demo: audiences become cohorts; cohorts become traits and lists."
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
    """Try everything: both directions in one daemon, a day within half a minute.

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
    """The demo from the curtain to the proofs; whether all of them hold.

    Closes the store at its end, before the daemon does: the last one tidies it up.
    """
    started = frame.clock.monotonic()
    with ExitStack() as stack:
        curtain = Curtain(
            out=out, world=world, processes=processes, watch=watch, stack=stack
        )
        vendors = start_vendors(curtain)
        records, pushes = start_daemon(curtain, vendors)
        teller = Teller(out, records, processes, world.syncs)
        ending = _tell_all(
            Story(
                teller=teller,
                world=world,
                watch=watch,
                records=records,
                vendors=vendors,
                pushes=pushes,
            )
        )
    seconds = frame.clock.monotonic() - started
    ending.conclude(out, seconds)
    if frame.as_json:
        _print_document(frame, ending, teller, seconds, watch.clock)
    return ending.holds


def _tell_all(story: Story) -> Ending:
    """Every chapter, in order."""
    story.first_sync()
    story.people_move()
    story.guards_hold()
    return Ending(
        audiences=story.proofs(),
        cohorts=story.cohort_proofs(),
        spending=story.spending(),
        pushes=story.pushed(),
    )


def _stop(processes: Processes) -> None:
    """Both end, and both say that they ended well."""
    codes = processes.stop()
    if any(codes.values()):
        ended = ", ".join(f"{name} with {code}" for name, code in codes.items())
        raise DemoFailed(f"the processes ended: {ended}; 0 was expected")


# ---- telling -------------------------------------------------------------------------


def _stay(out: Output, world: World, watch: Watch) -> None:
    """Go on until Ctrl-C, which is how this is meant to end."""
    flags = f"-c {quote(str(world.config))}"
    try:
        tell(
            out,
            "",
            "Both processes go on, an hour every two seconds, until Ctrl-C. Look "
            "around:",
            f"  {url_of(watch, 'admin')}/   in a browser",
            f"  syncd status {flags}",
            f"  syncd quota {flags}",
            f"  syncd runs {flags}",
            f"  syncd show {world.audiences[0].sync} {flags}",
            f"  tail -f {quote(str(world.log))}",
        )
        while True:
            watch.pause()
    except KeyboardInterrupt:
        tell(out, "", "Stopping.")


def _farewell(out: Output, folder: Path, *, kept: bool) -> None:
    place = f"Everything is still in {folder}." if kept else "The folder is removed."
    tell(
        out,
        f"Both processes have stopped. {place}",
        "Next: syncd init writes a configuration of your own; README.md goes on there.",
    )


def _show_last_words(frame: Frame, watch: Watch) -> None:
    for line in watch.last_words():
        frame.out.error(f"  daemon: {line}")


def _print_document(
    frame: Frame, ending: Ending, teller: Teller, seconds: float, clock: Clock
) -> None:
    now = clock.now()
    document = ending.document() | {
        "seconds": round(seconds, 1),
        "speed": clock.speed,
        "runs": [run_document(each, now, alive=False) for each in teller.runs],
    }
    frame.out.json("demo", document)
    frame.out.stdout.flush()


@contextmanager
def _narrator(frame: Frame) -> Iterator[Output]:
    """Where the story is told: on stderr with `--json`, nowhere with `-q`."""
    with ExitStack() as stack:
        stream = sys.stderr if frame.as_json else sys.stdout
        if frame.verbosity < 0:
            stream = stack.enter_context(open(os.devnull, "w"))
        out = Output(color=frame.color, read_environ=frame.read_environ, stdout=stream)
        out.line(_TITLE, style="bold")
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
