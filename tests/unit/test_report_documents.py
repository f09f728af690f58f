"""JSON has one shape, whoever asks for it."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from syncd.model import Outcome
from syncd.report.documents import json_document, json_line
from syncd.report.explained import NoPage, explained_document, pages_of
from syncd.report.months import Month, SyncMonth, months_document

NOON = datetime(2026, 5, 12, 12, 0, tzinfo=UTC)


def test_a_document_says_first_what_it_is() -> None:
    text = json_document("status", {"b": 1, "a": None})

    assert text == ('{\n  "schema": "syncd.status/1",\n  "b": 1,\n  "a": null\n}\n')
    assert json.loads(json_document("x", {}, version=2)) == {"schema": "syncd.x/2"}


def test_times_are_utc_spans_are_seconds_and_words_are_words() -> None:
    east = NOON.astimezone(timezone(timedelta(hours=2)))
    value = {
        "utc": NOON,
        "span": timedelta(minutes=90),
        "outcome": Outcome.NO_CHANGE,
    }

    assert json_line(value) == (
        '{"utc":"2026-05-12T12:00:00Z","span":5400.0,"outcome":"no_change"}'
    )
    assert datetime.fromisoformat(json.loads(json_line({"at": east}))["at"]) == NOON


def test_raw_bytes_never_reach_a_reader() -> None:
    with pytest.raises(TypeError, match="bytes"):
        json_line({"id": b"person-1"})


def month(**changes: object) -> Month:
    values: dict[str, object] = {
        "project": "eu:7",
        "connections": ("a", "b"),
        "limit": 500,
        "reserve": 50,
        "used": 70,
        "estimated": False,
        "unread": "",
        "read_at": NOON,
        "resets_at": NOON + timedelta(days=3),
        "forecast": 90,
        "syncs": (SyncMonth(name="vip", spent=60, most=31, schedule="daily"),),
    }
    return Month(**(values | changes))  # type: ignore[arg-type]


def test_what_other_tools_spend_is_told_only_where_the_vendor_counts() -> None:
    read, counted = (
        months_document([month(estimated=estimated)])["projects"][0]
        for estimated in (False, True)
    )

    assert (read["elsewhere"], read["unread"]) == (10, None)
    assert counted["elsewhere"] is None
    assert month(used=3).elsewhere == 0


def test_a_word_without_a_page_names_the_nearest() -> None:
    (page,) = explained_document(pages_of("guard.max_exit"))["pages"]

    assert "guard.max_exit" in page["codes"]
    assert page["diagnosis"]
    with pytest.raises(NoPage) as unknown:
        pages_of("guard.max_exti")
    assert unknown.value.hint == "syncd explain guard.max_exit"
