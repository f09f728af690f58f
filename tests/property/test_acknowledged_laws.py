"""The law of the acknowledged set: it is the batches applied in order, however stored.

A compaction may be cut off before, inside or after any of its transactions, write text
or packed chunks beside those of the other kind, and the buckets may double at any of
them: what is read stays what a plain set would hold.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select, text

from syncd.model import BatchState, IdType, Operation, PlannedBatch
from syncd.store import acknowledged, bindings, compaction, outbox
from syncd.store.bindings import Binding, Role
from syncd.store.buckets import bucket_of
from syncd.store.codec import Codec
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.migrate import migrate
from syncd.store.tables import CODEC_TEXT, chunk

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEOPLE = [f"user-{number}".encode() for number in range(60)] + [
    b'a"b',
    b"a\\b",
    "жук".encode(),
    "👩🏽‍🚀".encode(),
]
syncs = count()


class PowerCut(Exception):
    """The process ends here."""


class CutOff(Database):
    """A store whose process dies at the n-th write transaction, or just before its end.

    It shares the connections of the store it is made from.
    """

    def __init__(self, whole: Database, *, at: int, before_commit: bool) -> None:
        self._whole = whole
        self._left = at
        self._before_commit = before_commit

    @contextmanager
    def begin(self, *, brief: bool = False) -> Iterator[Connection]:
        self._left -= 1
        if self._left < 0 and not self._before_commit:
            raise PowerCut
        with self._whole.begin(brief=brief) as connection:
            yield connection
            if self._left < 0:
                raise PowerCut

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._whole.read() as connection:
            yield connection


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[Operation, tuple[bytes, ...], int]]:
    """A plan's batches: (operation, ids, how many of them are not applied).

    A plan names an id once.
    """
    named = draw(st.lists(st.sampled_from(PEOPLE), unique=True, max_size=40))
    batches = []
    while named:
        size = draw(st.integers(1, 12))
        ids, named = tuple(named[:size]), named[size:]
        operation = draw(st.sampled_from(Operation))
        batches.append((operation, ids, draw(st.integers(0, len(ids)))))
    return batches


steps = st.lists(
    st.one_of(
        st.tuples(st.just("plan"), plans()),
        st.tuples(st.just("open"), plans()),
        st.tuples(
            st.just("compact"),
            st.tuples(
                st.integers(1, 4),  # buckets together
                st.sampled_from([2, 4, 10, 1_000]),  # split above
                st.none() | st.tuples(st.integers(0, 5), st.booleans()),
                st.sampled_from(get_args(Codec)),
            ),
        ),
    ),
    max_size=12,
)


Stores = Mapping[Codec, Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """One store, opened once for each way in which it may be configured to write."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_database")
    else:
        create_file(tmp_path / "syncd.db")
        url = f"sqlite:///{tmp_path}/syncd.db"
    opened: Stores = {
        "text": Database(url, codec="text"),
        "zstd": Database(url, codec="zstd"),
    }
    migrate(opened["text"])
    yield opened
    for each in opened.values():
        each.close()


class Model:
    """The same history, told to the store and to plain sets."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.store = store = stores["text"]
        self.members: set[bytes] = set()
        self.uncertain: set[bytes] = set()
        with store.begin() as connection:
            self.id = bindings.create(
                connection,
                sync=f"sync-{next(syncs)}",
                role=Role.CURRENT,
                connection_name="amplitude",
                target="name:VIP",
                owner="owner@example.com",
                id_type=IdType.USER_ID,
                source_fingerprint="s",
                now=NOW,
            ).id

    def binding(self) -> Binding:
        with self.store.read() as connection:
            return bindings.get(connection, self.id)

    def plan(self, batches: Sequence[tuple[Operation, tuple[bytes, ...], int]]) -> None:
        """A plan goes out and every batch of it is settled."""
        self.open(batches)
        with self.store.begin() as connection:
            waiting = outbox.waiting(connection, f"run-{self.id}")
            for each, (operation, ids, refused) in zip(waiting, batches, strict=True):
                batch = outbox.claim(connection, each.id)
                applied, not_applied = ids[refused:], ids[:refused]
                outbox.acknowledge(
                    connection,
                    batch,
                    applied=applied,
                    not_applied=not_applied,
                    now=NOW,
                )
                self.members -= set(ids)
                if operation is Operation.ADD:
                    self.members |= set(applied)
        self.uncertain = set()

    def open(self, batches: Sequence[tuple[Operation, tuple[bytes, ...], int]]) -> None:
        """A plan goes out and takes over what was open; nothing is answered yet."""
        n_buckets = self.binding().n_buckets
        with self.store.begin() as connection:
            outbox.take_over(connection, self.id)
            outbox.add(
                connection,
                binding_id=self.id,
                run_id=f"run-{self.id}",
                state=BatchState.OPEN,
                batches=[
                    _planned(operation, ids, n_buckets) for operation, ids, _ in batches
                ],
                now=NOW,
            )
        self.uncertain = {member for _, ids, _ in batches for member in ids}

    def compact(
        self,
        together: int,
        split_above: int,
        cut: tuple[int, bool] | None,
        codec: Codec,
    ) -> None:
        """Move the log, perhaps cut off at some transaction."""
        store = self.stores[codec]
        if cut is not None:
            store = CutOff(store, at=cut[0], before_commit=cut[1])
        try:
            compaction.compact(
                store, self.id, together=together, split_above=split_above
            )
        except PowerCut:
            assert cut is not None


def _planned(
    operation: Operation, ids: tuple[bytes, ...], n_buckets: int
) -> PlannedBatch:
    touched = [bucket_of(member, n_buckets) for member in ids]
    return PlannedBatch(
        operation=operation,
        ids=ids,
        first_bucket=min(touched),
        last_bucket=max(touched),
    )


def check_against(model: Model) -> None:
    binding = model.binding()
    with model.store.read() as connection:
        buckets = list(acknowledged.read(connection, model.id, binding.n_buckets, NOW))
        stored = acknowledged.stored_members(connection, model.id)
        viewed = connection.execute(
            text("SELECT member_id FROM member WHERE sync = :sync"),
            {"sync": binding.sync},
        ).scalars()
        in_view = sorted(text_.encode() for text_ in viewed)
        query = select(chunk.c.codec).where(chunk.c.binding_id == model.id)
        all_text = set(connection.execute(query).scalars()) <= {CODEC_TEXT}
    assert set().union(*(b.acknowledged for b in buckets)) == model.members
    assert sum(len(b.acknowledged) for b in buckets) == len(model.members)
    assert set().union(*(b.uncertain for b in buckets)) == model.uncertain
    assert len(set(in_view)) == len(in_view)
    assert set(in_view) <= model.members
    assert set(in_view) == model.members or not all_text
    assert all(b.chunk_intact for b in buckets)
    assert stored == binding.members
    for bucket in buckets:
        everybody = bucket.acknowledged | bucket.uncertain
        assert {bucket_of(m, len(buckets)) for m in everybody} <= {bucket.index}


@settings(
    max_examples=80,
    deadline=None,
    # Every example works on a binding of its own, so the store may be shared.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=steps)
def test_the_acknowledged_set_is_the_batches_in_order_however_it_is_stored(
    stores: Stores, history: list[tuple[str, object]]
) -> None:
    model = Model(stores)

    for name, arguments in history:
        if name == "compact":
            model.compact(*arguments)  # type: ignore[misc]
        else:
            getattr(model, name)(arguments)
        check_against(model)
