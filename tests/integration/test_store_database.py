"""Opening the database: durable, one writer, read-only readers, honest failures."""

import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, text

from syncd.errors import StoreRefused, StoreUnavailable
from syncd.store.bindings import Binding
from syncd.store.database import Database
from syncd.store.file import create_file, file_system_of
from syncd.store.location import is_sqlite, sqlite_path
from syncd.store.migrate import migrate


@contextmanager
def sqlite_store(path: Path) -> Iterator[Database]:
    create_file(path)
    store = Database(URL.create("sqlite", database=str(path)))
    migrate(store)
    try:
        yield store
    finally:
        store.close()


def set_key(connection: Connection, key: str, value: str) -> None:
    connection.execute(
        text("INSERT INTO meta (key, value) VALUES (:key, :value)"),
        {"key": key, "value": value},
    )


def set_keys(store: Database, **values: str) -> None:
    with store.begin() as connection:
        for key, value in values.items():
            set_key(connection, key, value)


def value_of(connection: Connection, key: str) -> str | None:
    found: str | None = connection.execute(
        text("SELECT value FROM meta WHERE key = :key"), {"key": key}
    ).scalar_one_or_none()
    return found


def pragma(connection: Connection, name: str) -> object:
    return connection.execute(text(f"PRAGMA {name}")).scalar_one()


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:////var/lib/syncd.db", True),
        ("postgresql://host/db", False),
        ("postgresql+psycopg://host/db", False),
    ],
)
def test_the_url_says_which_kind_of_store_it_is(url: str, *, kind: bool) -> None:
    assert is_sqlite(url) is kind


@pytest.mark.parametrize("url", ["mysql://u:s3cret@host/db", "s3cret no url", ""])
def test_another_kind_of_store_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreRefused) as refused:
        is_sqlite(url)

    assert refused.value.hint == "syncd check"
    assert "s3cret" not in str(refused.value)


def test_the_file_of_a_store_is_told_from_its_url() -> None:
    assert sqlite_path("sqlite:////var/lib/a b#c.db") == Path("/var/lib/a b#c.db")
    assert sqlite_path("sqlite:///state/x.db") == Path.cwd() / "state" / "x.db"


def mounts_file(folder: Path, lines: list[str]) -> Path:
    path = folder / "mounts"
    path.write_text("".join(f"{line} rw,relatime 0 0\n" for line in lines))
    return path


def test_a_new_file_and_its_folder_belong_to_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "state" / "syncd.db"

    with sqlite_store(path):
        beside = list(path.parent.iterdir())

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {file.name for file in beside} > {"syncd.db", "syncd.db-wal"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_write_ahead_log_is_as_private_as_the_file(tmp_path: Path) -> None:
    path = tmp_path / "syncd.db"

    with sqlite_store(path):
        modes = {
            file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()
        }

    assert modes == {"syncd.db": 0o600, "syncd.db-wal": 0o600, "syncd.db-shm": 0o600}


def test_creating_a_file_that_is_there_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "syncd.db"
    with sqlite_store(path) as store, store.begin() as connection:
        set_key(connection, "k", "v")

    create_file(path)

    with sqlite_store(path) as store, store.read() as connection:
        assert value_of(connection, "k") == "v"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailable, match=r"file/syncd\.db") as failed:
        create_file(tmp_path / "file" / "syncd.db")

    assert "store.url" in failed.value.hint


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused_before_anything_is_written(
    tmp_path: Path, kind: str
) -> None:
    mounts = mounts_file(
        tmp_path,
        ["/dev/sda1 / ext4", f"host:/share {tmp_path}/net {kind}"],
    )

    with pytest.raises(StoreRefused, match=kind) as refused:
        create_file(tmp_path / "net" / "state" / "syncd.db", mounts)

    assert "local disk" in refused.value.hint
    assert not (tmp_path / "net").exists()


