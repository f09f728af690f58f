"""What config/ says in comments and beside the files is true, too."""

import re
from pathlib import Path

import pytest

from syncd.config import load
from syncd.config.loader import InvalidConfig

CONFIG = Path(__file__).parents[2] / "config"
MAIN = (CONFIG / "syncd.yaml").read_text()
TEAM = "syncs:\n  - {name: vip, from: {connection: engage-main, audience: vip},"
TEAM += " to: {connection: amplitude-main}, schedule: hourly, owner: growth}\n"


def test_the_windows_in_comments_are_windows(tmp_path: Path) -> None:
    commented = r"^# (windows:(?:.*\n#   .*)+)"
    (shown,) = re.findall(commented, MAIN, re.MULTILINE)
    (used,) = re.findall(r"^#   (blackout: .*)", MAIN, re.MULTILINE)
    text = re.sub(commented, re.sub("^# ", "", shown, flags=re.M), MAIN, flags=re.M)
    text = text.replace("\ndefaults:", f"\ndefaults:\n  {used}\n  #", 1)
    (tmp_path / "syncd.yaml").write_text(text)

    (sync, *_) = load([tmp_path / "syncd.yaml"], {}).settings.syncs

    assert len(sync.blackout) == 2


def include(folder: Path, *files: str) -> Path:
    """The main file with its include switched on, and teams' files beside it."""
    (folder / "conf.d").mkdir()
    main = folder / "syncd.yaml"
    main.write_text(re.sub(r"^# (include: \S+)", r"\1", MAIN, flags=re.MULTILINE))
    for number, text in enumerate(files):
        (folder / f"conf.d/{number}.yaml").write_text(text)
    (folder / "conf.d/README.md").write_text((CONFIG / "conf.d/README.md").read_text())
    return main


def test_the_include_in_comments_reads_the_files_of_teams(tmp_path: Path) -> None:
    main = include(tmp_path, TEAM)

    loaded = load([main], {})

    assert "vip" in {sync.name for sync in loaded.settings.syncs}
    assert [Path(file).name for file in loaded.files] == ["syncd.yaml", "0.yaml"]


def test_a_name_twice_names_both_places(tmp_path: Path) -> None:
    main = include(tmp_path, TEAM, TEAM)

    with pytest.raises(InvalidConfig) as caught:
        load([main], {})

    said = str(caught.value.problems)
    assert "0.yaml" in said
    assert "1.yaml" in said
