"""What a user of dlt configures for this job: nothing, or four lanes.

dlt loads as many files of a package side by side as `load.workers` says (20 unless
configured) and the records of one file one after the other. Unless `file_max_items`
is configured everybody is in one file: whoever wants four lanes cuts it by size.
"""

from pathlib import Path

QUIET = "[runtime]\ndlthub_telemetry = false\n"
SCRIPT = Path(__file__).with_name("dlt_pipeline.py")


def write(folder: Path, *, lanes: int, people: int) -> None:
    """The project's configuration: as many files as lanes, as many workers."""
    home = folder / ".dlt"
    home.mkdir(exist_ok=True)
    wishes = QUIET
    if lanes > 1:
        wishes += f"[load]\nworkers = {lanes}\n"
        items = -(-people // lanes)
        wishes += f"[normalize.data_writer]\nfile_max_items = {items}\n"
    (home / "config.toml").write_text(wishes)


def command(
    peers: Path, folder: Path, database: Path, url: str, authorization: str
) -> list[str]:
    """The script in the peers' own environment, with a home of its own."""
    python = str(peers / "bin" / "python")
    arguments = [str(database), url, authorization]
    return ["env", f"HOME={folder}", python, str(SCRIPT), *arguments]
