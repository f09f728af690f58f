"""Where a daemon hears commands, and how it refuses one: all that a caller must know.

Apart from `control`, because whoever only asks needs no web server, which takes longer
to load than to ask.
"""

from pathlib import Path

REFUSED = 409
"""The HTTP status of a command that was understood and refused."""


def socket_path(database_file: Path) -> Path:
    """Where the daemon of this SQLite store listens."""
    return database_file.with_name(database_file.name + ".sock")
