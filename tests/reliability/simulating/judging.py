"""What must hold of a simulated history, looked at after every step of it.

The store is read by plain SQL of its own, not by the product's queries; what was really
asked for, told and done is known from the world outside. A broken law is noted, since
an exception inside a request would be taken for an answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syncd.config.settings import GuardSettings
from syncd.model import Operation, Outcome, Receipt, Trigger
from syncd.store import runs
from syncd.sync import ids as hygiene
from syncd.sync.spec import Report
from tests.reliability.simulating.books import Books, Side
from tests.reliability.simulating.outsides import Asked, Destination, type_of

UNGUARDED = {Trigger.APPROVE, Trigger.RESYNC, Trigger.RESUME}
"""Triggers of runs whose batches a person agreed to, or that were judged before."""


@dataclass(kw_only=True)
class Judge:
    """Notes every law that was broken."""

    books: Books
    destinations: Mapping[str, Destination]
    """By sync."""
    guards: Mapping[str, GuardSettings]
    batch_sizes: Mapping[str, int]
    wrong: list[str] = field(default_factory=list)
    told: dict[tuple[str, str], frozenset[bytes]] = field(default_factory=dict)
    """Whom a run's source listed, by (sync, run)."""
    wanted: dict[str, frozenset[bytes]] = field(default_factory=dict)
    """S of the last plan that went out, by sync."""
    before: dict[str, set[bytes]] = field(default_factory=dict)
    """IN or U of a sync when nothing of it was running."""
    checks: int = 0
    _sides: dict[int, Side] = field(default_factory=dict)
    _held: dict[str, str] = field(default_factory=dict)
    _plans: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _proven: dict[int, set[bytes]] = field(default_factory=dict)
    _named: dict[tuple[str, str], dict[Operation, set[bytes]]] = field(
        default_factory=dict
    )
    _judged: set[str] = field(default_factory=set)

    def require(self, holds: bool, law: str) -> None:
        """Note the law unless it holds."""
        if not holds and law not in self.wrong:
            self.wrong.append(law)

    def heard(self, sync: str, listed: frozenset[bytes]) -> None:
        """A source told whom it wants, to the run in progress."""
        self.told[sync, self.books.run_in_progress(sync)] = listed

    # ---- after every transaction, request and step --------------------------------

    def look(self) -> None:
        """I-2 and I-4 at this very moment."""
        self.checks += 1
        if self.books.moved():
            held = self.books.held()
            for sync, run in held.items():
                self.told.setdefault((sync, run), self.wanted.get(sync, frozenset()))
            sides = self.books.sides()
            for side in sides.values():
                self._follow_plan(side)
                self._leave_with_proof(self._sides.get(side.id), side)
            self._sides, self._held = sides, held
        for side in self._sides.values():
            wrong = self.error(side)
            self.require(
                wrong <= side.uncertain | side.doubtful,
                f"I-2 {side.sync}: an error that nobody knows of",
            )

    def error(self, side: Side) -> set[bytes]:
        """(R xor IN) and D, without whom somebody else moved."""
        there = self.members(side)
        outside = self.destinations[side.sync]
        sent = outside.sent_to.get(side.cohort, set()) | outside.sent_to.get(
            side.name, set()
        )
        edited = outside.edited.get(side.cohort, set())
        return ((there ^ side.acknowledged) & sent) - edited

    def members(self, side: Side) -> set[bytes]:
        """R: who is there in truth, by this kind of id."""
        cohorts = self.destinations[side.sync].cohorts.values()
        found = [
            each
            for each in cohorts
            if each.id == side.cohort or (each.name == side.cohort and not each.gone)
        ]
        self.require(len(found) <= 1, f"I-9 {side.sync}: a second cohort was made")
        there = {member for each in found for member in each.members}
        return {each for each in there if type_of(each) is side.id_type}

    def _follow_plan(self, side: Side) -> None:
        """A plan that goes out replaces S."""
        if side.role != "current" or self._plans.get(side.id) == side.plan:
            return
        self._plans[side.id] = side.plan
        (plan,) = side.open_plans or {self.books.run_in_progress(side.sync)}
        if (side.sync, plan) not in self.told:
            plan = self._held.get(side.sync, plan)
        # A plan may stand on whom the plans before it wanted, and read nothing.
        before = self.wanted.get(side.sync, frozenset())
        self.wanted[side.sync] = self.told.setdefault((side.sync, plan), before)

    def _leave_with_proof(self, before: Side | None, now: Side) -> None:
        """I-4: an id leaves *uncertain* only with an answer about it."""
        proven = self._proven.setdefault(now.id, set())
        if before is None:
            return
        left = before.uncertain - now.uncertain
        self.require(left <= proven, f"I-4 {now.sync}: certain without a proof")
        known = before.acknowledged ^ now.acknowledged
        self.require(known <= proven, f"I-4 {now.sync}: moved without a proof")

    # ---- requests ------------------------------------------------------------------

    def before_request(self, asked: Asked, *, alive: bool) -> None:
        """I-3, I-7, I-8, I-10, I-5 and I-6, before the effect."""
        self.look()
        side = self._side_of(asked)
        sync, ids = asked.sync, set(asked.ids)
        self.require(side is not None, f"I-3 {sync}: no binding is known")
        if side is None:
            return
        if alive:
            self.require(
                ids <= side.uncertain, f"I-3 {sync}: sent before it was durable"
            )
            self._proven.setdefault(side.id, set()).difference_update(ids)
        self.require(sync not in self._held, f"I-8 {sync}: sent while a plan is held")
        self._well_formed(asked, side)
        listed = self.told.get((sync, asked.plan_id))
        self.require(listed is not None, f"I-7 {sync}: a plan that nobody made")
        if listed is not None:
            self._as_listed(asked, side, listed)

    def _as_listed(self, asked: Asked, side: Side, listed: frozenset[bytes]) -> None:
        sync, ids = asked.sync, set(asked.ids)
        if side.role == "retiring":
            self.require(
                asked.operation is Operation.REMOVE,
                f"I-7 {sync}: added under an old id",
            )
            return
        if asked.operation is Operation.REMOVE:
            self.require(not ids & listed, f"I-7 {sync}: removed though it is listed")
        else:
            self.require(ids <= listed, f"I-7 {sync}: added though it is not listed")
        if asked.plan_id == asked.run_id and asked.run_id not in self._judged:
            self._judged.add(asked.run_id)
            self._whole_plan(asked, side, listed)

    def _whole_plan(self, asked: Asked, side: Side, listed: frozenset[bytes]) -> None:
        """The first request of a plan: nobody is forgotten, and the brake was asked."""
        sync, sure = asked.sync, side.acknowledged - side.uncertain
        self.require(sure <= listed, f"I-5 {sync}: an exit is not planned")
        meant = side.uncertain & listed
        self.require(side.meant_in == meant, f"I-5 {sync}: an uncertain id is not told")
        known = side.acknowledged | side.uncertain | side.unaccepted
        self.require(listed <= known, f"I-6 {sync}: an entry is not planned")
        trigger = self.books.rows("SELECT trigger FROM run WHERE id = ?", asked.run_id)[
            0
        ][0]
        union = self.before.get(sync, set())
        if trigger in UNGUARDED or not union:
            return
        self.require(bool(listed), f"I-8 {sync}: the source is empty")
        guard, exits = self.guards[sync], union - listed
        few = len(exits) <= guard.ignore_below
        share = len(exits) / len(union)
        self.require(few or share <= guard.max_exit, f"I-8 {sync}: too many exits")

    def _well_formed(self, asked: Asked, side: Side) -> None:
        sync, ids = asked.sync, asked.ids
        size = self.batch_sizes[sync]
        self.require(0 < len(ids) <= size, f"I-10 {sync}: {len(ids)} ids in a batch")
        self.require(len(set(ids)) == len(ids), f"I-10 {sync}: an id twice in a batch")
        odd = [each for each in ids if hygiene.reason(each, side.id_type)]
        self.require(not odd, f"I-10 {sync}: an id that may not go out")
        named = self._named.setdefault((asked.run_id, asked.plan_id), {})
        named.setdefault(asked.operation, set()).update(ids)
        both = set.intersection(
            *(named.get(each, set()) for each in (Operation.ADD, Operation.REMOVE))
        )
        self.require(not both, f"I-10 {sync}: added and removed by one plan")

    def answered(self, asked: Asked, receipt: Receipt | None) -> None:
        """What an answer proves, if it comes home; a refusal of one id does, too."""
        side = self._side_of(asked)
        if side is None:
            return
        proven = self._proven.setdefault(side.id, set())
        if receipt is None and len(asked.ids) == 1:
            proven.update(asked.ids)
        elif receipt is not None and receipt.created is None:
            proven.update(receipt.accepted, receipt.unmatched, receipt.rejected)

    def _side_of(self, asked: Asked) -> Side | None:
        mine = [
            each
            for each in self._sides.values()
            if each.sync == asked.sync
            and {asked.cohort, asked.name} & {each.cohort, each.name}
        ]
        fits = [each for each in mine if set(asked.ids) <= each.uncertain]
        return next(iter(fits or mine), None)

    # ---- runs ----------------------------------------------------------------------

    def begin(self, sync: str) -> None:
        """A run of the sync is about to begin."""
        self.look()
        self.before[sync] = {
            each
            for side in self._sides.values()
            if side.sync == sync and side.role == "current"
            for each in side.acknowledged | side.uncertain
        }

    def ended(self, report: Report) -> None:
        """I-20: OK if and only if all is settled, and then it is right (I-1)."""
        self.look()
        sync = report.sync
        lost = report.reason == "guard.baseline"
        self.require(not lost, f"I-20 {sync}: held for a loss that never was")
        sides = [each for each in self._sides.values() if each.sync == sync]
        if report.outcome not in runs.OK:
            honest = bool(report.reason) or report.outcome is Outcome.INTERRUPTED
            self.require(honest, f"I-20 {sync}: {report.outcome} without a reason")
            return
        for side in sides:
            self.require(not side.uncertain, f"I-20 {sync}: OK with uncertain ids")
            if side.role == "current":
                self._equal(report, side)

    def _equal(self, report: Report, side: Side) -> None:
        sync, known = side.sync, side.acknowledged
        wanted = self.wanted.get(sync, frozenset())
        read = self.told.get((sync, report.run_id), wanted)
        self.require(read == wanted, f"I-1 {sync}: OK without what was read")
        self.require(
            known == wanted - side.unaccepted, f"I-1 {sync}: not what was wanted"
        )
        wrong = self.error(side) - side.doubtful
        self.require(not wrong, f"I-1 {sync}: not what is there")

    def settled(self, sync: str, wanted: Iterable[bytes]) -> bool:
        """Whether I-1 holds of the source as it is now."""
        self.look()
        sides = [each for each in self._sides.values() if each.sync == sync]
        return all(
            not each.uncertain | each.doubtful
            and not self.error(each)
            and (
                each.role != "current"
                or each.acknowledged == set(wanted) - each.unaccepted
            )
            for each in sides
        )

    def lines(self, sync: str) -> int:
        """Answers that were written down of the sync."""
        return self.books.one("SELECT count(*) FROM attempt WHERE sync = ?", sync)

    def doubts(self, sync: str) -> bool:
        """Whether somebody may still be moved by a request that lands late."""
        self.look()
        return any(each.doubtful for each in self._sides.values() if each.sync == sync)

    def is_held(self, sync: str) -> str:
        """The run whose plan waits for a person, if any."""
        self.look()
        return self._held.get(sync, "")

    def slots(self) -> None:
        """I-21: no slot twice, and every run closed."""
        twice = self.books.one(
            "SELECT count(*) FROM (SELECT 1 FROM run WHERE slot IS NOT NULL"
            " GROUP BY sync, slot HAVING count(*) > 1)"
        )
        self.require(twice == 0, "I-21: a slot twice")
        left = self.books.one("SELECT count(*) FROM run WHERE outcome IS NULL")
        self.require(left == 0, "I-21: a run was never closed")
