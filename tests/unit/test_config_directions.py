"""Both directions and the partners: what may be written, and where else it is wrong."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.config import (
    AmplitudeConnection,
    Budget,
    EngageConnection,
    FromAudience,
    FromCohort,
    InvalidConfig,
    ListApiConnection,
    Loaded,
    PropertyApiConnection,
    QuotaSettings,
    SecretUnavailable,
    SyncSettings,
    ToList,
    ToTrait,
)
from syncd.config.report import render
from syncd.errors import Problem
from syncd.model import IdType
from syncd.schedule import Once
from tests.unit.config_text import found, load_text, problems

ENGAGE = {
    "type": "engage",
    "space": "spa_1ab",
    "snapshot": "{type: files, path: x.csv}",
    "write_key_file": "write_key",
}
AMPLITUDE = {
    "type": "amplitude",
    "region": "eu",
    "app_id": "187520",
    "api_key_file": "api_key",
    "secret_key_file": "secret_key",
    "owner": "ana@acme.example",
}
LISTS = {
    "type": "list_api",
    "base_url": "https://lists.example/v1",
    "api_key_file": "lists_key",
}
CRM = {
    "type": "property_api",
    "base_url": "https://crm.example",
    "api_key_file": "crm_key",
}
COHORT = "{connection: amplitude, cohort_id: 1a2bc3d}"
AUDIENCE = "{connection: engage, audience: vip}"


def flow(keys: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


def document(
    *,
    from_: str = COHORT,
    to: str = "{connection: engage}",
    sync: str = "",
    more: str = "",
    **connections: dict[str, str] | None,
) -> str:
    """One sync; each connection on a line of its own, `None` leaves it out.

    Lines: engage 3, amplitude 4, lists 5, crm 6; `from` 9, `to` 10, `schedule` 11,
    then `sync`, then `more` at the top.
    """
    usual = {"engage": ENGAGE, "amplitude": AMPLITUDE, "lists": LISTS, "crm": CRM}
    lines = [
        f"  {name}: {flow(keys)}"
        for name, keys in {**usual, **connections}.items()
        if keys is not None
    ]
    return (
        "version: 1\nconnections:\n" + "\n".join(lines) + "\nsyncs:\n"
        f"  - name: one\n    from: {from_}\n    to: {to}\n    schedule: daily\n"
        f"{sync}{more}"
    )


def short_freshness(loaded: Loaded) -> list[Problem]:
    return [one for one in loaded.warnings if one.code == "fresh_within.short"]


def only_sync(loaded: Loaded) -> SyncSettings:
    (sync,) = loaded.settings.syncs
    return sync


# ---- what is resolved ----------------------------------------------------------------


def test_a_cohort_goes_to_engage_with_the_documented_defaults(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, document())

    sync, connections = only_sync(loaded), loaded.settings.connections
    assert sync.source == FromCohort(
        events=None,
        connection="amplitude",
        cohort_id="1a2bc3d",
        max_staleness=timedelta(hours=24),
        linked=False,
    )
    assert sync.target == ToTrait(connection="engage", trait=None)
    assert (sync.budget, sync.delivery.batch_size) == (None, 1000)
    engage, amplitude = connections["engage"], connections["amplitude"]
    assert isinstance(engage, EngageConnection)
    assert isinstance(amplitude, AmplitudeConnection)
    assert (engage.region, engage.max_events_per_second) == ("us", 500)
    assert engage.trait_template == "[Amplitude] {name} ({id})"
    assert engage.integrations == {"All": True}
    assert engage.transport.base_url is None
    assert str(engage.write_key) == "/run/secrets/write_key"
    assert amplitude.quota == QuotaSettings(downloads_per_month=500, reserve=50)
    assert amplitude.download_deadline == timedelta(minutes=15)
    assert amplitude.storage_hosts == (".amazonaws.com",)
    assert amplitude.storage_origin is None


def test_what_is_written_wins_over_the_defaults(tmp_path: Path) -> None:
    engage = {
        "type": "engage",
        "region": "eu",
        "write_key_env": "SYNCD_TEST_WRITE_KEY",
        "trait_template": '"{id} of {name}"',
        "integrations": "{All: false, Mailer: true}",
        "max_events_per_second": "1000",
        "base_url": "http://127.0.0.1:9000/",
        "ca_file": "ca.pem",
        "request_deadline": "5s",
    }
    amplitude = {
        "type": "amplitude",
        "region": "us",
        "app_id": "1",
        "api_key_file": "a",
        "secret_key_file": "b",
        "quota": "{downloads_per_month: 90, reserve: 0}",
        "download_deadline": "90s",
        "storage_hosts": "[Files.example, .cdn.example]",
        "storage_origin": "http://127.0.0.1:9001",
    }
    text = document(
        from_="{connection: amplitude, cohort_id: x, max_staleness: 2d, linked: true}",
        to="{connection: engage, trait: churn_risk}",
        sync="    budget: 10/week\n",
        engage=engage,
        amplitude=amplitude,
    )

    loaded = load_text(tmp_path, text, SYNCD_TEST_WRITE_KEY="hush")

    sync, connections = only_sync(loaded), loaded.settings.connections
    assert isinstance(sync.source, FromCohort)
    assert (sync.source.max_staleness, sync.source.linked) == (timedelta(days=2), True)
    assert sync.target == ToTrait(connection="engage", trait="churn_risk")
    assert sync.budget == Budget(downloads=10, per=timedelta(weeks=1))
    got = connections["engage"]
    assert isinstance(got, EngageConnection)
    assert (got.region, got.snapshot, got.max_events_per_second) == ("eu", None, 1000)
    assert got.write_key is not None
    assert got.write_key.read() == "hush"
    assert got.integrations == {"All": False, "Mailer": True}
    assert got.transport.base_url == "http://127.0.0.1:9000"
    assert got.transport.request_deadline == timedelta(seconds=5)
    project = connections["amplitude"]
    assert isinstance(project, AmplitudeConnection)
    assert project.quota == QuotaSettings(downloads_per_month=90, reserve=0)
    assert project.storage_hosts == ("files.example", ".cdn.example")
    assert project.storage_origin == "http://127.0.0.1:9001"


def test_a_list_api_is_described_completely(tmp_path: Path) -> None:
    lists = LISTS | {
        "api_key_header": "X-Api-Key",
        "headers": "{app_id: acme}",
        "secret_headers": "{X-Tenant: {file: tenant}, X-Other: {env: SYNCD_OTHER}}",
        "name_template": '"{id}"',
        "user_ids_key": "user_ids",
        "list_id_key": "id",
    }
    text = document(
        to="{connection: lists, list_id: L1}",
        sync="    match: amplitude_id\n    delivery: {batch_size: 10000}\n",
        lists=lists,
    )

    loaded = load_text(tmp_path, text, SYNCD_OTHER="Bearer hush")

    sync, connection = only_sync(loaded), loaded.settings.connections["lists"]
    assert sync.target == ToList(connection="lists", list=None, list_id="L1")
    assert (sync.match, sync.delivery.batch_size) == (IdType.AMPLITUDE_ID, 10_000)
    assert isinstance(connection, ListApiConnection)
    access = connection.access
    assert (access.api_key_header, dict(access.headers)) == (
        "X-Api-Key",
        {"app_id": "acme"},
    )
    assert str(access.secret_headers["X-Tenant"]) == "/run/secrets/tenant"
    assert access.secret_headers["X-Other"].read() == "Bearer hush"
    assert (connection.user_ids_key, connection.name_key) == ("user_ids", "name")
    assert (connection.list_id_key, connection.name_template) == ("id", "{id}")


def test_a_property_api_has_the_pages_names(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, document(to="{connection: crm}"))

    connection = loaded.settings.connections["crm"]
    assert isinstance(connection, PropertyApiConnection)
    assert (connection.path, connection.mode) == ("/", "batch")
    assert connection.trait_template == "[Amplitude] {name}: {id}"
    keys = connection.traits_key, connection.user_id_key, connection.batch_key
    assert keys == ("traits", "userId", "batch")
    assert connection.access.api_key_header is None
    assert connection.access.secret_headers == {}


def test_an_audience_says_what_it_is_built_on(tmp_path: Path) -> None:
    text = document(
        from_="{connection: engage, audience: vip, built_on: [plan, Churn Risk]}",
        to="{connection: amplitude}",
    )

    source = only_sync(load_text(tmp_path, text)).source

    assert isinstance(source, FromAudience)
    assert source.built_on == ("plan", "Churn Risk")


@pytest.mark.parametrize(
    ("from_", "to"),
    [(AUDIENCE, "{connection: amplitude}"), (COHORT, "{connection: crm}")],
)
def test_once_works_in_both_directions(tmp_path: Path, from_: str, to: str) -> None:
    text = document(from_=from_, to=to).replace("daily", "once")

    assert isinstance(only_sync(load_text(tmp_path, text)).schedule, Once)


def test_a_default_batch_is_as_big_as_each_target_takes(tmp_path: Path) -> None:
    more = "defaults: {delivery: {batch_size: 50000}}\n"

    sizes = {
        to: only_sync(
            load_text(tmp_path, document(to=f"{{connection: {to}}}", more=more))
        ).delivery.batch_size
        for to in ("engage", "lists", "crm")
    }

    assert sizes == {"engage": 1000, "lists": 10_000, "crm": 10_000}


def test_a_budget_makes_a_sync_stale_later(tmp_path: Path) -> None:
    text = document(
        from_="{connection: amplitude, cohort_id: x, max_staleness: 2h}",
        sync="    budget: 4/day\n",
    ).replace("daily", "hourly")

    sync = only_sync(load_text(tmp_path, text))

    assert sync.fresh_within == timedelta(hours=12, minutes=45)


@pytest.mark.parametrize(
    ("schedule", "max_staleness", "expected"),
    [
        ("every 2h", "1h", timedelta(hours=4, minutes=45)),
        ("every 2h", "null", timedelta(hours=26, minutes=45)),
        ("every 2h", "7d", timedelta(days=7, hours=2, minutes=45)),
        ("daily", "1h", timedelta(hours=48, minutes=45)),
        ("daily", "3d", timedelta(hours=96, minutes=45)),
        # From friday 06:30 to monday it is three days.
        ("weekdays at 06:30", "3d", timedelta(days=6, minutes=45)),
        ("once", "3d", None),
    ],
)
def test_a_list_that_may_be_kept_makes_no_sync_stale(
    tmp_path: Path, schedule: str, max_staleness: str, expected: timedelta | None
) -> None:
    from_ = f"{{connection: amplitude, cohort_id: x, max_staleness: {max_staleness}}}"
    text = document(from_=from_).replace("daily", schedule)

    sync = only_sync(load_text(tmp_path, text))

    assert sync.fresh_within == expected


def test_a_freshness_shorter_than_a_list_is_kept_is_a_warning(tmp_path: Path) -> None:
    from_ = "{connection: amplitude, cohort_id: x, max_staleness: 3d}"
    text = document(from_=from_, sync="    fresh_within: 71h\n")

    (warning,) = short_freshness(load_text(tmp_path, text))

    assert (warning.line, warning.column) == (12, 19)
    assert warning.message == (
        "sync 'one' is stale too soon: it may be 3d before a list is read again"
    )
    assert warning.hint == "raise fresh_within above max_staleness, or lower that"


def test_a_default_freshness_is_held_against_max_staleness_too(tmp_path: Path) -> None:
    text = document(more="defaults: {fresh_within: 2h}\n")

    warnings = short_freshness(load_text(tmp_path, text))

    assert sorted(one.message for one in warnings) == [
        "sync 'one' is stale before its next run is due",
        "sync 'one' is stale too soon: it may be 1d before a list is read again",
    ]


def test_a_freshness_as_long_as_a_list_is_kept_is_no_warning(tmp_path: Path) -> None:
    from_ = "{connection: amplitude, cohort_id: x, max_staleness: 3d}"
    text = document(from_=from_, sync="    fresh_within: 3d\n")

    assert short_freshness(load_text(tmp_path, text)) == []


def test_a_sync_that_reads_an_audience_keeps_no_list(tmp_path: Path) -> None:
    to = "{connection: amplitude}"
    text = document(from_=AUDIENCE, to=to, sync="    fresh_within: 3h\n")

    loaded = load_text(tmp_path, text.replace("daily", "hourly"))

    assert short_freshness(loaded) == []


def test_the_environment_sets_the_new_keys_too(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        document(amplitude=AMPLITUDE | {"quota": "{reserve: 7}"}),
        SYNCD_CONNECTIONS__AMPLITUDE__QUOTA__DOWNLOADS_PER_MONTH="900",
        SYNCD_CONNECTIONS__ENGAGE__MAX_EVENTS_PER_SECOND="20",
        SYNCD_CONNECTIONS__ENGAGE__REGION="eu",
        SYNCD_CONNECTIONS__CRM__MODE="single",
        SYNCD_CONNECTIONS__CRM__PATH="/users",
    )

    got: dict[str, Any] = dict(loaded.settings.connections)
    assert got["amplitude"].quota == QuotaSettings(downloads_per_month=900, reserve=7)
    assert (got["engage"].max_events_per_second, got["engage"].region) == (20, "eu")
    assert (got["crm"].mode, got["crm"].path) == ("single", "/users")


def test_a_header_of_a_secret_takes_what_a_header_can_hold(tmp_path: Path) -> None:
    lists = LISTS | {"secret_headers": "{X-Tenant: {env: TENANT}}"}
    text = document(to="{connection: lists}", lists=lists)
    connection = load_text(tmp_path, text, TENANT="a\nb").settings.connections["lists"]
    assert isinstance(connection, ListApiConnection)

    with pytest.raises(SecretUnavailable) as caught:
        connection.access.secret_headers["X-Tenant"].read()

    assert caught.value.code == "secret.malformed"


# ---- what is refused -----------------------------------------------------------------

PAIRS = (
    "these exist: engage to amplitude, amplitude to engage, amplitude to list_api, "
    "amplitude to property_api"
)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("engage", "engage"),
        ("engage", "lists"),
        ("engage", "crm"),
        ("amplitude", "amplitude"),
        ("lists", "amplitude"),
        ("crm", "engage"),
        ("lists", "crm"),
    ],
)
def test_only_four_pairs_exist(tmp_path: Path, source: str, target: str) -> None:
    text = document(
        from_=f"{{connection: {source}}}", to=f"{{connection: {target}, trait: x}}"
    )

    (problem,) = problems(tmp_path, text)

    assert (problem.line, problem.column, problem.code) == (9, 24, "connection.pair")
    assert problem.hint == PAIRS


NO_AMPLITUDE_ID = "sync 'one' writes to engage, which knows no amplitude_id"
EITHER_KEY = "'write_key_file' or 'write_key_env'"

SYNCS = {
    "a cohort for an audience": (
        {
            "from_": "{connection: engage, cohort_id: x}",
            "to": "{connection: amplitude}",
        },
        [
            "9:5 key.missing 'from' needs 'audience'",
            "9:32 key.misplaced 'cohort_id' does not go with 'from' engage",
        ],
    ),
    "an audience for a cohort": (
        {"from_": "{connection: amplitude, audience: vip}"},
        [
            "9:5 key.missing 'from' needs 'cohort_id'",
            "9:35 key.misplaced 'audience' does not go with 'from' amplitude",
        ],
    ),
    "a query of a cohort": (
        {"from_": "{connection: amplitude, cohort_id: x, query: SELECT 1}"},
        ["9:49 key.misplaced 'query' does not go with 'from' amplitude"],
    ),
    "a cohort name beside a trait": (
        {"to": "{connection: engage, trait: a, cohort: b}"},
        ["10:40 key.misplaced 'cohort' does not go with 'to' engage"],
    ),
    "a trait of a list": (
        {"to": "{connection: lists, trait: a}"},
        ["10:29 key.misplaced 'trait' does not go with 'to' list_api"],
    ),
    "a list of an Amplitude cohort": (
        {"from_": AUDIENCE, "to": "{connection: amplitude, list: a}"},
        ["10:33 key.misplaced 'list' does not go with 'to' amplitude"],
    ),
    "a key of the other end": (
        {"to": "{connection: engage, audience: a}"},
        ["10:30 key.unknown unknown key 'audience'"],
    ),
    "a list by name and by id": (
        {"to": "{connection: lists, list: a, list_id: b}"},
        ["10:5 key.exclusive 'to' takes only one of 'list' or 'list_id'"],
    ),
    "an Amplitude id for Engage": (
        {"sync": "    match: amplitude_id\n"},
        [
            f"12:12 match.unsupported {NO_AMPLITUDE_ID}",
        ],
    ),
    "an Amplitude id for Engage by default": (
        {"more": "defaults: {match: amplitude_id}\n"},
        [
            f"12:19 match.unsupported {NO_AMPLITUDE_ID}",
        ],
    ),
    "a batch that is too big for Engage": (
        {"sync": "    delivery: {batch_size: 1001}\n"},
        ["12:28 value.range 'batch_size' must be at most 1,000 for engage"],
    ),
    "a batch that is too big for a partner": (
        {
            "to": "{connection: lists}",
            "sync": "    delivery: {batch_size: 10001}\n",
        },
        ["12:28 value.range 'batch_size' must be at most 10,000 for list_api"],
    ),
    "a budget of an audience": (
        {
            "from_": AUDIENCE,
            "to": "{connection: amplitude}",
            "sync": "    budget: 4/day\n",
        },
        ["12:5 key.misplaced only a sync that reads a cohort has a budget"],
    ),
    "a budget per hour": (
        {"sync": "    budget: 4/hour\n"},
        ["12:13 budget.invalid this is not a budget"],
    ),
    "a budget of nothing": (
        {"sync": "    budget: 0/day\n"},
        ["12:13 budget.invalid this is not a budget"],
    ),
    "a trait without a name": (
        {"to": '{connection: engage, trait: " "}'},
        ["10:37 value.empty this is empty"],
    ),
    "a trait with a line end": (
        {"to": '{connection: engage, trait: "a\\nb"}'},
        ["10:37 value.control this has control characters in it"],
    ),
    "a trait that is too long": (
        {"to": f"{{connection: engage, trait: {'x' * 256}}}"},
        ["10:37 value.range 'trait' is longer than 255 characters"],
    ),
}


@pytest.mark.parametrize(("parts", "expected"), SYNCS.values(), ids=list(SYNCS))
def test_a_key_of_a_sync_must_fit_its_pair(
    tmp_path: Path, parts: dict[str, Any], expected: list[str]
) -> None:
    assert found(tmp_path, document(**parts)) == expected


CONNECTIONS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "a trait template without an id": (
        "engage",
        {"trait_template": '"{name}"'},
        ["template.invalid this template needs '{id}': two cohorts may have one name"],
    ),
    "a trait template with something else": (
        "engage",
        {"trait_template": '"{id} {team}"'},
        ["template.invalid this template has another brace in it"],
    ),
    "an integration in the wrong case": (
        "engage",
        {"integrations": "{all: false}"},
        ["value.choice Segment minds the case of this name"],
    ),
    "an integration that is no switch": (
        "engage",
        {"integrations": "{All: 0}"},
        ["value.type 'All' needs true or false"],
    ),
    "too many events a second": (
        "engage",
        {"max_events_per_second": "1000001"},
        ["value.range 'max_events_per_second' must be at most 1,000,000"],
    ),
    "a write key in the file": (
        "engage",
        {"write_key": "0123456789"},
        ["secret.inline 'write_key' may not stand in a config file"],
    ),
    "two write keys": (
        "engage",
        {"write_key_env": "X"},
        [
            f"key.exclusive 'engage' takes only one of {EITHER_KEY}",
        ],
    ),
    "a region nobody has": (
        "engage",
        {"region": "emea"},
        ["value.choice 'region' must be us or eu"],
    ),
    "a typing mistake in a quota": (
        "amplitude",
        {"quota": "{reserved: 5}"},
        ["key.unknown unknown key 'reserved'"],
    ),
    "a reserve that leaves nothing": (
        "amplitude",
        {"quota": "{downloads_per_month: 500, reserve: 500}"},
        ["value.range 'reserve' must be less than 500"],
    ),
    "a storage host with a scheme": (
        "amplitude",
        {"storage_hosts": '["https://files.example"]'},
        ["host.invalid this is not the name of a host"],
    ),
    "a storage origin in the network": (
        "amplitude",
        {"storage_origin": "http://files.example"},
        ["url.insecure plain http would show keys to the network"],
    ),
    "a storage origin with https": (
        "amplitude",
        {"storage_origin": "https://files.example"},
        ["url.insecure only an http origin of this machine fits"],
    ),
    "a storage origin with a path": (
        "amplitude",
        {"storage_origin": "http://127.0.0.1:1/files"},
        ["url.invalid an origin has no path"],
    ),
    "a partner's key in the file": (
        "lists",
        {"api_key": "0123456789"},
        ["secret.inline 'api_key' may not stand in a config file"],
    ),
    "a secret header in the file": (
        "lists",
        {"secret_headers": "{X-Tenant: 0123456789}"},
        ["secret.inline a secret may not stand in a config file"],
    ),
    "a login among the headers": (
        "lists",
        {"headers": "{Authorization: Basic hush}"},
        ["secret.inline what such a header holds may not stand in a config file"],
    ),
    "a secret header from nowhere": (
        "lists",
        {"secret_headers": "{X-Tenant: {}}"},
        ["key.missing 'X-Tenant' needs 'file' or 'env'"],
    ),
    "a typing mistake in a secret header": (
        "lists",
        {"secret_headers": "{X-Tenant: {file: a, evn: b}}"},
        ["key.unknown unknown key 'evn'"],
    ),
    "a header twice": (
        "lists",
        {"headers": "{x-tenant: a}", "secret_headers": "{X-Tenant: {file: a}}"},
        ["key.duplicate this header is given twice"],
    ),
    "a header that is ours": (
        "lists",
        {"headers": "{Content-Type: text/plain}"},
        ["header.invalid syncd sets this header itself"],
    ),
    "a header that is none": (
        "lists",
        {"headers": '{"a b": c}'},
        ["header.invalid this is not the name of a header"],
    ),
    "a mode nobody has": (
        "crm",
        {"mode": "bulk"},
        ["value.choice 'mode' must be batch or single"],
    ),
    "a path with a query": (
        "crm",
        {"path": "/users?x=1"},
        ["url.invalid this is not the path of a URL"],
    ),
}


@pytest.mark.parametrize(
    ("name", "keys", "expected"), CONNECTIONS.values(), ids=list(CONNECTIONS)
)
def test_a_key_of_a_connection_is_checked(
    tmp_path: Path, name: str, keys: dict[str, str], expected: list[str]
) -> None:
    usual = {"engage": ENGAGE, "amplitude": AMPLITUDE, "lists": LISTS, "crm": CRM}
    connection: dict[str, Any] = {name: usual[name] | keys}
    text = document(**connection)
    line = list(usual).index(name) + 3

    got = problems(tmp_path, text)

    assert [f"{one.code} {one.message}" for one in got] == expected
    assert {one.line for one in got} == {line}


@pytest.mark.parametrize("name", ["lists", "crm"])
@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("base_url", "needs 'base_url'"),
        ("api_key_file", "needs 'api_key_file' or 'api_key_env'"),
    ],
)
def test_a_partner_needs_a_url_and_a_key(
    tmp_path: Path, name: str, missing: str, said: str
) -> None:
    keys = {key: value for key, value in LISTS.items() if key != missing}
    if name == "crm":
        keys["type"] = "property_api"
    connection: dict[str, Any] = {name: keys}

    (problem,) = problems(tmp_path, document(**connection))

    assert (problem.code, problem.message) == ("key.missing", f"'{name}' {said}")


def test_engage_needs_what_its_syncs_do_with_it(tmp_path: Path) -> None:
    bare = {"type": "engage"}

    writing = found(tmp_path, document(engage=bare))
    reading = found(
        tmp_path,
        document(from_=AUDIENCE, to="{connection: amplitude}", engage=bare),
    )

    assert writing == [
        f"3:3 key.missing 'engage' needs {EITHER_KEY}: sync 'one' writes to it",
    ]
    assert reading == [
        "3:3 key.missing 'engage' needs 'snapshot' or 'inbox': sync 'one' reads from it"
    ]


def test_a_rate_that_segment_does_not_promise_is_a_warning(tmp_path: Path) -> None:
    text = document(
        engage=ENGAGE | {"max_events_per_second": "1001"}, lists=None, crm=None
    )

    (warning,) = load_text(tmp_path, text).warnings

    assert (warning.code, warning.severity, warning.line) == ("rate.high", "warning", 3)


@pytest.mark.parametrize(
    "header",
    [
        "secret_headers: {X-Tenant: hush-0123456789, X-More: hush-0123456789}",
        "secret_headers:\n      X-Tenant: hush-01234\n      X-More: hush-0123456789",
        "headers:\n      Authorization: Basic hush-0123456789",
    ],
)
def test_a_secret_in_a_header_is_not_shown_again(tmp_path: Path, header: str) -> None:
    block = "\n".join(f"    {key}: {value}" for key, value in LISTS.items())
    text = document(lists=None, to="{connection: lists}").replace(
        "connections:\n", f"connections:\n  lists:\n{block}\n    {header}\n"
    )
    with pytest.raises(InvalidConfig) as caught:
        load_text(tmp_path, text)

    shown = render(caught.value.problems, caught.value.sources, "full")

    assert "secret.inline" in shown
    assert "hush" not in shown
    assert "01234" not in shown


def test_a_number_in_a_header_is_not_quoted(tmp_path: Path) -> None:
    text = document(lists=LISTS | {"headers": "{Authorization: 0123456789}"})

    (_, wrong_type) = problems(tmp_path, text)

    assert (wrong_type.code, wrong_type.hint) == ("value.type", "")


ODD = ("", "[]", "{}", "[[x]]", "{x: {y: 1}}", "-1", "1e999", "true", "null", '"}"')


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(
        ["type", "base_url", "quota", "headers", "secret_headers", "space"]
    ),
    st.sampled_from(["from_", "to", "sync", "more"]),
    st.sampled_from(ODD),
    st.sampled_from(ODD),
)
def test_odd_values_are_refused_and_never_break_the_loader(
    tmp_path: Path, key: str, part: str, one: str, other: str
) -> None:
    parts = {
        "from_": one,
        "to": f"{{connection: engage, trait: {one}}}",
        "sync": f"    budget: {one}\n    match: {other}\n    delivery: {one}\n",
        "more": f"defaults: {{timezone: {one}, match: {other}}}\n",
    }
    odd: dict[str, Any] = {part: parts[part], "lists": LISTS | {key: other}}
    odd |= {"amplitude": AMPLITUDE | {key: other}, "engage": ENGAGE | {key: one}}

    try:
        load_text(tmp_path, document(**odd))
    except InvalidConfig as error:
        severities = {problem.severity for problem in error.problems}
        assert "error" in severities


def test_all_mistakes_of_the_other_direction_come_at_once(tmp_path: Path) -> None:
    text = document(
        from_="{connection: amplitude, cohort_id: x, linkd: true}",
        to="{connection: engage, cohort: a}",
        sync="    budget: often\n",
        amplitude=AMPLITUDE | {"quota": "{reserve: all}"},
    ).replace("daily", "every 7m")

    codes = [one.code for one in problems(tmp_path, text)]

    assert codes == ["value.type", "key.unknown", "key.misplaced", "budget.invalid"]
