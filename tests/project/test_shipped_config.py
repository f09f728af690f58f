"""Every config file in the repository is valid, alone or through its include."""

from pathlib import Path

import pytest

from syncd.config import load

CONFIG = Path(__file__).parents[2] / "config"
ROOTS = [
    CONFIG / "syncd.yaml",
    CONFIG / "examples" / "cohort-to-trait.yaml",
    CONFIG / "examples" / "events.yaml",
    CONFIG / "examples" / "minimal.yaml",
    CONFIG / "examples" / "notifications.yaml",
    CONFIG / "examples" / "partners.yaml",
    CONFIG / "examples" / "postgres.yaml",
    CONFIG / "examples" / "warehouse.yaml",
    CONFIG / "examples" / "teams" / "syncd.yaml",
]


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: str(root.relative_to(CONFIG)))
def test_a_shipped_config_loads_without_a_warning(root: Path) -> None:
    loaded = load([root], {})

    assert loaded.settings.syncs
    assert loaded.warnings == ()


def test_no_shipped_config_is_left_out() -> None:
    read = {Path(file) for root in ROOTS for file in load([root], {}).files}

    assert read == set(CONFIG.rglob("*.y*ml"))


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: str(root.relative_to(CONFIG)))
def test_a_shipped_config_means_the_same_to_yaml_1_1_tools(root: Path) -> None:
    """No bare yes, no, on, off: editors and linters still read them as switches."""
    for file in load([root], {}).files:
        words = Path(file).read_text().replace(":", " ").replace(",", " ").split()
        bare = {"on", "off", "yes", "no", "y", "n"} & set(words)
        comments = {
            word
            for line in Path(file).read_text().splitlines()
            for word in line.partition("#")[2].split()
        }
        assert bare <= comments
