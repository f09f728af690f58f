"""The warehouse source against a real Postgres and real SQLite files."""

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from syncd.clock import Clock
from syncd.errors import SourceError, SourceUnavailable, SourceUntrusted
from syncd.model import IdType
from syncd.sources.warehouse import Flavour, WarehouseQuery, WarehouseSource

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

PROFILES_SYNC = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE {schema}.user_traits (canonical_segment_id text, name text, value {value},
  seq bigint, received_at timestamptz, uuid_ts timestamptz, "timestamp" timestamptz);
CREATE TABLE {schema}.user_identifiers (canonical_segment_id text, type text,
  value text, seq bigint, received_at timestamptz);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedClock(Clock):
    """Stands still at NOW and tells `look` whenever the source looks at the time."""

    look: Callable[[], float] = lambda: 0.0

    def now(self) -> datetime:
        self.look()
        return NOW

    def monotonic(self) -> float:
        return self.look()


def source(url: str, clock: Clock | None = None, **changes) -> WarehouseSource:
    query = WarehouseQuery(url=lambda: url, audience="lapsed_trials", **changes)
    return WarehouseSource(query, clock or WatchedClock())


def read(url: str, **changes) -> list[bytes]:
    return [id_ for block in source(url, **changes).blocks() for id_ in block]


def own_query(url: str, query: str, **changes) -> list[bytes]:
    return read(url, flavour=Flavour.QUERY, query=query, **changes)


def load_profiles(url: str, schema: str = "prod", value: str = "text") -> None:
    """Four profiles: two in, of which one has two user ids and one came by a merge."""
    with psycopg.connect(url) as connection:
        connection.execute(PROFILES_SYNC.format(schema=schema, value=value).encode())
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {schema}.user_traits VALUES (%s, %s, %s)".encode(),
                [
                    ("seg-1", "lapsed_trials", "true"),
                    ("seg-2", "lapsed_trials", "true"),
                    ("seg-3", "lapsed_trials", "false"),
                    ("seg-4", "lapsed_trials", None),
                    ("seg-3", "other_audience", "true"),
                    ("seg-gone", "lapsed_trials", "true"),
                ],
            )
            cursor.executemany(
                f"INSERT INTO {schema}.user_identifiers VALUES (%s, %s, %s)".encode(),
                [
                    ("seg-1", "user_id", "person-1"),
                    ("seg-1", "user_id", "person-1b"),
                    ("seg-1", "email", "one@example.com"),
                    ("seg-2", "user_id", "person-2"),
                    ("seg-2", "amplitude_id", "356896327775"),
                    ("seg-3", "user_id", "person-3"),
                    ("seg-4", "user_id", "person-4"),
                    ("seg-merged-away", "user_id", "person-5"),
                ],
            )


