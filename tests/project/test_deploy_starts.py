"""The configuration that containers mount starts a daemon, and its doors are right."""

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.installed import Running

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose"
NOBODY = "http://127.0.0.1:9"
"""Where no vendor is: nothing may leave the machine."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Running]:
    """`syncd serve` as in the container, with made-up secrets and free ports."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in (path.name for path in (COMPOSE / "secrets.example").iterdir()):
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(f"made-up-{name}-0123456789abcdef\n")
    (secrets / "warehouse_url").write_text(f"sqlite:///{tmp_path / 'warehouse.db'}\n")
    environ = {
        "SYNCD_SECRETS_DIR": str(secrets),
        "SYNCD_STORE__URL": f"sqlite:///{tmp_path / 'syncd.db'}",
        "SYNCD_WEB__INBOUND__LISTEN": "127.0.0.1:0",
        "SYNCD_WEB__ADMIN__LISTEN": "127.0.0.1:0",
        "SYNCD_CONNECTIONS__AMPLITUDE__BASE_URL": NOBODY,
        "SYNCD_CONNECTIONS__ENGAGE__BASE_URL": NOBODY,
        "SYNCD_CONFIG": str(COMPOSE / "config/syncd.yaml"),
        "PYTHONPATH": str(ROOT),
        "PATH": os.defpath,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "syncd", "serve"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environ,
        cwd=tmp_path,
    )
    with ExitStack() as stack:
        running = Running(process)
        stack.callback(running.kill)
        yield running


def basic(user: str, password: str) -> dict[str, str]:
    proof = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {proof}"}


def test_probes_are_free_metrics_and_page_are_not_and_doors_ask_for_proof(
    daemon: Running,
) -> None:
    admin, inbound = daemon.url("admin"), daemon.url("inbound")
    token = {"Authorization": "Bearer made-up-metrics_token-0123456789abcdef"}
    oncall = basic("oncall", "made-up-page_password-0123456789abcdef")

    answers = {
        "probe": httpx.get(f"{admin}/-/healthy"),
        "metrics of a stranger": httpx.get(f"{admin}/metrics"),
        "metrics": httpx.get(f"{admin}/metrics", headers=token),
        "page of a stranger": httpx.get(f"{admin}/"),
        "page": httpx.get(f"{admin}/", headers=oncall),
        "push of a stranger": httpx.post(f"{inbound}/in/engage", json={}),
        "page on the senders' port": httpx.get(f"{inbound}/", headers=oncall),
    }
    code = daemon.stop()

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "probe": 200,
        "metrics of a stranger": 401,
        "metrics": 200,
        "page of a stranger": 401,
        "page": 200,
        "push of a stranger": 401,
        "page on the senders' port": 404,
    }
    assert "power-users" in answers["page"].text
    assert code == 0
