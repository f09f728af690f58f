"""Why a lane comes to rest, as the run is told. Pure."""

from syncd.delivery.lane import Lane
from syncd.model import Settled, Settlement


def outcome_of(lane: Lane) -> Settlement:
    """What became of a lane in which nothing is under way any more."""
    if lane.ended is not None:
        return lane.ended
    if lane.rejected and not lane.accepted:
        return rejects_everybody(Settled.WAITING, lane.rejected)
    return Settlement(state=Settled.DONE)


def rejects_everybody(state: Settled, count: int) -> Settlement:
    """So many ids were refused one by one, and none was accepted."""
    return Settlement(
        state=state,
        code="target.rejects_everybody",
        message=f"the destination refused everybody ({count:,}, one by one) and "
        "accepted nobody: does the list still exist?",
    )


def knows_nobody(batches: int) -> Settlement:
    """None of so many batches could create the target."""
    return Settlement(
        state=Settled.WAITING,
        code="target.nobody_known",
        message="the destination knows nobody of the first "
        f"{batches} batches, so the cohort was not created",
    )


def interrupted() -> Settlement:
    """The process stops."""
    return Settlement(state=Settled.INTERRUPTED, code="shutdown")
