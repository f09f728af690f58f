"""The acknowledged set: chunks and log read as one, moved without a loss."""

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from syncd.errors import LeaseLost, StoreInUse, StoreRefused
from syncd.model import BatchState, Operation, PlannedBatch
from syncd.store import acknowledged, bindings, compaction, leases, outbox, unaccepted
from syncd.store.acknowledged import Bucket, LogSize
from syncd.store.bindings import Binding
from syncd.store.buckets import (
    SPLIT_ABOVE,
    bucket_of,
    buckets_for,
    decode,
    encode,
)
from syncd.store.database import Database
from syncd.store.leases import TTL, Lease
from syncd.store.unaccepted import Kind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BindingMaker = Callable[..., Binding]
either_codec = pytest.mark.parametrize("codec", ["text", "zstd"])


def people(count: int, start: int = 0) -> list[bytes]:
    return [f"user-{number}".encode() for number in range(start, start + count)]


def planned(
    ids: Iterable[bytes], n_buckets: int = 1, operation: Operation = Operation.ADD
) -> PlannedBatch:
    """A batch with the exact range of buckets its ids are in."""
    members = tuple(ids)
    touched = [bucket_of(member, n_buckets) for member in members]
    return PlannedBatch(
        operation=operation,
        ids=members,
        first_bucket=min(touched),
        last_bucket=max(touched),
    )


def add(
    database: Database,
    binding: Binding,
    *batches: PlannedBatch,
    state: BatchState = BatchState.OPEN,
) -> None:
    with database.begin() as connection:
        outbox.add(
            connection,
            binding_id=binding.id,
            run_id=f"run-{binding.id}",
            state=state,
            batches=batches,
            now=NOW,
        )


def acknowledge_open(database: Database, binding: Binding, at: datetime = NOW) -> None:
    with database.begin() as connection:
        for each in outbox.waiting(connection, f"run-{binding.id}"):
            batch = outbox.claim(connection, each.id)
            outbox.acknowledge(
                connection, batch, applied=batch.ids, not_applied=(), now=at
            )


def log(database: Database, binding: Binding, *batches: PlannedBatch) -> None:
    """Acknowledged batches, in this order."""
    add(database, binding, *batches)
    acknowledge_open(database, binding)


def now_of(database: Database, binding: Binding) -> Binding:
    with database.read() as connection:
        return bindings.get(connection, binding.id)


def read(database: Database, binding: Binding, now: datetime = NOW) -> list[Bucket]:
    with database.read() as connection:
        n_buckets = bindings.get(connection, binding.id).n_buckets
        return list(acknowledged.read(connection, binding.id, n_buckets, now))


def members(database: Database, binding: Binding) -> set[bytes]:
    """Everybody acknowledged; each must be in the bucket its hash says."""
    found: set[bytes] = set()
    buckets = read(database, binding)
    for bucket in buckets:
        everybody = bucket.acknowledged | bucket.uncertain | bucket.unaccepted
        assert {bucket_of(m, len(buckets)) for m in everybody} <= {bucket.index}
        found |= bucket.acknowledged
    return found


def baseline_adds_up(database: Database, binding: Binding) -> bool:
    """What the guard asks: do the chunks hold what was stored?"""
    with database.read() as connection:
        stored = acknowledged.stored_members(connection, binding.id)
    intact = all(bucket.chunk_intact for bucket in read(database, binding))
    return intact and stored == now_of(database, binding).members


def with_buckets(database: Database, binding: Binding, n_buckets: int) -> Binding:
    with database.begin() as connection:
        acknowledged.set_buckets(connection, binding.id, n_buckets)
    return now_of(database, binding)


def count(database: Database, table: str) -> int:
    with database.read() as connection:
        query = text(f"SELECT count(*) FROM {table}")
        return int(connection.execute(query).scalar_one())


def test_an_empty_binding_reads_as_empty_buckets(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 128)

    buckets = read(database, binding)

    assert [bucket.index for bucket in buckets] == list(range(128))
    assert buckets[77] == Bucket(77)
    with database.read() as connection:
        assert acknowledged.is_empty(connection, binding.id)
        assert acknowledged.log_size(connection, binding.id) == LogSize(
            ids=0, oldest=None
        )


