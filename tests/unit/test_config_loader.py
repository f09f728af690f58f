"""Files, includes, defaults and the environment become one `Settings`."""

import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.config import (
    AmplitudeConnection,
    EngageConnection,
    FilesSnapshot,
    InvalidConfig,
    Loaded,
    SecretRef,
    ToCohort,
    WarehouseSnapshot,
    load,
)
from syncd.model import IdType
from syncd.schedule import Cron, Every
from tests.unit.config_text import load_text

CONNECTIONS = """\
connections:
  engage-main:
    type: engage
    snapshot: {type: files, path: "in/{audience}*.csv"}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: api_key
    secret_key_env: AMPLITUDE_SECRET
    owner: ana@acme.example
"""


def sync(name: str = "vip", more: str = "") -> str:
    return (
        f"  - name: {name}\n"
        f"    from: {{connection: engage-main, audience: {name}}}\n"
        "    to: {connection: amplitude-main}\n"
        f"    schedule: hourly\n{more}"
    )


def document(*, syncs: str = "", more: str = "") -> str:
    return f"version: 1\n{CONNECTIONS}syncs:\n{syncs or sync()}{more}"


def codes(folder: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, text, **environ)
    return [one.code for one in caught.value.problems if one.severity == "error"]


def amplitude(loaded: Loaded) -> AmplitudeConnection:
    connection = loaded.settings.connections["amplitude-main"]
    assert isinstance(connection, AmplitudeConnection)
    return connection


def test_what_is_not_written_has_the_documented_default(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, document())

    got = loaded.settings
    (vip,) = got.syncs
    assert got.store.url == "sqlite:///data/syncd.db"
    assert got.store.keep_runs == timedelta(days=400)
    assert got.store.codec == "text"
    assert (got.delivery_workers, got.shutdown_grace) == (4, timedelta(seconds=8))
    assert (vip.guard.max_exit, vip.guard.max_enter) == (0.2, 10.0)
    assert (vip.guard.ignore_below, vip.guard.on_trip) == (50, "hold")
    assert (vip.delivery.batch_size, vip.delivery.retries) == (1000, 8)
    assert vip.delivery.first_delay == timedelta(seconds=1)
    assert vip.delivery.max_delay == timedelta(seconds=128)
    assert (vip.jitter, vip.max_runtime) == (
        timedelta(minutes=5),
        timedelta(minutes=45),
    )
    assert (vip.match, vip.catch_up, vip.enabled) == (IdType.USER_ID, "once", True)
    assert isinstance(vip.target, ToCohort)
    assert vip.target.cohort == "[Segment] vip"
    assert vip.target.owner == "ana@acme.example"
    assert amplitude(loaded).transport.request_deadline == timedelta(seconds=30)


def test_a_sync_takes_its_own_value_before_the_defaults(tmp_path: Path) -> None:
    defaults = (
        "defaults:\n"
        "  timezone: Europe/Berlin\n"
        "  match: amplitude_id\n"
        "  jitter: 1m\n"
        "  guard: {max_exit: 30%, ignore_below: 0}\n"
        "  delivery: {workers: 2, batch_size: 500, retries: 0}\n"
    )
    own = (
        "    jitter: 0s\n"
        "    guard: {max_exit: 12.5%}\n"
        "    delivery: {batch_size: 100000}\n"
        "    timezone: UTC\n"
    )

    loaded = load_text(tmp_path, document(syncs=sync(more=own), more=defaults))

    (vip,) = loaded.settings.syncs
    assert loaded.settings.delivery_workers == 2
    assert (vip.jitter, vip.match) == (timedelta(0), IdType.AMPLITUDE_ID)
    assert (vip.guard.max_exit, vip.guard.ignore_below) == (0.125, 0)
    assert (vip.delivery.batch_size, vip.delivery.retries) == (100_000, 0)
    assert vip.timezone == "UTC"


