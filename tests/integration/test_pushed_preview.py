"""What `plan` says of a sync that is fed by events: as a run, and nothing is stored."""

from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.types import EventDict

from syncd.app.build import identity_of_sync
from syncd.app.preview import Look, Preview, preview
from syncd.app.reading import source_of
from syncd.app.vendors import Vendors
from syncd.config import Settings, load
from syncd.config.feeds import feed_of
from syncd.errors import SourceError
from syncd.model import (
    BatchState,
    Feed,
    Found,
    Message,
    Operation,
    PlannedBatch,
    SnapshotDigest,
    Told,
)
from syncd.sources.feed_mark import Mark
from syncd.store import bindings, inbox, outbox
from syncd.store.bindings import Role
from syncd.store.database import Database
from tests.builders import NOW, ManualClock, new_database, people, rows

HOUR = timedelta(hours=1)
TABLES = ("binding", "batch", "run", "feed", "inbox", "unaccepted")


class Site:
    """A configuration with one sync fed by an inbox, its store, and its list."""

    def __init__(self, folder: Path, database: Database, *, has_list: bool) -> None:
        self.folder, self.database, self.clock = folder, database, ManualClock()
        self.file = folder / "vip.csv"
        snapshot = f"snapshot: {{type: files, path: {self.file}}}" if has_list else ""
        (folder / "syncd.yaml").write_text(
            "version: 1\nconnections:\n"
            f"  engage:\n    type: engage\n    write_key_file: w\n    {snapshot}\n"
            "    inbox: {secret_file: s}\n"
            "  amplitude:\n    type: amplitude\n    region: eu\n    app_id: 1\n"
            "    api_key_file: a\n    secret_key_file: b\n    owner: o@acme.example\n"
            "syncs:\n  - name: vip\n"
            "    from: {connection: engage, audience: vip, via: inbox}\n"
            "    to: {connection: amplitude}\n    schedule: daily\n"
        )
        self.settings: Settings = load([folder / "syncd.yaml"], {}).settings
        self.sync = self.settings.syncs[0]

    @property
    def feed(self) -> Feed:
        found = feed_of(self.sync)
        assert found is not None
        return found

    def lists(self, members: Iterable[bytes]) -> None:
        self.file.write_text(
            "\n".join(["user_id", *(m.decode() for m in sorted(members))]) + "\n"
        )

    def say(self, *, enter: set[bytes], leave: set[bytes]) -> None:
        told = tuple(
            Told(feed=self.feed, ids=sorted(ids), inside=inside)
            for ids, inside in ((enter, True), (leave, False))
        )
        message = Message(connection="engage", id="", told=told)
        with self.database.begin() as connection:
            inbox.take(connection, [message], self.clock.now())

    def has_members(self, members: set[bytes], mark: Mark) -> None:
        """As after a run whose plan had this mark."""
        with closing(Vendors(self.settings, self.clock)) as vendors:
            source = source_of(self.settings, self.sync, vendors, self.clock)
            identity = identity_of_sync(self.settings, self.sync, source)
        with self.database.begin() as connection:
            made = bindings.create(
                connection,
                sync="vip",
                role=Role.CURRENT,
                connection_name=identity.connection,
                target=identity.target,
                owner="o@acme.example",
                id_type=identity.id_type,
                source_fingerprint=identity.source,
                now=NOW,
            )
            found = Found(external_id="c1", name="VIP", size=None)
            bindings.bind(connection, made.id, found)
            outbox.add(
                connection,
                binding_id=made.id,
                run_id="r1",
                state=BatchState.OPEN,
                batches=[
                    PlannedBatch(
                        operation=Operation.ADD,
                        ids=sorted(members),
                        first_bucket=0,
                        last_bucket=0,
                    )
                ],
                now=NOW,
            )
            (waiting,) = outbox.waiting(connection, "r1")
            batch = outbox.claim(connection, waiting.id)
            outbox.acknowledge(
                connection, batch, applied=batch.ids, not_applied=(), now=NOW
            )
            bindings.plan_went_out(
                connection,
                made.id,
                SnapshotDigest(count=len(members), total=0),
                identity.source,
                mark.text(self.feed),
            )

    def plan(self) -> Preview:
        with closing(Vendors(self.settings, self.clock)) as vendors:
            look = Look(self.settings, self.database, self.folder, vendors, self.clock)
            return preview(look, self.sync)

    def stored(self) -> list[list[tuple[object, ...]]]:
        return [rows(self.database, f"SELECT * FROM {name}") for name in TABLES]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return new_database(tmp_path)


def test_a_plan_is_what_the_words_would_change_and_stores_nothing(
    database: Database, tmp_path: Path, lines: list[EventDict]
) -> None:
    site = Site(tmp_path, database, has_list=False)
    site.has_members(people(1, 2, 3), Mark(listed_at=NOW))
    site.say(enter=people(3, 4, 5), leave=people(1))
    before = site.stored()

    shown = site.plan()

    assert (shown.plan.entered, shown.plan.exited, shown.plan.members) == (2, 1, 4)
    assert site.stored() == before
    assert lines == []


def test_a_first_plan_begins_with_the_list(database: Database, tmp_path: Path) -> None:
    site = Site(tmp_path, database, has_list=True)
    site.lists(people(1, 2, 3))
    site.say(enter=people(4), leave=people(1))

    shown = site.plan()

    assert (shown.plan.entered, shown.plan.exited) == (3, 0)


def test_a_due_list_that_cannot_be_read_stops_no_plan_but_the_first(
    database: Database, tmp_path: Path, lines: list[EventDict]
) -> None:
    site = Site(tmp_path, database, has_list=True)
    with pytest.raises(SourceError):
        site.plan()
    site.has_members(people(1, 2, 3), Mark(listed_at=NOW - 30 * 24 * HOUR))
    site.say(enter=people(4), leave=people(1))

    shown = site.plan()

    assert (shown.plan.entered, shown.plan.exited) == (1, 1)
    assert lines == []


def test_a_plan_waits_where_nothing_was_pushed(
    database: Database, tmp_path: Path
) -> None:
    site = Site(tmp_path, database, has_list=False)

    shown = site.plan()

    assert "connect its sender" in shown.note
