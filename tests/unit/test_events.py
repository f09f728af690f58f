"""The catalogue stays true: what is not listed is not logged."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from syncd import events
from syncd.events import Event, Level, emit, level_of
from syncd.model import Outcome

CATALOGUE = [entry for entry in vars(events).values() if isinstance(entry, Event)]

NAMES = [entry.name for entry in CATALOGUE]


def test_a_field_that_the_event_does_not_list_is_refused() -> None:
    with pytest.raises(ValueError, match=r"run\.skipped has no field colour"):
        emit(events.RUN_SKIPPED, reason="overlap", colour="red")


def test_context_fields_go_with_every_event() -> None:
    with capture_logs() as lines:
        emit(events.DAEMON_STOPPED, sync="growth", run_id="r1", duration_ms=3)

    assert lines == [
        {
            "event": "daemon.stopped",
            "log_level": "info",
            "msg": "stopped in 3 ms",
            "sync": "growth",
            "run_id": "r1",
            "duration_ms": 3,
        }
    ]


def test_fields_carry_the_names_that_other_tools_know() -> None:
    with capture_logs() as lines:
        emit(
            events.CONNECTION_STOPPED,
            error_type="auth",
            http_status=403,
            api_request_id="q1",
            server_address="amplitude.com",
        )

    assert lines[0]["error.type"] == "auth"
    assert lines[0]["http.response.status_code"] == 403
    assert lines[0]["api.request_id"] == "q1"
    assert lines[0]["server.address"] == "amplitude.com"


def test_who_goes_on_with_a_run_that_was_stopped_may_be_another_daemon() -> None:
    with capture_logs() as lines:
        emit(events.RUN_INTERRUPTED, sync="growth", accepted=0, pending=1)

    said = lines[0]["msg"]
    assert "batches still to send: 1;" in said
    assert "another daemon goes on with it, or it resumes at the next start" in said


def test_error_types_are_a_closed_list() -> None:
    with capture_logs() as lines:
        emit(events.STORE_UNAVAILABLE, error="full", error_type="DiskFullError")

    assert lines[0]["error.type"] == "internal"


def test_an_absent_value_is_left_out_and_named_in_the_sentence() -> None:
    with capture_logs() as lines:
        emit(events.RUN_MISSED, sync="growth", missed=4, due_at=None)

    assert "due_at" not in lines[0]
    assert lines[0]["msg"].startswith("growth: 4 slots passed")
    with capture_logs() as lines:
        emit(events.RUN_MISSED, missed=4)
    assert lines[0]["msg"].startswith("<sync>: 4 slots")


def test_sentences_never_quote_bytes_and_write_instants_whole() -> None:
    at = datetime(2026, 5, 12, 9, 30, tzinfo=UTC)

    with capture_logs() as lines:
        emit(events.CONNECTION_STOPPED, connection="amp", reason=b"id", probe_at=at)

    sentence = "amp: stopped, <reason>; tried again at 2026-05-12T09:30:00+0000"
    assert lines[0]["msg"] == sentence


@pytest.mark.parametrize("event", CATALOGUE, ids=NAMES)
def test_every_warning_and_error_names_the_next_command(event: Event) -> None:
    for level in (Level.WARNING, Level.ERROR):
        with capture_logs() as lines:
            emit(event, level=level, sync="growth", run_id="r1")

        assert lines[0]["log_level"] == level
        assert lines[0]["next"].startswith("syncd ")
        assert "<" not in lines[0]["next"]


def test_the_caller_may_know_a_better_next_command() -> None:
    with capture_logs() as lines:
        emit(events.GUARD_TRIPPED, next="syncd show 1234", guard="max_exit")

    assert lines[0]["next"] == "syncd show 1234"


def test_quiet_levels_name_no_command() -> None:
    with capture_logs() as lines:
        emit(events.RUN_FINISHED, run_id="r1", outcome="success")

    assert "next" not in lines[0]


def test_every_event_has_one_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 45


@pytest.mark.parametrize("event", CATALOGUE, ids=NAMES)
def test_names_are_noun_and_past_and_match_their_constant(event: Event) -> None:
    constant = event.name.replace(".", "_").upper()

    assert getattr(events, constant) is event


@pytest.mark.parametrize("event", CATALOGUE, ids=NAMES)
def test_sentences_use_only_fields_that_the_event_may_carry(event: Event) -> None:
    listed = dict.fromkeys(event.fields | events.CONTEXT, 0)

    assert event.message.format(**listed)
    assert event.next.format(**listed) == event.next.format_map(listed)


def test_a_level_belongs_to_each_outcome() -> None:
    levels = {outcome: level_of(outcome) for outcome in Outcome}

    assert levels[Outcome.FAILED] == levels[Outcome.ABANDONED] == Level.ERROR
    assert levels[Outcome.HELD] == levels[Outcome.PARTIAL] == Level.WARNING
    assert levels[Outcome.SUCCESS] == levels[Outcome.NO_CHANGE] == Level.INFO


def test_warnings_and_errors_say_which_page_is_about_them() -> None:
    with capture_logs() as lines:
        emit(events.GUARD_TRIPPED, guard="guard.max_exit")
        emit(events.RUN_FINISHED, level=Level.ERROR, reason="source.stale")
        emit(events.RUN_FINISHED, level=Level.ERROR, reason="some words: of others")
        emit(events.RUN_FINISHED, outcome="success")

    assert [line.get("help") for line in lines] == [
        "syncd explain guard.max_exit",
        "syncd explain source.stale",
        "syncd explain run.finished",
        None,
    ]