@pytest.mark.parametrize(
    ("schedule", "own_zone", "expected"),
    [
        ("daily at 03:00", "", Cron("0 3 * * *", "Europe/Berlin")),
        ("daily at 03:00", "UTC", Cron("0 3 * * *", "UTC")),
        ("daily at 03:00 Asia/Tokyo", "UTC", Cron("0 3 * * *", "Asia/Tokyo")),
        ("{cron: 0 3 * * *}", "", Cron("0 3 * * *", "Europe/Berlin")),
        ("{cron: 0 3 * * *, timezone: UTC}", "", Cron("0 3 * * *", "UTC")),
        ("every 1h", "UTC", Every(timedelta(hours=1))),
    ],
)
def test_the_nearest_time_zone_wins(
    tmp_path: Path, schedule: str, own_zone: str, expected: Cron | Every
) -> None:
    zone = f"    timezone: {own_zone}\n" if own_zone else ""
    text = document(
        syncs=sync(more=zone).replace("hourly", schedule),
        more="defaults: {timezone: Europe/Berlin}\n",
    )

    (vip,) = load_text(tmp_path, text).settings.syncs

    assert vip.schedule == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("hourly", timedelta(hours=2, minutes=45)),
        ("every 6h", timedelta(hours=12, minutes=45)),
        ("daily at 03:00", timedelta(hours=48, minutes=45)),
        ("weekdays at 06:30", timedelta(hours=96, minutes=45)),
        ("sun at 06:30", timedelta(days=14, minutes=45)),
        ("{cron: 25 */6 * * *}", timedelta(hours=12, minutes=45)),
        ("{cron: 0 0 1 * *}", timedelta(days=62, minutes=45)),
        ("once", None),
        ("manual", None),
    ],
)
def test_one_missed_run_is_not_stale_and_neither_is_a_weekend(
    tmp_path: Path, schedule: str, expected: timedelta | None
) -> None:
    text = document(syncs=sync().replace("hourly", schedule))

    (vip,) = load_text(tmp_path, text).settings.syncs

    assert vip.fresh_within == expected


def test_a_freshness_shorter_than_the_schedule_is_a_warning(tmp_path: Path) -> None:
    text = document(syncs=sync(more="    fresh_within: 30m\n"))

    (warning,) = load_text(tmp_path, text).warnings

    assert (warning.code, warning.line) == ("fresh_within.short", 18)


def test_a_connection_that_no_sync_uses_is_a_warning(tmp_path: Path) -> None:
    spare = "  spare: {type: engage, snapshot: {type: files, path: x}}\n"
    text = document().replace("syncs:", f"{spare}syncs:")

    (warning,) = load_text(tmp_path, text).warnings

    assert (warning.code, warning.line, warning.column) == ("connection.unused", 13, 3)


def test_relative_paths_are_seen_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more.yaml").write_text(
        "secrets_dir: keys\nstore: {spool_dir: spool}\n"
    )
    text = document(more="include: [conf.d/*.yaml]\n")

    loaded = load_text(tmp_path, text)

    engage = loaded.settings.connections["engage-main"]
    assert isinstance(engage, EngageConnection)
    assert isinstance(engage.snapshot, FilesSnapshot)
    assert engage.snapshot.path == f"{tmp_path}/in/{{audience}}*.csv"
    assert amplitude(loaded).api_key.file == tmp_path / "conf.d/keys/api_key"
    assert loaded.settings.store.spool_dir == tmp_path / "conf.d/spool"


def test_secrets_are_looked_up_in_the_folder_of_the_runtime(tmp_path: Path) -> None:
    usual = load_text(tmp_path, document())
    systemd = load_text(tmp_path, document(), CREDENTIALS_DIRECTORY="/run/creds/x")

    assert amplitude(usual).api_key.file == Path("/run/secrets/api_key")
    assert amplitude(systemd).api_key.file == Path("/run/creds/x/api_key")
    assert amplitude(usual).api_key.token
    assert amplitude(usual).secret_key.env == "AMPLITUDE_SECRET"


