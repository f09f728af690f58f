"""A store copied into another: every table, every column, each of the four ways."""

import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    Text,
    inspect,
    select,
    text,
)

from syncd.app import store as app_store
from syncd.app.moving import Wish, move
from syncd.clock import Clock
from syncd.errors import LeaseLost, StoreError, StoreInUse, StoreRefused
from syncd.store import (
    copying,
    engine_tables,
    failovers,
    gate,
    installation,
    leases,
    quiet,
    rows,
)
from syncd.store.copying import NotCopied
from syncd.store.database import Database
from syncd.store.file import create_file
from syncd.store.instant import Instant
from syncd.store.location import holds_password, is_sqlite, place
from syncd.store.migrate import head, migrate, require_current
from syncd.store.positions import positions
from syncd.store.tables import metadata
from tests.reliability.replicas.pooling import PGBOUNCER, pooled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AWAKE = quiet.Awake(Clock())
"""Nobody waits."""
KINDS = ("sqlite", "postgresql")
WAYS = [(here, there) for here in KINDS for there in KINDS]
CROSSING = [(here, there) for here, there in WAYS if here != there]
NOT_CARRIED = {"daemon"}
"""Tables that stay behind. A new one is to be copied, or named here with a reason."""
EACH = 3
"""Rows of every table."""
SILENCE, MANY = 1, 150_000
"""Seconds after which a pooler ends a transaction; rows that take longer."""


@pytest.fixture(scope="module")
def server(postgres_url: str) -> Iterator["Server"]:
    """Databases of this module, dropped at its end."""
    server = Server(postgres_url)
    yield server
    server.drop()


@dataclass
class Server:
    """Makes databases, empty ones or as another one is."""

    url: str
    made: list[str] = field(default_factory=list)

    def database(self, template: str = "template0", more: str = "") -> str:
        """URL of a new one."""
        name = f"copying_{uuid.uuid4().hex}"
        self._run(f"CREATE DATABASE {name} TEMPLATE {template} {more}")
        self.made.append(name)
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))

    def drop(self) -> None:
        """All of them."""
        for name in self.made:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")
            self._run(f"DROP ROLE IF EXISTS {name}")  # of a test that made one

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


@dataclass
class Places:
    """URLs of stores, of either kind: empty ones, and filled ones."""

    folder: Path
    server: Server
    filled: dict[str, str]
    """Kind → a filled one to be copied, as a whole."""

    def empty(self, kind: str) -> str:
        """A store that does not exist yet."""
        if kind == "postgresql":
            return self.server.database()
        return f"sqlite:///{self.folder / f'{uuid.uuid4().hex}.db'}"

    def full(self, kind: str) -> str:
        """One that has rows in every table."""
        if kind == "postgresql":
            (name,) = Path(urlsplit(self.filled[kind]).path).parts[1:]
            return self.server.database(template=name)
        url = self.empty(kind)
        shutil.copy(file_of(self.filled[kind]), file_of(url))
        return url

    def wish(self, here: str, there: str, *, keep: bool = False) -> Wish:
        """From a filled one into one that does not exist yet."""
        return Wish(
            source=self.full(here),
            target=self.empty(there),
            keep=keep,
            actor="operator",
        )


@pytest.fixture(scope="module")
def filled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store of each kind with rows in every table."""
    file = tmp_path_factory.mktemp("filled") / "syncd.db"
    urls = {"sqlite": f"sqlite:///{file}", "postgresql": server.database()}
    for url in urls.values():
        fill(url)
    return urls


@pytest.fixture
def places(tmp_path: Path, server: Server, filled: dict[str, str]) -> Places:
    """Stores for one test."""
    return Places(tmp_path, server, filled)


@pytest.fixture(params=WAYS, ids=["-to-".join(way) for way in WAYS])
def way(request: pytest.FixtureRequest, places: Places) -> Wish:
    """From a filled store into an empty place, of each kind in turn."""
    return places.wish(*request.param)


@pytest.fixture(params=CROSSING, ids=["-to-".join(way) for way in CROSSING])
def crossing(request: pytest.FixtureRequest, places: Places) -> Wish:
    """The same between the two kinds only."""
    return places.wish(*request.param)


# ---- a store with something in every table -----------------------------------------


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def opened(url: str) -> Database:
    if url.startswith("sqlite"):
        create_file(file_of(url))
    return Database(url)


def fill(url: str) -> None:
    """Rows in every table there is, of every column's whole range."""
    database = opened(url)
    migrate(database)
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        for table in metadata.sorted_tables:
            for number in range(EACH):
                connection.execute(table.insert(), row_of(connection, table, number))
        connection.execute(text("DELETE FROM action WHERE id = 3"))
    database.close()


