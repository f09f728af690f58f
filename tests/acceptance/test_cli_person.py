"""`user` and `why`: the real command on a real store, the id on a stream."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.log import person_hash
from syncd.model import (
    BatchState,
    Feed,
    IdType,
    Message,
    Operation,
    PlannedBatch,
    Told,
)
from syncd.store import bindings, inbox, installation, ledger, outbox, unaccepted
from syncd.store.bindings import Binding, Role
from syncd.store.database import Connection, Database
from syncd.store.file import create_file
from syncd.store.ledger import Line
from syncd.store.migrate import migrate
from syncd.store.unaccepted import Kind

ANN = b"ann-4711-secret"
HOUR = timedelta(hours=1)
CONFIG = """\
version: 1
instance: test
store: {url: "sqlite:///data/syncd.db"}
web: {admin: {listen: none}}
connections:
  engage-main:
    type: engage
    space: acme
    write_key_file: no_such_file
    inbox: {secret_file: no_such_file}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: no_such_file
    secret_key_file: no_such_file
    owner: growth-ops@acme.example
syncs:
  - name: vip
    from: {connection: engage-main, audience: vip, via: inbox}
    to: {connection: amplitude-main}
    schedule: every 1h
  - name: back
    from: {connection: amplitude-main, cohort_id: c9}
    to: {connection: engage-main}
    schedule: daily
