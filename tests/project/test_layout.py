"""The repository holds what it may hold, and nothing of the place it was made in."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
TOP = {
    "pyproject.toml",
    "README.md",
    "Dockerfile",
    "config",
    "deploy",
    "tests",
    "syncd",
}
TESTS = {"conftest.py", "builders.py", "simulated.py", "installed.py", "months.py"}
TESTS |= {"pushing.py", "knocking.py", "paged.py", "scraped.py", "stalls.py"}
TESTS |= {"browsing.py", "canaries.py", "fuzzing", "turns.py"}
TESTS |= {"unit", "contract", "integration", "property"}
TESTS |= {"acceptance", "reliability", "benchmarks", "project"}
MAKESHIFT = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base"}


def tracked() -> list[Path]:
    """The files of the repository, also those about to be added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := Path(line)) != ROOT]


FILES = [path for path in tracked() if (ROOT / path).is_file()]
TEXTS = {path: (ROOT / path).read_text(errors="replace") for path in FILES}


def pip_hosts() -> set[str]:
    """Hosts and folders of the package indexes that pip is told of on this machine."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    )
    addresses = re.findall(r"'([^']*)'", told.stdout)
    words = [word for address in addresses for word in address.split()]
    urls = [urlsplit(word) for word in words if "://" in word]
    return {url.netloc or url.path for url in urls} - {""}


def test_the_top_level_is_fixed() -> None:
    tops = {path.parts[0] for path in FILES}

    assert {top for top in tops if not top.startswith(".")} <= TOP
    assert ".ci" in tops


def test_every_test_lies_in_a_known_folder() -> None:
    assert {path.parts[1] for path in FILES if path.parts[0] == "tests"} <= TESTS


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert {path for path in FILES if path.stem in MAKESHIFT} == set()


def test_no_file_names_the_place_it_was_made_in() -> None:
    places = re.compile(rf"{re.escape(str(ROOT))}(?![\w-])")

    assert [path for path, text in TEXTS.items() if places.search(text)] == []


def test_no_file_names_a_package_index() -> None:
    option = re.compile(r"(--(extra-)?index-url|--find-links|PIP_\w*INDEX)[= ]\S*/")
    hosts = pip_hosts()

    naming = [
        path
        for path, text in TEXTS.items()
        if option.search(text) or any(host in text for host in hosts)
    ]

    assert naming == []


def test_ci_is_one_executable_command() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
