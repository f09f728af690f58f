"""Dashboards ask for what exists and lead to the runbook."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from syncd import help as runbook

FOLDER = Path(__file__).parents[2] / "deploy/grafana"
BOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES = ["datasource", "job", "instance", "sync"]
WIDTH = 24
"""Columns of Grafana's grid."""


def panels(board: Any) -> list[Any]:
    """Those that draw something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


PANELS = [(name, panel) for name, board in BOARDS.items() for panel in panels(board)]
TITLES = [f"{name}: {panel['title']}" for name, panel in PANELS]
each_panel = pytest.mark.parametrize("panel", [each for _, each in PANELS], ids=TITLES)
each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def queries(board: Any) -> Iterator[str]:
    """All that a board asks Prometheus, annotations and all."""
    for panel in panels(board):
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["expr"] for each in board["annotations"]["list"])


def filled(query: str) -> str:
    """The query as Grafana sends it."""
    return re.sub(r"\$(job|instance|sync)\b", ".*", query.replace("$__interval", "5m"))


def keys(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from value
            for each in value.values():
                yield from keys(each)
        case list():
            for each in value:
                yield from keys(each)
        case _:
            pass


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_there_is_one_of_all_syncs_and_one_of_each() -> None:
    named = {name: board["uid"] for name, board in BOARDS.items()}

    assert named == {"overview": "syncd-overview", "sync": "syncd-sync"}


@each_board
def test_a_board_asks_only_for_what_is_exported(
    board: Any, unknown_in: Callable[[str], list[str]]
) -> None:
    complaints = {query: unknown_in(query) for query in queries(board)}

    assert len(complaints) > 10
    assert {query: said for query, said in complaints.items() if said} == {}


@each_board
def test_a_variable_lists_a_label_that_its_series_has(
    board: Any, unknown_in: Callable[[str], list[str]]
) -> None:
    asked = [
        each["query"]["query"]
        for each in board["templating"]["list"]
        if each["type"] == "query"
    ]

    listed = [re.fullmatch(r"label_values\((.+), (\w+)\)", query) for query in asked]
    assert [each[2] for each in listed if each] == ["job", "instance", "sync"]
    for each in filter(None, listed):
        assert unknown_in(f"max by ({each[2]}) ({each[1]})") == []


@each_board
def test_a_board_belongs_to_no_installation(board: Any) -> None:
    assert board["schemaVersion"] == 39
    assert "id" not in board
    assert [panel["title"] for panel in board["panels"] if "id" in panel] == []
    assert [each["name"] for each in board["templating"]["list"]] == VARIABLES
    assert "://" not in json.dumps(board)
    assert "__inputs" not in set(keys(board))


@each_board
def test_panels_do_not_cover_each_other(board: Any) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]

    assert [place for place in places if place["x"] + place["w"] > WIDTH] == []
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []


@each_board
def test_a_link_leads_to_a_board_and_to_variables_that_exist(board: Any) -> None:
    urls = re.findall(r'"url": "([^"]*)"', json.dumps(board))

    assert urls
    for url in urls:
        path, _, query = url.partition("?")
        assert path.removeprefix("/d/") in {each["uid"] for each in BOARDS.values()}
        assert set(re.findall(r"var-(\w+)=", query)) <= set(VARIABLES)


@each_panel
def test_a_panel_names_a_page_of_the_runbook(panel: Any) -> None:
    named = re.findall(r"Runbook: `syncd explain ([\w.]+)`", panel["description"])

    assert len(named) == 1
    assert len(runbook.find(named[0])) == 1


@each_panel
def test_a_panel_asks_the_chosen_source_of_the_chosen_job(panel: Any) -> None:
    assert panel["datasource"] == SOURCE
    for target in panel["targets"]:
        selectors = re.findall(r"\b(?:syncd|process)_\w+(\{[^}]*\})?", target["expr"])
        assert selectors
        for selector in selectors:
            assert 'job="$job"' in selector
            assert 'instance=~"$instance"' in selector


@each_panel
def test_a_legend_shows_only_labels_that_the_query_keeps(panel: Any) -> None:
    for target in panel["targets"]:
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        kept = set(
            re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"])))
        )

        assert shown <= (kept or {"instance"})


def test_the_table_names_each_of_its_columns() -> None:
    (table,) = [each for each in panels(BOARDS["overview"]) if each["type"] == "table"]

    organize = table["transformations"][-1]["options"]
    columns = organize["renameByName"]
    assert list(columns) == [f"Value #{each['refId']}" for each in table["targets"]]
    styled = {each["matcher"]["options"] for each in table["fieldConfig"]["overrides"]}
    assert styled <= {"sync", *columns.values()}


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs the package prometheus"
)


@pytest.mark.system
@needs_promtool
@each_board
def test_promtool_reads_every_query(board: Any, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": filled(query)}
        for number, query in enumerate(queries(board))
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))

    done = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
