"""The schema: what the migrations build, what the member view says, who is refused."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, inspect, select, text, update

from syncd.errors import StoreRefused, StoreUnavailable
from syncd.model import BatchState, Found, Operation, PlannedBatch
from syncd.store import acknowledged, bindings, compaction, outbox
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import REVISIONS, current, head, migrate, require_current
from syncd.store.tables import metadata, run
from syncd.store.upgrade import folder

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ODD_IDS = (
    b'quote"s',
    b"back\\slash",
    b"\\",
    b'\\"',
    b"apostro'phe",
    b"a,b",
    b"[1]",
    b"007",
    b"1e3",
    b"null",
    b"%41",
    "жук-ü-漢".encode(),
    "👩🏽‍🚀".encode(),
    "\u2028".encode(),
    b"with space",
    b"A",
    b"a",
)


def planned(
    operation: Operation, ids: tuple[bytes, ...], last_bucket: int = 0
) -> PlannedBatch:
    return PlannedBatch(
        operation=operation, ids=ids, first_bucket=0, last_bucket=last_bucket
    )


def acknowledged_batch(
    connection: Connection,
    binding: Binding,
    operation: Operation,
    ids: tuple[bytes, ...],
    not_applied: tuple[bytes, ...] = (),
) -> None:
    """Put one batch into the log, some of its ids refused by the destination."""
    run_id = f"run-{operation}"
    outbox.add(
        connection,
        binding_id=binding.id,
        run_id=run_id,
        state=BatchState.OPEN,
        batches=[planned(operation, ids)],
        now=NOW,
    )
    (waiting,) = outbox.waiting(connection, run_id)
    outbox.acknowledge(
        connection,
        outbox.claim(connection, waiting.id),
        applied=[i for i in ids if i not in not_applied],
        not_applied=not_applied,
        now=NOW,
    )


def viewed(database: Database) -> list[tuple[str, str | None, bytes]]:
    query = text("SELECT sync, target_id, member_id FROM member")
    with database.read() as connection:
        return sorted(
            (row.sync, row.target_id, row.member_id.encode())
            for row in connection.execute(query)
        )


def viewed_ids(database: Database) -> list[bytes]:
    return sorted(member_id for _, _, member_id in viewed(database))


def test_the_migrations_build_exactly_the_tables_of_the_program(
    database: Database,
) -> None:
    with database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_the_schemas_the_program_knows_are_the_steps_that_it_ships() -> None:
    """It looks them up in a constant: loading the steps takes longer than a command."""
    steps = ScriptDirectory.from_config(folder()).walk_revisions("base", "heads")

    assert tuple(each.revision for each in reversed(list(steps))) == REVISIONS


def test_primary_keys_and_deleting_foreign_keys_are_what_the_program_knows(
    database: Database,
) -> None:
    """compare_metadata does not look at primary keys and foreign keys' actions."""
    with database.read() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            key = found.get_pk_constraint(table.name)
            assert key["constrained_columns"] == [c.name for c in table.primary_key]
        (payload_key,) = found.get_foreign_keys("batch_ids")

    assert payload_key["options"] == {"ondelete": "CASCADE"}


def test_migrating_twice_changes_nothing(empty_database: Database) -> None:
    first, second = migrate(empty_database), migrate(empty_database)

    assert first == (None, head())
    assert second == (head(), head())
    require_current(empty_database)


def test_an_empty_store_is_refused_where_it_may_not_be_migrated(
    empty_database: Database,
) -> None:
    with pytest.raises(StoreRefused) as refused:
        require_current(empty_database)

    assert str(refused.value) == "the store has no tables yet"
    assert "syncd db migrate, or syncd serve" in refused.value.hint