def test_a_local_disk_below_a_network_file_system_is_accepted(tmp_path: Path) -> None:
    mounts = mounts_file(
        tmp_path,
        ["/dev/sda1 / ext4", f"h:/s {tmp_path} nfs4", f"/dev/sdb {tmp_path}/data xfs"],
    )

    create_file(tmp_path / "data" / "syncd.db", mounts)

    assert (tmp_path / "data" / "syncd.db").exists()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/data/x.db", "nfs"),
        ("/srv/database/x.db", "ext4"),
        ("/srv/my data/x.db", "cifs"),
        ("/srv/back\\slash/x.db", "9p"),
        ("/srv/over/x.db", "xfs"),
    ],
)
def test_the_longest_mount_point_decides_the_file_system(
    tmp_path: Path, path: str, kind: str
) -> None:
    mounts = mounts_file(
        tmp_path,
        [
            "/dev/sda1 / ext4",
            "h:/s /srv/data nfs",
            "h:/s /srv/my\\040data cifs",
            "h:/s /srv/back\\134slash 9p",
            "h:/s /srv/over nfs",
            "/dev/sdb /srv/over xfs",  # mounted over the one before
        ],
    )

    assert file_system_of(Path(path), mounts) == kind


def test_a_symlink_onto_a_network_file_system_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "local").symlink_to(tmp_path / "net")
    mounts = mounts_file(tmp_path, ["/dev/sda1 / ext4", f"h:/s {tmp_path}/net nfs"])

    assert file_system_of(tmp_path / "local" / "x.db", mounts) == "nfs"


def test_without_a_list_of_mounts_the_file_system_is_unknown(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "absent") == ""


def test_a_commit_that_returned_survives_a_power_cut(tmp_path: Path) -> None:
    with sqlite_store(tmp_path / "syncd.db") as store, store.begin() as connection:
        full, enforced = 2, 1

        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == full
        assert pragma(connection, "foreign_keys") == enforced


def test_the_log_is_checkpointed_late_and_kept_small(tmp_path: Path) -> None:
    with sqlite_store(tmp_path / "syncd.db") as store, store.begin() as connection:
        assert pragma(connection, "wal_autocheckpoint") == 4000
        assert pragma(connection, "journal_size_limit") == 64 * 1024 * 1024
        assert pragma(connection, "busy_timeout") == 5000


def test_postgres_commits_as_durably_as_its_server_is_told_to(
    postgres_database: str,
) -> None:
    """We set nothing per session: that would get lost behind PgBouncer."""
    store = Database(postgres_database)
    with store.read() as connection:
        found = connection.execute(
            text("SELECT source FROM pg_settings WHERE name = 'synchronous_commit'")
        ).scalar_one()
    store.close()

    assert found == "configuration file"


def test_four_threads_that_read_then_write_lose_no_update(
    database: Database, database_url: str
) -> None:
    """Each with a writing connection of its own, as processes would have."""
    set_keys(database, counter="0")

    def count() -> None:
        store = Database(database_url)
        for _ in range(50):
            with store.begin() as connection:
                lock = "" if database.dialect == "sqlite" else " FOR UPDATE"
                found = connection.execute(
                    text(f"SELECT value FROM meta WHERE key = 'counter'{lock}")
                ).scalar_one()
                connection.execute(
                    text("UPDATE meta SET value = :value WHERE key = 'counter'"),
                    {"value": str(int(found) + 1)},
                )
        store.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.read() as connection:
        assert value_of(connection, "counter") == "200"


def test_an_error_inside_a_transaction_undoes_all_of_it(database: Database) -> None:
    def fail() -> None:
        with database.begin() as connection:
            set_key(connection, "k", "v")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with database.read() as connection:
        assert value_of(connection, "k") is None


def test_tables_made_in_a_transaction_that_fails_are_gone(database: Database) -> None:
    def fail() -> None:
        with database.begin() as connection:
            connection.execute(text("CREATE TABLE extra (x INTEGER)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with pytest.raises(StoreUnavailable), database.read() as connection:
        connection.execute(text("SELECT * FROM extra"))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO meta (key, value) VALUES ('k', 'v')",
        "DELETE FROM meta",
        "CREATE TABLE extra (x INTEGER)",
        "DROP TABLE meta",
    ],
)
def test_a_reader_cannot_write(database: Database, statement: str) -> None:
    with pytest.raises(StoreUnavailable), database.read() as connection:
        connection.execute(text(statement))

    with database.begin() as connection:
        set_key(connection, "still", "writable")