def row_of(connection: Connection, table: Table, number: int) -> dict[str, Any]:
    return {
        column.name: value_of(connection, column, number)
        for column in table.columns
        if column is not table.autoincrement_column
    }


def value_of(connection: Connection, column: Column[Any], number: int) -> Any:
    if column.foreign_keys:
        (key,) = column.foreign_keys
        return connection.scalars(
            select(key.column).order_by(key.column).offset(number).limit(1)
        ).one()
    if column.nullable and number == 0:
        return None
    if str(column) in CLOSED:
        return CLOSED[str(column)]
    # The first that fits: a BigInteger is an Integer.
    return next(each for kind, each in FILLING if isinstance(column.type, kind))(number)


CLOSED = {"daemon.role": "daemon"}
"""Columns of words that the program itself reads on the way."""
FILLING: tuple[tuple[type, Callable[[int], Any]], ...] = (
    # Long past, as a lease of nobody is.
    (Instant, lambda number: NOW - timedelta(days=number + 1, microseconds=number)),
    (Boolean, lambda number: number % 2 == 0),
    (BigInteger, lambda number: (1 << 40) + number),
    (Integer, lambda number: number),
    (Float, lambda number: number / 3),
    (LargeBinary, lambda number: b"\x00\xff" * 5 + bytes([number])),
    (Text, lambda number: TEXTS[number]),
)
TEXTS: tuple[str, ...] = ("", "a\nж\t\\N\\.", "👩🏽‍🚀\u2028'\"\x01")


def content(url: str) -> dict[str, list[tuple[Any, ...]]]:
    database = Database(url)
    with database.read() as connection:
        found = {
            table.name: list(rows.read(connection, table))
            for table in metadata.sorted_tables
        }
    database.close()
    return found


def revision(url: str) -> str:
    database = Database(url)
    with database.read() as connection:
        found: str = connection.execute(select(gate.VERSION)).scalar_one()
    database.close()
    return found


# ---- what is copied ----------------------------------------------------------------


def test_every_row_of_every_table_is_the_same_afterwards(way: Wish) -> None:
    before = content(way.source)

    copied = move(way, Clock())

    after = content(way.target)
    told = {each.table: (each.rows, each.left) for each in copied}
    assert all(before.values())
    for name in metadata.tables.keys() - NOT_CARRIED - {"meta", "action"}:
        assert after[name] == before[name], name
        assert told[name] == (len(before[name]), 0)
    assert after["daemon"] == []
    assert told["daemon"] == (0, EACH)
    assert set(before["meta"]) <= set(after["meta"])
    assert after["action"][:-1] == before["action"]
    (_, at, actor, _, verb, _, _, reason, _) = after["action"][-1]
    assert (actor, verb) == ("operator", "copy")
    assert at > NOW
    assert reason == f"from {place(way.source)}"


def test_no_table_of_the_schema_is_unknown_to_the_copy(crossing: Wish) -> None:
    """One that only a migration makes would stay behind, and nobody would notice."""
    move(crossing, Clock())

    database = Database(crossing.target)
    with database.read() as connection:
        there = set(inspect(connection).get_table_names())
        views = inspect(connection).get_view_names()
    database.close()

    assert there == metadata.tables.keys() | {"alembic_version"}
    assert views == ["member"]


def test_a_column_of_a_new_kind_is_refused_and_not_guessed() -> None:
    with pytest.raises(TypeError, match="no copy knows"):
        rows.postgres_type(Column("x", JSON()))


def test_ids_go_on_where_they_were_even_if_the_last_rows_are_gone(way: Wish) -> None:
    move(way, Clock())

    database = Database(way.target)
    with database.read() as connection:
        found = positions(connection)
        newest = connection.execute(text("SELECT max(id) FROM action")).scalar_one()
    with database.begin() as connection:
        row = row_of(connection, metadata.tables["batch"], 1)
        made = connection.execute(metadata.tables["batch"].insert(), row)
        assert made.inserted_primary_key == (EACH + 1,)
    database.close()

    # The third was deleted, the copy's own is the fourth.
    assert (found["action"], newest) == (EACH + 1, EACH + 1)
    assert found["batch"] == EACH


