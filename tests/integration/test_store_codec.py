"""Members that are packed: written as the configuration says, read either way, and
nobody removed where they cannot be read. On both stores."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text, update

from syncd.app.engine import Engine
from syncd.errors import StoreRefused
from syncd.model import BatchState, IdType, Operation, Outcome, PlannedBatch, Trigger
from syncd.store import (
    acknowledged,
    bindings,
    compaction,
    erasing,
    forgotten,
    outbox,
)
from syncd.store import codec as written
from syncd.store.bindings import Binding
from syncd.store.buckets import bucket_of
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.store.migrate import migrate
from syncd.store.tables import CODEC_TEXT, CODEC_ZSTD, chunk
from syncd.store.upgrade import folder
from syncd.store.views import MEMBER_VIEW
from syncd.sync import adopting, resync
from syncd.sync.adopting import Belief
from syncd.sync.resync import Wish
from syncd.sync.spec import Report
from tests.builders import AskedSource, World, believed, people, rows

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BUCKETS = 4
EVERYBODY = people(*range(60))
BindingMaker = Callable[..., Binding]
either_codec = pytest.mark.parametrize("codec", ["text", "zstd"])
packed = pytest.mark.parametrize("codec", ["zstd"])


@pytest.fixture
def other(database: Database, codec: Codec) -> Iterator[Database]:
    """The same store after a change of the configuration: it writes the other way."""
    turned: Codec = "zstd" if codec == "text" else "text"
    url = database.url.render_as_string(hide_password=False)
    opened = Database(url, codec=turned)
    yield opened
    opened.close()


def moved(
    database: Database,
    binding: Binding,
    ids: set[bytes],
    operation: Operation = Operation.ADD,
) -> None:
    """A batch of each bucket is acknowledged and compacted."""
    run_id = f"run-{binding.id}"
    batches = [
        PlannedBatch(
            operation=operation, ids=tuple(own), first_bucket=index, last_bucket=index
        )
        for index in range(BUCKETS)
        if (own := [each for each in ids if bucket_of(each, BUCKETS) == index])
    ]
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id=run_id,
            state=BatchState.OPEN,
            batches=batches,
            now=NOW,
        )
        for waiting in outbox.waiting(connection, run_id):
            batch = outbox.claim(connection, waiting.id)
            outbox.acknowledge(
                connection, batch, applied=batch.ids, not_applied=(), now=NOW
            )
    compaction.compact(database, binding.id)


def filled(database: Database, binding: Binding) -> None:
    """Everybody is in the chunks of four buckets."""
    with database.begin() as connection:
        acknowledged.set_buckets(connection, binding.id, BUCKETS)
    moved(database, binding, EVERYBODY)


def members(database: Database, binding: Binding) -> set[bytes]:
    with database.read() as connection:
        now = bindings.get(connection, binding.id)
        stored = acknowledged.stored_members(connection, binding.id)
        found = list(acknowledged.read(connection, binding.id, now.n_buckets, NOW))
    assert stored == now.members
    assert all(each.chunk_intact for each in found)
    return set().union(*(each.acknowledged for each in found))


def codecs(database: Database) -> list[int]:
    """Of each chunk, in the order of buckets; its columns are as its codec says."""
    with database.read() as connection:
        found = connection.execute(select(chunk).order_by(chunk.c.bucket)).all()
    for each in found:
        is_text = each.codec == CODEC_TEXT
        assert (each.packed is None) is is_text
        assert bool(each.ids) is is_text
    return [each.codec for each in found]


def one_of_bucket(index: int) -> bytes:
    return min(each for each in EVERYBODY if bucket_of(each, BUCKETS) == index)


# ---- either is read, one is written --------------------------------------------------


@either_codec
def test_a_chunk_changes_its_codec_when_it_is_written_anew_and_nobody_is_lost(
    database: Database, other: Database, new_binding: BindingMaker, codec: Codec
) -> None:
    binding = new_binding()
    filled(database, binding)
    one, another = (
        (CODEC_TEXT, CODEC_ZSTD) if codec == "text" else (CODEC_ZSTD, CODEC_TEXT)
    )
    before = codecs(database)

    leaver = one_of_bucket(2)
    moved(other, binding, {leaver}, Operation.REMOVE)

    assert before == [one] * BUCKETS
    assert codecs(database) == [one, one, another, one]
    assert members(database, binding) == members(other, binding) == EVERYBODY - {leaver}
    moved(other, binding, {each for each in EVERYBODY if each != leaver} | {b"new"})
    assert members(database, binding) == EVERYBODY - {leaver} | {b"new"}


@either_codec
def test_buckets_that_are_spread_are_written_the_way_that_is_configured(
    database: Database, other: Database, new_binding: BindingMaker, codec: Codec
) -> None:
    binding = new_binding()
    filled(database, binding)
    moved(database, binding, {b"new"})
    more = people(*range(1_000, 1_200))

    for each in sorted(more):
        moved_one(other, binding, each)
    compaction.compact(other, binding.id, split_above=16)

    assert members(database, binding) == EVERYBODY | more | {b"new"}
    assert set(codecs(database)) == {CODEC_ZSTD if codec == "text" else CODEC_TEXT}


def moved_one(database: Database, binding: Binding, member_id: bytes) -> None:
    """A batch in the log alone, which may touch any bucket."""
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id="one",
            state=BatchState.OPEN,
            batches=[
                PlannedBatch(
                    operation=Operation.ADD,
                    ids=(member_id,),
                    first_bucket=0,
                    last_bucket=BUCKETS - 1,
                )
            ],
            now=NOW,
        )
        (waiting,) = outbox.waiting(connection, "one")
        batch = outbox.claim(connection, waiting.id)
        outbox.acknowledge(
            connection, batch, applied=batch.ids, not_applied=(), now=NOW
        )


@either_codec
def test_an_adopted_set_is_written_the_way_that_is_configured(
    other: Database, database: Database, new_binding: BindingMaker, codec: Codec
) -> None:
    binding = new_binding()
    filled(database, binding)
    told = [
        (index, [each for each in EVERYBODY if bucket_of(each, 8) == index])
        for index in range(8)
    ]

    with other.begin() as connection:
        compaction.adopt(connection, binding.id, 8, told)

    assert members(database, binding) == EVERYBODY
    assert set(codecs(database)) == {CODEC_ZSTD if codec == "text" else CODEC_TEXT}


@either_codec
def test_who_is_erased_from_a_former_target_is_in_no_chunk_however_it_was_written(
    database: Database, other: Database, new_binding: BindingMaker, codec: Codec
) -> None:
    binding = new_binding()
    filled(database, binding)
    gone = {one_of_bucket(0), one_of_bucket(3)}
    with other.begin() as connection:
        forgotten.add(connection, [(each, IdType.USER_ID) for each in gone], NOW)
        some = forgotten.load(connection, IdType.USER_ID)
        owner = bindings.get(connection, binding.id)
        erased = erasing.former(connection, owner, some)

    assert erased == 2
    assert members(database, binding) == EVERYBODY - gone
    one, another = (
        (CODEC_TEXT, CODEC_ZSTD) if codec == "text" else (CODEC_ZSTD, CODEC_TEXT)
    )
    assert codecs(database) == [another, one, one, another]


@packed
def test_the_member_view_shows_the_text_alone_and_nobody_who_is_not_there(
    database: Database, other: Database, new_binding: BindingMaker
) -> None:
    """An empty text would be a member without a name."""
    binding = new_binding()
    filled(database, binding)
    before = rows(database, "SELECT member_id FROM member")
    shown = {each for each in EVERYBODY if bucket_of(each, BUCKETS) == 1}

    leaver = one_of_bucket(1)
    moved(other, binding, {leaver}, Operation.REMOVE)
    moved_one(database, binding, b"new")

    after = {
        each.encode() for (each,) in rows(database, "SELECT member_id FROM member")
    }
    assert before == []
    assert after == shown - {leaver} | {b"new"}


# ---- what cannot be read -------------------------------------------------------------


def damage(database: Database, index: int = 1) -> None:
    """A byte in the middle of a frame is another one."""
    chosen = chunk.c.bucket == index
    with database.begin() as connection:
        found = connection.execute(select(chunk.c.packed).where(chosen)).scalar_one()
        frame = bytearray(found)
        frame[len(frame) // 2] ^= 0x10
        connection.execute(update(chunk).where(chosen).values(packed=bytes(frame)))


def asked_for(database: Database, binding: Binding) -> None:
    with database.read() as connection:
        one = one_of_bucket(1)
        acknowledged.contains(connection, binding.id, BUCKETS, one)


def compacted(database: Database, binding: Binding) -> None:
    compaction.compact(database, binding.id, together=BUCKETS)


@packed
@pytest.mark.parametrize("look", [members, asked_for, compacted])
def test_a_damaged_frame_is_told_and_names_nobody_and_changes_nothing(
    database: Database,
    new_binding: BindingMaker,
    look: Callable[[Database, Binding], object],
) -> None:
    binding = new_binding()
    filled(database, binding)
    moved_one(database, binding, b"new")
    damage(database)
    before = rows(database, "SELECT bucket, n, packed FROM chunk ORDER BY bucket")

    with pytest.raises(StoreRefused) as refusal:
        look(database, binding)

    assert refusal.value.code == "store.damaged"
    assert f"chunk 1 of binding {binding.id} is damaged" in str(refusal.value)
    assert "person-" not in str(refusal.value)
    assert (
        rows(database, "SELECT bucket, n, packed FROM chunk ORDER BY bucket") == before
    )


@packed
def test_what_an_older_program_wrote_beside_a_frame_is_not_believed(
    database: Database, new_binding: BindingMaker
) -> None:
    """On Postgres one may still run: it knows of no frames, and sets two columns."""
    binding = new_binding()
    filled(database, binding)
    with database.begin() as connection:
        connection.execute(text("UPDATE chunk SET ids = 'x', n = 1 WHERE bucket = 0"))

    with pytest.raises(StoreRefused) as refusal:
        members(database, binding)

    assert refusal.value.code == "store.damaged"


@packed
def test_a_baseline_that_a_person_accepts_goes_on_without_a_damaged_frame(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    filled(database, binding)
    damage(database)

    with database.begin() as connection:
        compaction.accept_baseline(connection, binding.id)

    left = {each for each in EVERYBODY if bucket_of(each, BUCKETS) != 1}
    assert members(database, binding) == left


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A sync whose members are packed, and one of whose frames is damaged."""
    world = World(database=database, spool=tmp_path)
    world.sync(members=EVERYBODY)
    world.vendor.known = people(*range(80))
    with world.engine() as engine:
        assert ran(engine, world).outcome is Outcome.SUCCESS
        with database.read() as connection:
            binding = bindings.current(connection, "vip")
        assert binding is not None
        compaction.compact(database, binding.id)
    world.vendor.requests.clear()
    damage(database, index=0)
    return world


