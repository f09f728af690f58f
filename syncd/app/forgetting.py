"""Forgetting people: they leave every target, then every table.

First it is recorded, which alone keeps them from being taken in again; from then on no
request adds them. All that follows begins anew wherever it is cut off: the daemon looks
every minute for syncs that have to let somebody go, and the daily prune cleans up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from syncd import events
from syncd.app import blackouts
from syncd.app.engine import Engine
from syncd.config.settings import Settings
from syncd.errors import PutOff, StoreError, SyncdError
from syncd.events import emit
from syncd.model import IdType
from syncd.store import bindings, erasing, feeds, forgotten, installation, runs
from syncd.store.bindings import Role
from syncd.store.database import Connection, Database
from syncd.store.forgotten import Person
from syncd.store.installation import Action
from syncd.sync import ids
from syncd.sync.beginning import Busy

MOST = 1_000
"""Ids in one request: more than a person types, few enough for one transaction."""
AGAIN = timedelta(minutes=15)
"""Until the daemon tries once more where a sync could not let go of somebody."""

Soon = Callable[[str, Callable[[], object]], None]
"""Calls an action in a thread of the scheduler, now."""


class NotForgettable(SyncdError):
    """What was handed in names nobody who could be forgotten."""

    code = "forget.invalid"


# ---- a person's word ---------------------------------------------------------


def forget(engine: Engine, body: Mapping[str, Any]) -> dict[str, Any]:
    """`{"ids", "match", "actor", "via"}` -> `{"people", "refused", "syncs", …}`.

    `ids` is one id a line, `match` their type. Each sync tells in `state` what became
    of it: `clean` (it holds none of them), `removed`, `held`, `waits` or `failed`.
    """
    people, refused = _people(body)
    now = engine.clock.now()
    with engine.database.begin() as connection:
        feeds.lock(connection)  # before any word: whoever writes them does so, too
        forgotten.add(connection, people, now)
        erased = erasing.offers_and_words(connection, people)
        installation.record(connection, _action(body, len(people), now))
    engine.remembered.follow()
    names = sorted(engine.blueprint.specs)
    emit(
        events.OPERATOR_FORGOT,
        actor=body["actor"],
        via=body["via"],
        people=len(people),
        match=body["match"],
        syncs=len(names),
    )
    # Before: a sync erases what it knows of its former targets.
    elsewhere = _elsewhere(engine)
    return {
        "people": len(people),
        "refused": refused,
        "erased": erased,
        "syncs": [_let_go(engine, name) for name in names],
        "elsewhere": elsewhere,
        "rewritten": _rewrite(engine),
    }


def _people(body: Mapping[str, Any]) -> tuple[list[Person], dict[str, int]]:
    try:
        id_type = IdType(body["match"])
    except ValueError:
        raise NotForgettable("ids are of type user_id or amplitude_id") from None
    lines = [line.encode() for line in body["ids"].split("\n") if line]
    if len(lines) > MOST:
        raise NotForgettable(f"at most {MOST:,} ids at once, these are {len(lines):,}")
    accepted = ids.accept(lines, id_type)
    refused = {str(why): count for why, count in accepted.refused.items()}
    if not accepted.ids:
        told = ", ".join(sorted(refused)) or "there is none"
        raise NotForgettable(f"no id that could ever have been taken in: {told}")
    return [(each, id_type) for each in dict.fromkeys(accepted.ids)], refused


def _action(body: Mapping[str, Any], people: int, now: datetime) -> Action:
    return Action(
        at=now,
        actor=body["actor"],
        via=body["via"],
        verb="forget",
        sync="",
        run_id=None,
        reason=f"{people} ids ({body['match']})",
    )


def _let_go(engine: Engine, name: str) -> dict[str, Any]:
    """One sync, now; what stands in its way is an answer, not an error."""
    said: dict[str, Any] = {"sync": name, "run": None, "removed": 0, "message": ""}
    try:
        report = engine.let_go(name)
    except SyncdError as error:
        state = "held" if error.code == "sync.held" else "waits"
        return said | {"state": state, "message": str(error), "hint": error.hint}
    with engine.database.read() as connection:
        binding = bindings.current(connection, name)
        due = binding is not None and forgotten.is_due(connection, binding.id)
    if report is None:
        return said | {"state": "waits" if due else "clean", "hint": ""}
    return said | {
        "state": _state(report.outcome in runs.OK, report.outcome == "held", due),
        "run": report.run_id,
        "removed": report.numbers.get("exited", 0),
        "message": report.message,
        "hint": f"syncd show {report.short_id}",
    }


def _state(well: bool, held: bool, due: bool) -> str:
    if held:
        return "held"
    if not well:
        return "failed"
    return "waits" if due else "removed"


# ---- what is left ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A binding that has not let go of everybody."""

    sync: str
    people: int
    """Whom its target has because of us, or may have."""
    reachable: bool
    """False: nobody works on it, only its owner can take them out there."""
    kept: bool
    """Their ids stay in the store: its sync may be switched on again."""


