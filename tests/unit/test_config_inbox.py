"""Inboxes and pushes: what may be written, what it means, and where it is wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.config import (
    AmplitudeConnection,
    EngageConnection,
    Events,
    FromAudience,
    FromCohort,
    InboxSettings,
    InvalidConfig,
    Loaded,
    PushSettings,
)
from syncd.config.forecast import forecast
from syncd.config.report import render
from tests.unit.config_text import found, load_text, problems

INBOX = "{secret_file: inbox_secret}"
PUSH = "{api_key_file: push_key}"
SNAPSHOT = "{type: files, path: x.csv}"
FROM_ENGAGE = "{connection: engage, audience: vip}"
FROM_AMPLITUDE = "{connection: amplitude, cohort_id: 1a2bc3d}"
TO_AMPLITUDE = "{connection: amplitude}"
TO_ENGAGE = "{connection: engage}"
HOUR = timedelta(hours=1)


def document(
    *,
    inbox: str = "",
    push: str = "",
    snapshot: str = "",
    engage: str = "",
    from_: str = FROM_ENGAGE,
    to: str = "",
    sync: str = "",
    schedule: str = "daily",
    more: str = "",
) -> str:
    """One sync; a part of a connection that is empty is left out.

    Lines: engage 3, its inbox 7; amplitude 9, its push 16; `from` 20, `to` 21,
    `schedule` 22, then `sync` (23), then `more` at the top.
    """
    if not to:
        to = TO_AMPLITUDE if "engage" in from_ else TO_ENGAGE
    return (
        "version: 1\nconnections:\n"
        "  engage:\n    type: engage\n    write_key_file: write_key\n"
        f"    {f'snapshot: {snapshot}' if snapshot else ''}\n"
        f"    {f'inbox: {inbox}' if inbox else ''}\n"
        f"    {engage}\n"
        "  amplitude:\n    type: amplitude\n    region: eu\n    app_id: 1\n"
        "    api_key_file: a\n    secret_key_file: b\n    owner: ana@acme.example\n"
        f"    {f'push: {push}' if push else ''}\n"
        "defaults: {jitter: 0s}\nsyncs:\n  - name: one\n"
        f"    from: {from_}\n    to: {to}\n    schedule: {schedule}\n{sync}{more}"
    )


def inbox_in(loaded: Loaded) -> InboxSettings:
    connection = loaded.settings.connections["engage"]
    assert isinstance(connection, EngageConnection)
    assert connection.inbox is not None
    return connection.inbox


def push_in(loaded: Loaded) -> PushSettings:
    connection = loaded.settings.connections["amplitude"]
    assert isinstance(connection, AmplitudeConnection)
    assert connection.push is not None
    return connection.push


def events_in(loaded: Loaded) -> Events | None:
    (sync,) = loaded.settings.syncs
    return sync.source.events


def fed(folder: Path, from_: str, **parts: str) -> Events | None:
    """How a sync with this `from` is fed."""
    return events_in(load_text(folder, document(from_=from_, **parts)))


# ---- what an inbox is ----------------------------------------------------------------


def test_an_inbox_has_defaults_for_single_events(tmp_path: Path) -> None:
    inbox = inbox_in(load_text(tmp_path, document(inbox=INBOX)))

    assert inbox.signature is not None
    assert str(inbox.signature.secret) == "/run/secrets/inbox_secret"
    assert inbox.signature.secret.key == "connections.engage.inbox.secret_file"
    assert (inbox.signature.previous, inbox.signature.previous_until) == (None, None)
    assert (inbox.path, inbox.second_factor) == ("/in/engage", None)
    assert (inbox.amplitude_id, inbox.max_body) == ((), 1024 * 1024)


def test_a_secret_header_proves_batches_which_are_bigger(tmp_path: Path) -> None:
    inbox = inbox_in(
        load_text(tmp_path, document(inbox="{second_factor: {file: key}}"))
    )

    factor = inbox.second_factor
    assert factor is not None
    assert (factor.header, factor.user) == ("x-syncd-key", None)
    assert str(factor.secret.secret) == "/run/secrets/key"
    assert (inbox.signature, inbox.max_body) == (None, 8 * 1024 * 1024)


def test_the_header_of_a_second_factor_is_compared_in_lower_case(
    tmp_path: Path,
) -> None:
    text = document(inbox="{second_factor: {header: X-Gate, env: GATE}}")

    factor = inbox_in(load_text(tmp_path, text, GATE="open sesame")).second_factor

    assert factor is not None
    assert factor.header == "x-gate"
    assert factor.secret.secret.read() == "open sesame"


def test_a_basic_user_makes_the_second_factor_an_authorization(tmp_path: Path) -> None:
    text = document(inbox="{second_factor: {basic_user: segment, env: GATE}}")

    factor = inbox_in(load_text(tmp_path, text, GATE="pässwörd")).second_factor

    assert factor is not None
    assert (factor.header, factor.user) == ("authorization", "segment")
    assert factor.secret.secret.read() == "pässwörd"


def test_a_secret_of_a_header_is_one_that_a_header_can_hold(tmp_path: Path) -> None:
    text = document(inbox="{second_factor: {env: GATE}}")

    factor = inbox_in(load_text(tmp_path, text, GATE="two\nlines")).second_factor

    assert factor is not None
    with pytest.raises(Exception, match="line end"):
        factor.secret.secret.read()


def test_the_secret_before_is_taken_until_an_instant(tmp_path: Path) -> None:
    inbox = inbox_in(
        load_text(
            tmp_path,
            document(
                inbox="{secret_file: new, previous_secret_env: OLD, "
                "previous_until: 2027-01-31T18:00:00+01:00, "
                "second_factor: {file: key, previous_file: old_key, "
                "previous_until: 2027-02-01T00:00:00Z}}"
            ),
        )
    )

    signature, factor = inbox.signature, inbox.second_factor
    assert signature is not None
    assert factor is not None
    assert str(signature.previous) == "$OLD"
    assert signature.previous_until == datetime(2027, 1, 31, 17, tzinfo=UTC)
    assert str(factor.secret.previous) == "/run/secrets/old_key"
    assert factor.secret.previous_until == datetime(2027, 2, 1, tzinfo=UTC)


def test_an_amplitude_id_is_found_along_its_keys(tmp_path: Path) -> None:
    text = document(inbox=f"{INBOX[:-1]}, amplitude_id: context.traits.amplitude_id}}")

    inbox = inbox_in(load_text(tmp_path, text))

    assert inbox.amplitude_id == ("context", "traits", "amplitude_id")


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1KiB", 1024),
        ("512KiB", 524_288),
        ("64MiB", 67_108_864),
        ("65536", 65_536),
        ('"65536"', 65_536),
    ],
)
def test_a_size_is_bytes_or_has_a_binary_unit(
    tmp_path: Path, written: str, size: int
) -> None:
    text = document(inbox=f"{INBOX[:-1]}, max_body: {written}}}")

    assert inbox_in(load_text(tmp_path, text)).max_body == size


def test_the_environment_lays_over_an_inbox(tmp_path: Path) -> None:
    loaded = load_text(
        tmp_path,
        document(inbox=INBOX),
        SYNCD_CONNECTIONS__ENGAGE__INBOX__PATH="/hooks/segment",
        SYNCD_CONNECTIONS__ENGAGE__INBOX__MAX_BODY="2048",
    )

    inbox = inbox_in(loaded)
    assert (inbox.path, inbox.max_body) == ("/hooks/segment", 2048)


def test_a_variable_with_a_secret_is_not_taken_for_a_setting(tmp_path: Path) -> None:
    text = document(
        inbox="{secret_env: SYNCD_NEW, previous_secret_env: SYNCD_OLD, "
        "second_factor: {env: SYNCD_GATE, previous_env: SYNCD_OLD_GATE}}"
    )
    names = ("SYNCD_NEW", "SYNCD_OLD", "SYNCD_GATE", "SYNCD_OLD_GATE")

    inbox = inbox_in(load_text(tmp_path, text, **dict.fromkeys(names, "hush")))

    assert inbox.signature is not None
    assert inbox.signature.secret.read() == "hush"


def test_sizes_of_audiences_can_be_asked_for_with_a_token(tmp_path: Path) -> None:
    text = document(
        inbox=INBOX,
        engage="api_token_file: api_token\n    space_id: spa_1Ab\n    api_base_url: http://127.0.0.1:9000/",
    )

    engage = load_text(tmp_path, text).settings.connections["engage"]

    assert isinstance(engage, EngageConnection)
    assert str(engage.api_token) == "/run/secrets/api_token"
    assert engage.space_id == "spa_1Ab"
    assert engage.api_base_url == "http://127.0.0.1:9000"


def test_a_rotation_changes_the_hash_of_the_configuration(tmp_path: Path) -> None:
    def hash_until(until: str) -> str:
        inbox = f"{{secret_file: a, previous_secret_file: b, previous_until: {until}}}"
        return load_text(tmp_path, document(inbox=inbox)).config_hash

    first, second = (
        hash_until("2027-01-01T00:00:00Z"),
        hash_until("2027-01-02T00:00:00Z"),
    )

    assert first != second


# ---- what a push is ------------------------------------------------------------------


def test_a_push_has_defaults(tmp_path: Path) -> None:
    push = push_in(load_text(tmp_path, document(from_=FROM_AMPLITUDE, push=PUSH)))

    assert push.api_key is not None
    assert push.api_key.secret.key == "connections.amplitude.push.api_key_file"
    assert str(push.api_key.secret) == "/run/secrets/push_key"
    assert push.webhook_secret is None
    assert (push.path, push.webhook_header) == ("/in/amplitude", "x-syncd-key")
    assert push.max_body == 8 * 1024 * 1024


def test_both_secrets_of_a_push_have_one_before_each(tmp_path: Path) -> None:
    text = document(
        from_=FROM_AMPLITUDE,
        push="{path: /amplitude, api_key_env: K, previous_api_key_env: K0, "
        "previous_api_key_until: 2027-01-01T00:00:00Z, webhook_header: X-Gate, "
        "webhook_secret_file: w, previous_webhook_secret_file: w0, "
        "previous_webhook_secret_until: 2027-01-02T00:00:00Z, max_body: 1MiB}",
    )

    push = push_in(load_text(tmp_path, text))

    key, webhook = push.api_key, push.webhook_secret
    assert key is not None
    assert webhook is not None
    assert (str(key.secret), str(key.previous)) == ("$K", "$K0")
    assert key.previous_until == datetime(2027, 1, 1, tzinfo=UTC)
    assert str(webhook.previous) == "/run/secrets/w0"
    assert webhook.previous_until == datetime(2027, 1, 2, tzinfo=UTC)
    assert (push.path, push.webhook_header) == ("/amplitude", "x-gate")
    assert push.max_body == 1024 * 1024


# ---- what feeds a sync ---------------------------------------------------------------


def test_an_inbox_feeds_the_syncs_of_its_connection(tmp_path: Path) -> None:
    with_lists = fed(tmp_path, FROM_ENGAGE, inbox=INBOX, snapshot=SNAPSHOT)
    alone = fed(tmp_path, FROM_ENGAGE, inbox=INBOX)

    assert with_lists == Events(
        snapshot_lag=2 * HOUR, relist_every=24 * HOUR, without_value="ignore"
    )
    assert alone == Events(
        snapshot_lag=2 * HOUR, relist_every=None, without_value="ignore"
    )


@pytest.mark.parametrize(
    "more", ["via: snapshot", "query: SELECT id FROM x", "path: own.csv"]
)
def test_a_sync_with_a_list_of_its_own_is_fed_by_that(
    tmp_path: Path, more: str
) -> None:
    from_ = f"{FROM_ENGAGE[:-1]}, {more}}}"

    assert fed(tmp_path, from_, inbox=INBOX, snapshot=SNAPSHOT) is None


def test_a_list_of_its_own_may_correct_what_events_say(tmp_path: Path) -> None:
    from_ = f"{FROM_ENGAGE[:-1]}, via: inbox, path: own.csv, relist_every: 6h}}"

    events = fed(tmp_path, from_, inbox=INBOX, snapshot=SNAPSHOT)

    assert events is not None
    assert events.relist_every == 6 * HOUR


def test_events_without_a_value_mean_one_thing_to_all_who_read_them(
    tmp_path: Path,
) -> None:
    def two(first: str, second: str) -> str:
        start = FROM_ENGAGE[:-1]
        other = (
            f"  - name: two\n    from: {start}{second}}}\n"
            "    to: {connection: amplitude, cohort: Two}\n    schedule: daily\n"
        )
        return document(from_=f"{start}{first}}}", inbox=INBOX, sync=other)

    entering = ", without_value: enter"

    load_text(tmp_path, two(entering, entering))
    assert found(tmp_path, two(entering, "")) == [
        "24:32 value.conflict 'without_value' is enter in sync 'one' of this audience"
    ]
    assert found(tmp_path, two("", entering)) == [
        "24:47 value.conflict 'without_value' is ignore in sync 'one' of this audience"
    ]


def test_without_an_inbox_a_sync_is_fed_by_lists(tmp_path: Path) -> None:
    assert fed(tmp_path, FROM_ENGAGE, snapshot=SNAPSHOT) is None


def test_events_are_read_as_the_sync_says(tmp_path: Path) -> None:
    from_ = (
        f"{FROM_ENGAGE[:-1]}, relist_every: never, snapshot_lag: 90m, "
        "without_value: enter}"
    )

    events = fed(tmp_path, from_, inbox=INBOX, snapshot=SNAPSHOT)

    assert events == Events(
        snapshot_lag=1.5 * HOUR, relist_every=None, without_value="enter"
    )


def test_pushes_feed_a_sync_only_where_it_says_so(tmp_path: Path) -> None:
    by_push = f"{FROM_AMPLITUDE[:-1]}, via: push}}"

    assert fed(tmp_path, FROM_AMPLITUDE, push=PUSH) is None
    assert fed(tmp_path, f"{FROM_AMPLITUDE[:-1]}, via: download}}", push=PUSH) is None
    assert fed(tmp_path, by_push, push=PUSH) == Events(
        snapshot_lag=2 * HOUR, relist_every=timedelta(days=7), without_value="ignore"
    )
    never = fed(tmp_path, f"{by_push[:-1]}, relist_every: never}}", push=PUSH)
    assert never is not None
    assert never.relist_every is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", None),
        (", run_after: never", None),
        (", run_after: 10s", timedelta(seconds=10)),
        (", run_after: 1s", timedelta(seconds=1)),
    ],
)
def test_news_is_waited_for_only_where_a_sync_says_how_long(
    tmp_path: Path, written: str, meant: timedelta | None
) -> None:
    by_event = fed(tmp_path, f"{FROM_ENGAGE[:-1]}{written}}}", inbox=INBOX)
    by_push = fed(tmp_path, f"{FROM_AMPLITUDE[:-1]}, via: push{written}}}", push=PUSH)

    assert by_event is not None
    assert by_push is not None
    assert (by_event.run_after, by_push.run_after) == (meant, meant)


def test_two_syncs_may_be_fed_by_one_inbox(tmp_path: Path) -> None:
    text = document(
        inbox=INBOX,
        more=f"  - name: two\n    from: {FROM_ENGAGE}\n"
        "    to: {connection: amplitude, cohort: Other}\n    schedule: daily\n",
    )

    syncs = load_text(tmp_path, text).settings.syncs

    sources = [sync.source for sync in syncs]
    assert all(isinstance(source, FromAudience) and source.events for source in sources)


# ---- what pushes cost ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "downloads"),
    [
        ("", 5),
        (", relist_every: 24h", 31),
        (", relist_every: never", 0),
        (", relist_every: 1h", 744),
    ],
)
def test_a_push_costs_a_download_for_each_relist(
    tmp_path: Path, keys: str, downloads: int
) -> None:
    text = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push{keys}}}",
        push=PUSH,
        schedule="every 5m",
    ).replace("app_id: 1", "app_id: 1\n    quota: {downloads_per_month: 9000}")

    (project,) = forecast(load_text(tmp_path, text).settings)

    assert project.total == downloads


def test_a_push_never_downloads_more_often_than_it_runs(tmp_path: Path) -> None:
    text = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push, relist_every: 1h}}",
        push=PUSH,
        schedule="daily",
    )

    (project,) = forecast(load_text(tmp_path, text).settings)

    assert project.total == 31


def test_a_budget_limits_the_relists_of_a_push(tmp_path: Path) -> None:
    text = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push, relist_every: 1h}}",
        push=PUSH,
        sync="    budget: 4/day\n",
        schedule="hourly",
    )

    (project,) = forecast(load_text(tmp_path, text).settings)

    assert project.total == 124
    (sync,) = project.syncs
    assert sync.schedule == "every 1h, by pushes, a list every 1h, at most 4/day"


def test_relists_that_do_not_fit_are_named_with_what_does(tmp_path: Path) -> None:
    from_ = f"{FROM_AMPLITUDE[:-1]}, via: push, relist_every: 30m}}"

    (problem,) = problems(
        tmp_path, document(from_=from_, push=PUSH, schedule="every 5m")
    )

    assert (problem.code, problem.line, problem.column) == ("quota.exceeded", 20, 80)
    assert problem.message == (
        "'relist_every: 30m' needs 1,488 downloads a month; "
        "450 of 500 are left (50 are reserved)"
    )
    assert problem.hint == "fits: relist_every: 2h, or budget: 14/day"


def test_a_sync_fed_by_pushes_is_as_fresh_as_its_schedule(tmp_path: Path) -> None:
    by_push = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push}}",
        push=PUSH,
        sync="    budget: 1/month\n",
        schedule="hourly",
    )

    loaded = load_text(tmp_path, by_push)

    (sync,) = loaded.settings.syncs
    assert sync.fresh_within == 2 * HOUR + timedelta(minutes=45)
    assert loaded.warnings == ()


def test_a_short_freshness_fits_pushes_and_not_downloads(tmp_path: Path) -> None:
    def warnings(via: str) -> list[str]:
        text = document(
            from_=f"{FROM_AMPLITUDE[:-1]}, via: {via}}}",
            push=PUSH,
            sync="    fresh_within: 3h\n    budget: 4/day\n",
            schedule="hourly",
        )
        return [one.code for one in load_text(tmp_path, text).warnings]

    assert warnings("push") == []
    assert warnings("download") == ["fresh_within.short"]


# ---- what goes round -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("engage", "cohort", "parts"),
    [
        ("", "", {"snapshot": SNAPSHOT}),
        (", via: inbox", ", via: push", {"inbox": INBOX, "push": PUSH}),
    ],
    ids=["lists", "events"],
)
def test_a_ring_is_one_whatever_feeds_its_syncs(
    tmp_path: Path, engage: str, cohort: str, parts: dict[str, str]
) -> None:
    text = document(
        from_=f"{FROM_ENGAGE[:-1]}{engage}}}",
        to="{connection: amplitude, cohort_id: 1a2bc3d}",
        more=f"  - name: two\n    from: {FROM_AMPLITUDE[:-1]}{cohort}}}\n"
        "    to: {connection: engage, trait: vip}\n    schedule: daily\n",
        **parts,
    )

    codes = [problem.code for problem in problems(tmp_path, text)]

    assert codes == ["sync.ring"]


# ---- what is wrong with it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("inbox", "expected"),
    [
        (
            "{}",
            (
                "7:5 key.missing 'inbox' needs 'secret_file', 'secret_env' or "
                "'second_factor'"
            ),
        ),
        (
            "{secret_file: a, secret_env: B}",
            "7:5 key.exclusive 'inbox' takes only one of 'secret_file' or 'secret_env'",
        ),
        (
            "{secret: hush}",
            "7:13 secret.inline 'secret' may not stand in a config file",
        ),
        (
            "{second_factor: hush}",
            "7:28 secret.inline a secret may not stand in a config file",
        ),
        (
            "{second_factor: {value: hush}}",
            "7:29 secret.inline a secret may not stand in a config file",
        ),
        (
            "{second_factor: {}}",
            "7:13 key.missing 'second_factor' needs 'file' or 'env'",
        ),
        (
            "{second_factor: {file: a, env: B}}",
            "7:13 key.exclusive 'second_factor' takes only one of 'file' or 'env'",
        ),
        (
            "{second_factor: {file: a, header: X-A, basic_user: b}}",
            (
                "7:13 key.exclusive 'second_factor' takes only one of 'header' or "
                "'basic_user'"
            ),
        ),
        (
            "{second_factor: {file: a, header: X-Signature}}",
            "7:46 header.invalid this header has a meaning of its own",
        ),
        (
            "{second_factor: {file: a, header: X Key}}",
            "7:46 header.invalid this is not the name of a header",
        ),
        (
            "{second_factor: {file: a, basic_user: 'a:b'}}",
            "7:50 user.invalid Basic cannot carry a user with ':' in it",
        ),
        (
            "{second_factor: {file: a, previous_file: b, previous_env: C}}",
            (
                "7:13 key.exclusive 'second_factor' takes only one of 'previous_file' "
                "or 'previous_env'"
            ),
        ),
        (
            "{secret_file: a, previous_until: 2027-01-01T00:00:00Z}",
            (
                "7:29 key.missing 'previous_until' needs 'previous_secret_file' or "
                "'previous_secret_env'"
            ),
        ),
        (
            "{second_factor: {file: a}, previous_secret_file: b}",
            (
                "7:39 key.missing 'previous_secret_file' needs 'secret_file' or "
                "'secret_env'"
            ),
        ),
        (
            "{secret_file: a, previous_secret_file: b, previous_until: 2027-01-01}",
            "7:70 time.invalid this is not an instant",
        ),
        (
            (
                "{secret_file: a, previous_secret_file: b, "
                "previous_until: 2027-01-01T00:00:00}"
            ),
            "7:70 time.invalid this is not an instant",
        ),
        (
            (
                "{secret_file: a, previous_secret_file: b, "
                "previous_until: 2027-02-30T00:00:00Z}"
            ),
            "7:70 time.invalid this is not an instant",
        ),
        (
            "{secret_file: a, amplitude_id: context..id}",
            "7:43 keys.invalid this is not a path of keys",
        ),
        (
            "{secret_file: a, max_body: 1MB}",
            "7:39 size.invalid this is not a size",
        ),
        (
            "{secret_file: a, max_body: true}",
            "7:39 size.invalid this is not a size",
        ),
        (
            "{secret_file: a, max_body: 65MiB}",
            "7:39 value.range this must be between 1KiB and 64MiB",
        ),
        (
            "{secret_file: a, max_body: 0}",
            "7:39 value.range this must be between 1KiB and 64MiB",
        ),
        (
            "{secret_file: a, pth: /x}",
            "7:29 key.unknown unknown key 'pth'",
        ),
        (
            "{secret_file: a, path: [x]}",
            "7:35 value.type 'path' needs text",
        ),
    ],
)
def test_an_inbox_is_refused_with_its_place(
    tmp_path: Path, inbox: str, expected: str
) -> None:
    assert found(tmp_path, document(inbox=inbox)) == [expected]


@pytest.mark.parametrize(
    ("push", "expected"),
    [
        (
            "{}",
            "16:5 key.missing 'push' needs 'api_key_file' or 'webhook_secret_file'",
        ),
        (
            "{api_key_file: a, api_key_env: B}",
            (
                "16:5 key.exclusive 'push' takes only one of 'api_key_file' or "
                "'api_key_env'"
            ),
        ),
        (
            "{webhook_secret_file: a, webhook_secret_env: B}",
            (
                "16:5 key.exclusive 'push' takes only one of 'webhook_secret_file' or "
                "'webhook_secret_env'"
            ),
        ),
        (
            "{api_key: hush}",
            "16:12 secret.inline 'api_key' may not stand in a config file",
        ),
        (
            "{webhook_secret: hush}",
            "16:12 secret.inline 'webhook_secret' may not stand in a config file",
        ),
        (
            "{api_key_file: a, previous_webhook_secret_env: B}",
            (
                "16:29 key.missing 'previous_webhook_secret_env' needs "
                "'webhook_secret_file' or 'webhook_secret_env'"
            ),
        ),
        (
            "{api_key_file: a, previous_api_key_until: 2027-01-01T00:00:00Z}",
            (
                "16:29 key.missing 'previous_api_key_until' needs "
                "'previous_api_key_file' or 'previous_api_key_env'"
            ),
        ),
        (
            "{webhook_secret_file: a, webhook_header: Content-Type}",
            "16:52 header.invalid this header has a meaning of its own",
        ),
        (
            "{secret_file: a, api_key_file: b}",
            "16:12 key.unknown unknown key 'secret_file'",
        ),
    ],
)
def test_a_push_is_refused_with_its_place(
    tmp_path: Path, push: str, expected: str
) -> None:
    text = document(from_=FROM_AMPLITUDE, push=push)

    assert found(tmp_path, text) == [expected]


def test_no_secret_in_plain_sight_is_shown(tmp_path: Path) -> None:
    text = document(inbox="{second_factor: {value: hush-0123}}")
    with pytest.raises(InvalidConfig) as caught:
        load_text(tmp_path, text)

    shown = render(caught.value.problems, caught.value.sources, "full")

    assert "secret.inline" in shown
    assert "hush-0123" not in shown


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("in/engage", "it must start with '/'"),
        ("/in/engage/", "it must not end with '/'"),
        ("/", "it must not end with '/'"),
        ("/in/../up", "'.' and '..' lead elsewhere"),
        ("/in/./here", "'.' and '..' lead elsewhere"),
        ("/-/healthy", "what is below '/-' is syncd's own"),
        ("/-", "what is below '/-' is syncd's own"),
        ("/in//engage", "only A-Z, a-z, 0-9, '.', '_', '~' and '-' stand between"),
        ("/in/%2e", "only A-Z, a-z, 0-9, '.', '_', '~' and '-' stand between"),
        ("/in/a?b", "only A-Z, a-z, 0-9, '.', '_', '~' and '-' stand between"),
        ("/in/ü", "only A-Z, a-z, 0-9, '.', '_', '~' and '-' stand between"),
    ],
)
def test_a_path_that_could_mean_two_things_is_refused(
    tmp_path: Path, path: str, why: str
) -> None:
    text = document(inbox=f"{INBOX[:-1]}, path: '{path}'}}")

    (problem,) = problems(tmp_path, text)

    assert (problem.code, problem.line, problem.column) == ("path.invalid", 7, 46)
    assert problem.message.startswith(f"this cannot be a path: {why}")


@pytest.mark.parametrize("path", ["/a", "/in/-x", "/In/a.b_c~d-e", "/a/-/b"])
def test_every_other_path_is_accepted(tmp_path: Path, path: str) -> None:
    text = document(inbox=f"{INBOX[:-1]}, path: '{path}'}}")

    assert inbox_in(load_text(tmp_path, text)).path == path


@pytest.mark.parametrize(
    ("inbox", "push", "expected"),
    [
        (
            "/in/a",
            "/in/a",
            "16:43 path.shared '/in/a' and '/in/a' of 'engage' overlap",
        ),
        (
            "/in/a",
            "/in/a/b",
            "16:43 path.shared '/in/a/b' and '/in/a' of 'engage' overlap",
        ),
        (
            "/in/a/b",
            "/in/a",
            "16:43 path.shared '/in/a' and '/in/a/b' of 'engage' overlap",
        ),
        (
            "/in/amplitude",
            "",
            "16:5 path.shared '/in/amplitude' and '/in/amplitude' of 'engage' overlap",
        ),
    ],
)
def test_two_doors_never_overlap(
    tmp_path: Path, inbox: str, push: str, expected: str
) -> None:
    text = document(
        inbox=f"{{secret_file: a, path: {inbox}}}",
        push=f"{{api_key_file: push_keys, path: {push}}}" if push else PUSH,
    )

    assert found(tmp_path, text) == [expected]


@pytest.mark.parametrize(("inbox", "push"), [("/in/a", "/in/ab"), ("/in/ab", "/in/a")])
def test_paths_that_only_begin_alike_are_two(
    tmp_path: Path, inbox: str, push: str
) -> None:
    text = document(
        inbox=f"{INBOX[:-1]}, path: {inbox}}}", push=f"{PUSH[:-1]}, path: {push}}}"
    )

    assert push_in(load_text(tmp_path, text)).path == push


# ---- what does not go together -------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "parts", "expected"),
    [
        (
            "via: inbox",
            {"snapshot": SNAPSHOT},
            (
                "20:47 key.missing 'engage' needs 'inbox': "
                "sync 'one' reads with 'via: inbox'"
            ),
        ),
        (
            "via: snapshot",
            {"inbox": INBOX},
            (
                "20:47 key.missing 'engage' needs 'snapshot': "
                "sync 'one' reads with 'via: snapshot'"
            ),
        ),
        (
            "path: own.csv",
            {"inbox": INBOX},
            (
                "20:47 key.missing 'engage' needs 'snapshot': "
                "sync 'one' reads with 'via: snapshot'"
            ),
        ),
        (
            "via: push",
            {"inbox": INBOX},
            (
                "20:52 value.choice 'via' must be inbox or snapshot where a sync reads "
                "from engage"
            ),
        ),
        (
            "via: hook",
            {"inbox": INBOX},
            "20:52 value.choice 'via' must be inbox or snapshot or push or download",
        ),
        (
            "via: snapshot, relist_every: 24h",
            {"inbox": INBOX, "snapshot": SNAPSHOT},
            "20:62 key.misplaced 'relist_every' goes with 'via: inbox' only",
        ),
        (
            "snapshot_lag: 2h",
            {"snapshot": SNAPSHOT},
            "20:47 key.misplaced 'snapshot_lag' goes with 'via: inbox' only",
        ),
        (
            "without_value: enter",
            {"snapshot": SNAPSHOT},
            "20:47 key.misplaced 'without_value' goes with 'via: inbox' only",
        ),
        (
            "relist_every: 24h",
            {"inbox": INBOX},
            (
                "20:47 key.misplaced 'relist_every' is about whole lists, and 'engage' "
                "has no 'snapshot'"
            ),
        ),
        (
            "max_age: 6h",
            {"inbox": INBOX},
            (
                "20:47 key.misplaced 'max_age' is about whole lists, and 'engage' has "
                "no 'snapshot'"
            ),
        ),
        (
            "run_after: 10s",
            {"snapshot": SNAPSHOT},
            "20:47 key.misplaced 'run_after' goes with 'via: inbox' only",
        ),
        (
            "run_after: 0s",
            {"inbox": INBOX},
            "20:58 value.range this is shorter than 1s",
        ),
        (
            "run_after: 10",
            {"inbox": INBOX},
            "20:58 duration.no_unit 10 has no unit",
        ),
        (
            "without_value: leave",
            {"inbox": INBOX},
            "20:62 value.choice 'without_value' must be ignore or enter",
        ),
        (
            "relist_every: 24",
            {"inbox": INBOX, "snapshot": SNAPSHOT},
            "20:61 duration.no_unit 24 has no unit",
        ),
        (
            "relist_every: 30s",
            {"inbox": INBOX, "snapshot": SNAPSHOT},
            "20:61 value.range this is shorter than 60s",
        ),
    ],
)
def test_an_audience_is_fed_by_what_its_connection_has(
    tmp_path: Path, keys: str, parts: dict[str, str], expected: str
) -> None:
    from_ = f"{{connection: engage, audience: vip, {keys}}}"

    assert found(tmp_path, document(from_=from_, **parts)) == [expected]


def test_an_engage_connection_that_is_read_from_has_a_list_or_events(
    tmp_path: Path,
) -> None:
    assert found(tmp_path, document()) == [
        "3:3 key.missing 'engage' needs 'snapshot' or 'inbox': sync 'one' reads from it"
    ]


@pytest.mark.parametrize(
    ("keys", "push", "sync", "expected"),
    [
        (
            "via: push",
            "",
            "",
            (
                "20:55 key.missing 'amplitude' needs 'push': "
                "sync 'one' reads with 'via: push'"
            ),
        ),
        (
            "via: inbox",
            PUSH,
            "",
            (
                "20:60 value.choice 'via' must be push or download where a sync reads "
                "from amplitude"
            ),
        ),
        (
            "relist_every: 7d",
            PUSH,
            "",
            "20:55 key.misplaced 'relist_every' goes with 'via: push' only",
        ),
        (
            "snapshot_lag: 7d",
            PUSH,
            "",
            "20:55 key.misplaced 'snapshot_lag' goes with 'via: push' only",
        ),
        (
            "run_after: 10s",
            PUSH,
            "",
            "20:55 key.misplaced 'run_after' goes with 'via: push' only",
        ),
        (
            "via: push, without_value: enter",
            PUSH,
            "",
            "20:66 key.misplaced 'without_value' does not go with 'from' amplitude",
        ),
        (
            "via: push, max_staleness: 24h",
            PUSH,
            "",
            "20:66 key.misplaced 'max_staleness' goes with 'via: download' only",
        ),
        (
            "via: push, relist_every: never",
            PUSH,
            "    budget: 1/day\n",
            (
                "23:5 key.misplaced 'budget' is about lists: "
                "'relist_every: never' reads none"
            ),
        ),
        (
            "via: push, relist_every: never, snapshot_lag: 1h",
            PUSH,
            "",
            (
                "20:87 key.misplaced 'snapshot_lag' is about lists: "
                "'relist_every: never' reads none"
            ),
        ),
    ],
)
def test_a_cohort_is_fed_by_what_its_connection_has(
    tmp_path: Path, keys: str, push: str, sync: str, expected: str
) -> None:
    from_ = f"{{connection: amplitude, cohort_id: 1a2bc3d, {keys}}}"

    assert found(tmp_path, document(from_=from_, push=push, sync=sync)) == [expected]


def test_pushes_never_name_amplitude_ids(tmp_path: Path) -> None:
    crm = (
        "  crm: {type: property_api, base_url: 'https://crm.example', api_key_file: k}"
    )
    text = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push}}",
        to="{connection: crm}",
        push=PUSH,
        sync="    match: amplitude_id\n",
    ).replace("defaults:", f"{crm}\ndefaults:")

    assert found(tmp_path, text) == [
        "24:12 match.unsupported sync 'one' reads pushes, which carry user ids only"
    ]


def test_what_segment_cannot_match_is_said_once(tmp_path: Path) -> None:
    text = document(
        from_=f"{FROM_AMPLITUDE[:-1]}, via: push}}",
        push=PUSH,
        sync="    match: amplitude_id\n",
    )

    assert [one.code for one in problems(tmp_path, text)] == ["match.unsupported"]


def test_events_name_amplitude_ids_only_where_the_inbox_says_where(
    tmp_path: Path,
) -> None:
    by_default = document(inbox=INBOX).replace("jitter: 0s", "match: amplitude_id")
    own = document(inbox=INBOX, sync="    match: amplitude_id\n")
    mapped = document(
        inbox=f"{INBOX[:-1]}, amplitude_id: context.id}}",
        sync="    match: amplitude_id\n",
    )
    message = "match.unsupported sync 'one' needs the Amplitude ids of events"

    assert found(tmp_path, own) == [f"23:12 {message}"]
    assert found(tmp_path, by_default) == [f"17:19 {message}"]
    (problem,) = problems(tmp_path, own)
    assert problem.hint.endswith("connections.engage.inbox.amplitude_id")
    assert inbox_in(load_text(tmp_path, mapped)).amplitude_id == ("context", "id")


def test_a_pair_that_does_not_exist_is_the_only_thing_said_of_it(
    tmp_path: Path,
) -> None:
    text = document(
        from_="{connection: amplitude, cohort_id: 1a2bc3d, via: inbox}",
        to="{connection: amplitude, cohort: Other}",
    )

    assert [one.code for one in problems(tmp_path, text)] == ["connection.pair"]


def test_a_token_without_the_space_it_asks_for_is_refused(tmp_path: Path) -> None:
    text = document(inbox=INBOX, engage="api_token_file: a")

    assert found(tmp_path, text) == [
        "8:5 key.missing 'engage' needs 'space_id' beside a token"
    ]


def test_a_plain_token_and_two_tokens_are_refused(tmp_path: Path) -> None:
    inline = document(inbox=INBOX, engage="api_token: hush")
    two = document(
        inbox=INBOX, engage="api_token_file: a\n    api_token_env: B\n    space_id: s"
    )
    insecure = document(inbox=INBOX, engage="api_base_url: http://api.example")

    assert found(tmp_path, inline) == [
        "8:5 secret.inline 'api_token' may not stand in a config file"
    ]
    assert found(tmp_path, two) == [
        (
            "3:3 key.exclusive 'engage' takes only one of 'api_token_file' or "
            "'api_token_env'"
        )
    ]
    assert [one.code for one in problems(tmp_path, insecure)] == ["url.insecure"]


def test_a_cohort_keeps_what_it_said_before_there_were_pushes(tmp_path: Path) -> None:
    text = document(from_=FROM_AMPLITUDE, sync="    budget: 4/day\n", schedule="hourly")

    (sync,) = load_text(tmp_path, text).settings.syncs

    assert isinstance(sync.source, FromCohort)
    assert sync.source.events is None
    assert sync.source.max_staleness == 24 * HOUR
    assert sync.fresh_within == 25 * HOUR + timedelta(minutes=45)
