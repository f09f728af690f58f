"""Each check of style is alive: a violation seeded on purpose fails it.

The checks themselves run in CI; this shows that the settings in pyproject.toml reach
them, since a check that is switched off by accident passes for ever.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "pyproject.toml"

BRANCHES = "def decide(x: int) -> int:\n" + "".join(
    f"    if x == {n}:\n        return {n + 1}\n" for n in range(9)
)
STATEMENTS = "def tell() -> None:\n" + "".join(f"    x{n} = {n}\n" for n in range(31))
RUFF = {
    "complexity": ("C901", BRANCHES + "    return 0\n"),
    "branches": ("PLR0912", BRANCHES + "    return 0\n"),
    "statements": ("PLR0915", STATEMENTS),
    "patch": ("TID251", "from unittest.mock import patch\n"),
    "sleep": ("TID251", "import time\n\ntime.sleep(1)\n"),
    "environ": ("TID251", "import os\n\nprint(os.environ['HOME'])\n"),
    "relative import": ("TID252", "from . import model\n"),
    "blind except": ("BLE001", "try:\n    x = 1\nexcept Exception:\n    x = 2\n"),
    "naive time": ("DTZ005", "import datetime\n\nx = datetime.datetime.now()\n"),
    "print": ("T201", "print('x')\n"),
    "sql from text": (
        "S608",
        "def q(t: str) -> str:\n    return f'select {t} from x'\n",
    ),
    "pickle": ("S301", "import pickle\n\npickle.loads(b'')\n"),
    "yaml": ("S506", "import yaml\n\nyaml.load('')\n"),
    "shell": ("S602", "import subprocess\n\nsubprocess.run('x', shell=True)\n"),
    "private": ("SLF001", "import syncd\n\nsyncd._secret()\n"),
    "log text": ("G004", "import logging\n\nx = 1\nlogging.warning(f'{x}')\n"),
}

MYPY = """\
from enum import Enum
from typing import Protocol


class Colour(Enum):
    RED = 1
    BLUE = 2


class Speaker(Protocol):
    def speak(self) -> str: ...


class Mute:
    pass


def untyped(x):  # no-untyped-def
    return x


def unmatched(colour: Colour) -> int:
    match colour:  # exhaustive-match
        case Colour.RED:
            return 1
    return 2


def unfit() -> Speaker:
    return Mute()  # return-value


def maybe(flag: bool) -> int:
    if flag:
        x = 1
    return x  # possibly-undefined


def unreachable(x: int) -> str:
    if isinstance(x, str):
        return "never"  # unreachable
    return ""


y: int = "1"  # type: ignore
"""
MYPY_CODES = [
    "no-untyped-def",
    "exhaustive-match",
    "return-value",
    "possibly-undefined",
    "unreachable",
    "ignore-without-code",
]


def check(*command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("code", "source"), RUFF.values(), ids=RUFF)
def test_ruff_refuses(code: str, source: str) -> None:
    name = "--stdin-filename=syncd/seeded.py"

    result = check("ruff", "check", "--no-cache", name, "-", text=source)

    assert result.returncode == 1, result.stderr
    assert code in result.stdout.split(), result.stdout


def test_ruff_refuses_lines_that_are_not_formatted() -> None:
    name = "--stdin-filename=syncd/seeded.py"

    result = check("ruff", "format", "--check", name, "-", text="x  =  1\n")

    assert result.returncode == 1, result.stderr


def test_mypy_is_strict(tmp_path: Path) -> None:
    seeded = tmp_path / "seeded.py"
    seeded.write_text(MYPY)
    cache = f"--cache-dir={tmp_path / 'cache'}"

    result = check("mypy", f"--config-file={SETTINGS}", cache, str(seeded))

    assert result.returncode == 1, result.stderr
    for code in MYPY_CODES:
        assert f"[{code}]" in result.stdout, f"{code}\n{result.stdout}"