def load_users(url: str, count: int = 5, member: str = "boolean") -> None:
    """Engage's users table: everybody whose number is odd is a member."""
    with psycopg.connect(url) as connection:
        connection.execute(
            f"""
            CREATE TABLE users (id text, user_id text, amplitude_id bigint,
              lapsed_trials {member}, received_at timestamptz);
            INSERT INTO users SELECT n, 'person-' || n, 356896327775 + n,
              (n % 2 = 1)::{member}, '2026-03-01 11:00Z'
              FROM generate_series(1, {count}) AS n;
            """.encode()
        )


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    """A small Engage warehouse as a SQLite file with a blank in its name."""
    path = tmp_path / "ware house?.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        PRAGMA journal_mode = WAL;
        CREATE TABLE users (user_id TEXT, lapsed_trials BOOLEAN, spelled TEXT);
        INSERT INTO users VALUES
          ('person-1', 1, 'TRUE'), ('person-2', 0, 'false'), ('person-3', NULL, NULL),
          ('007', 1, 'true'), (NULL, 1, 'true'), ('person-6', 0, '1');
        """
    )
    connection.close()
    return path


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{str(path).replace('?', '%3F')}"


# --- who is a member


def test_profiles_sync_members_are_every_user_id_of_every_profile_in_the_audience(
    postgres_database,
):
    load_profiles(postgres_database)

    ids = read(postgres_database, schema="prod")

    assert sorted(ids) == [b"person-1", b"person-1b", b"person-2"]


@pytest.mark.parametrize("value", ["text", "boolean"])
def test_profiles_sync_reads_its_own_schema_whatever_type_the_value_has(
    postgres_database, value
):
    load_profiles(postgres_database, schema="dev", value=value)
    load_profiles(postgres_database, schema="prod")
    with psycopg.connect(postgres_database) as connection:
        connection.execute("DELETE FROM prod.user_traits")

    assert len(read(postgres_database, schema="dev")) == 3
    assert read(postgres_database, schema="prod") == []


def test_profiles_sync_finds_amplitude_ids_as_an_external_id(postgres_database):
    load_profiles(postgres_database)

    ids = read(postgres_database, schema="prod", id_type=IdType.AMPLITUDE_ID)
    emails = read(postgres_database, schema="prod", id_name="email")

    assert ids == [b"356896327775"]
    assert emails == [b"one@example.com"]


def test_other_table_names_can_be_given(postgres_database):
    load_profiles(postgres_database)
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE VIEW t AS SELECT * FROM prod.user_traits")
        connection.execute("CREATE VIEW i AS SELECT * FROM prod.user_identifiers")

    ids = read(postgres_database, traits_table="t", identifiers_table="i")

    assert len(ids) == 3


@pytest.mark.parametrize("member", ["boolean", "text"])
def test_engage_users_members_are_the_rows_whose_audience_column_is_true(
    postgres_database, member
):
    load_users(postgres_database, member=member)

    ids = read(postgres_database, flavour=Flavour.ENGAGE_USERS)

    assert sorted(ids) == [b"person-1", b"person-3", b"person-5"]


def test_an_integer_id_column_is_read_as_decimal_text(postgres_database):
    load_users(postgres_database)

    ids = read(
        postgres_database,
        flavour=Flavour.ENGAGE_USERS,
        id_type=IdType.AMPLITUDE_ID,
    )

    assert sorted(ids) == [b"356896327776", b"356896327778", b"356896327780"]


@pytest.mark.parametrize(
    ("audience", "expected"),
    [
        ("lapsed_trials", [b"person-1", b"007", b""]),
        ("spelled", [b"person-1", b"007", b""]),
    ],
)
def test_sqlite_members_keep_leading_zeros_and_null_is_the_empty_id(
    sqlite_file, audience, expected
):
    query = WarehouseQuery(
        url=lambda: sqlite_url(sqlite_file),
        audience=audience,
        flavour=Flavour.ENGAGE_USERS,
    )

    blocks = list(WarehouseSource(query, Clock()).blocks())

    assert blocks == [expected]


def test_an_own_query_is_given_the_audience_as_a_bound_value(postgres_database):
    load_profiles(postgres_database)
    query = """
        SELECT canonical_segment_id FROM prod.user_traits
        WHERE name = :audience AND value::text LIKE 't%' -- as Segment spells it
        ;
    """

    assert sorted(own_query(postgres_database, query)) == [
        b"seg-1",
        b"seg-2",
        b"seg-gone",
    ]


def test_a_comment_at_the_end_of_an_own_query_hides_nothing(postgres_database):
    load_users(postgres_database)

    ids = own_query(postgres_database, "SELECT user_id FROM users -- everybody")

    assert len(ids) == 5


def test_a_source_can_be_read_again_and_asks_for_its_url_again(postgres_database):
    load_users(postgres_database)
    asked = []

    def url():
        asked.append(1)
        return postgres_database

    reader = WarehouseSource(
        WarehouseQuery(url=url, audience="lapsed_trials", flavour=Flavour.ENGAGE_USERS),
        WatchedClock(),
    )

    assert list(reader.blocks()) == list(reader.blocks())
    assert len(asked) == 2


# --- what an id may be


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NULL::text", b""),
        ("' spaced '", b" spaced "),
        ("'7'", b"7"),
        ("7::bigint", b"7"),
        ("7::numeric", b"7"),
        ("1e21::numeric", b"1" + b"0" * 21),
        ("'zoë'", "zoë".encode()),
        (
            "'6F9619FF-8B86-D011-B42D-00C04FC964FF'::uuid",
            b"6f9619ff-8b86-d011-b42d-00c04fc964ff",
        ),
    ],
)
def test_an_id_arrives_as_the_bytes_the_warehouse_holds(
    postgres_database, expression, expected
):
    assert own_query(postgres_database, f"SELECT {expression} AS id") == [expected]


@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("1::float8", "float"),
        ("1.5::numeric", "Decimal"),
        ("'NaN'::numeric", "Decimal"),
        ("true", "bool"),
        ("'secret'::bytea", "bytes"),
        ("now()", "datetime"),
    ],
)
def test_a_type_that_cannot_hold_an_id_is_refused_by_its_name(
    postgres_database, expression, kind
):
    query = f"SELECT {expression} AS member UNION ALL SELECT NULL"

    with pytest.raises(SourceUntrusted, match=f"'member' arrives as {kind}"):
        own_query(postgres_database, query)


def test_text_that_is_no_utf8_is_handed_on_as_it_is_stored(sqlite_file):
    query = "SELECT CAST(x'70ff' AS TEXT) AS id UNION ALL SELECT 'person-1'"

    ids = own_query(sqlite_url(sqlite_file), query)

    assert sorted(ids) == [b"person-1", b"p\xff"]


# --- one consistent, whole read


def test_a_writer_during_the_read_changes_nothing_on_postgres(postgres_database):
    load_users(postgres_database, count=30_000)
    looks = itertools.count()
    with psycopg.connect(postgres_database, autocommit=True) as writer:

        def move_people() -> float:
            if next(looks):  # the first comes before the transaction
                writer.execute("DELETE FROM users WHERE user_id LIKE 'person-%7'")
                writer.execute("INSERT INTO users VALUES ('n', 'new', 1, true)")
            return 0.0

        blocks = source(
            postgres_database,
            WatchedClock(look=move_people),
            flavour=Flavour.ENGAGE_USERS,
            freshness_query="SELECT max(received_at) FROM users",
            max_age=timedelta(hours=1),
        ).blocks()
        ids = [id_ for block in blocks for id_ in block]

    assert len(set(ids)) == len(ids) == 15_000
    assert b"new" not in ids
    assert next(looks) == 4  # the deadline, the freshness, two blocks


def test_a_writer_during_the_read_changes_nothing_on_sqlite(sqlite_file):
    writer = sqlite3.connect(sqlite_file, isolation_level=None)
    writer.execute(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 25000) "
        "INSERT INTO users (user_id, lapsed_trials) SELECT 'p' || n, 1 FROM n"
    )
    looks = itertools.count()

    def move_people() -> float:
        if next(looks):  # the first comes before the transaction
            writer.execute("DELETE FROM users WHERE user_id LIKE 'p%0'")
            writer.execute("INSERT INTO users VALUES ('new', 1, 'true')")
        return 0.0

    blocks = source(
        sqlite_url(sqlite_file),
        WatchedClock(look=move_people),
        flavour=Flavour.ENGAGE_USERS,
        freshness_query="SELECT '2026-03-01 11:59:00' FROM users LIMIT 1",
        max_age=timedelta(hours=1),
    ).blocks()
    ids = [id_ for block in blocks for id_ in block]
    writer.close()

    assert len(ids) == 25_003
    assert b"new" not in ids


SEES_LESS_WHEN_NOT_COUNTED = """
    SELECT user_id FROM users
    WHERE current_query() LIKE '%count(%' OR user_id < 'person-3'
