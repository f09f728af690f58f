"""A corpus of broken files: each with the exact `file:line:col code` it must give."""

import sys
from pathlib import Path

import pytest

from syncd.config import InvalidConfig, load

MAIN = """\
version: 1
connections:
  engage-main:
    type: engage
    snapshot: {type: warehouse, url_file: warehouse_url}
  amplitude-main:
    type: amplitude
    region: eu
    app_id: 187520
    api_key_file: api_key
    secret_key_file: secret_key
    owner: ana@acme.example
"""
SYNC = """\
syncs:
  - name: vip
    from: {connection: engage-main, audience: vip}
    to: {connection: amplitude-main}
    schedule: hourly
"""


def found(folder: Path, text: str, **environ: str) -> list[str]:
    """`line:col code` of each error of one file, in the order in which they come."""
    file = folder / "syncd.yaml"
    file.write_text(text)
    with pytest.raises(InvalidConfig) as caught:
        load([file], environ)
    return [
        f"{problem.line}:{problem.column} {problem.code}"
        for problem in caught.value.problems
        if problem.severity == "error"
    ]


CORPUS = {
    "tab indentation": ("version: 1\n\tlog: {}\n", ["2:1 yaml.syntax"]),
    "a list that never ends": ("version: 1\ninclude: [a\n", ["3:1 yaml.syntax"]),
    "a colon in plain text": ("version: 1: 2\n", ["1:11 yaml.syntax"]),
    "not a map": ("- version: 1\n", ["1:1 yaml.not_a_map"]),
    "a control character": ("version: 1\ninstance: a\x07b\n", ["2:12 yaml.character"]),
    "two documents": ("version: 1\n---\nversion: 1\n", ["2:1 yaml.documents"]),
    "a tag": (
        f"{MAIN}instance: !!python/name:os.system x\n{SYNC}",
        ["13:11 yaml.tag"],
    ),
    "a merge key": (
        f"{MAIN}defaults: {{<<: {{jitter: 5m}}}}\n",
        ["13:12 yaml.merge_key"],
    ),
    "an alias without an anchor": (f"{MAIN}instance: *nobody\n", ["13:11 yaml.alias"]),
    "a list as a key": (f"{MAIN}[a]: 1\n", ["13:1 key.type"]),
    "a duplicate key": (f"{MAIN}version: 1\n", ["13:1 key.duplicate"]),
    "a duplicate key in a flow map": (
        f"{MAIN}log: {{level: info, level: debug}}\n",
        ["13:20 key.duplicate"],
    ),
    "an empty file": ("", ["1:1 key.missing"]),
    "another version": ("version: 2\n", ["1:10 value.range"]),
    "a version in quotes": ('version: "1"\n', ["1:10 value.type"]),
    "an unknown key at the top": (f"{MAIN}defalts: {{}}\n", ["13:1 key.unknown"]),
    "an unknown key in the store": (
        f"{MAIN}store: {{migrat: auto}}\n",
        ["13:9 key.unknown"],
    ),
    "a list where a map is due": (f"{MAIN}log: [info]\n", ["13:6 value.type"]),
    "text where a list is due": (f"{MAIN}syncs: vip\n", ["13:8 value.type"]),
    "an include that is text": (f"{MAIN}include: x.yaml\n", ["13:10 value.type"]),
    "an include of nothing": (f"{MAIN}include: [no.yaml]\n", ["13:11 file.missing"]),
    "a level nobody has": (f"{MAIN}log: {{level: inf}}\n", ["13:14 value.choice"]),
    "a bare number for a duration": (
        f"{MAIN}defaults: {{max_runtime: 45}}\n",
        ["13:25 duration.no_unit"],
    ),
    "a duration in words": (
        f"{MAIN}defaults: {{jitter: five minutes}}\n",
        ["13:20 duration.invalid"],
    ),
    "a unit twice": (f"{MAIN}shutdown_grace: 1s1s\n", ["13:17 duration.invalid"]),
    "a share without percent": (
        f"{MAIN}defaults: {{guard: {{max_exit: 0.2}}}}\n",
        ["13:30 share.no_percent"],
    ),
    "a share that is text": (
        f"{MAIN}defaults: {{guard: {{max_enter: lots}}}}\n",
        ["13:31 share.invalid"],
    ),
    "too many workers": (
        f"{MAIN}defaults: {{delivery: {{workers: 65}}}}\n",
        ["13:32 value.range"],
    ),
    "a batch over the limit": (
        f"{MAIN}defaults: {{delivery: {{batch_size: 100001}}}}\n",
        ["13:35 value.range"],
    ),
    "true for a number": (
        f"{MAIN}defaults: {{delivery: {{retries: true}}}}\n",
        ["13:32 value.type"],
    ),
    "a zone nobody lives in": (
        f"{MAIN}defaults: {{timezone: Europe/Berlinn}}\n",
        ["13:22 timezone.unknown"],
    ),
    "a password in the store's URL": (
        f"{MAIN}store: {{url: 'postgresql://u:hunter22@db/syncd'}}\n",
        ["13:14 secret.inline"],
    ),
    "a store URL that is none": (
        f"{MAIN}store: {{url: syncd.db}}\n",
        ["13:14 url.invalid"],
    ),
    "two URLs of the store": (
        f"{MAIN}store: {{url: 'sqlite:///x.db', url_file: x}}\n",
        ["13:1 key.exclusive"],
    ),
    "a variable of somebody else": (
        f"{MAIN}instance: ${{HOME}}\n",
        ["13:11 env.syntax"],
    ),
    "a variable that is not set": (
        f"{MAIN}instance: ${{SYNCD_NOBODY}}\n",
        ["13:11 env.missing"],
    ),
    "a connection without a type": (
        f"{MAIN}  third: {{region: eu}}\n",
        ["13:3 key.missing"],
    ),
    "a connection of an unknown type": (
        f"{MAIN}  third: {{type: amplitud}}\n",
        ["13:17 value.choice"],
    ),
    "a connection with an impossible name": (
        f"{MAIN}  Third_One: {{type: engage, snapshot: {{type: files, path: x}}}}\n",
        ["13:3 name.invalid"],
    ),
    "a snapshot of an unknown type": (
        f"{MAIN}  third: {{type: engage, snapshot: {{type: ftp}}}}\n",
        ["13:42 value.choice"],
    ),
    "an unknown key in a snapshot": (
        f"{MAIN}  b: {{type: engage, snapshot: {{type: files, path: x, colum: y}}}}\n",
        ["13:54 key.unknown"],
    ),
    "a connection without a region": (
        MAIN.replace("    region: eu\n", ""),
        ["6:3 key.missing"],
    ),
    "no secret key and no region": (
        MAIN.replace("    region: eu\n    app_id: 187520\n", "    app_id: x\n").replace(
            "    secret_key_file: secret_key\n", ""
        ),
        ["6:3 key.missing", "6:3 key.missing", "8:13 value.type"],
    ),
    "a warehouse without a URL": (
        MAIN.replace(", url_file: warehouse_url", ""),
        ["5:5 key.missing"],
    ),
    "a secret in the file": (
        MAIN.replace("api_key_file: api_key", "api_key: 0123456789abcdef"),
        ["10:5 secret.inline"],
    ),
    "plain http to the network": (
        f"{MAIN}    base_url: http://amplitude.example\n",
        ["13:15 url.insecure"],
    ),
    "plain http that only looks like this machine": (
        f"{MAIN}    base_url: http://127.0.0.1.example\n",
        ["13:15 url.insecure"],
    ),
    "a login in a base URL": (
        f"{MAIN}    base_url: https://a:b@amplitude.example\n",
        ["13:15 url.invalid"],
    ),
    "a sync without a source": (
        MAIN + "".join(line for line in SYNC.splitlines(True) if "from" not in line),
        ["14:5 key.missing"],
    ),
    "a sync with a bad name": (
        MAIN + SYNC.replace("name: vip", "name: VIP people"),
        ["14:11 name.invalid"],
    ),
    "two syncs of one name": (
        f"{MAIN}{SYNC}{SYNC.removeprefix('syncs:')}".replace("\n\n", "\n"),
        ["18:11 sync.duplicate"],
    ),
    "an unknown connection": (
        MAIN + SYNC.replace("engage-main", "engaje-main"),
        ["15:24 connection.unknown"],
    ),
    "a source that is no source": (
        MAIN + SYNC.replace("engage-main", "amplitude-main"),
        ["15:24 connection.pair"],
    ),
    "a group cohort": (
        MAIN + SYNC.replace("main}", "main, count_group: org}"),
        ["16:38 key.unknown"],
    ),
    "a cohort by name and by id": (
        MAIN + SYNC.replace("main}", "main, cohort: a, cohort_id: b}"),
        ["16:5 key.exclusive"],
    ),
    "a cohort to create without an owner": (
        MAIN.replace("    owner: ana@acme.example\n", "") + SYNC,
        ["15:5 key.missing"],
    ),
    "a cohort id that YAML reads as a number": (
        MAIN + SYNC.replace("main}", "main, cohort_id: 12e5}"),
        ["16:49 value.type"],
    ),
    "a typing mistake in a sync": (
        f"{MAIN}{SYNC}    schedul: hourly\n",
        ["18:5 key.unknown"],
    ),
    "a match nobody has": (
        f"{MAIN}{SYNC}    match: email\n",
        ["18:12 value.choice"],
    ),
    "workers of one sync": (
        f"{MAIN}{SYNC}    delivery: {{workers: 4}}\n",
        ["18:16 key.unknown"],
    ),
    "interval and clock time": (
        MAIN + SYNC.replace("hourly", "every 1h at 03:00"),
        ["17:15 schedule.mixed"],
    ),
    "an interval without a unit": (
        MAIN + SYNC.replace("hourly", "every 90"),
        ["17:15 duration.no_unit"],
    ),
    "an interval that is too short": (
        MAIN + SYNC.replace("hourly", "every 4m"),
        ["17:15 schedule.too_short"],
    ),
    "a cron that is too often": (
        MAIN + SYNC.replace("hourly", '{cron: "*/2 * * * *"}'),
        ["17:15 schedule.too_short"],
    ),
    "a cron with seconds": (
        MAIN + SYNC.replace("hourly", '{cron: "0 0 3 * * *"}'),
        ["17:15 schedule.cron"],
    ),
    "an unknown key beside cron": (
        MAIN + SYNC.replace("hourly", '{cron: "0 3 * * *", zone: UTC}'),
        ["17:35 key.unknown"],
    ),
    "a schedule that is none": (
        MAIN + SYNC.replace("hourly", "sometimes"),
        ["17:15 schedule.unknown"],
    ),
    "days without a time": (
        MAIN + SYNC.replace("hourly", "weekdays"),
        ["17:15 schedule.no_time"],
    ),
    "a time of day that is none": (
        MAIN + SYNC.replace("hourly", "daily at 24:00"),
        ["17:15 schedule.time"],
    ),
    "a zone of a schedule that is none": (
        MAIN + SYNC.replace("hourly", "daily at 03:00 Mars/Base"),
        ["17:15 timezone.unknown"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), CORPUS.values(), ids=list(CORPUS))
def test_a_broken_file_is_refused_at_the_place_of_the_mistake(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert found(tmp_path, text) == expected


def test_the_corpus_files_are_right_apart_from_their_mistake(tmp_path: Path) -> None:
    (tmp_path / "syncd.yaml").write_text(MAIN + SYNC)

    loaded = load([tmp_path / "syncd.yaml"], {})

    assert [sync.name for sync in loaded.settings.syncs] == ["vip"]
    assert loaded.warnings == ()


def test_every_problem_of_all_files_comes_at_once_sorted_by_place(
    tmp_path: Path,
) -> None:
    (tmp_path / "b.yaml").write_text(
        "syncs:\n"
        "  - name: vip-trials\n"
        "    owner: growth\n"
        "    from: {connection: engaje-main, audience: vip_trials}\n"
        "    to: {connection: amplitude-main, cohort: VIP trials}\n"
        "    schedule: every 1h at 03:00\n"
        "    fresh_within: 90\n"
        "    schedul: hourly\n"
    )
    main = tmp_path / "a.yaml"
    main.write_text(f"{MAIN}include: [b.yaml]\nlog: {{level: loud}}\n")

    with pytest.raises(InvalidConfig) as caught:
        load([main], {})

    assert [
        (Path(problem.file).name, problem.line, problem.column, problem.code)
        for problem in caught.value.problems
        if problem.severity == "error"
    ] == [
        ("a.yaml", 14, 14, "value.choice"),
        ("b.yaml", 4, 24, "connection.unknown"),
        ("b.yaml", 6, 15, "schedule.mixed"),
        ("b.yaml", 7, 19, "duration.no_unit"),
        ("b.yaml", 8, 5, "key.unknown"),
    ]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            MAIN + SYNC.replace("engage-main", "engaje-main"),
            "no connection 'engaje-main'",
            "did you mean 'engage-main'?",
        ),
        (
            MAIN + SYNC.replace("hourly", "every 1h at 03:00"),
            "'every 1h at 03:00' mixes interval and clock time",
            "'every 1h', 'every 1h at :00' or 'daily at 03:00'",
        ),
        (
            f"{MAIN}{SYNC}    fresh_within: 90\n",
            "90 has no unit",
            "did you mean '90m'?",
        ),
        (f"{MAIN}shutdown_grace: 8\n", "8 has no unit", "did you mean '8s'?"),
        (
            f"{MAIN}store: {{keep_runs: 400}}\n",
            "400 has no unit",
            "did you mean '400d'?",
        ),
        (
            f"{MAIN}store: {{codec: gzip}}\n",
            "'codec' must be text or zstd",
            "",
        ),
        (
            f"{MAIN}{SYNC}    schedul: hourly\n",
            "unknown key 'schedul'",
            "did you mean 'schedule'?",
        ),
        (
            MAIN.replace("region: eu", "region: europe"),
            "'region' must be us or eu",
            "",
        ),
        (
            MAIN + SYNC.replace("main}", "main, cohort_id: 12e5}"),
            "'cohort_id' needs text",
            'quote it: "12e5"',
        ),
    ],
)
def test_a_problem_names_the_fix(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    (tmp_path / "syncd.yaml").write_text(text)

    with pytest.raises(InvalidConfig) as caught:
        load([tmp_path / "syncd.yaml"], {})

    errors = [one for one in caught.value.problems if one.severity == "error"]
    assert [(error.message, error.hint) for error in errors] == [(message, hint)]


@pytest.mark.parametrize(
    ("text", "environ", "place"),
    [
        (f"{MAIN}store:\n  codec: zstd\n", {}, "14:10"),
        (MAIN, {"SYNCD_STORE__CODEC": "zstd"}, "1:1"),
    ],
    ids=["file", "variable"],
)
def test_a_codec_whose_library_is_missing_is_refused_where_it_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environ: dict[str, str],
    place: str,
) -> None:
    (tmp_path / "syncd.yaml").write_text(text + SYNC)
    there = load([tmp_path / "syncd.yaml"], environ)
    monkeypatch.setitem(sys.modules, "zstandard", None)  # as where it is not installed

    codes = found(tmp_path, text + SYNC, **environ)

    assert there.settings.store.codec == "zstd"
    assert codes == [f"{place} codec.not_installed"]


def test_two_syncs_never_write_one_cohort(tmp_path: Path) -> None:
    second = (
        "  - name: other\n"
        "    from: {connection: engage-main, audience: other}\n"
        '    to: {connection: amplitude-main, cohort: "[Segment] vip"}\n'
        "    schedule: hourly\n"
    )

    assert found(tmp_path, MAIN + SYNC + second) == ["20:9 target.shared"]


def test_a_hundred_thousand_aliases_are_refused_before_they_fill_the_memory(
    tmp_path: Path,
) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")

    codes = found(tmp_path, "\n".join(lines))

    assert [code.split()[1] for code in codes] == ["yaml.too_large"]


def test_a_thousand_levels_are_refused(tmp_path: Path) -> None:
    assert found(tmp_path, "a: " + "[" * 1000) == ["1:44 yaml.too_deep"]
