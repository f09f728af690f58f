"""`syncd reload`: the real command, beside a real daemon and without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import Installation, Running


@pytest.fixture
def vip(installation: Installation) -> Installation:
    """An installation with one sync that is due only when asked for."""
    installation.sync("vip")
    return installation


def serve(installation: Installation) -> Running:
    daemon = installation.start("serve")
    assert daemon.reached("daemon.started"), daemon.text
    return daemon


def test_a_reload_says_what_changed(vip: Installation) -> None:
    vip.sync("old")
    daemon = serve(vip)
    vip.config["syncs"].pop()
    vip.config["syncs"][0]["schedule"] = "daily at 03:00"
    vip.sync("new")

    document = vip.syncd("reload", "--json")
    again = vip.syncd("reload")

    said = json.loads(document.out)
    assert document.code == 0, document.err
    assert said["schema"] == "syncd.reload/1"
    assert (said["added"], said["removed"]) == (["new"], ["old"])
    assert (said["changed"], said["connections"]) == (["vip"], [])
    assert said["config_hash"] != said["config_hash_before"]
    assert again.code == 0, again.err
    assert f"nothing changed: the daemon goes on with {said['config_hash']}" in (
        again.out
    )
    changed, _ = daemon.events("config.loaded")[1:]
    assert (changed["added"], changed["changed"]) == (["new"], ["vip"])
    assert len(daemon.events("operator.reloaded", via="cli")) == 2
    assert daemon.stop() == 0


def test_a_changed_connection_is_named(vip: Installation) -> None:
    daemon = serve(vip)
    vip.config["connections"]["amplitude"]["owner"] = "ana@acme.example"

    reloaded = vip.syncd("reload")

    assert reloaded.code == 0, reloaded.err
    assert "  changed connections: amplitude" in reloaded.out.splitlines()
    assert daemon.stop() == 0


def test_a_mistake_in_the_files_is_named_and_the_daemon_is_not_asked(
    vip: Installation,
) -> None:
    daemon = serve(vip)
    vip.config["syncs"][0]["schedule"] = "whenever"

    refused = vip.syncd("reload")

    assert refused.code == 78
    assert "error[schedule.unknown]" in refused.err
    assert "syncd.json:1:" in refused.err
    assert not daemon.events("config.reload_failed")
    assert daemon.stop() == 0


def test_what_the_daemon_alone_finds_wrong_is_told_with_its_place(
    vip: Installation,
) -> None:
    """It has its own variables: what is right here may be wrong there."""
    vip.config["instance"] = "${SYNCD_TEAM:-growth}"
    daemon = serve(vip)
    vip.config["instance"] = "${SYNCD_TEAM}"

    refused = with_variable(vip, "SYNCD_TEAM", "growth")

    assert refused.returncode == 78
    assert "error[env.missing]" in refused.stderr
    assert "SYNCD_TEAM is not set" in refused.stderr
    assert "syncd.json:1:" in refused.stderr
    assert len(daemon.events("config.reload_failed", code="env.missing")) == 1
    assert daemon.stop() == 0


def with_variable(
    installation: Installation, name: str, value: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        installation.command("reload"),
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            name: value,
        },
        cwd=installation.folder,
    )


def test_what_needs_a_restart_is_refused_as_configuration(vip: Installation) -> None:
    daemon = serve(vip)
    vip.config["defaults"]["delivery"]["workers"] = 7

    refused = vip.syncd("reload")

    assert refused.code == 78
    assert "error[config.restart]" in refused.err
    assert "restart the daemon" in refused.err
    assert daemon.stop() == 0


def test_without_a_daemon_there_is_nothing_to_reload(vip: Installation) -> None:
    refused = vip.syncd("reload")

    assert refused.code == 69
    assert "error[daemon.missing]" in refused.err
    assert "next: syncd serve" in refused.err
    assert not vip.database.exists()


def test_on_postgres_it_says_how_each_daemon_is_told(tmp_path: Path) -> None:
    path = tmp_path / "syncd.yaml"
    path.write_text("version: 1\nstore: {url: 'postgresql://db/syncd'}\n", "utf-8")

    refused = subprocess.run(
        [sys.executable, "-m", "syncd", "reload", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
    )

    assert refused.returncode == 69
    assert "SIGHUP to each daemon and worker: kill -HUP PID" in refused.stderr
    assert "systemctl reload" not in refused.stderr
