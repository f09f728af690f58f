"""The verbs that read, and `simulate`: the real command on real stores."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from syncd.model import (
    Batch,
    BatchState,
    Found,
    IdType,
    Operation,
    Outcome,
    PlannedBatch,
    Trigger,
)
from syncd.report.daemons import SILENT_AFTER
from syncd.store import (
    bindings,
    compaction,
    connections,
    installation,
    leases,
    ledger,
    outbox,
    runs,
    unaccepted,
)
from syncd.store.bindings import Binding, Role
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.installation import Action, Daemon
from syncd.store.ledger import Line
from syncd.store.migrate import migrate
from syncd.store.unaccepted import Kind
from syncd.sync.run_id import run_id

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SECRET_ID = "person-4711-secret"
CONFIG = """\
version: 1
instance: prod-eu
store: {url: "STORE"}
connections:
  engage-main:
    type: engage
    space: acme
    snapshot: {type: warehouse, url_file: warehouse_url}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: amplitude_api_key
    secret_key_file: amplitude_secret_key
    owner: growth-ops@acme.example
web: {admin: {listen: none}}
defaults: {timezone: Europe/Berlin, jitter: 0s}
syncs:
"""


def syncd(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The real command, started in `cwd` on pipes, with a bare environment."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=bare() | environ,
        cwd=cwd,
    )


def bare() -> dict[str, str]:
    checkout = str(Path(__file__).parents[2])
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": checkout}


def configured(folder: Path, store: str, *syncs: str, **keys: str) -> None:
    """A configuration of hourly syncs on `store`; `keys` are of all of them."""
    shared = {"schedule": "every 1h", "fresh_within": "3h", "owner": "growth"} | keys
    text = CONFIG.replace("STORE", store)
    for name in syncs:
        own = {
            "name": name,
            "from": f"{{connection: engage-main, audience: {name}}}",
            "to": "{connection: amplitude-main}",
            **shared,
        }
        lines = [f"    {key}: {value}\n" for key, value in own.items()]
        text += "  -" + "".join(lines)[3:]
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/syncd.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def now() -> datetime:
    """The commands read the real clock: everything is told relative to it."""
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An SQLite store where a configuration in the same folder looks for it."""
    path = tmp_path / "data/syncd.db"
    create_file(path)
    opened = Database(f"sqlite:///{path}")
    migrate(opened)
    yield opened
    opened.close()


# --- builders -------------------------------------------------------------------------


def known(connection: Connection, sync: str, since: datetime) -> None:
    runs.know_sync(connection, sync, since)


def ran(
    connection: Connection,
    sync: str,
    started_at: datetime,
    outcome: Outcome | None = Outcome.SUCCESS,
    *,
    reason: str | None = None,
    trigger: Trigger = Trigger.SCHEDULE,
    took: timedelta = timedelta(seconds=1.6),
    **summary: Any,
) -> str:
    """A run, in progress if it has no outcome; returns its id."""
    new = run_id(started_at, int.from_bytes(os.urandom(9)))
    runs.begin(
        connection,
        run_id=new,
        sync_name=sync,
        slot=None,
        trigger=trigger,
        config_hash="sha256:5c1e0a77",
        now=started_at,
    )
    if outcome is not None:
        runs.finish(
            connection,
            new,
            outcome=outcome,
            reason=reason,
            summary=summary,
            now=started_at + took,
        )
    return new


def held(
    connection: Connection, sync: str, started_at: datetime, expires_at: datetime
) -> str:
    """A run whose plan waits for a person."""
    reason = "9,870 of 31,433 people would leave (31.4%, limit 20%)"
    new = ran(
        connection,
        sync,
        started_at,
        Outcome.HELD,
        reason="guard.max_exit",
        members_before=31_433,
        members=21_621,
        to_enter=58,
        to_exit=9_870,
        exit_ratio=0.314,
        trips=[
            {"guard": "guard.max_exit", "value": 0.314, "limit": 0.2, "reason": reason}
        ],
        message=reason,
        identity="identity-1",
    )
    runs.hold(connection, new, plan_hash="hash-1", expires_at=expires_at)
    return new


