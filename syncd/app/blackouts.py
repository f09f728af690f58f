"""Blackouts of syncs: whether a run may begin by itself now."""

from datetime import datetime

from syncd.config.settings import Settings
from syncd.errors import PutOff
from syncd.windows import Window, closed_until, window_at


class Blackout(PutOff):
    """A window of the calendar is open: nothing begins by itself until it closes."""

    code = "sync.blackout"
    reason = "blackout"

    def __init__(self, sync: str, window: Window, until: datetime) -> None:
        super().__init__(
            f"{sync} waits for the end of the window '{window.name}' "
            f"at {until:%Y-%m-%d %H:%M} UTC",
            hint=f"syncd schedule {sync}",
        )
        self.until = until
        self.notice = (
            f"inside the window '{window.name}' until {until:%Y-%m-%d %H:%M} UTC; "
            "run all the same, since a person asked"
        )


def require_none(settings: Settings, name: str, now: datetime) -> None:
    """Raise `Blackout` inside a window of this sync."""
    found = blackout_of(settings, name, now)
    if found is not None:
        raise found


def blackout_of(settings: Settings, name: str, now: datetime) -> Blackout | None:
    """The blackout this sync is in; None outside, and for a sync that is unknown."""
    windows = [
        each for sync in settings.syncs if sync.name == name for each in sync.blackout
    ]
    window, until = window_at(windows, now), closed_until(windows, now)
    if window is None or until is None:
        return None
    return Blackout(name, window, until)
