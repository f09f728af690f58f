"""The least that sending costs: bodies made beforehand, a bare httpx client, threads.

`python courier.py` reads one JSON document from its standard input, `{"url": ...,
"auth": [user, password], "people": FILE, "threads": n, "lanes": [...]}`, sends it and
prints what that took: `{"seconds": ..., "cpu": ..., "requests": ...}`. A lane is
`{"path": ..., "cohort_id": ..., "first": n, "batches": n}`: so many bodies of 1,000
people of the file, one request at a time. A thread has every so manieth lane.

Nothing is read, compared, stored or proven, and nobody could go on after a crash.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson

BATCH = 1_000
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
"""What every body of a list API has (vendor page 1)."""


def bodies(lane: dict[str, Any], people: list[str]) -> list[bytes]:
    """What a lane sends: a cohort's changes, or a list's where it names no cohort."""
    starts = range(lane["first"], lane["first"] + lane["batches"] * BATCH, BATCH)
    return [body(lane["cohort_id"], people[start : start + BATCH]) for start in starts]


def body(cohort_id: str | None, ids: list[str]) -> bytes:
    """One request."""
    if cohort_id is None:
        return orjson.dumps({"userIds": ids, "context": CONTEXT})
    change = {"ids": ids, "id_type": "BY_NAME", "operation": "ADD"}
    return orjson.dumps(
        {"cohort_id": cohort_id, "skip_invalid_ids": True, "memberships": [change]}
    )


def carry(errand: dict[str, Any]) -> dict[str, float]:
    """Send everything; every answer must be a 200."""
    people = Path(errand["people"]).read_text(encoding="utf-8").split()
    lanes = [(lane["path"], bodies(lane, people)) for lane in errand["lanes"]]
    threads = errand["threads"]
    with (
        httpx.Client(
            base_url=errand["url"], auth=tuple(errand["auth"]), timeout=60
        ) as client,
        ThreadPoolExecutor(threads) as pool,
    ):

        def work(mine: list[tuple[str, list[bytes]]]) -> int:
            """A batch of each lane in turn."""
            headers, sent = {"content-type": "application/json"}, 0
            for number in range(max(len(contents) for _, contents in mine)):
                for path, contents in mine:
                    if number < len(contents):
                        content = contents[number]
                        answer = client.post(path, content=content, headers=headers)
                        answer.raise_for_status()
                        sent += 1
            return sent

        wall, cpu = time.perf_counter(), time.process_time()
        sent = sum(pool.map(work, [lanes[at::threads] for at in range(threads)]))
        return {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "requests": sent,
        }


if __name__ == "__main__":
    print(json.dumps(carry(json.load(sys.stdin))))