def bound(connection: Connection, sync: str, now: datetime) -> Binding:
    made = bindings.create(
        connection,
        sync=sync,
        role=Role.CURRENT,
        connection_name="amplitude-main",
        target=f"name:[Segment] {sync}",
        owner="growth-ops@acme.example",
        id_type=IdType.USER_ID,
        source_fingerprint="source-1",
        now=now,
    )
    bindings.bind(
        connection, made.id, Found(external_id="c0h0rt1", name=sync, size=None)
    )
    return bindings.get(connection, made.id)


def batch(
    connection: Connection, binding: Binding, run: str, count: int, now: datetime
) -> Batch:
    """An open batch of a run, with ids nobody may see."""
    planned = PlannedBatch(
        operation=Operation.ADD,
        ids=[f"{SECRET_ID}-{run[-8:]}-{n}".encode() for n in range(count)],
        first_bucket=0,
        last_bucket=0,
    )
    outbox.add(
        connection,
        binding_id=binding.id,
        run_id=run,
        state=BatchState.OPEN,
        batches=[planned],
        now=now,
    )
    return outbox.claim(connection, outbox.waiting(connection, run)[-1].id)


def requested(
    connection: Connection, run: str, sync: str, at: datetime, **changes: Any
) -> None:
    """A line of the ledger."""
    line: dict[str, Any] = {
        "run_id": run,
        "sync": sync,
        "batch_id": 1,
        "operation": Operation.ADD,
        "n": 10,
        "number": 1,
        "at": at,
        "duration_ms": 200.0,
        "result": "accepted",
        "status": 200,
    }
    ledger.write(connection, Line(**(line | changes)))


def beating(connection: Connection, now: datetime, ago: timedelta) -> None:
    installation.beat(
        connection,
        Daemon(
            holder=f"host/{ago}",
            host=socket.gethostname(),
            pid=4321,
            version="0.1.0",
            started_at=now - 6 * DAY - 2 * HOUR - MINUTE,
            heartbeat_at=now - ago,
        ),
    )


def checked(shown: subprocess.CompletedProcess[str]) -> str:
    """What a person gets: never wider than 100 columns, never somebody's id."""
    assert all(len(line) <= 100 for line in shown.stdout.splitlines()), shown.stdout
    assert SECRET_ID not in shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
    return shown.stdout


# --- status ---------------------------------------------------------------------------