# ---- one of the two is in use, never both ------------------------------------------


def refusal(use: Callable[[], object]) -> StoreError:
    with pytest.raises(StoreError) as refused:
        use()
    return refused.value


def work_on(url: str) -> None:
    """What a daemon does first; it goes no further."""
    with app_store.opened(url, migration="auto", fast=False):
        pass


def look_at(url: str) -> None:
    """What a command does that reads."""
    database = Database(url)
    try:
        require_current(database)
    finally:
        database.close()


@pytest.mark.parametrize("use", [work_on, look_at])
def test_the_old_store_is_refused_and_names_the_new_place_without_a_password(
    crossing: Wish, use: Callable[[str], None]
) -> None:
    move(crossing, Clock())

    refused = refusal(lambda: use(crossing.source))

    assert refused.code == "store.moved"
    assert place(crossing.target) in str(refused)
    use_of_new = Database(crossing.target)
    require_current(use_of_new)
    use_of_new.close()


def test_a_program_that_knows_of_no_copies_refuses_both_words(crossing: Wish) -> None:
    """It knows revisions alone, and refuses what is none of them as newer."""
    move(crossing, Clock())

    assert revision(crossing.source) == gate.MOVED
    assert not gate.MOVED.isdigit()
    assert not gate.COPYING.isdigit()


def test_a_store_that_is_kept_is_not_touched(crossing: Wish) -> None:
    before = content(crossing.source)

    move(replace(crossing, keep=True), Clock())

    assert revision(crossing.source) == head()
    assert content(crossing.source) == before
    look_at(crossing.target)


def test_a_file_that_is_kept_keeps_every_byte(places: Places) -> None:
    wish = places.wish("sqlite", "sqlite", keep=True)
    file = file_of(wish.source)
    before = file.read_bytes()

    move(wish, Clock())

    assert file.read_bytes() == before


def test_a_daemon_that_was_taken_for_dead_writes_no_more_to_the_old_store(
    crossing: Wish,
) -> None:
    late = opened(crossing.source)
    with late.begin() as connection:
        lease = leases.acquire(connection, "late", "other/1/1", NOW - leases.TTL * 2)
    assert isinstance(lease, leases.Lease)
    late.close()

    move(crossing, Clock())

    late = opened(crossing.source)
    with late.begin() as connection, pytest.raises(LeaseLost):
        leases.check(connection, lease, NOW)
    try:
        for name in ("late", "never seen before"):
            require_no_lease(late, name)
    finally:
        late.close()


def require_no_lease(database: Database, name: str) -> None:
    """On SQLite the file's lock keeps others out, and here the leases there were."""
    with database.begin() as connection:
        if database.dialect == "sqlite":
            found = leases.acquire(connection, name, "other/1/1", NOW)
            assert isinstance(found, leases.Held) or name != "late"
            return
        with pytest.raises(StoreRefused, match="was moved to"):
            leases.acquire(connection, name, "other/1/1", NOW)


def test_who_never_gave_a_lease_back_may_have_a_request_on_the_wire(
    crossing: Wish,
) -> None:
    """The new store's first run of that sync waits for it, and for nobody else."""
    old = opened(crossing.source)
    with old.begin() as connection:
        for name in ("crashed", "ended"):
            leases.acquire(connection, name, "other/1/1", NOW - leases.TTL * 2)
        ended = leases.acquire(connection, "ended", "other/1/1", NOW - leases.TTL * 2)
        assert isinstance(ended, leases.Lease)
        leases.release(connection, ended)
    old.close()

    move(crossing, Clock())

    new = opened(crossing.target)
    with new.begin() as connection:
        taken = [
            leases.acquire(connection, name, "new/1/1", NOW)
            for name in ("crashed", "ended")
        ]
    new.close()
    assert [isinstance(each, leases.Lease) for each in taken] == [True, True]
    assert [getattr(each, "taken_over", None) for each in taken] == [True, False]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:s3cret@db:5433/x", "postgresql://db:5433/x"),
        (
            "postgresql:///x?host=/run/pg&password=s3cret",
            "postgresql:///x?host=%2Frun%2Fpg",
        ),
        ("postgresql+psycopg://u@db/x?sslpassword=s3cret", "postgresql://db/x"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
    ],
)
def test_a_place_is_told_without_user_and_password(url: str, shown: str) -> None:
    assert place(url) == shown


