"""What a run says of its plan: numbers of the report, and log lines."""

from datetime import datetime

from syncd import events
from syncd.events import emit
from syncd.model import Found
from syncd.sync.draft import Draft
from syncd.sync.steps import Run


def unchanged(run: Run, since: datetime | None) -> None:
    """Note that the source was not read, since it is as the last plan found it."""
    run.report.numbers["unchanged_since"] = since.isoformat() if since else ""


def count(run: Run, made: Draft) -> None:
    """Note what the plan would do, and say it."""
    plan = made.plan
    run.report.numbers.setdefault("snapshot", plan.members)
    run.report.numbers |= {
        "members": plan.members,
        "members_before": plan.acknowledged,
        "to_enter": plan.entered,
        "to_exit": plan.exited,
        "reasserted": plan.reasserted,
        "exit_ratio": round(plan.exit_share, 4),
        "batches": plan.batches,
    }
    emit(
        events.DIFF_COMPUTED,
        entered=plan.entered,
        exited=plan.exited,
        unchanged=plan.members - plan.entered,
        reasserted=plan.reasserted,
    )


def say_committed(found: Found | None, made: Draft) -> None:
    """The plan is durable."""
    if made.plan.union == 0 and made.plan.entered:
        _say_first(made, found)
    emit(events.CHANGES_COMMITTED, batches=made.plan.batches)


def _say_first(made: Draft, found: Found | None) -> None:
    """Nobody is known at the target so far: a first sync, or one that starts anew."""
    emit(
        events.BASELINE_CREATED,
        members=made.plan.entered,
        cohort_id=found.external_id if found else None,
        found_size=found.size if found else None,
    )
    if found is not None:
        emit(
            events.TARGET_ADOPTED,
            cohort_id=found.external_id,
            name=found.name,
            found_size=found.size,
        )


def lag_ms(run: Run) -> int | None:
    """How much later than its slot the run began; None without a slot."""
    slot = run.report.slot
    if slot is None:
        return None
    return round((run.report.started_at - slot).total_seconds() * 1000)
