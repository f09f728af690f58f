"""`windows:` and `blackout:`: what they mean, and what is refused where."""

from datetime import date, time
from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, load
from syncd.errors import Problem
from syncd.windows import Window

HEAD = """\
version: 1
connections:
  engage: {type: engage, snapshot: {type: files, path: "a/{audience}.csv"}}
  amplitude:
    type: amplitude
    region: us
    app_id: 1
    api_key_file: a
    secret_key_file: b
    owner: o@x.example
"""
SYNC = """\
syncs:
  - name: vip
    from: {connection: engage, audience: vip}
    to: {connection: amplitude}
    schedule: daily at 03:00
"""


def loaded(tmp_path: Path, text: str) -> Loaded:
    path = tmp_path / "syncd.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return load([path], {})


def blackout(tmp_path: Path, text: str) -> tuple[Window, ...]:
    return loaded(tmp_path, text).settings.syncs[0].blackout


def refused(tmp_path: Path, text: str) -> list[Problem]:
    with pytest.raises(InvalidConfig) as invalid:
        loaded(tmp_path, text)
    return list(invalid.value.problems)


def found(problem: Problem, text: str) -> tuple[str, str]:
    """(code, what stands in the file at the problem's place, to the end of the line)"""
    line = (HEAD + text).splitlines()[problem.line - 1]
    return problem.code, line[problem.column - 1 :]


def test_a_sync_names_windows_that_have_dates_days_and_times(tmp_path: Path) -> None:
    text = (
        "defaults: {timezone: Europe/Berlin}\n"
        "windows:\n"
        "  quarter-close:\n"
        '    - {dates: "2026-06-29..2026-07-01"}\n'
        "  nightly:\n"
        '    - {days: mon..fri, from: "01:30", to: "02:45"}\n'
        '    - {days: "sat,sun", to: 24:00, timezone: UTC}\n'
        f"{SYNC}    blackout: [nightly, quarter-close]\n    fresh_within: 5d\n"
    )

    windows = blackout(tmp_path, text)

    zone = "Europe/Berlin"
    assert windows == (
        Window(
            name="nightly",
            zone=zone,
            days=(0, 1, 2, 3, 4),
            start=time(1, 30),
            end=time(2, 45),
        ),
        Window(name="nightly", zone="UTC", days=(5, 6)),
        Window(
            name="quarter-close",
            zone=zone,
            first=date(2026, 6, 29),
            last=date(2026, 7, 1),
        ),
    )


def test_a_sync_says_for_itself_what_the_defaults_say_for_all(tmp_path: Path) -> None:
    text = (
        "defaults: {blackout: [noon]}\n"
        "windows:\n"
        '  noon: [{from: "12:00", to: "13:00"}]\n'
        f"{SYNC}"
    )

    inherited = blackout(tmp_path, text)
    own = blackout(tmp_path, f"{text}    blackout: []\n")

    assert [window.name for window in inherited] == ["noon"]
    assert own == ()


def test_a_blackout_is_part_of_what_a_configuration_means(tmp_path: Path) -> None:
    text = (
        'windows: {noon: [{from: "12:00", to: "13:00"}]}\n'
        f"{SYNC}    blackout: [noon]\n"
    )

    one, other = loaded(tmp_path, text), loaded(tmp_path, text.replace("13:", "14:"))

    assert one.config_hash != other.config_hash


def test_an_unknown_window_is_refused_where_it_is_named(tmp_path: Path) -> None:
    text = (
        "defaults: {blackout: [evening]}\n"
        'windows: {nightly: [{from: "01:30", to: "02:45"}]}\n'
        f"{SYNC}    blackout: [nigthly]\n"
    )

    problems = refused(tmp_path, text)

    errors = [found(one, text) for one in problems if one.severity == "error"]
    assert errors == [("window.unknown", "evening]}"), ("window.unknown", "nigthly]")]
    hints = [one.hint for one in problems if one.code == "window.unknown"]
    assert hints[1] == "did you mean 'nightly'?"


@pytest.mark.parametrize(
    ("piece", "code", "place"),
    [
        ('{dates: "2026-07-01..2026-06-29"}', "window.reversed", '"2026-07-01..'),
        ('{dates: "next week"}', "window.dates", '"next week"'),
        ("{days: someday}", "window.days", "someday"),
        ('{from: "25:00"}', "window.time", '"25:00"'),
        ('{from: "09:00", to: "09:00"}', "window.empty", '{from: "09:00"'),
        ("{timezone: UTC}", "window.empty", "{timezone"),
        ('{form: "09:00", to: "10:00"}', "key.unknown", "form"),
        ('{to: "10:00", timezone: Mars}', "timezone.unknown", "Mars"),
    ],
)
def test_a_window_that_is_none_is_refused_at_its_place(
    tmp_path: Path, piece: str, code: str, place: str
) -> None:
    text = f"windows:\n  noon:\n    - {piece}\n{SYNC}    blackout: [noon]\n"

    problems = refused(tmp_path, text)

    (problem,) = problems
    assert problem.code == code
    assert found(problem, text)[1].startswith(place)


def test_a_window_without_a_piece_or_a_user_is_told(tmp_path: Path) -> None:
    text = f"windows: {{noon: []}}\n{SYNC}"

    problems = refused(tmp_path, text)

    assert [one.code for one in problems] == ["window.empty", "window.unused"]


def test_a_blackout_without_an_end_is_refused(tmp_path: Path) -> None:
    text = (
        "windows:\n"
        "  days: [{days: mon..fri}]\n"
        "  rest: [{days: 'sat,sun'}]\n"
        f"{SYNC}    blackout: [days, rest]\n"
    )

    (problem,) = refused(tmp_path, text)

    assert found(problem, text) == ("window.always", "[days, rest]")


def test_a_window_longer_than_fresh_within_is_warned_of_at_its_name(
    tmp_path: Path,
) -> None:
    text = (
        "windows:\n"
        '  quarter-close: [{dates: "2026-06-29..2026-07-01"}]\n'
        '  nightly: [{from: "01:30", to: "02:45"}]\n'
        f"{SYNC}    blackout: [nightly, quarter-close]\n    fresh_within: 28h\n"
    )

    (warning,) = loaded(tmp_path, text).warnings

    assert warning.severity == "warning"
    assert found(warning, text) == ("window.longer_than_fresh", "quarter-close]")
    assert warning.message == ("'quarter-close' lasts 3d but vip has fresh_within 1d4h")


def test_windows_that_are_too_long_together_are_warned_of(tmp_path: Path) -> None:
    text = (
        "defaults: {blackout: [one, two]}\n"
        "windows:\n"
        "  one: [{days: mon}]\n"
        "  two: [{days: tue}]\n"
        f"{SYNC}    fresh_within: 28h\n"
    )

    (warning,) = loaded(tmp_path, text).warnings

    assert found(warning, text) == ("window.longer_than_fresh", "[one, two]}")
    assert "together last 2d" in warning.message
