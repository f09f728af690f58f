"""Play a scripted fault on one request, on any origin (R24).

What the request would have done comes as a callable, since some faults carry it out
first and some never do.
"""

import asyncio
from collections.abc import Awaitable, Callable

from syncd.simulator.answers import Answer
from syncd.simulator.faults import Fault
from syncd.simulator.log import Entry
from syncd.simulator.shapes import SHAPES, error_page
from syncd.simulator.wire import Line


class Visit:
    """One request in the log, and in whatever counts it."""

    def __init__(
        self, entry: Entry, ended: Callable[[int | None], None] | None = None
    ) -> None:
        self.entry = entry
        self._ended = ended

    def close(self, status: int | None) -> None:
        """Call it just before the answer leaves: the client may ask again at once."""
        self.entry.close(status)
        if self._ended is not None:
            self._ended(status)


async def play(
    fault: Fault,
    carry_out: Callable[[], Awaitable[Answer]],
    line: Line,
    visit: Visit,
    released: asyncio.Event,
) -> None:
    """Carry the request out if the fault wants that, then answer wrongly or break."""
    real = await carry_out() if fault.applies else None
    if fault.delay:
        await asyncio.sleep(fault.delay)
    shape = fault.kind
    if fault.kind == "late_commit" and fault.options["answer"] == "status":
        shape = "status"
    if shape in SHAPES:
        answer = SHAPES[shape](fault.options, real)
        visit.close(answer.status)
        await line.answer(answer)
        return
    await _break(fault, real or error_page(500), line, visit, released)


async def _break(
    fault: Fault, real: Answer, line: Line, visit: Visit, released: asyncio.Event
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
            await line.hang(options["seconds"], released)
            visit.close(None)