@pytest.mark.parametrize(
    ("url", "holds"),
    [
        ("postgresql://u:s3cret@db:5433/x", True),
        ("postgresql://u:#/s3cret@db/x", True),
        ("postgresql:///x?host=/run/pg&password=s3cret", True),
        ("postgresql://db/x?sslpassword=s3cret", True),
        ("postgresql://u@db/x?passfile=/etc/pgpass", False),
        ("postgresql://u:@db/x?sslmode=require", False),
        ("sqlite:////password/x.db", False),
    ],
)
def test_a_password_in_a_url_is_found_wherever_it_stands(
    url: str, *, holds: bool
) -> None:
    assert holds_password(url) == holds


def test_a_port_that_is_none_is_refused_without_a_word_of_the_url() -> None:
    refused = refusal(lambda: is_sqlite("postgresql://u:s3cret@db:not-a-port/x"))

    assert isinstance(refused, StoreRefused)
    assert str(refused) == "store.url is not a database URL"


@pytest.mark.parametrize("kind", KINDS)
def test_a_lease_of_the_old_store_keeps_nobody_from_working_on_the_new(
    places: Places, kind: str
) -> None:
    """Of a daemon that was killed a moment ago; the file's lock tells that it is."""
    wish, now = places.wish("sqlite", kind), datetime.now(UTC)
    old = opened(wish.source)
    with old.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/1/1", now)
    old.close()

    move(wish, Clock())

    new = opened(wish.target)
    with new.begin() as connection:
        taken = leases.acquire(connection, "vip", "new/1/1", datetime.now(UTC))
    new.close()
    assert isinstance(taken, leases.Lease)
    assert taken.taken_over


def test_what_a_failover_lost_goes_along_and_another_server_is_no_failover(
    places: Places,
) -> None:
    wish = places.wish("postgresql", "postgresql")
    old = opened(wish.source)
    with old.begin() as connection:
        failovers.look(connection, NOW, lossless=False)
        connection.execute(
            text("UPDATE meta SET value = '0000FFFF' WHERE key = :key"),
            {"key": failovers.TIMELINE},
        )
        sync = connection.execute(text("SELECT max(sync) FROM binding")).scalar_one()
    old.close()

    move(wish, Clock())

    new = opened(wish.target)
    with new.begin() as connection:
        marked = failovers.since(connection, sync)
        noticed = failovers.look(connection, NOW, lossless=False)
    new.close()
    assert marked is not None
    assert noticed is None


def test_where_the_job_engine_is_at_is_not_carried_as_its_tables_are_not(
    crossing: Wish,
) -> None:
    old = opened(crossing.source)
    with old.begin() as connection:
        connection.execute(
            metadata.tables["meta"].insert(), {"key": engine_tables.STEP, "value": "1"}
        )
    old.close()

    move(crossing, Clock())

    assert engine_tables.STEP not in dict(content(crossing.target)["meta"])


def test_limits_of_the_server_do_not_end_a_copy(places: Places) -> None:
    wish = places.wish("postgresql", "postgresql")
    name = urlsplit(wish.source).path[1:]
    with psycopg.connect(wish.source, autocommit=True) as connection:
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(f"ALTER DATABASE {name} SET {limit} = 1000".encode())
    database, pause = opened(wish.source), threading.Event()

    with database.begin() as slow:
        quiet.take_time(slow)
        pause.wait(1.3)
        found = slow.execute(text("SELECT 1 FROM pg_sleep(1.3)")).scalar_one()
    database.close()

    assert found == 1


@pytest.mark.system
@pytest.mark.skipif(PGBOUNCER is None, reason="needs the package pgbouncer")
def test_a_pooler_that_ends_silent_transactions_does_not_end_a_copy(
    places: Places,
) -> None:
    """By far the largest table is written, and read back, for longer than it waits."""
    old, new = places.full("postgresql"), places.empty("postgresql")
    with psycopg.connect(old, autocommit=True) as connection:
        columns = [each.name for each in metadata.tables["attempt"].columns]
        names = ", ".join(name for name in columns if name != "id")
        connection.execute(
            f"INSERT INTO attempt ({names}) SELECT {names} FROM attempt, "
            f"generate_series(1, {MANY}) WHERE id = 1".encode()
        )
    with pooled(old, idle=SILENCE) as source, pooled(new, idle=SILENCE) as target:
        move(Wish(source=source, target=target, keep=False, actor="o"), Clock())

    assert revision(old) == gate.MOVED
    look_at(new)