def waiting(
    connection: Connection, names: Sequence[str], now: datetime
) -> list[Waiting]:
    """Where people who are to be forgotten still are. Reads the members of bindings
    that are due, about a second for a million of them."""
    found = []
    for owner in bindings.all_of(connection):
        current = owner.role is not Role.RETIRED
        if owner.role is Role.CURRENT and not forgotten.is_due(connection, owner.id):
            continue
        people = forgotten.load(connection, owner.id_type)
        left = erasing.held_by(connection, owner, people, now)
        reachable = current and owner.sync in names
        if left or (reachable and owner.role is Role.CURRENT):
            found.append(
                Waiting(
                    sync=owner.sync,
                    people=len(left),
                    reachable=reachable,
                    kept=current or owner.sync not in names,
                )
            )
    return found


def _elsewhere(engine: Engine) -> list[dict[str, Any]]:
    """Targets that this configuration does not write to, and that hold some of them."""
    names, now = sorted(engine.blueprint.specs), engine.clock.now()
    with engine.database.read() as connection:
        return [
            {"sync": each.sync, "people": each.people, "kept": each.kept}
            for each in waiting(connection, names, now)
            if not each.reachable
        ]


def is_any_due(connection: Connection, settings: Settings, now: datetime) -> bool:
    """Whether a configured sync has to let somebody go, one that is off included.

    Nobody has that one look at itself: it is looked at here, each time.
    """
    for sync in settings.syncs:
        binding = bindings.current(connection, sync.name)
        if binding is None or not forgotten.is_due(connection, binding.id):
            continue
        people = forgotten.load(connection, binding.id_type)
        if sync.enabled or erasing.is_any_named(connection, binding, people, now):
            return True
    return False


# ---- by itself ---------------------------------------------------------------


class LettingGo:
    """Looks for syncs that have to let somebody go; by one thread at a time.

    Each of them then runs in a thread of its own: it may take hours.
    """

    def __init__(self, engine: Engine, soon: Soon) -> None:
        self._engine = engine
        self._soon = soon
        self._tried: dict[str, tuple[int, datetime]] = {}
        self._words_up_to = 0

    def look(self) -> None:
        """Have each of them do so that may run and was not tried just now."""
        engine = self._engine
        engine.remembered.follow()
        with engine.database.read() as connection:
            newest = forgotten.position(connection)
        if newest == 0:
            return
        if newest > self._words_up_to:
            erase_words(engine.database)
            self._words_up_to = newest
        for name in engine.blueprint.specs:
            if self._is_due(name, newest):
                self._soon(f"let-go:{name}", partial(self._try, name, newest))

    def _is_due(self, name: str, newest: int) -> bool:
        engine, now = self._engine, self._engine.clock.now()
        with engine.database.read() as connection:
            binding = bindings.current(connection, name)
            if binding is None or not forgotten.is_due(connection, binding.id):
                return False
        _, at = self._tried.get(name, (0, now - AGAIN))
        # Another request within the time waits as well: each looks at every member.
        return not now - AGAIN < at <= now

    def _try(self, name: str, newest: int) -> None:
        engine, now = self._engine, self._engine.clock.now()
        try:
            blackouts.require_none(engine.blueprint.settings, name, now)
            engine.let_go(name)
        except (Busy, PutOff, StoreError):
            return  # soon again
        except SyncdError:
            pass  # it waits for a person, or its run said what is wrong
        self._tried[name] = newest, now


def erase_words(database: Database) -> int:
    """Erase what was pushed about people who are forgotten; returns how many rows."""
    rows = 0
    for id_type in IdType:
        with database.read() as connection:
            people = forgotten.load(connection, id_type)
        rows += erasing.words(database, id_type, people)
    return rows


def prune(engine: Engine) -> int:
    """The daily part: words that slipped in, who was forgotten long ago, the file."""
    rows, now = erase_words(engine.database), engine.clock.now()
    with engine.database.read() as connection:  # it may look at millions of members
        due = is_any_due(connection, engine.blueprint.settings, now)
    with engine.database.begin() as connection:
        rows += forgotten.prune(connection, now, waiting=due)
    _rewrite(engine)
    return rows


def _rewrite(engine: Engine) -> bool:
    """Once everybody is gone: leave nothing of them in the pages that SQLite freed."""
    database = engine.database
    with database.read() as connection:
        newest = forgotten.position(connection)
        if forgotten.is_rewritten(connection, newest):
            return True
        if is_any_due(connection, engine.blueprint.settings, engine.clock.now()):
            return False
    try:
        database.rewrite()
    except StoreError as error:
        emit(events.STORE_UNAVAILABLE, operation="rewrite", error=str(error))
        return False
    with database.begin() as connection:
        forgotten.note_rewritten(connection, newest)
    return True
