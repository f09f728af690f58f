"""A table as README.md has it."""

import os
from collections.abc import Iterable, Sequence


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """`head` names the columns, by commas."""
    names = [name.strip() for name in head.split(",")]
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load() -> str:
    """How busy the machine is, of the last 1, 5 and 15 minutes."""
    return "load: " + " ".join(f"{each:.1f}" for each in os.getloadavg())
