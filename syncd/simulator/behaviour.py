"""What happens to a cohort by itself: a script of the virtual clock (R15).

The truth (who belongs to the cohort) changes at the times of the script's steps. What
Amplitude shows and exports of a dynamic cohort follows only at a recompute: by a step
that says so, every `recompute_every` seconds, or by a download (contract section 5).
"""

import math
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change, or one recompute. Times are epoch seconds."""

    at: float
    members: Collection[int] | None = None
    """The whole truth from now on; None: what it was, changed by the next two."""
    add: Collection[int] = ()
    remove: Collection[int] = ()
    recompute: bool = False

    @property
    def changes(self) -> bool:
        """It says something about members."""
        return self.members is not None or bool(self.add) or bool(self.remove)


class Script:
    """Steps to come, and the schedule of recomputes."""

    def __init__(
        self, steps: Collection[Step], *, every: float | None, since: float
    ) -> None:
        self._steps = deque(sorted(steps, key=lambda step: step.at))
        self.every = every
        self._tick = math.inf if every is None else since + every

    @property
    def left(self) -> int:
        """Steps that have not come yet."""
        return len(self._steps)

    def due(self, moment: float) -> Iterator[Step]:
        """What happens until a moment, in order; each is told once.

        Of several recomputes in a row only the last is told, as it hides the others.
        One at the time of a step comes after it.
        """
        while True:
            step_at = self._steps[0].at if self._steps else math.inf
            tick = self._last_tick(before=step_at, until=moment)
            if tick is not None:
                yield Step(at=tick, recompute=True)
            if step_at > moment:
                return
            yield self._steps.popleft()

    def _last_tick(self, *, before: float, until: float) -> float | None:
        limit = min(before, until)
        if self.every is None or self._tick > limit:
            return None
        tick = self._tick + math.floor((limit - self._tick) / self.every) * self.every
        if tick >= before:
            tick -= self.every
        if tick < self._tick:
            return None
        self._tick = tick + self.every
        return tick
