"""What runs is told by its version, its revision and its Python."""

from pathlib import Path

import pytest

from syncd import __version__
from syncd.app.gauges import StoreGauges
from syncd.clock import Clock
from syncd.config.overrides import PROCESS_VARIABLES
from tests.builders import World, settings_of


def told(world: World) -> dict[str, str]:
    gauges = StoreGauges(world.database, settings_of, Clock())
    (family,) = [each for each in gauges.collect() if each.name == "syncd_build_info"]
    (sample,) = family.samples
    assert sample.value == 1
    return dict(sample.labels)


@pytest.mark.parametrize("revision", ["", "4efbf67"])
def test_the_revision_of_the_image_is_told_and_empty_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch, revision: str
) -> None:
    monkeypatch.delenv("SYNCD_REVISION", raising=False)
    if revision:
        monkeypatch.setenv("SYNCD_REVISION", revision)

    labels = told(world)

    assert (labels["version"], labels["revision"]) == (__version__, revision)


def test_an_image_says_its_revision_and_no_configuration_minds() -> None:
    recipe = (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8")

    assert 'ENV SYNCD_REVISION="${REVISION}"' in recipe
    assert "SYNCD_REVISION" in PROCESS_VARIABLES
