"""Effects that land after their answer (R24, `late_commit`).

A vendor may time out in front and still commit behind. Such a commit waits here for
its real seconds, or until a test lets it land.
"""

import asyncio
from collections.abc import Callable


class LateCommits:
    """Effects that have not landed yet, in order of arrival."""

    def __init__(self) -> None:
        self._pending: dict[int, Callable[[], None]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, act: Callable[[], None], *, after: float | None) -> None:
        """Let `act` happen after some real seconds (None: only by `land_all`)."""
        self._last += 1
        self._pending[self._last] = act
        if after is not None:
            asyncio.get_running_loop().call_later(after, self._land, self._last)

    def land_all(self) -> int:
        """Let everything land now; returns how many effects that were."""
        waiting = list(self._pending)
        for number in waiting:
            self._land(number)
        return len(waiting)

    def _land(self, number: int) -> None:
        act = self._pending.pop(number, None)
        if act is not None:
            act()
