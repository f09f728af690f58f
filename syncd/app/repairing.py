"""`verify --repair`: sends what a verification found, bound to exactly that finding.

What was shown to a person is repaired or nothing is: the same file is read again, which
is free, and the same people must differ. The run that follows looks once more, under
the sync's lease, whether anything moved in between.
"""

from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Any

from syncd.app.blackouts import blackout_of
from syncd.app.commands import shown
from syncd.app.engine import Engine
from syncd.app.reading import amplitude_of
from syncd.app.vendors import Vendors
from syncd.app.verifying import (
    Compared,
    compared,
    listed,
    newest_file,
    readable_binding,
    sync_of,
)
from syncd.config.forecast import project_key
from syncd.config.settings import Settings, SyncSettings
from syncd.model import Trigger
from syncd.report.standing import waits
from syncd.sources import Postponed
from syncd.sources.amplitude_download.gate import State, gate_state
from syncd.store import bindings, fetches, pauses, runs, verifications
from syncd.store.bindings import Binding
from syncd.store.database import Connection
from syncd.store.verifications import Verification
from syncd.sync import mending
from syncd.sync.beginning import WaitsForPerson, leased
from syncd.sync.identity import compare
from syncd.sync.mending import Errand, NotRepairable, stale
from syncd.sync.run import run
from syncd.sync.spec import Spec
from syncd.sync.steps import Parts, identity_of


def repair(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "evidence", "actor", "via", "reason"?}` -> `{"run": …}`.

    `evidence` is what `verify` answered. No run where nothing can be repaired. Raises
    `NotRepairable`, `NotReadable`, `Busy`, `Paused`, `WaitsForPerson`.
    """
    name, settings = body["sync"], engine.blueprint.settings
    sync = sync_of(settings, name)
    closed = blackout_of(settings, name, engine.clock.now())
    with engine.alone(name) as (parts, spec):
        with leased(parts, spec):
            found = _found_again(parts, settings, sync, spec)
        if found is None or found.evidence != body["evidence"]:
            raise stale(name)
        if not found.causes.repairable:
            return shown(None)
        story = mending.story(_errand(found, body))
        report = run(parts, spec, Trigger.REPAIR, story=story)
    if report is not None and report.outcome in runs.OK:
        _note_what_is_left(engine, name, found)
    answer = shown(report)
    if closed is not None and answer["run"] is not None:
        answer["run"]["notice"] = closed.notice
    return answer


def _errand(found: Compared, body: Mapping[str, Any]) -> Errand:
    return Errand(
        binding=found.binding,
        moment=found.moment,
        as_of=found.as_of,
        causes=found.causes,
        actor=body["actor"],
        via=body["via"],
        reason=body["reason"] or "verify --repair",
    )


def _note_what_is_left(engine: Engine, name: str, found: Compared) -> None:
    """As far off as it was when it was read back, but for those repaired since."""
    left = found.differences.drift_without(found.causes.repairable)
    with engine.database.begin() as connection:
        done = Verification(at=engine.clock.now(), drift=left)
        verifications.note(connection, name, done)


def require_nothing_waits(connection: Connection, name: str, now: datetime) -> None:
    """Raise for a sync that sends nothing now; asked before anything is spent.

    `Paused`, `WaitsForPerson`, or `NotRepairable` where it was never planned.
    """
    pauses.require_none(connection, name, now)
    held = waits(runs.waiting_for_a_person(connection, name), now)
    if held is not None:
        raise WaitsForPerson(held)
    binding = bindings.current(connection, name)
    if binding is not None and binding.digest is None:
        raise NotRepairable(
            f"no plan of {name} has gone out yet: who is wanted is not known",
            code="repair.unplanned",
            hint=f"syncd run {name}",
        )


def _require_same_identity(binding: Binding, spec: Spec) -> None:
    """A sync that is to read or write something else must not repair the old target."""
    change = compare(
        identity_of(binding), spec.identity, external_id=binding.external_id
    )
    if change is not None:
        raise NotRepairable(
            f"{spec.name}: {change.sentence}; what is there is of the time before",
            code="repair.changed",
            hint=f"syncd run {spec.name}",
        )


def _found_again(
    parts: Parts, settings: Settings, sync: SyncSettings, spec: Spec
) -> Compared | None:
    """The same comparison from the same file, for nothing; None where that is gone."""
    with parts.database.read() as connection:
        require_nothing_waits(connection, sync.name, parts.clock.now())
    binding = readable_binding(parts.database, settings, sync)
    _require_same_identity(binding, spec)
    if not _is_free(parts, settings, sync.name, binding):
        return None
    found = compared(parts, settings, sync, binding)
    return None if isinstance(found, Postponed) else found


def _is_free(parts: Parts, settings: Settings, name: str, binding: Binding) -> bool:
    """Whether the newest file still stands for the cohort: nothing of ours was sent
    since, and the free list says that nobody else moved it either."""
    with closing(Vendors(settings, parts.clock, parts.database, parts.stop)) as vendors:
        cohort = listed(vendors, binding)
    project = project_key(amplitude_of(settings, binding.connection))
    with parts.database.read() as connection:
        history = fetches.of_cohort(connection, project, cohort.id)
    state, _ = gate_state(
        cohort,
        history,
        max_staleness=newest_file(parts, name),
        now=parts.clock.now(),
        linked=True,
    )
    return state is State.FREE
