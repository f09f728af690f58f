"""`members`: the one command that shows ids; the real command on a real store."""

import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.model import BatchState, IdType, Operation, PlannedBatch
from syncd.store import bindings, compaction, outbox, unaccepted
from syncd.store.bindings import Role
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate
from syncd.store.unaccepted import Kind

CONFIG = """\
version: 1
instance: test
store: {url: "sqlite:///data/syncd.db"}
web: {admin: {listen: none}}
connections:
  engage-main:
    type: engage
    space: acme
    snapshot: {type: warehouse, url_file: warehouse_url}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: no_such_file
    secret_key_file: no_such_file
    owner: growth-ops@acme.example
syncs:
  - name: vip
    from: {connection: engage-main, audience: vip}
    to: {connection: amplitude-main}
    schedule: every 1h
"""
IN = [f"in-{n}".encode() for n in range(30)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The store where the configuration in the same folder looks for it."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/syncd.yaml").write_text(CONFIG, encoding="utf-8")
    create_file(tmp_path / "data/syncd.db")
    opened = Database(f"sqlite:///{tmp_path / 'data/syncd.db'}")
    migrate(opened)
    yield opened
    opened.close()


def syncd(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The real command, on pipes, with a bare environment."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=bare(),
        cwd=cwd,
    )


def bare() -> dict[str, str]:
    checkout = str(Path(__file__).parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": checkout}


def on_a_terminal(*args: str, cwd: Path) -> tuple[int, str, str]:
    """The same with its stdout on a terminal: code, what that shows, stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", *args],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=bare(),
        cwd=cwd,
    )
    _, said = process.communicate(timeout=60)
    os.write(theirs, b"END")  # so that reading ends on every system
    shown = b""
    while not shown.endswith(b"END"):
        shown += os.read(ours, 65_536)
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown[:-3].decode(), said.decode()


def people_on_record(database: Database) -> None:
    """30 members, partly compacted; two who wait, one unmatched, one rejected."""
    now = datetime.now(UTC)
    with database.begin() as connection:
        binding = bindings.create(
            connection,
            sync="vip",
            role=Role.CURRENT,
            connection_name="amplitude-main",
            target="name:vip",
            owner="o@x",
            id_type=IdType.USER_ID,
            source_fingerprint="s",
            now=now,
        )
    settle(database, binding.id, "run-1", IN[:20], now)
    compaction.compact(database, binding.id)
    settle(database, binding.id, "run-2", IN[20:], now)
    add(database, binding.id, "run-3", [b"on-its-way", b"in-0"], now)
    with database.begin() as connection:
        for kind, who in ((Kind.UNMATCHED, b"stranger"), (Kind.REJECTED, b"refused")):
            unaccepted.note(connection, binding.id, 1, kind, {who: "why"}, now)


def add(
    database: Database, binding_id: int, run: str, ids: list[bytes], now: datetime
) -> None:
    planned = PlannedBatch(
        operation=Operation.ADD, ids=ids, first_bucket=0, last_bucket=0
    )
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding_id,
            run_id=run,
            state=BatchState.OPEN,
            batches=[planned],
            now=now,
        )


def settle(
    database: Database, binding_id: int, run: str, ids: list[bytes], now: datetime
) -> None:
    add(database, binding_id, run, ids, now)
    with database.begin() as connection:
        (waiting,) = outbox.waiting(connection, run)
        batch = outbox.claim(connection, waiting.id)
        outbox.acknowledge(connection, batch, applied=ids, not_applied=(), now=now)


def lines(text: str) -> list[bytes]:
    return [line.encode() for line in text.splitlines()]


def test_the_members_are_written_one_a_line_after_their_count(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    shown = syncd("members", "vip", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == "30 acknowledged members of vip\n"
    assert sorted(lines(shown.stdout)) == sorted(IN)


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--waiting", [b"in-0", b"on-its-way"]),
        ("--unmatched", [b"stranger"]),
        ("--rejected", [b"refused"]),
    ],
)
def test_a_flag_asks_for_who_is_no_member_yet(
    database: Database, tmp_path: Path, flag: str, expected: list[bytes]
) -> None:
    people_on_record(database)

    shown = syncd("members", "vip", flag, cwd=tmp_path)

    assert sorted(lines(shown.stdout)) == expected
    assert shown.stderr.startswith(f"{len(expected)} people ")


def test_a_file_is_new_and_only_its_owner_reads_it(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)
    file = tmp_path / "ids.txt"

    first = syncd("members", "vip", "--output", str(file), cwd=tmp_path)
    again = syncd("members", "vip", "--output", str(file), cwd=tmp_path)
    nowhere = syncd("members", "vip", "--output", "no/such/ids.txt", cwd=tmp_path)

    assert (first.returncode, first.stdout) == (0, "")
    assert sorted(file.read_bytes().split()) == sorted(IN)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert nowhere.returncode == 2
    assert "no/such/ids.txt cannot be written" in nowhere.stderr


def test_a_terminal_sees_ids_only_when_a_person_says_so(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    code, shown, said = on_a_terminal("members", "vip", cwd=tmp_path)
    yes_code, all_shown, _ = on_a_terminal("members", "vip", "--yes", cwd=tmp_path)

    assert (code, shown) == (2, "")
    assert "Not shown on a terminal: --output FILE, a pipe, or --yes" in said
    assert yes_code == 0
    assert sorted(lines(all_shown)) == sorted(IN)


def test_a_sync_that_never_ran_has_no_members(
    database: Database, tmp_path: Path
) -> None:
    shown = syncd("members", "vip", cwd=tmp_path)

    assert (shown.returncode, shown.stdout) == (0, "")
    assert shown.stderr == "0 acknowledged members of vip\n"
