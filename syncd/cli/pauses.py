"""A pause, the same wherever a paused sync is shown."""

from datetime import datetime

from syncd.cli.frame import Frame
from syncd.cli.lines import sentence
from syncd.report.phrases import pause_sentences
from syncd.store.pauses import Pause


def show_pause(frame: Frame, pause: Pause, now: datetime, zone: str) -> None:
    """Who paused the sync, why, until when, and the way out."""
    who, undo = pause_sentences(pause, now, zone, frame.config_flags())
    sentence(frame.out, who, hanging=2)
    sentence(frame.out, undo, indent=2, hanging=2)
