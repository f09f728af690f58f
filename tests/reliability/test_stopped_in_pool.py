"""A process that is stopped as it begins a transaction, behind a PgBouncer.

PgBouncer gives a connection away with the first message, and takes it back when the
transaction is over. The one that is stopped right then says nothing more: what it has
said must be enough for the server to end it. PgBouncer itself is told of no limit here.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from syncd.store.database import Database
from syncd.store.migrate import migrate
from tests.reliability.replicas.pooling import PGBOUNCER, pooled
from tests.simulated import PATIENCE, PROJECT
from tests.turns import by_turns

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PGBOUNCER is None, reason="needs the package pgbouncer"),
]

BESIDE = """
import sys
from datetime import timedelta
from sqlalchemy import text
from syncd.errors import StoreUnavailable
from syncd.store.database import Database

database = Database(sys.argv[1])
database.free_after(timedelta(seconds=1))
with database.begin():
    pass
print("ready", flush=True)
sys.stdin.readline()
try:
    with getattr(database, sys.argv[2])() as connection:
        connection.execute(text("SELECT 1"))
except StoreUnavailable:
    print("ended", flush=True)
"""
"""Another process: a transaction of each kind, with the shortest limit there is."""


class Stopping:
    """Stops a process with a signal as it says a certain word, before it is heard."""

    def __init__(self) -> None:
        self.word = b""
        self.process: subprocess.Popen[str] | None = None
        self.stopped = threading.Event()

    def __call__(self, data: bytes) -> bool:
        if self.word and self.word in data and self.process is not None:
            self.word = b""
            self.process.send_signal(signal.SIGSTOP)
            self.stopped.set()
        return True


@contextmanager
def beside(url: str, kind: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", BESIDE, url, kind]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def held(url: str) -> int:
    """Connections of the server on which a transaction waits for its next word."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND state LIKE 'idle in transaction%'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def until(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if is_so():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to that")


def stop_as_it_begins(process: subprocess.Popen[str], stopping: Stopping) -> None:
    """As its next transaction does, and with nobody else's word on the wire."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    stopping.process, stopping.word = process, b"BEGIN"
    process.stdin.write("\n")
    process.stdin.flush()
    assert stopping.stopped.wait(PATIENCE)
    stopping.stopped.clear()


def test_who_is_stopped_as_it_begins_gives_its_connection_back_by_itself(
    postgres_database: str,
) -> None:
    direct = Database(postgres_database)
    migrate(direct)
    direct.close()
    stopping = Stopping()

    with (
        pooled(postgres_database, size=2) as url,
        by_turns(url, heard=stopping) as (_, wired),
        beside(wired, "begin") as writes,
        beside(wired, "read") as reads,
    ):
        for each in (writes, reads):
            stop_as_it_begins(each, stopping)
        until(lambda: held(postgres_database) == 2)
        other = Database(url)
        with other.begin(), other.read():
            pass
        other.close()

        for each in (writes, reads):
            each.send_signal(signal.SIGCONT)
            assert each.stdout is not None
            assert each.stdout.readline() == "ended\n"

    assert held(postgres_database) == 0
