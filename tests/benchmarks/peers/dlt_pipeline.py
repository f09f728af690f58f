"""What a user of dlt writes for this job: a custom destination, their reverse ETL.

`python dlt_pipeline.py DATABASE URL AUTHORIZATION`, in the folder of a dlt project
(dlt_project.py). It runs in the peers' own environment, where dlt is.
"""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found, unused-ignore]
from dlt.sources.helpers import requests  # type: ignore[import-not-found, unused-ignore]

BATCH = 1_000
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
DATABASE, URL, AUTHORIZATION = sys.argv[1:]


@dlt.destination(  # type: ignore[untyped-decorator, unused-ignore]
    name="partner", batch_size=BATCH, loader_parallelism_strategy="parallel"
)
def partner(items: list[dict[str, Any]], table: dict[str, Any]) -> None:
    """Add people to the list; a refusal raises, after the retries of dlt's client."""
    body = {"userIds": [row["user_id"] for row in items], "context": CONTEXT}
    headers = {"authorization": AUTHORIZATION}
    requests.post(URL, json=body, headers=headers).raise_for_status()


@dlt.resource(  # type: ignore[untyped-decorator, unused-ignore]
    name="people", write_disposition="append"
)
def people() -> Iterator[list[dict[str, Any]]]:
    """Everybody in the audience, a page at a time, as dlt's guide advises."""
    with sqlite3.connect(DATABASE) as connection:
        rows = connection.execute("SELECT user_id FROM people")
        while page := rows.fetchmany(BATCH):
            yield [{"user_id": user_id} for (user_id,) in page]


if __name__ == "__main__":
    # Under this folder, not in the home of whoever runs it.
    state = str(Path.cwd() / "pipelines")
    print(dlt.pipeline("big", pipelines_dir=state, destination=partner).run(people()))
