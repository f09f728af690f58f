"""What a person may ask of a running engine; the same for the socket and the CLI."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from syncd import events
from syncd.app.blackouts import blackout_of
from syncd.app.engine import Engine
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Trigger
from syncd.sources import Postponed
from syncd.store import runs
from syncd.store.runs import OK
from syncd.sync.decide import Decision, NotDecidable
from syncd.sync.spec import Report


def run(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via"}` -> `{"run": …}`: run a sync now, to its end."""
    name = body["sync"]
    emit(events.OPERATOR_RAN, sync=name, actor=body["actor"], via=body["via"])
    # A window keeps off what begins by itself; a person knows what they do.
    closed = blackout_of(engine.blueprint.settings, name, engine.clock.now())
    answer = shown(engine.run(name, Trigger.MANUAL))
    if closed is not None and answer["run"] is not None:
        answer["run"]["notice"] = closed.notice
    return answer


def fetch(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via"}` -> `{"state", …}`: prepare a sync's list for reading.

    `state` is `ready`, or `postponed` with a `message`.
    """
    name = body["sync"]
    emit(events.OPERATOR_FETCHED, sync=name, actor=body["actor"], via=body["via"])
    answer = engine.fetch(name)
    if isinstance(answer, Postponed):
        return {"state": "postponed", "message": answer.message}
    return {"state": "ready"}


def approve(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"run", "actor", "via", "reason"}` -> `{"run": …}`: send the held plan."""
    report = engine.approve(_decision(engine, body))
    if report is not None and report.outcome in OK:
        # The source may have moved on while the plan waited. What becomes of that run
        # has its own line; the answer here is about the approved plan.
        with suppress(SyncdError):
            engine.run(report.sync, Trigger.CATCH_UP)
    return shown(report)


def reject(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"run", "actor", "via", "reason"}` -> `{}`: drop the held plan."""
    engine.reject(_decision(engine, body))
    return {}


def _decision(engine: Engine, body: Mapping[str, Any]) -> Decision:
    with engine.database.read() as connection:
        found = runs.find(connection, body["run"])
    if len(found) != 1:
        problem = "no run ends with" if not found else "several runs end with"
        raise NotDecidable(
            f"{problem} {body['run']}", code="run.unknown", hint="syncd runs"
        )
    return Decision(
        run_id=found[0].id,
        actor=body["actor"],
        via=body["via"],
        reason=body["reason"],
    )


def shown(report: Report | None) -> dict[str, Any]:
    """How a run ended, as an answer; nothing where none began."""
    if report is None:
        return {"run": None}
    return {
        "run": {
            "id": report.run_id,
            "sync": report.sync,
            "outcome": report.outcome,
            "reason": report.reason,
            "message": report.message,
            "hint": report.hint,
            "phase_ms": report.phase_ms,
            **report.numbers,
        }
    }
