"""The lock the image installs: complete, hashed, and without an address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy/requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgres"]]


def entries() -> dict[str, str]:
    """The lock's packages by name, each with its own lines, hashes included."""
    blocks = re.findall(r"^[a-z0-9].*(?:\n +.*)*", LOCK, re.MULTILINE)
    return {canonicalize_name(Requirement(pinned(b)).name): b for b in blocks}


def pinned(block: str) -> str:
    """`name==1.2 ; marker` of one block, without the line's continuation."""
    return block.split("\n")[0].rstrip("\\ ")


def test_every_line_belongs_to_a_package_or_is_a_comment() -> None:
    rest = LOCK
    for block in entries().values():
        rest = rest.replace(block, "", 1)

    assert [line for line in rest.splitlines() if line and line[0] != "#"] == []


def test_the_lock_names_no_address_and_no_index() -> None:
    assert not re.search(r"://|^-|index|find-links| @ |file:", LOCK, re.MULTILINE)


@pytest.mark.parametrize(("name", "block"), entries().items(), ids=entries())
def test_every_package_is_pinned_and_hashed(name: str, block: str) -> None:
    (pin,) = Requirement(pinned(block)).specifier

    assert pin.operator == "=="
    assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), name


@pytest.mark.parametrize("declared", DECLARED)
def test_every_dependency_is_locked_within_its_bounds(declared: str) -> None:
    wanted = Requirement(declared)

    locked = Requirement(pinned(entries()[canonicalize_name(wanted.name)]))

    (pin,) = locked.specifier
    assert wanted.specifier.contains(pin.version)
    assert locked.marker == wanted.marker


def test_what_only_tests_need_is_not_in_the_image() -> None:
    optional = PROJECT["optional-dependencies"]
    tests = {Requirement(line).name for line in [*optional["test"], *optional["lint"]]}

    assert (
        not {canonicalize_name(name) for name in tests - {"syncd"}} & entries().keys()
    )
