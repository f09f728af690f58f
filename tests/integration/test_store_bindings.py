"""A sync's hold on a target, and the ids the target did not take."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from syncd.errors import StoreUnavailable
from syncd.model import (
    BatchState,
    Found,
    IdType,
    Operation,
    PlannedBatch,
    SnapshotDigest,
)
from syncd.store import bindings, outbox, tables, unaccepted
from syncd.store.acknowledged import set_buckets
from syncd.store.bindings import Binding, Role
from syncd.store.database import Database
from syncd.store.unaccepted import Count, Kind, wait_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BindingMaker = Callable[..., Binding]


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        query = text(f"SELECT count(*) FROM {table}")
        return int(connection.execute(query).scalar_one())


# --- bindings


def test_a_new_binding_holds_nobody_and_is_bound_to_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    made = new_binding()

    assert made == Binding(
        id=made.id,
        sync="vip",
        role=Role.CURRENT,
        connection="amplitude",
        target="name:VIP",
        owner="owner@example.com",
        id_type=IdType.USER_ID,
        source_fingerprint="source-1",
        external_id=None,
        external_name=None,
        creation_intent_at=None,
        n_buckets=1,
        members=0,
        digest=None,
        source_mark=None,
    )


def test_a_binding_is_found_by_its_role(
    database: Database, new_binding: BindingMaker
) -> None:
    old = new_binding(role=Role.RETIRED)
    now, then = new_binding(), new_binding(role=Role.NEXT)
    new_binding(sync="churn")

    with database.read() as connection:
        assert bindings.current(connection, "vip") == now
        assert bindings.prepared(connection, "vip") == then
        assert bindings.of_sync(connection, "vip") == [old, now, then]
        assert bindings.current(connection, "never") is None
        assert bindings.of_sync(connection, "never") == []


def test_a_binding_moves_to_another_role(
    database: Database, new_binding: BindingMaker
) -> None:
    made = new_binding(role=Role.NEXT)

    with database.begin() as connection:
        bindings.set_role(connection, made.id, Role.CURRENT)
        found = bindings.current(connection, "vip")

    assert found is not None
    assert found.id == made.id


def test_a_bound_binding_knows_the_vendors_id(
    database: Database, new_binding: BindingMaker
) -> None:
    made = new_binding()

    with database.begin() as connection:
        found = Found(external_id="c-1", name="[Segment] VIP", size=3)
        bindings.bind(connection, made.id, found)
        bound = bindings.get(connection, made.id)

    assert (bound.external_id, bound.external_name) == ("c-1", "[Segment] VIP")


def test_owner_and_wording_of_the_target_can_be_changed(
    database: Database, new_binding: BindingMaker
) -> None:
    made = new_binding()

    with database.begin() as connection:
        bindings.set_owner(connection, made.id, "bea@example.com")
        bindings.set_target(connection, made.id, "id:c-1")
        found = bindings.get(connection, made.id)

    assert (found.owner, found.target) == ("bea@example.com", "id:c-1")


def test_the_first_intent_to_create_is_the_one_that_counts(
    database: Database, new_binding: BindingMaker
) -> None:
    """A cohort made after it may be ours: a later instant would miss it."""
    made = new_binding()

    with database.begin() as connection:
        bindings.intend_creation(connection, made.id, NOW)
        bindings.intend_creation(connection, made.id, NOW + HOUR)
        found = bindings.get(connection, made.id)

    assert found.creation_intent_at == NOW


@pytest.mark.parametrize("total", [0, 1, 2**63, 2**64 - 1])
def test_a_digest_of_64_bits_is_kept_exactly(
    database: Database, new_binding: BindingMaker, total: int
) -> None:
    made, digest = new_binding(), SnapshotDigest(count=7, total=total)

    with database.begin() as connection:
        bindings.plan_went_out(connection, made.id, digest, "source-2")
        found = bindings.get(connection, made.id)

    assert found.digest == digest
    assert found.source_fingerprint == "source-2"


def test_a_plan_without_a_snapshot_forgets_the_digest(
    database: Database, new_binding: BindingMaker
) -> None:
    made = new_binding()

    with database.begin() as connection:
        digest = SnapshotDigest(count=7, total=8)
        bindings.plan_went_out(connection, made.id, digest, "source-1")
        bindings.plan_went_out(connection, made.id, None, "source-1")
        found = bindings.get(connection, made.id)

    assert found.digest is None


def test_a_dropped_binding_takes_all_it_holds_along_and_nothing_else(
    database: Database, new_binding: BindingMaker
) -> None:
    gone, kept = new_binding(), new_binding(sync="churn")
    for binding in (gone, kept):
        with database.begin() as connection:
            outbox.add(
                connection,
                binding_id=binding.id,
                run_id=f"run-{binding.id}",
                state=BatchState.OPEN,
                batches=[_planned(b"a")],
                now=NOW,
            )
            unaccepted.note(connection, binding.id, 1, Kind.REJECTED, {b"b": "x"}, NOW)
            connection.execute(
                text(
                    "INSERT INTO chunk (binding_id, bucket, n, codec, ids) "
                    "VALUES (:id, 0, 1, 0, 'c')"
                ),
                {"id": binding.id},
            )

    with database.begin() as connection:
        bindings.drop(connection, gone.id)

    tables = ("binding", "chunk", "batch", "batch_ids", "unaccepted")
    assert [count(database, table) for table in tables] == [1] * 5
    with database.read() as connection:
        assert bindings.current(connection, "churn") == kept


def _planned(*ids: bytes) -> PlannedBatch:
    return PlannedBatch(operation=Operation.ADD, ids=ids, first_bucket=0, last_bucket=0)


def test_the_key_of_a_dropped_binding_is_never_given_again(
    database: Database, new_binding: BindingMaker
) -> None:
    """A batch of the old one that is still on its way must not find a stranger."""
    first = new_binding()
    with database.begin() as connection:
        bindings.drop(connection, first.id)

    assert new_binding().id > first.id


# --- unaccepted ids


def note(
    database: Database,
    binding: Binding,
    *ids: bytes,
    kind: Kind = Kind.UNMATCHED,
    reason: str = "unknown",
    now: datetime = NOW,
) -> None:
    with database.begin() as connection:
        n_buckets = bindings.get(connection, binding.id).n_buckets
        reasons = dict.fromkeys(ids, reason)
        unaccepted.note(connection, binding.id, n_buckets, kind, reasons, now)


def due(database: Database, binding: Binding, now: datetime) -> int:
    with database.read() as connection:
        return unaccepted.due(connection, binding.id, now)


@pytest.mark.parametrize(
    ("offers", "wait"),
    [
        (1, HOUR),
        (2, 2 * HOUR),
        (3, 4 * HOUR),
        (8, 128 * HOUR),
        (9, 7 * DAY),
        (1_000_000, 7 * DAY),
    ],
)
def test_each_offer_doubles_the_wait_up_to_a_week(offers: int, wait: timedelta) -> None:
    assert wait_after(offers) == wait


def test_an_id_is_due_when_its_wait_is_over_and_waits_longer_each_time(
    database: Database, new_binding: BindingMaker
) -> None:
    binding, now = new_binding(), NOW
    for wait in (HOUR, 2 * HOUR, 4 * HOUR):
        note(database, binding, b"a", now=now)

        assert due(database, binding, now + wait - timedelta(seconds=1)) == 0
        assert due(database, binding, now + wait) == 1
        now += wait


def test_an_id_keeps_its_first_day_and_its_count_through_offers(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    note(database, binding, b"a", now=NOW)
    note(database, binding, b"a", now=NOW + HOUR, kind=Kind.REJECTED, reason="odd")

    with database.read() as connection:
        found = connection.execute(
            tables.unaccepted.select().where(tables.unaccepted.c.id == "a")
        ).one()
    assert (found.first_at, found.last_at, found.offers) == (NOW, NOW + HOUR, 2)
    assert (found.kind, found.reason) == ("rejected", "odd")


def test_ids_that_were_taken_are_forgotten_and_start_over(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    note(database, binding, b"a", b"b")
    note(database, binding, b"a", b"b", now=NOW + HOUR)

    with database.begin() as connection:
        unaccepted.forget(connection, binding.id, [b"a", b"stranger"])
        unaccepted.forget(connection, binding.id, [])
        left = unaccepted.members(connection, binding.id)
    note(database, binding, b"a", now=NOW + 2 * HOUR)

    assert left == [(b"b", Kind.UNMATCHED, "unknown")]
    assert due(database, binding, NOW + 3 * HOUR) == 2


def test_more_ids_than_one_statement_takes_are_noted_and_counted(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    ids = [f"user-{number}".encode() for number in range(1_234)]
    note(database, binding, *ids)
    note(database, binding, *ids, now=NOW + HOUR)

    with database.read() as connection:
        assert unaccepted.total(connection, binding.id) == 1_234
        offers = connection.execute(text("SELECT DISTINCT offers FROM unaccepted"))
        assert [row.offers for row in offers] == [2]


def test_unaccepted_ids_are_counted_by_kind_and_reason(
    database: Database, new_binding: BindingMaker
) -> None:
    vip, churn = new_binding(sync="vip"), new_binding(sync="churn")
    note(database, vip, b"a", b"b")
    note(database, vip, b"c", kind=Kind.REJECTED, reason="too_long")
    note(database, churn, b"a", "ü".encode())

    with database.read() as connection:
        both = unaccepted.counts(connection, [vip.id, churn.id])
        nobody = unaccepted.counts(connection, [])
        assert unaccepted.any_of(connection, vip.id)
        assert not unaccepted.any_of(connection, 999)
        assert unaccepted.total(connection, churn.id) == 2

    assert both == [
        Count(kind=Kind.REJECTED, reason="too_long", ids=1),
        Count(kind=Kind.UNMATCHED, reason="unknown", ids=4),
    ]
    assert nobody == []


def test_noting_nobody_writes_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    note(database, new_binding())

    assert count(database, "unaccepted") == 0


def test_an_unaccepted_id_may_be_as_long_as_an_id_may_be(
    database: Database, new_binding: BindingMaker
) -> None:
    """1,024 bytes is the limit of `sync/ids`; Postgres' index takes some 2,700."""
    binding = new_binding()
    longest = "漢".encode() * 341 + b"x"

    note(database, binding, longest)

    with database.read() as connection:
        assert unaccepted.members(connection, binding.id) == [
            (longest, Kind.UNMATCHED, "unknown")
        ]


def test_the_buckets_of_unaccepted_ids_follow_the_binding(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        set_buckets(connection, binding.id, 64)
    note(database, binding, *(f"user-{n}".encode() for n in range(200)))

    with database.read() as connection:
        query = text("SELECT min(bucket), max(bucket) FROM unaccepted")
        low, high = connection.execute(query).one()
    assert 0 <= low < high < 64
    assert high > 32


def test_a_row_that_is_not_there_is_an_error_of_the_store(database: Database) -> None:
    with pytest.raises(StoreUnavailable), database.read() as connection:
        bindings.get(connection, 999)
