"""The story of one request, the same on every origin: fault, or answer (R24).

An origin reads a request into a `Turn`; what happens to it is decided here. A
handler's effect and its answer come together at the end of the service time, so a
client that dies meanwhile leaves an effect that lands after it.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from syncd.simulator.answers import Answer, Outcome, Refusal
from syncd.simulator.calls import Call
from syncd.simulator.faults import Fault
from syncd.simulator.log import Entry
from syncd.simulator.playing import Visit, play
from syncd.simulator.shapes import phrase
from syncd.simulator.state import Simulator
from syncd.simulator.wire import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One request, and what its origin makes of it."""

    call: Call
    enter: Callable[[], AbstractContextManager[None]]
    """At arrival: checks the credentials. What it returns is held until the answer,
    and may refuse too. Raises Refusal."""
    act: Callable[[], Outcome]
    """At the end of the service time, after `enter`. Raises Refusal; then nothing
    changed."""
    answer: Callable[[Outcome], Answer]
    refuse: Callable[[Refusal], Answer]
    error_body: Callable[[int, str], Any]
    """The JSON a scripted status answers with, from the status and a sentence."""


async def serve(sim: Simulator, turn: Turn, line: Line, visit: Visit) -> None:
    """Play the scripted fault, if one is due, else answer truly."""
    carry_out = partial(_answer, sim, turn, visit.entry, line.arrived)
    fault = sim.faults.take(turn.call)
    if fault is not None:
        visit.entry.fault = fault.kind
        if fault.kind == "late_commit":
            _commit_later(sim, fault, turn, visit.entry)
        spoken = replace(fault, options=_options(fault, turn))
        await play(spoken, carry_out, line, visit, sim.released)
        return
    answer = await carry_out()
    visit.close(answer.status)
    await line.answer(answer)


async def _answer(sim: Simulator, turn: Turn, entry: Entry, arrived: float) -> Answer:
    try:
        with turn.enter():
            seconds = sim.service_times.get(turn.call.endpoint, 0.0)
            if seconds:
                # From its arrival: what it takes us to read a request is in the time
                # set, or those that come together would wait for one another.
                await asyncio.sleep(max(0.0, arrived + seconds - time.monotonic()))
            outcome = turn.act()
    except Refusal as refusal:
        return turn.refuse(refusal)
    entry.note(outcome, effect="applied")
    if outcome.render is not None:
        return await outcome.render()
    return turn.answer(outcome)


def _options(fault: Fault, turn: Turn) -> dict[str, Any]:
    """The fault's options; a JSON status without a body gets the origin's own."""
    options = dict(fault.options)
    if options.get("format", "json") == "json" and options.get("body") is None:
        status = options.get("status", 0)
        options["body"] = turn.error_body(status, phrase(status))
    return options


def _commit_later(sim: Simulator, fault: Fault, turn: Turn, entry: Entry) -> None:
    """Check the credentials now, let the effect land later, past what is held."""
    try:
        turn.enter()
    except Refusal:
        return

    def land() -> None:
        try:
            entry.note(turn.act(), effect="late")
        except Refusal:
            entry.effect = "none"

    entry.effect = "pending"
    sim.late.add(land, after=fault.options["after"])