def test_status_says_one_sentence_and_the_worst_sync_first(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", "churn-risk", "new")
    with database.begin() as connection:
        known(connection, "calm", now - 30 * DAY)
        known(connection, "churn-risk", now - 30 * DAY)
        beating(connection, now, timedelta(seconds=4))
        ran(connection, "calm", now, took=timedelta(0), entered=412, exited=133)
        ran(connection, "churn-risk", now - 32 * HOUR)
        short = held(connection, "churn-risk", now - 8 * HOUR, now + 16 * HOUR)[-8:]

    shown = syncd("status", cwd=tmp_path)

    lines = checked(shown).splitlines()
    assert shown.returncode == 0
    assert re.match(r"prod-eu · syncd \S+ · daemon up 6 d 2 h · \w{3} ", lines[0])
    assert lines[1] == "1 of 3 syncs needs you."
    heads = ("SYNC", "STATE", "LAST SUCCESS", "NEXT", "LAST CHANGE")
    assert all(head in lines[3] for head in heads)
    assert re.match(r"◆  churn-risk  held, overdue 1 d +1 d [78] h ago ", lines[4])
    assert lines[4].endswith("+58 -9,870 unsent")
    assert " for you " in lines[4]
    assert re.match(r"…  new +pending +never ", lines[5])
    assert re.match(r"●  calm +on time +(\d+ s ago|now) +3 h +.*\+412 -133$", lines[6])
    assert lines[-1] == f"Next: syncd show {short}"


def test_status_shows_the_acknowledged_size_exactly(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "said", "counted", "compacted")
    bindings_by_name: dict[str, Binding] = {}
    with database.begin() as connection:
        for name, moved in (("said", 0), ("counted", 7), ("compacted", 0)):
            ran(connection, name, now - HOUR, sent=9, members_after=48_489)
            run = ran(connection, name, now, Outcome.INTERRUPTED, sent=moved)
            binding = bindings_by_name[name] = bound(connection, name, now)
            sent = batch(connection, binding, run, 7, now)
            outbox.acknowledge(
                connection, sent, applied=sent.ids, not_applied=[], now=now
            )
    compaction.compact(database, bindings_by_name["compacted"].id)

    shown = syncd("status", "--json", cwd=tmp_path)

    sizes = {s["name"]: s["members"] for s in json.loads(checked(shown))["syncs"]}
    assert sizes == {"said": 48_489, "counted": 7, "compacted": 7}


def test_status_shows_what_is_running_and_what_was_cut_off(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "running", "reading", "cut")
    with database.begin() as connection:
        for name in ("running", "reading", "cut"):
            known(connection, name, now)
            run = ran(connection, name, now, None)
            if name != "cut":
                leases.acquire(connection, name, leases.holder_name(), now)
            if name == "running":
                batch(connection, bound(connection, name, now), run, 40, now)
                runs.enter_phase(connection, run, "deliver")
                requested(connection, run, name, now, accepted=60)

    lines = checked(syncd("status", cwd=tmp_path)).splitlines()

    by_name = {line.split()[1]: line for line in lines[4:7]}
    assert "pending ▸ 60 %" in by_name["running"]
    assert "pending ▸ collect" in by_name["reading"]
    assert "pending (cut off)" in by_name["cut"]
    assert lines[-1] == "Next: syncd serve"


def test_status_names_a_stopped_connection_the_vendors_words_and_the_way_out(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        known(connection, "calm", now - DAY)
        run = ran(connection, "calm", now, Outcome.FAILED, reason="delivery.auth")
        connections.stop(connection, "amplitude-main", "Invalid API Key " * 9, now)

    shown = checked(syncd("status", cwd=tmp_path))

    assert "1 of 1 sync needs you." in shown
    assert "✖  calm  failing" in shown
    said = " ".join(shown.split())
    assert "amplitude-main is stopped since" in said
    assert "Invalid API Key Invalid API Key" in said
    assert "/run/secrets/amplitude_secret_key, or its region; tried again in 1" in said
    assert shown.endswith(f"Next: syncd show {run[-8:]}\n")


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        ((), 0),
        (("--fail-on", "stale,failing,held"), 6),
        (("--fail-on", "held"), 6),
        (("--fail-on", "stale"), 6),  # it is held, and overdue too
        (("--fail-on", "failing, pending"), 0),
        (("--fail-on", "tired"), 2),
    ],
)
def test_status_fails_on_the_states_that_were_named(
    tmp_path: Path,
    database: Database,
    now: datetime,
    fail_on: tuple[str, ...],
    code: int,
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "churn-risk")
    with database.begin() as connection:
        known(connection, "churn-risk", now - DAY)
        held(connection, "churn-risk", now - HOUR, now + HOUR)

    shown = syncd("status", "--json", *fail_on, cwd=tmp_path)

    assert shown.returncode == code
    if code != 2:
        assert json.loads(shown.stdout)["schema"] == "syncd.status/1"
    else:
        assert "'tired' is none of held, failing, stale" in shown.stderr


