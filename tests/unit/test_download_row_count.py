"""Is a file whole? Its rows against what was listed before, at and after its job."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncd.model import SnapshotDigest
from syncd.sources.amplitude_download.row_count import doubt, stands_for
from syncd.store.fetches import Fetch, FetchState

NOW = datetime(2026, 5, 12, 9, 0, tzinfo=UTC)
BEFORE, AFTER = NOW - timedelta(hours=3), NOW


def fetch(**values: Any) -> Fetch:
    """Its job is complete, and the cohort of 1,000 was computed by it."""
    given: dict[str, Any] = {
        "project": "us:1",
        "cohort_id": "c1",
        "sync": "vip",
        "run_id": "r",
        "by_person": False,
        "state": FetchState.READY,
        "request_id": "q1",
        "asked_at": NOW,
        "ended_at": None,
        "computed_before": BEFORE,
        "computed_after": AFTER,
        "name": "VIP",
        "size_before": 10,
        "size_ready": 1000,
        "size": 1000,
        "rows": None,
        "digest": None,
        "broken": 0,
        "error": None,
    }
    return Fetch(id=1, **(given | values))


def believed(rows: int, asked: Fetch, size_now: int | None = None) -> bool:
    return doubt(asked, rows, size_now=size_now) is None


@pytest.mark.parametrize(
    ("size", "rows", "whole"),
    [
        (1000, 900, True),
        (1000, 899, False),
        (1000, 1001, True),
        (1000, 5000, True),
        (50, 45, True),
        (50, 44, False),
        (50, 0, False),
        (6, 1, True),
        (6, 0, False),
        (5, 0, True),
        (0, 0, True),
    ],
)
def test_a_file_may_be_a_tenth_or_five_people_short(size, rows, whole):
    assert believed(rows, fetch(size=size, size_ready=size, size_before=None)) == whole


def test_a_file_that_is_short_says_by_how_much():
    reason = doubt(fetch(), 500)

    assert reason is not None
    assert reason.code == "source.short"
    assert "500 rows, the list counts 1000" in str(reason)
    assert "free" in reason.hint


def test_a_cohort_without_a_size_proves_nothing():
    assert believed(0, fetch(size=None, size_ready=None, size_before=None))


def test_a_file_of_the_cohort_before_it_grew_is_believed_as_that():
    grown = fetch(size_before=800)

    assert believed(800, grown)
    assert stands_for(grown, 800) == (BEFORE, 800)
    assert stands_for(grown, 1000) == (AFTER, 1000)


@pytest.mark.parametrize("rows", [600, 895])
def test_a_file_that_is_neither_the_older_nor_the_newer_cohort_is_not_believed(rows):
    assert not believed(rows, fetch(size_before=800))
    assert stands_for(fetch(), rows) == (AFTER, 1000)


def test_a_size_that_moved_without_a_computation_excuses_nothing():
    assert not believed(800, fetch(size_before=800, computed_before=AFTER))


@pytest.mark.parametrize(
    ("before", "ready", "rows", "whole"),
    [
        (800, 1000, 800, True),
        (1000, 800, 800, True),
        (1000, 800, 600, False),
        (1000, None, 800, False),
        (None, 1000, 800, False),
    ],
)
def test_where_the_computation_is_unknown_the_smaller_size_counts(
    before, ready, rows, whole
):
    unknown = fetch(
        computed_after=BEFORE, size=None, size_before=before, size_ready=ready
    )

    assert believed(rows, unknown) == whole


def test_a_size_that_is_listed_late_is_believed():
    assert not believed(500, fetch(), size_now=1000)
    assert believed(500, fetch(), size_now=500)
    assert not believed(500, fetch(), size_now=None)


def test_a_file_that_was_read_before_has_as_many_rows_again():
    read = fetch(
        state=FetchState.COMPLETED, rows=500, digest=SnapshotDigest(count=1, total=1)
    )

    assert believed(500, read)
    for rows in (499, 501):
        reason = doubt(read, rows, size_now=rows)
        assert reason is not None
        assert reason.code == "source.file_changed"
