"""The schema that editors use says what syncd says, and is the one in the package."""

import json
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from syncd.config.json_schema import document, text
from syncd.config.reader import plain, read
from syncd.config.schema import Document

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
SHIPPED = [*sorted(CONFIG.rglob("*.y*ml")), ROOT / "syncd/cli/starter.yaml"]
MODELINE = "# yaml-language-server: $schema=./syncd.schema.json"


VALIDATE = fastjsonschema.compile(document())


def accepts(value: Any) -> bool:
    try:
        VALIDATE(value)
    except fastjsonschema.JsonSchemaValueException:
        return False
    return True


def read_file(path: Path) -> dict[str, Any]:
    tree = read(path.read_text(encoding="utf-8"), str(path), [])
    assert tree is not None
    found: dict[str, Any] = plain(tree)
    return found


def example(**changes: Any) -> dict[str, Any]:
    """The main example with other keys at the top."""
    return read_file(CONFIG / "syncd.yaml") | changes


def with_sync(**changes: Any) -> dict[str, Any]:
    first = example()["syncs"][0]
    return example(syncs=[first | changes])


def test_the_committed_schema_is_what_the_code_says() -> None:
    """After a change: `syncd schema > config/syncd.schema.json`."""
    assert (CONFIG / "syncd.schema.json").read_text(encoding="utf-8") == text()


def test_it_is_a_draft_07_schema() -> None:
    found = document()

    assert found["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert not {"$defs", "prefixItems"} & set(json.dumps(found).split('"'))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_file_fits_the_schema(path: Path) -> None:
    assert accepts(read_file(path))


def test_the_main_example_names_the_schema_for_editors() -> None:
    assert (CONFIG / "syncd.yaml").read_text().splitlines()[0] == MODELINE


def test_it_knows_every_key_at_the_top() -> None:
    keys = {field.alias or name for name, field in Document.model_fields.items()}

    assert set(document()["properties"]) == keys | {"include"}


GOOD = {
    "a variable for a number": example(
        defaults={"delivery": {"workers": "${SYNCD_WORKERS:-4}"}}
    ),
    "a variable for a duration": with_sync(fresh_within="${SYNCD_FRESH}"),
    "a cron schedule": with_sync(schedule={"cron": "5 4 * * *", "timezone": "UTC"}),
    "a schedule in words": with_sync(schedule="mon..fri at 07:15"),
    "a budget": with_sync(budget="60/month"),
    "a size with a unit": example(
        connections={
            "e": {
                "type": "engage",
                "inbox": {"secret_file": "x", "max_body": "512KiB"},
            }
        }
    ),
}


@pytest.mark.parametrize("value", GOOD.values(), ids=GOOD)
def test_what_the_files_may_say_is_accepted(value: dict[str, Any]) -> None:
    assert accepts(value)


BAD = {
    "an unknown key": example(stor={}),
    "an unknown key of a sync": with_sync(schedul="hourly"),
    "a duration without a unit": with_sync(fresh_within=90),
    "a share without percent": with_sync(guard={"max_exit": 0.2}),
    "a word nobody knows": example(log={"level": "inf"}),
    "a number out of range": example(defaults={"delivery": {"workers": 65}}),
    "a secret in the file": example(
        connections={"a": {"type": "amplitude", "region": "eu", "api_key": "k"}}
    ),
    "a connection of no known type": example(connections={"a": {"type": "ftp"}}),
    "a sync without a schedule": example(
        syncs=[{"name": "x", "from": {"connection": "a"}, "to": {"connection": "b"}}]
    ),
}


@pytest.mark.parametrize("value", BAD.values(), ids=BAD)
def test_what_check_would_refuse_is_refused_in_the_editor(
    value: dict[str, Any],
) -> None:
    assert not accepts(value)