def test_status_as_json_has_every_number_in_utc(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", "other")
    with database.begin() as connection:
        known(connection, "calm", now)
        beating(connection, now, SILENT_AFTER)
        binding = bound(connection, "calm", now)
        run = ran(connection, "calm", now, Outcome.PARTIAL, entered=3, exited=1, sent=5)
        batch(connection, binding, run, 4, now)
        unaccepted.note(
            connection,
            binding.id,
            1,
            Kind.UNMATCHED,
            {SECRET_ID.encode(): "unknown to the destination"},
            now,
        )

    document = json.loads(checked(syncd("status", "calm", "--json", cwd=tmp_path)))

    (calm,) = document["syncs"]
    assert document["schema"] == "syncd.status/1"
    assert document["needs_you"] == 0
    assert [each["alive"] for each in document["daemons"]] == [False]
    assert calm["state"] == "pending"
    assert calm["waiting"] == {"batches": 1, "ids": 4}
    assert calm["dead"] == {"batches": 0, "ids": 0}
    assert calm["fresh_within_seconds"] == 10_800
    assert calm["cohort_id"] == "c0h0rt1"
    assert calm["last_change"]["entered"] == 3
    assert calm["last_change"]["run_id"] == run
    assert calm["not_accepted"] == [
        {"kind": "unmatched", "reason": "unknown to the destination", "ids": 1}
    ]
    assert calm["last_run"]["started_at"] == f"{now:%Y-%m-%dT%H:%M:%SZ}"
    assert datetime.fromisoformat(calm["next_at"]) > now


def test_status_of_a_switched_off_sync_needs_nobody(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", enabled="false")

    lines = checked(syncd("status", cwd=tmp_path)).splitlines()

    assert lines[1] == "1 sync, none needs you: 1 off."
    assert re.match(r"○  calm +off +never +3 h +off$", lines[4])


@pytest.mark.parametrize(
    ("when", "before", "after"),
    [("manual", "by hand", "by hand"), ("once", "at once", "done")],
)
def test_status_says_what_makes_a_sync_without_due_times_run(
    tmp_path: Path,
    database: Database,
    now: datetime,
    when: str,
    before: str,
    after: str,
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", schedule=when)

    new = checked(syncd("status", cwd=tmp_path)).splitlines()[4]
    with database.begin() as connection:
        ran(connection, "calm", now - 9 * DAY - MINUTE, entered=1)
    old = checked(syncd("status", cwd=tmp_path)).splitlines()[4]

    assert re.match(rf"…  calm +pending +never +- +{before}$", new)
    assert re.match(rf"●  calm +on time +9 d ago +- +{after} +\+1 0$", old)


def test_status_tells_daemons_that_live_from_one_that_fell_silent(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        beating(connection, now, 5 * MINUTE)
    silent = checked(syncd("status", cwd=tmp_path))
    with database.begin() as connection:
        for seconds in (1, 2):
            beating(connection, now, timedelta(seconds=seconds))
        connections.throttle(connection, "amplitude-main", now + HOUR)
    lively = checked(syncd("status", cwd=tmp_path))

    assert " · no daemon (last sign of life 5 m" in silent.splitlines()[0]
    assert silent.endswith("\nNext: syncd serve\n")
    assert " · 2 daemons up 6 d 2 h · " in lively.splitlines()[0]
    assert re.search(r"\namplitude-main asked for a pause until .+\.\n", lively)
    assert lively.endswith("\nNext: syncd schedule\n")


def test_status_names_the_replicas_and_who_works_on_what(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", "other")
    with database.begin() as connection:
        for name in ("calm", "other"):
            known(connection, name, now)
        beating(connection, now, timedelta(seconds=1))
        beating(connection, now, timedelta(minutes=5))
        living, silent = installation.daemons(connection)
        leases.acquire(connection, "calm", living.holder, now)
        leases.acquire(connection, "notifications", silent.holder, now)

    page = checked(syncd("status", cwd=tmp_path))
    document = json.loads(checked(syncd("status", "--json", cwd=tmp_path)))

    assert re.search(r"\nREPLICA +PROCESS +VERSION +STANDING +WORKS ON\n", page)
    assert re.search(rf"\n{living.host} +{living.pid} .* up 6 d 2 h +calm\n", page)
    assert re.search(r" silent, last sign of life 5 m.* ago +idle\n", page)
    works = [each["working_on"] for each in document["daemons"]]
    assert works == [["calm"], []]


def test_status_knows_a_target_that_must_not_be_written_to(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        known(connection, "calm", now)
        ran(
            connection,
            "calm",
            now,
            Outcome.HELD,
            reason="target.archived",
            message="the cohort is archived",
            hint="restore it in Amplitude",
        )

    status = checked(syncd("status", cwd=tmp_path))
    shown = checked(syncd("show", "calm", cwd=tmp_path))

    assert "◆  calm  held" in status
    assert "held: target.archived, in 1.6 s\n" in shown
    assert "  the cohort is archived\n" in shown
    assert shown.endswith("\nNext: restore it in Amplitude\n")


def test_a_plan_that_expired_or_was_decided_holds_nobody(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "expired", "decided")
    with database.begin() as connection:
        for name in ("expired", "decided"):
            known(connection, name, now)
        held(connection, "expired", now - 25 * HOUR, now - HOUR)
        run = held(connection, "decided", now - HOUR, now + HOUR)
        runs.settle_hold(connection, run)

    document = json.loads(syncd("status", "--json", cwd=tmp_path).stdout)

    assert [one["state"] for one in document["syncs"]] == ["pending", "pending"]
    assert [one["held"] for one in document["syncs"]] == [None, None]


# --- runs -----------------------------------------------------------------------------


def test_runs_lists_the_newest_first_with_reasons(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", "other")
    with database.begin() as connection:
        known(connection, "calm", now - DAY)
        good = ran(connection, "calm", now - 3 * HOUR, entered=412, exited=133)
        bad = ran(
            connection, "other", now - 2 * HOUR, Outcome.FAILED, reason="source.timeout"
        )
        skipped = run_id(now, 7)
        runs.skip(
            connection,
            run_id=skipped,
            sync_name="calm",
            slot=now - HOUR,
            reason="overlap",
            config_hash="x",
            now=now - HOUR,
        )
        cut = ran(connection, "gone-from-config", now, None)

    lines = checked(syncd("runs", cwd=tmp_path)).splitlines()

    assert lines[0].split()[:3] == ["RUN", "SYNC", "STARTED"]
    shown = [(line.split()[0], line.split()[1]) for line in lines[1:5]]
    assert shown == [
        (cut[-8:], "gone-from-config"),
        (skipped[-8:], "calm"),
        (bad[-8:], "other"),
        (good[-8:], "calm"),
    ]
    assert "cut off" in lines[1]
    assert re.search(r" skipped +overlap$", lines[2])
    assert re.search(r" failed +1\.6 s +source\.timeout$", lines[3])
    assert re.search(r" success +1\.6 s +\+412 -133$", lines[4])
    assert lines[-1] == f"4 runs.  Next: syncd show {cut[-8:]}"


def test_runs_can_be_chosen_and_limited(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm", "other")
    with database.begin() as connection:
        for hours, (name, outcome) in enumerate(
            [
                ("calm", Outcome.SUCCESS),
                ("calm", Outcome.ABANDONED),
                ("other", Outcome.FAILED),
                ("other", Outcome.HELD),
                ("calm", Outcome.SUCCESS),
            ]
        ):
            ran(connection, name, now - hours * HOUR, outcome)

    def listed(*args: str) -> list[tuple[str, str]]:
        document = json.loads(syncd("runs", "--json", *args, cwd=tmp_path).stdout)
        assert document["schema"] == "syncd.runs/1"
        return [(run["sync"], run["outcome"]) for run in document["runs"]]

    assert listed("--failed") == [("calm", "abandoned"), ("other", "failed")]
    assert listed("--outcome", "held") == [("other", "held")]
    assert listed("calm", "other", "--limit", "2") == [
        ("calm", "success"),
        ("calm", "abandoned"),
    ]
    assert len(listed("ca*")) == 3
    assert syncd("runs", "nobody", cwd=tmp_path).returncode == 2
    assert syncd("runs", "--outcome", "skipped", cwd=tmp_path).stdout == (
        "No run like that.\n"
    )


# --- show -----------------------------------------------------------------------------


def test_show_of_a_held_run_lays_the_choice_out(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "churn-risk")
    with database.begin() as connection:
        for hours, share in ((40, 0.011), (39, 0.009), (38, 0.014)):
            ran(connection, "churn-risk", now - hours * HOUR, exit_ratio=share)
        repeats: dict[str, Any] = {
            "exit_ratio": 0.014,
            "approves": "of an earlier plan",
        }
        ran(connection, "churn-risk", now - 37 * HOUR, **repeats)
        run = held(connection, "churn-risk", now - 8 * HOUR, now + 16 * HOUR)
        ran(connection, "churn-risk", now, Outcome.NO_CHANGE, exit_ratio=0.5)

    shown = checked(syncd("show", run[-8:], cwd=tmp_path))

    assert shown.startswith(f"churn-risk  run {run}\nheld since ")
    assert " (8 h ago) by guard.max_exit. Nothing was sent.\n" in shown
    assert "  guard.max_exit: 9,870 of 31,433 people would leave (31.4%" in shown
    figures = "before 31,433   would enter 58   would exit 9,870   after 21,621"
    assert f"\n  {figures}\n" in shown
    assert "\n  last 4 exit shares: 1.1 %  0.9 %  1.4 %  31.4 %\n" in shown
    short = run[-8:]
    assert f'It was meant:  syncd approve {short} --reason "..."   sends' in shown
    assert f'It was not:    syncd reject {short} --reason "..."    drops it' in shown
    assert "Not sure:      ask growth; nothing is sent while it waits until" in shown


def test_show_repeats_the_config_flags_in_its_commands(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "churn-risk")
    long = "rather-long-folder-name/syncd.yaml"
    (tmp_path / "config").rename(tmp_path / long.partition("/")[0])
    with database.begin() as connection:
        run = held(connection, "churn-risk", now - HOUR, now + HOUR)

    shown = checked(syncd("show", run, "-c", long, cwd=tmp_path))

    command = f'syncd approve {run[-8:]} -c {long} --reason "..."'
    assert f"  It was meant:  {command}\n" in shown
    assert "\n                   sends exactly this plan\n" in shown


def test_show_says_who_decided_when_and_why(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "approved", "rejected", "expired")
    with database.begin() as connection:
        ids = {
            name: held(connection, name, now - 3 * HOUR, now + HOUR)
            for name in ("approved", "rejected", "expired")
        }
        for name, verb in (("approved", "approve"), ("rejected", "reject")):
            done = Action(
                at=now - HOUR,
                actor="joe",
                via="cli",
                verb=verb,
                sync=name,
                run_id=ids[name],
                reason="CRM migration, INC-2231",
            )
            installation.record(connection, done)
        for run in ids.values():
            runs.settle_hold(connection, run)
        sent = ran(
            connection,
            "approved",
            now - HOUR,
            trigger=Trigger.APPROVE,
            approves=ids["approved"],
            requests=10,
            entered=58,
            exited=9_870,
            phase_ms={"deliver": 2500.0},
        )

    pages = {
        name: checked(syncd("show", run, cwd=tmp_path)) for name, run in ids.items()
    }
    newest = checked(syncd("show", "approved", cwd=tmp_path))

    assert re.search(
        r"  approved by joe \(cli\) .*: CRM migration, INC-2231\n", pages["approved"]
    )
    assert f"  sent by run {sent[-8:]} (success)\n" in pages["approved"]
    assert re.search(r"  rejected by joe \(cli\) .*: CRM", pages["rejected"])
    assert "  expired: nobody decided in time" in pages["expired"]
    assert not any("syncd approve" in page for page in pages.values())
    assert f" by approve of run {ids['approved'][-8:]}\n" in newest
    assert "  deliver  2.5 s  58 entered, 9,870 exited, 10 requests\n" in newest


def test_show_tells_steps_numbers_and_the_vendors_words(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        run = ran(
            connection,
            "calm",
            now,
            Outcome.PARTIAL,
            reason="retries_used_up",
            message="some batches wait",
            snapshot=48_526,
            refused={"control_character": 3},
            to_enter=412,
            to_exit=133,
            batches=2,
            requests=3,
            retries=1,
            entered=375,
            exited=0,
            unmatched=37,
            waiting=1,
            dead=2,
            members_after=48_489,
            cohort_id="c0h0rt1",
            not_accepted={"unmatched: unknown to the destination": 37},
            phase_ms={"collect": 300.1, "diff": 84.2, "commit": 12.0, "deliver": 900.0},
        )
        words = {"error_type": "rate_limited", "message": "Too many requests " * 9}
        for _ in range(3):
            requested(connection, run, "calm", now, status=429, **words)
        requested(connection, run, "calm", now, status=500, error_type="http_5xx")

    shown = checked(syncd("show", "calm", cwd=tmp_path))

    for line in (
        "partial: retries_used_up, in 1.6 s",
        "  some batches wait",
        "  collect  300 ms  48,526 ids read, 3 refused",
        "  diff      84 ms  412 to enter, 133 to exit",
        "  commit    12 ms  2 batches",
        "  deliver  900 ms  375 entered, 0 exited, 37 unmatched, 3 requests (1 retry)",
        "  members    48,489  in cohort c0h0rt1",
        "  refused         3  control character",
        "  unmatched      37  unknown to the destination (offered again later)",
        "  waiting         1  batch still to be sent, taken over by the next run",
        "  dead            2  batches refused for good, planned anew by the next run",
        "    1x http_5xx",
        "Next: syncd runs calm",
    ):
        assert f"\n{line}\n" in shown, line
    assert "\n    3x rate_limited: Too many requests Too many" in shown


def test_show_as_json_has_the_numbers_and_the_choices(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "churn-risk")
    with database.begin() as connection:
        run = held(connection, "churn-risk", now - HOUR, now + HOUR)

    document = json.loads(checked(syncd("show", run, "--json", cwd=tmp_path)))

    assert document["schema"] == "syncd.show/1"
    assert document["plan"] == "waiting"
    assert document["run"]["numbers"]["to_exit"] == 9_870
    assert document["run"]["hold_expires_at"] == f"{now + HOUR:%Y-%m-%dT%H:%M:%SZ}"
    assert document["exit_shares"] == [0.314]
    assert document["choices"] == [
        f'syncd {verb} {run[-8:]} --reason "..."' for verb in ("approve", "reject")
    ]


def test_show_of_a_run_in_progress_says_how_far_it_is(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        ran(connection, "calm", now - HOUR)
        run = ran(connection, "calm", now - MINUTE, None)
        leases.acquire(connection, "calm", leases.holder_name(), now)
        batch(connection, bound(connection, "calm", now), run, 40, now)
        runs.enter_phase(connection, run, "deliver")
        requested(connection, run, "calm", now, accepted=60)

    shown = checked(syncd("show", "calm", cwd=tmp_path))

    assert re.search(r"\nrunning since .*, deliver, 60 % answered\n", shown)


def test_show_refuses_what_is_unknown_or_ambiguous(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "churn-risk")
    with database.begin() as connection:
        endings = [ran(connection, "gone", now, tag=n)[-1] for n in range(17)]
    twice = next(ending for ending in endings if endings.count(ending) > 1)

    unknown = syncd("show", "churn-rik", cwd=tmp_path)
    ambiguous = syncd("show", twice, cwd=tmp_path)
    never_ran = syncd("show", "churn-risk", cwd=tmp_path)

    assert unknown.returncode == 2
    assert "No run and no sync 'churn-rik'. Did you mean 'churn-risk'?" in (
        unknown.stderr
    )
    assert ambiguous.returncode == 2
    assert f"More than one run ends with '{twice}'" in ambiguous.stderr
    assert never_ran.returncode == 1
    assert never_ran.stderr == (
        "error[run.none]: churn-risk has not run yet\nnext: syncd run churn-risk\n"
    )


# --- the store ------------------------------------------------------------------------


def test_every_page_reads_the_same_from_postgres(
    tmp_path: Path, postgres_database: str, now: datetime
) -> None:
    url = postgres_database
    database = Database(url)
    migrate(database)
    secret = tmp_path / "store_url"
    secret.write_text(url)
    secret.chmod(0o600)
    configured(tmp_path, url, "churn-risk")
    path = tmp_path / "config/syncd.yaml"
    text = path.read_text().replace(f'url: "{url}"', f"url_file: {secret}")
    path.write_text(text)
    with database.begin() as connection:
        known(connection, "churn-risk", now - DAY)
        beating(connection, now, timedelta(0))
        binding = bound(connection, "churn-risk", now)
        run = held(connection, "churn-risk", now - HOUR, now + HOUR)
        batch(connection, binding, run, 3, now)
    database.close()

    status = checked(syncd("status", cwd=tmp_path))
    listed = checked(syncd("runs", cwd=tmp_path))
    shown = checked(syncd("show", run[-8:].upper(), cwd=tmp_path))
    healthy = syncd("healthcheck", cwd=tmp_path)

    assert "◆  churn-risk  held" in status
    assert run[-8:] in listed
    assert f"churn-risk  run {run}" in shown
    assert healthy.returncode == 0, healthy.stdout


READING = [("status",), ("runs",), ("show", "calm"), ("healthcheck",)]


@pytest.mark.parametrize("verb", READING[:3])
def test_before_the_first_run_there_is_a_clear_error_and_nothing_is_made(
    tmp_path: Path, verb: tuple[str, ...]
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")

    shown = syncd(*verb, cwd=tmp_path)

    assert shown.returncode == 69
    assert shown.stdout == ""
    assert "error[store.missing]: there is no store at " in shown.stderr
    assert shown.stderr.splitlines()[-1].startswith("next: syncd run")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config"]


@pytest.mark.parametrize("verb", READING)
def test_a_newer_schema_is_refused(
    tmp_path: Path, database: Database, verb: tuple[str, ...]
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with sqlite3.connect(tmp_path / "data/syncd.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()

    shown = syncd(*verb, cwd=tmp_path)

    assert shown.returncode == (1 if verb == ("healthcheck",) else 69)
    assert "schema 9999, which is newer" in shown.stdout + shown.stderr


def test_reading_changes_not_one_byte_of_the_store(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        ran(connection, "calm", now)
    database.close()
    path = tmp_path / "data/syncd.db"
    before = path.read_bytes(), path.stat().st_mtime_ns

    for verb in READING:
        syncd(*verb, cwd=tmp_path)

    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    beside = {each.name: each.stat().st_size for each in path.parent.iterdir()}
    assert beside.get("syncd.db-wal", 0) == 0
    assert set(beside) <= {"syncd.db", "syncd.db-wal", "syncd.db-shm"}


def test_reading_works_beside_a_writer(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    with database.begin() as connection:
        committed = ran(connection, "calm", now - HOUR)

    with database.begin() as connection:
        ran(connection, "calm", now)
        document = json.loads(syncd("runs", "--json", cwd=tmp_path).stdout)

    assert [run["id"] for run in document["runs"]] == [committed]


# --- healthcheck ----------------------------------------------------------------------


def test_healthcheck_follows_the_heartbeat(
    tmp_path: Path, database: Database, now: datetime
) -> None:
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    answers = [syncd("healthcheck", cwd=tmp_path)]
    for ago in (SILENT_AFTER, timedelta(0)):
        with database.begin() as connection:
            beating(connection, datetime.now(UTC), ago)
        answers.append(syncd("healthcheck", cwd=tmp_path))
    with database.begin() as connection:
        known(connection, "calm", now - DAY)
        connections.stop(connection, "amplitude-main", "Invalid API Key", now)
    answers.append(syncd("healthcheck", "--json", cwd=tmp_path))

    assert [answer.returncode for answer in answers] == [1, 1, 0, 0]
    assert all(answer.stderr == "" for answer in answers)
    assert answers[0].stdout == "unhealthy: no daemon runs (syncd serve)\n"
    assert re.fullmatch(
        r"unhealthy: daemon 4321 gave its last sign of life 1 m.* ago\n",
        answers[1].stdout,
    )
    assert answers[2].stdout.startswith("healthy: daemon 4321")
    assert json.loads(answers[3].stdout)["healthy"] is True


def test_healthcheck_is_1_for_whatever_else_is_wrong(tmp_path: Path) -> None:
    without_config = syncd("healthcheck", cwd=tmp_path)
    configured(tmp_path, "sqlite:///data/syncd.db", "calm")
    without_store = syncd("healthcheck", cwd=tmp_path)

    assert without_config.returncode == without_store.returncode == 1
    assert without_config.stdout == (
        "unhealthy: the configuration is invalid: syncd check\n"
    )
    assert without_store.stdout.startswith("unhealthy: store.missing: there is no")


def test_healthcheck_gives_up_on_a_store_that_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        configured(tmp_path, f"postgresql://syncd@127.0.0.1:{port}/syncd", "calm")
        started = time.monotonic()
        shown = syncd("healthcheck", cwd=tmp_path)
        took = time.monotonic() - started

    assert shown.returncode == 1
    assert shown.stdout == "unhealthy: no answer within 2 s\n"
    assert took < 8  # two seconds, and what a slow machine needs to start


# --- simulate -------------------------------------------------------------------------


def test_simulate_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    options = ["--speed", "60", "--origin", "2026-05-12T09:00:00", "--region", "eu"]
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", "simulate", *options, "--ready-file", ready],
        stdout=subprocess.PIPE,
        text=True,
        env=bare(),
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        amplitude = line["origins"]["amplitude"].rpartition(":")[2]
        taken = syncd("simulate", "--amplitude-port", amplitude, cwd=tmp_path)
        process.send_signal(signal.SIGTERM)

        assert process.wait(timeout=60) == 0

    assert json.loads(ready.read_text()) == line
    assert line["event"] == "simulator.ready"
    assert line["region"] == "eu"
    assert line["speed"] == 60
    assert datetime.fromisoformat(line["now"]) >= datetime(2026, 5, 12, 9, tzinfo=UTC)
    assert taken.returncode == 1
    assert "error[simulate.unavailable]: the simulator cannot start: " in taken.stderr


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--speed", "0", "not in the range"),
        ("--origin", "noon", "'noon' is not like 2026-05-12T09:00:00Z."),
        ("--region", "mars", "'us', 'eu'"),
        ("--amplitude-port", "70000", "not in the range"),
    ],
)
def test_simulate_refuses_what_it_cannot_mean(
    tmp_path: Path, option: str, value: str, says: str
) -> None:
    shown = syncd("simulate", option, value, cwd=tmp_path)

    assert shown.returncode == 2
    assert says in shown.stderr