def ran(engine: Engine, world: World) -> Report:
    world.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]
    report = engine.run("vip", Trigger.MANUAL)
    assert isinstance(report, Report)
    return report


@packed
def test_a_run_on_a_damaged_frame_fails_as_such_and_sends_nothing(world: World) -> None:
    world.sources["vip"].members = EVERYBODY - people(3) | people(70)

    with world.engine() as engine:
        report = ran(engine, world)

    assert report.outcome is Outcome.FAILED
    assert report.reason == "store.damaged"
    assert world.vendor.requests == []
    assert world.vendor.cohort.members == EVERYBODY


@packed
@pytest.mark.parametrize("way", ["adopt", "push"])
def test_either_way_to_begin_anew_makes_a_damaged_frame_good(
    world: World, way: str
) -> None:
    now = EVERYBODY - people(3) | people(70)
    world.sources["vip"].members = now
    wish = Wish(actor="ann", via="cli", reason="a damaged frame")
    there = frozenset(world.vendor.cohort.members)

    with world.engine() as engine:
        with engine.alone("vip") as (parts, spec):
            if way == "adopt":
                belief = Belief(reads=lambda _run, _cohort: AskedSource(there))
                begun = adopting.adopt(parts, spec, wish, belief)
            else:
                begun = resync.push(parts, spec, wish)
        after = ran(engine, world)

    assert begun is not None
    sent = Outcome.SKIPPED if way == "adopt" else Outcome.SUCCESS
    assert begun.outcome is sent
    assert after.outcome in (Outcome.SUCCESS, Outcome.NO_CHANGE)
    assert world.vendor.cohort.members >= now
    assert believed(world.database).acknowledged == now


