"""`syncd simulate`: the fake vendors at the ports that were asked for."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).parents[2]
ORIGINS = ("amplitude", "storage", "segment", "partner", "public", "control")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, each another one."""
    with ExitStack() as stack:
        listening = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [one.getsockname()[1] for one in listening]


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    """The real command, until it has said where it is; its stdin has ended."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", "simulate", "--stop-on-eof", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
    )


def test_each_origin_is_at_the_port_that_was_asked_for() -> None:
    ports = dict(zip(ORIGINS, free_ports(len(ORIGINS)), strict=True))
    options = [f"--{name}-port={port}" for name, port in ports.items()]

    ended = simulate(*options)

    assert ended.returncode == 0, ended.stderr
    origins = json.loads(ended.stdout)["origins"]
    assert {name: urlsplit(url).port for name, url in origins.items()} == ports


def test_without_a_port_each_origin_has_one_of_its_own() -> None:
    origins = json.loads(simulate().stdout)["origins"]

    assert origins.keys() == set(ORIGINS)
    assert len({urlsplit(url).port for url in origins.values()}) == len(ORIGINS)


def test_a_taken_port_is_an_error_and_not_another_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = simulate(f"--public-port={taken.getsockname()[1]}")

    assert ended.returncode != 0
    assert ended.stdout == ""
    assert "error[simulate.unavailable]" in ended.stderr
