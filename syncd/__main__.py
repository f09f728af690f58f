"""`python -m syncd` and the command `syncd`."""

import sys
from collections.abc import Mapping
from io import TextIOWrapper

from syncd.cli.main import run


def environ() -> Mapping[str, str]:
    """The variables of this process.

    The import waits for the first use, because it brings the whole settings package
    along, which the help does not need.
    """
    from syncd.config.environment import environ as read

    return read()


def main() -> None:
    """Carry out the command line of this process and end it with the right code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that has no arrow or bullet still gets its line.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:], environ))


if __name__ == "__main__":
    main()
