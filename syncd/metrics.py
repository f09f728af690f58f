"""The process's own counters; what is known to the store is counted at each scrape.

Named as the operations page lists them (12.1). Labels are syncs, connections (`api` is
a connection that is asked) and closed lists of words: never a person, never a text of
somebody else's. Counters begin at 0 with the process.
"""

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from syncd.model import Outcome

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

OTHER = "other"
"""Stands for every word that is in none of the closed lists."""
CHANGES = ("entered", "exited")
RESULTS = ("accepted", "unmatched", "rejected")
SKIP_REASONS = frozenset(
    "held paused blackout overlap catch_up quota budget rate not_ready "
    "pointless".split()
)
"""Why a due run read nothing: a person or a window stops it, or its source does."""

# ---- what is said --------------------------------------------------------------------

EVENTS = Counter("syncd_events", "Log events by name.", ["event"], registry=REGISTRY)
LOG_MESSAGES = Counter(
    "syncd_log_messages",
    "Log events by level, also those below the level that is written.",
    ["level"],
    registry=REGISTRY,
)

# ---- configuration -------------------------------------------------------------------

CONFIG_GOOD = Gauge(
    "syncd_config_last_reload_successful",
    "1 while the files that were last read are in use.",
    registry=REGISTRY,
)
CONFIG_AT = Gauge(
    "syncd_config_last_reload_success_timestamp_seconds",
    "When files were last read and put into use.",
    registry=REGISTRY,
)

# ---- runs ----------------------------------------------------------------------------

RUNS = Counter(
    "syncd_runs", "Runs by how they ended.", ["sync", "outcome"], registry=REGISTRY
)
RUN_SECONDS = Histogram(
    "syncd_run_duration_seconds",
    "From the beginning of a run to its end.",
    ["sync"],
    buckets=(1, 2.5, 5, 10, 30, 60, 150, 300, 600, 1200, 3600),
    registry=REGISTRY,
)
SCHEDULE_LAG = Histogram(
    "syncd_schedule_lag_seconds",
    "From a due time to the beginning of its run; of one that catches up, all of it.",
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 86400),
    registry=REGISTRY,
)
SCHEDULE_SKIPS = Counter(
    "syncd_schedule_skips",
    "Due times for which no source was read.",
    ["sync", "reason"],
    registry=REGISTRY,
)
GUARD_TRIPS = Counter(
    "syncd_guard_trips", "Guards that tripped.", ["sync", "guard"], registry=REGISTRY
)

# ---- people --------------------------------------------------------------------------

MEMBERS_CHANGED = Counter(
    "syncd_members_changed",
    "Ids that the destination took or let go, by closed runs.",
    ["sync", "change"],
    registry=REGISTRY,
)
MEMBERS_SENT = Counter(
    "syncd_members_sent",
    "Ids in requests that were answered, by what the answer proved.",
    ["sync", "change", "result"],
    registry=REGISTRY,
)
MEMBERS_REJECTED = Counter(
    "syncd_members_rejected",
    "Ids left out: of a list each time it is read, of a request by its answer.",
    ["sync", "reason"],
    registry=REGISTRY,
)

# ---- requests to others --------------------------------------------------------------

API_REQUESTS = Counter(
    "syncd_api_requests",
    "Requests made; `code` is the status, or what kept an answer from coming.",
    ["api", "operation", "code"],
    registry=REGISTRY,
)
API_SECONDS = Histogram(
    "syncd_api_request_duration_seconds",
    "From the first byte of a request to the last of its answer.",
    ["api", "operation"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
    registry=REGISTRY,
)
API_RETRIES = Counter(
    "syncd_api_retries",
    "Batches that go again, by why.",
    ["api", "reason"],
    registry=REGISTRY,
)
API_THROTTLED = Counter(
    "syncd_api_throttled_seconds",
    "How long we were told to wait; two that are told at once count twice.",
    ["api"],
    registry=REGISTRY,
)

# ---- the store -----------------------------------------------------------------------

STORE_SECONDS = Histogram(
    "syncd_store_operation_duration_seconds",
    "`wait`: for one's turn to write; `write`, `read`: a transaction and what is done"
    " in it; `rewrite`: the file anew.",
    ["operation"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60),
    registry=REGISTRY,
)

# ---- what is pushed to us ------------------------------------------------------------

INBOX_EVENTS = Counter(
    "syncd_inbox_events",
    "Events pushed to us, by what became of them.",
    ["connection", "result"],
    registry=REGISTRY,
)
INBOX_SECONDS = Histogram(
    "syncd_inbox_request_duration_seconds",
    "From the last byte of a request to its answer.",
    ["connection"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
    registry=REGISTRY,
)

# ---- what people are told ------------------------------------------------------------

NOTIFICATIONS = Counter(
    "syncd_notifications",
    "Messages sent to a channel: taken by it, or not.",
    ["channel", "result"],
    registry=REGISTRY,
)
HEARTBEATS = Counter(
    "syncd_heartbeat_pings",
    "Pings of the dead man's switch: sent, failed, or left out on purpose.",
    ["result"],
    registry=REGISTRY,
)


def expect(syncs: Iterable[str], *, guards: Iterable[str]) -> None:
    """Show every series of these syncs at 0, so that a first count is a change.

    Prometheus sees no increase where a series begins with 1.
    """
    for sync in syncs:
        for outcome in Outcome:
            RUNS.labels(sync, outcome.value)
        RUN_SECONDS.labels(sync)
        for reason in SKIP_REASONS:
            SCHEDULE_SKIPS.labels(sync, reason)
        for guard in guards:
            GUARD_TRIPS.labels(sync, guard)
        for change in CHANGES:
            MEMBERS_CHANGED.labels(sync, change)
            for result in RESULTS:
                MEMBERS_SENT.labels(sync, change, result)


def expect_connections(names: Iterable[str]) -> None:
    """The same of connections that are pushed to."""
    for name in names:
        for result in ("accepted", "duplicate"):
            INBOX_EVENTS.labels(name, result)
        INBOX_SECONDS.labels(name)


def expect_channels(names: Iterable[str]) -> None:
    """The same of channels, and of the heartbeat."""
    for name in names:
        for result in ("sent", "failed"):
            NOTIFICATIONS.labels(name, result)
    for result in ("sent", "failed", "skipped"):
        HEARTBEATS.labels(result)


def config_read(*, good: bool, at: float) -> None:
    """Configuration files were read: put into use at this instant (Unix time), or not.

    Those that are refused leave the time of the last good ones.
    """
    CONFIG_GOOD.set(1 if good else 0)
    if good:
        CONFIG_AT.set(at)


def run_skipped(sync: str, reason: str) -> None:
    """A due time passed without a source being read."""
    word = reason.partition(":")[0]
    SCHEDULE_SKIPS.labels(sync, word if word in SKIP_REASONS else OTHER).inc()


def guard_word(code: str) -> str:
    """`guard.max_exit` as a label: `max_exit`."""
    return code.removeprefix("guard.")
