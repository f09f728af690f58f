"""`syncd members`: the ids of a sync's members, or of those who are not members yet.

The one command that shows ids. They are streamed, one a line, in memory for one range
of buckets; to a terminal only when a person says so, to a file that only they can read.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from syncd.cli.configured import chosen, load
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame, verb
from syncd.cli.output import harmless
from syncd.cli.store import on_its_clock, opened
from syncd.report.words import number
from syncd.store import acknowledged, bindings, unaccepted
from syncd.store.acknowledged import Bucket
from syncd.store.bindings import Binding
from syncd.store.database import Connection
from syncd.store.unaccepted import Kind

Read = Callable[[], Iterator[Iterable[bytes]]]
"""Reads the ids, in blocks; may be called again."""

MEMBERS, WAITING = "members", "waiting"
_CALLED = {
    MEMBERS: "acknowledged members",
    WAITING: "people in batches without a proven answer",
    Kind.UNMATCHED: "people whom the destination does not know",
    Kind.REJECTED: "people whom the destination refuses",
}


def _which(word: str, text: str) -> Callable[..., click.Command]:
    return click.option(
        f"--{word}", "which", flag_value=word, type=click.STRING, help=text
    )


@verb("members")
@click.argument("name", metavar="SYNC")
@_which(WAITING, "Who is in a batch that is open or dead: sent or not, nobody knows.")
@_which(Kind.UNMATCHED, "Whom the destination does not know; offered again later.")
@_which(Kind.REJECTED, "Whom the destination refuses.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to a new file that only you can read (0600), instead of stdout.",
)
def members(
    frame: Frame, name: str, which: str | None, output: Path | None
) -> ExitCode | None:
    """Write the ids of the acknowledged members of a sync, one a line; count first.

    Of all others only those are known who were offered and not taken, or are on the
    way: one of the flags asks for these instead.
    """
    settings, wanted = load(frame).settings, which or MEMBERS
    syncs = chosen(settings, [name])
    if len(syncs) != 1:
        raise click.UsageError(f"'{name}' means {len(syncs)} syncs; name one.")
    with opened(settings) as database, database.read() as connection:
        read = _reader(
            on_its_clock(frame, connection), connection, syncs[0].name, wanted
        )
        count = sum(len(list(block)) for block in read())
        frame.out.message(f"{number(count)} {_CALLED[wanted]} of {syncs[0].name}")
        if output is not None:
            with _new_file(output) as file:
                _write(file, read(), shown=False)
            return None
        on_terminal = frame.out.stdout.isatty()
        if on_terminal and count and not frame.confirm("Show their ids here?"):
            frame.out.error("Not shown on a terminal: --output FILE, a pipe, or --yes")
            return ExitCode.USAGE
        _write(frame.out.stdout, read(), shown=on_terminal)
    return None


def _reader(frame: Frame, connection: Connection, name: str, wanted: str) -> Read:
    binding = bindings.current(connection, name)
    if binding is None:
        return lambda: iter(())
    match wanted:
        case Kind.UNMATCHED | Kind.REJECTED:
            kind = Kind(wanted)
            return lambda: unaccepted.ids(connection, binding.id, kind)
        case _:
            return lambda: _of_buckets(frame, connection, binding, wanted)


def _of_buckets(
    frame: Frame, connection: Connection, binding: Binding, wanted: str
) -> Iterator[Iterable[bytes]]:
    def chosen_of(bucket: Bucket) -> set[bytes]:
        return bucket.acknowledged if wanted == MEMBERS else bucket.uncertain

    now = frame.clock.now()
    for each in acknowledged.read(connection, binding.id, binding.n_buckets, now):
        yield chosen_of(each)


def _write(file: IO[str], blocks: Iterator[Iterable[bytes]], *, shown: bool) -> None:
    for block in blocks:
        lines = (each.decode() for each in sorted(block))
        file.writelines(f"{harmless(line) if shown else line}\n" for line in lines)


@contextmanager
def _new_file(path: Path) -> Iterator[IO[str]]:
    """A file of our own; taken away again when it cannot be written to its end."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.UsageError(f"{path} is there already; name a new file.") from None
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