def test_loading_reads_no_secret(tmp_path: Path) -> None:
    text = document(more="secrets_dir: /nowhere\n")

    loaded = load_text(tmp_path, text)

    assert amplitude(loaded).api_key.file == Path("/nowhere/api_key")


def test_included_syncs_are_appended_and_maps_merged(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(f"syncs:\n{sync('second')}log: {{level: debug}}\n")
    (tmp_path / "c.yaml").write_text(f"syncs:\n{sync('third')}log: {{format: json}}\n")

    loaded = load_text(tmp_path, document(more='include: ["[bc].yaml"]\n'))

    assert [one.name for one in loaded.settings.syncs] == ["vip", "second", "third"]
    assert loaded.settings.syncs[1].place.file == str(tmp_path / "b.yaml")
    assert loaded.settings.log.level == "debug"
    assert loaded.settings.log.format == "json"
    assert [Path(file).name for file in loaded.files] == [
        "syncd.yaml",
        "b.yaml",
        "c.yaml",
    ]


def test_a_value_that_two_files_set_is_refused_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("log: {level: debug}\n")
    (tmp_path / "syncd.yaml").write_text(
        document(more="log: {level: info}\ninclude: [b.yaml]\n")
    )

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {})

    (problem,) = caught.value.problems
    assert problem.code == "key.conflict"
    assert problem.file == str(tmp_path / "b.yaml")
    assert f"{tmp_path}/syncd.yaml:18:7" in problem.message


def test_files_that_include_each_other_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(
        f"include: [syncd.yaml, b.yaml]\nsyncs:\n{sync('second')}"
    )

    loaded = load_text(tmp_path, document(more="include: [b.yaml, ./b.yaml]\n"))

    assert [one.name for one in loaded.settings.syncs] == ["vip", "second"]


def test_a_folder_means_its_yaml_files_in_the_order_of_their_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "b.yml").write_text(f"syncs:\n{sync('second')}")
    (tmp_path / "a.yaml").write_text(document())
    (tmp_path / ".hidden.yaml").write_text("broken: [")
    (tmp_path / "notes.txt").write_text("broken: [")

    loaded = load([tmp_path], {})

    assert [one.name for one in loaded.settings.syncs] == ["vip", "second"]


def test_a_dash_reads_standard_input() -> None:
    loaded = load(["-"], {}, stdin=io.StringIO(document()))

    assert loaded.files == ("<stdin>",)
    assert loaded.settings.syncs[0].place.line == 14


@pytest.mark.parametrize("paths", [[], ["no.yaml"], ["/dev/null/no.yaml"], ["\0"]])
def test_a_file_that_is_not_there_is_a_problem_like_any_other(paths: list[str]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(paths, {})

    (problem,) = caught.value.problems
    assert problem.code.startswith("file.")


def test_a_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "syncd.yaml").write_bytes(b"version: 1\ninstance: \xff\n")

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {})

    (problem,) = caught.value.problems
    assert (problem.code, problem.line) == ("file.encoding", 2)