# ---- to and fro --------------------------------------------------------------------


def test_the_way_back_is_into_the_store_it_came_from(crossing: Wish) -> None:
    move(crossing, Clock())
    before = content(crossing.target)

    move(replace(crossing, source=crossing.target, target=crossing.source), Clock())

    after = content(crossing.source)
    look_at(crossing.source)
    assert refusal(lambda: look_at(crossing.target)).code == "store.moved"
    for name in metadata.tables.keys() - {"meta", "action", "lease"}:
        assert after[name] == before[name], name


def test_a_store_that_has_worked_since_is_not_replaced_by_an_older_one(
    crossing: Wish, places: Places
) -> None:
    third = places.empty("sqlite")
    move(crossing, Clock())
    move(replace(crossing, source=crossing.target, target=third), Clock())

    # The first was replaced by the second; the third knows what neither does.
    refused = refusal(
        lambda: move(replace(crossing, source=third, target=crossing.source), Clock())
    )

    assert refused.code == "copy.taken"
    assert revision(crossing.source) == gate.MOVED


def test_a_retired_store_goes_only_where_it_went(
    crossing: Wish, places: Places
) -> None:
    move(crossing, Clock())

    refused = refusal(
        lambda: move(replace(crossing, target=places.empty("sqlite")), Clock())
    )

    assert refused.code == "store.moved"
    assert place(crossing.target) in str(refused)


@pytest.mark.parametrize("kind", KINDS)
def test_a_retired_store_is_not_copied_for_a_try(places: Places, kind: str) -> None:
    """It is older than the one that took its place, and looked like one in use."""
    wish = places.wish(kind, "sqlite")
    move(wish, Clock())
    for left in file_of(wish.target).parent.glob(f"{file_of(wish.target).name}*"):
        left.unlink()

    refused = refusal(lambda: move(replace(wish, keep=True), Clock()))

    assert refused.code == "store.moved"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_place_that_was_lost_before_it_worked_is_filled_again(
    places: Places, kind: str
) -> None:
    wish = places.wish(kind, "sqlite", keep=False)
    move(wish, Clock())
    before = content(wish.target)
    for left in file_of(wish.target).parent.glob(f"{file_of(wish.target).name}*"):
        left.unlink()

    move(wish, Clock())

    after = content(wish.target)
    assert after["chunk"] == before["chunk"]
    look_at(wish.target)
    (name, *_) = after["lease"][0]
    new = opened(wish.target)
    with new.begin() as connection:
        taken = leases.acquire(connection, name, "new/1/1", datetime.now(UTC))
    new.close()
    assert isinstance(taken, leases.Lease)


# ---- a copy that does not come to its end ------------------------------------------


@pytest.mark.parametrize("use", [work_on, look_at])
def test_half_a_copy_is_no_store_and_is_begun_again(
    way: Wish, use: Callable[[str], None]
) -> None:
    broken = opened(way.target)
    with broken.begin() as connection:
        gate.begin_copy(connection, "0123456789ab")
    broken.close()

    refused = refusal(lambda: use(way.target))
    move(way, Clock())

    assert refused.code == "store.unfinished"
    look_at(way.target)


def test_a_copy_that_is_whole_but_not_opened_is_no_store_either(crossing: Wish) -> None:
    """Ended between its last two commits: the source is retired by then."""
    first = opened(crossing.target)
    source = opened(crossing.source)
    with source.begin() as reading:
        with first.begin() as writing:
            gate.begin_copy(writing, "0123456789ab")
        with first.begin() as writing:
            copying.fill(reading, writing, "0123456789ab", NOW, AWAKE)
        to = gate.Move(to=place(crossing.target), copy="0123456789ab", schema=head())
        gate.retire(reading, to)
    source.close()
    first.close()
    refused = [
        refusal(partial(look_at, url)) for url in (crossing.source, crossing.target)
    ]

    move(crossing, Clock())

    assert [each.code for each in refused] == ["store.moved", "store.unfinished"]
    look_at(crossing.target)
    assert content(crossing.target)["chunk"] == content(crossing.source)["chunk"]


def test_a_copy_whose_place_another_one_took_is_not_opened(crossing: Wish) -> None:
    target = opened(crossing.target)
    with target.begin() as connection:
        gate.begin_copy(connection, "bbbbbbbbbbbb")

    with target.begin() as connection, pytest.raises(NotCopied) as refused:
        copying.finish(connection, "aaaaaaaaaaaa")
    target.close()

    assert refused.value.code == "copy.replaced"
    assert refusal(lambda: look_at(crossing.target)).code == "store.unfinished"


