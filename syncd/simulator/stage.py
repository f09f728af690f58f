"""The story of one request, the same on every origin: fault, or answer (R24).

An origin reads a request into a `Turn`; what happens to it is decided here. A
handler's effect and its answer come together at the end of the service time, so a
client that dies meanwhile leaves an effect that lands after it.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from syncd.simulator.answers import Answer, Outcome, Refusal
from syncd.simulator.calls import Call
from syncd.simulator.faults import Fault
from syncd.simulator.log import Entry
from syncd.simulator.shapes import RATE_LIMIT, SHAPES, error_page, phrase
from syncd.simulator.state import Simulator
from syncd.simulator.traffic import Flight, Traffic
from syncd.simulator.wire import Line


class Visit:
    """One request in the log and in the traffic counters."""

    def __init__(self, entry: Entry, flight: Flight, traffic: Traffic) -> None:
        self.entry = entry
        self._flight = flight
        self._traffic = traffic

    def close(self, status: int | None) -> None:
        """Call it just before the answer leaves: the client may ask again at once."""
        self.entry.close(status)
        self._traffic.end(self._flight, status)


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
    fault = sim.faults.take(turn.call)
    if fault is not None:
        visit.entry.fault = fault.kind
        await _play(sim, fault, turn, line, visit)
        return
    answer = await _answer(sim, turn, visit.entry)
    visit.close(answer.status)
    await line.answer(answer)


async def _answer(sim: Simulator, turn: Turn, entry: Entry) -> Answer:
    try:
        with turn.enter():
            seconds = sim.service_times.get(turn.call.endpoint, 0.0)
            if seconds:
                await asyncio.sleep(seconds)
            outcome = turn.act()
    except Refusal as refusal:
        return turn.refuse(refusal)
    entry.note(outcome, effect="applied")
    return turn.answer(outcome)


async def _play(
    sim: Simulator, fault: Fault, turn: Turn, line: Line, visit: Visit
) -> None:
    real = await _answer(sim, turn, visit.entry) if fault.applies else None
    if fault.kind == "late_commit":
        _commit_later(sim, fault, turn, visit.entry)
    if fault.delay:
        await asyncio.sleep(fault.delay)
    shape = fault.kind
    if fault.kind == "late_commit" and fault.options["answer"] == "status":
        shape = "status"
    if shape in SHAPES:
        answer = SHAPES[shape](_options(fault, turn), real)
        visit.close(answer.status)
        await line.answer(answer)
        return
    await _break(sim, fault, real or error_page(500), line, visit)


def _options(fault: Fault, turn: Turn) -> dict[str, Any]:
    """The fault's options; a JSON status without a body gets the origin's own."""
    options = dict(fault.options)
    if options.get("format", "json") == "json" and options.get("body") is None:
        status = options.get("status", 0)
        details = RATE_LIMIT if status == 429 else phrase(status)
        options["body"] = turn.error_body(status, details)
    return options


async def _break(
    sim: Simulator, fault: Fault, real: Answer, line: Line, visit: Visit
) -> None:
    """Play a fault that spoils the connection, not the answer."""
    options = fault.options
    match fault.kind:
        case "reset":
            half = real if options["when"] == "mid" else None
            visit.close(real.status if half else None)
            await line.reset(half)
        case "truncated":
            visit.close(real.status)
            honest = options["length"] == "sent"
            await line.truncate(real, honest=honest, zipped=options["gzip"])
        case "drip":
            chunk, interval = options["chunk"], options["interval"]
            await line.drip(real, chunk=chunk, interval=interval)
            visit.close(real.status)
        case _:
            await line.hang(options["seconds"], sim.released)
            visit.close(None)


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
