"""The least that the work of a cohort's sync can cost, without any of its care.

`python floors.py read FILE COLUMN` reads a CSV with the csv module and puts the ids of
a column into a set. `python floors.py post URL KEY TRAIT COUNT` makes bodies of 1,000
events beforehand and posts them with a bare httpx client and four threads. Each prints
what it timed: `{"seconds": ..., "cpu": ..., "count": ...}`.
"""

import csv
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

THREADS, EVENTS, TOGETHER = 4, 1_000, 100
"""Threads, events in a body, bodies made at once: they are 300 KB each."""


class Watch:
    """Adds up what it is told to time."""

    def __init__(self) -> None:
        self.seconds = self.cpu = 0.0

    def time(self, work: Callable[[], int]) -> int:
        """Do it; returns what it returns."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = work()
        self.seconds += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return done


def read(path: Path, column: str) -> int:
    """How many different ids a column of a CSV has."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        at = next(rows).index(column)
        return len({row[at] for row in rows} - {""})


def body(trait: str, first: int) -> bytes:
    """1,000 events, as large as ours."""
    shared = {
        "type": "identify",
        "timestamp": "2026-03-01T12:00:00.000Z",
        "traits": {trait: True},
        "context": {"integration": {"name": "Amplitude", "version": "1.0.0"}},
        "integrations": {"All": True},
    }
    events = [
        {
            "userId": f"floor-{number:029d}",
            "messageId": f"floor-{number:040d}",
            **shared,
        }
        for number in range(first, first + EVENTS)
    ]
    return json.dumps({"batch": events}, separators=(",", ":")).encode()


def post(url: str, key: str, trait: str, count: int, watch: Watch) -> int:
    """Post so many events; returns how many were taken."""
    firsts = range(0, count, EVENTS)
    with (
        httpx.Client(base_url=url, auth=(key, ""), timeout=60) as client,
        ThreadPoolExecutor(THREADS) as threads,
    ):

        def send(content: bytes) -> int:
            headers = {"content-type": "application/json"}
            answer = client.post("/v1/batch", content=content, headers=headers)
            answer.raise_for_status()
            return EVENTS

        def send_all(bodies: list[bytes]) -> int:
            return sum(threads.map(send, bodies))

        taken = 0
        for start in range(0, len(firsts), TOGETHER):
            bodies = [body(trait, at) for at in firsts[start : start + TOGETHER]]
            taken += watch.time(partial(send_all, bodies))
        return taken


def main(verb: str, *args: str) -> None:
    """Print what a floor costs."""
    watch = Watch()
    if verb == "read":
        count = watch.time(lambda: read(Path(args[0]), args[1]))
    else:
        url, key, trait, events = args
        count = post(url, key, trait, int(events), watch)
    print(json.dumps({"seconds": watch.seconds, "cpu": watch.cpu, "count": count}))


if __name__ == "__main__":
    main(*sys.argv[1:])