LOSSY = {
    "sqlite": (
        """CREATE TRIGGER lossy AFTER INSERT ON pause BEGIN
           UPDATE pause SET reason = '' WHERE sync = NEW.sync; END""",
    ),
    "postgresql": (
        """CREATE FUNCTION lossy() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.reason := ''; RETURN NEW; END $$""",
        """CREATE TRIGGER lossy BEFORE INSERT ON pause
           FOR EACH ROW EXECUTE FUNCTION lossy()""",
    ),
}
"""A database that keeps something else than it was given."""


def test_what_differs_when_it_is_read_back_is_no_copy(crossing: Wish) -> None:
    source, target = opened(crossing.source), opened(crossing.target)
    migrate(target)
    with target.begin() as connection:
        for statement in LOSSY[target.dialect]:
            connection.execute(text(statement))

    with (
        source.begin() as reading,
        target.begin() as writing,
        pytest.raises(NotCopied, match="pause") as refused,
    ):
        copying.copy_table(reading, writing, metadata.tables["pause"], NOW, AWAKE)
    source.close()
    target.close()

    assert refused.value.code == "copy.differs"


# ---- what is refused ---------------------------------------------------------------


def test_a_place_that_holds_an_installation_is_left_as_it_is(crossing: Wish) -> None:
    fill(crossing.target)
    before = content(crossing.target)

    refused = refusal(lambda: move(crossing, Clock()))

    assert refused.code == "copy.taken"
    assert content(crossing.target) == before
    look_at(crossing.source)


def test_a_place_with_tables_of_another_program_is_left_as_it_is(
    crossing: Wish,
) -> None:
    target = opened(crossing.target)
    with target.begin() as connection:
        connection.execute(text('CREATE TABLE "action" (x INTEGER)'))

    refused = refusal(lambda: move(crossing, Clock()))

    with target.read() as connection:
        assert inspect(connection).get_table_names() == ["action"]
    target.close()
    assert refused.code == "copy.taken"
    look_at(crossing.source)


def test_a_place_with_jobs_of_another_time_is_left_as_it_is(places: Places) -> None:
    """A store that was retired with its queue: due times would be worked on twice."""
    wish = places.wish("sqlite", "postgresql")
    target = opened(wish.target)
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE procrastinate_jobs (x INTEGER)"))
    target.close()

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == "copy.taken"
    look_at(wish.source)


def test_a_place_with_the_schema_and_nothing_else_is_empty(crossing: Wish) -> None:
    target = opened(crossing.target)
    migrate(target)
    target.close()

    move(crossing, Clock())

    look_at(crossing.target)


def test_tables_beside_ours_stay(crossing: Wish) -> None:
    target = opened(crossing.target)
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))

    move(crossing, Clock())

    with target.read() as connection:
        assert "theirs" in inspect(connection).get_table_names()
    target.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_of_an_older_schema_is_not_copied(places: Places, kind: str) -> None:
    wish = places.wish(kind, kind, keep=False)
    database = opened(wish.source)
    with database.begin() as connection:
        gate.stand_at(connection, "0005")
    database.close()

    refused = refusal(lambda: move(wish, Clock()))

    assert isinstance(refused, StoreRefused)
    assert "0005" in str(refused)
    assert "syncd db migrate" in refused.hint


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_not_copied_onto_itself(places: Places, kind: str) -> None:
    url = places.full(kind)

    refused = refusal(
        lambda: move(Wish(source=url, target=url, keep=True, actor="o"), Clock())
    )

    assert refused.code == "copy.same"


def test_what_is_no_store_is_not_copied(places: Places) -> None:
    wish = replace(
        places.wish("sqlite", "sqlite"), source=places.empty("sqlite"), keep=True
    )

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == "store.missing"
    assert not file_of(wish.source).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_that_never_was_a_store_is_called_no_old_one(
    places: Places, kind: str
) -> None:
    wish = replace(places.wish(kind, kind), source=places.empty(kind))
    database = opened(wish.source)
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
    database.close()

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == "store.missing"
    assert str(refused) == f"there is no store at {place(wish.source)}"


