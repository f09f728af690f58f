"""What `verify --repair` asks of whom, and how it tells a refusal."""

from collections.abc import Mapping
from typing import Any

import pytest

from syncd.cli import repair
from syncd.cli.exit_codes import ExitCode
from syncd.cli.frame import Frame
from syncd.cli.plan_files import NotAgreed
from syncd.errors import DaemonError, SourceUnavailable

DONE = {"id": "0" * 36, "sync": "vip", "outcome": "success", "entered": 2, "exited": 1}


def frame(*, yes: bool = True) -> Frame:
    return Frame(read_environ=dict, yes=yes, no_input=True)


def found(
    missing: int = 0, ours: int = 0, others: int = 0, in_flight: int = 0
) -> dict[str, Any]:
    return {
        "missing": missing,
        "ghosts_ours": ours,
        "ghosts_returned": 0,
        "ghosts_others": others,
        "in_flight": in_flight,
        "evidence": "e" * 64,
    }


class Engine:
    """Answers in turn; remembers what it was asked."""

    def __init__(self, *answers: Mapping[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, verb: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((verb, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_only_what_can_be_repaired_is_asked_for_and_bound_to_its_evidence() -> None:
    engine = Engine({"run": DONE})
    results: dict[str, repair.Result] = {
        "vip": found(missing=2, ours=1),
        "new": found(others=9),
        "gone": SourceUnavailable("no such cohort"),
    }

    ended = repair.repaired(frame(), engine, results, "somebody edited it")

    ((verb, body),) = engine.asked
    assert (verb, body["sync"], body["evidence"]) == ("repair", "vip", "e" * 64)
    assert body["reason"] == "somebody edited it"
    document = repair.document(ended["vip"])
    assert document == {"added": 2, "removed": 1, "run": DONE}
    assert repair.code_of(ended["vip"]) is ExitCode.OK
    assert repair.document(ended.get("new")) is None


def test_stale_evidence_is_told_with_the_next_command_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stale = DaemonError("it moved", code="repair.stale", hint="syncd verify a --repair")
    engine = Engine(stale, {"run": DONE})
    results = {"a": found(missing=1), "vip": found(missing=2, ours=1)}

    ended = repair.repaired(frame(), engine, results, None)

    said = capsys.readouterr().err
    assert "a: not repaired: it moved\n  next: syncd verify a --repair" in said
    error = repair.document(ended["a"])
    assert error is not None
    assert error["error"]["code"] == "repair.stale"
    assert repair.code_of(ended["a"]) is ExitCode.TRY_LATER
    assert repair.code_of(ended["vip"]) is ExitCode.OK


def test_a_held_or_needless_repair_moves_nobody() -> None:
    held = {"run": DONE | {"outcome": "held", "entered": 0, "exited": 0}}

    assert repair.code_of(held) is ExitCode.HELD
    assert repair.code_of({"run": None}) is ExitCode.OK
    assert repair.document({"run": None}) == {"added": 0, "removed": 0, "run": None}


def test_without_a_yes_nothing_is_asked() -> None:
    engine = Engine()

    with pytest.raises(NotAgreed) as refusal:
        repair.repaired(frame(yes=False), engine, {"vip": found(ours=1)}, None)

    assert refusal.value.code == "repair.unconfirmed"
    assert refusal.value.hint == "syncd verify vip --repair --yes"
    assert engine.asked == []


def test_whoever_a_request_may_still_move_is_no_repair_and_said_to_be_the_next_runs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = Engine()

    ended = repair.repaired(frame(), engine, {"vip": found(in_flight=3)}, None)

    said = capsys.readouterr().err
    assert (ended, engine.asked) == ({}, [])
    assert "Nothing to repair." in said
    assert "3 ids without a proven answer are asserted again by its next run" in said
    assert "syncd run vip" in said
