"""The least that a packed file of a cohort costs, and what others need for it.

`python packed.py VERB FILE [...]` prints what it timed, its children's CPU included:
`{"seconds": ..., "cpu": ..., "count": ...}`.

fetch FILE URL    the file behind a download's address, by a bare httpx client
unpack FILE       gzip taken off in steps of 1 MiB, and nothing else
csv FILE COLUMN   `gzip -dc`, the csv module, one column's values put into a set
split FILE COLUMN the same with each line split by hand, which commas in a value break
duckdb FILE COLUMN  read_csv of DuckDB, one column's values put into a set
"""

import csv
import io
import json
import resource
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import IO

import httpx

STEP = 1 << 20
"""Bytes taken at once."""
ROWS = 50_000
"""Rows asked of DuckDB at once."""
USER = ("demo-api-key", "demo-secret-key")


def fetch(path: str, url: str) -> int:
    """Bytes of the file, fetched from where the API says it lies."""
    with httpx.Client(timeout=60) as client, open(path, "wb") as file:
        found = client.get(url, auth=USER)
        with client.stream("GET", found.headers["location"]) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw(STEP):
                file.write(piece)
        return file.tell()


def unpack(path: str) -> int:
    """Bytes of the plain text."""
    count, member = 0, zlib.decompressobj(31)
    with open(path, "rb") as file:
        while piece := file.read(STEP):
            count += len(member.decompress(piece))
    return count


def by_csv(path: str, column: str) -> int:
    """Different ids, as anybody would read them."""
    with plain(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        rows = csv.reader(text)
        at = next(rows).index(column)
        return len({row[at] for row in rows} - {""})


def by_hand(path: str, column: str) -> int:
    """Different ids, where no value holds a comma or a quote."""
    with plain(path) as file:
        at = next(file).rstrip().split(b",").index(b'"%b"' % column.encode())
        return len({line.rstrip().split(b",")[at] for line in file} - {b'""'})


def by_duckdb(path: str, column: str) -> int:
    """Different ids, read by a database's own reader and taken over to Python."""
    duckdb = import_module("duckdb")

    asked = f'SELECT "{column}" FROM read_csv(?, all_varchar = true)'
    found = duckdb.execute(asked, [path])
    ids: set[str | None] = set()
    while rows := found.fetchmany(ROWS):
        ids.update(row[0] for row in rows)
    return len(ids - {"", None})


@contextmanager
def plain(path: str) -> Iterator[IO[bytes]]:
    """What `gzip -dc` says."""
    with subprocess.Popen(["gzip", "-dc", path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout


WORK: dict[str, Callable[..., int]] = {
    "fetch": fetch,
    "unpack": unpack,
    "csv": by_csv,
    "split": by_hand,
    "duckdb": by_duckdb,
}


def main(verb: str, *args: str) -> None:
    """Do it once and say what it took."""
    work = partial(WORK[verb], *args)
    wall, before = time.perf_counter(), used()
    count = work()
    seconds, cpu = time.perf_counter() - wall, used() - before
    print(json.dumps({"seconds": seconds, "cpu": cpu, "count": count}))


def used() -> float:
    """Seconds of CPU so far, those of children that have ended included."""
    all_of_us = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    found = [resource.getrusage(who) for who in all_of_us]
    return sum(each.ru_utime + each.ru_stime for each in found)


if __name__ == "__main__":
    main(*sys.argv[1:])