def test_a_byte_order_mark_and_dos_line_ends_change_nothing(tmp_path: Path) -> None:
    text = document().replace("\n", "\r\n")
    (tmp_path / "syncd.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())

    assert load([tmp_path / "syncd.yaml"], {}).settings.syncs[0].place.line == 14


def test_yaml_1_2_means_what_it_says(tmp_path: Path) -> None:
    text = document(syncs=sync(more="    description: no\n    owner: 12:30\n"))

    (vip,) = load_text(tmp_path, text).settings.syncs

    assert (vip.description, vip.team) == ("no", "12:30")


def test_a_plain_anchor_is_written_once_and_used_often(tmp_path: Path) -> None:
    text = document(
        syncs=sync(more="    guard: &wide {max_exit: 60%}\n")
        + sync("second", more="    guard: *wide\n")
    )

    loaded = load_text(tmp_path, text)

    assert [one.guard.max_exit for one in loaded.settings.syncs] == [0.6, 0.6]


def test_a_variable_overrides_a_setting(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        document(),
        SYNCD_STORE__URL="sqlite:////var/lib/syncd.db",
        SYNCD_LOG__LEVEL="debug",
        SYNCD_CONNECTIONS__AMPLITUDE_MAIN__REGION="us",
        SYNCD_CONNECTIONS__AMPLITUDE_MAIN__APP_ID="42",
        SYNCD_DEFAULTS__DELIVERY__WORKERS="2",
        SYNCD_DEFAULTS__JITTER="1m",
        SYNCD_INSTANCE="",
        SYNCD_CONFIG="/etc/syncd",
        HOME="/root",
    )

    assert loaded.settings.store.url == "sqlite:////var/lib/syncd.db"
    assert loaded.settings.log.level == "debug"
    assert (amplitude(loaded).region, amplitude(loaded).app_id) == ("us", 42)
    assert loaded.settings.delivery_workers == 2
    assert loaded.settings.syncs[0].jitter == timedelta(minutes=1)
    assert loaded.settings.instance == "syncd"


@pytest.mark.parametrize(
    "name",
    [
        "SYNCD_LOGLEVEL",
        "SYNCD_LOG__LEVL",
        "SYNCD_CONNECTIONS__NOBODY__REGION",
        "SYNCD_CONNECTIONS__AMPLITUDE_MAIN__REGIN",
        "SYNCD_SYNCS__VIP__ENABLED",
        "SYNCD_INCLUDE",
        "SYNCD_",
        "SYNCD___",
    ],
)
def test_a_variable_that_means_nothing_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "syncd.yaml").write_text(document())

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {name: "hush-hush"})

    (problem,) = caught.value.problems
    assert problem.code == "env.unknown"
    assert f"unknown variable {name}:" in problem.message
    assert "hush" not in str(problem)


def test_a_wrong_value_in_a_variable_names_the_variable_and_not_the_value(
    tmp_path: Path,
) -> None:
    (tmp_path / "syncd.yaml").write_text(document())

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {"SYNCD_SHUTDOWN_GRACE": "4711"})

    (problem,) = caught.value.problems
    assert (problem.file, problem.code) == ("$SYNCD_SHUTDOWN_GRACE", "duration.no_unit")
    assert "4711" not in str(problem)


def test_the_variables_of_a_kubernetes_service_called_syncd_are_not_settings(
    tmp_path: Path,
) -> None:
    links = {
        "SYNCD_SERVICE_HOST": "10.0.0.1",
        "SYNCD_SERVICE_PORT_HTTP": "8080",
        "SYNCD_PORT": "tcp://10.0.0.1:8080",
        "SYNCD_PORT_8080_TCP_ADDR": "10.0.0.1",
        "SYNCD_WEB_SERVICE_PORT": "8080",
    }

    assert load_text(tmp_path, document(), **links).settings.instance == "syncd"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("${SYNCD_NAME}", {"SYNCD_NAME": "blue"}, "blue"),
        ("a-${SYNCD_NAME}-b", {"SYNCD_NAME": "x"}, "a-x-b"),
        ("${SYNCD_NAME:-green}", {}, "green"),
        ("${SYNCD_NAME:-green}", {"SYNCD_NAME": ""}, "green"),
        ("${SYNCD_NAME:?say it}", {"SYNCD_NAME": "red"}, "red"),
        ("$${SYNCD_NAME}", {}, "${SYNCD_NAME}"),
        ("${SYNCD_NAME}", {"SYNCD_NAME": "${SYNCD_NAME}"}, "${SYNCD_NAME}"),
        ("$SYNCD_NAME", {}, "$SYNCD_NAME"),
    ],
)
def test_a_reference_is_filled_in_once(
    tmp_path: Path, text: str, environ: dict[str, str], expected: str
) -> None:
    loaded = load_text(tmp_path, document(more=f'instance: "{text}"\n'), **environ)

    assert loaded.settings.instance == expected


def test_a_missing_reference_says_what_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "syncd.yaml").write_text(
        document(more="instance: ${SYNCD_NAME:?name this installation}\n")
    )

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {})

    (problem,) = caught.value.problems
    assert problem.message == "SYNCD_NAME: name this installation"


