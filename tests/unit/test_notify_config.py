"""Channels and the heartbeat as the files say them: defaults, secrets, refusals."""

from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from syncd.config import InvalidConfig, load
from syncd.config.loader import load_with_places
from syncd.config.schema_notifications import Event
from syncd.config.settings import Settings
from syncd.config.settings_notifications import SlackSettings, WebhookSettings
from syncd.config.shown import shown
from syncd.notify import EVENTS

CHANNELS = (
    "channels: {ops: {type: slack, webhook_url_file: slack},"
    " hooks: {type: webhook, url_env: HOOK, secret_file: hook_secret}}"
)


EITHER = (
    "16:5 key.exclusive 'syncs' takes only one of 'heartbeat_url_file' or"
    " 'heartbeat_url_env'"
)


def document(
    notifications: str = CHANNELS, *, sync: str = "", defaults: str = ""
) -> str:
    """One sync; `notifications` stands in line 2, `defaults` in 3, the sync's in 18."""
    return (
        f"version: 1\nnotifications: {{{notifications}}}\ndefaults: {{{defaults}}}\n"
        "connections:\n"
        "  engage:\n    type: engage\n    snapshot: {type: files, path: x.csv}\n"
        "  amplitude:\n    type: amplitude\n    region: eu\n    app_id: 1\n"
        "    api_key_file: a\n    secret_key_file: b\n    owner: ana@acme.example\n"
        "syncs:\n  - name: one\n    from: {connection: engage, audience: vip}\n"
        f"    to: {{connection: amplitude}}\n    schedule: hourly\n{sync}"
    )


def settings(folder: Path, text: str) -> Settings:
    (folder / "syncd.yaml").write_text(text)
    return load([folder / "syncd.yaml"], {}).settings


def found(folder: Path, text: str) -> list[str]:
    (folder / "syncd.yaml").write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        load([folder / "syncd.yaml"], {})
    return [
        f"{one.line}:{one.column} {one.code} {one.message}"
        for one in caught.value.problems
    ]


def test_a_channel_hears_of_everything_and_again_every_12_hours(tmp_path: Path) -> None:
    told = settings(tmp_path, document()).notifications

    ops, hooks = told.channels["ops"], told.channels["hooks"]
    assert isinstance(ops, SlackSettings)
    assert isinstance(hooks, WebhookSettings)
    assert ops.events == hooks.events == EVENTS
    assert ops.repeat_every == timedelta(hours=12)
    assert str(ops.outward.url) == "/run/secrets/slack"
    assert str(hooks.outward.url) == "$HOOK"
    assert hooks.secret.token
    assert told.heartbeat is None


def test_a_channel_may_be_told_less(tmp_path: Path) -> None:
    text = document(
        "channels: {ops: {type: slack, webhook_url_file: s, repeat_every: never,"
        " events: [held, resolved, held]}}"
    )

    ops = settings(tmp_path, text).notifications.channels["ops"]

    assert ops.events == ("held", "resolved")
    assert ops.repeat_every is None


def test_the_heartbeat_beats_every_5_minutes_while_all_is_fresh(tmp_path: Path) -> None:
    beat = settings(tmp_path, document("heartbeat: {url_file: beat}")).notifications

    assert beat.heartbeat is not None
    assert beat.heartbeat.every == timedelta(minutes=5)
    assert beat.heartbeat.only_when == "all_fresh"
    assert beat.heartbeat.method == "GET"


@pytest.mark.parametrize(
    ("defaults", "sync", "heard"),
    [
        ("", "", None),
        ("notify: [ops]", "", ("ops",)),
        ("notify: [ops]", "    notify: [hooks, hooks]\n", ("hooks",)),
        ("notify: [ops]", "    notify: []\n", ()),
    ],
)
def test_a_sync_is_told_of_where_it_or_the_defaults_say_and_else_everywhere(
    tmp_path: Path, defaults: str, sync: str, heard: tuple[str, ...] | None
) -> None:
    (only,) = settings(tmp_path, document(defaults=defaults, sync=sync)).syncs

    assert only.notify == heard


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            document(sync="    notify: [opps]\n"),
            ["20:14 channel.unknown no channel 'opps'"],
        ),
        (
            document(defaults="notify: [opps]"),
            ["3:21 channel.unknown no channel 'opps'"],
        ),
        (
            document("channels: {ops: {type: slack, webhook_url: 'https://x'}}"),
            [
                "2:47 secret.inline 'webhook_url' may not stand in a config file",
            ],
        ),
        (
            document("channels: {ops: {type: slack}}"),
            ["2:28 key.missing 'ops' needs 'webhook_url_file' or 'webhook_url_env'"],
        ),
        (
            document("channels: {ops: {type: webhook, url_file: u}}"),
            ["2:28 key.missing 'ops' needs 'secret_file' or 'secret_env'"],
        ),
        (
            document(sync="    heartbeat_url_file: a\n    heartbeat_url_env: B\n"),
            [EITHER],
        ),
        (
            document("heartbeat: {every: 1m}"),
            ["2:17 key.missing 'heartbeat' needs 'url_file' or 'url_env'"],
        ),
        (
            document("channels: {ops: {type: pager, x_file: u}}"),
            ["2:40 value.choice 'type' must be slack or webhook"],
        ),
        (
            document(
                "channels: {ops: {type: slack, webhook_url_file: u, events: [hold]}}"
            ),
            ["2:77 value.choice 'events' must be " + " or ".join(EVENTS)],
        ),
        (
            document(
                "channels: {o: {type: slack, webhook_url_file: u, events: [resolved]}}"
            ),
            ["2:66 channel.empty the channel 'o' is told nothing"],
        ),
        (
            document("heartbeat: {url_file: u, every: 5}"),
            ["2:49 duration.no_unit 5 has no unit"],
        ),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(
    tmp_path: Path, text: str, said: list[str]
) -> None:
    assert found(tmp_path, text) == said


def test_the_files_know_the_words_that_messages_are_made_of() -> None:
    assert get_args(Event) == EVENTS


def test_config_show_knows_what_counts_for_a_channel(tmp_path: Path) -> None:
    (tmp_path / "syncd.yaml").write_text(
        document(f"{CHANNELS}, heartbeat: {{url_file: b}}")
    )
    loaded, root = load_with_places([tmp_path / "syncd.yaml"], {})

    told = {
        each.path.removeprefix("notifications."): each.value
        for each in shown(loaded, root, resolved=True)
        if each.path.startswith("notifications.")
    }

    assert told == {
        "channels.ops.type": "slack",
        "channels.ops.webhook_url_file": "slack",
        "channels.ops.events": list(EVENTS),
        "channels.ops.repeat_every": "12h",
        "channels.hooks.type": "webhook",
        "channels.hooks.url_env": "HOOK",
        "channels.hooks.secret_file": "hook_secret",
        "channels.hooks.events": list(EVENTS),
        "channels.hooks.repeat_every": "12h",
        "heartbeat.url_file": "b",
        "heartbeat.every": "5m",
        "heartbeat.only_when": "all_fresh",
        "heartbeat.method": "GET",
    }
