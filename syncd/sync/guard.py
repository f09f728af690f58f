"""The brake: judges a whole plan before its first byte. Pure.

A tripped guard never sends a part: the plan is held as a whole and a person decides
on exactly that plan. Defaults: architecture page, section 8 (between AWS' 15 % and
rclone's 50 %).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from syncd.model import Moved
from syncd.sync.identity import Aspect, Change
from syncd.sync.plan import Plan

NOBODY = Moved()


class Guard(StrEnum):
    """Why a plan is held. The value is the code people look up."""

    EMPTY_SOURCE = "guard.empty_source"
    """The source lists nobody though the destination holds somebody."""
    MAX_EXIT = "guard.max_exit"
    """More would leave than the limit allows."""
    MAX_EXIT_24H = "guard.max_exit_24h"
    """More would have left within 24 hours than the limit allows."""
    MAX_ENTER = "guard.max_enter"
    """More would enter than the limit allows."""
    BASELINE = "guard.baseline"
    """What is stored about the destination is not what was stored."""
    IDENTITY = "guard.identity"
    """The sync now reads, writes or matches something else."""
    REPLACE = "guard.replace"
    """An upload would put out more people of others than were agreed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`guard:` of a sync. Shares are of acknowledged or uncertain ids."""

    max_exit: float = 0.20
    max_enter: float = 10.0
    ignore_below: int = 50
    """Changes up to this many never trip `max_exit`, `max_exit_24h`, `max_enter`."""
    max_exit_24h: float | None = 0.40
    """Of those who were there 24 hours ago; None: any number may leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One guard that tripped: measured value, its limit, one sentence."""

    guard: Guard
    value: float
    limit: float
    reason: str


def judge(
    plan: Plan,
    limits: Limits,
    *,
    baseline_intact: bool,
    change: Change | None,
    lately: Moved = NOBODY,
    source_asked: bool = True,
) -> tuple[Trip, ...]:
    """Every guard the plan trips; an empty tuple lets it go out.

    `lately` is who moved in the last 24 hours without having been approved. Without
    `source_asked` the plan only removes people who are to be forgotten: where these are
    all there are, no source came out empty.
    """
    trips = []
    if not baseline_intact:
        trips.append(_baseline(plan))
    if change is not None and not _is_harmless(change, plan):
        trips.append(_identity(change))
    if source_asked and plan.members == 0 and plan.union > 0:
        trips.append(_empty_source(plan))
    else:
        trips += _exits(plan, limits, lately)
    if (
        plan.union > 0
        and plan.entered > limits.ignore_below
        and plan.enter_share > limits.max_enter
    ):
        trips.append(_max_enter(plan, limits))
    return tuple(trips)


def _exits(plan: Plan, limits: Limits, lately: Moved) -> Iterator[Trip]:
    """The brake on one run, and the one on many small ones."""
    alone = plan.exited > limits.ignore_below and plan.exit_share > limits.max_exit
    if alone:
        yield _max_exit(plan, limits)
    if limits.max_exit_24h is None or not plan.exited:
        return  # whoever left before is no reason to hold who enters now
    share, count = plan.exit_share_over(lately), plan.exits_over(lately)
    said_already = alone and not lately.exited
    if count > limits.ignore_below and share > limits.max_exit_24h and not said_already:
        yield _max_exit_24h(plan, lately, share, limits.max_exit_24h)


def _is_harmless(change: Change, plan: Plan) -> bool:
    """Another query that lists the same people: there is nothing to approve."""
    return change.aspect is Aspect.SOURCE and plan.batches == 0


def _baseline(plan: Plan) -> Trip:
    return Trip(
        guard=Guard.BASELINE,
        value=plan.acknowledged,
        limit=0,
        reason="the stored members do not add up to the stored count",
    )


def _identity(change: Change) -> Trip:
    return Trip(guard=Guard.IDENTITY, value=1, limit=0, reason=change.sentence)


def _empty_source(plan: Plan) -> Trip:
    return Trip(
        guard=Guard.EMPTY_SOURCE,
        value=0,
        limit=1,
        reason=f"the source is empty, {plan.union:,} people would leave",
    )


def _max_exit(plan: Plan, limits: Limits) -> Trip:
    return Trip(
        guard=Guard.MAX_EXIT,
        value=plan.exit_share,
        limit=limits.max_exit,
        reason=f"{plan.exited:,} of {plan.union:,} people would leave "
        f"({plan.exit_share:.1%}, limit {_percent(limits.max_exit)})",
    )


def _max_exit_24h(plan: Plan, lately: Moved, share: float, limit: float) -> Trip:
    return Trip(
        guard=Guard.MAX_EXIT_24H,
        value=share,
        limit=limit,
        reason=f"{plan.exits_over(lately):,} people would have left within 24 hours, "
        f"{plan.exited:,} of them now ({share:.1%}, limit {_percent(limit)})",
    )


def _max_enter(plan: Plan, limits: Limits) -> Trip:
    return Trip(
        guard=Guard.MAX_ENTER,
        value=plan.enter_share,
        limit=limits.max_enter,
        reason=f"{plan.entered:,} people would enter, {plan.union:,} are there "
        f"({plan.enter_share:.0%}, limit {_percent(limits.max_enter)})",
    )


def _percent(limit: float) -> str:
    """A limit as it was configured: 20%, 2.5%."""
    return f"{limit * 100:.10g}%"
