"""`python -m syncd.simulator`: the simulator as a process of its own."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from syncd.simulator.server import Options, serve


def options(arguments: Sequence[str]) -> Options:
    """The command line as Options; argparse exits 2 if it is wrong."""
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m syncd.simulator")
    parser.add_argument("--host", default=default.host)
    parser.add_argument("--amplitude-port", type=int, default=0)
    parser.add_argument("--storage-port", type=int, default=0)
    parser.add_argument("--segment-port", type=int, default=0)
    parser.add_argument("--partner-port", type=int, default=0)
    parser.add_argument("--public-port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--speed", type=float, default=default.speed)
    parser.add_argument("--origin", type=_instant, help="ISO 8601, UTC if no zone")
    parser.add_argument("--region", choices=("us", "eu"), default=default.region)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--latency", type=float, default=default.latency)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--stop-on-eof", action="store_true")
    return Options(**vars(parser.parse_args(arguments)))


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


if __name__ == "__main__":
    sys.exit(serve(options(sys.argv[1:])))
