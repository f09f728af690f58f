"""Others who find out who left a list and who entered: what a diff is held against.

None of them keeps a state, sends anything or can be cut off. `python comparers.py VERB
BEFORE NOW` prints how many people differ; the lists have a header and an id a line.

read    1 MiB blocks of the new list, split into lines: no comparison, the very floor
sets    two Python sets
duckdb  EXCEPT both ways; needs the extra `bench`
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

BLOCK = 1 << 20
_SORT = "export LC_ALL=C; sort -S64M -T{folder}"
_COUNT = "comm -3 {before} {now} | wc -l"


def sorting_both(before: Path, now: Path, folder: Path) -> list[str]:
    """`sort` of both lists and `comm`: what an operator would type."""
    sort = _SORT.format(folder=folder)
    old, new = folder / "before.sorted", folder / "now.sorted"
    steps = f"{sort} -o {old} {before}; sort -S64M -T{folder} -o {new} {now}; "
    return ["bash", "-c", steps + _COUNT.format(before=old, now=new)]


def sorting_new(now: Path, folder: Path) -> list[str]:
    """`sort` of the new list and `comm` with the old one, which `sorting_both` left."""
    sort = _SORT.format(folder=folder)
    old, new = folder / "before.sorted", folder / "now.sorted"
    return [
        "bash",
        "-c",
        f"{sort} -o {new} {now}; " + _COUNT.format(before=old, now=new),
    ]


def in_python(verb: str, before: Path, now: Path) -> list[str]:
    """The command line of a verb of this module."""
    return [sys.executable, __file__, verb, str(before), str(now)]


def has_duckdb() -> bool:
    """Whether that peer is installed."""
    return importlib.util.find_spec("duckdb") is not None


def read(_before: Path, now: Path) -> int:
    """Nobody differs as far as this knows."""
    rest = b""
    with now.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            *_lines, rest = (rest + block).split(b"\n")
    return 0


def sets(before: Path, now: Path) -> int:
    """Everybody of both lists in memory."""
    old, new = (set(path.read_bytes().split(b"\n")) for path in (before, now))
    return len(old - new) + len(new - old)


def duckdb(before: Path, now: Path) -> int:
    """With as much memory as it likes."""
    one, two = (f"SELECT user_id FROM read_csv('{path}')" for path in (before, now))
    # Imported here, and by name: it is an extra, which type checkers need not have.
    with importlib.import_module("duckdb").connect() as peer:
        rows = peer.execute(
            f"SELECT (SELECT count(*) FROM ({one} EXCEPT {two}))"
            f" + (SELECT count(*) FROM ({two} EXCEPT {one}))"
        ).fetchall()
    return int(rows[0][0])


VERBS: dict[str, Callable[[Path, Path], int]] = {
    "read": read,
    "sets": sets,
    "duckdb": duckdb,
}

if __name__ == "__main__":
    print(VERBS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3])))