@pytest.mark.parametrize("use", [migrate, require_current])
def test_a_newer_schema_is_refused_with_both_versions_named(
    database: Database, use: Callable[[Database], object]
) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(StoreRefused, match=f"9999.*{head()}") as refused:
        use(database)

    assert refused.value.hint
    with database.read() as connection:
        assert current(connection) == "9999"


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    empty_database: Database,
) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("CREATE TABLE unaccepted (x INTEGER)"))

    with pytest.raises(StoreUnavailable):
        migrate(empty_database)

    with empty_database.read() as connection:
        assert inspect(connection).get_table_names() == ["unaccepted"]


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    stores = [Database(database_url) for _ in range(4)]
    before: list[str | None] = []

    def start(store: Database) -> None:
        before.append(migrate(store)[0])

    threads = [threading.Thread(target=start, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()

    assert sorted(before, key=str) == [head()] * 3 + [None]


def test_the_member_view_is_empty_for_an_empty_store(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    new_binding()

    assert viewed(database) == []


@pytest.mark.parametrize("compacted", [False, True])
def test_the_member_view_gives_back_every_byte_of_an_id(
    database: Database, new_binding: Callable[..., Binding], *, compacted: bool
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, ODD_IDS)
    if compacted:
        compaction.compact(database, binding.id)

    assert viewed_ids(database) == sorted(ODD_IDS)


def test_the_member_view_overlays_the_log_on_the_chunks_in_order(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, (b"a", b"b", b"c"))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.REMOVE, (b"a", b"b"))
        acknowledged_batch(connection, binding, Operation.ADD, (b"b", b"c", b"d"))

    assert viewed_ids(database) == [b"b", b"c", b"d"]


def test_the_member_view_leaves_out_what_was_not_applied(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, (b"a", b"b"))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        ids = (b"a", b"b", b"c")
        acknowledged_batch(connection, binding, Operation.ADD, ids, (b"a", b"c"))

    assert viewed_ids(database) == [b"b"]


def test_the_member_view_shows_a_batch_of_which_nothing_was_applied_as_nobody(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, (b"a",), (b"a",))

    assert viewed(database) == []


@pytest.mark.parametrize("state", [s for s in BatchState if s != "acknowledged"])
def test_the_member_view_ignores_batches_that_nobody_acknowledged(
    database: Database, new_binding: Callable[..., Binding], state: BatchState
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, (b"a",))
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id="next",
            state=state,
            batches=[
                planned(Operation.REMOVE, (b"a",)),
                planned(Operation.ADD, (b"z",)),
            ],
            now=NOW,
        )

    assert viewed_ids(database) == [b"a"]


def test_the_member_view_tells_syncs_and_targets_apart(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    vip, churn = new_binding(sync="vip"), new_binding(sync="churn")
    with database.begin() as connection:
        found = Found(external_id="c-1", name="VIP", size=None)
        bindings.bind(connection, vip.id, found)
        acknowledged_batch(connection, vip, Operation.ADD, (b"a",))
        acknowledged_batch(connection, churn, Operation.ADD, (b"a",))
        acknowledged_batch(connection, churn, Operation.REMOVE, (b"b",))

    assert viewed(database) == [("churn", None, b"a"), ("vip", "c-1", b"a")]


def test_the_member_view_is_what_the_program_itself_reads(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    binding = new_binding()
    people = tuple(f"user-{number}".encode() for number in range(500))
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, people)
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.REMOVE, people[::7])
        back, refused = people[::14], people[::28]
        acknowledged_batch(connection, binding, Operation.ADD, back, refused)

    with database.read() as connection:
        (bucket,) = acknowledged.read(connection, binding.id, 1, NOW)
    assert viewed_ids(database) == sorted(bucket.acknowledged)


def test_the_member_view_does_not_compare_everybody_with_everybody(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    """On a new store too, of which Postgres' planner knows nothing yet."""
    binding = new_binding()
    people = [f"user-{number}".encode() for number in range(100_000)]
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, tuple(people))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        leaving = tuple(people[:20_000])
        acknowledged_batch(connection, binding, Operation.REMOVE, leaving)

    with database.begin() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = '10s'"))
        query = text("SELECT count(*) FROM member")
        assert connection.execute(query).scalar_one() == 80_000


def test_instants_come_back_as_the_same_moment_in_utc(database: Database) -> None:
    elsewhere = datetime.fromisoformat("2026-03-01T13:30:00.000001+05:30")
    with database.begin() as connection:
        connection.execute(
            run.insert().values(
                id="r",
                sync="vip",
                trigger="manual",
                phase="done",
                started_at=elsewhere,
                config_hash="c",
                summary="{}",
            )
        )
        connection.execute(
            update(run).where(run.c.started_at == elsewhere).values(slot=elsewhere)
        )

    with database.read() as connection:
        row = connection.execute(select(run.c.slot, run.c.finished_at)).one()
    assert row.slot == elsewhere
    assert row.slot.tzinfo is UTC
    assert row.finished_at is None


def test_postgres_keeps_ids_out_of_line_and_uncompressed(
    postgres_database: str,
) -> None:
    store = Database(postgres_database)
    migrate(store)

    with store.read() as connection:
        kinds = connection.execute(
            text(
                "SELECT attrelid::regclass::text, attstorage::text FROM pg_attribute "
                "WHERE attname = 'ids' AND attrelid::regclass::text "
                "IN ('chunk', 'batch_ids')"
            )
        ).all()
    store.close()
    assert sorted(tuple(kind) for kind in kinds) == [("batch_ids", "e"), ("chunk", "e")]


def test_deleting_a_batch_row_by_hand_takes_its_payload_along(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    """The foreign key is enforced on SQLite too, where it is off by default."""
    binding = new_binding()
    with database.begin() as connection:
        acknowledged_batch(connection, binding, Operation.ADD, (b"a",))
        connection.execute(text("DELETE FROM batch"))

    with database.read() as connection:
        left = connection.execute(text("SELECT count(*) FROM batch_ids")).scalar_one()
    assert left == 0


def test_a_path_with_signs_of_a_uri_is_still_that_path(tmp_path: Path) -> None:
    path = tmp_path / "a b#c?d%41&mode=memory" / "syncd.db"
    create_file(path)
    store = Database(URL.create("sqlite", database=str(path)))

    migrate(store)
    store.close()

    assert path.stat().st_size > 0
