"""What a command does not load: everything that the person waits for has a use."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.installed import Installation

ROOT = Path(__file__).parents[2]
NOT_TO_READ = {
    "alembic": "the schema is compared with a constant",
    "apscheduler": "nothing is scheduled by a command",
    "cryptography": "no library that is used needs it",
    "httpx": "nobody is asked over the network",
    "httpcore": "nobody is asked over the network",
    "jinja2": "no page is laid out",
    "mako": "comes with Alembic",
    "markdown_it": "no help page is printed",
    "psycopg": "the store is SQLite",
    "pydantic_settings": "the files are named on the command line",
    "pygments": "comes with rich, where source code is coloured",
    "rich.traceback": "a trace is printed plainly",
    "sqlalchemy.dialects.postgresql": "the store is SQLite",
    "starlette": "nothing is served",
    "structlog": "nothing is logged by who only reads",
    "uvicorn": "nothing is served",
    "zstandard": "members are text",
    "syncd.simulator": "is for tests and the demo",
    "syncd.sync": "nothing is planned",
    "syncd.delivery": "nothing is sent",
    "syncd.web": "nothing is served",
}
NOT_TO_RUN = {
    name: NOT_TO_READ[name]
    for name in (
        *("alembic", "apscheduler", "jinja2", "mako", "markdown_it", "psycopg"),
        *("pydantic_settings", "pygments", "starlette", "uvicorn"),
        "zstandard",
        *("sqlalchemy.dialects.postgresql", "syncd.simulator"),
    )
} | {
    "rich": "no table is printed",
    "syncd.app.preview": "nothing is only previewed",
    "syncd.sources.warehouse": "the list is a file",
    "syncd.sources.amplitude_download": "the list is a file",
    "syncd.clients.segment": "nothing is written to Segment",
    "syncd.clients.partner": "nothing is written to a partner",
    "syncd.sinks.list_api": "nothing is written to a partner",
}
LOADED = """
import sys
from syncd.__main__ import environ
from syncd.cli.main import run

code = run(sys.argv[1:], environ)
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def loaded(installation: Installation, verb: str) -> set[str]:
    """The modules that a command has loaded at its end."""
    command = installation.command(verb)
    ended = subprocess.run(
        [sys.executable, "-c", LOADED, *command[3:]],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=installation.folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return set(ended.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("verb", "useless"),
    [("status", NOT_TO_READ), ("run", NOT_TO_RUN)],
    ids=["status", "run"],
)
def test_a_command_loads_nothing_that_it_has_no_use_for(
    installation: Installation, verb: str, useless: dict[str, str]
) -> None:
    installation.simulator.users(["ana"])
    installation.sync()
    installation.audience(["ana"])
    assert installation.run().code == 0

    modules = loaded(installation, verb)

    assert "sqlalchemy" in modules
    assert {name: why for name, why in useless.items() if name in modules} == {}