"""


def test_rows_that_differ_from_the_count_are_not_believed(postgres_database):
    load_users(postgres_database)

    with pytest.raises(SourceUntrusted, match="counted 5 rows but returned 2"):
        own_query(postgres_database, SEES_LESS_WHEN_NOT_COUNTED)


def test_the_count_check_can_be_left_out(postgres_database):
    load_users(postgres_database)

    ids = own_query(postgres_database, SEES_LESS_WHEN_NOT_COUNTED, count_check=False)

    assert len(ids) == 2


@pytest.mark.parametrize("blocks_before", [1, 2, 3])
def test_a_backend_killed_in_the_middle_raises_and_never_ends_a_short_list(
    postgres_database, blocks_before
):
    load_users(postgres_database, count=60_000)
    blocks = source(postgres_database, flavour=Flavour.ENGAGE_USERS).blocks()
    for _ in range(blocks_before):
        next(blocks)

    with psycopg.connect(postgres_database, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )

    with pytest.raises(SourceUnavailable):
        list(blocks)


def test_a_read_that_is_given_up_leaves_no_connection_behind(postgres_database):
    load_users(postgres_database, count=30_000)
    blocks = source(postgres_database, flavour=Flavour.ENGAGE_USERS).blocks()
    next(blocks)

    blocks.close()  # type: ignore[attr-defined]

    with psycopg.connect(postgres_database) as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database() AND state <> 'idle'"
        ).fetchone()
    assert row == (0,)


# --- time


def test_the_server_ends_a_statement_that_takes_too_long(postgres_database):
    load_users(postgres_database)
    query = "SELECT user_id FROM users WHERE pg_sleep(5) IS NOT NULL"

    with pytest.raises(SourceUnavailable, match=r"longer than 0:00:00\.2") as caught:
        own_query(postgres_database, query, timeout=timedelta(milliseconds=200))

    assert caught.value.code == "source.timeout"


def test_sqlite_ends_a_statement_when_the_time_is_over(sqlite_file):
    looks = iter([0.0])
    endless = (
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) "
        "SELECT CAST(max(n) AS TEXT) FROM n"
    )
    reader = source(
        sqlite_url(sqlite_file),
        WatchedClock(look=lambda: next(looks, 61.0)),
        flavour=Flavour.QUERY,
        query=endless,
        timeout=timedelta(minutes=1),
    )

    with pytest.raises(SourceUnavailable) as caught:
        list(reader.blocks())

    assert caught.value.code == "source.timeout"


def test_a_read_that_trickles_past_its_time_is_given_up(postgres_database):
    load_users(postgres_database, count=30_000)
    seconds = iter([0.0, 59.0, 61.0])
    blocks = source(
        postgres_database,
        WatchedClock(look=lambda: next(seconds)),
        flavour=Flavour.ENGAGE_USERS,
        timeout=timedelta(minutes=1),
    ).blocks()

    first = next(blocks)

    assert len(first) == 10_000
    with pytest.raises(SourceUnavailable, match="took longer than 0:01:00"):
        next(blocks)


# --- freshness


@pytest.mark.parametrize(
    "answer",
    [
        "'2026-03-01 11:30Z'::timestamptz",
        "'2026-03-01 11:30'::timestamp",
        "'2026-03-01T11:30:00'::text",
        "'2026-03-01T13:30:00+02:00'::text",
        "max(received_at) FROM users",
    ],
)
def test_a_list_loaded_recently_is_believed_and_a_time_without_zone_is_utc(
    postgres_database, answer
):
    load_users(postgres_database)

    ids = read(
        postgres_database,
        flavour=Flavour.ENGAGE_USERS,
        freshness_query=f"SELECT {answer};",
        max_age=timedelta(hours=1),
    )

    assert len(ids) == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("'2026-03-01 10:59Z'::timestamptz", "more than 1:00:00 from now"),
        ("'2026-03-01 13:01'::timestamp", "more than 1:00:00 from now"),
        ("NULL::timestamp", "NoneType, not a time"),
        ("'yesterday'::text", "str, not a time"),
        ("17", "int, not a time"),
    ],
)
def test_a_stale_list_is_refused_before_the_first_row(postgres_database, answer, words):
    load_users(postgres_database)
    blocks = source(
        postgres_database,
        flavour=Flavour.ENGAGE_USERS,
        freshness_query=f"SELECT {answer}",
        max_age=timedelta(hours=1),
    ).blocks()

    with pytest.raises(SourceUntrusted, match=words) as caught:
        next(blocks)

    assert caught.value.code == "source.stale"


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"flavour": Flavour.ENGAGE_USERS, "id_name": "userid"},
            "no column 'userid' in table users",
            "did you mean 'user_id'",
        ),
        (
            {"flavour": Flavour.ENGAGE_USERS, "users_table": "user"},
            "no table 'user' in the default schema",
            "did you mean 'users'",
        ),
        (
            {"schema": "prod", "identifiers_table": "user_identifier"},
            "no table 'user_identifier' in prod",
            "did you mean 'user_identifiers'",
        ),
        ({"schema": "staging"}, "no table 'user_traits' in staging", ""),
    ],
)
def test_a_wrong_name_is_refused_with_the_likely_one(
    postgres_database, changes, message, hint
):
    load_profiles(postgres_database)
    load_users(postgres_database)

    with pytest.raises(SourceUntrusted, match=message) as caught:
        read(postgres_database, **changes)

    assert hint in caught.value.hint


def test_an_audience_without_a_column_is_refused_not_taken_for_empty(sqlite_file):
    query = WarehouseQuery(
        url=lambda: sqlite_url(sqlite_file),
        audience="lapsed_trial",
        flavour=Flavour.ENGAGE_USERS,
    )

    with pytest.raises(SourceUntrusted) as caught:
        list(WarehouseSource(query, Clock()).blocks())

    assert caught.value.hint == "did you mean 'lapsed_trials'?"


HOSTILE_NAMES = [
    "x'; DROP TABLE users; --",
    'lapsed_trials" = true OR true; --',
    "lapsed_trials' OR '1'='1",
    "%(audience)s",
    ":audience",
    "$1",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_selects_nobody_and_changes_nothing(postgres_database, name):
    load_profiles(postgres_database)
    load_users(postgres_database)
    base = WarehouseQuery(url=lambda: postgres_database, audience=name, schema="prod")
    users = replace(base, flavour=Flavour.ENGAGE_USERS, schema=None)

    nobody = list(WarehouseSource(base, Clock()).blocks())

    assert nobody == []
    for refused in (
        users,
        replace(base, schema=name),
        replace(base, traits_table=name),
    ):
        with pytest.raises(SourceUntrusted, match="there is no"):
            list(WarehouseSource(refused, Clock()).blocks())
    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (5,)


def test_a_column_with_a_hostile_name_is_quoted(postgres_database):
    with psycopg.connect(postgres_database) as connection:
        connection.execute(
            """CREATE TABLE users (user_id text, "a"" OR 'x%s' = :y; --" boolean);
            INSERT INTO users VALUES ('person-1', true), ('person-2', false)"""
        )
    query = WarehouseQuery(
        url=lambda: postgres_database,
        audience="a\" OR 'x%s' = :y; --",
        flavour=Flavour.ENGAGE_USERS,
    )

    assert list(WarehouseSource(query, Clock()).blocks()) == [[b"person-1"]]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT user_id FROM users; DELETE FROM users",
        "SET transaction_read_only = off; DELETE FROM users; SELECT '1'",
        "SELECT ';' FROM users",
        "SELECT user_id FROM users;;",
        "DELETE FROM users RETURNING user_id",
        "WITH gone AS (DELETE FROM users RETURNING user_id) SELECT user_id FROM gone",
        "SELECT user_id FROM users WHERE name = :person",
        "SELECT user_id, id FROM users",
        "SELECT user_id FROM nowhere",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT nextval('counter')::text",
        "",
    ],
)
@pytest.mark.parametrize("count_check", [True, False])
def test_an_own_query_is_one_reading_statement_of_one_column(
    postgres_database, query, count_check
):
    load_users(postgres_database)
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE SEQUENCE counter")

    with pytest.raises((SourceUntrusted, ValueError)):
        own_query(postgres_database, query, count_check=count_check)

    with psycopg.connect(postgres_database) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (5,)
        called = connection.execute("SELECT is_called FROM counter").fetchone()
        assert called == (False,)


def test_a_sqlite_file_is_never_written_to(sqlite_file):
    for query in ("DELETE FROM users RETURNING user_id", "SELECT load_extension('x')"):
        with pytest.raises(SourceError):
            own_query(sqlite_url(sqlite_file), query, count_check=False)

    assert len(own_query(sqlite_url(sqlite_file), "SELECT user_id FROM users")) == 6


# --- what an error says


def errors_of(url: str, **changes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(url, **changes)
    return caught.value


def test_an_error_names_its_sqlstate_but_no_value(postgres_database):
    load_users(postgres_database)
    query = "SELECT user_id FROM users WHERE user_id::int > 0 AND 'hush' = :audience"

    with pytest.raises(SourceUntrusted, match="InvalidTextRepresentation, 22P02") as it:
        own_query(postgres_database, query.replace("AND 'hush' = :audience", ""))

    assert "person" not in str(it.value)
    assert it.value.__suppress_context__


def test_an_error_about_names_says_which(postgres_database):
    error = errors_of(
        postgres_database, flavour=Flavour.QUERY, query="SELECT a FROM nowhere"
    )

    assert "42P01" in str(error)
    assert 'relation "nowhere" does not exist' in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader:s3cr%2Fet@127.0.0.1:1/space?application_name=hushhush",
        "postgres://reader:s3cr%2Fet@127.0.0.1:1/space",
        "sqlite:////nowhere/s3cr/et.db?s3cr/et=1",
        "post gres//reader:s3cr/et",
        "postgresql://reader:s3cr%2Fet@host:port/space",
        "frobnicate://reader:s3cr%2Fet@host/space",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////nowhere/s3cr/et@.db?timeout=soon",
    ],
)
def test_an_unreachable_warehouse_is_unavailable_and_its_password_stays_secret(url):
    error = errors_of(url)

    assert isinstance(error, SourceUnavailable)
    text = f"{error} {error.hint}"
    assert "s3cr%2Fet" not in text
    assert "hushhush" not in text
    assert "s3cr/et@" not in text
    assert error.__context__ is None or error.__suppress_context__


def test_what_a_driver_repeats_of_the_url_is_taken_out(postgres_database):
    """libpq quotes an option it does not know; other drivers quote a whole URL."""
    reachable = postgres_database.replace("postgres:@", "nobody:s3cret@")

    unknown_role = errors_of(reachable)
    unknown_option = errors_of(f"{reachable}&sslmode=hush-hush")

    assert 'role "nobody" does not exist' in str(unknown_role)
    assert "s3cret" not in str(unknown_role)
    assert 'invalid sslmode value: "***"' in str(unknown_option)


def test_a_locked_warehouse_is_unavailable_not_untrusted(tmp_path):
    path = tmp_path / "warehouse.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE users (user_id TEXT, lapsed_trials BOOLEAN)")
    writer.execute("BEGIN EXCLUSIVE")

    error = errors_of(f"sqlite:///{path}?timeout=0.1", flavour=Flavour.ENGAGE_USERS)
    writer.close()

    assert isinstance(error, SourceUnavailable)
    assert "SQLITE_BUSY" in str(error)


def test_a_query_that_sqlite_cannot_read_is_untrusted_and_says_why(sqlite_file):
    error = errors_of(
        sqlite_url(sqlite_file), flavour=Flavour.QUERY, query="SELECT x FROM users"
    )

    assert isinstance(error, SourceUntrusted)
    assert "no such column: x" in str(error)


@pytest.mark.parametrize(
    ("url", "install"),
    [
        ("snowflake://reader:pw@account/db", "pip install snowflake-sqlalchemy"),
        ("bigquery://project", "pip install sqlalchemy-bigquery"),
        ("redshift+psycopg2://reader:pw@host/db", "pip install sqlalchemy-redshift"),
        ("mysql+pymysql://reader:pw@host/db", "pip install pymysql"),
        ("postgresql+psycopg2://reader:pw@host/db", "pip install psycopg2-binary"),
        ("frob://reader:pw@host/db", "install the SQLAlchemy dialect for frob"),
    ],
)
def test_a_missing_driver_is_named_with_what_to_install(url, install):
    error = errors_of(url)

    assert error.code == "source.driver_missing"
    assert error.hint == install
    assert "pw" not in str(error)


def test_a_file_that_is_no_database_is_not_believed(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(
        "not a database, but long enough to be read as the header of one" * 9
    )

    error = errors_of(f"sqlite:///{path}", flavour=Flavour.ENGAGE_USERS)

    assert isinstance(error, SourceUntrusted)
    assert "SQLITE_NOTADB" in str(error)


# --- identity


def test_the_fingerprint_changes_with_what_is_read_and_holds_no_secret():
    def url() -> str:
        raise AssertionError("a fingerprint needs no secret")

    base = WarehouseQuery(url=url, audience="lapsed_trials", schema="prod")
    others = [
        replace(base, audience="other"),
        replace(base, schema="dev"),
        replace(base, traits_table="t"),
        replace(base, id_name="email"),
        replace(base, flavour=Flavour.ENGAGE_USERS),
        replace(base, flavour=Flavour.ENGAGE_USERS, users_table="people"),
        replace(base, id_type=IdType.AMPLITUDE_ID),
        replace(base, flavour=Flavour.QUERY, query="SELECT 1"),
        replace(base, flavour=Flavour.QUERY, query="SELECT 2"),
    ]

    prints = [
        WarehouseSource(query, Clock()).fingerprint() for query in (base, *others)
    ]

    assert len(set(prints)) == len(prints)
    assert (
        prints[0]
        == WarehouseSource(
            replace(base, timeout=timedelta(minutes=1), count_check=False), Clock()
        ).fingerprint()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"max_age": timedelta(hours=1)},
        {"freshness_query": "SELECT now()"},
        {"flavour": Flavour.QUERY},
        {"query": "SELECT 1"},
    ],
)
def test_settings_that_only_make_sense_together_are_given_together(changes):
    with pytest.raises(ValueError, match="belong together"):
        WarehouseQuery(url=str, audience="a", **changes)
