"""A person's id as a command gets it: from a stream, byte for byte, never from argv.

What is in a command line stays in the shell's history and is seen by whoever lists the
processes. What is read is never repeated: people know it by its hash, as in the log.
"""

import os
import sys
from typing import BinaryIO

import click

from syncd.cli.frame import Frame, Function
from syncd.log import person_hash
from syncd.store import installation
from syncd.store.database import Connection

LONGEST = 16_384
"""Bytes; no id is longer than 2,600."""
_LONGEST_ID = 2_600
_HOW = 'printf %s "$ID" | syncd'


class OnlyFromStream(click.ParamType[str]):
    """`-`: the id comes from standard input. Anything else is not even repeated."""

    name = "-"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        if value != "-":
            what = ctx.info_name if ctx is not None else ""
            self.fail(
                "An id in the command line stays in the shell's history. "
                f"Give it on standard input: {_HOW} {what} -",
                param,
                ctx,
            )
        return value


def id_argument(function: Function) -> Function:
    """The argument `-` and the flag `--fd` of a verb about one person."""
    fd = click.option(
        "--fd",
        type=click.IntRange(0),
        metavar="N",
        help="Read the id from this file descriptor instead of standard input.",
    )
    return click.argument("stdin", metavar="-", type=OnlyFromStream())(fd(function))


def read_id(frame: Frame, fd: int | None) -> bytes:
    """The one line of the stream, exactly; white space around it is warned of.

    Raises `click.UsageError` for no line, more than one, and a line without end.
    """
    if fd is None and frame.may_ask():
        frame.out.message("Type the id of one person, then Enter.")
        content = sys.stdin.buffer.readline(LONGEST + 1)
    else:
        content = _whole(fd)
    if len(content) > LONGEST:
        raise click.UsageError(f"No id is longer than {LONGEST:,} bytes.")
    line, _, rest = content.partition(b"\n")
    if rest:
        raise click.UsageError("One id, on one line.")
    if not line:
        raise click.UsageError(f"No id on standard input: {_HOW} …")
    text = line.decode(errors="replace")
    if text != text.strip():
        frame.out.error(
            "warning: white space before or after the id; it counts as a part of it",
            style="bold yellow",
        )
    return line


def read_ids(frame: Frame, fd: int | None, most: int) -> list[str]:
    """The lines of the stream, exactly, without empty ones and repetitions.

    Raises `click.UsageError` for no line, more than `most`, or what is no text.
    """
    limit = most * _LONGEST_ID
    if fd is None and frame.may_ask():
        frame.out.message("Type one id a line, then Ctrl-D.")
    content = _whole(fd, limit)
    if len(content) > limit:
        raise click.UsageError(f"At most {most:,} ids at once.")
    try:
        lines = dict.fromkeys(content.decode().split("\n"))
    except UnicodeDecodeError:
        raise click.UsageError("The ids are no UTF-8 text.") from None
    found = [line for line in lines if line]
    if not found:
        raise click.UsageError(f"No id on standard input: {_HOW} …")
    if len(found) > most:
        raise click.UsageError(
            f"At most {most:,} ids at once, these are {len(found):,}."
        )
    return found


def _whole(fd: int | None, limit: int = LONGEST) -> bytes:
    if fd is None:
        return _upto(sys.stdin.buffer, limit)
    try:
        with os.fdopen(fd, "rb", closefd=False) as stream:
            return _upto(stream, limit)
    except OSError as error:
        raise click.UsageError(
            f"File descriptor {fd} cannot be read: {error.strerror}."
        ) from None


def _upto(stream: BinaryIO, limit: int) -> bytes:
    return stream.read(limit + 1)


def hash_of(connection: Connection, member_id: bytes) -> str | None:
    """What the log calls this person; None before the daemon's first start."""
    key = installation.known_hash_key(connection)
    return person_hash(key, member_id) if key is not None else None
