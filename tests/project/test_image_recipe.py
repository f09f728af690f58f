"""What the Dockerfile promises, read from its text; deploy/image-check builds it."""

import json
import re
from pathlib import Path

from syncd.config.resolve_inbound import INBOUND

ROOT = Path(__file__).parents[2]
RECIPE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
BUILD, FINAL = RECIPE.split("\nFROM ")[1:]


def arguments(stage: str, word: str) -> list[str]:
    """The rest of every line of the stage that starts with this instruction."""
    return re.findall(rf"^{word} (.*)$", stage, re.MULTILINE)


def test_it_does_not_run_as_root() -> None:
    assert arguments(FINAL, "USER") == ["10001:10001"]


def test_signals_reach_the_process_itself() -> None:
    assert arguments(FINAL, "STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(arguments(FINAL, "ENTRYPOINT")[0]) == ["syncd"]
    assert json.loads(arguments(FINAL, "CMD")[-1]) == ["serve"]


def test_it_probes_itself_with_its_own_command() -> None:
    (probe,) = arguments(FINAL, "HEALTHCHECK")

    assert probe.endswith('CMD ["syncd", "healthcheck"]')
    assert {"--start-period=20s", "--timeout=5s"} <= set(probe.split())


def test_only_the_data_volume_is_written() -> None:
    assert arguments(FINAL, "VOLUME") == ["/data"]
    assert "PYTHONDONTWRITEBYTECODE=1" in FINAL
    assert "SQLITE_TMPDIR=/data" in FINAL


def test_all_bytecode_is_in_the_image_and_no_date_of_a_file_makes_it_invalid() -> None:
    """Nobody writes it at run time; the base image has none of the standard library."""
    compiled = [
        command
        for stage in (BUILD, FINAL)
        for run in arguments(stage, "RUN")
        for command in run.split("&&")
        if "-m compileall" in command
    ]

    ours, standard = compiled
    assert ours.endswith(" -f --invalidation-mode unchecked-hash /opt/syncd/lib")
    assert "--invalidation-mode unchecked-hash" in standard
    assert 'get_path("stdlib")' in standard


def test_only_the_port_for_senders_is_published() -> None:
    assert arguments(FINAL, "EXPOSE") == [str(INBOUND.port)]


def test_every_package_is_installed_by_its_hash_or_from_our_own_wheel() -> None:
    installs = [
        command
        for run in arguments(BUILD, "RUN")
        for command in run.split("&&")
        if "pip install" in command
    ]

    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes" in command or "--no-index" in command
        assert "--no-deps" in command


def test_only_named_paths_enter_the_image() -> None:
    copied = [path for line in arguments(BUILD, "COPY") for path in line.split()[:-1]]

    assert copied == [
        "deploy/build.lock",
        "deploy/requirements.lock",
        *("pyproject.toml", "README.md", "syncd/", "config/"),
    ]
    assert arguments(FINAL, "COPY") == ["--from=build /opt/syncd /opt/syncd"]
