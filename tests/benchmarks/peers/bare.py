"""The floor: four threads that post an audience to a partner's list, and nothing else.

`python bare.py DATABASE URL AUTHORIZATION`: bodies of 1,000 ids are made beforehand and
posted with a bare httpx client. Nothing is kept, nothing is tried again.
"""

import json
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx

THREADS, BATCH = 4, 1_000
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}


def bodies(database: str) -> list[bytes]:
    """What is to be posted."""
    with closing(sqlite3.connect(database)) as connection:
        ids = [one for (one,) in connection.execute("SELECT user_id FROM people")]
    documents = (
        {"userIds": ids[at : at + BATCH], "context": CONTEXT}
        for at in range(0, len(ids), BATCH)
    )
    return [json.dumps(each, separators=(",", ":")).encode() for each in documents]


def main(database: str, url: str, authorization: str) -> None:
    """Post everything; raises when an answer is not a 2xx."""
    headers = {"authorization": authorization, "content-type": "application/json"}
    made = bodies(database)
    with (
        httpx.Client(headers=headers, timeout=60) as client,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        for answer in threads.map(lambda body: client.post(url, content=body), made):
            answer.raise_for_status()


if __name__ == "__main__":
    main(*sys.argv[1:])
