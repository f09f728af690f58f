"""Letting a sync's target go, asked of a running engine: the same for socket and CLI.

Also for a sync that is no longer configured, or is switched off: what the store still
keeps of it goes. One that is configured stays paused, since its next run would be a
first sync.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from syncd.app.commands import shown
from syncd.app.engine import Engine, UnknownSync
from syncd.store import leases, pauses, runs
from syncd.store.database import Connection
from syncd.store.holders import shown as shown_holder
from syncd.store.leases import Held, Lease
from syncd.sync import commit
from syncd.sync import detach as story
from syncd.sync.beginning import Busy, WaitsForPerson
from syncd.sync.detach import Farewell, Left, NotDetachable


def detach(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sync", "actor", "via", "reason", "empty"?}` -> `{"targets", "paused", "run",
    "again_at"}`.

    `empty` is how many people may be removed first, as a number; null: the target
    stays as it is. `run` is the run that removed them, and null without it. `targets`
    holds what was let go: nothing where that run left anybody in doubt. `again_at` is
    set where everybody is out, and a request may put people back until then.
    Raises `NotDetachable`, `UnknownSync`, `Busy`, `WaitsForPerson`.
    """
    farewell = Farewell(
        sync=body["sync"],
        actor=body["actor"],
        via=body["via"],
        reason=body["reason"].strip(),
    )
    if not farewell.reason:
        raise NotDetachable("letting a target go needs a reason", code="detach.invalid")
    _require_known(engine, farewell.sync)
    if body.get("empty") is not None:
        return _emptied(engine, farewell, _number(body["empty"]))
    left = _let_go(engine, farewell)
    return _answer(left, paused=bool(left) and is_configured(engine, farewell.sync))


def is_configured(engine: Engine, name: str) -> bool:
    """Whether the files name the sync, switched on or off."""
    return any(each.name == name for each in engine.blueprint.settings.syncs)


def _require_known(engine: Engine, name: str) -> None:
    if is_configured(engine, name):
        return
    now = engine.clock.now()
    with engine.database.read() as connection:
        kept = story.targets_of(connection, name, now)
        paused = pauses.in_force(connection, name, now)
    if not kept and paused is None:
        raise UnknownSync(name)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotDetachable("people are counted in digits", code="detach.invalid")
    return int(text)


def _emptied(engine: Engine, farewell: Farewell, agreed: int) -> dict[str, Any]:
    name = farewell.sync
    if name not in engine.blueprint.specs:
        raise NotDetachable(
            f"{name} is not configured, or switched off: nobody knows how to reach its "
            "target",
            code="detach.not_configured",
            hint="put it back into the file first, or detach it without --empty",
        )
    with engine.alone(name) as (parts, spec):
        end = story.empty(parts, spec, farewell, agreed)
    more = shown(end.report) | {"again_at": end.again_at}
    return _answer(end.left, paused=True, **more)


def _let_go(engine: Engine, farewell: Farewell) -> Sequence[Left]:
    name, now = farewell.sync, engine.clock.now()
    with _at_rest(engine, name) as lease, engine.database.begin() as connection:
        leases.check(connection, lease, engine.clock.wall())
        _settle_held(engine, connection, name)
        left = story.targets_of(connection, name, now)
        if not is_configured(engine, name):
            pauses.remove(connection, name)
        elif left:
            story.keep_off(connection, farewell, now)
        if left:
            story.let_go(connection, farewell, now)
    if left:
        story.tell(farewell, left, emptied=False)
    return left


def _settle_held(engine: Engine, connection: Connection, name: str) -> None:
    """A plan that waits is decided on first, where anybody can: else it goes as well"""
    held = runs.waiting_for_a_person(connection, name, lock=True)
    if held is None:
        return
    if name in engine.blueprint.specs:
        raise WaitsForPerson(held)
    commit.drop_plan(connection, held)


@contextmanager
def _at_rest(engine: Engine, name: str) -> Iterator[Lease]:
    """The sync for this command alone, whether or not it is configured."""
    if name in engine.blueprint.specs:
        with engine.at_rest(name) as (_, lease):
            yield lease
        return
    if name in engine.active():
        # A run goes on with the configuration it began with.
        raise Busy(f"{name} is being run", hint=f"syncd show {name}")
    with _leased(engine, name) as lease:
        yield lease


@contextmanager
def _leased(engine: Engine, name: str) -> Iterator[Lease]:
    with engine.database.begin() as connection:
        lease = leases.acquire(
            connection,
            name,
            engine.holder,
            engine.clock.wall(),
            engine.blueprint.settings.store.lease,
        )
    if isinstance(lease, Held):
        raise Busy(
            f"{name} is being run by {shown_holder(lease.holder)}", hint="syncd status"
        )
    try:
        yield lease
    finally:
        with engine.database.begin() as connection:
            leases.end(
                connection, lease, engine.clock.wall(), quiet=not lease.taken_over
            )


def _answer(left: Sequence[Left], *, paused: bool, **more: Any) -> dict[str, Any]:
    targets = [asdict(each) for each in left]
    answer = {"targets": targets, "paused": paused, "run": None, "again_at": None}
    return answer | more
