"""Alert rules ask for what exists, lead to a page and a command, and behave.

How they behave is written in deploy/prometheus/tests.yaml, for promtool.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from syncd import help as runbook
from syncd.cli.main import VERBS
from syncd.config.resolve_inbound import ADMIN
from syncd.sync.guard import Guard

FOLDER = Path(__file__).parents[2] / "deploy/prometheus"
README = (FOLDER.parent / "README.md").read_text()


def read(name: str) -> Any:
    return YAML(typ="safe").load(FOLDER / name)


RULES = [rule for group in read("alerts.yaml")["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PAGES = {
    "SyncdSyncStale",
    "SyncdDown",
    "SyncdStoreDown",
    "SyncdSchedulerStalled",
}
"""Alerts that wake somebody: nothing is kept equal, or an objective is missed."""

alerts = pytest.mark.parametrize("name", ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.get("alert", r.get("record")))
def test_a_rule_asks_only_for_what_is_exported(
    rule: Any, unknown_in: Callable[[str], list[str]]
) -> None:
    assert unknown_in(rule["expr"]) == []
    assert set(re.findall(r"\bsyncd:\w+:\w+", rule["expr"])) <= RECORDED


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("syncd_gone > 0", "no series syncd_gone"),
        ("syncd_runs > 0", "no series syncd_runs"),
        ('syncd_runs_total{team="a"} > 0', "syncd_runs_total has no label team"),
        ("max by (job, team) (syncd_sync_held)", "nothing has the label team"),
        ('syncd_events_total{event="run.lost"}', "no event run.lost"),
    ],
)
def test_a_query_for_what_is_not_exported_is_found(
    query: str, complaint: str, unknown_in: Callable[[str], list[str]]
) -> None:
    assert unknown_in(query) == [complaint]


def test_few_alerts_wake_somebody() -> None:
    severities = {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}

    assert set(severities.values()) == {"page", "ticket"}
    assert {name for name, word in severities.items() if word == "page"} == PAGES


@alerts
def test_an_alert_leads_to_a_page_of_the_runbook(name: str) -> None:
    said = ALERTS[name]["annotations"]["runbook"]

    code = said.removeprefix("syncd explain ").replace("guard.{{ $labels.guard }}", "")
    codes = [code] if code else [guard.value for guard in Guard]
    assert said.startswith("syncd explain ")
    assert [each for each in codes if len(runbook.find(each)) != 1] == []


@alerts
def test_an_alert_links_to_the_same_page_where_people_reach_it(name: str) -> None:
    annotations = ALERTS[name]["annotations"]

    code = annotations["runbook"].removeprefix("syncd explain ")
    page = "{{ $externalLabels.syncd_url }}/help/"
    assert annotations["runbook_url"] == f"{page}{code}"
    assert "syncd_url" in read("scrape.example.yaml")["global"]["external_labels"]


@alerts
def test_an_alert_says_what_is_wrong_and_the_first_command(name: str) -> None:
    annotations = ALERTS[name]["annotations"]

    assert set(annotations) == {"summary", "description", "runbook", "runbook_url"}
    command = re.search(r"Begin .*: syncd (\w+)", annotations["description"])
    assert command is not None
    assert command[1] in VERBS


@alerts
def test_an_alert_names_only_labels_that_it_has(name: str) -> None:
    rule = ALERTS[name]
    texts = " ".join(rule["annotations"].values())

    grouped = re.search(r"\b(?:sum|max) by \(([^)]*)\)", rule["expr"])
    has = set(grouped[1].split(", ")) if grouped else {"job", "sync"}
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= has


@alerts
def test_an_alert_is_shown_to_fire(name: str) -> None:
    fired = [
        sample["labels"]
        for case in read("tests.yaml")["tests"]
        for ask in case.get("promql_expr_test", ())
        for sample in ask["exp_samples"]
    ]

    assert any(f'alertname="{name}"' in labels for labels in fired)


def test_the_example_scrapes_where_the_daemon_answers() -> None:
    example = read("scrape.example.yaml")

    (job,) = example["scrape_configs"]
    assert job["job_name"] == "syncd"
    assert job["static_configs"][0]["targets"] == [f"{ADMIN.host}:{ADMIN.port}"]
    assert [(FOLDER / name).is_file() for name in example["rule_files"]] == [True]


def test_the_alerts_are_listed_for_people() -> None:
    assert [name for name in ALERTS if f"`{name}`" not in README] == []


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs the package prometheus"
)


@pytest.mark.system
@needs_promtool
@pytest.mark.parametrize(
    "command",
    [
        "check rules alerts.yaml",
        "check config --syntax-only scrape.example.yaml",
        "test rules tests.yaml",
    ],
)
def test_promtool_agrees(command: str) -> None:
    done = subprocess.run(
        ["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
