"""Sentences of others (the vendor's words, a person's reason) within the width."""

from textwrap import wrap

from syncd.cli.output import WIDTH, Output


def sentence(out: Output, text: str, *, indent: int = 0, hanging: int = 0) -> None:
    """One sentence on stdout, on as many lines as it takes; `hanging` from the second.

    Line ends inside it become spaces: a sentence cannot pretend to be two lines.
    """
    first = " " * indent
    for line in wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first + " " * hanging,
        break_on_hyphens=False,
    ):
        out.line(line)
