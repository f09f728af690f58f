"""What people type to pause a sync, what they see of windows, and what is refused."""

import pytest

WINDOWS = {"nightly": [{"from": "01:30", "to": "02:45"}]}
DAILY = "daily at 02:00"


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        (["vip"], "--reason"),
        (["vip", "--reason", "  "], "Give a reason"),
        (["vip", "--reason", "x", "--for", "soon"], "'soon' is no duration"),
        (["vip", "--reason", "x", "--for", "0s"], "no length"),
        (["vip", "--reason", "x", "--until", "noon"], "no date and time"),
        (["vip", "--reason", "x", "--for", "1h", "--indefinitely"], "Give one of"),
        (["vap", "--reason", "x"], "Did you mean 'vip'?"),
        (["off", "--reason", "x"], "off (enabled: false)"),
    ],
)
def test_a_pause_that_cannot_be_meant_is_wrong_usage(
    installation, args: list[str], refusal: str
) -> None:
    installation.sync("vip")
    installation.sync("off", enabled=False)

    ended = installation.syncd("pause", *args)

    assert ended.code == 2
    assert refusal in ended.err.replace("\n", " ")
    assert not installation.database.exists()


def test_without_a_daemon_the_command_pauses_by_itself(installation) -> None:
    installation.sync("vip", schedule="hourly")
    installation.audience([])

    past = installation.syncd("pause", "vip", "--reason", "x", "--until", "2020-01-01")
    paused = installation.syncd("pause", "vip", "--reason", "INC-7", "--for", "2d")
    status = installation.syncd("status")
    refused = installation.syncd("run", "vip", "--json")
    longer = installation.syncd(
        "pause", "vip", "--reason", "INC-8", "--until", "2999-06-29T18:00"
    )
    resumed = installation.syncd("resume", "vip", "--json")
    ran = installation.run("vip")

    assert past.code != 0
    assert "over before it began" in past.err
    assert paused.code == 0, paused.err
    assert "Undo: syncd resume vip" in paused.out
    assert "vip is paused by " in status.out
    assert "INC-7" in status.out
    assert refused.code == 75
    (told,) = refused.document["runs"]
    assert (told["outcome"], told["reason"]) == ("skipped", "sync.paused")
    assert "instead of the pause by" in longer.out
    (ended,) = resumed.document["resumed"]
    assert ended["pause"]["until"] == "2999-06-29T18:00:00Z"
    assert ran.code == 0, ran.err


def test_a_shown_run_says_that_its_sync_is_paused(installation) -> None:
    installation.sync("vip")
    installation.audience([])
    assert installation.run("vip").code == 0
    installation.syncd("pause", "vip", "--reason", "INC-9", "--indefinitely")

    page = installation.syncd("show", "vip").out
    document = installation.syncd("show", "vip", "--json").document

    assert "until it is resumed: INC-9" in page
    assert document["paused"]["reason"] == "INC-9"


def test_the_schedule_says_what_a_blackout_puts_off(installation) -> None:
    installation.config["windows"] = WINDOWS
    installation.sync("vip", schedule=DAILY, blackout=["nightly"])

    page = installation.syncd("schedule", "vip", "--next", "1").out
    (sync,) = installation.syncd("schedule", "vip", "--next", "2", "--json").document[
        "syncs"
    ]
    checked = installation.syncd("check").out

    assert "skipped: nightly; runs " in page
    assert "02:45:00 UTC" in page
    assert "  blackout: nightly" in page
    assert sync["blackout"] == ["nightly"]
    first = sync["put_off"][0]
    assert first["due_at"] == sync["next"][0]
    assert first["begins_at"] == first["due_at"].replace("02:00:00", "02:45:00")
    assert "1 sync, 2 connections, 1 blackout window" in checked
    assert "02:45" in checked, "the next run"