def test_a_reference_can_stand_where_a_number_is_due(tmp_path: Path) -> None:
    text = document().replace("187520", "${SYNCD_APP}")

    loaded = load_text(tmp_path, text, SYNCD_APP="7")

    assert amplitude(loaded).app_id == 7


@pytest.mark.parametrize(
    ("more", "environ"),
    [
        ("", {"SYNCD_STORE__URL": "postgresql://syncd:hush@db/syncd"}),
        (
            "store: {url: 'postgresql://syncd:${SYNCD_PW}@db/syncd'}\n",
            {"SYNCD_PW": "hush"},
        ),
    ],
)
def test_a_password_from_the_environment_is_kept_as_a_reference(
    tmp_path: Path, more: str, environ: dict[str, str]
) -> None:
    loaded = load_text(tmp_path, document(more=more), **environ)

    assert isinstance(loaded.settings.store.url, SecretRef)
    assert "hush" not in repr(loaded)
    assert loaded.settings.store.read_url() == "postgresql://syncd:hush@db/syncd"


def test_the_store_gets_its_password_when_its_url_is_read(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("p@ss/word\n")
    (tmp_path / "pw").chmod(0o600)
    text = document(
        more=(
            f"secrets_dir: {tmp_path}\n"
            "store: {url: 'postgresql://syncd@db:5433/syncd', password_file: pw}\n"
        )
    )

    store = load_text(tmp_path, text).settings.store

    assert store.read_url() == "postgresql://syncd:p%40ss%2Fword@db:5433/syncd"
    assert "p@ss" not in repr(store)


def test_a_warehouse_is_described_completely(tmp_path: Path) -> None:
    warehouse = (
        "    snapshot:\n"
        "      type: warehouse\n"
        "      url_file: warehouse_url\n"
        "      tables: engage_users\n"
        "      schema: engage_spa\n"
        "      statement_timeout: 90s\n"
        "      users_table: engage_spa.users\n"
    )
    text = document().replace(
        '    snapshot: {type: files, path: "in/{audience}*.csv"}\n', warehouse
    )

    engage = load_text(tmp_path, text).settings.connections["engage-main"]

    assert isinstance(engage, EngageConnection)
    assert isinstance(engage.snapshot, WarehouseSnapshot)
    assert isinstance(engage.snapshot.url, SecretRef)
    assert engage.snapshot.schema == "engage_spa"
    assert engage.snapshot.statement_timeout == timedelta(seconds=90)


@pytest.mark.parametrize(
    "url",
    [
        "https://eu.amplitude.example",
        "http://127.0.0.1:8090/amplitude",
        "http://localhost:8090",
        "http://[::1]:8090",
    ],
)
def test_a_stand_in_for_the_vendor_is_reached_by_https_or_on_this_machine(
    tmp_path: Path, url: str
) -> None:
    text = document().replace("region: eu\n", f"region: eu\n    base_url: '{url}/'\n")

    assert amplitude(load_text(tmp_path, text)).transport.base_url == url


def test_the_hash_changes_with_the_meaning_and_not_with_the_looks(
    tmp_path: Path,
) -> None:
    plain = load_text(tmp_path, document())
    commented = load_text(tmp_path, f"# the same\n\n{document()}")
    changed = load_text(tmp_path, document(more="instance: other\n"))

    assert re.fullmatch(r"sha256:[0-9a-f]{8}", plain.config_hash)
    assert plain.config_hash == commented.config_hash
    assert plain.config_hash != changed.config_hash


def test_an_empty_owner_does_not_count_as_one(tmp_path: Path) -> None:
    text = document().replace("owner: ana@acme.example", "owner:")

    assert codes(tmp_path, text) == ["key.missing"]


def test_no_problem_quotes_a_value_that_may_be_a_secret(tmp_path: Path) -> None:
    hush = "hush0123456789abcdef"
    places = ["type: engage", "region: eu", "app_id: 187520", "schedule: hourly"]
    for place in places:
        text = document().replace(place, f"{place.split(':')[0]}: {hush}", 1)
        for broken in (text, document(more=f"store: {{url: 'pg://u:{hush}@h'}}\n")):
            (tmp_path / "syncd.yaml").write_text(broken)
            with pytest.raises(InvalidConfig) as caught:
                load([tmp_path / "syncd.yaml"], {})
            assert hush not in str(caught.value.problems).replace(f"key '{hush}'", "")


_words = st.sampled_from(
    [
        *("version", "connections", "syncs", "type", "engage", "amplitude", "from"),
        *("to", "schedule", "guard", "store", "url", "include", "defaults", "snapshot"),
        *("files", "name", "hourly", "20%", "5m", "1", "null", "true", "${SYNCD_X}"),
        *("delivery", "connection", "cohort", "<<", "*a", "&a x", "!t", "---", ".nan"),
        *("path", "warehouse", "log", "9" * 30, "1e999", "match", "timezone", ""),
    ]
)
_trees = st.recursive(
    _words,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(_words, inner, max_size=5).map(
            lambda entries: (
                "{"
                + ", ".join(f"{key}: {value}" for key, value in entries.items())
                + "}"
            )
        ),
    ),
    max_leaves=25,
)
_documents = st.dictionaries(_words, _trees, max_size=7).map(
    lambda entries: "".join(f"{key}: {value}\n" for key, value in entries.items())
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    text=st.one_of(_documents, st.text(max_size=80)),
    cut=st.integers(0, 400),
    environ=st.dictionaries(
        st.sampled_from(
            [
                "SYNCD_X",
                "SYNCD_STORE",
                "SYNCD_STORE__URL",
                "SYNCD_CONNECTIONS__AMPLITUDE_MAIN",
                "SYNCD_CONNECTIONS__AMPLITUDE_MAIN__BASE_URL",
                "SYNCD_DEFAULTS__GUARD__MAX_EXIT__X",
            ]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
        max_size=2,
    ),
)
def test_nothing_but_a_config_error_leaves_the_loader(
    text: str, cut: int, environ: dict[str, str]
) -> None:
    whole = document()
    for broken in (text, whole[:cut] + text + whole[cut:], whole[cut:]):
        try:
            load(["-"], environ, stdin=io.StringIO(broken))
        except InvalidConfig as error:
            problems = list(error.problems)
            assert any(one.severity == "error" for one in problems)
            assert problems == sorted(
                problems, key=lambda one: (one.file, one.line, one.column, one.code)
            )


@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("{}", 0.4),
        ("{max_exit: 60%}", 0.6),
        ("{max_exit: 60%, max_exit_24h: 50%}", 0.5),
        ("{max_exit_24h: 0%}", 0.0),
        ("{max_exit_24h: never}", None),
    ],
)
def test_a_day_may_remove_40_percent_or_what_one_run_may(
    tmp_path: Path, written: str, limit: float | None
) -> None:
    own = sync(more=f"    guard: {written}\n")
    loaded = load_text(tmp_path, document(syncs=own))

    (vip,) = loaded.settings.syncs
    assert vip.guard.max_exit_24h == limit


def test_a_sync_may_lift_the_brake_of_a_day_that_the_defaults_set(
    tmp_path: Path,
) -> None:
    defaults = "defaults:\n  guard: {max_exit_24h: 30%}\n"
    own = sync(more="    guard: {max_exit_24h: never}\n")

    (lifted,) = load_text(tmp_path, document(syncs=own, more=defaults)).settings.syncs
    (kept,) = load_text(tmp_path, document(more=defaults)).settings.syncs

    assert (lifted.guard.max_exit_24h, kept.guard.max_exit_24h) == (None, 0.3)


def test_a_share_of_a_day_is_a_share_or_never(tmp_path: Path) -> None:
    own = sync(more="    guard: {max_exit_24h: always}\n")

    assert codes(tmp_path, document(syncs=own)) == ["share.invalid"]