def test_nothing_is_copied_while_somebody_works_on_a_file(places: Places) -> None:
    wish = places.wish("sqlite", "sqlite", keep=True)

    with app_store.locked(wish.source):
        refused = refusal(lambda: move(wish, Clock()))

    assert isinstance(refused, StoreInUse)
    assert "--keep" in refused.hint


def test_somebody_at_the_new_place_is_not_told_as_somebody_at_the_old_one(
    places: Places,
) -> None:
    wish = places.wish("sqlite", "sqlite")

    with app_store.locked(wish.target):
        refused = refusal(lambda: move(wish, Clock()))

    assert isinstance(refused, StoreInUse)
    assert str(file_of(wish.target)) in str(refused)
    assert "syncd db copy" not in refused.hint
    look_at(wish.source)


_GRANT = "GRANT CREATE ON SCHEMA public TO {name}"
TAKES_NOTHING = [
    # What is wrong with a new place, what mends it, and what Postgres calls it.
    ("SELECT 1", _GRANT, "42501"),
    (
        _GRANT + ";ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} RESET default_transaction_read_only;" + _GRANT,
        "25006",
    ),
]


@pytest.mark.parametrize(
    ("wrong", "mended", "state"), TAKES_NOTHING, ids=["no right", "read only"]
)
def test_a_new_place_that_takes_nothing_is_named_and_filled_once_it_does(
    places: Places, wrong: str, mended: str, state: str
) -> None:
    wish = places.wish("postgresql", "postgresql")
    parts, name = urlsplit(wish.target), urlsplit(wish.target).path[1:]
    done_to(wish.target, f"CREATE ROLE {name} LOGIN", wrong.format(name=name))
    # A user of the same name as the database, who owns nothing of it.
    wish = replace(wish, target=urlunsplit(parts._replace(netloc=f"{name}@")))

    refused = refusal(lambda: move(wish, Clock()))
    look_at(wish.source)
    done_to(urlunsplit(parts), mended.format(name=name))
    move(wish, Clock())

    assert refused.code == "store.unavailable"
    assert str(refused).startswith(f"{place(wish.target)}: ")
    assert state in str(refused)
    assert "the same command again" in refused.hint
    look_at(wish.target)


