"""What people decide about a sync: rules of state machines.

Mixed into a `machinery.machines.Machine`. They approve and reject, also what nobody
asked them about; pause and resume; change the configuration while it is in use; switch
a sync off and on; ask for people to be forgotten.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import select

from syncd.app import forgetting, pausing
from syncd.app.engine import UnknownSync
from syncd.errors import SyncdError
from syncd.model import IdType, Operation, Trigger
from syncd.store import forgotten
from syncd.store.buckets import decode
from syncd.store.tables import batch, batch_ids, metadata
from syncd.sync.beginning import WaitsForPerson
from tests.builders import FAILED_BEFORE
from tests.reliability.machinery.machines import GUARD, MOMENT, NAME
from tests.reliability.machinery.ordeals import (
    Ordeals,
    Script,
    moments,
    somebody,
    troubles,
)

WHO = {"actor": "ann", "via": "cli"}


class Hands(Ordeals):
    """Rules about what people decide."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.once_held: list[str] = []
        """Runs whose plan was decided on, or expired."""

    # ---- a held plan -----------------------------------------------------------------

    @precondition(lambda self: self.is_held() and not self.paused())
    @rule(script=st.one_of(st.just([]), troubles), death=st.none() | moments)
    def the_plan_is_approved(self, script: Script, death: int | None) -> None:
        """I-8: exactly the plan that was shown goes out; only one that is too old, or
        that another query made, is refused."""
        decision, shown = self.decision(), self.held_plan()
        self.once_held.append(decision.run_id)
        self.vendor.script.extend(script)
        if death is not None:
            self.store.die_at(death)
        refusal, report = self.attempt(lambda: self.engine.approve(decision))
        self.vendor.script.clear()
        if not self.store.dead:
            assert (report is None) == (refusal in {"hold.expired", "hold.changed"})
        if report is not None:
            asked = self.asked.get(report.run_id, {})
            assert all(asked[each] <= shown[each] for each in asked)
            self.believe(report) if not self.store.dead else None
        self.restart() if death is not None else self.pass_time(MOMENT)

    @precondition(lambda self: self.is_held())
    @rule()
    def the_plan_is_rejected(self) -> None:
        known, decision = self.known(), self.decision()

        with suppress(SyncdError):
            self.engine.reject(decision)

        self.once_held.append(decision.run_id)
        assert self.known() == known

    @precondition(lambda self: self.is_held() or self.once_held)
    @rule(approve=st.booleans(), nth=st.integers(min_value=0, max_value=5))
    def another_plan_is_decided_on(self, approve: bool, nth: int) -> None:
        """I-8: a word about a plan that does not wait changes nothing."""
        held = self.held()
        wrong = [
            "0" * 36,
            *(one for one in self.once_held if not held or one != held.id),
        ]
        decision = self.decision(wrong[nth % len(wrong)])
        decide: Callable[[Any], object] = self.engine.reject
        if approve:
            decide = self.engine.approve
        before, known = len(self.vendor.requests), self.known()

        refusal, _ = self.attempt(lambda: decide(decision))

        assert refusal == "hold.none"
        assert (len(self.vendor.requests), self.known()) == (before, known)
        assert self.held() == held

    def held_plan(self) -> dict[Operation, set[bytes]]:
        """Whom the held plan adds and removes, and who is in doubt of old id types."""
        plan: dict[Operation, set[bytes]] = {each: set() for each in Operation}
        query = (
            batch.select()
            .with_only_columns(batch.c.operation, batch_ids.c.ids)
            .join(batch_ids, batch_ids.c.batch_id == batch.c.id)
            .where(batch.c.state == "held")
        )
        with self.world.database.read() as connection:
            for operation, ids in connection.execute(query):
                plan[Operation(operation)].update(decode(ids))
        return plan

    def attempt(self, action: Callable[[], Any]) -> tuple[str, Any]:
        """What became of it, or the code of its refusal."""
        try:
            return "", action()
        except SyncdError as error:
            return error.code, None

    # ---- pauses ----------------------------------------------------------------------

    @precondition(lambda self: not self.paused())
    @rule(span=st.sampled_from(["1h", "4h", None]))
    def it_is_paused(self, span: str | None) -> None:
        """From then on nothing is sent, whoever asks (`judge`); words wait."""
        asked = WHO | {"sync": NAME, "reason": "stop", "span": span, "until": None}
        pausing.pause(self.engine, asked)
        known = self.known()

        assert self.run() is None
        if self.is_held():
            refusal, _ = self.attempt(lambda: self.engine.approve(self.decision()))
            assert refusal in {"sync.paused", "hold.expired", "hold.changed"}
        self.restart()

        assert self.known() == known

    @precondition(lambda self: self.paused())
    @rule()
    def it_is_resumed(self) -> None:
        """One run makes up for the due times that were put off."""
        pausing.resume(self.engine, WHO | {"sync": NAME}, self.slots.make_up_put_off)

        assert not self.paused()

    # ---- the configuration -----------------------------------------------------------

    @rule(
        size=st.integers(min_value=1, max_value=5),
        max_exit=st.sampled_from([0.1, 0.5, 1.0]),
        on_trip=st.sampled_from(["hold", "hold", "fail"]),
    )
    def the_configuration_is_reloaded(
        self, size: int, max_exit: float, on_trip: Any
    ) -> None:
        """Another batch size and guard, for runs that begin from now on."""
        sync = self.world.syncs[NAME]
        delivery = replace(sync.delivery, batch_size=size)
        guard = replace(GUARD, max_exit=max_exit, on_trip=on_trip)
        self.world.syncs[NAME] = replace(sync, delivery=delivery, guard=guard)
        self.largest_batch = max(self.largest_batch, size)
        self.reload()

    @rule(restarted=st.booleans())
    def it_is_switched_off_and_on(self, restarted: bool) -> None:
        """While it is off nothing of it happens; then it goes on where it was."""
        known, before = self.known(), len(self.vendor.requests)
        sync = self.world.syncs[NAME]
        self.world.syncs[NAME] = replace(sync, enabled=False)
        self.reload()
        if restarted:
            self.restart()
        self.pass_time(timedelta(hours=1))

        self.slots.due(NAME)
        refusal, _ = self.attempt(lambda: self.engine.run(NAME, Trigger.MANUAL))

        assert refusal == UnknownSync.code
        assert (len(self.vendor.requests), self.known()) == (before, known)
        self.world.syncs[NAME] = sync
        self.reload()

    # ---- people are forgotten --------------------------------------------------------

    @rule(person=somebody, troubled=st.booleans())
    def somebody_is_forgotten(self, person: bytes, troubled: bool) -> None:
        """From here on nobody adds them, whatever the source says (`judge`)."""
        self.vendor.always = FAILED_BEFORE if troubled else None
        self.pass_time(MOMENT)
        self.note_forgotten(person)

        forgetting.forget(
            self.engine, WHO | {"ids": person.decode(), "match": "user_id"}
        )

        self.vendor.always = None

    def note_forgotten(self, person: bytes) -> None:
        self.gone[person] = self.clock.now()
        self.ever_gone.add(person)

    @precondition(lambda self: self.gone)
    @rule(moment=moments)
    def it_dies_letting_go(self, moment: int) -> None:
        self.pass_time(MOMENT)
        self.store.die_at(moment)
        with suppress(SyncdError):
            self.engine.let_go(NAME)
        self.restart()

    def let_go_of_the_long_gone(self) -> None:
        """Only who was forgotten 30 days ago may have been let go."""
        now = self.clock.now()
        with self.world.database.read() as connection:
            left = forgotten.load(connection, IdType.USER_ID)
        lost = self.gone.keys() - set(left.among(self.gone))
        assert all(now - self.gone[each] > forgotten.KEEP for each in lost)
        for each in lost:
            del self.gone[each]

    def come_to_rest(self) -> None:
        """And whoever is to be forgotten has left, and is named nowhere any more."""
        super().come_to_rest()
        if not self.gone:
            return
        self.let_go()
        self.run_and_approve()
        self.let_go()
        forgetting.prune(self.engine)
        self.let_go_of_the_long_gone()
        assert not self.truth() & self.vendor.ever_sent & self.gone.keys() - self.edited
        self.require_named_nowhere()

    def let_go(self) -> None:
        self.pass_time(MOMENT)
        with suppress(WaitsForPerson):
            self.engine.let_go(NAME)
        if self.is_held():
            self.pass_time(MOMENT)
            self.engine.approve(self.decision())
            self.engine.let_go(NAME)

    def require_named_nowhere(self) -> None:
        with self.world.database.read() as connection:
            for table in metadata.sorted_tables:
                rows = str(connection.execute(select(table)).all())
                assert not any(each.decode() in rows for each in self.gone), table.name
