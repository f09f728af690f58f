"""The two ways to a store on Postgres: straight, and through a PgBouncer of the tests.

It works in transaction mode, and a test that looks at the store looks past it.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest

from tests.simulated import PATIENCE

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
"""Debian's package of this name has it."""
WAYS = [
    "postgres",
    pytest.param(
        "pgbouncer",
        marks=[
            pytest.mark.system,
            pytest.mark.skipif(PGBOUNCER is None, reason="needs the package pgbouncer"),
        ],
    ),
]
"""Parameters of a fixture that takes each of them by `reached`."""
_SETTINGS = """
[databases]
* = host={server} port=5432 user=postgres
[pgbouncer]
listen_port = 5432
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 300
idle_transaction_timeout = {idle}
"""
"""The last one is off by default, as with PgBouncer itself: the transactions of a
replica that stands still have an end of their own."""


@contextmanager
def reached(way: str, url: str) -> Iterator[str]:
    """The URL by which processes come to this store on one of `WAYS`."""
    if way == "postgres":
        yield url
        return
    with pooled(url) as by_pool:
        yield by_pool


@contextmanager
def pooled(url: str, idle: int = 0, size: int = 36) -> Iterator[str]:
    """One before the server of this URL; the URL by which it is used.

    `idle` seconds a transaction may say nothing (0: for ever); `size` connections.
    """
    assert PGBOUNCER is not None, "the package pgbouncer is missing"
    parts = urlsplit(url)
    server = Path(parse_qs(parts.query)["host"][0])
    # The path of a socket must be short. Nobody else may look into the server's folder.
    folder = Path(tempfile.mkdtemp(prefix="syncd-pool-"))
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        _SETTINGS.format(server=server, folder=folder, idle=idle, size=size)
    )
    command = [PGBOUNCER, "-q", str(settings)]
    if os.geteuid() == 0:
        shutil.chown(folder, server.owner())
        command[1:1] = ["-u", server.owner()]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(folder / ".s.PGSQL.5432", process, folder / "log")
        yield urlunsplit(parts._replace(query=f"host={folder}"))
    finally:
        process.kill()
        process.wait(PATIENCE)
        shutil.rmtree(folder)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if socket.exists():
            return
        assert process.poll() is None, log.read_text()
        pause.wait(0.05)
    raise AssertionError("PgBouncer does not listen")