def done_to(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        for each in ";".join(statements).split(";"):
            connection.execute(each.encode())


def daemon(holder: str, heartbeat_at: datetime) -> installation.Daemon:
    return installation.Daemon(
        holder=holder,
        host="elsewhere",
        pid=7,
        version="1",
        started_at=heartbeat_at,
        heartbeat_at=heartbeat_at,
    )


@pytest.mark.parametrize(("age", "moved"), [(5, False), (65, True)])
def test_nothing_is_copied_while_a_daemon_lives_on_postgres(
    places: Places, age: int, *, moved: bool
) -> None:
    wish = places.wish("postgresql", "sqlite", keep=False)
    database = opened(wish.source)
    with database.begin() as connection:
        heard = datetime.now(UTC) - timedelta(seconds=age)
        installation.beat(connection, daemon("elsewhere/7/7", heard))
    database.close()

    if moved:
        move(wish, Clock())
        return
    refused = refusal(lambda: move(wish, Clock()))

    assert isinstance(refused, StoreInUse)
    assert "elsewhere, process 7" in str(refused)
    assert "stop every daemon" in refused.hint
    look_at(wish.source)


def test_nothing_is_copied_while_a_command_has_a_sync_on_postgres(
    places: Places,
) -> None:
    wish = places.wish("postgresql", "sqlite", keep=False)
    database = opened(wish.source)
    with database.begin() as connection:
        leases.acquire(connection, "vip", "elsewhere/7/7", datetime.now(UTC))
    database.close()

    refused = refusal(lambda: move(wish, Clock()))

    assert isinstance(refused, StoreInUse)
    assert "elsewhere/7/7 works on sync vip" in str(refused)


def test_nothing_is_copied_while_somebody_writes_on_postgres(places: Places) -> None:
    wish = places.wish("postgresql", "sqlite", keep=False)
    database = opened(wish.source)

    with database.begin() as connection:
        connection.execute(text("UPDATE run SET phase = 'x'"))
        refused = refusal(lambda: move(wish, Clock()))
    database.close()

    assert isinstance(refused, StoreInUse)
    assert "writing" in str(refused)


def test_who_begins_to_work_during_the_copy_finds_the_store_retired(
    places: Places,
) -> None:
    """It saw the schema before, and waited for the copy with its first write."""
    url = places.full("postgresql")
    moving, beginning = opened(url), opened(url)
    refused: list[StoreError] = []

    def begin() -> None:
        refused.append(refusal(lambda: work_on(url)))

    with moving.begin() as connection:
        quiet.hold(connection, NOW, timedelta(seconds=60))
        starter = threading.Thread(target=begin)
        starter.start()
        wait_for_lock(beginning)
        to = gate.Move(to="sqlite:////new", copy="0123456789ab", schema=head())
        gate.retire(connection, to)
    starter.join()
    moving.close()
    beginning.close()

    assert [each.code for each in refused] == ["store.moved"]


def wait_for_lock(database: Database) -> None:
    """Until somebody waits for a lock on a table."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    pause = threading.Event()
    for _ in range(600):
        with database.read() as connection:
            if connection.execute(query).scalar_one():
                return
        pause.wait(0.05)
    raise AssertionError("nobody waits")


def test_one_copy_at_a_time_into_a_database(places: Places) -> None:
    wish = places.wish("sqlite", "postgresql", keep=True)
    other = opened(wish.target)

    with other.begin() as connection:
        quiet.take_place(connection)
        refused = refusal(lambda: move(wish, Clock()))
    other.close()

    assert isinstance(refused, StoreInUse)
    assert "another `syncd db copy`" in str(refused)


def test_text_that_postgres_does_not_take_is_counted_and_named(places: Places) -> None:
    wish = places.wish("sqlite", "postgresql", keep=False)
    database = opened(wish.source)
    with database.begin() as connection:
        connection.execute(text("UPDATE attempt SET message = 'a' || char(0) || 'b'"))
        connection.execute(text("UPDATE run SET reason = char(0) WHERE id = ''"))
    database.close()

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == "copy.nul"
    assert f"{EACH} of attempt.message" in str(refused)
    assert "1 of run.reason" in str(refused)
    look_at(wish.source)


@pytest.mark.parametrize(
    ("encoding", "code"), [("LATIN1", "store.refused"), ("SQL_ASCII", "copy.encoding")]
)
def test_a_database_that_does_not_look_at_every_id_as_utf_8_is_refused(
    places: Places, encoding: str, code: str
) -> None:
    """The first as a store at all, the second as a new place: it checks nothing."""
    narrow = places.server.database(more=f"ENCODING '{encoding}' LOCALE 'C'")
    wish = replace(places.wish("sqlite", "sqlite"), target=narrow)

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == code
    look_at(wish.source)


def test_a_damaged_file_is_not_copied(places: Places) -> None:
    wish = places.wish("sqlite", "sqlite", keep=True)
    file = file_of(wish.source)
    pages = file.read_bytes()
    size = int.from_bytes(pages[16:18])
    file.write_bytes(pages[: 9 * size] + b"\xff" * size + pages[10 * size :])

    refused = refusal(lambda: move(wish, Clock()))

    assert refused.code == "store.damaged"


# ---- any value ---------------------------------------------------------------------

VALUES = st.fixed_dictionaries(
    {
        "sync": st.text(
            st.characters(exclude_characters="\0", exclude_categories=["Cs"])
        ),
        "n": st.integers(-(1 << 31), (1 << 31) - 1),
        "duration_ms": st.floats(allow_nan=False, allow_infinity=False),
        "at": st.datetimes(timezones=st.just(UTC)),
        "status": st.none() | st.integers(0, 999),
    }
)


@pytest.fixture
def three(places: Places) -> Iterator[list[Database]]:
    """Stores of one kind, the other, and the first again."""
    stores = [opened(places.empty(kind)) for kind in ("sqlite", "postgresql", "sqlite")]
    for store in stores:
        migrate(store)
    yield stores
    for store in stores:
        store.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, max_size=20))
def test_whatever_a_column_can_hold_comes_out_of_the_other_store_alike(
    three: list[Database], made: list[dict[str, Any]]
) -> None:
    attempt = metadata.tables["attempt"]
    for store in three:
        with store.begin() as connection:
            connection.execute(attempt.delete())
    with three[0].begin() as connection:
        for values in made:
            row = row_of(connection, attempt, 1) | values
            connection.execute(attempt.insert(), row)

    for here, there in pairwise(three):
        with here.read() as reading, there.begin() as writing:
            copying.copy_table(reading, writing, attempt, NOW, AWAKE)

    found = []
    for store in three:
        with store.read() as connection:
            found.append(list(rows.read(connection, attempt)))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(made)