def test_a_reader_sees_one_state_however_long_it_reads(database: Database) -> None:
    with database.read() as reading:
        before = value_of(reading, "k")
        with database.begin() as connection:
            set_key(connection, "k", "v")
        again = value_of(reading, "k")

    assert (before, again) == (None, None)
    with database.read() as connection:
        assert value_of(connection, "k") == "v"


def test_a_connection_that_read_can_write_again_afterwards(database_url: str) -> None:
    """On Postgres both come from one pool: read-only must not stick."""
    store = Database(database_url, readers=1)
    migrate(store)

    for number in range(3):
        with store.read() as connection:
            assert value_of(connection, f"k{number}") is None
        with store.begin() as connection:
            set_key(connection, f"k{number}", "v")

    store.close()


def test_more_readers_than_the_pool_holds_all_read(database_url: str) -> None:
    store = Database(database_url, readers=1)
    migrate(store)
    all_there = threading.Barrier(10)
    answers: list[int] = []

    def ask() -> None:
        with store.read() as connection:
            found = connection.execute(text("SELECT 1")).scalar_one()
            all_there.wait(timeout=30)
        answers.append(found)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    store.close()
    assert answers == [1] * 10


def test_a_store_that_is_not_there_is_unavailable_and_not_made(tmp_path: Path) -> None:
    store = Database(f"sqlite:///{tmp_path}/absent.db")

    for use in (store.read, store.begin):
        with pytest.raises(StoreUnavailable, match="unable to open"), use():
            pass

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "syncd.db"
    path.write_bytes(b"this is not a database" * 100)
    store = Database(f"sqlite:///{path}")

    with pytest.raises(StoreUnavailable, match="not a database"):
        migrate(store)

    store.close()
    assert path.read_bytes() == b"this is not a database" * 100


def test_readers_recover_what_a_killed_writer_had_committed(tmp_path: Path) -> None:
    """The files of a kill: the log is there, nobody checkpointed it."""
    killed = tmp_path / "killed"
    with sqlite_store(tmp_path / "live" / "syncd.db") as store:
        with store.begin() as connection:
            set_key(connection, "k", "v")
        shutil.copytree(tmp_path / "live", killed)
    (killed / "syncd.db-shm").unlink()

    store = Database(f"sqlite:///{killed}/syncd.db")
    with store.read() as connection:
        found = value_of(connection, "k")
    store.close()

    assert found == "v"


def test_a_full_disk_is_unavailable_and_keeps_every_earlier_commit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "syncd.db"
    with sqlite_store(path) as store:
        with store.begin() as connection:
            set_key(connection, "early", "kept")
        with store.begin() as connection:
            pages = pragma(connection, "page_count")
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))

        with pytest.raises(StoreUnavailable, match="full") as failed:
            set_keys(store, small="lost with the rest", large="x" * 1_000_000)

        assert "disk" in failed.value.hint
        with store.read() as connection:
            assert value_of(connection, "early") == "kept"
            assert value_of(connection, "small") is None
            assert pragma(connection, "integrity_check") == "ok"


def test_a_store_works_again_when_there_is_room_again(tmp_path: Path) -> None:
    with sqlite_store(tmp_path / "syncd.db") as store:
        with store.begin() as connection:
            pages = pragma(connection, "page_count")
            connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        with pytest.raises(StoreUnavailable, match="full"):
            set_keys(store, large="x" * 1_000_000)

        with store.begin() as connection:
            connection.execute(text("PRAGMA max_page_count = 1000000"))
        set_keys(store, large="x" * 1_000_000)

        with store.read() as connection:
            assert value_of(connection, "large") == "x" * 1_000_000


def test_a_lock_that_is_held_too_long_by_a_stranger_is_unavailable(
    tmp_path: Path,
) -> None:
    path = tmp_path / "syncd.db"
    with sqlite_store(path) as store:
        with store.begin() as connection:
            connection.execute(text("PRAGMA busy_timeout = 10"))
        stranger = sqlite3.connect(path, isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match="locked"), store.begin():
            pass

        stranger.close()
        with store.begin() as connection:
            set_key(connection, "k", "v")


def kill_backends(url: str) -> None:
    """What a restart of the server or a failover does to our connections."""
    stranger = Database(url)
    with stranger.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                "datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    stranger.close()