"""


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


def syncd(
    *args: str, cwd: Path, stdin: bytes = b"", fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    """The real command, on pipes, with a bare environment."""
    checkout = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        capture_output=True,
        input=stdin,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": checkout},
        cwd=cwd,
        pass_fds=fds,
    )


def bound(connection: Connection, sync: str, end: str, at: datetime) -> Binding:
    return bindings.create(
        connection,
        sync=sync,
        role=Role.CURRENT,
        connection_name=end,
        target=f"name:{sync}",
        owner="o@x",
        id_type=IdType.USER_ID,
        source_fingerprint="s",
        now=at,
    )


def sent(connection: Connection, binding: Binding, at: datetime, *ids: bytes) -> None:
    """A batch that was added, and answered at the second request."""
    outbox.add(
        connection,
        binding_id=binding.id,
        run_id="run-aaaaaaaa",
        state=BatchState.OPEN,
        batches=[
            PlannedBatch(
                operation=Operation.ADD, ids=ids, first_bucket=0, last_bucket=0
            )
        ],
        now=at,
    )
    (waiting,) = outbox.waiting(connection, "run-aaaaaaaa")
    batch = outbox.claim(connection, waiting.id)
    for number, result, status in ((1, "retried", 503), (2, "accepted", 200)):
        ledger.write(
            connection,
            Line(
                run_id="run-aaaaaaaa",
                sync=binding.sync,
                batch_id=batch.id,
                operation=Operation.ADD,
                n=len(ids),
                number=number,
                at=at,
                duration_ms=1.0,
                result=result,
                status=status,
            ),
        )
    outbox.acknowledge(connection, batch, applied=ids, not_applied=(), now=at)


def people_on_record(database: Database) -> datetime:
    """Ann is in `vip`, and unknown to the other side of `back`; returns the time."""
    now = datetime.now(UTC).replace(microsecond=0)
    feed = Feed(connection="engage-main", key="vip", id_type=IdType.USER_ID)
    told = Told(feed=feed, ids=(ANN,), inside=True, at=now - 5 * HOUR)
    with database.begin() as connection:
        installation.hash_key(connection)
        message = Message(connection="engage-main", id="m1", told=(told,))
        inbox.take(connection, [message], now - 4 * HOUR)
        vip = bound(connection, "vip", "amplitude-main", now - 6 * HOUR)
        sent(connection, vip, now - 3 * HOUR, ANN, b"bob")
        back = bound(connection, "back", "engage-main", now - 6 * HOUR)
        unaccepted.note(
            connection, back.id, 1, Kind.UNMATCHED, {ANN: "unknown"}, now - HOUR / 2
        )
    return now


def hash_of(database: Database, who: bytes) -> str:
    with database.read() as connection:
        key = installation.known_hash_key(connection)
    assert key is not None
    return person_hash(key, who)


def document(ended: subprocess.CompletedProcess[bytes]) -> Any:
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


def test_user_tells_every_sync_of_both_directions(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    shown = syncd("user", "-", cwd=tmp_path, stdin=ANN + b"\n")
    told = document(syncd("user", "-", "--json", cwd=tmp_path, stdin=ANN))

    text = shown.stdout.decode()
    assert shown.returncode == 0, shown.stderr.decode()
    assert text.startswith(f"person {hash_of(database, ANN)}\n")
    assert text.endswith("Next: syncd why - back\n")
    assert "  Amplitude      in " in text
    assert "  Twilio Engage  unmatched " in text
    assert told["person"] == hash_of(database, ANN)
    assert {each["sync"]: each["state"] for each in told["syncs"]} == {
        "vip": "in",
        "back": "unmatched",
    }
    assert {each["sync"]: each["offers"] for each in told["syncs"]} == {
        "vip": 0,
        "back": 1,
    }


def test_why_begins_with_the_answer_and_tells_the_rest_in_order(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    shown = syncd("why", "-", "vip", cwd=tmp_path, stdin=ANN).stdout.decode()
    told = document(syncd("why", "-", "vip", "--json", cwd=tmp_path, stdin=ANN))

    title, sentence, _, *rest = shown.splitlines()
    assert title == f"vip  person {hash_of(database, ANN)}"
    assert sentence.startswith("In the cohort: acknowledged ")
    assert sentence.endswith("in batch 1 of run aaaaaaaa.")
    assert "engage-main: entered, told" in shown
    assert "503 no proven answer, to be sent again" in shown
    assert [each["kind"] for each in told["moments"]] == [
        "began",
        "told",
        "planned",
        "sent",
        "acknowledged",
    ]
    assert [each["at"] for each in told["moments"]] == sorted(
        each["at"] for each in told["moments"]
    )
    assert len(rest) == 5


def test_why_not_names_the_offers_and_the_next_command(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    shown = syncd("why", "-", "back", cwd=tmp_path, stdin=ANN).stdout.decode()

    assert "Not in: Twilio Engage does not know this user_id (offered 1 time" in shown
    assert "Whole lists are compared, not kept" in shown
    assert "Next: syncd members back --unmatched" in shown


def test_an_id_is_never_taken_from_the_command_line_nor_repeated(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)

    for args in (("user", ANN.decode()), ("why", ANN.decode(), "vip")):
        refused = syncd(*args, cwd=tmp_path)

        assert refused.returncode == 2
        assert b"shell's history" in refused.stderr
        assert ANN not in refused.stderr + refused.stdout


def test_nothing_that_is_shown_holds_the_id(database: Database, tmp_path: Path) -> None:
    people_on_record(database)

    for args in (("user", "-"), ("why", "-", "vip"), ("why", "-", "back")):
        for form in ((), ("--json",), ("-v",)):
            shown = syncd(*args, *form, cwd=tmp_path, stdin=ANN)

            assert shown.returncode == 0
            assert ANN not in shown.stdout + shown.stderr


def test_an_id_may_come_from_a_file_descriptor(
    database: Database, tmp_path: Path
) -> None:
    people_on_record(database)
    reading, writing = os.pipe()
    os.write(writing, ANN)
    os.close(writing)

    told = document(
        syncd("user", "-", "--fd", str(reading), "--json", cwd=tmp_path, fds=(reading,))
    )
    os.close(reading)
    closed = syncd("user", "-", "--fd", "77", cwd=tmp_path)

    assert told["person"] == hash_of(database, ANN)
    assert closed.returncode == 2
    assert b"File descriptor 77 cannot be read" in closed.stderr


@pytest.mark.parametrize(
    ("stdin", "words"),
    [
        (b"", b"No id on standard input"),
        (b"\n", b"No id on standard input"),
        (b"ann\nbob\n", b"One id, on one line."),
        (b"x" * 20_000, b"No id is longer than"),
    ],
)
def test_what_is_no_single_id_is_refused(
    database: Database, tmp_path: Path, stdin: bytes, words: bytes
) -> None:
    refused = syncd("user", "-", cwd=tmp_path, stdin=stdin)

    assert refused.returncode == 2
    assert words in refused.stderr


@pytest.mark.parametrize("stdin", [b" " + ANN, ANN + b"\r\n", b"\xff\xfe "])
def test_an_id_is_looked_for_byte_for_byte_and_white_space_is_warned_of(
    database: Database, tmp_path: Path, stdin: bytes
) -> None:
    people_on_record(database)

    shown = syncd("user", "-", "--json", cwd=tmp_path, stdin=stdin)

    assert {each["state"] for each in document(shown)["syncs"]} == {"rejected"}
    assert b"white space before or after the id" in shown.stderr


def test_an_unknown_sync_is_a_usage_error_with_the_nearest_name(
    database: Database, tmp_path: Path
) -> None:
    refused = syncd("why", "-", "vap", cwd=tmp_path, stdin=ANN)

    assert refused.returncode == 2
    assert b"Did you mean 'vip'?" in refused.stderr
