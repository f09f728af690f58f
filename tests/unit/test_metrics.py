"""What the process counts: names that dashboards rely on, labels from closed lists."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from syncd import events, metrics
from syncd.app.gauges import GAUGES
from syncd.clients.http import HttpClient, TransportError
from syncd.clock import Clock
from syncd.events import Level, emit
from syncd.model import Outcome

COUNTED = {
    "syncd_api_request_duration_seconds",
    "syncd_api_requests",
    "syncd_api_retries",
    "syncd_api_throttled_seconds",
    "syncd_config_last_reload_success_timestamp_seconds",
    "syncd_config_last_reload_successful",
    "syncd_events",
    "syncd_guard_trips",
    "syncd_heartbeat_pings",
    "syncd_inbox_events",
    "syncd_inbox_request_duration_seconds",
    "syncd_log_messages",
    "syncd_members_changed",
    "syncd_members_rejected",
    "syncd_members_sent",
    "syncd_notifications",
    "syncd_run_duration_seconds",
    "syncd_runs",
    "syncd_schedule_lag_seconds",
    "syncd_schedule_skips",
    "syncd_store_operation_duration_seconds",
}
"""What a process counts itself; counters end with `_total` in a scrape."""

LABELS = frozenset(
    "api change channel code connection direction event guard level operation outcome "
    "owner phase python quota reason result revision schedule side state sync "
    "version".split()
)


def value(name: str, **labels: str) -> float:
    found = metrics.REGISTRY.get_sample_value(name, labels)
    return found if found is not None else 0.0


def test_the_names_are_those_that_dashboards_rely_on() -> None:
    page = generate_latest(metrics.REGISTRY).decode()

    families = text_string_to_metric_families(page)
    ours = {each.name for each in families if each.name.startswith("syncd_")}
    assert ours - set(GAUGES) == COUNTED


def test_every_label_is_a_word_of_the_list() -> None:
    metrics.expect(["vip"], guards=["max_exit"])
    page = generate_latest(metrics.REGISTRY).decode()

    used = {
        label
        for family in text_string_to_metric_families(page)
        if family.name.startswith("syncd_")
        for sample in family.samples
        for label in sample.labels
    }
    named = {label for _, labels in GAUGES.values() for label in labels}
    assert (used | named) - {"le"} <= LABELS


def test_a_new_sync_shows_at_zero_so_that_its_first_count_is_a_change() -> None:
    metrics.expect(["fresh-sync"], guards=["max_exit"])

    get = metrics.REGISTRY.get_sample_value
    for outcome in Outcome:
        labels = {"sync": "fresh-sync", "outcome": outcome.value}
        assert get("syncd_runs_total", labels) == 0
    assert (
        get("syncd_guard_trips_total", {"sync": "fresh-sync", "guard": "max_exit"}) == 0
    )
    assert get("syncd_run_duration_seconds_count", {"sync": "fresh-sync"}) == 0
    sent = {"sync": "fresh-sync", "change": "exited", "result": "unmatched"}
    assert get("syncd_members_sent_total", sent) == 0


def test_a_channel_shows_at_zero_so_that_its_first_failure_is_a_change() -> None:
    metrics.expect_channels(["fresh-channel"])

    get = metrics.REGISTRY.get_sample_value
    for result in ("sent", "failed"):
        labels = {"channel": "fresh-channel", "result": result}
        assert get("syncd_notifications_total", labels) == 0
    for result in ("sent", "failed", "skipped"):
        assert get("syncd_heartbeat_pings_total", {"result": result}) is not None


def test_an_event_is_counted_by_its_name_and_by_the_level_it_has_now() -> None:
    named = value("syncd_events_total", event="batch.retried")
    warned = value("syncd_log_messages_total", level="warning")

    emit(events.BATCH_RETRIED, level=Level.WARNING, sync="vip", batch=1)

    assert value("syncd_events_total", event="batch.retried") == named + 1
    assert value("syncd_log_messages_total", level="warning") == warned + 1


def test_an_event_that_is_refused_is_not_counted() -> None:
    before = value("syncd_events_total", event="run.skipped")

    with pytest.raises(ValueError, match="no field colour"):
        emit(events.RUN_SKIPPED, colour="red")

    assert value("syncd_events_total", event="run.skipped") == before


@pytest.mark.parametrize(
    ("said", "counted"),
    [("overlap", "overlap"), ("catch_up: skip", "catch_up"), ("person-1", "other")],
)
def test_a_skip_is_counted_by_a_word_of_the_list(said: str, counted: str) -> None:
    before = value("syncd_schedule_skips_total", sync="skipping", reason=counted)

    metrics.run_skipped("skipping", said)

    after = value("syncd_schedule_skips_total", sync="skipping", reason=counted)
    assert after == before + 1


def test_files_that_are_refused_leave_the_time_of_the_last_good_ones() -> None:
    metrics.config_read(good=True, at=1000.0)
    metrics.config_read(good=False, at=2000.0)

    assert value("syncd_config_last_reload_successful") == 0
    at = value("syncd_config_last_reload_success_timestamp_seconds")
    assert at == 1000.0


# ---- requests --------------------------------------------------------------------


class Answering(BaseHTTPRequestHandler):
    """Says 503 to every request."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def answering() -> Iterator[str]:
    """The address of a server that is up."""
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_request_is_counted_by_what_it_asks_and_what_came_back() -> None:
    labels = {"api": "counted", "operation": "membership", "code": "503"}

    with answering() as url, HttpClient(url, clock=Clock(), api="counted") as http:
        http.request("GET", "/c/person-4711?key=secret", operation="membership")

    assert value("syncd_api_requests_total", **labels) == 1
    seconds = {"api": "counted", "operation": "membership"}
    assert value("syncd_api_request_duration_seconds_count", **seconds) == 1
    page = generate_latest(metrics.REGISTRY)
    assert b"person-4711" not in page
    assert b"secret" not in page


def test_a_request_without_an_answer_is_counted_by_what_kept_it_away() -> None:
    with answering() as url:
        pass
    with (
        HttpClient(url, clock=Clock(), api="gone") as http,
        pytest.raises(TransportError),
    ):
        http.request("GET", "/", operation="list")

    labels = {"api": "gone", "operation": "list", "code": "connect"}
    assert value("syncd_api_requests_total", **labels) == 1


def test_requests_of_no_connection_are_not_counted() -> None:
    with answering() as url, HttpClient(url, clock=Clock()) as http:
        http.request("GET", "/", operation="nowhere")

    page = generate_latest(metrics.REGISTRY)
    assert b"nowhere" not in page
