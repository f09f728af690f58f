"""The process's own counters; what is known to the store is counted at each scrape.

Named as the operations page lists them (12.1). Labels are syncs, connections, results
and closed lists of words: never a person.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

EVENTS = Counter("syncd_events", "Log events by name.", ["event"], registry=REGISTRY)
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
