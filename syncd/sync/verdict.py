"""From a draft to a verdict: asking the guards, and saying what they found."""

from typing import Any

from syncd import events
from syncd.events import emit
from syncd.model import Outcome, Trigger
from syncd.sync.draft import Draft
from syncd.sync.guard import Guard, Trip, judge
from syncd.sync.identity import Side
from syncd.sync.sides import changed_sides
from syncd.sync.steps import Run
from syncd.sync.window import moved_lately


def verdict(run: Run, made: Draft) -> tuple[Trip, ...]:
    lately = moved_lately(run.parts.database, run.spec.name, run.parts.clock.now())
    plan = made.plan
    run.report.numbers |= {
        "exits_24h": plan.exits_over(lately),
        "exit_ratio_24h": round(plan.exit_share_over(lately), 4),
    }
    trips = judge(
        plan,
        run.spec.limits,
        baseline_intact=made.baseline_intact,
        change=run.change,
        lately=lately,
        source_asked=run.report.trigger is not Trigger.FORGET,
    )
    if run.anew and not made.baseline_intact and len(trips) == 1:
        # Sending everybody again is what a lost baseline calls for. Beside another
        # trip it stays, so that an approval accepts what is left of it.
        trips = ()
    if run.replacing is not None:
        trips += run.replacing.trips(plan)
    run.report.numbers["trips"] = [
        {
            "guard": trip.guard,
            "value": round(trip.value, 4),
            "limit": trip.limit,
            "reason": trip.reason,
        }
        for trip in trips
    ]
    return trips


def hold(run: Run, made: Draft, trips: tuple[Trip, ...]) -> None:
    report = run.report
    report.outcome, report.reason = Outcome.HELD, trips[0].guard
    # Its batches were stored since, but it is the guard that stopped it.
    report.phase = "guard"
    report.message = "; ".join(trip.reason for trip in trips)
    parts, spec = run.parts, run.spec
    told = changed_sides(
        parts.database,
        run.binding,
        run.change,
        spec.identity,
        made.plan,
        parts.clock.now(),
    )
    report.numbers |= {
        "sides": [_side(each) for each in told],
        "identity": run.spec.identity.hash,
        "digest": [made.plan.digest.count, made.plan.digest.total],
        "mark": made.mark,
    }
    _say_tripped(run, made, trips)


def _side(side: Side) -> dict[str, Any]:
    where = side.identity
    return {
        "connection": where.connection,
        "target": where.target,
        "match": where.id_type,
        "members": side.members,
        "to_enter": side.entered,
        "to_exit": side.exited,
        "sentence": side.sentence,
    }


def fail(run: Run, trips: tuple[Trip, ...]) -> None:
    report = run.report
    report.outcome, report.reason = Outcome.FAILED, trips[0].guard
    report.message = "; ".join(trip.reason for trip in trips)
    report.error_type = "guard"


def _say_tripped(run: Run, made: Draft, trips: tuple[Trip, ...]) -> None:
    for trip in trips:
        if trip.guard is Guard.BASELINE:
            emit(events.BASELINE_MISSING, reason=trip.reason, error_type="baseline")
        emit(
            events.GUARD_TRIPPED,
            guard=trip.guard,
            value=round(trip.value, 4),
            limit=trip.limit,
            before=made.plan.union,
            entered=made.plan.entered,
            exited=made.plan.exited,
            reason=trip.reason,
        )