@pytest.mark.parametrize("n_buckets", [1, 2, 64, 256])
@pytest.mark.parametrize("compacted", [False, True])
def test_every_id_is_read_in_the_bucket_of_its_hash(
    database: Database, new_binding: BindingMaker, n_buckets: int, *, compacted: bool
) -> None:
    binding = with_buckets(database, new_binding(), n_buckets)
    everybody = people(1_000)
    by_bucket = sorted(everybody, key=lambda member: bucket_of(member, n_buckets))
    log(
        database,
        binding,
        *(planned(by_bucket[n : n + 90], n_buckets) for n in range(0, 1_000, 90)),
    )
    if compacted:
        compaction.compact(database, binding.id)

    assert members(database, binding) == set(everybody)
    assert len(read(database, binding)) == n_buckets


def test_the_log_is_applied_in_order_of_batches(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    log(
        database,
        binding,
        planned([b"a", b"b", b"c"]),
        planned([b"a", b"b"], operation=Operation.REMOVE),
        planned([b"b"]),
    )

    assert members(database, binding) == {b"b", b"c"}


@either_codec
def test_one_id_can_be_asked_for(database: Database, new_binding: BindingMaker) -> None:
    binding = with_buckets(database, new_binding(), 16)
    log(database, binding, planned(people(100), 16))
    compaction.compact(database, binding.id)
    log(
        database,
        binding,
        planned(people(10), 16, Operation.REMOVE),
        planned([b"new"], 16),
    )

    def has(member: bytes) -> bool:
        with database.read() as connection:
            return acknowledged.contains(connection, binding.id, 16, member)

    asked = (b"user-50", b"user-5", b"new", b"stranger")
    assert [has(member) for member in asked] == [True, False, True, False]


@either_codec
def test_everybody_acknowledged_is_counted_exactly(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 8)
    log(database, binding, planned(people(100), 8))
    compaction.compact(database, binding.id)
    log(
        database,
        binding,
        planned(people(30), 8, Operation.REMOVE),
        planned(people(20, 90), 8),
    )
    add(database, binding, planned(people(5, 500), 8))

    with database.read() as connection:
        binding = bindings.get(connection, binding.id)
        assert acknowledged.count(connection, binding, NOW) == 80


def test_unaccepted_ids_wait_until_they_are_due(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    with database.begin() as connection:
        unaccepted.note(
            connection, binding.id, 1, Kind.UNMATCHED, {b"a": "unknown"}, NOW
        )

    (before,) = read(database, binding, NOW + HOUR - timedelta(seconds=1))
    (due,) = read(database, binding, NOW + HOUR)

    assert (before.waiting, before.unaccepted) == ({b"a"}, {b"a"})
    assert (due.waiting, due.unaccepted) == (set(), {b"a"})


def test_whatever_is_stored_about_an_id_makes_a_binding_not_empty(
    database: Database, new_binding: BindingMaker
) -> None:
    logged, moved, noted = (new_binding(sync=name) for name in "abc")
    add(database, logged, planned([b"a"]), state=BatchState.HELD)
    log(database, moved, planned([b"a"]))
    compaction.compact(database, moved.id)
    with database.begin() as connection:
        unaccepted.note(connection, noted.id, 1, Kind.REJECTED, {b"a": "odd"}, NOW)

    with database.read() as connection:
        found = [
            acknowledged.is_empty(connection, binding.id)
            for binding in (logged, moved, noted)
        ]
    assert found == [False, False, False]


@either_codec
def test_compaction_moves_the_log_into_chunks_and_changes_nobody(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 4)
    log(
        database,
        binding,
        planned(people(50), 4),
        planned(people(20), 4, Operation.REMOVE),
    )

    moved = compaction.compact(database, binding.id)

    assert moved == 70
    assert members(database, binding) == set(people(30, 20))
    assert now_of(database, binding).members == 30
    assert baseline_adds_up(database, binding)
    assert count(database, "batch") == count(database, "batch_ids") == 0


def test_compaction_leaves_batches_that_are_not_acknowledged(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    log(database, binding, planned([b"a"]))
    add(database, binding, planned([b"b"]))
    add(database, binding, planned([b"c"]), state=BatchState.HELD)

    compaction.compact(database, binding.id)

    (bucket,) = read(database, binding)
    assert (bucket.acknowledged, bucket.uncertain) == ({b"a"}, {b"b"})
    assert count(database, "batch") == 2


def test_compaction_of_an_empty_log_writes_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    asked: list[Connection] = []

    moved = compaction.compact(database, binding.id, check=asked.append)

    assert (moved, asked) == (0, [])
    assert count(database, "chunk") == 0


def test_syncs_are_compacted_apart(
    database: Database, new_binding: BindingMaker
) -> None:
    vip, churn = new_binding(sync="vip"), new_binding(sync="churn")
    log(database, vip, planned([b"a"]))
    log(database, churn, planned([b"a", b"b"]))

    compaction.compact(database, vip.id)

    assert members(database, vip) == {b"a"}
    assert members(database, churn) == {b"a", b"b"}
    assert count(database, "batch") == 1


@pytest.mark.parametrize("cut_before", [1, 2, 3, 4, 5])
def test_a_compaction_that_is_cut_off_trips_no_guard_and_loses_nobody(
    database: Database, new_binding: BindingMaker, cut_before: int
) -> None:
    """Four ranges and the last transaction: killed before each of them."""
    binding = with_buckets(database, new_binding(), 8)
    log(database, binding, planned(people(100), 8))
    transactions: list[Connection] = []

    def cut(connection: Connection) -> None:
        transactions.append(connection)
        if len(transactions) == cut_before:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compaction.compact(database, binding.id, check=cut, together=2)

    assert members(database, binding) == set(people(100))
    assert baseline_adds_up(database, binding)
    log(database, binding, planned(people(40), 8, Operation.REMOVE))
    compaction.compact(database, binding.id, together=2)
    assert members(database, binding) == set(people(60, 40))
    assert now_of(database, binding).members == 60
    assert baseline_adds_up(database, binding)


def test_whoever_lost_the_lease_does_not_compact(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    log(database, binding, planned([b"a"]))
    with database.begin() as connection:
        lost = leases.acquire(connection, "vip", "elsewhere/1/1", NOW)
        leases.acquire(connection, "vip", "elsewhere/2/2", NOW + TTL)
    assert isinstance(lost, Lease)

    with pytest.raises(LeaseLost):
        compaction.compact(
            database, binding.id, check=lambda c: leases.check(c, lost, NOW + TTL)
        )

    assert count(database, "chunk") == 0
    assert count(database, "batch") == 1


@either_codec
def test_two_compactions_at_once_lose_nobody(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 16)
    log(database, binding, planned(people(300), 16))
    log(database, binding, planned(people(100), 16, Operation.REMOVE))
    together = threading.Barrier(3)

    def compact() -> None:
        together.wait(timeout=30)
        compaction.compact(database, binding.id, together=1)

    threads = [threading.Thread(target=compact) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert members(database, binding) == set(people(200, 100))
    assert baseline_adds_up(database, binding)


def test_a_compaction_stops_where_another_one_spread_the_buckets(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    log(database, binding, planned(people(10)))
    overtaken = False

    def overtake(connection: Connection) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            acknowledged.set_buckets(connection, binding.id, 4)

    with pytest.raises(StoreInUse):
        compaction.compact(database, binding.id, check=overtake)

    assert count(database, "chunk") == 0
    assert members(database, binding) == set(people(10))


@either_codec
@pytest.mark.parametrize("doublings", [1, 2, 5])
def test_buckets_that_grew_too_full_are_spread_over_more(
    database: Database, new_binding: BindingMaker, doublings: int
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    everybody = people(64 * 2**doublings)
    log(database, binding, planned(everybody, 2))

    compaction.compact(database, binding.id, split_above=32)

    grown = now_of(database, binding)
    assert grown.n_buckets >= 2 * 2**doublings
    assert len(everybody) <= grown.n_buckets * 32
    assert members(database, binding) == set(everybody)
    assert baseline_adds_up(database, binding)
    assert grown.members == len(everybody)


def test_buckets_that_are_just_full_stay(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(64), 2))

    compaction.compact(database, binding.id, split_above=32)

    assert now_of(database, binding).n_buckets == 2


def test_batches_of_the_time_before_are_found_after_buckets_doubled(
    database: Database, new_binding: BindingMaker
) -> None:
    """Their range of buckets was made for fewer buckets: it must be widened."""
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(200), 2))
    low = [m for m in people(100, 1_000) if bucket_of(m, 2) == 0]
    high = [m for m in people(100, 2_000) if bucket_of(m, 2) == 1]
    add(database, binding, planned(low, 2))
    add(database, binding, planned(high, 2), state=BatchState.HELD)
    with database.begin() as connection:
        noted = dict.fromkeys(people(50, 3_000), "unknown")
        unaccepted.note(connection, binding.id, 2, Kind.UNMATCHED, noted, NOW)

    compaction.compact(database, binding.id, split_above=16)

    buckets = read(database, binding)
    assert len(buckets) == 32
    assert set().union(*(bucket.uncertain for bucket in buckets)) == set(low)
    assert set().union(*(bucket.unaccepted for bucket in buckets)) == set(noted)
    assert members(database, binding) == set(people(200))
    with database.begin() as connection:
        outbox.open_held(connection, binding.id, f"run-{binding.id}", NOW)
    acknowledge_open(database, binding)
    assert members(database, binding) == {*people(200), *low, *high}


def test_halves_and_refused_ids_of_widened_batches_are_found_too(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(200), 2))
    leaving = [m for m in people(200) if bucket_of(m, 2) == 1]
    add(database, binding, planned(leaving, 2))
    acknowledged_before = set(people(200))

    with database.begin() as connection:
        (waiting,) = outbox.waiting(connection, f"run-{binding.id}")
        batch = outbox.claim(connection, waiting.id)
    compaction.compact(database, binding.id, split_above=16)
    with database.begin() as connection:
        outbox.split(connection, batch, NOW)
        for each in outbox.waiting(connection, f"run-{binding.id}"):
            half = outbox.claim(connection, each.id)
            outbox.acknowledge(
                connection, half, applied=(), not_applied=half.ids, now=NOW
            )

    assert members(database, binding) == acknowledged_before - set(leaving)


@either_codec
def test_a_lost_chunk_is_missed_and_goes_on_being_missed(
    database: Database, new_binding: BindingMaker
) -> None:
    """Compaction must not heal the count: nobody would ever look."""
    binding = with_buckets(database, new_binding(), 4)
    log(database, binding, planned(people(100), 4))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        connection.execute(text("DELETE FROM chunk WHERE bucket = 1"))

    before = baseline_adds_up(database, binding)
    log(database, binding, planned(people(10, 200), 4))
    compaction.compact(database, binding.id)

    assert not before
    assert not baseline_adds_up(database, binding)


@pytest.mark.parametrize("broken", ["", "user-1", "user-1\nuser-1"])
def test_a_chunk_that_holds_less_than_it_says_is_told(
    database: Database, new_binding: BindingMaker, broken: str
) -> None:
    binding = new_binding()
    log(database, binding, planned([b"user-1", b"user-2"]))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        connection.execute(text("UPDATE chunk SET ids = :ids"), {"ids": broken})

    (bucket,) = read(database, binding)

    assert not bucket.chunk_intact


@pytest.mark.parametrize("strays_too", [False, True])
def test_an_id_in_a_bucket_that_is_not_its_own_is_nobody_and_is_told(
    database: Database, new_binding: BindingMaker, strays_too: bool
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(20), 2))
    compaction.compact(database, binding.id)
    own = [one for one in people(20) if bucket_of(one, 2) == 0]
    stray = next(one for one in people(20) if bucket_of(one, 2) == 1)
    ids = {"ids": encode([*own[1:], stray])}
    with database.begin() as connection:
        connection.execute(text("UPDATE chunk SET ids = :ids WHERE bucket = 0"), ids)

    with database.read() as connection:
        buckets = acknowledged.read(
            connection, binding.id, 2, NOW, strays_too=strays_too
        )
        found, other = list(buckets)
    dropped = found.drop_strays(list(found.acknowledged), 2)

    assert dropped is strays_too
    assert not found.chunk_intact
    assert found.acknowledged == set(own[1:])
    assert not other.drop_strays(other.acknowledged, 2)
    assert other.chunk_intact


def test_a_chunk_is_opened_when_its_bucket_is_asked_for_not_a_range_at_once(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(20), 2))
    compaction.compact(database, binding.id)
    own = {one for one in people(20) if bucket_of(one, 2) == 0}
    with database.begin() as connection:
        connection.execute(text("UPDATE chunk SET codec = 9 WHERE bucket = 1"))

    with database.read() as connection:
        buckets = acknowledged.read(connection, binding.id, 2, NOW)
        found = next(buckets)
        with pytest.raises(StoreRefused, match=r"chunk 1 .* is damaged"):
            next(buckets)

    assert found.acknowledged == own


def test_a_baseline_a_person_accepted_adds_up_again(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 128)
    log(database, binding, planned(people(500), 128))
    compaction.compact(database, binding.id)
    with database.begin() as connection:
        connection.execute(text("DELETE FROM chunk WHERE bucket < 40"))
        connection.execute(text("UPDATE chunk SET ids = '' WHERE bucket = 50"))
    left = members(database, binding)

    with database.begin() as connection:
        accepted = compaction.accept_baseline(connection, binding.id)

    assert accepted == len(left) < 500
    assert baseline_adds_up(database, binding)
    assert members(database, binding) == left


@either_codec
def test_accepting_a_whole_baseline_changes_nothing(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = with_buckets(database, new_binding(), 2)
    log(database, binding, planned(people(20), 2))
    compaction.compact(database, binding.id)
    log(database, binding, planned(people(5, 50), 2))

    with database.begin() as connection:
        accepted = compaction.accept_baseline(connection, binding.id)

    assert accepted == 20
    assert count(database, "chunk") == 2
    assert members(database, binding) == {*people(20), *people(5, 50)}


def test_the_log_knows_its_size_and_its_age(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    add(database, binding, planned(people(3)))
    acknowledge_open(database, binding, NOW + HOUR)
    add(database, binding, planned(people(2, 10)))
    acknowledge_open(database, binding, NOW)
    add(database, binding, planned(people(9, 20)))

    with database.read() as connection:
        size = acknowledged.log_size(connection, binding.id)

    assert size == LogSize(ids=5, oldest=NOW)


@pytest.mark.parametrize(
    ("ids", "age", "in_chunks", "due"),
    [
        (0, timedelta(days=9), 10, False),
        (1, timedelta(hours=24), 10, False),
        (1, timedelta(hours=24, seconds=1), 10, True),
        (50_000, HOUR, 10, False),
        (50_001, HOUR, 10, True),
        (50_001, HOUR, 5_000_000, False),
        (100_000, HOUR, 5_000_000, False),
        (100_001, HOUR, 5_000_000, True),
    ],
)
def test_compaction_is_due_when_the_log_is_large_or_old(
    ids: int, age: timedelta, in_chunks: int, *, due: bool
) -> None:
    size = LogSize(ids=ids, oldest=NOW - age)

    assert compaction.compaction_due(size, in_chunks, NOW) is due


def test_ids_are_written_down_byte_for_byte() -> None:
    ids = ["жук".encode(), b"\\n", b'"', b" a", b"a ", b"007", "\u2028\x85".encode()]

    assert decode(encode(ids)) == ids
    assert decode(encode([])) == []


@pytest.mark.parametrize(
    ("members_", "n_buckets"),
    [(0, 1), (1, 1), (4_096, 1), (4_097, 2), (8_192, 2), (2_000_000, 512)],
)
def test_buckets_are_a_power_of_two_of_about_4096_ids(
    members_: int, n_buckets: int
) -> None:
    assert buckets_for(members_) == n_buckets
    assert members_ <= n_buckets * SPLIT_ABOVE


def test_a_log_that_lost_ids_is_not_whole_until_a_person_accepts_it(
    database: Database, new_binding: BindingMaker
) -> None:
    binding = new_binding()
    log(database, binding, planned(people(3)), planned(people(3, start=3)))
    with database.begin() as connection:
        connection.execute(
            text("DELETE FROM batch_ids WHERE batch_id = (SELECT min(id) FROM batch)")
        )
    with database.read() as connection:
        assert not acknowledged.log_is_whole(connection, binding.id)

    with database.begin() as connection:
        compaction.accept_baseline(connection, binding.id)

    with database.read() as connection:
        assert acknowledged.log_is_whole(connection, binding.id)
