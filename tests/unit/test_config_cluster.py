"""`cluster:` as the files say it, and where it cannot work."""

import sys
from pathlib import Path

import pytest

from syncd.config import InvalidConfig, Loaded, load

POSTGRES = "store: {url: postgresql://db/syncd}\n"
SQLITE = "store: {url: sqlite:///data/syncd.db}\n"
NEEDS = "3:10 cluster.needs_postgres 'procrastinate' needs a store on Postgres"


def load_text(folder: Path, store: str, cluster: str, **environ: str) -> Loaded:
    """`store:` stands in line 2, `cluster:` below."""
    (folder / "syncd.yaml").write_text(
        f"version: 1\n{store}{cluster}\nconnections:\n"
        "  engage: {type: engage, snapshot: {type: files, path: x.csv}}\n"
        "  amplitude: {type: amplitude, region: eu, app_id: 1, api_key_file: a,"
        " secret_key_file: b, owner: ana@acme.example}\n"
        "syncs:\n  - name: one\n    from: {connection: engage, audience: vip}\n"
        "    to: {connection: amplitude}\n    schedule: hourly\n"
    )
    return load([folder / "syncd.yaml"], environ)


def found(folder: Path, store: str, cluster: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        load_text(folder, store, cluster, **environ)
    return [
        f"{one.line}:{one.column} {one.code} {one.message}"
        for one in caught.value.problems
        if one.severity == "error"
    ]


@pytest.mark.parametrize("store", [POSTGRES, "store: {url_file: db_url}\n"])
def test_workers_are_had_where_the_store_is_or_may_be_a_postgres(
    tmp_path: Path, store: str
) -> None:
    (tmp_path / "db_url").write_text("postgresql://db/syncd")

    loaded = load_text(tmp_path, store, "cluster: procrastinate")

    assert loaded.settings.cluster == "procrastinate"


@pytest.mark.parametrize("store", [POSTGRES, SQLITE])
def test_without_a_word_the_daemon_runs_everything(tmp_path: Path, store: str) -> None:
    assert load_text(tmp_path, store, "").settings.cluster == "embedded"


def test_workers_cannot_share_a_sqlite_file(tmp_path: Path) -> None:
    assert found(tmp_path, SQLITE, "cluster: procrastinate") == [NEEDS]
    (without_a_store,) = found(tmp_path, "", "cluster: procrastinate")
    assert without_a_store == NEEDS.replace("3:10", "2:10")
    url = "store: {url: '${SYNCD_DB}'}\n"
    cluster = "cluster: procrastinate"
    filled = found(tmp_path, url, cluster, SYNCD_DB="sqlite:///data/syncd.db")
    assert filled == [NEEDS]


def test_a_missing_library_is_told_by_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python's own sign for: not to be found.
    monkeypatch.setitem(sys.modules, "procrastinate", None)

    (only,) = found(tmp_path, POSTGRES, "cluster: procrastinate")

    assert only.startswith("3:10 cluster.not_installed")


def test_another_engine_is_none_of_those(tmp_path: Path) -> None:
    (only,) = found(tmp_path, POSTGRES, "cluster: celery")

    assert only.startswith("3:10 value.choice")
