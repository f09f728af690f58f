"""What is pressed on a page, carried out: by the same commands as the command line's.

A run may take hours, so nobody waits for its end: the answer is given as soon as it has
begun, or was refused. An approval has begun once the plan is open: until then it can
still be refused, and that is what the person must see.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from syncd import events
from syncd.app import commands, pausing
from syncd.app.engine import Engine
from syncd.app.pausing import Again
from syncd.app.planning import Planning
from syncd.errors import SyncdError
from syncd.events import emit
from syncd.model import Trigger
from syncd.store import runs
from syncd.store.runs import Run
from syncd.sync.decide import NotDecidable
from syncd.web.pages.actions import Held, Planned, Pressed, reason_of
from syncd.web.threads import Threads

PATIENCE = 5.0
"""Real seconds in which a command begins or is refused; later it is looked up."""
_LOOK = 0.05
_NEWEST = 5
"""Runs that may have begun since a button was pressed."""
_COMMANDS = 16
"""Runs that were begun from pages, at one time."""

Body = Mapping[str, Any]
Command = Callable[[Engine, Body], Mapping[str, Any]]


class Pressing:
    """Carries out what operators press. Thread-safe."""

    def __init__(self, engine: Engine, again: Again) -> None:
        """`again` is called with a sync whose pause is over."""
        self._engine = engine
        self._again = again
        self._threads = Threads("begun", size=_COMMANDS)
        self._planning = Planning(engine)

    def stop(self) -> None:
        """Begin nothing more; what was begun comes to rest with the engine."""
        self._threads.stop()
        self._planning.stop()

    def held(self, sync: str) -> Held | None:
        """The plan of a sync that waits for a person."""
        with self._engine.database.read() as connection:
            found = runs.waiting_for_a_person(connection, sync)
        if found is None or found.plan_hash is None:
            return None
        return Held(run_id=found.id, plan_hash=found.plan_hash)

    def planned(self, sync: str) -> Planned | None:
        """What a sync would do now, if somebody asked here."""
        return self._planning.newest(sync)

    def press(self, pressed: Pressed) -> str:
        """Begin it; returns the path to go to. Raises `SyncdError`."""
        match pressed.action:
            case "run":
                return self._run(pressed)
            case "plan":
                self._planning.ask(pressed.subject, pressed.actor, PATIENCE)
                return f"/syncs/{pressed.subject}/plan"
            case "pause":
                return self._pause(pressed)
            case "resume":
                return self._resume(pressed)
            case "approve":
                return self._approve(pressed)
            case "reject":
                return self._reject(pressed)
            case action:
                raise ValueError(action)

    # ---- what can be pressed ---------------------------------------------------------

    def _run(self, pressed: Pressed) -> str:
        body = _about(pressed)
        return self._begin(pressed.subject, commands.run, body, _is_by_person)

    def _pause(self, pressed: Pressed) -> str:
        fields = pressed.fields
        until = self._instant(pressed.subject, fields.get("until", ""))
        span = fields.get("span", "") if until is None else ""
        end = {"span": span or None, "until": until}
        body = {**_about(pressed), **end, "reason": reason_of(fields)}
        pausing.pause(self._engine, body)
        return f"/syncs/{pressed.subject}"

    def _resume(self, pressed: Pressed) -> str:
        pausing.resume(self._engine, _about(pressed), again=self._again)
        return f"/syncs/{pressed.subject}"

    def _approve(self, pressed: Pressed) -> str:
        held = self._shown(pressed)
        if pressed.fields.get("typed", "").strip() != held.sync:
            raise NotDecidable(
                f"type {held.sync} to approve its plan; nothing was sent",
                code="form.name",
                hint=f"syncd show {held.short_id}",
            )
        body = {**_decided(pressed), "run": held.id}
        return self._begin(held.sync, commands.approve, body, _is_open)

    def _reject(self, pressed: Pressed) -> str:
        held = self._shown(pressed)
        commands.reject(self._engine, {**_decided(pressed), "run": held.id})
        return f"/runs/{held.id}"

    def _shown(self, pressed: Pressed) -> Run:
        """The run whose plan the form was about. Raises `NotDecidable`.

        Whether it still waits is settled where it is decided on.
        """
        with self._engine.database.read() as connection:
            found = runs.find(connection, pressed.subject)
        if len(found) != 1:
            raise NotDecidable(
                f"no run {pressed.subject[:40]}", code="run.unknown", hint="syncd runs"
            )
        if found[0].plan_hash != pressed.fields.get("plan"):
            raise NotDecidable(
                f"run {found[0].short_id} does not hold the plan that the page showed",
                code="form.stale",
                hint=f"syncd show {found[0].short_id}",
            )
        return found[0]

    def _instant(self, name: str, text: str) -> str | None:
        """What a date and time in a form mean in the sync's zone."""
        if not text:
            return None
        zone = next(
            (
                each.timezone
                for each in self._engine.blueprint.settings.syncs
                if each.name == name
            ),
            "UTC",
        )
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            return text  # refused where pauses are made
        if found.tzinfo is None:
            found = found.replace(tzinfo=ZoneInfo(zone))
        return found.isoformat()

    # ---- what takes its time ---------------------------------------------------------

    def _begin(
        self, sync: str, command: Command, body: Body, has_begun: Callable[[Run], bool]
    ) -> str:
        """The page to go to: of the run that began or ended, else of the sync."""
        before = {each.id for each in self._newest(sync)}
        work = self._threads.submit(command, self._engine, body)
        clock, begun = self._engine.clock, None
        deadline = clock.monotonic() + PATIENCE
        while not wait([work], _LOOK).done and clock.monotonic() < deadline:
            since = (each for each in self._newest(sync) if each.id not in before)
            begun = next(filter(has_begun, since), None)
            if begun is not None:
                break
        if work.done():
            ended = work.result()["run"]
            return _page(sync, ended["id"] if ended is not None else "")
        work.add_done_callback(partial(_say_refused, sync))
        return _page(sync, begun.id if begun is not None else "")

    def _newest(self, sync: str) -> Sequence[Run]:
        with self._engine.database.read() as connection:
            return runs.latest(connection, sync_name=sync, limit=_NEWEST)


def _is_by_person(run: Run) -> bool:
    return run.trigger is Trigger.MANUAL


def _is_open(run: Run) -> bool:
    """Whether an approved plan is on its way: it cannot be refused any more."""
    begun = run.phase != "collect" or run.outcome is not None
    return run.trigger is Trigger.APPROVE and begun


def _about(pressed: Pressed) -> dict[str, Any]:
    return {"sync": pressed.subject, "actor": pressed.actor, "via": "web"}


def _decided(pressed: Pressed) -> dict[str, Any]:
    reason = reason_of(pressed.fields)
    return {"actor": pressed.actor, "via": "web", "reason": reason}


def _page(sync: str, run_id: str) -> str:
    return f"/runs/{run_id}" if run_id else f"/syncs/{sync}"


def _say_refused(sync: str, work: Future[Mapping[str, Any]]) -> None:
    """Nobody waits for this answer any more: the log tells it."""
    match work.exception():
        case None:
            pass
        case SyncdError() as error:
            reason = str(error)
            emit(events.RUN_SKIPPED, sync=sync, reason=reason, code=error.code)
        case error:
            name = type(error).__name__
            emit(events.DAEMON_CRASHED, error=name, thread="begun", exc_info=error)