@pytest.fixture
def postgres(postgres_database: str) -> Iterator[Database]:
    store = Database(postgres_database)
    migrate(store)
    yield store
    store.close()


def test_a_backend_killed_in_a_transaction_makes_the_store_unavailable_once(
    postgres: Database, postgres_database: str
) -> None:
    def cut_off() -> None:
        with postgres.begin() as connection:
            set_key(connection, "k", "v")
            kill_backends(postgres_database)
            set_key(connection, "l", "w")

    with pytest.raises(StoreUnavailable):
        cut_off()

    with postgres.begin() as connection:
        assert value_of(connection, "k") is None
        set_key(connection, "k", "v")


def test_a_backend_killed_before_the_commit_makes_the_store_unavailable_once(
    postgres: Database, postgres_database: str
) -> None:
    def cut_off() -> None:
        with postgres.begin() as connection:
            set_key(connection, "k", "v")
            kill_backends(postgres_database)

    with pytest.raises(StoreUnavailable):
        cut_off()

    with postgres.read() as connection:
        assert value_of(connection, "k") is None


def test_a_backend_killed_in_a_read_makes_the_store_unavailable_once(
    postgres: Database, postgres_database: str
) -> None:
    def cut_off() -> None:
        with postgres.read() as connection:
            kill_backends(postgres_database)
            value_of(connection, "k")

    with pytest.raises(StoreUnavailable):
        cut_off()

    with postgres.read() as connection:
        assert value_of(connection, "k") is None


def test_backends_killed_between_two_uses_are_not_even_noticed(
    postgres: Database, postgres_database: str
) -> None:
    with postgres.read() as one, postgres.read() as other:
        value_of(one, "k")
        value_of(other, "k")
    kill_backends(postgres_database)

    with postgres.begin() as connection:
        set_key(connection, "k", "v")


def only_reads(url: str, shown: str) -> None:
    """Where a database's name leads: to a standby (`on`), or to the one that writes."""
    stranger = Database(url)
    with stranger.begin() as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        words = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {shown}'
        connection.execute(text(words))
    stranger.close()


def test_connections_to_a_standby_are_not_kept(
    postgres: Database, postgres_database: str
) -> None:
    kill_backends(postgres_database)
    only_reads(postgres_database, "on")
    with pytest.raises(StoreUnavailable), postgres.begin() as connection:
        set_key(connection, "k", "v")

    only_reads(postgres_database, "off")

    with postgres.begin() as connection:
        set_key(connection, "k", "v")


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    store = Database(f"postgresql://nobody@/nothing?host={tmp_path}")

    with pytest.raises(StoreUnavailable) as failed, store.begin():
        pass

    assert failed.value.hint
    store.close()


def test_no_error_text_quotes_what_was_to_be_stored(
    database: Database, new_binding: Callable[..., Binding]
) -> None:
    """Member ids and secrets stay out of logs, so they stay out of errors."""
    binding = new_binding()
    insert = text(
        "INSERT INTO unaccepted (binding_id, id, bucket, kind, reason, first_at, "
        "last_at, next_at, offers) VALUES (:binding, :id, 0, 'k', 'r', "
        "'2026-01-01', '2026-01-01', '2026-01-01', 1)"
    )
    row = {"binding": binding.id, "id": "ann@example.com"}

    with pytest.raises(StoreUnavailable) as failed, database.begin() as connection:
        connection.execute(insert, [row, row])

    assert "ann" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_a_long_series_of_writes_lets_others_in_between(tmp_path: Path) -> None:
    """A prune, a compaction: whoever is pushed to us meanwhile waits for one step."""
    steps, begun, enough = [0], threading.Event(), 300

    with sqlite_store(tmp_path / "syncd.db") as store:

        def series() -> None:
            while steps[0] < enough:
                set_keys(store, **{f"step{steps[0]}": "done"})
                steps[0] += 1
                begun.set()

        thread = threading.Thread(target=series)
        thread.start()
        begun.wait()
        waited = []
        for number in range(5):
            before = steps[0]
            set_keys(store, **{f"other{number}": "done"})
            waited.append(steps[0] - before)
        enough = 0
        thread.join()

    assert max(waited) <= 10