# ---- the step of the schema ----------------------------------------------------------


def at_0006(database: Database, ids: str) -> None:
    """A store as the version before left it: with a chunk, and the view of its time."""
    config = folder()
    view = MEMBER_VIEW[database.dialect].replace(" AND c.codec = 0", "")
    with database.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.execute(text("DROP VIEW member"))
        connection.execute(text(view))
        connection.execute(
            text(
                "INSERT INTO binding (id, sync, role, connection, target, owner, "
                "id_type, source_fingerprint, n_buckets, members, created_at) VALUES "
                "(1, 'vip', 'current', 'a', 't', 'o', 'user_id', 's', 1, 2, :now)"
            ),
            {"now": "2026-03-01 12:00:00"},
        )
        connection.execute(
            text(
                "INSERT INTO chunk (binding_id, bucket, n, codec, ids) "
                "VALUES (1, 0, :n, 0, :ids)"
            ),
            {"n": len(ids.split("\n")), "ids": ids},
        )


def test_the_step_to_packed_members_rewrites_nothing_and_keeps_every_member(
    empty_database: Database,
) -> None:
    store = empty_database
    ids = "\n".join(f"person-{number:07}" for number in range(100_000))
    at_0006(store, ids)
    before = place_of_chunks(store)

    migrate(store)

    assert place_of_chunks(store) == before
    with store.read() as connection:
        (bucket,) = acknowledged.read(connection, 1, 1, NOW)
    assert bucket.chunk_intact
    assert len(bucket.acknowledged) == 100_000
    assert rows(store, "SELECT count(*) FROM member") == [(100_000,)]
    assert rows(store, "SELECT codec, packed FROM chunk") == [(CODEC_TEXT, None)]


