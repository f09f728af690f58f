"""The configuration that containers mount starts a daemon, and its doors are right."""

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from tests.installed import Running
from tests.simulated import PATIENCE

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose"
NOBODY = "http://127.0.0.1:9"
"""Where no vendor is: nothing may leave the machine."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """As in the container, with made-up secrets and free ports."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in (path.name for path in (COMPOSE / "secrets.example").iterdir()):
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(f"made-up-{name}-0123456789abcdef\n")
    (secrets / "warehouse_url").write_text(f"sqlite:///{tmp_path / 'warehouse.db'}\n")
    return {
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


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a command line of syncd as a container does."""
    with ExitStack() as stack:

        def started(*command: str, **variables: str) -> Running:
            process = subprocess.Popen(
                [sys.executable, "-m", "syncd", *command],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environ | variables,
                cwd=tmp_path,
            )
            running = Running(process)
            stack.callback(running.kill)
            return running

        yield started


def basic(user: str, password: str) -> dict[str, str]:
    proof = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {proof}"}


def test_probes_are_free_metrics_and_page_are_not_and_doors_ask_for_proof(
    start: Callable[..., Running],
) -> None:
    daemon = start("serve")
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


def test_a_worker_of_the_compose_file_is_alive_for_the_probe_of_the_image(
    start: Callable[..., Running], environ: dict[str, str], postgres_database: str
) -> None:
    file = YAML(typ="safe", pure=True).load(COMPOSE / "compose.workers.yaml")
    body = file["services"]["worker"]
    (place,) = [word for word in body["command"] if word.endswith(":8081")]
    command = [word.replace(place, "0.0.0.0:0") for word in body["command"]]
    config = str(COMPOSE / "config.postgres/syncd.yaml")
    variables = body["environment"] | {
        "SYNCD_CONFIG": config,
        "SYNCD_STORE__URL": postgres_database,
        "SYNCD_STORE__SPOOL_DIR": environ["SYNCD_SECRETS_DIR"],
    }

    worker = start(*command, **variables)
    at = worker.url("admin").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    token = {"Authorization": "Bearer made-up-metrics_token-0123456789abcdef"}
    # In its container that is the port which web.admin names.
    where = {"SYNCD_WEB__ADMIN__LISTEN": at.removeprefix("http://")}
    probe = start(*body["healthcheck"]["test"][2:], **variables, **where)
    answers = [
        httpx.get(f"{at}/-/ready"),
        httpx.get(f"{at}/metrics"),
        httpx.get(f"{at}/metrics", headers=token),
    ]

    assert [each.status_code for each in answers] == [200, 401, 200]
    assert probe.process.wait(PATIENCE) == 0, probe.text
    assert worker.stop() == 0
