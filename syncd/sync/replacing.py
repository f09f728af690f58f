"""Replacing a cohort's members by one upload, ahead of a plan that sends everybody.

The upload is a batch of its own, the first of its plan: durable before its request, so
a cut-off run sends it again as it stands, with the same effect. Behind it the plan says
the same once more, person by person, and only those answers are believed. Cut off
anywhere, everybody it might have moved whom we know is named by a batch that is open.
"""

from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from syncd.errors import SyncdError
from syncd.model import Operation, PlannedBatch
from syncd.sync.draft import Draft
from syncd.sync.guard import Guard, Trip
from syncd.sync.plan import Plan
from syncd.sync.spill import PlanFile


class NotReplaceable(SyncdError):
    """The members cannot be replaced by one upload."""

    code = "resync"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacing:
    """What is known before the upload, and what was agreed to."""

    sync: str
    most: int
    """Ids that the destination takes in one upload."""
    there: int | None
    """Members that the destination counts; None when it does not say."""
    strangers: int
    """People of others who may be put out: whoever asked was told so many."""

    def trips(self, plan: Plan) -> tuple[Trip, ...]:
        """The guard: more people whom we know nothing of than were agreed to."""
        if self.there is None:
            return (_trip(-1, self.strangers, "how many others are there is not said"),)
        others = strangers(self.there, plan.acknowledged)
        if others <= self.strangers:
            return ()
        told = f"{others:,} people whom others put there would leave"
        reason = f"{told}, {self.strangers:,} were agreed to"
        return (_trip(others, self.strangers, reason),)

    def lay_before(self, made: Draft, folder: Path) -> None:
        """Put the upload at the head of the draft. Raises `NotReplaceable`."""
        with ExitStack() as on_error:
            on_error.enter_context(closing(made))
            self._require_fits(made.plan.members)
            file = on_error.enter_context(closing(PlanFile(folder)))
            file.add(_upload(made))
            for each in made.file.batches():
                file.add(each)
            on_error.pop_all()
        made.file.close()
        made.file = file
        made.plan = replace(made.plan, batches=len(file), hash=file.digest)

    def _require_fits(self, members: int) -> None:
        if members == 0:
            raise NotReplaceable(
                f"{self.sync}: the source lists nobody, and an upload of nobody is "
                "refused",
                code="resync.empty",
                hint=f"syncd resync {self.sync} --push",
            )
        if members > self.most:
            raise NotReplaceable(
                f"{self.sync}: {members:,} people are more than one upload takes "
                f"({self.most:,})",
                code="resync.too_large",
                hint=f"syncd resync {self.sync} --push",
            )


def strangers(there: int, acknowledged: int) -> int:
    """How many of those who are counted there are not there because of us."""
    return max(0, there - acknowledged)


def _upload(made: Draft) -> PlannedBatch:
    adds = (each for each in made.file.batches() if each.operation is Operation.ADD)
    return PlannedBatch(
        operation=Operation.REPLACE,
        ids=[member_id for each in adds for member_id in each.ids],
        first_bucket=0,
        last_bucket=made.n_buckets - 1,
    )


def _trip(value: int, limit: int, reason: str) -> Trip:
    return Trip(guard=Guard.REPLACE, value=value, limit=limit, reason=reason)
