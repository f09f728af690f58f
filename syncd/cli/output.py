"""What people and programs see: data on stdout, messages on stderr.

Data of others never becomes markup or a terminal's command: everything printed is
text or a rich `Text`, with control characters shown instead of obeyed. Tables are at
most 100 columns wide, on a terminal and on a pipe alike, and drop their least
important columns where they do not fit. rich is loaded only when a table or a colour
is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

from syncd.report.documents import json_document

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH = 100
"""Columns of a table at most."""

ColorChoice = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table."""

    title: str
    right: bool = False
    """Numbers are aligned to the right."""
    drop: int = 0
    """0 is never dropped; the highest number goes first where space is short."""


class Output:
    """Where a command writes. Knows whether colour is wanted, and how much to say."""

    def __init__(
        self,
        *,
        color: ColorChoice,
        read_environ: Callable[[], Mapping[str, str]],
        verbosity: int = 0,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        """`verbosity`: -1 only errors, 0 normal, 1 and more details."""
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.verbosity = verbosity
        self._color = color
        self._read_environ = read_environ

    def line(self, text: str | Text = "", *, style: str = "") -> None:
        """One line of data on stdout."""
        self._print(self.stdout, text, style)

    def message(self, text: str | Text, *, style: str = "") -> None:
        """One line for the person, on stderr; `-q` silences it."""
        if self.verbosity >= 0:
            self._print(self.stderr, text, style)

    def detail(self, text: str | Text) -> None:
        """One line on stderr that only `-v` shows."""
        if self.verbosity > 0:
            self._print(self.stderr, text, "dim")

    def error(self, text: str | Text, *, style: str = "") -> None:
        """One line on stderr that nothing silences."""
        self._print(self.stderr, text, style)

    def json(self, verb: str, document: Mapping[str, Any], *, version: int = 1) -> None:
        """One indented document on stdout; its first key names its schema."""
        self.stdout.write(json_document(verb, document, version=version))

    def table(
        self,
        columns: Sequence[Column],
        rows: Sequence[Sequence[str | Text]],
        *,
        header: bool = True,
        indent: int = 0,
    ) -> None:
        """Aligned columns on stdout, two spaces apart, without lines."""
        from rich.padding import Padding

        width = self.width(self.stdout) - indent
        chosen = columns_that_fit(columns, rows, width, header=header)
        grid = _grid([columns[n] for n in chosen], header=header)
        for row in rows:
            grid.add_row(*(_text(row[n]) for n in chosen))
        console = self._console(self.stdout)
        with console.capture() as capture:
            console.print(Padding(grid, (0, 0, 0, indent)))
        for line in capture.get().splitlines():
            self.stdout.write(f"{line.rstrip()}\n")

    def width(self, stream: IO[str]) -> int:
        """Columns to use: the terminal's, at most 100; 100 on a pipe."""
        if not stream.isatty():
            return WIDTH
        try:
            columns = os.get_terminal_size(stream.fileno()).columns
        except (OSError, ValueError):
            return WIDTH
        return min(WIDTH, columns) if columns > 0 else WIDTH

    def in_color(self, stream: IO[str]) -> bool:
        """Whether this stream gets colours."""
        if self._color != "auto":
            return self._color == "always"
        return auto_color(self._read_environ(), tty=stream.isatty())

    def _print(self, stream: IO[str], text: str | Text, style: str) -> None:
        if not self.in_color(stream):
            stream.write(f"{harmless(str(text))}\n")
            return
        from rich.text import Text

        styled = Text.assemble(_text(text), style=style)
        self._console(stream).print(styled, soft_wrap=True)

    def _console(self, stream: IO[str]) -> Console:
        from rich.console import Console

        colored = self.in_color(stream)
        return Console(
            file=stream,
            width=self.width(stream),
            color_system="standard" if colored else None,
            force_terminal=colored,
            no_color=not colored,
            markup=False,
            highlight=False,
            emoji=False,
        )


def auto_color(environ: Mapping[str, str], *, tty: bool) -> bool:
    """NO_COLOR beats FORCE_COLOR beats TERM=dumb beats what the stream is."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return tty and environ.get("TERM") != "dumb"


def columns_that_fit(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | Text]],
    width: int,
    *,
    header: bool = True,
) -> list[int]:
    """Indexes of the columns to show, the least important dropped until they fit."""
    from rich.cells import cell_len

    def needs(n: int) -> int:
        cells = [str(row[n]) for row in rows] + [columns[n].title] * header
        return max(map(cell_len, cells), default=0)

    widths = {n: needs(n) for n in range(len(columns))}
    while sum(widths.values()) + 2 * (len(widths) - 1) > width:
        worst = max(widths, key=lambda n: columns[n].drop)
        if columns[worst].drop == 0:
            break
        del widths[worst]
    return list(widths)


def _grid(columns: Sequence[Column], *, header: bool) -> Any:
    from rich.table import Table

    grid = Table(
        box=None,
        show_header=header,
        show_edge=False,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for column in columns:
        grid.add_column(
            _text(column.title),
            justify="right" if column.right else "left",
            header_style="bold",
            overflow="fold",
        )
    return grid


def _text(cell: str | Text) -> Text:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text(harmless(cell))


def harmless(text: str) -> str:
    """The text with control characters written out: a name cannot move the cursor."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1]
        for char in text
    )