@packed
def test_the_view_of_a_store_that_was_brought_up_to_date_shows_no_packed_members(
    empty_database: Database,
) -> None:
    at_0006(empty_database, "ann\nbob")
    migrate(empty_database)

    with empty_database.begin() as connection:
        compaction.adopt(connection, 1, 1, [(0, [b"ann", b"bob"])])

    assert codecs(empty_database) == [CODEC_ZSTD]
    assert rows(empty_database, "SELECT member_id FROM member") == []


def place_of_chunks(store: Database) -> object:
    """Another one where a table was written anew: it has 1.5 MB."""
    if store.dialect == "postgresql":
        query = (
            "SELECT pg_relation_filenode(oid), pg_relation_filenode(reltoastrelid) "
            "FROM pg_class WHERE relname = 'chunk'"
        )
        return rows(store, query)
    (pages,), (free,) = (
        rows(store, "PRAGMA page_count"),
        rows(store, "PRAGMA freelist_count"),
    )
    return (pages[0] - free[0]) // 100


def test_whoever_may_read_the_members_on_postgres_still_may(
    postgres_database: str,
) -> None:
    store = Database(postgres_database)
    at_0006(store, "ann\nbob")
    with store.begin() as connection:
        connection.execute(text("GRANT SELECT ON member TO PUBLIC"))

    migrate(store)

    query = (
        "SELECT relacl::text FROM pg_class WHERE relname = 'member' "
        "AND relacl::text LIKE '%=r/%'"
    )
    granted, kinds = (
        rows(store, query),
        rows(
            store,
            "SELECT attstorage::text FROM pg_attribute WHERE attname = 'packed' "
            "AND attrelid = 'chunk'::regclass",
        ),
    )
    store.close()
    assert len(granted) == 1
    assert kinds == [("e",)]


def test_what_is_written_has_a_value_for_each_column_of_it() -> None:
    """A column that is left out would keep what was there."""
    columns = set(asdict(written.write([b"a"], "text")))

    assert columns == {each.name for each in chunk.columns} - {
        "binding_id",
        "bucket",
        "n",
    }
