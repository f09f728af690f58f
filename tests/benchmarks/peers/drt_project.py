"""What a user of drt writes for this job: a project with one sync, or with four slices.

drt sends the requests of one sync one after the other and runs several syncs in
parallel (`drt run --threads N`): whoever wants four lanes cuts the audience by hand.
Options as its documentation of `rest_api` and of `sync` has them.
"""

import json
from pathlib import Path

BATCH = 1_000
TOGETHER = 25_000
"""Records in one batch of drt: each has a new connection, whose making costs 24 ms of
CPU. `max_records_per_request` cuts it into requests."""
CONTEXT = {"integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}}
TEMPLATE = (
    '{"userIds": {{ rows | map(attribute="user_id") | list | tojson }}, "context": '
    + json.dumps(CONTEXT)
    + "}"
)


def write(
    folder: Path, database: Path, url: str, authorization: str, *, slices: int = 1
) -> None:
    """The project's files. YAML holds JSON, which keeps this short."""
    home = folder / "home" / ".drt"
    home.mkdir(parents=True)
    (folder / "syncs").mkdir()
    profile = {"local": {"type": "sqlite", "database": str(database)}}
    (home / "profiles.yml").write_text(json.dumps(profile))
    project = {"name": "peers", "profile": "local"}
    (folder / "drt_project.yml").write_text(json.dumps(project))
    for number in range(slices):
        model = f"SELECT user_id FROM people WHERE rowid % {slices} = {number}"
        sync = {
            "name": f"big_{number}",
            "model": model,
            "destination": {
                "type": "rest_api",
                "url": url,
                "method": "POST",
                "headers": {
                    "Content-Type": "application/json",
                    "Authorization": authorization,
                },
                "body_mode": "batch",
                "batch_template": TEMPLATE,
                "max_records_per_request": BATCH,
            },
            "sync": {
                "mode": "full",
                "batch_size": TOGETHER,
                # 10 a second otherwise; 0 is documented as no pacing.
                "rate_limit": {"requests_per_second": 0},
                "on_error": "fail",
            },
        }
        path = folder / "syncs" / f"big_{number}.yml"
        path.write_text(json.dumps(sync, indent=1))


def command(peers: Path, folder: Path, *, slices: int = 1) -> list[str]:
    """`drt run`; with a home of its own, and without its telemetry."""
    wishes = [f"HOME={folder / 'home'}", "DO_NOT_TRACK=1"]
    run = [str(peers / "bin" / "drt"), "run", "--quiet", "--threads", str(slices)]
    return ["env", *wishes, *run]
