"""A pause in words, the same wherever a paused sync is shown."""

from datetime import datetime

from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.report.words import moment
from syncd.store.pauses import Pause


def show_pause(frame: Frame, pause: Pause, now: datetime, zone: str) -> None:
    """Who paused the sync, why, until when, and the way out."""
    until = "until it is resumed"
    if pause.until is not None:
        until = f"until {moment(pause.until, now, zone)}"
    who = f"{pause.sync} is paused by {pause.actor} {until}: {pause.reason}"
    sentence(frame.out, who, hanging=2)
    undo = f"resume it: syncd resume {pause.sync}{frame.config_flags()}"
    sentence(frame.out, undo, indent=2, hanging=2)
