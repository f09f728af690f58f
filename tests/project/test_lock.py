"""The locks the image is built from: complete, hashed, and without an address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
RUNTIME = (ROOT / "deploy/requirements.lock").read_text()
BUILD = (ROOT / "deploy/build.lock").read_text()
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = SETTINGS["project"]["optional-dependencies"]
SHIPPED = [line for extra in ("postgres", "zstd", "cluster") for line in EXTRAS[extra]]
DECLARED = [*dict.fromkeys([*SETTINGS["project"]["dependencies"], *SHIPPED])]

both_locks = pytest.mark.parametrize("lock", [RUNTIME, BUILD], ids=["runtime", "build"])


def blocks(lock: str) -> list[str]:
    """The lines of each package: its pin, then its hashes."""
    return re.findall(r"^[a-z0-9].*(?:\n +.*)*", lock, re.MULTILINE)


def pin(block: str) -> Requirement:
    """`name==1.2 ; marker` of one block."""
    return Requirement(block.split("\n")[0].rstrip("\\ "))


def pins(lock: str) -> dict[str, Requirement]:
    return {canonicalize_name(pin(block).name): pin(block) for block in blocks(lock)}


def version(specifier: SpecifierSet) -> str:
    (exact,) = specifier
    assert exact.operator == "=="
    return exact.version


@both_locks
def test_every_line_belongs_to_a_package_or_is_a_comment(lock: str) -> None:
    rest = lock
    for block in blocks(lock):
        rest = rest.replace(block, "", 1)

    assert [line for line in rest.splitlines() if line and line[0] != "#"] == []


@both_locks
def test_a_lock_names_no_address_and_no_index(lock: str) -> None:
    assert not re.search(r"://|^-|index|find-links| @ |file:", lock, re.MULTILINE)


@both_locks
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    assert len(blocks(lock)) > 3
    for block in blocks(lock):
        assert version(pin(block).specifier)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block


@pytest.mark.parametrize("declared", DECLARED)
def test_every_dependency_is_locked_within_its_bounds(declared: str) -> None:
    wanted = Requirement(declared)

    locked = pins(RUNTIME)[canonicalize_name(wanted.name)]

    assert wanted.specifier.contains(version(locked.specifier))


def test_what_an_extra_asks_for_is_locked() -> None:
    extras = {extra for line in DECLARED for extra in Requirement(line).extras}

    assert extras == {"binary"}
    assert "psycopg-binary" in pins(RUNTIME)


def test_the_build_backend_is_locked_within_its_bounds() -> None:
    for line in SETTINGS["build-system"]["requires"]:
        locked = pins(BUILD)[Requirement(line).name]
        assert Requirement(line).specifier.contains(version(locked.specifier))


def test_what_only_tests_need_is_not_in_the_image() -> None:
    tests = {Requirement(line).name for line in [*EXTRAS["test"], *EXTRAS["lint"]]}

    assert (
        not {canonicalize_name(name) for name in tests - {"syncd"}}
        & pins(RUNTIME).keys()
    )
