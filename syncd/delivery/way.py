"""What a request lets go of as soon as it is answered, before that is durable."""

import threading

from syncd.delivery.lane import Lane


class Way:
    """The way of a lane for its next batch, while one is made durable."""

    def __init__(self, lane: Lane, changed: threading.Condition) -> None:
        self.made = False
        self._lane, self._changed = lane, changed

    def make(self) -> None:
        """The destination took the batch: let the lane go on, where it may."""
        if self._lane.route.turn is not None:
            self._lane.route.turn.leave()  # while this is made durable
        with self._changed:
            self.made = self._lane.make_way()
            if self.made:
                self._changed.notify_all()
